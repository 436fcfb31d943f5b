//! Calls from the control address to one core, and their answers. Values only. A token identifies the caller.
//!
//! No call keeps a core busy for long. A listing looks at [`CALL_SCAN_MAX`] places in one turn, and its answer says
//! where to continue. A call that ends connections is bounded by [`CALL_ENDS_MAX`]. The caller continues with another
//! call. Every call is answered exactly once, most of them in their own turn. A call that waits for the link or the
//! store (to open a room, take a publish, or find a session) is answered when they have answered, under the bounds of
//! commands that wait for the same.
//!
//! [`CALL_SCAN_MAX`]: crate::base::limits::CALL_SCAN_MAX
//! [`CALL_ENDS_MAX`]: crate::base::limits::CALL_ENDS_MAX

use std::cmp::Ordering;

use super::kept::{KeptSession, SessionId};
use super::session::ConnStats;
use crate::base::ids::{ConnId, RoomName, UserName};
use crate::wire::form::Form;
use crate::wire::protocol::{Answer, Ask, Refusal, RoomSummary};

/// A call to one core.
#[derive(Clone, Debug)]
pub enum Call {
    /// For the owner half: one request to a room. Sent to the core that owns the room; any other core knows no such
    /// room.
    Room {
        /// Which room.
        room: RoomName,
        /// The user in whose name it is asked.
        from: UserName,
        /// The request. A publish needs no membership, and creates the room if it does not exist, so that later members
        /// find the message in the history.
        ask: Ask,
    },
    /// For the owner half: lists the core's rooms, with members or with history only. Answered by
    /// [`CallAnswer::Rooms`]. Looks at `CALL_SCAN_MAX` rooms at most.
    Rooms {
        /// The place to begin at: 0, or the `next` of the last answer. A room keeps its place as long as it exists.
        from: u32,
        /// Maximum number of rooms in the answer.
        limit: u32,
        /// The order of the rooms.
        order: RoomOrder,
    },
    /// For the home half: lists the core's connections. Answered by [`CallAnswer::Connections`]. Looks at
    /// `CALL_SCAN_MAX` slots at most.
    Connections {
        /// The slot to begin at: 0, or the `next` of the last answer.
        from: u32,
        /// Maximum number of connections in the answer.
        limit: u32,
        /// The order of the connections.
        order: ConnOrder,
        /// Only connections of this user.
        user: Option<UserName>,
        /// Only members of this room.
        room: Option<RoomName>,
    },
    /// For the home half: closes connections with 4403. Answered by [`CallAnswer::Ended`]. Looks at `CALL_SCAN_MAX` slots and
    /// closes `CALL_ENDS_MAX` connections at most.
    Disconnect {
        /// The connections to close.
        whom: Whom,
        /// The slot to begin at: 0, or the `next` of the last answer.
        from: u32,
        /// The reason in the close frame, at most `CLOSE_REASON_BYTES_MAX` long.
        reason: Option<Box<str>>,
    },
    /// For the home half: removes a user's connections from a room. Each receives a `left` push. Answered by
    /// [`CallAnswer::Ended`]. Looks at `CALL_SCAN_MAX` slots and removes `CALL_ENDS_MAX` connections at most.
    Kick {
        /// Which room.
        room: RoomName,
        /// The user to remove.
        user: UserName,
        /// The slot to begin at: 0, or the `next` of the last answer.
        from: u32,
    },
    /// For the user half of any core: a session that the store keeps. Answered by [`CallAnswer::Session`], when the
    /// store has answered or has taken too long.
    FindSession {
        /// Which.
        session: SessionId,
    },
}

/// The order of rooms in a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomOrder {
    /// By place. The answer ends as soon as it is full.
    Place,
    /// Most members first, among the places looked at.
    Members,
    /// Most messages per second first, among the places looked at.
    Rate,
}

/// The order of connections in a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnOrder {
    /// By slot. The answer ends as soon as it is full.
    Slot,
    /// Most queued bytes first, among the slots looked at.
    Queued,
}

/// Selects connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// All connections of a user.
    User(UserName),
    /// This connection.
    Connection(ConnId),
}

/// A core's answer to a call.
#[derive(Debug)]
pub enum CallAnswer {
    /// The owner's answer about a room, or why nothing was done.
    Room(Answer),
    /// Some of the core's rooms.
    Rooms {
        /// In the order of the call.
        rooms: Vec<RoomSummary>,
        /// Where to continue; `None` if all places have been looked at.
        next: Option<u32>,
    },
    /// Some of the core's connections.
    Connections {
        /// In the order of the call.
        connections: Vec<ConnSummary>,
        /// Where to continue; `None` if all slots have been looked at.
        next: Option<u32>,
    },
    /// Connections that were closed, or removed from a room.
    Ended {
        /// Their number.
        count: u32,
        /// Where to continue; `None` if all slots have been looked at.
        next: Option<u32>,
    },
    /// A session, `None` if there is no such one; or why nobody could tell.
    Session(Result<Option<KeptSession>, Refusal>),
}

/// A connection as its home knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnSummary {
    /// Its id.
    pub conn: ConnId,
    /// Its user.
    pub user: UserName,
    /// The form of its pushes.
    pub form: Form,
    /// Rooms that it has joined.
    pub rooms: u32,
    /// Whether the user is away on this connection.
    pub away: bool,
    /// Milliseconds since the last frame from the client.
    pub silent_ms: u64,
    /// Round-trip time of its last ping, microseconds; 0 if unknown.
    pub round_trip_us: u32,
    /// Bytes queued for it, including those in flight.
    pub queued_bytes: u64,
    /// Its traffic.
    pub stats: ConnStats,
}

impl RoomSummary {
    /// Compares by the size that `order` uses. Rooms of equal size are compared by name, the earlier name as the
    /// greater.
    #[must_use]
    pub fn cmp_by(&self, order: RoomOrder, other: &Self) -> Ordering {
        let sizes = match order {
            RoomOrder::Place => Ordering::Equal,
            RoomOrder::Members => (self.members, self.connections).cmp(&(other.members, other.connections)),
            RoomOrder::Rate => self.rate_milli.cmp(&other.rate_milli),
        };
        sizes.then_with(|| other.room.cmp(&self.room))
    }
}

impl ConnSummary {
    /// Compares by queued bytes. Equal ones are compared by id, the earlier id as the greater.
    #[must_use]
    pub fn cmp_by_queued(&self, other: &Self) -> Ordering {
        self.queued_bytes.cmp(&other.queued_bytes).then_with(|| other.conn.cmp(&self.conn))
    }
}

#[cfg(test)]
mod tests;
