//! The connection that lags most, as a number: looked for as the heartbeats come round, so that it costs no look of its
//! own. Names nobody.

use crate::base::counters::CoreCounters;

/// The most bytes that wait for one connection.
#[derive(Debug, Default)]
pub(super) struct Worst {
    /// In this round so far.
    seen: u64,
    /// In the round before.
    last_round: u64,
}

impl Worst {
    /// So much waits for a connection.
    pub fn see(&mut self, bytes: usize) {
        self.seen = self.seen.max(bytes as u64);
    }

    /// The heartbeats of a turn of the wheel are done; the round begins with turn 0.
    pub fn end_turn(&mut self, turn: u32, counters: &CoreCounters) {
        counters.outbox_bytes_max.set(self.seen.max(self.last_round));
        if turn == 0 {
            self.last_round = std::mem::take(&mut self.seen);
        }
    }

    /// There is no connection.
    pub fn reset(&mut self, counters: &CoreCounters) {
        *self = Self::default();
        counters.outbox_bytes_max.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_laggard_is_told_at_once_and_for_one_more_round() {
        let (mut worst, counters) = (Worst::default(), CoreCounters::default());
        worst.see(10);
        worst.see(7);
        worst.end_turn(1, &counters);
        assert_eq!(counters.outbox_bytes_max.get(), 10);
        worst.end_turn(0, &counters);
        worst.see(3);
        worst.end_turn(1, &counters);
        assert_eq!(counters.outbox_bytes_max.get(), 10);
        worst.end_turn(0, &counters);
        worst.end_turn(1, &counters);
        assert_eq!(counters.outbox_bytes_max.get(), 3);
        worst.reset(&counters);
        assert_eq!(counters.outbox_bytes_max.get(), 0);
    }
}
