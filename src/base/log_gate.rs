//! Which repeated log lines to let through: each subject (a connection, an address) and cause at most once a minute.
//! Reads no clock.

use std::collections::{BTreeSet, VecDeque};

/// A subject's line of one cause is let through again after this.
pub const LOG_AGAIN_MS: u64 = 60_000;

/// Lines remembered. With more different ones within [`LOG_AGAIN_MS`] further ones are held back, so that a flood of
/// failing connections cannot flood the log.
pub const LOG_GATE_ENTRIES_MAX: usize = 4_096;

/// What was let through within the last minute, of one core.
#[derive(Debug)]
pub struct LogGate<Subject> {
    admitted: BTreeSet<(Subject, u8)>,
    /// The same, oldest first, with when it was let through.
    order: VecDeque<(u64, Subject, u8)>,
    held_back: u64,
}

impl<Subject> Default for LogGate<Subject> {
    fn default() -> Self {
        Self { admitted: BTreeSet::new(), order: VecDeque::new(), held_back: 0 }
    }
}

impl<Subject: Copy + Ord> LogGate<Subject> {
    /// Whether to log. `now_ms` never goes back; `cause` is the caller's numbering.
    pub fn admit(&mut self, now_ms: u64, subject: Subject, cause: u8) -> bool {
        while let Some((at_ms, subject, cause)) = self.order.front().copied() {
            if now_ms.saturating_sub(at_ms) < LOG_AGAIN_MS {
                break;
            }
            self.order.pop_front();
            self.admitted.remove(&(subject, cause));
        }
        let admit = self.order.len() < LOG_GATE_ENTRIES_MAX && !self.admitted.contains(&(subject, cause));
        if admit {
            self.admitted.insert((subject, cause));
            self.order.push_back((now_ms, subject, cause));
        } else {
            self.held_back += 1;
        }
        admit
    }

    /// Lines held back since this was last asked.
    pub fn take_held_back(&mut self) -> u64 {
        std::mem::take(&mut self.held_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{ConnId, CoreId};

    fn conn(slot: u32) -> ConnId {
        ConnId { home: CoreId(0), slot, generation: 1 }
    }

    #[test]
    fn one_line_a_minute_for_each_connection_and_cause() {
        let mut gate = LogGate::default();
        assert!(gate.admit(0, conn(1), 1));
        assert!(!gate.admit(59_999, conn(1), 1));
        assert!(gate.admit(59_999, conn(1), 2));
        assert!(gate.admit(59_999, conn(2), 1));
        assert!(gate.admit(60_000, conn(1), 1));
        assert!(!gate.admit(60_001, conn(1), 1));
        assert_eq!(gate.take_held_back(), 2);
        assert_eq!(gate.take_held_back(), 0);
    }

    #[test]
    fn a_flood_of_connections_is_held_back_and_forgotten() {
        let mut gate = LogGate::default();
        let admitted = (0..10_000).filter(|slot| gate.admit(1, conn(*slot), 0)).count();
        assert_eq!(admitted, LOG_GATE_ENTRIES_MAX);
        assert_eq!(gate.take_held_back(), 10_000 - LOG_GATE_ENTRIES_MAX as u64);
        assert!(gate.admit(60_001, conn(9_999), 0));
        assert_eq!((gate.order.len(), gate.admitted.len()), (1, 1));
    }
}
