//! A circuit breaker around something that may be down: after failures in a row it is left alone for a while, then tried
//! once. Time comes in as an argument; makes no call itself.

/// Whether calls are let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BreakerState {
    /// All are.
    Closed = 0,
    /// One is, to see whether it works again.
    HalfOpen = 1,
    /// None is.
    Open = 2,
}

/// One breaker. Each call that [`Breaker::try_pass`] lets through is followed by [`Breaker::succeeded`] or
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
        /// In a row.
        failures: u32,
    },
    Open {
        until_ms: u64,
    },
    HalfOpen {
        /// A trial that was never reported on is given up then.
        until_ms: u64,
    },
}

impl Breaker {
    /// A closed one that opens after `failures_max` failures in a row (at least 1) for `reset_ms`.
    #[must_use]
    pub const fn new(failures_max: u32, reset_ms: u64) -> Self {
        let failures_max = if failures_max == 0 { 1 } else { failures_max };
        Self { failures_max, reset_ms, state: BreakerPhase::Closed { failures: 0 } }
    }

    /// Whether a call may be made now. `now_ms` never goes back.
    ///
    /// # Errors
    /// After how many milliseconds to ask again.
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

    /// A call succeeded. One that was made before the breaker opened says nothing about now.
    pub fn succeeded(&mut self) {
        if !matches!(self.state, BreakerPhase::Open { .. }) {
            self.state = BreakerPhase::Closed { failures: 0 };
        }
    }

    /// A call failed.
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

    /// Where it stands.
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

    /// Open since 1,000, until 1,500.
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
        assert_eq!(breaker.state(), BreakerState::Closed, "failures are counted from none");
    }

    #[test]
    fn a_trial_that_is_never_reported_on_does_not_block_for_ever() {
        let mut breaker = open();
        assert_eq!(breaker.try_pass(1_500), Ok(()));
        assert_eq!(breaker.try_pass(1_999), Err(1));
        assert_eq!(breaker.try_pass(2_000), Ok(()));
    }
}
