//! Owns the circuit breaker: after failures in a row it blocks calls for a while, then lets one trial call through.
//! Takes time as an argument; never makes a call.

/// The state of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BreakerState {
    /// All calls pass.
    Closed = 0,
    /// One trial call passes.
    HalfOpen = 1,
    /// No call passes.
    Open = 2,
}

/// A circuit breaker. After each call that [`Breaker::try_pass`] lets through, call [`Breaker::succeeded`] or
/// [`Breaker::failed`].
#[derive(Clone, Debug)]
pub struct Breaker {
    failures_max: u32,
    reset_ms: u64,
    state: BreakerPhase,
}

#[derive(Clone, Copy, Debug)]
enum BreakerPhase {
    Closed {
        /// Failures in a row.
        failures: u32,
    },
    Open {
        until_ms: u64,
    },
    HalfOpen {
        /// An unreported trial counts as lost then.
        until_ms: u64,
    },
}

impl Breaker {
    /// Starts closed. Opens for `reset_ms` after `failures_max` failures in a row (at least 1).
    #[must_use]
    pub const fn new(failures_max: u32, reset_ms: u64) -> Self {
        let failures_max = if failures_max == 0 { 1 } else { failures_max };
        Self { failures_max, reset_ms, state: BreakerPhase::Closed { failures: 0 } }
    }

    /// Allows a call, or not. `now_ms` never decreases.
    ///
    /// # Errors
    /// Milliseconds until the next attempt.
    pub fn try_pass(&mut self, now_ms: u64) -> Result<(), u64> {
        match self.state {
            BreakerPhase::Closed { .. } => Ok(()),
            BreakerPhase::Open { until_ms } | BreakerPhase::HalfOpen { until_ms } if now_ms < until_ms => {
                Err(until_ms - now_ms)
            }
            BreakerPhase::Open { .. } | BreakerPhase::HalfOpen { .. } => {
                self.state = BreakerPhase::HalfOpen { until_ms: now_ms + self.reset_ms };
                Ok(())
            }
        }
    }

    /// Reports a success. A no-op while open: the call began before the failures.
    pub fn succeeded(&mut self) {
        if !matches!(self.state, BreakerPhase::Open { .. }) {
            self.state = BreakerPhase::Closed { failures: 0 };
        }
    }

    /// Reports a failure.
    pub fn failed(&mut self, now_ms: u64) {
        self.state = match self.state {
            BreakerPhase::Closed { failures } if failures + 1 < self.failures_max => {
                BreakerPhase::Closed { failures: failures + 1 }
            }
            BreakerPhase::Closed { .. } | BreakerPhase::HalfOpen { .. } => {
                BreakerPhase::Open { until_ms: now_ms + self.reset_ms }
            }
            open @ BreakerPhase::Open { .. } => open,
        };
    }

    /// The current state.
    #[must_use]
    pub const fn state(&self) -> BreakerState {
        match self.state {
            BreakerPhase::Closed { .. } => BreakerState::Closed,
            BreakerPhase::HalfOpen { .. } => BreakerState::HalfOpen,
            BreakerPhase::Open { .. } => BreakerState::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A breaker that is open from 1,000 to 1,500.
    fn open() -> Breaker {
        let mut breaker = Breaker::new(3, 500);
        for _ in 0..3 {
            assert_eq!(breaker.try_pass(1_000), Ok(()));
            breaker.failed(1_000);
        }
        assert_eq!(breaker.state(), BreakerState::Open);
        breaker
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let mut breaker = Breaker::new(3, 500);
        for _ in 0..5 {
            breaker.failed(0);
            breaker.failed(0);
            assert_eq!(breaker.state(), BreakerState::Closed);
            breaker.succeeded();
        }
        let mut at_once = Breaker::new(0, 500);
        at_once.failed(0);
        assert_eq!(at_once.state(), BreakerState::Open);
    }

    #[test]
    fn while_open_nothing_passes_and_late_reports_change_nothing() {
        let mut breaker = open();
        assert_eq!(breaker.try_pass(1_000), Err(500));
        breaker.failed(1_400);
        breaker.succeeded();
        assert_eq!(breaker.try_pass(1_499), Err(1));
        assert_eq!(breaker.state(), BreakerState::Open);
    }

    #[test]
    fn one_trial_closes_it_or_opens_it_again() {
        let mut breaker = open();
        assert_eq!(breaker.try_pass(1_500), Ok(()));
        assert_eq!((breaker.state(), breaker.try_pass(1_500)), (BreakerState::HalfOpen, Err(500)));
        breaker.failed(1_600);
        assert_eq!((breaker.state(), breaker.try_pass(1_600)), (BreakerState::Open, Err(500)));
        assert_eq!(breaker.try_pass(2_100), Ok(()));
        breaker.succeeded();
        assert_eq!((breaker.state(), breaker.try_pass(2_100)), (BreakerState::Closed, Ok(())));
        breaker.failed(2_200);
        assert_eq!(breaker.state(), BreakerState::Closed, "failures count from zero again");
    }

    #[test]
    fn an_unreported_trial_does_not_block_forever() {
        let mut breaker = open();
        assert_eq!(breaker.try_pass(1_500), Ok(()));
        assert_eq!(breaker.try_pass(1_999), Err(1));
        assert_eq!(breaker.try_pass(2_000), Ok(()));
    }
}
