//! What one core holds for its rooms beyond their members, in bytes and in order of age, so that the oldest of the whole
//! core can go first. Holds no publication and no key itself: only where they are.

use std::collections::VecDeque;
use std::ops::Range;

use super::rooms::RoomId;

/// Something that a room holds for a while. It has a number of its own among the room's messages or keys; those that the
/// room still holds are a range, and what is outside of it is passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thing {
    Message(u64),
    Key(u64),
}

/// The numbers of what one room holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holding {
    pub messages: Range<u64>,
    pub keys: Range<u64>,
}

impl Holding {
    fn contains(&self, thing: Thing) -> bool {
        match thing {
            Thing::Message(number) => self.messages.contains(&number),
            Thing::Key(number) => self.keys.contains(&number),
        }
    }

    fn count(&self) -> u64 {
        self.messages.end - self.messages.start + self.keys.end - self.keys.start
    }

    /// Nothing any more; numbers go on from here.
    pub fn none(&self) -> Self {
        Self { messages: self.messages.end..self.messages.end, keys: self.keys.end..self.keys.end }
    }
}

/// The things that one core's rooms hold, oldest first, and their bytes.
#[derive(Debug, Default)]
pub(super) struct Retention {
    /// Charged to the core's budget for rooms.
    pub bytes: u64,
    /// The part of it that waits for the link or the store, and cannot be let go.
    pub waiting_bytes: u64,
    ages: VecDeque<(RoomId, Thing)>,
    /// Things that are still held.
    held: u64,
}

/// Places of things that are gone are kept until there are as many as of held ones and this many more.
const SLACK: u64 = 1_024;

impl Retention {
    /// A room holds `now`, where it held `entered` before. A number that it let go never comes back.
    pub fn update(&mut self, room: RoomId, entered: &mut Holding, now: Holding) {
        self.held = self.held + now.count() - entered.count();
        let messages = entered.messages.end.max(now.messages.start)..now.messages.end;
        self.ages.extend(messages.map(|number| (room, Thing::Message(number))));
        let keys = entered.keys.end.max(now.keys.start)..now.keys.end;
        self.ages.extend(keys.map(|number| (room, Thing::Key(number))));
        *entered = now;
    }

    /// The oldest thing that is held; `holding` tells what each room holds now.
    pub fn oldest<'a>(&mut self, holding: impl Fn(RoomId) -> Option<&'a Holding>) -> Option<(RoomId, Thing)> {
        while let Some((room, thing)) = self.ages.front().copied() {
            if holding(room).is_some_and(|holding| holding.contains(thing)) {
                return Some((room, thing));
            }
            self.ages.pop_front();
        }
        None
    }

    /// Gives back the places of things that are gone, once they are the greater part.
    pub fn compact<'a>(&mut self, holding: impl Fn(RoomId) -> Option<&'a Holding>) {
        if self.ages.len() as u64 > 2 * self.held + SLACK {
            self.ages.retain(|(room, thing)| holding(*room).is_some_and(|holding| holding.contains(*thing)));
            self.ages.shrink_to(self.ages.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::owner::room::tests::memory_room;
    use crate::engine::owner::rooms::Rooms;
    use crate::engine::random::Random;

    fn rooms() -> [RoomId; 2] {
        let mut rooms = Rooms::new(Random::new(1).name_hashing());
        ["a", "b"].map(|name| rooms.insert(memory_room(name)))
    }

    #[test]
    fn the_oldest_that_is_held_is_found() {
        let [a, b] = rooms();
        let mut retention = Retention::default();
        let (mut of_a, mut of_b) = (Holding::default(), Holding::default());
        retention.update(a, &mut of_a, Holding { messages: 0..2, keys: 0..0 });
        retention.update(b, &mut of_b, Holding { messages: 0..1, keys: 0..1 });
        let oldest = |retention: &mut Retention, of_a: &Holding, of_b: &Holding| {
            retention.oldest(|room| Some(if room == a { of_a } else { of_b }))
        };
        assert_eq!(oldest(&mut retention, &of_a, &of_b), Some((a, Thing::Message(0))));
        retention.update(a, &mut of_a, Holding { messages: 2..2, keys: 0..1 });
        assert_eq!(oldest(&mut retention, &of_a, &of_b), Some((b, Thing::Message(0))));
        retention.update(b, &mut of_b, Holding { messages: 1..1, keys: 0..1 });
        assert_eq!(oldest(&mut retention, &of_a, &of_b), Some((b, Thing::Key(0))));
        let none = of_b.none();
        retention.update(b, &mut of_b, none);
        assert_eq!(oldest(&mut retention, &of_a, &of_b), Some((a, Thing::Key(0))));
        assert_eq!(retention.oldest(|_| None), None);
        let none = of_a.none();
        retention.update(a, &mut of_a, none);
        assert_eq!(retention.held, 0);
    }

    #[test]
    fn what_is_gone_does_not_pile_up_behind_an_old_thing() {
        let [old, busy] = rooms();
        let mut retention = Retention::default();
        let (mut of_old, mut of_busy) = (Holding::default(), Holding::default());
        retention.update(old, &mut of_old, Holding { messages: 0..1, keys: 0..0 });
        for number in 0..100_000_u64 {
            let messages = number.saturating_sub(9)..number + 1;
            retention.update(busy, &mut of_busy, Holding { messages, keys: 0..0 });
            retention.compact(|room| Some(if room == old { &of_old } else { &of_busy }));
            assert!(retention.ages.len() as u64 <= 2 * 11 + SLACK + 1, "{}", retention.ages.len());
        }
        let oldest = retention.oldest(|room| Some(if room == old { &of_old } else { &of_busy }));
        assert_eq!(oldest, Some((old, Thing::Message(0))));
    }
}
