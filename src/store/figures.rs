//! What an operator sees of the store: counters and gauges that its threads write and the control address reads. Decides
//! nothing.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::base::breaker::BreakerState;
use crate::base::counters::{Counter, Histogram};

/// The figures of one store. Each has one writer.
#[derive(Debug, Default)]
pub struct StoreFigures {
    /// Groups that the log has synced.
    pub groups: Counter,
    /// Changes in them.
    pub changes: Counter,
    /// Bytes of them.
    pub bytes: Counter,
    /// Time of writing and syncing a group.
    pub commit: Histogram,
    /// Groups that the log failed to append.
    pub failures: Counter,
    /// Bytes of changes that wait for the log.
    pub queued_bytes: Counter,
    /// Bytes of changes that are in the log and not yet in the index.
    pub unapplied_bytes: Counter,
    /// Files of the log.
    pub segments: Counter,
    /// Their bytes.
    pub log_bytes: Counter,
    /// Bytes of the index.
    pub index_bytes: Counter,
    /// Changes that the state could not take: records with a hole before them, or of another numbering.
    pub conflicts: Counter,
    /// Rows that were removed because they have expired or are too many.
    pub swept: Counter,
    /// Dead letters that are kept.
    pub dead_letters: Counter,
    /// Dead letters that were kept since the start.
    pub dead_letters_added: Counter,
    /// Dead letters that were lost, because too many are kept.
    pub dead_letters_lost: Counter,
    breaker: AtomicU8,
    log_fault: Mutex<Option<String>>,
    index_fault: Mutex<Option<String>>,
}

impl StoreFigures {
    /// The breaker before the log.
    #[must_use]
    pub fn breaker(&self) -> BreakerState {
        let state = self.breaker.load(Ordering::Relaxed);
        let states = [BreakerState::Closed, BreakerState::HalfOpen];
        states.into_iter().find(|known| *known as u8 == state).unwrap_or(BreakerState::Open)
    }

    /// Notes the breaker.
    pub fn set_breaker(&self, state: BreakerState) {
        self.breaker.store(state as u8, Ordering::Relaxed);
    }

    /// Why nothing can be kept now; `None`: the store works.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        read(&self.log_fault).or_else(|| read(&self.index_fault))
    }

    /// Notes why the log fails, or that it works. Returns whether that is news.
    pub fn set_log_fault(&self, fault: Option<String>) -> bool {
        replace(&self.log_fault, fault)
    }

    /// Notes why the index fails, or that it works. Returns whether that is news.
    pub fn set_index_fault(&self, fault: Option<String>) -> bool {
        replace(&self.index_fault, fault)
    }
}

fn read(fault: &Mutex<Option<String>>) -> Option<String> {
    fault.lock().expect("nobody panics while holding it").clone()
}

fn replace(fault: &Mutex<Option<String>>, new: Option<String>) -> bool {
    let mut fault = fault.lock().expect("nobody panics while holding it");
    let is_news = *fault != new;
    *fault = new;
    is_news
}
