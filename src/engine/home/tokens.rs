//! Connections that stand on a token (auth mode `jwt`): who they are, what they may do, and until when. All of it lives
//! beside the sessions, in tables that are there only in that mode.
//!
//! No timer stands for a connection: the heartbeat's wheel passes each one once a round, and only what happens to it
//! before the next round is put in order of time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Home, HomeEffects};
use crate::base::codes::{CloseCode, ErrorCode};
use crate::base::limits::{
    KEYS_ASK_AGAIN_MS, KEYS_WAIT_MS, KEYS_WAITING_MAX, TICK_MS, TOKEN_LOG_AGAIN_MS, TOKEN_WARNING_MS,
};
use crate::base::time::Now;
use crate::engine::access::{Access, Allowed, Cause, Denied, Grants, Keys, Renewal};
use crate::engine::output::TokenRefused;
use crate::engine::session::{Marks, Phase};
use crate::engine::table::Table;
use crate::wire::command::ReplyTo;
use crate::wire::handshake::{Refusal, Upgrade};
use crate::wire::push::LeftReason;
use crate::wire::reply::{Reply, encode_reply};

/// What a core knows of tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    keys: Arc<Keys>,
    pub(super) held: Table<Held>,
    /// Warnings and ends before the wheel's next round, one for each slot at most.
    pub(super) due: BTreeSet<(u64, u32)>,
    /// Upgrades that wait for keys, with when their patience ends, monotonic milliseconds.
    waiting: BTreeMap<u32, u64>,
    /// Keys were asked for then, monotonic milliseconds, and the answer has not come.
    asked_ms: Option<u64>,
    refusals: [Refusals; Cause::COUNT],
}

/// What one connection's token gave it. Empty in slots without one.
#[derive(Debug, Default)]
pub(super) struct Held {
    grants: Grants,
    /// When the token no longer counts, monotonic milliseconds; 0: there is none.
    pub(super) ends_ms: u64,
    /// Its entry in `due`; 0: none.
    due_ms: u64,
    warned: bool,
}

/// Refusals for one cause, for the log.
#[derive(Clone, Copy, Debug, Default)]
struct Refusals {
    told_ms: Option<u64>,
    held_back: u64,
}

/// How an upgrade stands.
#[derive(Debug)]
pub(super) enum Identity {
    /// Whoever it says it is.
    Open,
    /// Whom the token names.
    Token(Box<Access>),
    /// The token names a key that is being fetched: to be asked again when it is there.
    Wait,
}

impl Tokens {
    fn new(keys: Arc<Keys>) -> Self {
        Self {
            keys,
            held: Table::new(),
            due: BTreeSet::new(),
            waiting: BTreeMap::new(),
            asked_ms: None,
            refusals: [Refusals::default(); Cause::COUNT],
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
}

impl Home {
    /// Verification keys: from here on each upgrade needs a token that they verify. Connections that are there stay.
    pub fn set_keys(&mut self, keys: Arc<Keys>, effects: &mut HomeEffects<'_>) {
        match &mut self.tokens {
            None => self.tokens = Some(Box::new(Tokens::new(keys))),
            Some(tokens) => {
                tokens.keys = keys;
                tokens.asked_ms = None;
            }
        }
        let Some(tokens) = &self.tokens else { return };
        // Whoever came while the keys were being read may wait for the next ones.
        let as_of_ms = tokens.keys.as_of_ms();
        let is_answered = |until_ms: u64| as_of_ms >= until_ms.saturating_sub(KEYS_WAIT_MS);
        let waiting: Vec<_> = tokens.waiting.iter().map(|(slot, until)| (*slot, is_answered(*until))).collect();
        for (slot, is_answered) in waiting {
            self.ask_again(slot, is_answered, effects);
        }
    }

    /// Who asks for an upgrade.
    ///
    /// # Errors
    /// 401: the token is missing or refused. 503: there are no keys yet that could tell.
    pub(super) fn identify(
        &mut self,
        slot: u32,
        upgrade: &Upgrade,
        effects: &mut HomeEffects<'_>,
    ) -> Result<Identity, Refusal> {
        let Some(tokens) = &mut self.tokens else { return Ok(Identity::Open) };
        let missing = || {
            let ways = "as `token` in the query, as `Authorization: Bearer`, or as subprotocol `bearer.<token>`";
            Denied::new(Cause::Missing, format!("a token is needed: {ways}"))
        };
        let verified = match &upgrade.token {
            Some(token) => tokens.keys.verify(token, effects.now.unix_ms),
            None => Err(missing()),
        };
        let denied = match verified {
            Ok(access) => return Ok(Identity::Token(Box::new(access))),
            Err(denied) => denied,
        };
        if denied.cause == Cause::UnknownKey && tokens.keys.renewal() != Renewal::None {
            let has_place = tokens.waiting.contains_key(&slot) || tokens.waiting.len() < KEYS_WAITING_MAX;
            if has_place && !self.is_last_asking {
                tokens.waiting.entry(slot).or_insert(effects.now.mono_ms() + KEYS_WAIT_MS);
                self.want_keys(effects);
                return Ok(Identity::Wait);
            }
            if tokens.keys.renewal() == Renewal::Awaited {
                self.note_refused(denied.cause, effects);
                let words = "the keys that verify tokens have not been obtained yet";
                let code = ErrorCode::Unavailable.as_str();
                return Err(Refusal { retry_after_s: Some(2), ..Refusal::new(503, code, words) });
            }
        }
        self.note_refused(denied.cause, effects);
        Err(Refusal::new(401, denied.code().as_str(), denied.message))
    }

    /// What the token of a connection that has just opened gives it.
    pub(super) fn hold_token(&mut self, slot: u32, access: Access, effects: &mut HomeEffects<'_>) {
        let is_told = !self.sessions.at(slot).marks.has(Marks::ECHO);
        let Some(tokens) = &mut self.tokens else { return };
        tokens.waiting.remove(&slot);
        tokens.held.reach(slot);
        effects.budget.charge(access.grants.bytes());
        let ends_ms = mono_ms_of(access.ends_at, effects.now);
        *tokens.held.at_mut(slot) = Held { grants: access.grants, ends_ms, due_ms: 0, warned: false };
        tokens.schedule(slot, is_told, effects.now, self.settings.heartbeat_ms);
    }

    /// A slot's connection, or its upgrade, has ended.
    pub(super) fn forget_token(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        let Some(tokens) = &mut self.tokens else { return };
        tokens.waiting.remove(&slot);
        if tokens.held.get(slot).is_some() {
            let held = std::mem::take(tokens.held.at_mut(slot));
            tokens.due.remove(&(held.due_ms, slot));
            effects.budget.release(held.grants.bytes());
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
            tokens.schedule(slot, !self.sessions.at(slot).marks.has(Marks::ECHO), now, self.settings.heartbeat_ms);
        }
    }

    /// Warnings, ends, and upgrades that have waited long enough.
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
            tokens.schedule(slot, true, effects.now, self.settings.heartbeat_ms);
            self.warn(slot, effects);
        }
        let waiting = self.tokens.iter().flat_map(|tokens| &tokens.waiting);
        let over: Vec<u32> = waiting.filter(|(_, until_ms)| **until_ms <= now_ms).map(|(slot, _)| *slot).collect();
        for slot in over {
            self.ask_again(slot, true, effects);
        }
    }

    fn warn(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        let form = self.sessions.at(slot).reading.expect("an open connection reads somehow").form();
        let message = "the token is about to expire: send refresh with a new one";
        let error = Reply::Error { code: ErrorCode::TokenExpired, message, retry_after_ms: None };
        self.say(slot, encode_reply(&error, ReplyTo { id: None, form }), effects);
    }

    /// Judges an upgrade that waits for keys once more; where it is the last time, it does not wait again.
    fn ask_again(&mut self, slot: u32, is_last: bool, effects: &mut HomeEffects<'_>) {
        if let Some(tokens) = self.tokens.as_mut().filter(|_| is_last) {
            tokens.waiting.remove(&slot);
        }
        self.is_last_asking = is_last;
        self.authenticate(slot, effects);
        self.is_last_asking = false;
    }

    /// The command `refresh`: a new token takes the place of the one before. A refused one changes nothing.
    pub(super) fn refresh(&mut self, slot: u32, token: &str, reply: ReplyTo, effects: &mut HomeEffects<'_>) {
        let Some(tokens) = &self.tokens else {
            let words = "this server takes no tokens: its auth.mode is open";
            return self.refuse(slot, ErrorCode::InvalidToken, words, reply, effects);
        };
        let verified = tokens.keys.verify(token, effects.now.unix_ms).and_then(|access| {
            match self.sessions.at(slot).user.as_ref() == Some(&access.user) {
                true => Ok(access),
                false => Err(Denied::new(Cause::OtherUser, "the token's claim `sub` is not this connection's user")),
            }
        });
        match verified {
            Ok(access) => {
                let expires_at = access.expires_at;
                self.forget_token(slot, effects);
                self.hold_token(slot, access, effects);
                self.reply(slot, &Reply::Refreshed { expires_at }, reply, effects);
                self.leave_forbidden(slot, effects);
            }
            Err(denied) => {
                if denied.cause == Cause::UnknownKey {
                    self.want_keys(effects);
                }
                self.note_refused(denied.cause, effects);
                self.refuse(slot, denied.code(), &denied.message, reply, effects);
            }
        }
    }

    /// Leaves the rooms that the token does not allow.
    fn leave_forbidden(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
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

    fn want_keys(&mut self, effects: &mut HomeEffects<'_>) {
        let Some(tokens) = &mut self.tokens else { return };
        let now_ms = effects.now.mono_ms();
        if tokens.asked_ms.is_none_or(|asked_ms| now_ms >= asked_ms + KEYS_ASK_AGAIN_MS) {
            tokens.asked_ms = Some(now_ms);
            effects.output.keys_wanted = true;
        }
    }

    /// Counts a refusal, and lets the log tell of it now and then.
    fn note_refused(&mut self, cause: Cause, effects: &mut HomeEffects<'_>) {
        effects.counters.auth_refused.add(1);
        let Some(tokens) = &mut self.tokens else { return };
        let refusals = &mut tokens.refusals[cause as usize];
        let now_ms = effects.now.mono_ms();
        if refusals.told_ms.is_some_and(|told_ms| now_ms < told_ms + TOKEN_LOG_AGAIN_MS) {
            refusals.held_back += 1;
            return;
        }
        refusals.told_ms = Some(now_ms);
        let held_back = std::mem::take(&mut refusals.held_back);
        effects.output.tokens_refused.push(TokenRefused { cause: cause.as_str(), held_back });
    }
}

/// A time of the wall clock as one of the monotonic clock. A wall clock that is set later moves no end of a token that
/// is held already.
fn mono_ms_of(unix_ms: u64, now: Now) -> u64 {
    now.mono_ms().saturating_add(unix_ms.saturating_sub(now.unix_ms))
}
