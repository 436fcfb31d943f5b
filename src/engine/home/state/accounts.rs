//! Requests about accounts that are not answered yet: their heads, and what has come of their bodies. Few at any time. Never
//! reads a body.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::engine::account_port::AccountWork;
use crate::engine::budget::Budget;
use crate::engine::table;
use crate::wire::handshake::{AccountHead, AnswerHeaders};

/// The requests about accounts of one core.
#[derive(Debug, Default)]
pub struct Accounts {
    pending: HashMap<u32, Box<PendingAccount>, FixedState>,
    /// Bytes of bodies that have come in part.
    body_bytes: usize,
    /// Requests that the service has and has not answered, also those of sockets that have ended meanwhile.
    asked: usize,
}

/// A request about an account that waits.
#[derive(Debug)]
pub struct PendingAccount {
    pub head: Box<AccountHead>,
    /// What every answer to it has.
    pub headers: AnswerHeaders,
    pub stage: AccountStage,
}

/// What a request about an account waits for.
#[derive(Debug)]
pub enum AccountStage {
    /// Its body, of so many bytes.
    Body { whole: usize, part: Vec<u8> },
    /// Its address may make another attempt.
    Attempt(AccountWork),
    /// The service's answer. `is_late`: the time limit of the request has been renewed, once.
    Asked { is_late: bool },
}

impl PendingAccount {
    /// Bytes charged for it.
    fn bytes(&self) -> usize {
        let more = match &self.stage {
            AccountStage::Body { part, .. } => part.len(),
            AccountStage::Attempt(work) => work.bytes(),
            AccountStage::Asked { .. } => 0,
        };
        size_of::<Self>() + self.head.bytes() + more
    }

    fn body_bytes(&self) -> usize {
        if let AccountStage::Body { part, .. } = &self.stage { part.len() } else { 0 }
    }
}

impl Accounts {
    pub fn put(&mut self, slot: u32, pending: Box<PendingAccount>, budget: &mut Budget) {
        budget.charge(pending.bytes());
        self.body_bytes += pending.body_bytes();
        self.pending.insert(slot, pending);
    }

    pub fn take(&mut self, slot: u32, budget: &mut Budget) -> Option<Box<PendingAccount>> {
        // Most servers have no accounts.
        if self.pending.is_empty() {
            return None;
        }
        let pending = self.pending.remove(&slot)?;
        table::shrink(&mut self.pending);
        budget.release(pending.bytes());
        self.body_bytes -= pending.body_bytes();
        Some(pending)
    }

    /// Bytes of bodies that have come in part.
    pub fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    /// Whether the body of a slot's request has come, and its answer has not.
    pub fn awaits_answer(&self, slot: u32) -> bool {
        let pending = self.pending.get(&slot);
        pending.is_some_and(|pending| !matches!(pending.stage, AccountStage::Body { .. }))
    }

    /// Renews the time limit of a request that the service has. Returns whether it may be renewed.
    pub fn renew(&mut self, slot: u32) -> bool {
        match self.pending.get_mut(&slot).map(|pending| &mut pending.stage) {
            Some(AccountStage::Asked { is_late }) => !std::mem::replace(is_late, true),
            _ => false,
        }
    }

    /// Requests that the service has.
    pub fn asked(&self) -> usize {
        self.asked
    }

    pub fn note_asked(&mut self) {
        self.asked += 1;
    }

    pub fn note_answered(&mut self) {
        self.asked -= 1;
    }
}
