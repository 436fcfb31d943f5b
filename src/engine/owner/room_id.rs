//! Ids of rooms, for tables and queues that outlive a room.

/// A room of this core. The id of a removed room finds nothing, even if its place has a new room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RoomId {
    pub(super) index: u32,
    pub(super) generation: u32,
}
