//! Owns the limit on repeated log lines: at most one line a minute per subject (a connection, an address) and cause,
//! and a bounded number per cause, so that a flood of one cause neither fills the log nor hides the others. Counts
//! held-back lines by cause. Never reads a clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Minimum time between lines of one subject and cause.
pub const LOG_AGAIN_MS: u64 = 60_000;

/// Maximum lines of one cause within [`LOG_AGAIN_MS`].
pub const LOG_LINES_PER_CAUSE_MAX: usize = 256;

/// Lines of one core within the last minute. Causes come from the program only, so there are few.
#[derive(Debug)]
pub struct LogGate<Subject> {
    by_cause: BTreeMap<&'static str, Lines<Subject>>,
}

#[derive(Debug)]
struct Lines<Subject> {
    admitted: BTreeSet<Subject>,
    /// The same subjects, oldest first, with the times of their lines.
    order: VecDeque<(u64, Subject)>,
    held_back: u64,
}

impl<Subject> Default for LogGate<Subject> {
    fn default() -> Self {
        Self { by_cause: BTreeMap::new() }
    }
}

impl<Subject> Default for Lines<Subject> {
    fn default() -> Self {
        Self { admitted: BTreeSet::new(), order: VecDeque::new(), held_back: 0 }
    }
}

impl<Subject: Copy + Ord> LogGate<Subject> {
    /// Decides whether to log a line. If so, returns the number of unreported held-back lines of this cause. `now_ms`
    /// never decreases.
    pub fn admit(&mut self, now_ms: u64, subject: Subject, cause: &'static str) -> Option<u64> {
        let lines = self.by_cause.entry(cause).or_default();
        while let Some((at_ms, subject)) = lines.order.front().copied() {
            if now_ms.saturating_sub(at_ms) < LOG_AGAIN_MS {
                break;
            }
            lines.order.pop_front();
            lines.admitted.remove(&subject);
        }
        if lines.order.len() < LOG_LINES_PER_CAUSE_MAX && lines.admitted.insert(subject) {
            lines.order.push_back((now_ms, subject));
            Some(std::mem::take(&mut lines.held_back))
        } else {
            lines.held_back += 1;
            None
        }
    }

    /// Whether there are unreported held-back lines.
    #[must_use]
    pub fn holds_back(&self) -> bool {
        self.by_cause.values().any(|lines| lines.held_back > 0)
    }

    /// Takes the numbers of unreported held-back lines by cause.
    pub fn take_held_back(&mut self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.by_cause.iter_mut().map(|(cause, lines)| (*cause, std::mem::take(&mut lines.held_back)));
        counts.filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_minute_for_each_subject_and_cause() {
        let mut gate = LogGate::default();
        assert_eq!(gate.admit(0, 1, "slow"), Some(0));
        assert_eq!(gate.admit(59_999, 1, "slow"), None);
        assert_eq!(gate.admit(59_999, 1, "rate"), Some(0));
        assert_eq!(gate.admit(59_999, 2, "slow"), Some(1), "the next line reports held-back lines");
        assert_eq!(gate.admit(60_000, 1, "slow"), Some(0));
        assert!(!gate.holds_back());
        assert_eq!(gate.admit(60_001, 1, "slow"), None);
        assert_eq!(gate.admit(60_001, 1, "rate"), None);
        assert_eq!(gate.admit(60_002, 1, "rate"), None);
        assert!(gate.holds_back());
        assert_eq!(gate.take_held_back().collect::<Vec<_>>(), [("rate", 2), ("slow", 1)]);
        assert_eq!(gate.take_held_back().count(), 0);
    }

    #[test]
    fn a_flood_of_one_cause_is_held_back_and_hides_no_other() {
        let mut gate = LogGate::default();
        let admitted = (0..10_000).filter(|subject| gate.admit(1, *subject, "protocol").is_some()).count();
        assert_eq!(admitted, LOG_LINES_PER_CAUSE_MAX);
        assert_eq!(gate.admit(1, 9_999, "slow"), Some(0));
        let held_back = (10_000 - LOG_LINES_PER_CAUSE_MAX) as u64;
        assert_eq!(gate.admit(60_001, 9_999, "protocol"), Some(held_back));
        let lines = &gate.by_cause["protocol"];
        assert_eq!((lines.order.len(), lines.admitted.len()), (1, 1), "old lines are forgotten");
    }
}
