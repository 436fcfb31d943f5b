//! How fast one connection may send: its token buckets for commands, publishes and the checks of its tokens, and what
//! happens to one that does not heed them. What its user may do on all connections together is counted in
//! [`crate::engine::limiter`].

use super::{Home, HomeEffects};
use crate::base::codes::{CloseCode, ErrorCode};
use crate::base::ids::{ConnId, CoreId};
use crate::base::limits::{RATE_REFUSALS_MAX, TOKEN_CHECKS_MAX, TOKEN_CHECKS_PER_MS};
use crate::base::time::Now;
use crate::engine::hop::{ToLimiter, ToOwner};
use crate::engine::limiter::{USER_TOO_OFTEN, core_of_user};
use crate::engine::placement::owner_of;
use crate::engine::rates::{Bucket, Rate};
use crate::engine::session::{Marks, Phase};
use crate::engine::table;
use crate::wire::protocol::{Command, ReplyTo};

/// What is said of a command that another core cannot be given now.
pub(super) const LANE_FULL: &str = "too much waits for the room's core";

/// How fast a connection sends. Kept only while it differs from one that has sent nothing.
#[derive(Debug, Default)]
pub(super) struct Pace {
    pub(super) commands: Bucket,
    pub(super) messages: Bucket,
    /// Signature checks of its refreshes.
    checks: Bucket,
    /// Refusals for rate since something was last done.
    refused_in_row: u8,
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
        let pace = self.paces.entry(slot).or_default();
        let is_message = matches!(command, Some(Command::Publish { .. }));
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
            Some(Command::Status { away }) if *away != session.away => session.rooms().max(1) as u64,
            _ => 1,
        }
    }

    /// Rooms that a connection joins as it opens count as commands too, but for the first and up to its rate: none is
    /// refused for it, and a connection with one room has no pace to be remembered.
    pub(super) fn count_joins(&mut self, slot: u32, rooms: usize, now: Now) {
        if let Some(rate) = self.settings.limits.command_rate.filter(|_| rooms > 1) {
            let count = (rooms as u64 - 1).min(rate.count.get());
            let taken = self.paces.entry(slot).or_default().commands.try_take_many(rate, count, now.mono_us);
            debug_assert!(taken.is_ok(), "a connection that opens has sent nothing");
        }
    }

    /// Whether a control frame comes within the rate of commands of its connection. Nothing is said to one that does not,
    /// but it counts as refused.
    pub(super) fn control_keeps_pace(&mut self, slot: u32, effects: &mut HomeEffects<'_>) -> bool {
        let Some(rate) = self.settings.limits.command_rate else { return true };
        let pace = self.paces.entry(slot).or_default();
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
            && let Some(pace) = self.paces.get_mut(&conn.slot)
        {
            pace.refused_in_row = 0;
        }
    }

    /// Takes what a connection may have of signature checks.
    ///
    /// # Errors
    /// It has had them: in how many milliseconds it may have so many.
    pub(super) fn try_take_checks(&mut self, slot: u32, count: u32, now: Now) -> Result<(), u64> {
        let rate = Rate::new(TOKEN_CHECKS_MAX, TOKEN_CHECKS_PER_MS).expect("it is not 0");
        let pace = self.paces.entry(slot).or_default();
        pace.checks.try_take_many(rate, count.into(), now.mono_us)?;
        pace.refused_in_row = 0;
        Ok(())
    }

    /// A command was refused for its rate: a connection that goes on regardless is closed.
    pub(super) fn note_rate_refusal(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        effects.counters.rate_limited.add(1);
        // Being told may have ended it as one that does not read its replies.
        if self.sessions.at(slot).phase != Phase::Open {
            return;
        }
        let pace = self.paces.entry(slot).or_default();
        pace.refused_in_row += 1;
        if pace.refused_in_row >= RATE_REFUSALS_MAX {
            self.fail(slot, CloseCode::Rate, "went on regardless of its rate", effects);
        }
    }

    /// Forgets the pace of a connection that has rested.
    pub(super) fn forget_pace(&mut self, slot: u32, now: Now) {
        if let Some(pace) = self.paces.get(&slot)
            && pace.refused_in_row == 0
            && pace.commands.is_full(now.mono_us)
            && pace.messages.is_full(now.mono_us)
            && pace.checks.is_full(now.mono_us)
        {
            self.paces.remove(&slot);
            table::shrink(&mut self.paces);
        }
    }

    /// The core that a connection's words to rooms pass by: where its user is counted, if that is not here.
    pub(super) fn passes_by(&self, slot: u32) -> Option<CoreId> {
        let session = self.sessions.at(slot);
        if !session.marks.has(Marks::COUNTED_MESSAGES) {
            return None;
        }
        let user = session.user.as_ref().expect("an open connection has a user");
        Some(core_of_user(user, self.settings.cores)).filter(|core| *core != self.core)
    }

    /// Whether a publish of so many bytes would be refused on its way to a room's owner.
    pub(super) fn is_way_full(&self, slot: u32, owner: CoreId, bytes: usize, effects: &HomeEffects<'_>) -> bool {
        let way = self.passes_by(slot).unwrap_or(owner);
        way != self.core && (self.late.holds(slot) || effects.outbound.is_full_for(way, bytes))
    }

    /// Whether a join or a question would be.
    pub(super) fn is_way_full_for_questions(&self, slot: u32, owner: CoreId, effects: &HomeEffects<'_>) -> bool {
        let way = self.passes_by(slot).unwrap_or(owner);
        way != self.core && (self.late.holds(slot) || effects.outbound.is_full_for_questions(way))
    }

    /// Whether a change of state waits on its way to a room's owner.
    pub(super) fn is_way_full_for_changes(&self, slot: u32, owner: CoreId, effects: &HomeEffects<'_>) -> bool {
        let way = self.passes_by(slot).unwrap_or(owner);
        way != self.core && (self.late.holds(slot) || effects.outbound.is_full_for_changes(way))
    }

    /// Says something to a room's owner for a connection.
    pub(super) fn tell_owner(&self, slot: u32, owner: CoreId, hop: ToOwner, effects: &mut HomeEffects<'_>) {
        Self::tell_owner_by(self.passes_by(slot), owner, hop, effects);
    }

    /// The same by the core that the connection's words pass by, if they pass by one.
    pub(super) fn tell_owner_by(passes: Option<CoreId>, owner: CoreId, hop: ToOwner, effects: &mut HomeEffects<'_>) {
        match passes {
            None => effects.outbound.post_to_owner(owner, hop),
            Some(core) => effects.outbound.post_to_limiter(core, ToLimiter::Pass { hop: Box::new(hop) }),
        }
    }

    /// What was passed by the limiter goes on to its room. Where that core's lane is full, what may be refused is refused
    /// here: nothing of it has been done, and what comes after it may find room again.
    pub(super) fn passed(&mut self, hop: ToOwner, effects: &mut HomeEffects<'_>) {
        let owner = owner_of(hop.room(), self.settings.cores);
        if owner == self.core || !effects.outbound.is_full(owner) {
            return effects.outbound.post_to_owner(owner, hop);
        }
        let conn = hop.conn();
        let reply = match &hop {
            ToOwner::Publish { reply, .. } | ToOwner::History { reply, .. } | ToOwner::Presence { reply, .. } => *reply,
            ToOwner::Join { room, reply, .. } => {
                self.join_answered(room, conn, effects);
                *reply
            }
            ToOwner::Leave { .. } | ToOwner::Expel { .. } | ToOwner::Away { .. } => {
                return effects.outbound.post_to_owner(owner, hop);
            }
        };
        if self.session_of(conn).is_some() {
            self.refuse(conn.slot, ErrorCode::Overloaded, LANE_FULL, reply, effects);
        }
    }

    /// Whether a publish is within the limit of its user, as far as that is told here. If not, it has been refused.
    pub(super) fn user_keeps_pace(&mut self, slot: u32, reply: ReplyTo, effects: &mut HomeEffects<'_>) -> bool {
        let session = self.sessions.at(slot);
        let user = session.user.as_ref().expect("an open connection has a user");
        if !session.marks.has(Marks::COUNTED_MESSAGES) || core_of_user(user, self.settings.cores) != self.core {
            return true;
        }
        let Err(retry_after_ms) = effects.limiter.try_publish(user, effects.now, effects.budget) else { return true };
        self.refuse_until(slot, (ErrorCode::RateLimited, USER_TOO_OFTEN), Some(retry_after_ms), reply, effects);
        false
    }
}
