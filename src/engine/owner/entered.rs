//! What the core's books ([`super::books`]) have entered for one room.

use std::ops::Range;

/// Bytes of a room for the budget, by how they can be freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bytes {
    /// Can be evicted: the messages, and the room itself if it exists only for them.
    pub history: usize,
    /// Cannot be evicted; refused before it exceeds the share of histories: keys, and what waits for the link or the store.
    pub kept: usize,
    /// The room, its members and users. Bounded by refusing joins.
    pub standing: usize,
}

/// The last entries for a room.
#[derive(Debug, Default)]
pub(super) struct Entered {
    pub bytes: Bytes,
    /// Its place in `Largest`.
    pub filed: Filed,
    /// Seqs of the messages held.
    pub messages: Range<u64>,
    pub members: u32,
    /// Whether something in it waits for the link or the store.
    pub waits: bool,
    /// Its time in the timers, monotonic milliseconds.
    pub due_ms: Option<u64>,
}

/// The class of a room.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Filed {
    /// Number of bits of its bytes. 0: it holds nothing and is in no class.
    pub(super) class: u8,
    pub(super) place: u32,
}
