//! The table of one core's rooms: by name for hops and events, by id for queues that outlive a room.

use std::collections::HashMap;
use std::ops::Range;

use super::room::Room;
use super::room_id::RoomId;
use crate::base::ids::RoomName;
use crate::engine::random::NameHashing;
use crate::engine::table;

#[derive(Debug, Default)]
struct RoomSlot {
    /// Of the room at this place, or of the last one.
    generation: u32,
    room: Option<Box<Room>>,
}

/// All rooms of one core.
#[derive(Debug)]
pub(super) struct Rooms {
    ids: HashMap<RoomName, RoomId, NameHashing>,
    places: Vec<RoomSlot>,
    free: Vec<u32>,
}

impl Rooms {
    pub fn new(hashing: NameHashing) -> Self {
        Self { ids: HashMap::with_hasher(hashing), places: Vec::new(), free: Vec::new() }
    }

    pub fn find(&self, name: &str) -> Option<RoomId> {
        self.ids.get(name).copied()
    }

    pub fn get(&self, id: RoomId) -> Option<&Room> {
        let place = self.places.get(id.index as usize)?;
        place.room.as_deref().filter(|_| place.generation == id.generation)
    }

    pub fn get_mut(&mut self, id: RoomId) -> Option<&mut Room> {
        let place = self.places.get_mut(id.index as usize)?;
        place.room.as_deref_mut().filter(|_| place.generation == id.generation)
    }

    /// The numbers of the messages that a room last reported. Empty for a removed room.
    pub fn messages(&self, id: RoomId) -> Range<u64> {
        self.get(id).map_or(0..0, |room| room.entered.messages.clone())
    }

    /// Adds a room whose name is not in the table.
    pub fn insert(&mut self, room: Room) -> RoomId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(RoomSlot::default());
            u32::try_from(self.places.len() - 1).expect("memory ends long before 2^32 rooms")
        });
        let place = &mut self.places[index as usize];
        place.generation = place.generation.wrapping_add(1);
        let id = RoomId { index, generation: place.generation };
        let earlier = self.ids.insert(room.stream.name.clone(), id);
        assert!(earlier.is_none(), "one room for each name");
        place.room = Some(Box::new(room));
        id
    }

    /// Removes a room.
    pub fn remove(&mut self, id: RoomId) -> Option<Box<Room>> {
        self.get(id)?;
        let room = self.places[id.index as usize].room.take()?;
        self.ids.remove(&*room.stream.name);
        self.free.push(id.index);
        table::shrink(&mut self.ids);
        Some(room)
    }

    /// Rooms in the order of their places, each with its place, starting at `place`. Looks at `count` places.
    pub fn from(&self, place: u32, count: u32) -> impl Iterator<Item = (u32, &Room)> {
        let places = self.places.iter().zip(0_u32..).skip(place as usize).take(count as usize);
        places.filter_map(|(place, index)| place.room.as_deref().map(|room| (index, room)))
    }

    /// Number of places, with or without a room.
    pub fn places(&self) -> u32 {
        u32::try_from(self.places.len()).expect("memory ends long before 2^32 rooms")
    }

    /// The ids of all rooms, in the order of their places.
    pub fn all(&self) -> Vec<RoomId> {
        let places = self.places.iter().zip(0_u32..);
        let taken = places.filter(|(place, _)| place.room.is_some());
        taken.map(|(place, index)| RoomId { index, generation: place.generation }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::CoreId;
    use crate::engine::owner::room::tests::memory_room;
    use crate::engine::random::{Part, Secrets};

    fn rooms() -> Rooms {
        Rooms::new(Secrets::from(1).tables(CoreId(0), Part::Owner).hashing())
    }

    #[test]
    fn an_old_id_does_not_find_the_new_room_in_its_place() {
        let mut rooms = rooms();
        let first = rooms.insert(memory_room("a"));
        assert_eq!(rooms.find("a"), Some(first));
        assert!(rooms.remove(first).is_some());
        let second = rooms.insert(memory_room("b"));
        assert!(rooms.get(first).is_none());
        assert!(rooms.remove(first).is_none());
        assert_eq!(&*rooms.get(second).expect("just added").stream.name, "b");
        assert_eq!(rooms.find("a"), None);
    }

    #[test]
    fn all_lists_every_room_once() {
        let mut rooms = rooms();
        let ids: Vec<_> = ["a", "b", "c"].map(|name| rooms.insert(memory_room(name))).into();
        rooms.remove(ids[1]);
        assert_eq!(rooms.all(), [ids[0], ids[2]]);
    }
}
