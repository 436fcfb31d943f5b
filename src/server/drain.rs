//! How fast a planned stop lets go of its connections. Arithmetic only; closing is the engines' work.

/// A host takes at least so many connections a second, whatever little was seen of it.
const RATE_MIN: u64 = 2_000;

/// No more than this is asked of whoever takes the connections over.
const RATE_MAX: u64 = 20_000;

/// Even a few connections are spread over so long, so that their clients do not return as one.
const WINDOW_MIN_MS: u64 = 100;

/// Kept of the grace for the last flushes and close handshakes.
const LAST_CLOSES_MS: u64 = 6_000;

/// The fastest accepting that this host has shown: the clients that a drain sends away come back at that rate at most.
#[derive(Clone, Copy, Debug, Default)]
pub struct AcceptRate {
    seen: Option<(u64, u64)>,
    best_per_s: u64,
}

impl AcceptRate {
    /// Takes the number of connections ever accepted, at a time in milliseconds. To be called about once a second.
    pub fn sample(&mut self, now_ms: u64, accepted: u64) {
        if let Some((then_ms, before)) = self.seen {
            let elapsed_ms = now_ms.saturating_sub(then_ms);
            // A short interval would make a rate out of a single burst.
            if elapsed_ms < 500 {
                return;
            }
            self.best_per_s = self.best_per_s.max(accepted.saturating_sub(before) * 1_000 / elapsed_ms);
        }
        self.seen = Some((now_ms, accepted));
    }

    /// Over how long the closes of `connections` are spread within a drain of at most `grace_ms`.
    #[must_use]
    pub fn window_ms(&self, connections: u64, grace_ms: u64) -> u64 {
        if connections == 0 {
            return 0;
        }
        let rate = self.best_per_s.clamp(RATE_MIN, RATE_MAX);
        let longest = grace_ms - LAST_CLOSES_MS.min(grace_ms / 2);
        (connections * 1_000).div_ceil(rate).max(WINDOW_MIN_MS).min(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_follows_connections_and_rate() {
        let mut rate = AcceptRate::default();
        assert_eq!(rate.window_ms(0, 30_000), 0);
        assert_eq!(rate.window_ms(1, 30_000), 100);
        assert_eq!(rate.window_ms(10_000, 30_000), 5_000);
        rate.sample(0, 0);
        rate.sample(1_000, 5_000);
        rate.sample(2_000, 5_001);
        assert_eq!(rate.window_ms(10_000, 30_000), 2_000);
        rate.sample(4_000, 500_000);
        assert_eq!(rate.window_ms(100_000, 30_000), 5_000, "a host of its own is not asked for more than the ceiling");
    }

    #[test]
    fn the_window_stays_within_the_grace() {
        let rate = AcceptRate::default();
        assert_eq!(rate.window_ms(1_000_000, 30_000), 24_000);
        assert_eq!(rate.window_ms(1_000_000, 2_000), 1_000);
        assert_eq!(rate.window_ms(1, 10), 5);
        assert_eq!(rate.window_ms(5, 0), 0);
    }

    #[test]
    fn a_burst_within_a_short_interval_is_no_rate() {
        let mut rate = AcceptRate::default();
        rate.sample(0, 0);
        rate.sample(1, 1_000);
        assert_eq!(rate.best_per_s, 0);
        rate.sample(1_000, 3_000);
        assert_eq!(rate.best_per_s, 3_000);
    }
}
