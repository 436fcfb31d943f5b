//! The removal of what is not shown any more, a bounded number of rows at a time: records and keys, invites, sessions, the
//! rows of deleted rooms. No answer depends on it. It proposes to forget rooms of which only the numbering is left.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;

use super::error::StateError;
use super::keys::number_of;
use super::rows::{Boot, Key, Name, Room, Session, Value};
use super::rules::{Rules, Setup};
use super::{invites, keys, lookups, members, pages, sessions};
use crate::base::ids::{RoomName, UserName};
use crate::base::limits::{EXPIRY_MARGIN_MS, FORGET_AFTER_MS, KEY_WINDOW_MS};
use crate::store::change::Change;
use crate::store::tables::rows::{Direction, Put, Rows, Span};
use crate::store::tables::table::Table;
use crate::store::tables::write_set::WriteSet;

/// Rooms that wait to be trimmed before their turn; further ones wait for it.
const HURRIED_MAX: usize = 65_536;

/// Rooms that one sweep looks at in their turn. In a busy table each costs a look at every version of its row that is still in
/// memory, so there are few of them, however large the budget is.
const ROOMS_PER_SWEEP: usize = 256;

/// The tables with rows of a room's id.
const OF_ROOMS: [Table; 5] = [Table::Records, Table::Keys, Table::Members, Table::Invites, Table::Receipts];

/// What a sweep has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Rows that were removed.
    pub removed: usize,
    /// Every room and session has been looked at since this was last so.
    pub is_round_done: bool,
    /// Changes to be applied, after they are in the log: rooms to be forgotten. They may be proposed again meanwhile.
    pub forget: Vec<Change>,
}

/// Where the next sweep goes on. Not kept: a new process begins anew.
#[derive(Debug, Default)]
pub(super) struct Sweeper {
    hurried: VecDeque<RoomName>,
    is_hurried: HashSet<RoomName>,
    /// The id whose rows are being removed, and the table and key where that goes on: what was removed is not read again.
    garbage: Option<(u64, usize, Bytes)>,
    /// The last session and the last room that were looked at.
    session: Option<Bytes>,
    room: Option<Bytes>,
    is_session_round_done: bool,
}

impl Sweeper {
    /// Sweeps a room before its turn.
    pub fn hurry(&mut self, room: RoomName) {
        if self.hurried.len() < HURRIED_MAX && self.is_hurried.insert(room.clone()) {
            self.hurried.push_back(room);
        }
    }

    /// Hurried rooms get half of the budget, garbage and sessions a quarter each of what is then left; the rest, and what they
    /// do not use, is for the other rooms.
    pub fn run(&mut self, pass: &mut Pass<'_>) -> Result<(), StateError> {
        let until = pass.left / 2;
        while pass.left > until
            && let Some(name) = self.hurried.pop_front()
        {
            self.is_hurried.remove(&name);
            let Some(room) = Room::find(&pass.set, Table::Rooms, name.as_bytes())? else { continue };
            let allowance = pass.left - until;
            if !pass.room(&name, room, allowance)? {
                self.hurry(name);
            }
        }
        let part = (pass.left / 4).max(1).min(pass.left);
        self.collect_garbage(pass, part)?;
        self.sweep_sessions(pass, part)?;
        self.sweep_rooms(pass)
    }

    fn collect_garbage(&mut self, pass: &mut Pass<'_>, allowance: usize) -> Result<(), StateError> {
        let until = pass.left - allowance.min(pass.left);
        while pass.left > until {
            let first = pass.set.scan(Table::Garbage, Span::all(), Direction::Up).next();
            let Some((key, value)) = first.transpose()? else { return Ok(()) };
            let (id, name) = (number_of(&key), Name::of_row(Table::Garbage, &key, &value)?.0);
            let (mut place, mut after) = match self.garbage.take() {
                Some((of, place, after)) if of == id => (place, Some(after)),
                _ => (0, None),
            };
            while let Some(table) = OF_ROOMS.get(place) {
                let rows = pass.of_room(*table, id, after.as_ref(), pass.left - until)?;
                let Some(last) = rows.last().cloned() else {
                    (place, after) = (place + 1, None);
                    continue;
                };
                pass.remove_garbage(*table, id, &name, rows)?;
                if pass.left <= until {
                    self.garbage = Some((id, place, last));
                    return Ok(());
                }
                after = Some(last);
            }
            pass.remove(Table::Garbage, key);
            pass.left -= 1;
        }
        Ok(())
    }

    fn sweep_sessions(&mut self, pass: &mut Pass<'_>, allowance: usize) -> Result<(), StateError> {
        let allowance = allowance.min(pass.left);
        if allowance == 0 {
            return Ok(());
        }
        let span = Span::prefix(keys::SESSION, self.session.as_deref());
        let rows = Session::scan(&pass.set, Table::Sessions, span, Direction::Up).take(allowance);
        let rows: Vec<_> = rows.collect::<Result<_, _>>()?;
        self.is_session_round_done |= rows.len() < allowance;
        self.session = rows.last().map(|(key, _)| key.clone()).filter(|_| rows.len() == allowance);
        for (key, session) in rows {
            pass.left -= 1;
            let end = sessions::expires_at(&session, pass.boot, pass.setup, pass.rules);
            let is_over = end.is_some_and(|end| end.saturating_add(EXPIRY_MARGIN_MS) <= pass.now);
            if let Some(id) = keys::session_of(&key).filter(|_| is_over) {
                sessions::remove(&mut pass.set, id)?;
                pass.swept.removed += 1;
            }
        }
        Ok(())
    }

    fn sweep_rooms(&mut self, pass: &mut Pass<'_>) -> Result<(), StateError> {
        let count = pass.left.min(ROOMS_PER_SWEEP);
        let rows = Room::scan(&pass.set, Table::Rooms, Span::prefix(b"", self.room.as_deref()), Direction::Up);
        let rows: Vec<_> = rows.take(count).collect::<Result<_, _>>()?;
        let is_last = rows.len() < count;
        for (key, room) in rows {
            if pass.left == 0 {
                return Ok(());
            }
            self.room = Some(key.clone());
            let name = std::str::from_utf8(&key).ok().and_then(|name| RoomName::new(name).ok());
            let Some(name) = name else { continue };
            let allowance = pass.left;
            if !pass.room(&name, room, allowance)? {
                self.hurry(name);
            }
        }
        if is_last {
            self.room = None;
            pass.swept.is_round_done = std::mem::take(&mut self.is_session_round_done);
        }
        Ok(())
    }
}

/// One sweep.
pub(super) struct Pass<'a> {
    set: WriteSet<'a>,
    setup: &'a Setup,
    rules: &'a Rules,
    boot: Boot,
    now: u64,
    /// Rows that it may still look at.
    left: usize,
    swept: Swept,
}

impl<'a> Pass<'a> {
    pub fn new(
        rows: &'a dyn Rows,
        setup: &'a Setup,
        rules: &'a Rules,
        now: u64,
        left: usize,
    ) -> Result<Self, StateError> {
        let boot = lookups::boot(rows)?;
        Ok(Self { set: WriteSet::new(rows), setup, rules, boot, now, left, swept: Swept::default() })
    }

    pub fn end(self) -> (Vec<Put>, Swept) {
        (self.set.into_batch(), self.swept)
    }

    fn remove(&mut self, table: Table, key: impl Into<Bytes>) {
        self.set.remove(table, key);
        self.swept.removed += 1;
    }

    /// Sweeps a room by at most `allowance` rows; whether it is done.
    fn room(&mut self, name: &RoomName, mut room: Room, allowance: usize) -> Result<bool, StateError> {
        let until = self.left - allowance.min(self.left);
        self.left -= 1;
        let before = room.clone();
        let keep = (self.rules.retention)(name);
        let expired_at = self.now.saturating_sub(keep.ttl_ms);
        let unexpired = pages::first_after(&self.set, name, &room, expired_at)?;
        let delivered = lookups::delivered(&self.set, name, &room)?;
        let shown_from = pages::shown_from(&room, keep, unexpired, delivered);
        while room.first < shown_from && self.left > until {
            self.remove(Table::Records, keys::record(room.id, room.first));
            room.first += 1;
            self.left -= 1;
        }
        let are_keys_done = self.keys(&mut room, until)?;
        let expired_at = self.now.saturating_sub(EXPIRY_MARGIN_MS);
        if let Some(created) = room.created.as_mut().filter(|created| created.invites > 0) {
            let removed = invites::remove_expired(&mut self.set, room.id, created, expired_at, self.left - until)?;
            self.swept.removed += removed;
            self.left -= removed;
        }
        if room != before {
            self.set.put(Table::Rooms, name.as_bytes().to_vec(), room.to_bytes());
        }
        let idle_ms = keep.numbering_ttl_ms.max(FORGET_AFTER_MS);
        let is_idle = room.used_at.saturating_add(idle_ms) <= self.now;
        if room.created.is_none() && room.first > room.head && is_idle {
            let Room { id, head: seq, used_at, .. } = room;
            self.swept.forget.push(Change::Forget { room: name.clone(), id, seq, used_at });
        }
        Ok(room.first >= shown_from && are_keys_done)
    }

    /// Removes old keys; whether none is left.
    fn keys(&mut self, room: &mut Room, until: usize) -> Result<bool, StateError> {
        if room.keys_from > room.keys_to {
            return Ok(true);
        }
        let since = self.now.saturating_sub(KEY_WINDOW_MS + EXPIRY_MARGIN_MS);
        let from = keys::record(room.id, room.keys_from);
        let to = keys::record(room.id, room.keys_to);
        let span = Span { from: std::ops::Bound::Included(from), to: std::ops::Bound::Included(to) };
        let rows = Key::scan(&self.set, Table::Keys, span, Direction::Up).take((self.left - until).saturating_add(1));
        let mut old = Vec::new();
        let mut next = room.keys_to + 1;
        for row in rows {
            let (key, row) = row?;
            if row.at >= since || old.len() == self.left - until {
                next = keys::seq_of(&key);
                break;
            }
            old.push(key);
        }
        let is_done = next > room.keys_to || old.len() < self.left - until;
        room.keys_from = next;
        self.left -= old.len();
        old.into_iter().for_each(|key| self.remove(Table::Keys, key));
        Ok(is_done)
    }

    /// Keys of a table with a room's id, at most `count`.
    fn of_room(&self, table: Table, id: u64, after: Option<&Bytes>, count: usize) -> Result<Vec<Bytes>, StateError> {
        let span = Span::prefix(&keys::id(id), after.map(|after| &after[..]));
        let rows = self.set.scan(table, span, Direction::Up).take(count);
        Ok(rows.map(|row| row.map(|(key, _)| key)).collect::<Result<_, _>>()?)
    }

    fn remove_garbage(&mut self, table: Table, id: u64, name: &RoomName, rows: Vec<Bytes>) -> Result<(), StateError> {
        for key in rows {
            let user = keys::text_of(&key).filter(|_| table == Table::Members);
            if let Some(user) = user.and_then(|user| UserName::new(user).ok()) {
                members::remove_from_user(&mut self.set, &user, name, id)?;
            }
            self.remove(table, key);
            self.left -= 1;
        }
        Ok(())
    }
}
