//! The longest outbox of a core, as a number for monitoring. It is found as heartbeats come round, so that it costs no pass of
//! its own. Never names a connection.

use crate::base::counters::CoreCounters;

/// The most bytes queued for one connection.
#[derive(Debug, Default)]
pub struct Worst {
    /// In this round so far.
    seen: u64,
    /// In the round before.
    last_round: u64,
}

impl Worst {
    /// A connection has this many bytes queued.
    pub fn see(&mut self, bytes: usize) {
        self.seen = self.seen.max(bytes as u64);
    }

    /// A turn of the wheel is done; a round begins with turn 0.
    pub fn end_turn(&mut self, turn: u32, counters: &CoreCounters) {
        counters.outbox_bytes_max.set(self.seen.max(self.last_round));
        if turn == 0 {
            self.last_round = std::mem::take(&mut self.seen);
        }
    }

    /// The last connection has ended.
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
