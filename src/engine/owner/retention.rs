//! What one core's rooms hold apart from their members: the bytes, and the messages by age, so that the oldest of the
//! whole core can be dropped first. Holds no message, only its place.

use std::collections::VecDeque;
use std::ops::Range;

use super::room_id::RoomId;

/// The messages that one core's rooms hold, oldest first, and the bytes of everything that rooms hold.
///
/// Each message has a unique number in its room. The messages that a room holds are a range of numbers. A number
/// outside of it is skipped.
#[derive(Debug, Default)]
pub(super) struct Retention {
    /// Charged to the core's budget for rooms.
    pub bytes: u64,
    /// Bytes that cannot be dropped to make room: all except messages.
    pub kept_bytes: u64,
    ages: VecDeque<(RoomId, u64)>,
    /// Number of messages held.
    held: u64,
}

/// Places of dropped messages are kept until there are as many as held messages, plus this many.
const SLACK: u64 = 1_024;

impl Retention {
    /// The range of numbers that a room holds changes from `entered` to `now`. A dropped number never returns.
    pub fn update(&mut self, room: RoomId, entered: &mut Range<u64>, now: Range<u64>) {
        let count = |range: &Range<u64>| range.end - range.start;
        self.held = self.held + count(&now) - count(entered);
        let added = entered.end.max(now.start)..now.end;
        self.ages.extend(added.map(|number| (room, number)));
        *entered = now;
    }

    /// The room that holds the oldest message. `holds` returns the range that a room holds now.
    pub fn oldest(&mut self, holds: impl Fn(RoomId) -> Range<u64>) -> Option<RoomId> {
        while let Some((room, number)) = self.ages.front() {
            if holds(*room).contains(number) {
                return Some(*room);
            }
            self.ages.pop_front();
        }
        None
    }

    /// Frees the places of dropped messages, once they are the majority.
    pub fn compact(&mut self, holds: impl Fn(RoomId) -> Range<u64>) {
        if self.ages.len() as u64 > 2 * self.held + SLACK {
            self.ages.retain(|(room, number)| holds(*room).contains(number));
            self.ages.shrink_to(self.ages.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::CoreId;
    use crate::engine::owner::room::tests::memory_room;
    use crate::engine::owner::rooms::Rooms;
    use crate::engine::random::{Part, Secrets};

    fn rooms() -> [RoomId; 2] {
        let mut rooms = Rooms::new(Secrets::from(1).tables(CoreId(0), Part::Owner).hashing());
        ["a", "b"].map(|name| rooms.insert(memory_room(name)))
    }

    #[test]
    fn the_oldest_that_is_held_is_found() {
        let [a, b] = rooms();
        let mut retention = Retention::default();
        let (mut of_a, mut of_b) = (0..0, 0..0);
        retention.update(a, &mut of_a, 0..2);
        retention.update(b, &mut of_b, 0..1);
        assert_eq!(retention.oldest(|room| if room == a { 0..2 } else { 0..1 }), Some(a));
        retention.update(a, &mut of_a, 2..2);
        assert_eq!(retention.oldest(|room| if room == a { 2..2 } else { 0..1 }), Some(b));
        retention.update(b, &mut of_b, 1..1);
        assert_eq!(retention.oldest(|room| if room == a { 2..2 } else { 1..1 }), None);
        assert_eq!(retention.held, 0);
    }

    #[test]
    fn what_is_gone_does_not_pile_up_behind_an_old_message() {
        let [old, busy] = rooms();
        let mut retention = Retention::default();
        retention.update(old, &mut (0..0), 0..1);
        let mut of_busy = 0..0;
        for number in 0..100_000_u64 {
            retention.update(busy, &mut of_busy, number.saturating_sub(9)..number + 1);
            retention.compact(|room| if room == old { 0..1 } else { of_busy.clone() });
            assert!(retention.ages.len() as u64 <= 2 * 11 + SLACK + 1, "{}", retention.ages.len());
        }
        assert_eq!(retention.oldest(|room| if room == old { 0..1 } else { of_busy.clone() }), Some(old));
    }
}
