//! The lobby of a core: sockets that are not WebSockets yet, from their first byte until they are let in, refused or timed
//! out. Owns the state of those sockets; never counts addresses, users or the server's connections, and never joins a room.
//!
//! `requests` reads request heads, and `heads` keeps incomplete ones; `admission` lets upgrades in after `checks`, and after
//! `identity` knows the user; `greeting` reads the first message where that identifies the client; `opening` opens the
//! connection, `refusing` refuses it; `crowd` bounds how many sockets wait here.

mod admission;
mod checks;
mod crowd;
mod greeting;
mod heads;
mod identity;
mod opening;
mod refusing;
mod requests;

use std::collections::HashMap;

use foldhash::fast::FixedState;

use self::admission::PendingUpgrade;
use self::heads::Heads;
use super::deadlines::{Deadline, Deadlines};
use super::{Home, HomeEffects};
use crate::base::limits::{CLOSE_TIMEOUT_MS, HEAD_TIMEOUT_MS};
use crate::base::time::Now;
use crate::engine::budget::Budget;
use crate::engine::session::Phase;
use crate::engine::table;

/// The sockets of a core that are not WebSockets yet.
#[derive(Debug, Default)]
pub(super) struct Lobby {
    pub(super) heads: Heads,
    /// Upgrades that wait to be let in, by slot.
    pending: HashMap<u32, Box<PendingUpgrade>, FixedState>,
    /// Sockets over the connection rate limit of their address that stay until their request is refused, by slot, with the
    /// milliseconds after which to retry. Few at any time.
    over_rate: HashMap<u32, u64, FixedState>,
    /// Bytes of incomplete first messages, where these identify the client.
    greeting_bytes: usize,
    /// When each socket must have become a WebSocket.
    requests: Deadlines,
    /// When sockets that were told to go, and never were WebSockets, are closed.
    lingers: Deadlines,
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
    fn count_greeting(&mut self, slot: u32, bytes: Option<usize>) {
        let Some(upgrade) = self.pending.get_mut(&slot) else { return };
        self.greeting_bytes += bytes.unwrap_or(0);
        self.greeting_bytes -= std::mem::replace(&mut upgrade.greeting_bytes, bytes).unwrap_or(0);
    }

    fn put(&mut self, slot: u32, upgrade: Box<PendingUpgrade>, budget: &mut Budget) {
        budget.charge(upgrade.bytes());
        self.pending.insert(slot, upgrade);
    }

    fn take(&mut self, slot: u32, budget: &mut Budget) -> Option<Box<PendingUpgrade>> {
        let upgrade = self.pending.remove(&slot)?;
        table::shrink(&mut self.pending);
        budget.release(upgrade.bytes());
        self.greeting_bytes -= upgrade.greeting_bytes.unwrap_or(0);
        Some(upgrade)
    }

    /// Forgets a slot that has no waiting upgrade.
    pub fn forget(&mut self, slot: u32, budget: &mut Budget) {
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

    /// Bytes of first messages that have arrived in part.
    #[cfg(test)]
    pub fn greeting_bytes(&self) -> usize {
        self.greeting_bytes
    }

    /// Sockets over the connection rate of their address that have not been answered.
    #[cfg(test)]
    pub fn over_rate(&self) -> usize {
        self.over_rate.len()
    }
}

impl Home {
    /// Ends the sockets whose time limit is over.
    pub(super) fn tick_lobby(&mut self, effects: &mut HomeEffects<'_>) {
        let now_ms = effects.now.mono_ms();
        while let Some(Deadline { slot, generation, .. }) = self.lobby.requests.take_due(now_ms) {
            let session = self.sessions.at(slot);
            match session.phase {
                _ if session.generation != generation => {}
                Phase::Head => {
                    self.note_refusal(slot, 0, "head_timeout", effects);
                    self.close_socket(slot, effects);
                }
                Phase::Greeting => self.greeting_expired(slot, effects),
                _ => {}
            }
        }
        while let Some(deadline) = self.lobby.lingers.take_due(now_ms) {
            self.close_expired(deadline, effects);
        }
    }
}
