//! How fast one connection may send: its token buckets for commands, publishes and the checks of its tokens, and what
//! happens to one that does not heed them. What its user may do on all connections together is counted in
//! [`crate::engine::user`].

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::{Home, HomeEffects};
use crate::base::codes::{CloseCode, ErrorCode};
use crate::base::ids::ConnId;
use crate::base::limits::{RATE_REFUSALS_MAX, TOKEN_CHECKS_MAX, TOKEN_CHECKS_PER_MS};
use crate::base::time::Now;
use crate::engine::rates::{Bucket, Rate};
use crate::engine::session::{Marks, Phase};
use crate::engine::settings::Limits;
use crate::engine::table;
use crate::engine::user::{OVER_MESSAGE_RATE, core_of_user};
use crate::wire::protocol::{Command, ReplyTo};

/// How fast connections send, by slot: those that differ from one that has sent nothing.
#[derive(Debug, Default)]
pub(super) struct Paces(HashMap<u32, Pace, FixedState>);

/// How fast a connection sends.
#[derive(Debug, Default)]
struct Pace {
    commands: Bucket,
    messages: Bucket,
    /// Signature checks of its refreshes.
    checks: Bucket,
    /// Refusals for rate since something was last done.
    refused_in_row: u8,
}

impl Paces {
    fn of(&mut self, slot: u32) -> &mut Pace {
        self.0.entry(slot).or_default()
    }

    /// Rooms that a connection joins as it opens count as commands too, but for the first and up to its rate: none is
    /// refused for it, and a connection with one room has no pace to be remembered.
    pub(super) fn count_joins(&mut self, slot: u32, rooms: usize, rate: Option<Rate>, now: Now) {
        if let Some(rate) = rate.filter(|_| rooms > 1) {
            let count = (rooms as u64 - 1).min(rate.count.get());
            let taken = self.of(slot).commands.try_take_many(rate, count, now.mono_us);
            debug_assert!(taken.is_ok(), "a connection that opens has sent nothing");
        }
    }

    /// Takes what a connection may have of signature checks.
    ///
    /// # Errors
    /// It has had them: in how many milliseconds it may have so many.
    pub(super) fn try_take_checks(&mut self, slot: u32, count: u32, now: Now) -> Result<(), u64> {
        let rate = Rate::new(TOKEN_CHECKS_MAX, TOKEN_CHECKS_PER_MS).expect("it is not 0");
        let pace = self.of(slot);
        pace.checks.try_take_many(rate, count.into(), now.mono_us)?;
        pace.refused_in_row = 0;
        Ok(())
    }

    /// Other rates hold from now on.
    pub(super) fn change_rates(&mut self, from: &Limits, to: &Limits, now_us: u64) {
        if from.command_rate == to.command_rate && from.message_rate == to.message_rate {
            return;
        }
        for pace in self.0.values_mut() {
            pace.commands.change_rate(from.command_rate, to.command_rate, now_us);
            pace.messages.change_rate(from.message_rate, to.message_rate, now_us);
        }
    }

    /// Forgets the pace of a connection that has rested.
    pub(super) fn forget_rested(&mut self, slot: u32, now: Now) {
        if let Some(pace) = self.0.get(&slot)
            && pace.refused_in_row == 0
            && pace.commands.is_full(now.mono_us)
            && pace.messages.is_full(now.mono_us)
            && pace.checks.is_full(now.mono_us)
        {
            self.forget(slot);
        }
    }

    /// Forgets the pace of a connection that ends.
    pub(super) fn forget(&mut self, slot: u32) {
        self.0.remove(&slot);
        table::shrink(&mut self.0);
    }

    /// Connections with a pace.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Home {
    /// Whether a command comes within the rates of its connection. If not, it has been refused.
    pub(super) fn keeps_pace(
        &mut self,
        slot: u32,
        command: Option<&Command<'_>>,
        reply: ReplyTo,
        effects: &mut HomeEffects<'_>,
    ) -> bool {
        let (command_rate, message_rate) = (self.settings.limits.command_rate, self.settings.limits.message_rate);
        if command_rate.is_none() && message_rate.is_none() {
            return true;
        }
        let (now_us, cost) = (effects.now.mono_us, self.cost(slot, command));
        let pace = self.paces.of(slot);
        let is_message = matches!(command, Some(Command::Ask { ask, .. }) if ask.is_message());
        let may_be_refused = is_message || matches!(command, Some(Command::Refresh { .. }));
        let mut taken = command_rate.map_or(Ok(()), |rate| pace.commands.try_take_many(rate, cost, now_us));
        let mut what = "this connection sends too many commands";
        if let (Ok(()), Some(rate), true) = (taken, message_rate, is_message) {
            taken = pace.messages.try_take(rate, now_us);
            what = "this connection publishes too often";
        }
        match taken {
            Ok(()) => {
                // By a rate of its own, further on.
                if !may_be_refused {
                    pace.refused_in_row = 0;
                }
                true
            }
            Err(retry_after_ms) => {
                self.refuse_until(slot, (ErrorCode::RateLimited, what), Some(retry_after_ms), reply, effects);
                false
            }
        }
    }

    /// As how many commands a command counts: a change of status is one in each room.
    fn cost(&self, slot: u32, command: Option<&Command<'_>>) -> u64 {
        let session = self.sessions.at(slot);
        match command {
            Some(Command::Status { away }) if *away != session.is_away() => session.rooms().max(1) as u64,
            _ => 1,
        }
    }

    /// Whether a control frame comes within the rate of commands of its connection. Nothing is said to one that does not,
    /// but it counts as refused.
    pub(super) fn control_keeps_pace(&mut self, slot: u32, effects: &mut HomeEffects<'_>) -> bool {
        let Some(rate) = self.settings.limits.command_rate else { return true };
        let pace = self.paces.of(slot);
        let is_taken = pace.commands.try_take(rate, effects.now.mono_us).is_ok();
        if !is_taken {
            self.note_rate_refusal(slot, effects);
        }
        is_taken
    }

    /// Counts empty fragments as commands: they say nothing and could go on for ever.
    pub(super) fn count_fragments(&mut self, slot: u32, count: u32, effects: &mut HomeEffects<'_>) {
        for _ in 0..count {
            if self.sessions.at(slot).phase != Phase::Open {
                return;
            }
            self.control_keeps_pace(slot, effects);
        }
    }

    /// A publish was done.
    pub(super) fn note_published(&mut self, conn: ConnId) {
        if self.session_of(conn).is_some()
            && let Some(pace) = self.paces.0.get_mut(&conn.slot)
        {
            pace.refused_in_row = 0;
        }
    }

    /// A command was refused for its rate: a connection that goes on regardless is closed.
    pub(super) fn note_rate_refusal(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        effects.counters.rate_limited.add(1);
        // Being told may have ended it as one that does not read its replies.
        if self.sessions.at(slot).phase != Phase::Open {
            return;
        }
        let pace = self.paces.of(slot);
        pace.refused_in_row += 1;
        if pace.refused_in_row >= RATE_REFUSALS_MAX {
            self.fail(slot, CloseCode::Rate, "went on regardless of its rate", effects);
        }
    }

    /// Whether a publish is within the limit of its user, as far as that is told here. If not, it has been refused.
    pub(super) fn user_keeps_pace(&mut self, slot: u32, reply: ReplyTo, effects: &mut HomeEffects<'_>) -> bool {
        let session = self.sessions.at(slot);
        let user = session.user.as_ref().expect("an open connection has a user");
        if !session.marks.has(Marks::COUNTED_MESSAGES) || core_of_user(user, self.settings.cores) != self.core {
            return true;
        }
        let Err(retry_after_ms) = effects.users.try_publish(user, effects.now, effects.budget) else { return true };
        self.refuse_until(slot, (ErrorCode::RateLimited, OVER_MESSAGE_RATE), Some(retry_after_ms), reply, effects);
        false
    }
}
