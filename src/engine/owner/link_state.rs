//! The link's state of one core, apart from its rooms.

use std::collections::VecDeque;

use super::room_id::RoomId;

/// Rooms to compare with the link, ended lives, and the progress of a comparison of all rooms.
#[derive(Debug, Default)]
pub(super) struct LinkState {
    /// Rooms to compare with the link at the end of this event.
    pub due: Vec<RoomId>,
    /// Lives that have ended, the oldest first.
    pub ended: VecDeque<u64>,
    /// The round of the last `Restored`, and the number of rooms not compared since.
    pub verifying: Option<(u64, usize)>,
}
