//! Sockets that are not WebSockets yet: their requests, their upgrades that wait to be let in, and their deadlines. Never
//! decides who is let in.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::accounts::Accounts;
use super::deadlines::{Deadline, Deadlines};
use super::heads::Heads;
use crate::base::ids::UserName;
use crate::base::limits::{CLOSE_TIMEOUT_MS, HEAD_TIMEOUT_MS};
use crate::base::time::Now;
use crate::engine::access::Access;
use crate::engine::budget::Budget;
use crate::engine::table;
use crate::wire::handshake::Upgrade;

/// The sockets of a core that are not WebSockets yet.
#[derive(Debug, Default)]
pub struct Lobby {
    pub heads: Heads,
    pub accounts: Accounts,
    /// Upgrades that wait to be let in, by slot.
    pub pending: HashMap<u32, Box<PendingUpgrade>, FixedState>,
    /// Sockets over the connection rate limit of their address that stay until their request is refused, by slot, with the
    /// milliseconds after which to retry. Few at any time.
    pub over_rate: HashMap<u32, u64, FixedState>,
    /// Bytes of incomplete first messages, where these identify the client.
    greeting_bytes: usize,
    /// When each socket must have become a WebSocket.
    pub requests: Deadlines,
    /// When sockets that were told to go, and never were WebSockets, are closed.
    pub lingers: Deadlines,
}

impl Lobby {
    /// Starts the time limit for becoming a WebSocket.
    pub fn expect_request(&mut self, now: Now, slot: u32, generation: u32) {
        self.requests.push(Deadline { at_ms: now.mono_ms() + HEAD_TIMEOUT_MS, slot, generation });
    }

    /// Starts the time limit for going.
    pub fn expect_close(&mut self, now: Now, slot: u32, generation: u32) {
        self.lingers.push(Deadline { at_ms: now.mono_ms() + CLOSE_TIMEOUT_MS, slot, generation });
    }

    /// Whether the upgrade of a slot waits to be let in.
    pub fn is_pending(&self, slot: u32) -> bool {
        self.pending.contains_key(&slot)
    }

    /// Whether the first message of a client is awaited.
    pub fn awaits_greeting(&self, slot: u32) -> bool {
        self.pending.get(&slot).is_some_and(|upgrade| upgrade.greeting_bytes.is_some())
    }

    /// Notes how many bytes of a first message have arrived; `None`: it is no longer awaited.
    pub fn count_greeting(&mut self, slot: u32, bytes: Option<usize>) {
        let Some(upgrade) = self.pending.get_mut(&slot) else { return };
        self.greeting_bytes += bytes.unwrap_or(0);
        self.greeting_bytes -= std::mem::replace(&mut upgrade.greeting_bytes, bytes).unwrap_or(0);
    }

    pub fn put(&mut self, slot: u32, upgrade: Box<PendingUpgrade>, budget: &mut Budget) {
        budget.charge(upgrade.bytes());
        self.pending.insert(slot, upgrade);
    }

    pub fn take(&mut self, slot: u32, budget: &mut Budget) -> Option<Box<PendingUpgrade>> {
        let upgrade = self.pending.remove(&slot)?;
        table::shrink(&mut self.pending);
        budget.release(upgrade.bytes());
        self.greeting_bytes -= upgrade.greeting_bytes.unwrap_or(0);
        Some(upgrade)
    }

    /// Forgets a slot that has no waiting upgrade.
    pub fn forget(&mut self, slot: u32, budget: &mut Budget) {
        self.accounts.take(slot, budget);
        self.heads.take(slot, budget);
        if !self.over_rate.is_empty() {
            self.over_rate.remove(&slot);
        }
    }

    /// The slots whose requests are awaited, the oldest first.
    #[cfg(test)]
    pub fn awaited(&self) -> Vec<u32> {
        self.requests.slots()
    }

    /// Bytes of heads, bodies and first messages that have arrived in part.
    pub fn begun_bytes(&self) -> usize {
        self.heads.bytes() + self.accounts.body_bytes() + self.greeting_bytes
    }

    /// Sockets over the connection rate of their address that have not been answered.
    #[cfg(test)]
    pub fn over_rate(&self) -> usize {
        self.over_rate.len()
    }
}

/// An upgrade that waits to be let in.
#[derive(Debug)]
pub struct PendingUpgrade {
    pub upgrade: Box<Upgrade>,
    /// Its user, once known.
    pub user: Option<UserName>,
    /// What its token allows, once verified; `None` where no token is required.
    pub access: Option<Box<Access>>,
    /// Bytes that the client has sent after its request head.
    pub early: Vec<u8>,
    /// While the first message is awaited that identifies the client: how many bytes of it have arrived.
    pub greeting_bytes: Option<usize>,
}

impl PendingUpgrade {
    /// Bytes charged for it.
    pub fn bytes(&self) -> usize {
        self.upgrade.bytes() + self.early.len()
    }
}
