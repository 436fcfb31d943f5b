//! The port between an engine and the link that joins several machines: requests and events. Values only.
//! `engine::owner::linked` has the rules that repair lost, late and repeated events.
//!
//! A *life* is one run of one machine, named by 64 random bits. At the link each room has, beside its records, a count of
//! its presence changes (its presence *version*): whoever has seen them without a hole knows who is present.

use super::record::{PageAnswer, PageRequest, Record, Stretch};
use crate::base::ids::{Epoch, Position, RoomName, Seq, UserName};

/// A request to the link. The link performs requests of one room in order, except that publishes wait until the link may
/// number ([`LinkRequest::Verified`]) and nothing waits behind them. The engine repeats a request whose answer was lost;
/// the link itself performs `Publish`, `Presence` and `Close`, however long that takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkRequest {
    /// Subscribes to a room and reads its newest `count` records and who is present (`LinkEvent::Read`). Nothing published
    /// after the head in the answer is missed while the connection to the link lasts. Gives a new room an epoch.
    Open {
        /// Comes back in the answer.
        token: u64,
        /// Which room.
        room: RoomName,
        /// Maximum number of records.
        count: usize,
    },
    /// Reads the oldest records above `after`, at most `count` (`LinkEvent::Read`).
    Read {
        /// Comes back in the answer.
        token: u64,
        /// Which room.
        room: RoomName,
        /// The seq before the first record.
        after: Seq,
        /// Maximum number of records.
        count: usize,
        /// Whether the answer is to say who is there.
        presence: bool,
    },
    /// Reads a page of a room's history (`LinkEvent::Page`). Asked only where no store keeps the room.
    Page(PageRequest),
    /// If the room still has the epoch `from`, gives it `epoch`, atomically: the records that it still has stay, and numbers
    /// go on from its head. Answered like an open, with what the link holds then, whether or not it has done so.
    Renumber {
        /// Comes back in the answer.
        token: u64,
        /// Which room.
        room: RoomName,
        /// The epoch that has lost records.
        from: Epoch,
        /// Never used before.
        epoch: Epoch,
        /// Maximum number of the newest records in the answer.
        count: usize,
    },
    /// Reads the heads of rooms (`LinkEvent::Positions`).
    Positions {
        /// Comes back in the answer.
        token: u64,
        /// At most [`POSITIONS_MAX`](crate::base::limits::POSITIONS_MAX).
        rooms: Vec<RoomName>,
    },
    /// Ends the subscription to a room, and the presence that this life has reported there.
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
    /// Who is in a room on this machine (`LinkEvent::Presence` on every machine that listens, this one too).
    Presence {
        /// Which room.
        room: RoomName,
        /// First forget what this life has told of the room before.
        afresh: bool,
        /// The users whose counts have changed, each once; at most
        /// [`PRESENCE_CHANGES_MAX`](crate::base::limits::PRESENCE_CHANGES_MAX).
        changes: Vec<UserCounts>,
    },
    /// Every room of this core has been compared with the link since this `Restored`, and those that had lost records
    /// have new epochs. After a failover the link numbers again when every core of every machine that was alive has said so;
    /// where one of them ended before it had, rooms that it may have known get new epochs.
    Verified {
        /// Of the `Restored`.
        round: u64,
    },
}

/// An event from the link, which joins many machines. Any event may be lost, late, repeated or out of order;
/// `engine::owner::linked` has the rules that repair that. One thing is certain: where the link may have lost data, nothing
/// that it said before comes after the `Restored`; a publish that was not answered by then is answered as failed.
#[derive(Debug)]
pub enum LinkEvent {
    /// Answer to `LinkRequest::Open`, `LinkRequest::Read` or `LinkRequest::Renumber`.
    Read {
        /// The request's.
        token: u64,
        /// Which room.
        room: RoomName,
        /// The records that the link holds.
        stretch: Stretch,
        /// Who is there on other machines, where the request asked for it: opens always do.
        present: Option<Present>,
    },
    /// Answer to `LinkRequest::Positions`.
    Positions {
        /// The request's.
        token: u64,
        /// Where each room stands; `None`: the link does not know the room.
        heads: Vec<(RoomName, Option<LinkHead>)>,
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
    /// Who is there changed.
    Presence {
        /// Which room.
        room: RoomName,
        /// On which life.
        life: u64,
        /// The room's presence version from here on.
        version: u64,
        /// The counts that hold from here on. Empty where the changes are this machine's own.
        changes: Vec<UserCounts>,
    },
    /// A life has ended without taking its leave: none of its users is there any more.
    LifeEnded {
        /// Which.
        life: u64,
    },
    /// The connection to the link was made again: anything may have been missed.
    Restored {
        /// Which time. Comes back in `LinkRequest::Verified`.
        round: u64,
    },
}

/// How many connections of one user are members of a room on one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserCounts {
    /// Who.
    pub user: UserName,
    /// How many; 0: none any more.
    pub connections: u32,
    /// Those of them that say they are away.
    pub away: u32,
}

/// Who is in a room on other machines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// The room's presence version.
    pub version: u64,
    /// By life, without the life that asked and without lives that have ended.
    pub counts: Vec<(u64, UserCounts)>,
}

/// Where a room stands at the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkHead {
    /// Its numbering and head.
    pub position: Position,
    /// Its presence version.
    pub presence: u64,
}

/// The link failed to perform a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkFailure {
    /// When the publisher should try again.
    pub retry_after_ms: u64,
}
