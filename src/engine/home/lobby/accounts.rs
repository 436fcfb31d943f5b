//! Requests about accounts (PROTOCOL section 1, "Accounts"): their heads, their bodies, and the answers that the service of
//! accounts gives. A socket that makes one stays in the lobby under the bounds of all sockets there, and ends after the
//! answer. Never hashes a password, and never knows an account.

use bytes::Bytes;

use super::checks::{at_capacity, connect_refusal, refusal};
use crate::base::codes::ErrorCode;
use crate::base::ids::{ConnId, UserName};
use crate::base::limits::{ACCOUNT_RETRY_MS, ACCOUNTS_WAITING_MAX};
use crate::engine::account_port::{AccountAnswer, AccountEvent, AccountRequest, AccountWork};
use crate::engine::home::state::accounts::{AccountStage, PendingAccount};
use crate::engine::home::verification::{NO_KEYS, NO_KEYS_RETRY_S};
use crate::engine::home::{Home, HomeEffects};
use crate::engine::hop::{ConnectRefusal, Hop, ToLimiter};
use crate::engine::limiter::core_of_address;
use crate::engine::outbox::{Outgoing, Role};
use crate::engine::session::Phase;
use crate::wire::account_body::{AccountBody, read_account_body};
use crate::wire::handshake::{
    AccountHead, AccountMethod, AccountPath, AnswerHeaders, HttpRefusal, json_response_with, no_content_response,
    refusal_response_with, without_content,
};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl Home {
    /// A client asks something about an account; `rest` has arrived after its head.
    pub(super) fn begin_account(
        &mut self,
        slot: u32,
        mut head: Box<AccountHead>,
        rest: &[u8],
        effects: &mut HomeEffects<'_>,
    ) {
        let forwarded = std::mem::take(&mut head.forwarded);
        let checked = self.find_client(slot, forwarded).and_then(|()| self.check_host(head.host.as_deref()));
        let served = || if self.settings.accounts.is_some() { Ok(()) } else { Err(HttpRefusal::not_found()) };
        let origin_checked = || self.check_origin(head.origin.as_deref(), head.host.as_deref());
        let is_head = matches!(head.method, AccountMethod::Other { is_head: true });
        if let Err(refusal) = checked.and_then(|()| served()).and_then(|()| origin_checked()) {
            return self.refuse_begun(slot, is_head, &AnswerHeaders::default(), &refusal, effects);
        }
        let headers = AnswerHeaders::readable_by(head.origin.as_deref());
        match self.body_of(slot, &head, effects) {
            Err(refusal) => self.refuse_begun(slot, is_head, &headers.with_methods(), &refusal, effects),
            Ok(None) => {
                let headers = headers.allowing_posts().with_methods();
                self.answer_head(slot, no_content_response(&headers, effects.now.unix_ms), effects);
            }
            Ok(Some(whole)) => {
                let goes_on = matches!(head.method, AccountMethod::Post { expects_continue: true, .. });
                let stage = AccountStage::Body { whole, part: Vec::new() };
                self.lobby.accounts.put(slot, Box::new(PendingAccount { head, headers, stage }), effects.budget);
                if goes_on && rest.len() < whole {
                    let bytes = Bytes::from_static(CONTINUE);
                    self.outboxes.push(slot, Outgoing { bytes, messages: 0, role: Role::Other }, effects.budget);
                }
                self.receive_body(slot, rest, effects);
            }
        }
    }

    /// Bytes of the body that a request announces; `None` for a question whether a page may make a request.
    fn body_of(
        &self,
        slot: u32,
        head: &AccountHead,
        effects: &mut HomeEffects<'_>,
    ) -> Result<Option<usize>, HttpRefusal> {
        let body_bytes = match &head.method {
            AccountMethod::Options => return Ok(None),
            AccountMethod::Other { .. } => {
                return Err(HttpRefusal::new(405, "method_not_allowed", "this path needs POST"));
            }
            AccountMethod::Post { body_bytes, .. } => body_bytes,
        };
        self.check_room(effects)?;
        if let Some(&retry_after_ms) = self.lobby.over_rate.get(&slot) {
            effects.counters.refused_limit.add(1);
            return Err(connect_refusal(ConnectRefusal::AddressRate { retry_after_ms }));
        }
        body_bytes.clone().map(Some)
    }

    /// Takes bytes of the body of a request about an account. Returns whether one waits.
    pub(super) fn receive_body(&mut self, slot: u32, bytes: &[u8], effects: &mut HomeEffects<'_>) -> bool {
        let Some(mut pending) = self.lobby.accounts.take(slot, effects.budget) else { return false };
        let AccountStage::Body { whole, part } = &mut pending.stage else {
            // The connection ends after the answer: what follows the body is not read.
            self.lobby.accounts.put(slot, pending, effects.budget);
            return true;
        };
        let missing = *whole - part.len();
        part.extend_from_slice(&bytes[..bytes.len().min(missing)]);
        if part.len() < *whole {
            self.lobby.accounts.put(slot, pending, effects.budget);
            self.bound_heads(effects);
            return true;
        }
        match self.work_of(&pending.head, part, effects) {
            Ok(work) => {
                pending.stage = AccountStage::Attempt(work);
                self.lobby.accounts.put(slot, pending, effects.budget);
                self.ask_for_attempt(slot, effects);
            }
            Err(refusal) => self.refuse_account(slot, &pending.headers, &refusal, effects),
        }
        true
    }

    /// What a request with this body asks.
    fn work_of(&self, head: &AccountHead, body: &[u8], effects: &HomeEffects<'_>) -> Result<AccountWork, HttpRefusal> {
        let bad_request = |message: String| HttpRefusal::new(400, "bad_request", message);
        let rules = self.settings.accounts.ok_or_else(HttpRefusal::not_found)?;
        if head.path == AccountPath::Register && !rules.anyone_registers {
            let message = "registration is closed: an operator makes the accounts of this server";
            return Err(refusal(403, ErrorCode::Forbidden, message, None));
        }
        let check_new =
            |field: &str, wrong: Result<(), String>| wrong.map_err(|why| bad_request(format!("`{field}` {why}")));
        match read_account_body(head.path, body).map_err(bad_request)? {
            AccountBody::Register { user, password, name } => {
                check_new("password", password.check_length(rules.password_chars_min))?;
                Ok(AccountWork::Register { user, password, name })
            }
            AccountBody::Token { user, password } => Ok(AccountWork::SignIn { user, password }),
            AccountBody::Password { password, new_password } => {
                check_new("new_password", new_password.check_length(rules.password_chars_min))?;
                let user = self.user_of_token(head.token.as_deref(), effects)?;
                Ok(AccountWork::ChangePassword { user, password, new_password })
            }
        }
    }

    /// The user of a request's token. Tokens of accounts are signed with one secret, so that this is one cheap check.
    fn user_of_token(&self, token: Option<&str>, effects: &HomeEffects<'_>) -> Result<UserName, HttpRefusal> {
        let keys = self.tokens.as_ref().map(|tokens| tokens.verification.keys());
        let Some(keys) = keys.filter(|keys| keys.count() > 0) else {
            return Err(refusal(503, ErrorCode::Unavailable, NO_KEYS, Some(NO_KEYS_RETRY_S)));
        };
        let Some(token) = token else {
            let message = "a token is required: pass it as `Authorization: Bearer`";
            return Err(refusal(401, ErrorCode::InvalidToken, message, None));
        };
        effects.counters.auth_checks.add(1);
        match keys.verify(token, effects.now.unix_ms) {
            Ok(access) => Ok(access.user),
            Err(denied) => {
                effects.counters.auth_refused.add(1);
                Err(HttpRefusal::new(401, denied.code().as_str(), denied.message))
            }
        }
    }

    /// Asks whether the client's address may make another attempt.
    fn ask_for_attempt(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        let address = self.slots.address(slot);
        let core = core_of_address(address, self.settings.cores);
        if core != self.core && effects.outbound.is_full(core) {
            let refusal = at_capacity("the queue to another core is full");
            return self.refuse_pending_account(slot, &refusal, effects);
        }
        let conn = self.sessions.at(slot).id(self.core, slot);
        effects.outbound.post(core, Hop::ToLimiter(ToLimiter::Attempt { conn, address }));
    }

    /// The limiter has judged an attempt: `Err` says in how many milliseconds the address may make another.
    pub(in crate::engine::home) fn attempt_judged(
        &mut self,
        conn: ConnId,
        judged: Result<(), u64>,
        effects: &mut HomeEffects<'_>,
    ) {
        let slot = conn.slot;
        if self.sessions.get(slot).is_none_or(|session| session.generation != conn.generation) {
            return;
        }
        let Some(mut pending) = self.lobby.accounts.take(slot, effects.budget) else { return };
        let AccountStage::Attempt(work) = pending.stage else {
            return self.lobby.accounts.put(slot, pending, effects.budget);
        };
        if let Err(retry_after_ms) = judged {
            effects.counters.refused_limit.add(1);
            let message = "too many requests about accounts from this address";
            let refusal = retry_later(429, ErrorCode::RateLimited, message, retry_after_ms);
            return self.refuse_account(slot, &pending.headers, &refusal, effects);
        }
        if self.lobby.accounts.asked() >= ACCOUNTS_WAITING_MAX {
            let refusal = busy(ACCOUNT_RETRY_MS);
            return self.refuse_account(slot, &pending.headers, &refusal, effects);
        }
        pending.stage = AccountStage::Asked { is_late: false };
        self.lobby.accounts.note_asked();
        self.lobby.accounts.put(slot, pending, effects.budget);
        let address = self.slots.address(slot);
        effects.output.accounts.push(AccountRequest { conn, address, work });
    }

    /// The service has answered a request.
    pub fn handle_account(&mut self, event: AccountEvent, effects: &mut HomeEffects<'_>) {
        self.lobby.accounts.note_answered();
        let AccountEvent { conn, answer } = event;
        let session = self.sessions.get(conn.slot);
        if session.is_none_or(|session| session.generation != conn.generation || session.phase != Phase::Head) {
            return;
        }
        let Some(pending) = self.lobby.accounts.take(conn.slot, effects.budget) else { return };
        let (slot, headers) = (conn.slot, pending.headers);
        let refusal = match answer {
            AccountAnswer::Token { token, expires_at, is_new } => {
                // A token consists of letters, digits and `-_.`, and so needs no escapes.
                let body = format!(r#"{{"token":"{token}","expires_at":{expires_at}}}"#);
                let status = if is_new { 201 } else { 200 };
                let answer = json_response_with(status, &headers.secret(), &body, effects.now.unix_ms);
                return self.answer_head(slot, answer, effects);
            }
            AccountAnswer::PasswordChanged => {
                return self.answer_head(slot, no_content_response(&headers, effects.now.unix_ms), effects);
            }
            AccountAnswer::InvalidCredentials => {
                HttpRefusal::new(401, "invalid_credentials", "the user is unknown or the password is wrong")
            }
            AccountAnswer::Locked => refusal(403, ErrorCode::Forbidden, "this account is locked", None),
            AccountAnswer::UserExists => {
                HttpRefusal::new(409, "user_exists", "there is an account of this user already")
            }
            AccountAnswer::TooManyFailures { retry_after_ms } => {
                effects.counters.refused_limit.add(1);
                let message = "too many wrong passwords for this user";
                retry_later(429, ErrorCode::RateLimited, message, retry_after_ms)
            }
            AccountAnswer::Overloaded { retry_after_ms } => busy(retry_after_ms),
            AccountAnswer::Unavailable { retry_after_ms } => {
                let message = "accounts are not available now; a change may have been made all the same";
                retry_later(503, ErrorCode::Unavailable, message, retry_after_ms)
            }
        };
        self.refuse_account(slot, &headers, &refusal, effects);
    }

    fn refuse_pending_account(&mut self, slot: u32, refusal: &HttpRefusal, effects: &mut HomeEffects<'_>) {
        if let Some(pending) = self.lobby.accounts.take(slot, effects.budget) {
            self.refuse_account(slot, &pending.headers, refusal, effects);
        }
    }

    fn refuse_begun(
        &mut self,
        slot: u32,
        is_head: bool,
        headers: &AnswerHeaders,
        refusal: &HttpRefusal,
        effects: &mut HomeEffects<'_>,
    ) {
        self.note_refusal(slot, refusal.status, refusal.error, effects);
        let answer = refusal_response_with(refusal, headers, effects.now.unix_ms);
        self.answer_head(slot, if is_head { without_content(&answer) } else { answer }, effects);
    }

    fn refuse_account(
        &mut self,
        slot: u32,
        headers: &AnswerHeaders,
        refusal: &HttpRefusal,
        effects: &mut HomeEffects<'_>,
    ) {
        self.refuse_begun(slot, false, headers, refusal, effects);
    }

    /// Renews the time limit of a request whose answer is under way. Returns whether it was renewed.
    pub(super) fn renew_account(&mut self, slot: u32, generation: u32, effects: &HomeEffects<'_>) -> bool {
        let is_renewed = self.lobby.accounts.renew(slot);
        if is_renewed {
            self.lobby.expect_request(effects.now, slot, generation);
        }
        is_renewed
    }
}

fn busy(retry_after_ms: u64) -> HttpRefusal {
    retry_later(503, ErrorCode::Overloaded, "too many requests about accounts wait already", retry_after_ms)
}

fn retry_later(status: u16, code: ErrorCode, message: &str, retry_after_ms: u64) -> HttpRefusal {
    let retry_after_s = u32::try_from(retry_after_ms.div_ceil(1_000)).unwrap_or(u32::MAX);
    refusal(status, code, message, Some(retry_after_s.max(1)))
}
