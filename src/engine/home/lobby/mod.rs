//! The lobby of a core: sockets that are not WebSockets yet, from their first byte until they are let in, refused or out of
//! time. Holds what is known of them; never counts for addresses, users or the server, and never opens a room.
//!
//! `requests` reads their request heads, which `heads` keeps while they are incomplete; `admission` decides who is let in,
//! after `identity` has established the user; `greeting` hears the first messages of those that identify themselves by
//! them; `opening` makes the WebSocket; `refusing` says why not; `crowd` bounds how
//! many wait here.

mod admission;
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

/// What is known of sockets that are not WebSockets yet.
#[derive(Debug, Default)]
pub(super) struct Lobby {
    pub(super) heads: Heads,
    /// Upgrades that wait to be let in, by slot.
    pending: HashMap<u32, Box<PendingUpgrade>, FixedState>,
    /// Sockets over the connection rate of their address that stay until their request is answered, by slot, with the
    /// milliseconds after which to retry: few at any time.
    over_rate: HashMap<u32, u64, FixedState>,
    /// Bytes that have arrived of first messages, of connections that identify themselves by them.
    greeting_bytes: usize,
    /// When clients must have been let in.
    requests: Deadlines,
    /// When sockets that were told to go without having become WebSockets are cut off.
    lingers: Deadlines,
}

impl Lobby {
    /// A socket has so long to become a WebSocket.
    pub fn expect_request(&mut self, now: Now, slot: u32, generation: u32) {
        self.requests.push(Deadline { at_ms: now.mono_ms() + HEAD_TIMEOUT_MS, slot, generation });
    }

    /// A socket that was told to go has so long to do it.
    pub fn expect_close(&mut self, now: Now, slot: u32, generation: u32) {
        self.lingers.push(Deadline { at_ms: now.mono_ms() + CLOSE_TIMEOUT_MS, slot, generation });
    }

    /// Whether the upgrade of a slot waits to be let in.
    pub fn is_pending(&self, slot: u32) -> bool {
        self.pending.contains_key(&slot)
    }

    /// Whether a connection has yet to identify itself by its first message.
    pub fn awaits_greeting(&self, slot: u32) -> bool {
        self.pending.get(&slot).is_some_and(|upgrade| upgrade.greeting_bytes.is_some())
    }

    /// A connection has so many bytes of its first message here; `None`: it is not awaited any more.
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

    /// Forgets a slot whose upgrade does not wait.
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
    /// Ends the sockets whose time is over.
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
