//! Reads HTTP request heads and answers those that ask for no WebSocket (PROTOCOL section 1). Never decides who is let in.

use bytes::Bytes;

use crate::base::limits::{HEAD_BYTES_MAX, HEALTH_PATH, WS_PATH};
use crate::engine::home::{Home, HomeEffects};
use crate::engine::outbox::{Outgoing, Role};
use crate::engine::session::Phase;
use crate::wire::handshake::{
    AccountHead, Head, HttpRefusal, HttpRequest, Upgrade, json_response, parse_head_offering, refusal_response,
    without_content,
};

/// The body of `/health` while every upgrade is refused because there are no keys.
const NO_KEYS: &str = concat!(
    r#"{"status":"degraded","error":"unavailable","#,
    r#""message":"the keys that verify tokens have not been fetched yet: every upgrade is refused"}"#
);

impl Home {
    pub(in crate::engine::home) fn receive_head(&mut self, slot: u32, bytes: &mut [u8], effects: &mut HomeEffects<'_>) {
        if self.receive_early(slot, bytes, effects) || self.receive_body(slot, bytes, effects) {
            return;
        }
        let Some(part) = self.lobby.heads.take(slot, effects.budget) else {
            return self.read_head(slot, bytes, effects);
        };
        let mut whole = part.into_vec();
        let new = whole.len();
        whole.extend_from_slice(bytes);
        // Parsed again only when a line has ended, so that a head sent byte by byte costs no more than its lines.
        if whole[new..].contains(&b'\n') || whole.len() > HEAD_BYTES_MAX {
            self.read_head(slot, &mut whole, effects);
        } else {
            self.keep_head(slot, &whole, effects);
        }
    }

    fn keep_head(&mut self, slot: u32, received: &[u8], effects: &mut HomeEffects<'_>) {
        self.lobby.heads.keep(slot, received, effects.budget);
        self.bound_heads(effects);
    }

    fn read_head(&mut self, slot: u32, received: &mut [u8], effects: &mut HomeEffects<'_>) {
        let (answer, is_head) = match parse_head_offering(self.settings.dialects, received) {
            Head::Incomplete => return self.keep_head(slot, received, effects),
            Head::Refused { refusal, is_head } => (Err(refusal), is_head),
            Head::Complete { used, request } => {
                let is_head = matches!(request, HttpRequest::Get { is_head: true, .. });
                match self.route(request, effects) {
                    Ok(Requested::Account(head)) => {
                        return self.begin_account(slot, head, &received[used..], effects);
                    }
                    Ok(Requested::Upgrade(upgrade)) => {
                        return self.admit(slot, upgrade, &mut received[used..], effects);
                    }
                    Ok(Requested::Answer(answer)) => (Ok(answer), is_head),
                    Err(refusal) => (Err(refusal), is_head),
                }
            }
        };
        let answer = answer.unwrap_or_else(|refusal| self.refused(slot, &refusal, effects));
        self.answer_head(slot, if is_head { without_content(&answer) } else { answer }, effects);
    }

    fn route(&self, request: HttpRequest, effects: &HomeEffects<'_>) -> Result<Requested, HttpRefusal> {
        let is_socket =
            |path: &str| path == WS_PATH || (!self.settings.echo_path.is_empty() && path == self.settings.echo_path);
        match request {
            HttpRequest::Get { path, host, .. } => {
                self.check_host(host.as_deref())?;
                match path.as_str() {
                    HEALTH_PATH => Ok(Requested::Answer(self.health(effects.now.unix_ms))),
                    path if is_socket(path) => Err(HttpRefusal::upgrade_required()),
                    _ => Err(HttpRefusal::not_found()),
                }
            }
            HttpRequest::Account(head) => Ok(Requested::Account(head)),
            HttpRequest::BadUpgrade { path, refusal } if is_socket(&path) => Err(refusal),
            HttpRequest::Upgrade(upgrade) if is_socket(&upgrade.path) => Ok(Requested::Upgrade(upgrade)),
            HttpRequest::BadUpgrade { .. } | HttpRequest::Upgrade(_) => Err(HttpRefusal::not_found()),
        }
    }

    fn health(&self, unix_ms: u64) -> Bytes {
        if self.is_draining() {
            json_response(503, r#"{"status":"draining"}"#, unix_ms)
        } else if self.tokens.as_ref().is_some_and(|tokens| tokens.verification.lacks_keys()) {
            json_response(503, NO_KEYS, unix_ms)
        } else {
            json_response(200, r#"{"status":"ok"}"#, unix_ms)
        }
    }

    pub(super) fn refuse_head(&mut self, slot: u32, refusal: &HttpRefusal, effects: &mut HomeEffects<'_>) {
        let answer = self.refused(slot, refusal, effects);
        self.answer_head(slot, answer, effects);
    }

    /// Counts a refusal and gives its HTTP answer.
    fn refused(&self, slot: u32, refusal: &HttpRefusal, effects: &mut HomeEffects<'_>) -> Bytes {
        self.note_refusal(slot, refusal.status, refusal.error, effects);
        refusal_response(refusal, effects.now.unix_ms)
    }

    /// Answers without opening a connection; the socket ends after the answer.
    pub(super) fn answer_head(&mut self, slot: u32, answer: Bytes, effects: &mut HomeEffects<'_>) {
        effects.counters.upgrading.sub(1);
        self.outboxes.push(slot, Outgoing { bytes: answer, messages: 0, role: Role::Other }, effects.budget);
        self.end_after_sending(slot, Phase::Lingering, effects);
    }
}

/// The purpose of a request.
enum Requested {
    /// An answer, and then the end.
    Answer(Bytes),
    /// Something about an account.
    Account(Box<AccountHead>),
    /// A WebSocket.
    Upgrade(Box<Upgrade>),
}
