//! What the log holds: the changes of the store's state, as values and as bytes. Knows neither files nor tables.
//!
//! A change is written as one byte that names its kind, then its fields: integers in little-endian order, texts and data with
//! their length as a `u32` before them, options with a byte 0 or 1 before them. The format is versioned by the log's segments.

use crate::base::ids::{Epoch, RoomName};
use crate::engine::kept::KeptAsk;
use crate::engine::record::Record;

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
    /// Keep a record. One that does not come right after the room's head, or has another epoch, changes nothing.
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
}
