//! What the tokens of connections allow and when they expire, in tables that exist in auth mode `jwt` only. Never closes a
//! connection.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::refreshes::Refreshes;
use super::verification::Verification;
use crate::base::limits::{TICK_MS, TOKEN_WARNING_MS};
use crate::base::time::Now;
use crate::engine::access::{Grants, Keys};
use crate::engine::budget::Budget;
use crate::engine::table::Table;

/// The tokens of one core.
#[derive(Debug)]
pub struct Tokens {
    pub verification: Verification,
    pub refreshes: Refreshes,
    pub held: Table<HeldToken>,
    /// Warnings and ends before the wheel's next round, one for each slot at most.
    pub due: BTreeSet<(u64, u32)>,
}

/// What the token of a connection allows. Empty in slots without one.
#[derive(Debug, Default)]
pub struct HeldToken {
    pub grants: Grants,
    /// When the token ends, monotonic milliseconds; 0: there is none.
    pub ends_ms: u64,
    /// The time of its entry in `due`; 0: none.
    pub due_ms: u64,
    pub warned: bool,
    /// Tokens refused since the last accepted one.
    pub refused: u8,
}

impl Tokens {
    pub fn new(keys: Arc<Keys>) -> Self {
        Self {
            verification: Verification::new(keys),
            refreshes: Refreshes::default(),
            held: Table::new(),
            due: BTreeSet::new(),
        }
    }

    /// Schedules the next warning or end of a connection, if it is before the wheel's next round.
    pub fn schedule(&mut self, slot: u32, is_told: bool, now: Now, heartbeat_ms: u64) {
        // A connection from before there were keys has no token.
        if self.held.get(slot).is_none_or(|held| held.ends_ms == 0) {
            return;
        }
        let held = self.held.at_mut(slot);
        let warn_ms = held.ends_ms.saturating_sub(TOKEN_WARNING_MS);
        let next_ms = if held.warned || !is_told { held.ends_ms } else { warn_ms }.max(1);
        let is_near = next_ms <= now.mono_ms() + heartbeat_ms + 2 * TICK_MS;
        let due_ms = std::mem::replace(&mut held.due_ms, if is_near { next_ms } else { 0 });
        if due_ms != held.due_ms {
            self.due.remove(&(due_ms, slot));
        }
        if is_near {
            self.due.insert((next_ms, slot));
        }
    }

    pub fn let_go(&mut self, slot: u32, budget: &mut Budget) {
        if self.held.get(slot).is_some() {
            let held = std::mem::take(self.held.at_mut(slot));
            self.due.remove(&(held.due_ms, slot));
            budget.release(held.grants.bytes());
        }
    }
}
