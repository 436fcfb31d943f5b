//! Requests of one part of a core that a service has not answered, by token. Bounded in number and in time. Never
//! interprets an answer.

use std::collections::BTreeMap;

use super::budget::Budget;
use super::tokens::{TokenPart, TokenSource};
use crate::base::ids::CoreId;
use crate::base::limits::{ASK_TIMEOUT_MS, ASKS_WAITING_MAX, WAITING_BYTES};

#[derive(Debug)]
struct WaitingAsk<T> {
    asked: T,
    until_us: u64,
}

/// The waiting asks. `T`: what to do with the answer.
#[derive(Debug)]
pub struct Asks<T> {
    /// Tokens ascend, so the first has waited longest.
    by_token: BTreeMap<u64, WaitingAsk<T>>,
    tokens: TokenSource,
}

impl<T> Asks<T> {
    /// None waits yet. `part`: who asks.
    #[must_use]
    pub fn new(core: CoreId, part: TokenPart) -> Self {
        Self { by_token: BTreeMap::new(), tokens: TokenSource::new(core, part) }
    }

    /// Whether no more may wait.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.by_token.len() >= ASKS_WAITING_MAX
    }

    /// Adds an ask; returns the token of its request.
    pub fn add(&mut self, asked: T, now_us: u64, budget: &mut Budget) -> u64 {
        let token = self.tokens.draw();
        budget.charge(WAITING_BYTES);
        self.by_token.insert(token, WaitingAsk { asked, until_us: now_us + ASK_TIMEOUT_MS * 1_000 });
        token
    }

    /// Takes the ask of an answer; `None` if it has been answered or has expired.
    pub fn take(&mut self, token: u64, budget: &mut Budget) -> Option<T> {
        let waiting = self.by_token.remove(&token)?;
        budget.release(WAITING_BYTES);
        Some(waiting.asked)
    }

    /// Takes an ask that has waited too long.
    pub fn take_expired(&mut self, now_us: u64, budget: &mut Budget) -> Option<T> {
        let token =
            self.by_token.first_key_value().filter(|(_, first)| first.until_us <= now_us).map(|(key, _)| *key)?;
        self.take(token, budget)
    }

    /// When the first expires, monotonic microseconds.
    #[must_use]
    pub fn due_us(&self) -> Option<u64> {
        self.by_token.first_key_value().map(|(_, first)| first.until_us)
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_token.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_are_charged_until_they_are_answered_or_over() {
        let (mut asks, mut budget) = (Asks::new(CoreId(0), TokenPart::Rooms), Budget::new(1 << 30));
        let tokens: Vec<u64> = (0..ASKS_WAITING_MAX as u64).map(|ask| asks.add(ask, ask, &mut budget)).collect();
        assert!(asks.is_full() && budget.used() == (ASKS_WAITING_MAX * WAITING_BYTES) as u64);
        assert_eq!([asks.take(tokens[1], &mut budget), asks.take(tokens[1], &mut budget)], [Some(1), None]);
        assert!(!asks.is_full());
        assert_eq!(asks.due_us(), Some(ASK_TIMEOUT_MS * 1_000));
        assert_eq!(asks.take_expired(ASK_TIMEOUT_MS * 1_000 - 1, &mut budget), None);
        let over: Vec<u64> =
            std::iter::from_fn(|| asks.take_expired(ASK_TIMEOUT_MS * 1_000 + 2, &mut budget)).collect();
        assert_eq!(over, [0, 2]);
        assert_eq!(asks.take(tokens[0], &mut budget), None, "the answer came too late");
        while asks.take_expired(u64::MAX, &mut budget).is_some() {}
        assert!(asks.is_empty() && budget.used() == 0 && asks.due_us().is_none());
    }
}
