//! The changes of one commit, which become one batch: boots, rooms in use, records. What is asked is carried out by `rooms`,
//! `members`, `invites`, `receipts`, `sessions`, `accounts` and `dead_letters`.

use super::error::StateError;
use super::outcome::{Outcome, Skipped};
use super::rows::{Boot, Key, Name, Present, Room, Value};
use super::rules::{Rules, Setup};
use super::{keys, lookups};
use crate::base::ids::{Epoch, RoomName, Seq};
use crate::engine::record::Record;
use crate::store::change::Change;
use crate::store::codec::bytes::Writer;
use crate::store::codec::values::write_record;
use crate::store::tables::rows::Rows;
use crate::store::tables::table::Table;
use crate::store::tables::write_set::WriteSet;

/// A room's records are held against its bound each time that they have grown by so many.
const CHECK_EVERY: u64 = 32;

/// See the module.
pub(super) struct Group<'a> {
    pub set: WriteSet<'a>,
    pub setup: &'a Setup,
    pub rules: &'a Rules,
    pub boot: Boot,
    /// Rooms that have grown far over their bound.
    pub overgrown: Vec<RoomName>,
}

impl<'a> Group<'a> {
    pub fn new(rows: &'a dyn Rows, setup: &'a Setup, rules: &'a Rules) -> Result<Self, StateError> {
        let boot = lookups::boot(rows)?;
        Ok(Self { set: WriteSet::new(rows), setup, rules, boot, overgrown: Vec::new() })
    }

    /// Carries a change out.
    pub fn apply(&mut self, change: &Change) -> Result<Outcome, StateError> {
        match change {
            Change::Begin { boot, is_behind } => self.begin(*boot, *is_behind)?,
            Change::End => {
                self.boot.has_ended = true;
                self.put(Table::Meta, keys::BOOT, &self.boot.clone());
            }
            Change::Open { room, epoch, at } => self.open(room, *epoch, *at)?,
            Change::Append { room, epoch, record } => return self.append(room, *epoch, record),
            Change::Ask(ask) => return self.ask(ask),
            Change::Import(step) => return self.import(step),
            Change::Forget { room, id, seq, used_at } => self.forget(room, *id, *seq, *used_at)?,
        }
        Ok(Outcome::Done)
    }

    pub fn put(&mut self, table: Table, key: impl Into<Vec<u8>>, value: &impl Value) {
        self.set.put(table, key.into(), value.to_bytes());
    }

    pub fn put_room(&mut self, name: &RoomName, room: &Room) {
        self.put(Table::Rooms, name.as_bytes(), room);
    }

    pub fn room(&self, name: &RoomName) -> Result<Room, StateError> {
        lookups::room(&self.set, name)
    }

    /// Adds to a counter; its new value.
    pub fn count(&mut self, key: &[u8], by: i64) -> Result<u64, StateError> {
        let counted = lookups::counter(&self.set, key)?.saturating_add_signed(by);
        self.put(Table::Meta, key, &counted);
        Ok(counted)
    }

    /// Gives a room an id, if it has none.
    pub fn begin_life(&mut self, room: &mut Room) -> Result<(), StateError> {
        if room.id == 0 {
            room.id = self.count(keys::ROOM_IDS, 1)?;
        }
        Ok(())
    }

    /// The rows of a room's id are garbage from now on.
    pub fn end_life(&mut self, name: &RoomName, id: u64) {
        if id != 0 {
            self.put(Table::Garbage, keys::id(id), &Name(name.clone()));
        }
    }

    fn begin(&mut self, number: u64, is_behind: bool) -> Result<(), StateError> {
        self.end_import()?;
        let before = self.boot;
        if before.is_behind && !before.has_ended {
            self.put(Table::Meta, keys::unclean(before.number), &Present);
        }
        self.boot = Boot { number, is_behind, has_ended: false };
        self.put(Table::Meta, keys::BOOT, &self.boot.clone());
        Ok(())
    }

    fn open(&mut self, name: &RoomName, epoch: Epoch, at: u64) -> Result<(), StateError> {
        let mut room = self.room(name)?;
        self.begin_life(&mut room)?;
        if !room.has_numbering() {
            room.number(epoch, 0);
        } else if room.boot < self.boot.number && lookups::is_unclean(&self.set, room.boot)? {
            room.epoch = epoch;
        }
        room.use_at(at, self.boot.number);
        self.put_room(name, &room);
        Ok(())
    }

    /// A room without a numbering takes that of the record: it has been forgotten while a core still had it, without records
    /// of its own. But not that of its life before, of which records may still be under way.
    fn append(&mut self, name: &RoomName, epoch: Epoch, record: &Record) -> Result<Outcome, StateError> {
        let mut room = self.room(name)?;
        let Some(before) = record.seq.checked_sub(1) else {
            return Ok(Outcome::Skipped(Skipped::KeptAlready { head: room.head }));
        };
        if !room.has_numbering() {
            if epoch == room.past || epoch == Epoch::UNKNOWN {
                return Ok(Outcome::Skipped(Skipped::Deleted));
            }
            self.begin_life(&mut room)?;
            room.number(epoch, before);
        }
        let skipped = if room.epoch != epoch {
            Some(Skipped::OtherEpoch { epoch: room.epoch })
        } else if before < room.head {
            Some(Skipped::KeptAlready { head: room.head })
        } else {
            (before > room.head).then_some(Skipped::Gap { head: room.head })
        };
        if let Some(skipped) = skipped {
            return Ok(Outcome::Skipped(skipped));
        }
        self.put_record(&mut room, record);
        room.use_at(record.at, self.boot.number);
        self.put_room(name, &room);
        let held = room.head + 1 - room.first;
        if held.is_multiple_of(CHECK_EVERY) {
            let count = (self.rules.retention)(name).count;
            if held > count.saturating_add(count / 4) {
                self.overgrown.push(name.clone());
            }
        }
        Ok(Outcome::Done)
    }

    pub fn put_record(&mut self, room: &mut Room, record: &Record) {
        let key = keys::record(room.id, record.seq);
        if let Some(text) = &record.key {
            let row = Key { at: record.at, from: record.from.clone(), key: text.clone() };
            self.put(Table::Keys, key.clone(), &row);
            if room.keys_from > room.keys_to {
                room.keys_from = record.seq;
            }
            room.keys_to = record.seq;
        }
        let mut value = Vec::with_capacity(record.data.len() + 64);
        write_record(&mut Writer(&mut value), record);
        self.set.put(Table::Records, key, value);
        if record.at < room.last_at {
            room.steady_from = record.seq;
        }
        (room.head, room.last_at) = (record.seq, record.at);
    }

    fn forget(&mut self, name: &RoomName, id: u64, seq: Seq, used_at: u64) -> Result<(), StateError> {
        let room = self.room(name)?;
        if room.created.is_none() && (room.id, room.head, room.used_at) == (id, seq, used_at) {
            self.set.remove(Table::Rooms, name.as_bytes().to_vec());
            self.end_life(name, id);
        }
        Ok(())
    }
}
