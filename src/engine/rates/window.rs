//! A sliding window that remembers every event in it: exact at any moment. Never knows what it counts.

use std::collections::VecDeque;

use super::Rate;

/// The events of the last `per_ms`, at most the rate's count of them. The rate may change between calls. The events
/// within the new rate's window then count under it, so no client waits longer than its `per_ms`.
#[derive(Debug, Default)]
pub struct SlidingWindow {
    /// Monotonic microseconds, oldest first.
    events_us: VecDeque<u64>,
}

impl SlidingWindow {
    /// Counts an event if the window ending now has room for it.
    ///
    /// # Errors
    /// No room: milliseconds until there is, at least 1.
    pub fn try_take(&mut self, rate: Rate, now_us: u64) -> Result<(), u64> {
        self.forget(rate, now_us);
        let count = usize::try_from(rate.count.get()).unwrap_or(usize::MAX);
        // A lowered rate leaves more events than it allows.
        if let Some(at) = self.events_us.len().checked_sub(count) {
            let until_us = self.events_us[at] + rate.per_ms * 1_000;
            return Err(until_us.saturating_sub(now_us).div_ceil(1_000).max(1));
        }
        self.events_us.push_back(now_us);
        Ok(())
    }

    /// Takes back the newest event, which turned out to be none.
    pub fn take_back(&mut self) {
        self.events_us.pop_back();
    }

    /// Forgets the events that have left the window. Returns whether it is empty.
    pub fn forget(&mut self, rate: Rate, now_us: u64) -> bool {
        let per_us = rate.per_ms * 1_000;
        while self.events_us.pop_front_if(|event_us| *event_us + per_us <= now_us).is_some() {}
        self.events_us.is_empty()
    }

    /// Heap memory, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.events_us.capacity() * size_of::<u64>()
    }
}
