//! The port between an engine and the link that joins several machines: requests and events. Values only.
//! `engine::owner::linked` has the rules that repair lost, late and repeated events.

use super::record::{PageAnswer, PageRequest, Record, Stretch};
use crate::base::ids::{Epoch, Position, RoomName, Seq};

/// A request to the link. The link performs requests of one room in order. The engine repeats a request whose answer
/// was lost, except `Publish`, which the link retries itself and answers once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkRequest {
    /// Subscribes to a room and reads its newest `count` records (`LinkEvent::Read`). Nothing published after the head
    /// in the answer is missed while the connection to the link lasts.
    Open {
        /// Which room.
        room: RoomName,
        /// Maximum number of records.
        count: usize,
    },
    /// Reads the oldest records above `after`, at most `count` (`LinkEvent::Read`).
    Read {
        /// Which room.
        room: RoomName,
        /// The seq before the first record.
        after: Seq,
        /// Maximum number of records.
        count: usize,
    },
    /// Read a page of a room's history (`LinkEvent::Page`). Asked only where no store keeps the room.
    Page(PageRequest),
    /// Stop listening to a room.
    Close {
        /// Which room.
        room: RoomName,
    },
    /// Numbers a publish, keeps it and sends it to every machine, atomically (`LinkEvent::Published`, then
    /// `LinkEvent::Publication` on every machine that is subscribed, including this one).
    Publish {
        /// Comes back in the answer.
        token: u64,
        /// Which room.
        room: RoomName,
        /// The publish. `seq` is not set yet.
        record: Record,
    },
}

/// An event from the link, which joins many machines. Any event may be lost, late, repeated or out of order.
/// `engine::owner::linked` has the rules that repair that.
#[derive(Debug)]
pub enum LinkEvent {
    /// Answer to `LinkRequest::Open` or `LinkRequest::Read`.
    Read {
        /// Which room.
        room: RoomName,
        /// The records that the link holds.
        stretch: Stretch,
    },
    /// Answer to `LinkRequest::Page`.
    Page(PageAnswer),
    /// A publication was numbered, here or elsewhere.
    Publication {
        /// Which room.
        room: RoomName,
        /// The room's numbering.
        epoch: Epoch,
        /// The record.
        record: Record,
    },
    /// Answer to `LinkRequest::Publish`.
    Published {
        /// The token of the request.
        token: u64,
        /// The position, and whether the key was known; or a failure, in which case the publish did not happen, as far
        /// as can be known.
        result: Result<(Position, bool), LinkFailure>,
    },
    /// The connection to the link was restored. Any event may have been missed.
    Restored,
}

/// The link failed to perform a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkFailure {
    /// When the publisher should try again.
    pub retry_after_ms: u64,
}
