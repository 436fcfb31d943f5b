//! The protocol state and the statistics of one connection. Small, because every idle connection has one. Never decides
//! anything.

use smallvec::SmallVec;

use crate::base::ids::{ConnId, CoreId, UserName};
use crate::base::time::Now;
use crate::wire::message::Decoder;
use crate::wire::reading::Reading;

/// The state of a slot's connection. States follow each other in this order; any of them may be the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Phase {
    /// No socket.
    #[default]
    Free,
    /// The HTTP request head is being received.
    Head,
    /// The upgrade is accepted. The client must still identify itself by its first message.
    Greeting,
    /// The WebSocket is open.
    Open,
    /// The server has queued its close frame and awaits the client's.
    Closing,
    /// Nothing more is queued. The socket closes once everything is sent.
    Ending,
    /// The same, but the client may still be sending: the socket is half-closed first, and what arrives is dropped.
    Lingering,
}

/// The place of a member that is not in the audience's list.
pub const NOWHERE: u32 = u32::MAX;

/// A connection's membership of one room. It exists while the connection wants to be a member or awaits an answer of
/// the owner. Joins and leaves of one room are answered in order (one lane each way), so counting them is enough.
#[derive(Clone, Copy, Debug)]
pub struct Membership {
    /// Index of the room's audience on this core.
    pub audience: u32,
    /// Its place in the audience's list of members, or [`NOWHERE`].
    pub place: u32,
    /// Unanswered joins.
    pub joins: u16,
    /// Unanswered leaves, including expulsions.
    pub leaves: u16,
    /// Unanswered expulsions. Until they are answered, the connection receives nothing from the room.
    pub expulsions: u8,
    /// The connection's last command was a join.
    pub wanted: bool,
    /// The away state last sent to the owner.
    pub away: bool,
    /// The next `joined` is pushed without an `id`: the room was joined by the query of `/ws`, not by a command.
    pub announce: bool,
}

/// The traffic of a connection (REQUIREMENTS A1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnStats {
    /// WebSocket messages received.
    pub messages_received: u32,
    /// WebSocket messages sent.
    pub messages_sent: u32,
    /// Bytes received.
    pub bytes_received: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
}

impl ConnStats {
    /// WebSocket messages in both directions, modulo 2^32.
    #[must_use]
    pub const fn messages(self) -> u32 {
        self.messages_received.wrapping_add(self.messages_sent)
    }
}

/// Boolean flags of a connection, in one byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(u8);

impl Marks {
    /// Opened at the echo path: every message is sent back.
    pub const ECHO: Marks = Marks(1);
    /// Counted among the connections of its address.
    pub const COUNTED_ADDRESS: Marks = Marks(1 << 1);
    /// Counted among the connections of its user.
    pub const COUNTED_USER: Marks = Marks(1 << 2);
    /// Its publishes count for its user. Never cleared, so that all hops of the connection take one path and stay in
    /// order.
    pub const COUNTED_MESSAGES: Marks = Marks(1 << 3);
    /// The client has ended its stream. The connection closes when everything is sent.
    pub const HALF_CLOSED: Marks = Marks(1 << 4);
    /// An owner has not been told yet that the user went away or came back.
    pub const RESTLESS: Marks = Marks(1 << 5);
    /// The server has pinged it since it last sent a pong.
    pub const PINGED: Marks = Marks(1 << 6);
    /// The client said that its user is away.
    pub const AWAY: Marks = Marks(1 << 7);

    /// Whether all of `marks` are set.
    #[must_use]
    pub const fn has(self, marks: Marks) -> bool {
        self.0 & marks.0 == marks.0
    }

    /// Sets `marks`.
    pub const fn set(&mut self, marks: Marks) {
        self.0 |= marks.0;
    }

    /// Clears `marks`; whether all of them were set.
    pub const fn take(&mut self, marks: Marks) -> bool {
        let had = self.has(marks);
        self.0 &= !marks.0;
        had
    }
}

/// A slot's connection.
#[derive(Debug, Default)]
pub struct Session {
    /// Tells the uses of the slot apart.
    pub generation: u32,
    /// The state of the connection.
    pub phase: Phase,
    /// How it reads pushes. It may send compressed messages only if it reads them. `None` until its upgrade is
    /// accepted.
    pub reading: Option<Reading>,
    /// Boolean flags.
    pub marks: Marks,
    /// Its dialect's index in the settings' list.
    pub dialect: u8,
    /// Its user, once open.
    pub user: Option<UserName>,
    /// The incomplete message.
    pub decoder: Decoder,
    /// Its rooms.
    pub memberships: SmallVec<[Membership; 1]>,
    /// When bytes last arrived, in units of [`SEEN_UNIT_MS`] since the start.
    pub last_seen: u32,
    /// Round-trip time of the last ping, microseconds; 0 if unknown. Until the connection is open: when the socket was
    /// accepted, the lower half of the monotonic microseconds (the time limit is far shorter than they take to wrap).
    pub round_trip_us: u32,
    /// Its traffic.
    pub stats: ConnStats,
}

/// Resolution of [`Session::last_seen`]: 2^32 of them are 8.7 years.
pub const SEEN_UNIT_MS: u64 = 64;

impl Session {
    /// The id of the connection in `slot` of core `home`.
    #[must_use]
    pub fn id(&self, home: CoreId, slot: u32) -> ConnId {
        ConnId { home, slot, generation: self.generation }
    }

    /// Notes that the socket was accepted.
    pub fn note_accepted(&mut self, now: Now) {
        self.round_trip_us = now.mono_us as u32;
    }

    /// Microseconds since the socket was accepted; called once, when the connection opens.
    pub fn take_opening_us(&mut self, now: Now) -> u64 {
        u64::from((now.mono_us as u32).wrapping_sub(std::mem::take(&mut self.round_trip_us)))
    }

    /// Whether the client said that its user is away.
    #[must_use]
    pub const fn is_away(&self) -> bool {
        self.marks.has(Marks::AWAY)
    }

    /// Whether it is a WebSocket, open or closing.
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        self.user.is_some()
    }

    /// Rooms that the connection wants to be a member of. The limit counts these, so that leaving frees a place at
    /// once.
    #[must_use]
    pub fn rooms(&self) -> usize {
        self.memberships.iter().filter(|membership| membership.wanted).count()
    }

    /// Unanswered joins and leaves.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        let unanswered = self.memberships.iter().map(|membership| membership.joins + membership.leaves);
        unanswered.map(usize::from).sum()
    }

    /// The index of its membership in an audience.
    #[must_use]
    pub fn membership(&self, audience: u32) -> Option<usize> {
        self.memberships.iter().position(|membership| membership.audience == audience)
    }
}

// A connection may be in many rooms.
const _: () = assert!(size_of::<Membership>() <= 16);

// README and DESIGN section 8 give a size for each idle connection. This is the largest part of it.
const _: () = assert!(size_of::<Session>() <= 80);
