//! Tables of a core: one indexed by slot, which grows by whole chunks and never copies or doubles when thousands of
//! connections arrive; and how hash tables shrink after a crowd.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

const CHUNK: usize = 1024;

/// Capacity that a hash table keeps when few entries are left.
const PLACES_KEPT: usize = 1_024;

/// Frees most of a hash table's memory when less than an eighth of it is in use. Called after each removal: the cost of
/// moving the rest is spread over the removals before it.
pub fn shrink<K: Eq + Hash, V, S: BuildHasher>(map: &mut HashMap<K, V, S>) {
    if map.capacity() > PLACES_KEPT && map.len() * 8 < map.capacity() {
        map.shrink_to(map.len() * 2);
    }
}

/// Values by slot, made by `Default` a chunk at a time.
#[derive(Debug)]
pub struct Table<T> {
    chunks: Vec<Box<[T]>>,
}

impl<T: Default> Default for Table<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Default> Table<T> {
    /// No slots.
    #[must_use]
    pub const fn new() -> Self {
        Self { chunks: Vec::new() }
    }

    /// Creates the slot if there is none.
    pub fn reach(&mut self, slot: u32) {
        while self.chunks.len() <= slot as usize / CHUNK {
            self.chunks.push((0..CHUNK).map(|_| T::default()).collect());
        }
    }

    /// The value of an existing slot.
    #[inline]
    #[must_use]
    pub fn at(&self, slot: u32) -> &T {
        &self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }

    /// The value of an existing slot.
    #[inline]
    pub fn at_mut(&mut self, slot: u32) -> &mut T {
        &mut self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }

    /// The values of all existing slots.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.chunks.iter_mut().flatten()
    }

    /// The value of a slot, if it exists.
    #[must_use]
    pub fn get(&self, slot: u32) -> Option<&T> {
        self.chunks.get(slot as usize / CHUNK).map(|chunk| &chunk[slot as usize % CHUNK])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_table_gives_back_what_a_crowd_needed() {
        let mut map: HashMap<u32, u32> = (0..100_000).map(|key| (key, key)).collect();
        for key in 0..99_000 {
            map.remove(&key);
            shrink(&mut map);
        }
        assert!(map.len() == 1_000 && map.capacity() < 20_000, "{}", map.capacity());
        map.clear();
        shrink(&mut map);
        assert!(map.capacity() <= PLACES_KEPT, "{}", map.capacity());
    }

    #[test]
    fn grows_to_the_slot_and_keeps_values() {
        let mut table = Table::<u32>::new();
        assert!(table.get(0).is_none());
        table.reach(0);
        *table.at_mut(7) = 70;
        table.reach(5_000);
        assert_eq!((*table.at(7), *table.at(5_000)), (70, 0));
        assert!(table.get(100_000).is_none());
    }
}
