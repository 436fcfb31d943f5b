//! Time limits of one length, in the order in which they end. Never knows what a slot is waited for.

use std::collections::VecDeque;

/// Places that a queue keeps when it is empty.
const PLACES_KEPT: usize = 256;

/// When the time of one use of a slot ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    /// Monotonic milliseconds.
    pub at_ms: u64,
    pub slot: u32,
    pub generation: u32,
}

/// Deadlines, the first to end in front.
#[derive(Debug, Default)]
pub struct Deadlines(VecDeque<Deadline>);

impl Deadlines {
    /// Adds one that ends after all the others.
    pub fn push(&mut self, deadline: Deadline) {
        self.0.push_back(deadline);
    }

    /// When the first one ends, monotonic milliseconds.
    pub fn first_ms(&self) -> Option<u64> {
        self.0.front().map(|deadline| deadline.at_ms)
    }

    /// Takes the first one, ended or not.
    pub fn take_first(&mut self) -> Option<Deadline> {
        self.0.pop_front()
    }

    /// Takes the first one that has ended.
    pub fn take_due(&mut self, now_ms: u64) -> Option<Deadline> {
        let due = self.0.pop_front_if(|deadline| deadline.at_ms <= now_ms);
        // Memory that a storm of connects needed is given back after it.
        if self.0.capacity() > PLACES_KEPT && self.0.len() * 8 < self.0.capacity() {
            self.0.shrink_to(self.0.len() * 2);
        }
        due
    }

    /// Drops the first ones that have been met, so that a queue holds about as many as are awaited, not all of the last
    /// seconds.
    pub fn drop_met(&mut self, is_awaited: impl Fn(&Deadline) -> bool) {
        while self.0.pop_front_if(|deadline| !is_awaited(deadline)).is_some() {}
    }

    #[cfg(test)]
    pub fn slots(&self) -> Vec<u32> {
        self.0.iter().map(|deadline| deadline.slot).collect()
    }
}
