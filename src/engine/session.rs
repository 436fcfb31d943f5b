//! One connection's protocol state and its own statistics. Small on purpose: there is one for every idle connection.

use smallvec::SmallVec;

use crate::base::ids::{ConnId, CoreId, UserName};
use crate::base::time::Now;
use crate::wire::message::Decoder;
use crate::wire::reading::Reading;

/// Where a connection stands. Each slot runs through them downwards, and may end at any point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Phase {
    /// No socket.
    #[default]
    Free,
    /// The HTTP request head is being received.
    Head,
    /// The upgrade is accepted, and the client has yet to be identified by its first message.
    Greeting,
    /// The WebSocket is open.
    Open,
    /// The server has queued its close frame; the peer's is awaited.
    Closing,
    /// Everything is said: once the queue is empty the socket is closed.
    Ending,
    /// Everything is said to a peer that may still be sending: half-closed, what arrives is thrown away.
    Lingering,
}

/// Place of a member who is not in the audience's list.
pub const NOWHERE: u32 = u32::MAX;

/// A connection's place in one room. It lives while the connection wants to be a member, or an answer of the owner is
/// awaited. Joins and leaves of one room are answered in order (one lane each way), so counting them is enough.
#[derive(Clone, Copy, Debug)]
pub struct Membership {
    /// Index of the room's audience on this core.
    pub audience: u32,
    /// Place in the audience's list of members, or [`NOWHERE`].
    pub place: u32,
    /// Joins asked and not answered.
    pub joins: u16,
    /// Leaves asked and not answered, expulsions included.
    pub leaves: u16,
    /// Of the leaves, expulsions: until they are answered the connection gets nothing of the room.
    pub expulsions: u8,
    /// The connection's last word was to join.
    pub wanted: bool,
    /// What the owner has been told of the connection's being away.
    pub away: bool,
    /// The next `joined` is pushed although no `id` asked for it (joined by the query of `/ws`).
    pub announce: bool,
}

/// What a connection has done (REQUIREMENTS A1).
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

/// Yes-or-no facts of a connection, in one byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(u8);

impl Marks {
    /// Opened at the echo path: every message is answered with itself.
    pub const ECHO: Marks = Marks(1);
    /// Counted among the connections of its address.
    pub const COUNTED_ADDRESS: Marks = Marks(1 << 1);
    /// Counted among the connections of its user.
    pub const COUNTED_USER: Marks = Marks(1 << 2);
    /// Its publishes count for its user. Once set it stays, so that what it says keeps to one way.
    pub const COUNTED_MESSAGES: Marks = Marks(1 << 3);
    /// Its peer has ended its stream: it is closed when everything is sent.
    pub const HALF_CLOSED: Marks = Marks(1 << 4);
    /// Some owner has not been told yet that it went away or came back.
    pub const RESTLESS: Marks = Marks(1 << 5);
    /// The server has pinged it since it last sent a pong.
    pub const PINGED: Marks = Marks(1 << 6);
    /// The user said to be away.
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
    /// Which use of the slot this is.
    pub generation: u32,
    /// Where it stands.
    pub phase: Phase,
    /// How it reads its pushes; compressed messages are taken from it where it reads them. `None` until the WebSocket is
    /// open.
    pub reading: Option<Reading>,
    /// What else is so of it.
    pub marks: Marks,
    /// Its dialect's index in the settings' list.
    pub dialect: u8,
    /// Who it is, once open.
    pub user: Option<UserName>,
    /// The message that is being received.
    pub decoder: Decoder,
    /// Rooms.
    pub memberships: SmallVec<[Membership; 1]>,
    /// When a frame last arrived, in [`SEEN_UNIT_MS`] since the start.
    pub last_seen: u32,
    /// Round-trip time of the last ping, microseconds; 0: not known yet. Until the WebSocket is open: when the socket was
    /// accepted, the lower half of the monotonic microseconds (a head has far less time than they take to come round).
    pub round_trip_us: u32,
    /// What it has done.
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

    /// The socket was accepted now.
    pub fn note_accepted(&mut self, now: Now) {
        self.round_trip_us = now.mono_us as u32;
    }

    /// Microseconds since the socket was accepted; called once, when the WebSocket opens.
    pub fn take_opening_us(&mut self, now: Now) -> u64 {
        u64::from((now.mono_us as u32).wrapping_sub(std::mem::take(&mut self.round_trip_us)))
    }

    /// Whether the user said to be away.
    #[must_use]
    pub const fn is_away(&self) -> bool {
        self.marks.has(Marks::AWAY)
    }

    /// Whether it is a WebSocket, open or closing.
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        self.user.is_some()
    }

    /// Rooms that the connection wants to be a member of: what the limit counts, so that a place is free when it is left.
    #[must_use]
    pub fn rooms(&self) -> usize {
        self.memberships.iter().filter(|membership| membership.wanted).count()
    }

    /// Joins and leaves asked and not answered.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        let unanswered = self.memberships.iter().map(|membership| membership.joins + membership.leaves);
        unanswered.map(usize::from).sum()
    }

    /// Its place in the room of an audience.
    #[must_use]
    pub fn membership(&self, audience: u32) -> Option<usize> {
        self.memberships.iter().position(|membership| membership.audience == audience)
    }
}

// A connection may be in many rooms.
const _: () = assert!(size_of::<Membership>() <= 16);

// README and DESIGN section 8 promise bytes per idle connection; this is the largest part.
const _: () = assert!(size_of::<Session>() <= 80);
