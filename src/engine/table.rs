//! A table indexed by slot that grows by whole chunks: no copy and no doubling when thousands of connections arrive.

const CHUNK: usize = 1024;

/// Values for slots made by `Default` a chunk at a time.
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

    /// Makes sure that `slot` is there.
    pub fn reach(&mut self, slot: u32) {
        while self.chunks.len() <= slot as usize / CHUNK {
            self.chunks.push((0..CHUNK).map(|_| T::default()).collect());
        }
    }

    /// The value of a slot that has been reached.
    #[inline]
    #[must_use]
    pub fn at(&self, slot: u32) -> &T {
        &self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }

    /// The value of a slot that has been reached.
    #[inline]
    pub fn at_mut(&mut self, slot: u32) -> &mut T {
        &mut self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }

    /// The values of all slots that have been reached.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.chunks.iter_mut().flatten()
    }

    /// The value of a slot, if it has been reached.
    #[must_use]
    pub fn get(&self, slot: u32) -> Option<&T> {
        self.chunks.get(slot as usize / CHUNK).map(|chunk| &chunk[slot as usize % CHUNK])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
