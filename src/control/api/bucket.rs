//! A token bucket. Time comes in as an argument.

/// So many requests per so long, and twice as many at once.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Microseconds that one request takes from the bucket; 0: no limit.
    cost_us: u64,
    /// What the bucket holds at most, in microseconds.
    full_us: u64,
    held_us: u64,
    filled_us: u64,
}

impl Bucket {
    /// A full one. A count of 0 is no limit.
    pub fn new(count: u64, per_ms: u64, now_us: u64) -> Self {
        let per_us = per_ms.saturating_mul(1_000);
        let cost_us = per_us.checked_div(count).map_or(0, |cost_us| cost_us.max(1));
        let full_us = per_us.saturating_mul(2).max(cost_us);
        Self { cost_us, full_us, held_us: full_us, filled_us: now_us }
    }

    /// Takes one request.
    ///
    /// # Errors
    /// In how many seconds, at least 1, there will be room for one.
    pub fn take(&mut self, now_us: u64) -> Result<(), u64> {
        self.held_us = self.full_us.min(self.held_us.saturating_add(now_us.saturating_sub(self.filled_us)));
        self.filled_us = self.filled_us.max(now_us);
        match self.held_us.checked_sub(self.cost_us) {
            Some(left_us) => {
                self.held_us = left_us;
                Ok(())
            }
            None => Err((self.cost_us - self.held_us).div_ceil(1_000_000).max(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_twice_the_rate_and_refills_with_time() {
        let mut bucket = Bucket::new(5, 1_000, 0);
        assert_eq!((0..20).filter(|_| bucket.take(0).is_ok()).count(), 10);
        assert_eq!(bucket.take(199_999), Err(1));
        assert_eq!(bucket.take(200_000), Ok(()));
        assert_eq!(bucket.take(200_000), Err(1));
        assert_eq!((0..20).filter(|_| bucket.take(60_000_000).is_ok()).count(), 10, "no more than a burst is saved up");
    }

    #[test]
    fn what_is_rare_is_told_how_long_to_wait() {
        let mut bucket = Bucket::new(1, 60_000, 0);
        assert_eq!([bucket.take(0), bucket.take(0)], [Ok(()); 2]);
        assert_eq!(bucket.take(1_000_000), Err(59));
    }

    #[test]
    fn no_rate_is_no_limit() {
        let mut bucket = Bucket::new(0, 1_000, 0);
        assert!((0..10_000).all(|_| bucket.take(0).is_ok()));
    }
}
