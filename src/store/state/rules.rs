//! What the owner of a state decides: bounds, and how long things are kept. Values only.

use std::fmt;
use std::sync::Arc;

use crate::base::ids::RoomName;
use crate::base::limits::{
    DEAD_LETTERS_MAX, MEMORY_SESSIONS_MAX, ROOM_INVITES_MAX, ROOM_MEMBERS_MAX, ROOM_RECEIPTS_MAX, USER_ROOMS_MAX,
};

/// How long a room is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Most records.
    pub count: u64,
    /// How long a record is kept.
    pub ttl_ms: u64,
    /// How long the epoch and head of an idle room without records are kept.
    pub numbering_ttl_ms: u64,
}

/// What comes from the configuration and may change while the state is in use.
#[derive(Clone)]
pub struct Rules {
    /// How long each room is kept.
    pub retention: Arc<dyn Fn(&RoomName) -> Keep + Send + Sync>,
    /// How long a session outlives its connection.
    pub session_ttl_ms: u64,
}

impl fmt::Debug for Rules {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Rules").field("session_ttl_ms", &self.session_ttl_ms).finish_non_exhaustive()
    }
}

/// How much is kept. Answers depend on it, so it is the same for as long as there are changes to apply again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Lasting members of one room.
    pub room_members: u64,
    /// Valid invites of one room.
    pub room_invites: u64,
    /// Users with receipts in one room.
    pub room_receipts: u64,
    /// Rooms of which one user is a lasting member.
    pub user_rooms: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Sessions, of which the oldest go first. `None`: as many as there are.
    pub sessions: Option<u64>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            room_members: ROOM_MEMBERS_MAX,
            room_invites: ROOM_INVITES_MAX as u64,
            room_receipts: ROOM_RECEIPTS_MAX,
            user_rooms: USER_ROOMS_MAX as u64,
            dead_letters: DEAD_LETTERS_MAX,
            sessions: None,
        }
    }
}

/// What is decided when a state is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Whether publications are kept. Without: rooms have no head, and receipts are kept as they come.
    pub keeps_records: bool,
    /// How much is kept.
    pub bounds: Bounds,
    /// When this process began, Unix milliseconds: sessions that the one before left open expire `session_ttl` later.
    pub began_at: u64,
}

impl Setup {
    /// A store that keeps publications.
    #[must_use]
    pub fn with_records(began_at: u64) -> Self {
        Self { keeps_records: true, bounds: Bounds::default(), began_at }
    }

    /// A store in memory, beside rooms whose publications are in memory too.
    #[must_use]
    pub fn without_records(began_at: u64) -> Self {
        let bounds = Bounds { sessions: Some(MEMORY_SESSIONS_MAX), ..Bounds::default() };
        Self { keeps_records: false, bounds, began_at }
    }
}
