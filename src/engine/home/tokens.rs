//! Connections that stand on a token (auth mode `jwt`): what they may do, and until when. All of it lives beside the
//! sessions, in tables that are there only in that mode. Tokens are judged in `verification`.
//!
//! No timer stands for a connection: the heartbeat's wheel passes each one once a round, and only what happens to it
//! before the next round is put in order of time.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::refresh::Refreshes;
use super::verification::Verification;
use super::{Home, HomeEffects};
use crate::base::codes::{CloseCode, ErrorCode};
use crate::base::limits::{TICK_MS, TOKEN_REFUSALS_MAX, TOKEN_WARNING_MS};
use crate::base::time::Now;
use crate::engine::access::{Access, Allowed, Grants, Keys};
use crate::engine::budget::Budget;
use crate::engine::session::{Marks, Phase};
use crate::engine::table::Table;
use crate::wire::encode::encode_reply;
use crate::wire::protocol::{LeftReason, Reply, ReplyTo};

/// What a core knows of tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    pub(super) verification: Verification,
    pub(super) refreshes: Refreshes,
    pub(super) held: Table<HeldToken>,
    /// Warnings and ends before the wheel's next round, one for each slot at most.
    pub(super) due: BTreeSet<(u64, u32)>,
}

/// What one connection's token gave it. Empty in slots without one.
#[derive(Debug, Default)]
pub(super) struct HeldToken {
    grants: Grants,
    /// When the token no longer counts, monotonic milliseconds; 0: there is none.
    pub(super) ends_ms: u64,
    /// Its entry in `due`; 0: none.
    due_ms: u64,
    warned: bool,
    /// Tokens refused since the last one that was not.
    refused: u8,
}

impl Tokens {
    pub(super) fn new(keys: Arc<Keys>) -> Self {
        Self {
            verification: Verification::new(keys),
            refreshes: Refreshes::default(),
            held: Table::new(),
            due: BTreeSet::new(),
        }
    }

    /// Puts what happens to a connection next in order, if that is before the wheel's next round.
    fn schedule(&mut self, slot: u32, is_told: bool, now: Now, heartbeat_ms: u64) {
        // A connection from before there were keys stands on no token.
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

    fn let_go(&mut self, slot: u32, budget: &mut Budget) {
        if self.held.get(slot).is_some() {
            let held = std::mem::take(self.held.at_mut(slot));
            self.due.remove(&(held.due_ms, slot));
            budget.release(held.grants.bytes());
        }
    }
}

impl Home {
    /// Verification keys: from here on each upgrade needs a token that they verify. Connections that are there stay.
    pub fn set_keys(&mut self, keys: Arc<Keys>) {
        match &mut self.tokens {
            None => self.tokens = Some(Box::new(Tokens::new(keys))),
            Some(tokens) => tokens.verification.replace_keys(keys),
        }
    }

    /// What the token of a connection that has just opened gives it.
    pub(super) fn hold_token(&mut self, slot: u32, access: Access, effects: &mut HomeEffects<'_>) {
        let is_told = !self.sessions.at(slot).marks.has(Marks::ECHO);
        let Some(tokens) = &mut self.tokens else { return };
        tokens.held.reach(slot);
        effects.budget.charge(access.grants.bytes());
        let ends_ms = mono_ms_of(access.ends_at, effects.now);
        *tokens.held.at_mut(slot) = HeldToken { grants: access.grants, ends_ms, ..HeldToken::default() };
        tokens.schedule(slot, is_told, effects.now, self.settings.heartbeat_interval_ms);
    }

    /// A slot's connection, or its upgrade, has ended.
    pub(super) fn forget_token(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        let Some(tokens) = &mut self.tokens else { return };
        tokens.verification.forget(slot);
        tokens.refreshes.forget(slot, effects.budget);
        tokens.let_go(slot, effects.budget);
    }

    /// A new token takes the place of the one before.
    pub(super) fn replace_token(&mut self, slot: u32, access: Access, effects: &mut HomeEffects<'_>) {
        if let Some(tokens) = &mut self.tokens {
            tokens.let_go(slot, effects.budget);
        }
        self.hold_token(slot, access, effects);
    }

    /// A token was refused to an open connection. One that goes on regardless is closed.
    pub(super) fn note_token_refused(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        // Being told may have ended it as one that does not read its replies.
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

    /// Whether a connection may do something in a room. What needs a membership needs no other question: a room that may
    /// no longer be joined is left at once.
    pub(super) fn may(&self, slot: u32, room: &str, wanted: Allowed) -> bool {
        match &self.tokens {
            None => Grants::unlimited().allow(room, wanted),
            // Whoever stands on no token here is none of this mode, and may do nothing.
            Some(tokens) => {
                tokens.held.get(slot).is_some_and(|held| held.ends_ms > 0 && held.grants.allow(room, wanted))
            }
        }
    }

    /// The wheel passes a connection.
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

    /// Warnings, ends, and tokens that have waited long enough for keys.
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

    /// Leaves the rooms that the token does not allow.
    pub(super) fn leave_forbidden(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        let memberships = &self.sessions.at(slot).memberships;
        let wanted = memberships.iter().filter(|membership| membership.wanted);
        let rooms: Vec<u32> = wanted.map(|membership| membership.audience).collect();
        for audience in rooms {
            // Leaving one room may have ended the connection as a slow one, and with it its hold on the others.
            if self.sessions.at(slot).phase != Phase::Open {
                return;
            }
            // What was said before is still heard. That may end this connection as a slow one.
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

/// A time of the wall clock as one of the monotonic clock. A wall clock that is set later moves no end of a token that
/// is held already.
fn mono_ms_of(unix_ms: u64, now: Now) -> u64 {
    now.mono_ms().saturating_add(unix_ms.saturating_sub(now.unix_ms))
}
