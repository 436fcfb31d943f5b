//! The time window over which a drain closes connections. Arithmetic only: the engines close them.

/// Connections a second that any host is assumed to accept.
const RATE_MIN: u64 = 2_000;

/// Connections a second that a successor is asked to accept at most.
const RATE_MAX: u64 = 20_000;

/// The shortest window: even a few clients should not reconnect at the same moment.
const WINDOW_MIN_MS: u64 = 100;

/// The end of the grace, reserved for the last flushes and close handshakes.
const LAST_CLOSES_MS: u64 = 6_000;

/// The fastest accept rate seen on this host: the clients of a drain should reconnect no faster than that.
#[derive(Clone, Copy, Debug, Default)]
pub struct AcceptRate {
    seen: Option<(u64, u64)>,
    best_per_s: u64,
}

impl AcceptRate {
    /// Takes the total number of accepted connections at a time. Call it about once a second.
    pub fn sample(&mut self, now_ms: u64, accepted: u64) {
        if let Some((then_ms, before)) = self.seen {
            let elapsed_ms = now_ms.saturating_sub(then_ms);
            // In a short interval a single burst would look like a rate.
            if elapsed_ms < 500 {
                return;
            }
            self.best_per_s = self.best_per_s.max(accepted.saturating_sub(before) * 1_000 / elapsed_ms);
        }
        self.seen = Some((now_ms, accepted));
    }

    /// The window for closing `connections` in a drain of at most `grace_ms`.
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
        assert_eq!(rate.window_ms(100_000, 30_000), 5_000, "the rate has a maximum");
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
    fn a_burst_in_a_short_interval_does_not_count() {
        let mut rate = AcceptRate::default();
        rate.sample(0, 0);
        rate.sample(1, 1_000);
        assert_eq!(rate.best_per_s, 0);
        rate.sample(1_000, 3_000);
        assert_eq!(rate.best_per_s, 3_000);
    }
}
