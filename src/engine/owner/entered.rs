//! What the core's books hold of one room. Read and written by the books alone.

use std::ops::Range;

/// Bytes of a room for the budget, by what can become of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bytes {
    /// Can be let go to make room: the messages, and the room itself where it is there for them alone.
    pub history: usize,
    /// Cannot, and is refused before it fills the share of histories: keys and what waits for the link or the store.
    pub kept: usize,
    /// The room, its members and users: bounded with joins.
    pub standing: usize,
}

/// What [`super::Owner`] has last entered for the room in the core's own books.
#[derive(Debug, Default)]
pub(super) struct Entered {
    pub bytes: Bytes,
    /// Where it stands among the largest.
    pub filed: Filed,
    /// Numbers of the messages held.
    pub messages: Range<u64>,
    pub members: u32,
    /// Whether the link or the store owes it something that somebody waits for.
    pub waits: bool,
    /// The time for which the room stands in the timers, monotonic milliseconds.
    pub due_ms: Option<u64>,
}

/// The class of a room.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Filed {
    /// Number of bits of its bytes. 0: it holds nothing and is in no class.
    pub(super) class: u8,
    pub(super) place: u32,
}
