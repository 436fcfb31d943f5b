//! Keys whose state in a limiter may be empty and must be looked at again. Never knows a rate.

use std::collections::VecDeque;

/// Keys ordered by the time at which they are due.
#[derive(Debug)]
pub struct DueKeys<K>(VecDeque<(u64, K)>);

impl<K> Default for DueKeys<K> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<K> DueKeys<K> {
    /// Adds a key that is due after all others, at `due_us` (monotonic microseconds).
    pub fn push(&mut self, due_us: u64, key: K) {
        self.0.push_back((due_us, key));
    }

    /// Takes the first key, if it is due.
    pub fn take_due(&mut self, now_us: u64) -> Option<K> {
        self.0.pop_front_if(|(due_us, _)| *due_us <= now_us).map(|(_, key)| key)
    }

    /// Makes every key due by `due_us` at the latest. Later keys are added from there on.
    pub fn hasten(&mut self, due_us: u64) {
        for (queued_us, _) in &mut self.0 {
            *queued_us = due_us.min(*queued_us);
        }
    }

    /// When the first key is due, monotonic microseconds.
    #[must_use]
    pub fn first_us(&self) -> Option<u64> {
        self.0.front().map(|(due_us, _)| *due_us)
    }
}
