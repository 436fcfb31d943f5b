//! What each connection has used of its rate limits. Never refuses a command.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::base::limits::{TOKEN_CHECKS_MAX, TOKEN_CHECKS_PER_MS};
use crate::base::time::Now;
use crate::engine::rates::{Bucket, Rate};
use crate::engine::settings::Limits;
use crate::engine::table;

/// The pace of each connection that has sent something lately, by slot.
#[derive(Debug, Default)]
pub struct Paces(HashMap<u32, Pace, FixedState>);

/// What a connection has used of its rates.
#[derive(Debug, Default)]
pub struct Pace {
    pub commands: Bucket,
    pub messages: Bucket,
    /// Signature checks of its refreshes.
    checks: Bucket,
    /// Refusals for rate since a command was last carried out.
    pub refused_in_row: u8,
}

impl Paces {
    /// The pace of a connection; a new one if it has none.
    pub fn of(&mut self, slot: u32) -> &mut Pace {
        self.0.entry(slot).or_default()
    }

    /// The pace of a connection that has one.
    pub fn find(&mut self, slot: u32) -> Option<&mut Pace> {
        self.0.get_mut(&slot)
    }

    /// Counts the rooms that a connection joins as it opens as commands, except the first, up to its rate: no join is
    /// refused for it, and a connection with one room needs no entry here.
    pub fn count_joins(&mut self, slot: u32, rooms: usize, rate: Option<Rate>, now: Now) {
        if let Some(rate) = rate.filter(|_| rooms > 1) {
            let count = (rooms as u64 - 1).min(rate.count.get());
            let taken = self.of(slot).commands.try_take_many(rate, count, now.mono_us);
            debug_assert!(taken.is_ok(), "a connection that opens has sent nothing");
        }
    }

    /// Counts signature checks of a connection's tokens.
    ///
    /// # Errors
    /// Over the limit: after how many milliseconds to retry.
    pub fn try_take_checks(&mut self, slot: u32, count: u32, now: Now) -> Result<(), u64> {
        let rate = Rate::new(TOKEN_CHECKS_MAX, TOKEN_CHECKS_PER_MS).expect("it is not 0");
        let pace = self.of(slot);
        pace.checks.try_take_many(rate, count.into(), now.mono_us)?;
        pace.refused_in_row = 0;
        Ok(())
    }

    /// Other rates hold from now on.
    pub fn change_rates(&mut self, from: &Limits, to: &Limits, now_us: u64) {
        if from.command_rate == to.command_rate && from.message_rate == to.message_rate {
            return;
        }
        for pace in self.0.values_mut() {
            pace.commands.change_rate(from.command_rate, to.command_rate, now_us);
            pace.messages.change_rate(from.message_rate, to.message_rate, now_us);
        }
    }

    /// Forgets the pace of a connection whose buckets are full again.
    pub fn forget_rested(&mut self, slot: u32, now: Now) {
        if let Some(pace) = self.0.get(&slot)
            && pace.refused_in_row == 0
            && pace.commands.is_full(now.mono_us)
            && pace.messages.is_full(now.mono_us)
            && pace.checks.is_full(now.mono_us)
        {
            self.forget(slot);
        }
    }

    /// Forgets the pace of a connection that has ended.
    pub fn forget(&mut self, slot: u32) {
        self.0.remove(&slot);
        table::shrink(&mut self.0);
    }

    /// Connections with a pace.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}
