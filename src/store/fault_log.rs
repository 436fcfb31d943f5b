//! When a store's failures are worth a line in the log: the first of a minute, and the end of one that had a line. A disk that
//! is nearly full takes small groups and refuses large ones, every second. Reads no clock.

use crate::base::log_gate::LogGate;

/// The lines about one part of a store.
#[derive(Debug, Default)]
pub struct FaultLog {
    lines: LogGate<()>,
    is_told: bool,
}

impl FaultLog {
    /// The part has failed. `Some`: it is worth a line, and so many before it had none.
    pub fn failed(&mut self, now_ms: u64) -> Option<u64> {
        let held_back = self.lines.admit(now_ms, (), "store");
        self.is_told |= held_back.is_some();
        held_back
    }

    /// The part works again. Returns whether that is worth a line.
    pub fn works(&mut self) -> bool {
        std::mem::take(&mut self.is_told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::log_gate::LOG_AGAIN_MS;

    #[test]
    fn what_comes_and_goes_has_one_pair_of_lines_a_minute() {
        let mut log = FaultLog::default();
        assert!(!log.works(), "it never failed");
        assert_eq!((log.failed(5), log.works(), log.works()), (Some(0), true, false));
        assert_eq!((log.failed(6), log.works(), log.failed(7)), (None, false, None));
        assert_eq!((log.failed(5 + LOG_AGAIN_MS), log.works()), (Some(2), true));
    }
}
