//! Owns the common knowledge of all clients in a crowd: seq and author of each publication. Every receiver is checked
//! against it, so that no two receivers see different histories. Never knows receivers.

use std::collections::HashMap;

use crate::payload::Stamp;

/// One connection of a client. Its publishes keep their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Author {
    /// The client.
    pub client: u32,
    /// Number of the connection.
    pub generation: u32,
}

/// All rooms of a worker.
#[derive(Debug, Default)]
pub struct Truth {
    rooms: Vec<TrueRoom>,
    /// Author of each publish, by number.
    authors: Vec<Author>,
}

#[derive(Debug, Default)]
struct TrueRoom {
    epoch: Option<String>,
    /// The publish with seq `index + 1`, if a receiver has seen it.
    order: Vec<Option<u32>>,
    /// Seq of each seen publish.
    seqs: HashMap<u32, u64>,
    /// Length of the known start of `order` that was checked against the authors' order.
    settled: usize,
    last_of: HashMap<Author, u32>,
}

impl Truth {
    /// Creates `rooms` rooms without publications.
    #[must_use]
    pub fn new(rooms: u32) -> Self {
        Truth { rooms: (0..rooms).map(|_| TrueRoom::default()).collect(), authors: Vec::new() }
    }

    /// Assigns a number to the next publish of `author`.
    pub fn next_number(&mut self, author: Author) -> u32 {
        self.authors.push(author);
        u32::try_from(self.authors.len() - 1).expect("a run publishes fewer than 2^32 messages")
    }

    /// Highest seq seen in a room.
    #[must_use]
    pub fn head(&self, room: u32) -> u64 {
        self.rooms[room as usize].order.len() as u64
    }

    /// Epoch of a room, if known.
    #[must_use]
    pub fn epoch(&self, room: u32) -> Option<&str> {
        self.rooms[room as usize].epoch.as_deref()
    }

    /// Checks the epoch of a `joined`. It never changes, because the server does not restart during a run.
    ///
    /// # Errors
    /// The contradiction.
    pub fn check_epoch(&mut self, room: u32, epoch: &str) -> Result<(), String> {
        let known = self.rooms[room as usize].epoch.get_or_insert_with(|| epoch.to_owned());
        if known == epoch { Ok(()) } else { Err(format!("room {room}: epoch {epoch} after {known}")) }
    }

    /// Checks a received publication, or the seq in a reply to a publish.
    ///
    /// # Errors
    /// The contradiction.
    pub fn check(&mut self, room_index: u32, seq: u64, stamp: Option<Stamp>) -> Result<(), String> {
        let Some(stamp) = stamp else { return Err(format!("room {room_index}: seq {seq} without the published data")) };
        if stamp.room != room_index {
            return Err(format!("room {room_index}: seq {seq} is of room {}", stamp.room));
        }
        if stamp.number as usize >= self.authors.len() {
            return Err(format!("room {room_index}: seq {seq} was never published"));
        }
        let room = &mut self.rooms[room_index as usize];
        let known = *room.seqs.entry(stamp.number).or_insert(seq);
        if known != seq {
            return Err(format!("room {room_index}: publish {} has seq {seq} and {known}", stamp.number));
        }
        // Far beyond the publishes: not worth the memory.
        let Some(index) = seq.checked_sub(1).filter(|index| *index < self.authors.len() as u64) else {
            return Err(format!("room {room_index}: seq {seq} of {} publishes", self.authors.len()));
        };
        let index = index as usize;
        if room.order.len() <= index {
            room.order.resize(index + 1, None);
        }
        match room.order[index] {
            Some(number) if number == stamp.number => return Ok(()),
            Some(number) => {
                return Err(format!("room {room_index}: seq {seq} is publish {} and {number}", stamp.number));
            }
            None => room.order[index] = Some(stamp.number),
        }
        room.settle(&self.authors).map_err(|what| format!("room {room_index}: {what}"))
    }
}

impl TrueRoom {
    fn settle(&mut self, authors: &[Author]) -> Result<(), String> {
        while let Some(Some(number)) = self.order.get(self.settled).copied() {
            self.settled += 1;
            let author = authors[number as usize];
            if let Some(before) = self.last_of.insert(author, number).filter(|before| *before > number) {
                return Err(format!(
                    "{author:?} published {number} before {before}, but the room has the reverse order"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Author = Author { client: 1, generation: 0 };
    const B: Author = Author { client: 2, generation: 0 };

    fn stamp(number: u32) -> Option<Stamp> {
        Some(Stamp { number, room: 0 })
    }

    #[test]
    fn one_history_passes_in_any_order() {
        let mut truth = Truth::new(1);
        for author in [A, B, A, B] {
            truth.next_number(author);
        }
        for (seq, number) in [(3, 2), (1, 1), (4, 3), (2, 0), (1, 1)] {
            assert_eq!(truth.check(0, seq, stamp(number)), Ok(()));
        }
        assert_eq!(truth.head(0), 4);
        assert_eq!(truth.check_epoch(0, "a"), Ok(()));
        assert_eq!(truth.check_epoch(0, "a"), Ok(()));
        assert!(truth.check_epoch(0, "b").is_err());
    }

    #[test]
    fn two_histories_fail() {
        let mut truth = Truth::new(2);
        assert_eq!((0..5).map(|_| truth.next_number(A)).last(), Some(4));
        assert_eq!(truth.check(0, 1, stamp(0)), Ok(()));
        assert!(truth.check(0, 1, stamp(1)).is_err(), "another publication under the same seq");
        assert!(truth.check(0, 2, stamp(0)).is_err(), "the same publication under another seq");
        assert!(truth.check(1, 1, stamp(2)).is_err(), "of another room");
        assert!(truth.check(0, 3, stamp(9)).is_err(), "never published");
        assert!(truth.check(0, 1 << 40, stamp(3)).is_err(), "a seq far beyond the publishes");
        assert!(truth.check(0, 0, stamp(3)).is_err(), "seqs start at 1");
        assert!(truth.check(0, 2, None).is_err(), "no stamp");
    }

    #[test]
    fn the_order_of_an_author_is_checked() {
        let mut truth = Truth::new(1);
        assert_eq!((0..3).map(|_| truth.next_number(A)).last(), Some(2));
        assert_eq!(truth.check(0, 2, stamp(0)), Ok(()));
        assert!(truth.check(0, 1, stamp(1)).is_err(), "0 was published before 1");
    }
}
