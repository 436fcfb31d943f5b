//! The command `refresh`: replaces the token of a connection. A refused token changes nothing. Refreshes are answered in
//! order, later where a token waits for keys. Never verifies a signature itself.

use std::collections::VecDeque;

use super::state::refreshes::Refresh;
use super::state::verification::KeyWait;
use super::verification::{Judged, NO_KEYS, NO_KEYS_RETRY_S, judge};
use super::{Home, HomeEffects};
use crate::base::codes::ErrorCode;
use crate::base::limits::REFRESHES_WAITING_MAX;
use crate::engine::access::{Access, Cause, Denied, Token};
use crate::engine::session::Phase;
use crate::wire::protocol::{Reply, ReplyTo};

impl Home {
    /// Answers a refresh, or keeps it until keys have come.
    pub(super) fn refresh(&mut self, slot: u32, token: &str, reply: ReplyTo, effects: &mut HomeEffects<'_>) {
        let Some(tokens) = &mut self.tokens else {
            let words = "this server uses no tokens: auth.mode is open";
            return self.refuse(slot, ErrorCode::InvalidToken, words, reply, effects);
        };
        if tokens.refreshes.count(slot) >= REFRESHES_WAITING_MAX
            && let Some(wait) = tokens.verification.take_refresh(slot)
        {
            self.answer_refreshes(slot, wait.at_last(), effects);
        }
        if self.sessions.at(slot).phase != Phase::Open {
            return;
        }
        let refresh = || Refresh { token: token.into(), reply };
        if let Some(tokens) = &mut self.tokens
            && tokens.refreshes.count(slot) > 0
        {
            tokens.refreshes.push(slot, refresh(), effects.budget);
        } else if let Some(wait) = self.answer_refresh(slot, token, reply, None, effects) {
            self.keep_refreshes(slot, wait, VecDeque::from([refresh()]), effects);
        }
    }

    fn keep_refreshes(&mut self, slot: u32, wait: KeyWait, queue: VecDeque<Refresh>, effects: &mut HomeEffects<'_>) {
        let Some(tokens) = &mut self.tokens else { return };
        tokens.refreshes.put(slot, queue, effects.budget);
        tokens.verification.keep_refresh(slot, wait, effects);
    }

    /// Judges the first waiting refresh of a connection again, and those behind it that need not wait any longer.
    pub(super) fn answer_refreshes(&mut self, slot: u32, wait: KeyWait, effects: &mut HomeEffects<'_>) {
        let Some(tokens) = &mut self.tokens else { return };
        let mut queue = tokens.refreshes.take(slot, effects.budget);
        let mut waited = Some(wait);
        while let Some(refresh) = queue.pop_front() {
            // An answer may have ended the connection.
            if self.sessions.at(slot).phase != Phase::Open {
                return;
            }
            if let Some(wait) = self.answer_refresh(slot, &refresh.token, refresh.reply, waited.take(), effects) {
                queue.push_front(refresh);
                return self.keep_refreshes(slot, wait, queue, effects);
            }
        }
    }

    /// Judges a refresh and answers it, or returns how it waits.
    fn answer_refresh(
        &mut self,
        slot: u32,
        token: &str,
        reply: ReplyTo,
        waited: Option<KeyWait>,
        effects: &mut HomeEffects<'_>,
    ) -> Option<KeyWait> {
        let verification = &self.tokens.as_ref()?.verification;
        let (keys, has_place) = (verification.keys().clone(), verification.has_place_for_refresh());
        let token = match Token::read(token) {
            Ok(token) => token,
            Err(denied) => {
                self.deny_refresh(slot, &denied, 0, reply, effects);
                return None;
            }
        };
        let candidates = keys.candidates(&token, KeyWait::untried(waited.as_ref()));
        if waited.is_none()
            && let Err(retry_after_ms) = self.paces.try_take_checks(slot, candidates.count().max(1), effects.now)
        {
            let words = "token refresh rate limit exceeded for this connection";
            self.refuse_until(slot, (ErrorCode::RateLimited, words), Some(retry_after_ms), reply, effects);
            return None;
        }
        let Judged { result, checks, may_come } = judge(&keys, &token, &candidates, waited.as_ref(), effects);
        let denied = match result {
            Ok(access) if self.sessions.at(slot).user.as_ref() == Some(&access.user) => {
                self.take_refreshed(slot, *access, reply, effects);
                return None;
            }
            Ok(_) => Denied::new(Cause::OtherUser, "the token's claim `sub` is not this connection's user"),
            Err(denied) => denied,
        };
        if may_come {
            if waited.as_ref().map_or(has_place, |wait| !wait.is_over()) {
                self.charge_address(slot, checks, effects);
                return Some(KeyWait::go_on(waited, denied, effects.now.mono_ms()));
            }
            if keys.renewal().is_awaited() {
                self.note_refused_token(denied.cause, effects);
                let retry_after_ms = u64::from(NO_KEYS_RETRY_S) * 1_000;
                self.refuse_until(slot, (ErrorCode::Unavailable, NO_KEYS), Some(retry_after_ms), reply, effects);
                return None;
            }
        }
        self.deny_refresh(slot, &denied, checks, reply, effects);
        None
    }

    fn take_refreshed(&mut self, slot: u32, access: Access, reply: ReplyTo, effects: &mut HomeEffects<'_>) {
        let expires_at = access.expires_at;
        self.replace_token(slot, access, effects);
        self.reply(slot, &Reply::Refreshed { expires_at }, reply, effects);
        self.leave_forbidden(slot, effects);
    }

    fn deny_refresh(&mut self, slot: u32, denied: &Denied, checks: u32, reply: ReplyTo, effects: &mut HomeEffects<'_>) {
        self.charge_address(slot, checks, effects);
        self.note_refused_token(denied.cause, effects);
        self.refuse(slot, denied.code(), &denied.message, reply, effects);
        self.note_token_refused(slot, effects);
    }

    fn note_refused_token(&mut self, cause: Cause, effects: &mut HomeEffects<'_>) {
        if let Some(tokens) = &mut self.tokens {
            tokens.verification.note_refused(cause, effects);
        }
    }
}
