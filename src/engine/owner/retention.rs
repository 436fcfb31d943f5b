//! What one core holds for its rooms beyond their members, in bytes and in order of age, so that the oldest of the whole
//! core can go first. Holds no publication and no key itself: only where they are.

use std::collections::VecDeque;
use std::ops::Range;

use super::rooms::RoomId;

/// Things of many rooms, oldest first. Each thing has a number in its room; the numbers that its room still holds are a
/// range, and what is outside of it is passed over.
#[derive(Debug, Default)]
pub(super) struct Ages {
    queue: VecDeque<(RoomId, u64)>,
    /// Things that are still held.
    held: u64,
}

/// Places of things that are gone are kept until there are as many as of held ones and this many more.
const SLACK: u64 = 1_024;

impl Ages {
    /// A room holds the numbers `now`, where it held `entered` before. A number that it let go never comes back.
    pub fn update(&mut self, room: RoomId, entered: &mut Range<u64>, now: Range<u64>) {
        let count = |range: &Range<u64>| range.end - range.start;
        self.held = self.held + count(&now) - count(entered);
        let added = entered.end.max(now.start)..now.end;
        self.queue.extend(added.map(|number| (room, number)));
        *entered = now;
    }

    /// The room that holds the oldest thing; `holds` tells what each room holds now.
    pub fn oldest(&mut self, holds: impl Fn(RoomId) -> Range<u64>) -> Option<RoomId> {
        while let Some((room, number)) = self.queue.front() {
            if holds(*room).contains(number) {
                return Some(*room);
            }
            self.queue.pop_front();
        }
        None
    }

    /// Gives back the places of things that are gone, once they are the greater part.
    pub fn compact(&mut self, holds: impl Fn(RoomId) -> Range<u64>) {
        if self.queue.len() as u64 > 2 * self.held + SLACK {
            self.queue.retain(|(room, number)| holds(*room).contains(number));
            self.queue.shrink_to(self.queue.len() * 2);
        }
    }
}

/// The bytes and ages of everything that one core's rooms hold.
#[derive(Debug, Default)]
pub(super) struct Retention {
    /// Charged to the core's budget for rooms.
    pub bytes: u64,
    /// The part of it that waits for the link or the store, and cannot be let go.
    pub waiting_bytes: u64,
    pub messages: Ages,
    pub keys: Ages,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::owner::random::Random;
    use crate::engine::owner::room::tests::memory_room;
    use crate::engine::owner::rooms::Rooms;

    #[test]
    fn the_oldest_that_is_held_is_found() {
        let mut rooms = Rooms::new(Random::new(1).name_hashing());
        let [a, b] = ["a", "b"].map(|name| rooms.insert(memory_room(name)));
        let mut ages = Ages::default();
        let (mut of_a, mut of_b) = (0..0, 0..0);
        ages.update(a, &mut of_a, 0..2);
        ages.update(b, &mut of_b, 0..1);
        assert_eq!(ages.oldest(|_| 0..9), Some(a));
        ages.update(a, &mut of_a, 2..2);
        assert_eq!(ages.oldest(|room| if room == a { of_a.clone() } else { of_b.clone() }), Some(b));
        ages.update(b, &mut of_b, 1..1);
        assert_eq!(ages.oldest(|room| if room == a { of_a.clone() } else { of_b.clone() }), None);
        assert_eq!(ages.held, 0);
    }

    #[test]
    fn what_is_gone_does_not_pile_up_behind_an_old_thing() {
        let mut rooms = Rooms::new(Random::new(1).name_hashing());
        let [old, busy] = ["old", "busy"].map(|name| rooms.insert(memory_room(name)));
        let mut ages = Ages::default();
        ages.update(old, &mut (0..0), 0..1);
        let mut held = 0..0;
        for number in 0..100_000_u64 {
            ages.update(busy, &mut held, number.saturating_sub(9)..number + 1);
            ages.compact(|room| if room == old { 0..1 } else { held.clone() });
            assert!(ages.queue.len() as u64 <= 2 * 11 + SLACK + 1, "{}", ages.queue.len());
        }
        assert_eq!(ages.oldest(|room| if room == old { 0..1 } else { held.clone() }), Some(old));
    }
}
