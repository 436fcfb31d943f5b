//! The schedule of key set reads: periodic, soon after a failure, and early when a token names an unknown key, but never
//! often. Takes the time as an argument; reads nothing.

use crate::base::breaker::{Breaker, BreakerState};

/// Interval between successful reads, and so the time after which a removed key is no longer accepted.
const REFRESH_MS: u64 = 300_000;

/// Delay after a failed read.
const RETRY_MS: u64 = 1_000;

/// Minimum interval between reads, however many unknown keys tokens name.
const BETWEEN_MS: u64 = 2_000;

/// Consecutive failures that open the breaker, and how long it stays open.
const FAILURES_MAX: u32 = 5;
const RESET_MS: u64 = 10_000;

/// When to read the key set.
#[derive(Debug)]
pub(super) struct Schedule {
    breaker: Breaker,
    due_ms: u64,
    began_ms: Option<u64>,
}

impl Schedule {
    /// With the first read due at once.
    pub(super) fn new() -> Self {
        Self { breaker: Breaker::new(FAILURES_MAX, RESET_MS), due_ms: 0, began_ms: None }
    }

    /// When the next read is due.
    pub(super) fn due_ms(&self) -> u64 {
        self.due_ms
    }

    pub(super) fn breaker(&self) -> BreakerState {
        self.breaker.state()
    }

    /// A token names an unknown key: brings the next read forward, unless the breaker is open. Returns whether it did.
    pub(super) fn call(&mut self, now_ms: u64) -> bool {
        if self.breaker.state() == BreakerState::Open && now_ms < self.due_ms {
            return false;
        }
        let soonest_ms = self.began_ms.map_or(now_ms, |began_ms| now_ms.max(began_ms + BETWEEN_MS));
        self.due_ms = self.due_ms.min(soonest_ms);
        true
    }

    /// Makes a read due at once and forgets failures, for another source or on request of the operator.
    pub(super) fn restart(&mut self, now_ms: u64) {
        *self = Self { due_ms: now_ms, ..Self::new() };
    }

    /// Begins a read if the breaker lets it pass; otherwise postpones it.
    pub(super) fn try_begin(&mut self, now_ms: u64) -> bool {
        match self.breaker.try_pass(now_ms) {
            Ok(()) => {
                self.began_ms = Some(now_ms);
                true
            }
            Err(after_ms) => {
                self.due_ms = now_ms + after_ms;
                false
            }
        }
    }

    /// Records the result of a read.
    pub(super) fn ended(&mut self, now_ms: u64, succeeded: bool) {
        if succeeded {
            self.breaker.succeeded();
            self.due_ms = now_ms + REFRESH_MS;
        } else {
            self.breaker.failed(now_ms);
            self.due_ms = now_ms + RETRY_MS;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays reads that all have one result, with a call every 50 ms or none. Returns when each began.
    fn reads(schedule: &mut Schedule, from_ms: u64, for_ms: u64, succeed: bool, calls: bool) -> Vec<u64> {
        let mut began = Vec::new();
        for now_ms in (from_ms..from_ms + for_ms).step_by(50) {
            if calls {
                schedule.call(now_ms);
            }
            if schedule.due_ms() <= now_ms && schedule.try_begin(now_ms) {
                began.push(now_ms);
                schedule.ended(now_ms, succeed);
            }
        }
        began
    }

    #[test]
    fn successful_reads_repeat_every_five_minutes() {
        assert_eq!(reads(&mut Schedule::new(), 0, 900_000, true, false), [0, 300_000, 600_000]);
    }

    #[test]
    fn calls_bring_a_read_forward_but_not_often() {
        let mut schedule = Schedule::new();
        assert_eq!(reads(&mut schedule, 0, 6_001, true, true), [0, 2_000, 4_000, 6_000]);
        assert!(schedule.call(100_000));
        assert_eq!(reads(&mut schedule, 100_000, 1_000, true, false), [100_000], "at once after a quiet time");
    }

    #[test]
    fn failures_open_the_breaker_for_calls_too() {
        let mut schedule = Schedule::new();
        let began = reads(&mut schedule, 0, 30_000, false, true);
        assert_eq!(began, [0, 1_000, 2_000, 3_000, 4_000, 14_000, 24_000]);
        assert_eq!(schedule.breaker(), BreakerState::Open);
        assert!(!schedule.call(30_000));
        assert_eq!(reads(&mut schedule, 34_000, 1_000, true, false), [34_000]);
        assert_eq!(schedule.breaker(), BreakerState::Closed);
        schedule.restart(40_000);
        assert_eq!(reads(&mut schedule, 40_000, 1_000, true, false), [40_000]);
    }
}
