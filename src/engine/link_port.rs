//! The port between an engine and the link that joins several machines: what is asked of it, what it says. Values only;
//! the rules that repair lost, late and repeated events are in `engine::owner::linked`.

use super::record::{PageAnswer, PageRequest, Record, Stretch};
use crate::base::ids::{Epoch, Position, RoomName, Seq};

/// To the link. Requests of one room are carried out in order; a lost answer is asked for again by the engine, but for
/// `Publish`, which the link itself retries and answers once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkRequest {
    /// Listen to a room and answer with its newest `count` records (`LinkEvent::Read`), so that nothing published
    /// after the answer's head is missed while the link holds.
    Open {
        /// Which room.
        room: RoomName,
        /// How many.
        count: usize,
    },
    /// Read the records above `after`, at most `count` of the oldest (`LinkEvent::Read`).
    Read {
        /// Which room.
        room: RoomName,
        /// Above which.
        after: Seq,
        /// How many.
        count: usize,
    },
    /// Read a page of a room's history (`LinkEvent::Page`). Asked only where no store keeps the room.
    Page(PageRequest),
    /// Stop listening to a room.
    Close {
        /// Which room.
        room: RoomName,
    },
    /// Number a publish, keep it and tell every machine, atomically (`LinkEvent::Published`, then
    /// `LinkEvent::Publication` on every machine that listens, this one too).
    Publish {
        /// Comes back in the answer.
        token: u64,
        /// Which room.
        room: RoomName,
        /// What; `seq` is not set yet.
        record: Record,
    },
}

/// From the link (one machine of many). Any event may be lost, late, repeated or out of order; the rules that repair
/// that are in `engine::owner::linked`.
#[derive(Debug)]
pub enum LinkEvent {
    /// Answer to `LinkRequest::Open` or `LinkRequest::Read`.
    Read {
        /// Which room.
        room: RoomName,
        /// What the link holds of it.
        stretch: Stretch,
    },
    /// Answer to `LinkRequest::Page`.
    Page(PageAnswer),
    /// A publication was numbered, here or elsewhere.
    Publication {
        /// Which room.
        room: RoomName,
        /// Its numbering.
        epoch: Epoch,
        /// What.
        record: Record,
    },
    /// Answer to `LinkRequest::Publish`.
    Published {
        /// The request's.
        token: u64,
        /// Its position, and whether the key was known; or the link could not do it and the publish did not happen,
        /// as far as can be known.
        result: Result<(Position, bool), LinkFailure>,
    },
    /// The connection to the link was made again: anything may have been missed.
    Restored,
}

/// The link could not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkFailure {
    /// When the publisher should try again.
    pub retry_after_ms: u64,
}
