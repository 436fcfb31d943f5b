//! Holds the rows of a state against each other, for an operator: rooms and their records, idempotency keys, members, invites
//! and receipts, sessions, accounts, dead letters, and every counter. Changes nothing, and goes on after damage.

use std::collections::HashSet;

use bytes::Bytes;

use super::error::StateError;
use super::rows::{Invite, Key, Name, Present, Receipts, Room, Session, UserCount, UserRoom, Value};
use super::{imports, keys, lookups};
use crate::base::chat::Role;
use crate::base::ids::{RoomName, UserName};
use crate::engine::kept::{DeadLetter, KeptAccount};
use crate::store::codec::bytes::Reader;
use crate::store::codec::values::read_record;
use crate::store::tables::rows::{Direction, Rows, Span};
use crate::store::tables::table::Table;

/// What a state holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Holdings {
    pub rooms: u64,
    pub records: u64,
    pub keys: u64,
    pub members: u64,
    pub invites: u64,
    pub receipts: u64,
    pub sessions: u64,
    pub accounts: u64,
    pub dead_letters: u64,
}

/// The tables whose keys begin with a room's id.
const OF_ROOMS: [Table; 5] = [Table::Records, Table::Keys, Table::Members, Table::Invites, Table::Receipts];

/// Looks at every row, and tells `note` each thing that is wrong, in one sentence.
pub(super) fn audit(rows: &dyn Rows, note: &mut dyn FnMut(String)) -> Result<Holdings, StateError> {
    let mut audit = Audit { rows, note, held: Holdings::default() };
    let mut ids = HashSet::new();
    audit.rooms(&mut ids)?;
    audit.garbage(&mut ids)?;
    audit.strays(&ids)?;
    audit.users()?;
    audit.sessions()?;
    audit.accounts()?;
    audit.dead_letters()?;
    Ok(audit.held)
}

struct Audit<'a> {
    rows: &'a dyn Rows,
    note: &'a mut dyn FnMut(String),
    held: Holdings,
}

impl<'a> Audit<'a> {
    fn note(&mut self, what: impl Into<String>) {
        (self.note)(what.into());
    }

    /// A value, or what keeps it from being read.
    fn value<V: Value>(&mut self, table: Table, key: &[u8], value: &Bytes) -> Option<V> {
        match V::of_row(table, key, value) {
            Ok(value) => Some(value),
            Err(error) => {
                self.note(error.to_string());
                None
            }
        }
    }

    /// The rows of a span that can be read. An error of the tables ends the audit.
    fn each<V: Value>(
        &mut self,
        table: Table,
        span: Span,
        mut look: impl FnMut(&mut Self, &Bytes, V) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        let rows: &'a dyn Rows = self.rows;
        for row in rows.scan(table, span, Direction::Up) {
            let (key, value) = row?;
            if let Some(value) = self.value(table, &key, &value) {
                look(self, &key, value)?;
            }
        }
        Ok(())
    }

    fn rooms(&mut self, ids: &mut HashSet<u64>) -> Result<(), StateError> {
        let mut highest = 0;
        self.each::<Room>(Table::Rooms, Span::all(), |audit, key, room| {
            let name = std::str::from_utf8(key).ok().and_then(|name| RoomName::new(name).ok());
            let Some(name) = name else {
                audit.note(format!("the key {} of table rooms is not a room's name", key.escape_ascii()));
                return Ok(());
            };
            // Of a deleted room only its past epoch is left.
            if room.id == 0 {
                return Ok(());
            }
            highest = highest.max(room.id);
            if !ids.insert(room.id) {
                audit.note(format!("room {name} has the id {}, which another room has as well", room.id));
            }
            audit.held.rooms += 1;
            audit.records(&name, &room)?;
            audit.keys(&name, &room)?;
            audit.members(&name, &room)?;
            audit.beside(&name, &room)
        })?;
        let given = lookups::counter(self.rows, keys::ROOM_IDS)?;
        if given < highest {
            self.note(format!("the last id given to a room is {given}, but a room has the id {highest}"));
        }
        Ok(())
    }

    fn records(&mut self, name: &RoomName, room: &Room) -> Result<(), StateError> {
        if room.first == 0 || room.first > room.head + 1 {
            self.note(format!("room {name} has records from {}, but its head is {}", room.first, room.head));
        }
        let rows: &'a dyn Rows = self.rows;
        let (mut expected, mut last_at) = (room.first, None);
        for row in rows.scan(Table::Records, Span::prefix(&keys::id(room.id), None), Direction::Up) {
            let (key, value) = row?;
            let seq = keys::seq_of(&key);
            self.held.records += 1;
            if seq < room.first || seq > room.head {
                let (first, head) = (room.first, room.head);
                self.note(format!(
                    "room {name} has the record {seq}, which is not between {first} and its head {head}"
                ));
                continue;
            }
            if seq > expected {
                self.note(missing(name, expected, seq - 1));
            }
            expected = seq + 1;
            let mut reader = Reader::new(&value);
            match read_record(&mut reader, seq).and_then(|record| reader.end().map(|()| record)) {
                Ok(record) => last_at = Some(record.at),
                Err(why) => self.note(format!("the record {seq} of room {name} cannot be read: {why}")),
            }
        }
        if expected <= room.head {
            self.note(missing(name, expected, room.head));
        } else if last_at.is_some_and(|at| at != room.last_at) {
            self.note(format!("the record {} of room {name} has another time than the room says", room.head));
        }
        Ok(())
    }

    /// A key may outlive its record, whose room keeps fewer records than keys last.
    fn keys(&mut self, name: &RoomName, room: &Room) -> Result<(), StateError> {
        self.each::<Key>(Table::Keys, Span::prefix(&keys::id(room.id), None), |audit, key, row| {
            audit.held.keys += 1;
            let seq = keys::seq_of(key);
            if seq > room.head || !(room.keys_from..=room.keys_to).contains(&seq) {
                audit.note(format!("room {name} has an idempotency key of the record {seq}, which it cannot have"));
            } else if seq >= room.first {
                let value = audit.rows.get(Table::Records, key)?;
                let record = value.and_then(|value| read_record(&mut Reader::new(&value), seq).ok());
                // A record that is missing or cannot be read has been told of.
                if record.is_some_and(|record| record.key.as_ref() != Some(&row.key) || record.from != row.from) {
                    audit.note(format!("the idempotency key at record {seq} of room {name} is not that record's"));
                }
            }
            Ok(())
        })
    }

    fn members(&mut self, name: &RoomName, room: &Room) -> Result<(), StateError> {
        let (mut members, mut owners) = (0, 0);
        self.each::<Role>(Table::Members, Span::prefix(&keys::id(room.id), None), |audit, key, role| {
            (members, owners) = (members + 1, owners + u64::from(role == Role::Owner));
            let Some(user) = keys::text_of(key).and_then(|user| UserName::new(user).ok()) else {
                audit.note(format!("the key {} of table members does not end with a user's name", key.escape_ascii()));
                return Ok(());
            };
            let row = audit.rows.get(Table::UserRooms, &keys::user_room(&user, name))?;
            let row = row.and_then(|row| audit.value::<UserRoom>(Table::UserRooms, key, &row));
            if row != Some(UserRoom { id: room.id, role }) {
                audit.note(format!(
                    "{user} is a member of room {name}, but the list of the user's rooms does not say so"
                ));
            }
            Ok(())
        })?;
        self.held.members += members;
        let counted = room.created.as_ref().map_or((0, 0), |created| (created.kept.members, created.owners));
        if counted != (members, owners) {
            let (said, owning) = counted;
            self.note(format!("room {name} counts {said} members and {owning} owners, but has {members} and {owners}"));
        }
        Ok(())
    }

    /// Invites and receipts.
    fn beside(&mut self, name: &RoomName, room: &Room) -> Result<(), StateError> {
        let (mut invites, mut receipts) = (0, 0);
        self.each::<Invite>(Table::Invites, Span::prefix(&keys::id(room.id), None), |_, _, _| {
            invites += 1;
            Ok(())
        })?;
        self.each::<Receipts>(Table::Receipts, Span::prefix(&keys::id(room.id), None), |audit, key, row| {
            receipts += 1;
            if row.read.max(row.delivered) > room.head {
                let user = keys::text_of(key).unwrap_or("?").to_owned();
                audit.note(format!("the receipt of {user} in room {name} is above the room's head {}", room.head));
            }
            Ok(())
        })?;
        self.held.invites += invites;
        self.held.receipts += receipts;
        let counted = room.created.as_ref().map_or(0, |created| created.invites);
        for (what, counted, found) in [("invites", counted, invites), ("receipts", room.receipts, receipts)] {
            if counted != found {
                self.note(format!("room {name} counts {counted} {what}, but has {found}"));
            }
        }
        Ok(())
    }

    /// Ids of deleted rooms, and of one that an import has not finished, whose rows the server has yet to remove.
    fn garbage(&mut self, ids: &mut HashSet<u64>) -> Result<(), StateError> {
        ids.extend(imports::unfinished_id(self.rows)?);
        self.each::<Name>(Table::Garbage, Span::all(), |audit, key, Name(name)| {
            if !ids.insert(keys::number_of(key)) {
                audit.note(format!("the rows of room {name} are in use and marked for removal"));
            }
            Ok(())
        })
    }

    /// Rows of ids that no room has.
    fn strays(&mut self, ids: &HashSet<u64>) -> Result<(), StateError> {
        for table in OF_ROOMS {
            let mut span = Span::all();
            while let Some(row) = self.rows.scan(table, span, Direction::Up).next() {
                let (key, _) = row?;
                let id = key.get(..8).map_or(0, keys::number_of);
                if !ids.contains(&id) {
                    self.note(format!("table {} has rows of the id {id}, which no room has", table.name()));
                }
                let Some(next) = id.checked_add(1) else { break };
                span = Span { from: std::ops::Bound::Included(keys::id(next)), to: std::ops::Bound::Unbounded };
            }
        }
        Ok(())
    }

    /// The rooms of users: how many, and whether each room has the user. The row that counts stands before those that it
    /// counts.
    fn users(&mut self) -> Result<(), StateError> {
        let rows: &'a dyn Rows = self.rows;
        let mut current: Option<(Bytes, u64, u64)> = None;
        for row in rows.scan(Table::UserRooms, Span::all(), Direction::Up) {
            let (key, value) = row?;
            let Some(end) = key.iter().position(|byte| *byte == 0) else {
                self.count_of_user(current.take());
                let count = self.value::<UserCount>(Table::UserRooms, &key, &value);
                current = count.map(|count| (key, count.rooms, 0));
                continue;
            };
            let Some(row) = self.value::<UserRoom>(Table::UserRooms, &key, &value) else { continue };
            match &mut current {
                Some((user, _, found)) if user[..] == key[..end] => *found += 1,
                _ => self.note(format!("the rooms of user {} are not counted", key[..end].escape_ascii())),
            }
            let room = Room::find(rows, Table::Rooms, &key[end + 1..]).ok().flatten();
            // Otherwise the room was deleted, and the row waits for its removal.
            if room.is_some_and(|room| room.id == row.id) {
                let member = [&keys::id(row.id)[..], &key[..end]].concat();
                if Role::find(rows, Table::Members, &member).ok().flatten() != Some(row.role) {
                    let (user, room) = (key[..end].escape_ascii(), key[end + 1..].escape_ascii());
                    self.note(format!("the rooms of user {user} list room {room} with a role that it does not give"));
                }
            }
        }
        self.count_of_user(current);
        Ok(())
    }

    fn count_of_user(&mut self, counted: Option<(Bytes, u64, u64)>) {
        if let Some((user, counted, found)) = counted
            && counted != found
        {
            self.note(format!("user {} counts {counted} rooms, but has {found}", user.escape_ascii()));
        }
    }

    fn sessions(&mut self) -> Result<(), StateError> {
        let (mut sessions, mut ages) = (0, 0);
        self.each::<Session>(Table::Sessions, Span::prefix(keys::SESSION, None), |audit, key, session| {
            sessions += 1;
            let age = keys::session_of(key).map(|id| keys::age(session.kept.opened_at, id));
            let is_aged = age.map(|age| audit.rows.get(Table::Sessions, &age)).transpose()?.flatten().is_some();
            if !is_aged {
                audit.note(format!("the session of {} has no place in the order of ages", session.kept.user));
            }
            Ok(())
        })?;
        self.each::<Present>(Table::Sessions, Span::prefix(keys::AGE, None), |_, _, _| {
            ages += 1;
            Ok(())
        })?;
        self.held.sessions = sessions;
        let counted = lookups::counter(self.rows, keys::SESSIONS)?;
        if counted != sessions || ages != sessions {
            self.note(format!("{counted} sessions are counted and {ages} ordered by age, but there are {sessions}"));
        }
        Ok(())
    }

    fn accounts(&mut self) -> Result<(), StateError> {
        self.each::<KeptAccount>(Table::Accounts, Span::all(), |audit, key, account| {
            audit.held.accounts += 1;
            if account.user.as_bytes() != &key[..] {
                audit.note(format!("the account of {} is kept as that of {}", account.user, key.escape_ascii()));
            }
            Ok(())
        })
    }

    fn dead_letters(&mut self) -> Result<(), StateError> {
        let mut highest = 0;
        self.each::<DeadLetter>(Table::DeadLetters, Span::all(), |audit, key, letter| {
            audit.held.dead_letters += 1;
            highest = highest.max(letter.id);
            if letter.id != keys::number_of(key) {
                audit.note(format!("dead letter {} is kept as number {}", letter.id, keys::number_of(key)));
            }
            Ok(())
        })?;
        let counted = lookups::counter(self.rows, keys::DEAD_LETTERS)?;
        if counted != self.held.dead_letters {
            let found = self.held.dead_letters;
            self.note(format!("{counted} dead letters are counted, but there are {found}"));
        }
        let given = lookups::counter(self.rows, keys::DEAD_LETTER_IDS)?;
        if given < highest {
            self.note(format!("the last dead letter was given the number {given}, but one has the number {highest}"));
        }
        Ok(())
    }
}

fn missing(name: &RoomName, from: u64, to: u64) -> String {
    if from == to {
        format!("the record {from} of room {name} is missing")
    } else {
        format!("the records {from} to {to} of room {name} are missing")
    }
}
