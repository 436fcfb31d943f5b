//! The numberings of idle rooms that hold nothing else: epoch and head, so that a client that returns knows whether it
//! has missed anything. Bounded here by age, and by bytes through the core's budget. Holds no room and no message.

use std::collections::{BTreeMap, HashMap};

use crate::base::ids::{Epoch, Position, RoomName};
use crate::base::limits::NUMBERING_BYTES;
use crate::engine::random::NameHashing;
use crate::engine::table;

/// The epoch and head of a room, and its last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LastHead {
    pub head: Position,
    /// The latest `at` of a message, Unix milliseconds.
    pub last_at: u64,
}

impl LastHead {
    /// A new numbering.
    pub const fn new(epoch: Epoch) -> Self {
        Self { head: Position { epoch, seq: 0 }, last_at: 0 }
    }
}

/// When a numbering expires (monotonic milliseconds), and a unique number.
type EndPosition = (u64, u64);

/// The numberings of one core's idle rooms.
#[derive(Debug)]
pub(super) struct Numberings {
    by_room: HashMap<RoomName, (LastHead, EndPosition), NameHashing>,
    by_end: BTreeMap<EndPosition, RoomName>,
    next_number: u64,
    bytes: usize,
}

impl Numberings {
    /// No numberings.
    pub fn new(hashing: NameHashing) -> Self {
        Self { by_room: HashMap::with_hasher(hashing), by_end: BTreeMap::new(), next_number: 0, bytes: 0 }
    }

    /// Bytes for the budget.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds the numbering of a room, which must have none here.
    pub fn remember(&mut self, room: RoomName, numbering: LastHead, expires_ms: u64) {
        let end = (expires_ms, self.next_number);
        self.next_number += 1;
        self.bytes += entry_bytes(&room);
        self.by_end.insert(end, room.clone());
        let earlier = self.by_room.insert(room, (numbering, end));
        debug_assert!(earlier.is_none(), "it was taken when the room came to be");
    }

    /// Takes the numbering of a room that is created again.
    pub fn take(&mut self, room: &str) -> Option<LastHead> {
        let (numbering, end) = self.by_room.remove(room)?;
        self.by_end.remove(&end);
        self.bytes -= entry_bytes(room);
        table::shrink(&mut self.by_room);
        Some(numbering)
    }

    /// When the first expires, monotonic milliseconds.
    pub fn next_expiry_ms(&self) -> Option<u64> {
        self.by_end.first_key_value().map(|((expires_ms, _), _)| *expires_ms)
    }

    /// Drops at most `count` expired numberings.
    pub fn expire(&mut self, now_ms: u64, count: usize) {
        for _ in 0..count {
            if self.next_expiry_ms().is_none_or(|expires_ms| expires_ms > now_ms) {
                break;
            }
            self.drop_first();
        }
    }

    /// Drops the one that would expire first. Returns whether there was one.
    pub fn drop_first(&mut self) -> bool {
        let Some((_, room)) = self.by_end.pop_first() else { return false };
        self.by_room.remove(&*room);
        self.bytes -= entry_bytes(&room);
        table::shrink(&mut self.by_room);
        true
    }
}

fn entry_bytes(room: &str) -> usize {
    NUMBERING_BYTES + room.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::CoreId;
    use crate::engine::random::{Part, Secrets};

    fn room(name: &str) -> RoomName {
        RoomName::new(name).expect("valid")
    }

    fn at(seq: u64) -> LastHead {
        LastHead { head: Position { epoch: Epoch(7), seq }, last_at: seq }
    }

    #[test]
    fn a_numbering_is_taken_once_and_forgotten_in_time() {
        let mut numberings = Numberings::new(Secrets::from(1).tables(CoreId(0), Part::Owner).hashing());
        for (index, name) in ["a", "b", "c"].into_iter().enumerate() {
            numberings.remember(room(name), at(index as u64), 300 - 100 * index as u64);
        }
        assert_eq!(numberings.bytes(), 3 * (NUMBERING_BYTES + 1));
        assert_eq!((numberings.take("b"), numberings.take("b")), (Some(at(1)), None));
        assert_eq!(numberings.next_expiry_ms(), Some(100));
        numberings.expire(299, 10);
        assert_eq!((numberings.take("c"), numberings.next_expiry_ms()), (None, Some(300)));
        assert!(numberings.drop_first() && !numberings.drop_first());
        assert_eq!((numberings.take("a"), numberings.bytes()), (None, 0));
    }
}
