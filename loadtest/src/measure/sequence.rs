//! Owns the check that one receiver gets each numbered publication once and in order. Takes 16 bytes while all is well.
//! Never counts faults.

/// The order of an arrived number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrivalOrder {
    /// The next number.
    InOrder,
    /// A later number; this many before it are missing.
    AfterHole(u64),
    /// A missing number.
    Late,
    /// A number that arrived before.
    Duplicate,
}

/// The numbers of one stream that a receiver has seen.
#[derive(Debug, Default)]
pub struct Sequence {
    next: u64,
    #[expect(clippy::box_collection, reason = "one null pointer in each of many receivers")]
    holes: Option<Box<Vec<Hole>>>,
}

/// Missing numbers `from ..= to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hole {
    from: u64,
    to: u64,
}

impl Sequence {
    /// Starts a stream whose next number is `next`.
    #[must_use]
    pub fn starting_at(next: u64) -> Self {
        Sequence { next, holes: None }
    }

    /// The next number.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Takes an arrived number.
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

    /// Takes an announcement that `from ..= to` will not arrive. Returns how many of them were missing.
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

    /// Number of missing numbers below `next` that were not announced.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.holes.iter().flat_map(|holes| holes.iter()).map(|hole| hole.to - hole.from + 1).sum()
    }

    /// Removes `from ..= to` from the holes. Returns how many of them were missing.
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
    fn a_late_number_is_not_a_duplicate_but_its_repetition_is() {
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
        assert_eq!(sequence.missing(), 7, "26 to 29 were skipped without an announcement");
    }
}
