//! Refreshes of tokens that wait for keys, each connection's in order. Never answers one.

use std::collections::{BTreeMap, VecDeque};

use crate::base::limits::REFRESH_WAITING_BYTES;
use crate::engine::budget::Budget;
use crate::wire::protocol::ReplyTo;

/// Refreshes that wait, by slot. The first of each connection waits for keys, and the others wait behind it.
#[derive(Debug, Default)]
pub struct Refreshes(BTreeMap<u32, VecDeque<Refresh>>);

/// A refresh that waits.
#[derive(Debug)]
pub struct Refresh {
    pub token: Box<str>,
    pub reply: ReplyTo,
}

impl Refresh {
    fn bytes(&self) -> usize {
        self.token.len() + REFRESH_WAITING_BYTES
    }
}

impl Refreshes {
    /// How many refreshes of a connection wait.
    pub fn count(&self, slot: u32) -> usize {
        self.0.get(&slot).map_or(0, VecDeque::len)
    }

    pub fn push(&mut self, slot: u32, refresh: Refresh, budget: &mut Budget) {
        budget.charge(refresh.bytes());
        self.0.entry(slot).or_default().push_back(refresh);
    }

    pub fn put(&mut self, slot: u32, queue: VecDeque<Refresh>, budget: &mut Budget) {
        budget.charge(queue.iter().map(Refresh::bytes).sum());
        self.0.insert(slot, queue);
    }

    /// Takes the refreshes of a connection out.
    pub fn take(&mut self, slot: u32, budget: &mut Budget) -> VecDeque<Refresh> {
        let queue = self.0.remove(&slot).unwrap_or_default();
        budget.release(queue.iter().map(Refresh::bytes).sum());
        queue
    }

    /// Forgets the refreshes of a connection.
    pub fn forget(&mut self, slot: u32, budget: &mut Budget) {
        drop(self.take(slot, budget));
    }
}
