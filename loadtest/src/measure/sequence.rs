//! Whether one receiver gets numbered publications in order, each once. 16 bytes while nothing is wrong.

/// What a number means, given those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrivalOrder {
    /// The next one.
    InOrder,
    /// So many before it have not come (yet).
    AfterHole(u64),
    /// One of those that were missing.
    Late,
    /// It came before.
    Duplicate,
}

/// The numbers that one receiver has seen of one stream.
#[derive(Debug, Default)]
pub struct Sequence {
    next: u64,
    #[expect(clippy::box_collection, reason = "one null pointer in each of many receivers")]
    holes: Option<Box<Vec<Hole>>>,
}

/// Numbers `from ..= to` have not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hole {
    from: u64,
    to: u64,
}

impl Sequence {
    /// A stream whose next number is `next`.
    #[must_use]
    pub fn starting_at(next: u64) -> Self {
        Sequence { next, holes: None }
    }

    /// The number that would be in order.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Takes a number that arrived.
    pub fn observe(&mut self, number: u64) -> ArrivalOrder {
        if number == self.next {
            self.next += 1;
            return ArrivalOrder::InOrder;
        }
        if number > self.next {
            let missing = number - self.next;
            self.holes.get_or_insert_default().push(Hole { from: self.next, to: number - 1 });
            self.next = number + 1;
            return ArrivalOrder::AfterHole(missing);
        }
        if self.fill(number, number) > 0 { ArrivalOrder::Late } else { ArrivalOrder::Duplicate }
    }

    /// Takes an announcement that `from ..= to` will not come. Returns how many of those had not come.
    pub fn announce_gap(&mut self, from: u64, to: u64) -> u64 {
        let mut missing = self.fill(from, to);
        if to >= self.next {
            if from > self.next {
                self.holes.get_or_insert_default().push(Hole { from: self.next, to: from - 1 });
            }
            missing += to - from.max(self.next) + 1;
            self.next = to + 1;
        }
        missing
    }

    /// Numbers below `next` that never came and were not announced.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.holes.iter().flat_map(|holes| holes.iter()).map(|hole| hole.to - hole.from + 1).sum()
    }

    /// Takes `from ..= to` out of the holes; returns how many of them were in one.
    fn fill(&mut self, from: u64, to: u64) -> u64 {
        let Some(holes) = &mut self.holes else { return 0 };
        let mut filled = 0;
        let mut rest = Vec::with_capacity(holes.len() + 1);
        for hole in holes.iter() {
            let (low, high) = (hole.from.max(from), hole.to.min(to));
            if low > high {
                rest.push(*hole);
                continue;
            }
            filled += high - low + 1;
            if hole.from < low {
                rest.push(Hole { from: hole.from, to: low - 1 });
            }
            if hole.to > high {
                rest.push(Hole { from: high + 1, to: hole.to });
            }
        }
        **holes = rest;
        if holes.is_empty() {
            self.holes = None;
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_order_needs_no_memory() {
        let mut sequence = Sequence::starting_at(5);
        for number in 5..100 {
            assert_eq!(sequence.observe(number), ArrivalOrder::InOrder);
        }
        assert!(sequence.holes.is_none());
        assert_eq!(std::mem::size_of::<Sequence>(), 16);
    }

    #[test]
    fn a_late_one_is_not_a_duplicate_and_a_second_one_is() {
        let mut sequence = Sequence::starting_at(1);
        assert_eq!(sequence.observe(1), ArrivalOrder::InOrder);
        assert_eq!(sequence.observe(4), ArrivalOrder::AfterHole(2));
        assert_eq!(sequence.missing(), 2);
        assert_eq!(sequence.observe(3), ArrivalOrder::Late);
        assert_eq!(sequence.observe(3), ArrivalOrder::Duplicate);
        assert_eq!(sequence.observe(1), ArrivalOrder::Duplicate);
        assert_eq!(sequence.missing(), 1);
        assert_eq!(sequence.observe(2), ArrivalOrder::Late);
        assert_eq!((sequence.missing(), sequence.next()), (0, 5));
    }

    #[test]
    fn an_announced_gap_is_no_hole() {
        let mut sequence = Sequence::starting_at(1);
        assert_eq!(sequence.announce_gap(1, 9), 9);
        assert_eq!(sequence.observe(10), ArrivalOrder::InOrder);
        assert_eq!(sequence.observe(20), ArrivalOrder::AfterHole(9));
        assert_eq!(sequence.announce_gap(12, 15), 4);
        assert_eq!(sequence.missing(), 5);
        assert_eq!(sequence.announce_gap(18, 25), 7, "18 and 19 of the hole, 21 to 25 ahead");
        assert_eq!((sequence.missing(), sequence.next()), (3, 26));
        assert_eq!(sequence.announce_gap(30, 30), 1);
        assert_eq!(sequence.missing(), 7, "26 to 29 were skipped without a word");
    }
}
