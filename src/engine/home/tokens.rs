//! What the tokens of connections allow and until when (auth mode `jwt`), in tables beside the sessions that exist in that
//! mode only. Never judges a token ([`super::verification`]).
//!
//! No timer stands for a connection: the heartbeat wheel passes each one once a round, and only what happens before the next
//! round is put in order of time.

use std::sync::Arc;

use super::state::tokens::{HeldToken, Tokens};
use super::{Home, HomeEffects};
use crate::base::codes::{CloseCode, ErrorCode};
use crate::base::limits::TOKEN_REFUSALS_MAX;
use crate::base::time::Now;
use crate::engine::access::{Access, Allowed, Grants, Keys, Standing};
use crate::engine::session::{Marks, Phase};
use crate::wire::encode::encode_reply;
use crate::wire::protocol::{LeftReason, Reply, ReplyTo};

impl Home {
    /// Takes over verification keys: from now on each upgrade needs a token. Open connections stay.
    pub fn set_keys(&mut self, keys: Arc<Keys>) {
        match &mut self.tokens {
            None => self.tokens = Some(Box::new(Tokens::new(keys))),
            Some(tokens) => tokens.verification.replace_keys(keys),
        }
    }

    /// Notes what the token of a connection allows.
    pub(super) fn hold_token(&mut self, slot: u32, access: Access, effects: &mut HomeEffects<'_>) {
        let is_told = !self.sessions.at(slot).marks.has(Marks::ECHO);
        let Some(tokens) = &mut self.tokens else { return };
        tokens.held.reach(slot);
        effects.budget.charge(access.grants.bytes());
        let ends_ms = mono_ms_of(access.ends_at, effects.now);
        *tokens.held.at_mut(slot) = HeldToken { grants: access.grants, ends_ms, ..HeldToken::default() };
        tokens.schedule(slot, is_told, effects.now, self.settings.heartbeat_interval_ms);
    }

    /// Forgets the tokens of a slot whose connection or upgrade has ended.
    pub(super) fn forget_token(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        let Some(tokens) = &mut self.tokens else { return };
        tokens.verification.forget(slot);
        tokens.refreshes.forget(slot, effects.budget);
        tokens.let_go(slot, effects.budget);
    }

    /// Replaces the token of a connection.
    pub(super) fn replace_token(&mut self, slot: u32, access: Access, effects: &mut HomeEffects<'_>) {
        if let Some(tokens) = &mut self.tokens {
            tokens.let_go(slot, effects.budget);
        }
        self.hold_token(slot, access, effects);
    }

    /// Counts a refused token of an open connection, which is closed after several in a row.
    pub(super) fn note_token_refused(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        // The refusal may have closed it as a slow consumer.
        if self.sessions.at(slot).phase != Phase::Open {
            return;
        }
        let Some(tokens) = &mut self.tokens else { return };
        tokens.held.reach(slot);
        let held = tokens.held.at_mut(slot);
        held.refused += 1;
        if held.refused >= TOKEN_REFUSALS_MAX {
            let reason = "too many refused tokens";
            self.fail_saying(slot, CloseCode::Token, Some(reason), reason, effects);
        }
    }

    /// Whether a connection may do something in a room. Not asked for what needs a membership: a room that may no longer be
    /// joined is left at once.
    pub(super) fn may(&self, slot: u32, room: &str, wanted: Allowed) -> bool {
        match &self.tokens {
            None => Grants::unlimited().allow(room, wanted),
            // A connection without a token has no permissions.
            Some(tokens) => {
                tokens.held.get(slot).is_some_and(|held| held.ends_ms > 0 && held.grants.allow(room, wanted))
            }
        }
    }

    /// All that a connection may do in a room, and what its token says of the room.
    pub(super) fn in_room(&self, slot: u32, room: &str) -> (Allowed, Standing) {
        match &self.tokens {
            None => Grants::unlimited().in_room(room),
            Some(tokens) => match tokens.held.get(slot).filter(|held| held.ends_ms > 0) {
                Some(held) => held.grants.in_room(room),
                None => (Allowed::NOTHING, Standing::Anyone),
            },
        }
    }

    /// Schedules the expiry of a connection that the wheel passes.
    pub(super) fn schedule_expiry(&mut self, slot: u32, now: Now) {
        if let Some(tokens) = &mut self.tokens {
            tokens.schedule(
                slot,
                !self.sessions.at(slot).marks.has(Marks::ECHO),
                now,
                self.settings.heartbeat_interval_ms,
            );
        }
    }

    /// Warns of expiry, closes connections with expired tokens, and ends waits for keys.
    pub(super) fn tick_tokens(&mut self, effects: &mut HomeEffects<'_>) {
        let now_ms = effects.now.mono_ms();
        while let Some(tokens) = &mut self.tokens {
            let Some((_, slot)) = tokens.due.first().copied().filter(|(due_ms, _)| *due_ms <= now_ms) else { break };
            tokens.due.pop_first();
            let held = tokens.held.at_mut(slot);
            held.due_ms = 0;
            if held.ends_ms <= now_ms {
                self.fail(slot, CloseCode::Token, "token expired", effects);
                continue;
            }
            held.warned = true;
            tokens.schedule(slot, true, effects.now, self.settings.heartbeat_interval_ms);
            self.warn(slot, effects);
        }
        self.expire_waits(now_ms);
    }

    fn warn(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        let form = self.sessions.at(slot).reading.expect("an open connection reads somehow").form();
        let message = "the token is about to expire: send refresh with a new one";
        let error = Reply::Error { code: ErrorCode::TokenExpired, message, retry_after_ms: None };
        self.say(slot, encode_reply(&error, ReplyTo { id: None, form }), effects);
    }

    /// Removes a connection from the rooms that its token does not allow.
    pub(super) fn leave_forbidden(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        let memberships = &self.sessions.at(slot).memberships;
        let wanted = memberships.iter().filter(|membership| membership.wanted);
        let rooms: Vec<u32> = wanted.map(|membership| membership.audience).collect();
        for audience in rooms {
            // Leaving one room may have closed the connection as a slow consumer.
            if self.sessions.at(slot).phase != Phase::Open {
                return;
            }
            // It gets what came before, which may close it as a slow consumer.
            self.put_pending(audience, effects);
            if self.sessions.at(slot).phase != Phase::Open {
                return;
            }
            if !self.may(slot, &self.audiences.at(audience).room, Allowed::JOIN) {
                self.expel(slot, audience, LeftReason::Token, effects);
            }
        }
    }
}

/// A time of the wall clock as one of the monotonic clock, so that setting the wall clock does not move the end of a
/// token.
fn mono_ms_of(unix_ms: u64, now: Now) -> u64 {
    now.mono_ms().saturating_add(unix_ms.saturating_sub(now.unix_ms))
}
