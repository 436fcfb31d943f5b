//! The rooms of a core that hold the most bytes, found without a search: rooms are grouped in classes by the power of
//! two of their bytes, and move only when they grow or shrink into another class.

use super::entered::Filed;
use super::room_id::RoomId;
use super::rooms::Rooms;

/// The rooms that hold something, by class.
#[derive(Debug)]
pub(super) struct Largest {
    /// Rooms whose number of bytes has this many bits.
    classes: [Vec<RoomId>; CLASSES],
    /// Classes that are not empty, by bit.
    filled: u64,
    rooms: u64,
    /// Selects rooms of a class in turn.
    cursor: usize,
}

/// No room holds 2^63 bytes.
const CLASSES: usize = 64;

/// Capacity that an empty class keeps.
const PLACES_KEPT: usize = 64;

impl Default for Largest {
    fn default() -> Self {
        Self { classes: [const { Vec::new() }; CLASSES], filled: 0, rooms: 0, cursor: 0 }
    }
}

impl Largest {
    /// Sets the number of bytes that a room holds.
    #[inline]
    pub fn update(&mut self, rooms: &mut Rooms, id: RoomId, bytes: usize) {
        let class = (usize::BITS - bytes.leading_zeros()) as u8;
        let Some(room) = rooms.get_mut(id) else { return };
        if room.entered.filed.class != class {
            self.move_to(class, rooms, id);
        }
    }

    fn move_to(&mut self, class: u8, rooms: &mut Rooms, id: RoomId) {
        let Some(room) = rooms.get_mut(id) else { return };
        let before = room.entered.filed;
        let mut place = 0;
        if class > 0 {
            let filed = &mut self.classes[usize::from(class)];
            place = filed.len() as u32;
            filed.push(id);
            self.filled |= 1 << class;
            self.rooms += 1;
        }
        room.entered.filed = Filed { class, place };
        if before.class > 0 {
            self.rooms -= 1;
            let filed = &mut self.classes[usize::from(before.class)];
            filed.swap_remove(before.place as usize);
            if let Some(moved) = filed.get(before.place as usize).and_then(|moved| rooms.get_mut(*moved)) {
                moved.entered.filed.place = before.place;
            }
            if filed.is_empty() {
                self.filled &= !(1 << before.class);
            }
            if filed.capacity() > PLACES_KEPT && filed.len() * 8 < filed.capacity() {
                filed.shrink_to(filed.len() * 2);
            }
        }
    }

    /// Number of rooms that hold something.
    pub fn rooms(&self) -> u64 {
        self.rooms
    }

    /// One of the rooms of the highest class: no room holds twice as much.
    pub fn take_turn(&mut self) -> Option<RoomId> {
        let class = self.filled.checked_ilog2()?;
        let filed = &self.classes[class as usize];
        self.cursor = (self.cursor + 1) % filed.len();
        Some(filed[self.cursor])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::CoreId;
    use crate::engine::owner::room::tests::memory_room;
    use crate::engine::random::{Part, Secrets};

    #[test]
    fn the_largest_is_found_whichever_way_rooms_change() {
        let mut rooms = Rooms::new(Secrets::from(1).tables(CoreId(0), Part::Owner).hashing());
        let ids = ["a", "b", "c"].map(|name| rooms.insert(memory_room(name)));
        let mut largest = Largest::default();
        assert_eq!(largest.take_turn(), None);
        for (id, bytes) in ids.into_iter().zip([100, 100, 120]) {
            largest.update(&mut rooms, id, bytes);
        }
        assert_eq!(largest.rooms(), 3);
        let mut turns: Vec<_> = (0..3).filter_map(|_| largest.take_turn()).collect();
        turns.sort_unstable();
        assert_eq!(turns, ids, "each of a class has its turn");
        largest.update(&mut rooms, ids[0], 128);
        assert_eq!([largest.take_turn(), largest.take_turn()], [Some(ids[0]); 2]);
        largest.update(&mut rooms, ids[0], 0);
        largest.update(&mut rooms, ids[2], 0);
        assert_eq!([largest.take_turn(), largest.take_turn()], [Some(ids[1]); 2]);
        largest.update(&mut rooms, ids[1], 0);
        assert_eq!((largest.take_turn(), largest.rooms()), (None, 0));
    }
}
