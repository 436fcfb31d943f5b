//! What the control address asks of one core, and what it is told. Values only; who asks is known by a token.
//!
//! No call keeps a core for long: a listing looks at [`CALL_SCAN_MAX`] places in one turn and tells where to go on, and
//! what it ends is bounded by [`CALL_ENDS_MAX`]. The asker goes on by calling again. Every call is answered exactly once,
//! most of them in their own turn; one for a room that the link or the store has to open, for a publish that they have
//! to take, or for a session that the store has to find, is answered when they have, under the bounds of the commands that wait for the same.
//!
//! [`CALL_SCAN_MAX`]: crate::base::limits::CALL_SCAN_MAX
//! [`CALL_ENDS_MAX`]: crate::base::limits::CALL_ENDS_MAX

use std::cmp::Ordering;

use super::kept::{KeptSession, SessionId};
use super::session::ConnStats;
use crate::base::ids::{ConnId, RoomName, UserName};
use crate::wire::form::Form;
use crate::wire::protocol::{Answer, Ask, Refusal, RoomSummary};

/// A question to one core, or something for it to do.
#[derive(Clone, Debug)]
pub enum Call {
    /// For the owner half: about one room. Sent to the core that owns it; any other knows no such room.
    Room {
        /// Which room.
        room: RoomName,
        /// In whose name.
        from: UserName,
        /// What. A publish needs no membership and makes a room that is not there, so that whoever joins later finds it in
        /// the history.
        ask: Ask,
    },
    /// For the owner half: rooms that the core holds, with members or for their history. Answered by [`CallAnswer::Rooms`].
    /// Looks at `CALL_SCAN_MAX` rooms at most.
    Rooms {
        /// The place to begin at: 0, or where the answer before left off. A room stays at its place as long as it lives.
        from: u32,
        /// Rooms in the answer at most.
        limit: u32,
        /// Which of them come first.
        order: RoomOrder,
    },
    /// For the home half: the core's connections. Answered by [`CallAnswer::Connections`]. Looks at `CALL_SCAN_MAX` slots at
    /// most.
    Connections {
        /// The slot to begin at: 0, or where the answer before left off.
        from: u32,
        /// Connections in the answer at most.
        limit: u32,
        /// Which of them come first.
        order: ConnOrder,
        /// Only this user's.
        user: Option<UserName>,
        /// Only members of this room.
        room: Option<RoomName>,
    },
    /// For the home half: closes connections with 4403. Answered by [`CallAnswer::Ended`]. Looks at `CALL_SCAN_MAX` slots and
    /// closes `CALL_ENDS_MAX` connections at most.
    Disconnect {
        /// Whose.
        whom: Whom,
        /// The slot to begin at: 0, or where the answer before left off.
        from: u32,
        /// Told in the close frame; at most `CLOSE_REASON_BYTES_MAX`.
        reason: Option<Box<str>>,
    },
    /// For the home half: puts a user's connections out of a room, each told by a `left` push. Answered by
    /// [`CallAnswer::Ended`]. Looks at `CALL_SCAN_MAX` slots and puts out `CALL_ENDS_MAX` connections at most.
    Kick {
        /// Which room.
        room: RoomName,
        /// Whom.
        user: UserName,
        /// The slot to begin at: 0, or where the answer before left off.
        from: u32,
    },
    /// For the user half of any core: a session, open or kept in the store. Answered by [`CallAnswer::Session`], when the
    /// store has answered or has taken too long.
    FindSession {
        /// Which.
        session: SessionId,
    },
}

/// Which rooms come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomOrder {
    /// In the order of their places; the answer says where to go on as soon as it is full.
    Place,
    /// Those with the most members, of the places that were looked at.
    Members,
    /// Those with the most messages per second, of the places that were looked at.
    Rate,
}

/// Which connections come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnOrder {
    /// In the order of their slots; the answer says where to go on as soon as it is full.
    Slot,
    /// The laggards: those for which the most bytes wait, of the slots that were looked at.
    Queued,
}

/// Whose connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// All of a user.
    User(UserName),
    /// This one.
    Connection(ConnId),
}

/// What a core says to a call.
#[derive(Debug)]
pub enum CallAnswer {
    /// What the owner of a room says of it, or why nothing was done.
    Room(Answer),
    /// Some of the core's rooms.
    Rooms {
        /// In the order asked for.
        rooms: Vec<RoomSummary>,
        /// Where to go on; `None`: all places have been looked at.
        next: Option<u32>,
    },
    /// Some of the core's connections.
    Connections {
        /// In the order asked for.
        connections: Vec<ConnSummary>,
        /// Where to go on; `None`: all slots have been looked at.
        next: Option<u32>,
    },
    /// Connections that were closed, or put out of a room.
    Ended {
        /// How many.
        count: u32,
        /// Where to go on; `None`: all slots have been looked at.
        next: Option<u32>,
    },
    /// A session, `None` if there is no such one; or why nobody could tell.
    Session(Result<Option<KeptSession>, Refusal>),
}

/// A connection as its home sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnSummary {
    /// Which.
    pub conn: ConnId,
    /// Whose.
    pub user: UserName,
    /// The form of its pushes.
    pub form: Form,
    /// Rooms that it has joined.
    pub rooms: u32,
    /// Whether its user said to be away on it.
    pub away: bool,
    /// How long ago a frame of it last arrived, milliseconds.
    pub silent_ms: u64,
    /// Round-trip time of its last ping, microseconds; 0: not known yet.
    pub round_trip_us: u32,
    /// Bytes that wait to be read by it, in flight included.
    pub queued_bytes: u64,
    /// What it has done.
    pub stats: ConnStats,
}

impl RoomSummary {
    /// Compares by what `order` goes by; those of one size by their names, the earlier one as the greater.
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
    /// Compares by the bytes that wait; those of one size by their ids, the earlier one as the greater.
    #[must_use]
    pub fn cmp_by_queued(&self, other: &Self) -> Ordering {
        self.queued_bytes.cmp(&other.queued_bytes).then_with(|| other.conn.cmp(&self.conn))
    }
}

#[cfg(test)]
mod tests;
