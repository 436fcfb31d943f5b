//! What the log holds: the changes of the store's state, as values and as bytes. Knows neither files nor tables.
//!
//! A change is written as one byte that names its kind, then its fields: integers in little-endian order, texts and data with
//! their length as a `u32` before them, options with a byte 0 or 1 before them. The format is versioned by the log's segments.

use bytes::Bytes;

use super::codec::bytes::{DecodeError, Reader, Writer};
use super::codec::values::{read_record, write_record};
use crate::base::ids::{Epoch, RoomName, Seq};
use crate::engine::kept::KeptAsk;
use crate::engine::record::Record;

mod asks;
mod imports;

pub use imports::ImportStep;

/// One change. Everything that its effect depends on is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A process begins to use the store.
    Begin {
        /// Counts up by one with each.
        boot: u64,
        /// Publications are acknowledged before they are kept, so what is not kept when the process dies has been seen.
        is_behind: bool,
    },
    /// The process of the last `Begin` ends, and everything that it has numbered is kept.
    End,
    /// A room is used in this boot for the first time: one that is not known gets `epoch`, and so does one that was last used
    /// in a boot that was behind and did not end.
    Open {
        /// Which room.
        room: RoomName,
        /// Never used before.
        epoch: Epoch,
        /// Unix milliseconds.
        at: u64,
    },
    /// Keep a record. One that does not come right after the room's head, or has another epoch, changes nothing. A room without
    /// a numbering, which has been forgotten while a core had it, takes that of the record, unless it is of a deleted room.
    Append {
        /// Which room.
        room: RoomName,
        /// Its numbering.
        epoch: Epoch,
        /// The record.
        record: Record,
    },
    /// A request that is not a read ([`KeptAsk::is_read`]).
    Ask(KeptAsk),
    /// A step of bringing in a room from an export. The room appears as a whole with [`ImportStep::Finish`].
    Import(ImportStep),
    /// Forget a room of which nothing is held but its numbering, after its `numbering_ttl`; what is left beside goes with it.
    /// A room that has changed meanwhile stays.
    Forget {
        /// Which room.
        room: RoomName,
        /// Its id in the state.
        id: u64,
        /// Its head.
        seq: Seq,
        /// When it was last used, Unix milliseconds.
        used_at: u64,
    },
}

impl Change {
    /// Writes the change behind what `out` holds.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let out = &mut Writer(out);
        match self {
            Change::Begin { boot, is_behind } => {
                out.u8(BEGIN);
                out.u64(*boot);
                out.flag(*is_behind);
            }
            Change::End => out.u8(END),
            Change::Open { room, epoch, at } => {
                out.u8(OPEN);
                out.text(room);
                out.u64(epoch.0);
                out.u64(*at);
            }
            Change::Append { room, epoch, record } => {
                out.u8(APPEND);
                out.text(room);
                out.u64(epoch.0);
                out.u64(record.seq);
                write_record(out, record);
            }
            Change::Ask(ask) => {
                out.u8(ASK);
                asks::write(out, ask);
            }
            Change::Import(step) => {
                out.u8(IMPORT);
                imports::write(out, step);
            }
            Change::Forget { room, id, seq, used_at } => {
                out.u8(FORGET);
                out.text(room);
                out.u64(*id);
                out.u64(*seq);
                out.u64(*used_at);
            }
        }
    }

    /// Reads a change that takes all of `bytes`. The data of its record shares them.
    ///
    /// # Errors
    /// The bytes are no change.
    pub fn decode(bytes: &Bytes) -> Result<Change, DecodeError> {
        let mut from = Reader::new(bytes);
        let change = Change::read(&mut from)?;
        from.end()?;
        Ok(change)
    }

    fn read(from: &mut Reader<'_>) -> Result<Change, DecodeError> {
        match from.choice("kind of change", |byte| (BEGIN..=IMPORT).contains(&byte).then_some(byte))? {
            BEGIN => Ok(Change::Begin { boot: from.u64("a boot's number")?, is_behind: from.flag("a boot's flag")? }),
            END => Ok(Change::End),
            OPEN => {
                let (room, epoch) = (from.room("an opened room")?, Epoch(from.u64("an opened room's epoch")?));
                Ok(Change::Open { room, epoch, at: from.u64("an opened room's time")? })
            }
            APPEND => {
                let (room, epoch) = (from.room("a record's room")?, Epoch(from.u64("a record's epoch")?));
                let seq = from.u64("a record's seq")?;
                Ok(Change::Append { room, epoch, record: read_record(from, seq)? })
            }
            ASK => Ok(Change::Ask(asks::read(from)?)),
            IMPORT => Ok(Change::Import(imports::read(from)?)),
            _ => Ok(Change::Forget {
                room: from.room("a forgotten room")?,
                id: from.u64("a forgotten room's id")?,
                seq: from.u64("a forgotten room's head")?,
                used_at: from.u64("a forgotten room's time")?,
            }),
        }
    }
}

/// The bytes that name the kinds of changes. They never change their meaning.
const BEGIN: u8 = 1;
const END: u8 = 2;
const OPEN: u8 = 3;
const APPEND: u8 = 4;
const ASK: u8 = 5;
const FORGET: u8 = 6;
const IMPORT: u8 = 7;

#[cfg(test)]
mod tests;
