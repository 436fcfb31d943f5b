//! Rate limits of one connection: token buckets for its commands, its publishes and the checks of its tokens, and the close
//! of a connection that keeps exceeding them. Never counts for a user on all connections ([`crate::engine::user`]).

use super::{Home, HomeEffects};
use crate::base::codes::{CloseCode, ErrorCode};
use crate::base::ids::ConnId;
use crate::base::limits::RATE_REFUSALS_MAX;
use crate::engine::session::{Marks, Phase};
use crate::engine::user::{OVER_MESSAGE_RATE, core_of_user};
use crate::wire::protocol::{Command, ReplyTo};

impl Home {
    /// Counts a command for the rate limits of its connection. Returns whether it is within them; otherwise it has been
    /// refused.
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
        let mut what = "command rate limit exceeded for this connection";
        if let (Ok(()), Some(rate), true) = (taken, message_rate, is_message) {
            taken = pace.messages.try_take(rate, now_us);
            what = "message rate limit exceeded for this connection";
        }
        match taken {
            Ok(()) => {
                // Others may still be refused by another rate.
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

    /// How many commands a command counts as: a change of status is one in each room, and so is a
    /// resumed session.
    fn cost(&self, slot: u32, command: Option<&Command<'_>>) -> u64 {
        let session = self.sessions.at(slot);
        match command {
            Some(Command::Status { away }) if *away != session.is_away() => session.rooms().max(1) as u64,
            Some(Command::Resume { positions, .. }) => {
                let most = self.settings.limits.command_rate.map_or(u64::MAX, |rate| rate.count.get());
                (positions.len() as u64).clamp(1, most)
            }
            _ => 1,
        }
    }

    /// Counts a control frame for the command rate limit of its connection. Returns whether it is within the limit;
    /// otherwise it counts as refused, without an answer.
    pub(super) fn control_keeps_pace(&mut self, slot: u32, effects: &mut HomeEffects<'_>) -> bool {
        let Some(rate) = self.settings.limits.command_rate else { return true };
        let pace = self.paces.of(slot);
        let is_taken = pace.commands.try_take(rate, effects.now.mono_us).is_ok();
        if !is_taken {
            self.note_rate_refusal(slot, effects);
        }
        is_taken
    }

    /// Counts empty fragments as commands: they carry nothing and could go on forever.
    pub(super) fn count_fragments(&mut self, slot: u32, count: u32, effects: &mut HomeEffects<'_>) {
        for _ in 0..count {
            if self.sessions.at(slot).phase != Phase::Open {
                return;
            }
            self.control_keeps_pace(slot, effects);
        }
    }

    /// A publish was carried out.
    pub(super) fn note_published(&mut self, conn: ConnId) {
        if self.session_of(conn).is_some()
            && let Some(pace) = self.paces.find(conn.slot)
        {
            pace.refused_in_row = 0;
        }
    }

    /// A command was refused for its rate: a connection that keeps exceeding its rate limit is closed.
    pub(super) fn note_rate_refusal(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        effects.counters.rate_limited.add(1);
        // The refusal may have closed it as a slow consumer.
        if self.sessions.at(slot).phase != Phase::Open {
            return;
        }
        let pace = self.paces.of(slot);
        pace.refused_in_row += 1;
        if pace.refused_in_row >= RATE_REFUSALS_MAX {
            self.fail(slot, CloseCode::Rate, "kept exceeding its rate limit", effects);
        }
    }

    /// Counts a publish for the limit of its user, if the user is counted on this core. Returns whether it is within the
    /// limit; otherwise it has been refused.
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
