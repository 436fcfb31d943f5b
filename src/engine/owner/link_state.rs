//! What a core has with the link beside its rooms.

use std::collections::VecDeque;

use super::room_id::RoomId;

/// Rooms to be compared, lives that have ended, and how far a comparison of all rooms has come.
#[derive(Debug, Default)]
pub(super) struct LinkState {
    /// Rooms that are to be compared with the link at the end of this event.
    pub due: Vec<RoomId>,
    /// Lives that have ended, the oldest first.
    pub ended: VecDeque<u64>,
    /// The `Restored` after which not every room has been compared, and how many have not.
    pub verifying: Option<(u64, usize)>,
}
