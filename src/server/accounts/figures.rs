//! What accounts count: attempts by result, passwords that wait to be hashed, and the time that a hash takes. Decides nothing.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::base::counters::{Counter, Histogram};
use crate::control::{Metric, Observed, Readiness};
use crate::engine::account_port::AccountAnswer;

/// The label `result` of each answer, in the order in which they are counted.
const RESULTS: [&str; 9] = [
    "registered",
    "token",
    "password_changed",
    "invalid_credentials",
    "locked",
    "user_exists",
    "rate_limited",
    "overloaded",
    "unavailable",
];

/// The figures of accounts. The service thread counts results, the thread that hashes counts hashes.
#[derive(Debug, Default)]
pub struct AccountFigures {
    results: [Counter; RESULTS.len()],
    /// Passwords that wait to be hashed. Set by both threads, each to what it has just seen.
    pub(super) waiting: Counter,
    /// The time of one hash.
    pub(super) hash: Histogram,
    has_key: AtomicBool,
}

impl AccountFigures {
    pub(super) fn count(&self, answer: &AccountAnswer) {
        let index = match answer {
            AccountAnswer::Token { is_new: true, .. } => 0,
            AccountAnswer::Token { is_new: false, .. } => 1,
            AccountAnswer::PasswordChanged => 2,
            AccountAnswer::InvalidCredentials => 3,
            AccountAnswer::Locked => 4,
            AccountAnswer::UserExists => 5,
            AccountAnswer::TooManyFailures { .. } => 6,
            AccountAnswer::Overloaded { .. } => 7,
            AccountAnswer::Unavailable { .. } => 8,
        };
        self.results[index].add(1);
    }

    pub(super) fn note_key(&self) {
        self.has_key.store(true, Ordering::Relaxed);
    }
}

impl Observed for AccountFigures {
    fn readiness(&self) -> Option<Readiness> {
        let has_key = self.has_key.load(Ordering::Relaxed);
        let fault = (!has_key).then(|| "the store has not given the key that signs tokens yet".to_owned());
        Some(Readiness { part: "accounts", fault })
    }

    fn metrics(&self) -> Vec<Metric> {
        let results: Vec<_> = RESULTS.iter().zip(&self.results).map(|(name, count)| (*name, count.get())).collect();
        vec![
            Metric::counters(
                "roomring_account_requests",
                "Requests about accounts that were looked up, by result.",
                "result",
                &results,
            ),
            Metric::gauge(
                "roomring_account_hashes_waiting",
                "Passwords that wait to be hashed.",
                Some(self.waiting.get()),
            ),
            Metric::histogram("roomring_account_hash_seconds", "Time to hash one password.", &self.hash),
        ]
    }
}
