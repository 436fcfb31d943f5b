//! A token bucket in one number. Never knows what it counts.

use std::num::NonZeroU64;

/// A number of events per period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub count: NonZeroU64,
    /// At least 1.
    pub per_ms: u64,
}

/// The size of a bucket, in units of its rate's count: the burst that it allows.
const BURST: u64 = 2;

const NS_PER_US: u64 = 1_000;
const NS_PER_MS: u64 = 1_000_000;

impl Rate {
    /// A rate; `None` for a count of 0, which means no limit.
    #[must_use]
    pub const fn new(count: u64, per_ms: u64) -> Option<Rate> {
        match NonZeroU64::new(count) {
            Some(count) => Some(Rate { count, per_ms: if per_ms == 0 { 1 } else { per_ms } }),
            None => None,
        }
    }

    /// The rate with a count `factor` times as high.
    #[must_use]
    pub const fn times(self, factor: NonZeroU64) -> Rate {
        Rate { count: self.count.saturating_mul(factor), per_ms: self.per_ms }
    }

    /// Nanoseconds between two tokens.
    const fn interval_ns(self) -> u64 {
        self.per_ms * NS_PER_MS / self.count.get()
    }

    /// Nanoseconds in which an empty bucket fills.
    const fn full_ns(self) -> u64 {
        BURST * self.per_ms * NS_PER_MS
    }

    /// Milliseconds in which an empty bucket fills.
    #[must_use]
    pub const fn full_ms(self) -> u64 {
        BURST * self.per_ms
    }
}

/// A token bucket that holds twice its rate's count, kept as in the Generic Cell Rate Algorithm (ITU-T I.371, the
/// virtual scheduling form): its whole state is the time at which it will be full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Monotonic nanoseconds.
    full_at_ns: u64,
}

impl Bucket {
    /// Takes a token.
    ///
    /// # Errors
    /// No token: milliseconds until there is one, at least 1.
    pub fn try_take(&mut self, rate: Rate, now_us: u64) -> Result<(), u64> {
        self.try_take_many(rate, 1, now_us)
    }

    /// Takes `count` tokens at once. More than a full bucket holds can be taken from a full bucket, which then owes the
    /// rest.
    ///
    /// # Errors
    /// Too few tokens: milliseconds until there are enough, at least 1.
    pub fn try_take_many(&mut self, rate: Rate, count: u64, now_us: u64) -> Result<(), u64> {
        let now_ns = now_us * NS_PER_US;
        let begin_ns = self.full_at_ns.max(now_ns);
        let held = count.min(BURST * rate.count.get());
        let latest_ns = now_ns + rate.full_ns();
        let needed_ns = begin_ns + held * rate.interval_ns();
        if needed_ns > latest_ns {
            return Err((needed_ns - latest_ns).div_ceil(NS_PER_MS));
        }
        self.full_at_ns = begin_ns.saturating_add(count.saturating_mul(rate.interval_ns()));
        Ok(())
    }

    /// Takes tokens even if there are too few. The bucket then owes the rest, at most as many as it holds.
    pub fn charge(&mut self, rate: Rate, count: u32, now_us: u64) {
        let now_ns = now_us * NS_PER_US;
        let full_at_ns = self.full_at_ns.max(now_ns).saturating_add(rate.interval_ns().saturating_mul(count.into()));
        self.full_at_ns = full_at_ns.min(now_ns + 2 * rate.full_ns()).max(self.full_at_ns);
    }

    /// Changes the rate; `None` means no limit. Tokens stay taken: each one not yet refilled counts as one under the
    /// new rate, up to a whole bucket. So a change allows no fresh burst, and no client waits longer than under the new
    /// rate. Without a limit, no token counts as taken.
    pub fn change_rate(&mut self, from: Option<Rate>, to: Option<Rate>, now_us: u64) {
        if from == to {
            return;
        }
        let now_ns = now_us * NS_PER_US;
        let missing_ns = u128::from(self.full_at_ns.saturating_sub(now_ns));
        let missing_ns = match (from, to) {
            (Some(from), Some(to)) => {
                let rescaled = missing_ns * u128::from(to.interval_ns()) / u128::from(from.interval_ns().max(1));
                u64::try_from(rescaled).unwrap_or(u64::MAX).min(to.full_ns())
            }
            _ => 0,
        };
        self.full_at_ns = now_ns + missing_ns;
    }

    /// Whether no token is missing.
    #[must_use]
    pub const fn is_full(&self, now_us: u64) -> bool {
        self.full_at_ns <= now_us * NS_PER_US
    }
}
