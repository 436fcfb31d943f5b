//! From an accepted socket to an open WebSocket: the HTTP request head and its answer (PROTOCOL section 1). Who is let in
//! is decided in `admission`.

use bytes::Bytes;

use super::commands::Ask;
use super::{Home, HomeEffects};
use crate::base::ids::{Epoch, UserName};
use crate::base::limits::{HEAD_BYTES_MAX, HEALTH_PATH, WS_PATH};
use crate::engine::access::Access;
use crate::engine::outbox::{Outgoing, Role};
use crate::engine::session::{Marks, Phase};
use crate::engine::table;
use crate::wire::encode::encode_push;
use crate::wire::form::Form;
use crate::wire::handshake::{
    Head, HttpRequest, Refusal, Upgrade, accept_deflate_response, accept_response, json_response, parse_head,
    refusal_response, without_content,
};
use crate::wire::protocol::{Push, Recover, ReplyTo};
use crate::wire::reading::Reading;

/// What `/health` says while every upgrade is refused for lack of keys.
const NO_KEYS: &str = concat!(
    r#"{"status":"degraded","error":"unavailable","#,
    r#""message":"the keys that verify tokens have not been obtained yet: every upgrade is refused"}"#
);

impl Home {
    pub(super) fn receive_head(&mut self, slot: u32, bytes: &mut [u8], effects: &mut HomeEffects<'_>) {
        if self.receive_early(slot, bytes, effects) {
            return;
        }
        let Some(part) = self.take_head(slot) else {
            return self.read_head(slot, bytes, effects);
        };
        effects.budget.release(part.len());
        let mut whole = part.into_vec();
        let new = whole.len();
        whole.extend_from_slice(bytes);
        // A head is read again only when a line has ended: one that comes byte by byte costs no more than its lines.
        if whole[new..].contains(&b'\n') || whole.len() > HEAD_BYTES_MAX {
            self.read_head(slot, &mut whole, effects);
        } else {
            self.keep_head(slot, &whole, effects);
        }
    }

    /// The part of a request head that has arrived.
    pub(super) fn take_head(&mut self, slot: u32) -> Option<Box<[u8]>> {
        let head = self.heads.remove(&slot);
        self.heads_bytes -= head.as_ref().map_or(0, |head| head.len());
        table::shrink(&mut self.heads);
        head
    }

    fn keep_head(&mut self, slot: u32, received: &[u8], effects: &mut HomeEffects<'_>) {
        effects.budget.charge(received.len());
        self.heads_bytes += received.len();
        self.heads.insert(slot, received.into());
        self.bound_heads(effects);
    }

    fn read_head(&mut self, slot: u32, received: &mut [u8], effects: &mut HomeEffects<'_>) {
        let (answer, is_head) = match parse_head(received) {
            Head::Incomplete => return self.keep_head(slot, received, effects),
            Head::Refused { refusal, is_head } => (Err(refusal), is_head),
            Head::Complete { used, request } => {
                let is_head = matches!(request, HttpRequest::Get { is_head: true, .. });
                match self.route(request, effects) {
                    Ok(Route::Open(upgrade)) => return self.admit(slot, upgrade, &mut received[used..], effects),
                    Ok(Route::Answer(answer)) => (Ok(answer), is_head),
                    Err(refusal) => (Err(refusal), is_head),
                }
            }
        };
        let answer = answer.unwrap_or_else(|refusal| self.refused(slot, &refusal, effects));
        self.answer_head(slot, if is_head { without_content(&answer) } else { answer }, effects);
    }

    fn route(&self, request: HttpRequest, effects: &HomeEffects<'_>) -> Result<Route, Refusal> {
        let is_socket =
            |path: &str| path == WS_PATH || (!self.settings.echo_path.is_empty() && path == self.settings.echo_path);
        match request {
            HttpRequest::Get { path, host, .. } => {
                self.check_host(host.as_deref())?;
                match path.as_str() {
                    HEALTH_PATH => Ok(Route::Answer(self.health(effects.now.unix_ms))),
                    path if is_socket(path) => Err(Refusal::upgrade_required()),
                    _ => Err(Refusal::not_found()),
                }
            }
            HttpRequest::BadUpgrade { path, refusal } if is_socket(&path) => Err(refusal),
            HttpRequest::Upgrade(upgrade) if is_socket(&upgrade.path) => Ok(Route::Open(upgrade)),
            HttpRequest::BadUpgrade { .. } | HttpRequest::Upgrade(_) => Err(Refusal::not_found()),
        }
    }

    fn health(&self, unix_ms: u64) -> Bytes {
        if self.draining {
            json_response(503, r#"{"status":"draining"}"#, unix_ms)
        } else if self.tokens.as_ref().is_some_and(|tokens| tokens.verification.lacks_keys()) {
            json_response(503, NO_KEYS, unix_ms)
        } else {
            json_response(200, r#"{"status":"ok"}"#, unix_ms)
        }
    }

    pub(super) fn refuse_head(&mut self, slot: u32, refusal: &Refusal, effects: &mut HomeEffects<'_>) {
        let answer = self.refused(slot, refusal, effects);
        self.answer_head(slot, answer, effects);
    }

    /// The answer that says so; it is counted.
    fn refused(&self, slot: u32, refusal: &Refusal, effects: &mut HomeEffects<'_>) -> Bytes {
        self.note_refusal(slot, refusal.status, refusal.error, effects);
        refusal_response(refusal, effects.now.unix_ms)
    }

    /// Answers without opening a connection: the socket ends after it.
    pub(super) fn answer_head(&mut self, slot: u32, answer: Bytes, effects: &mut HomeEffects<'_>) {
        effects.counters.upgrading.sub(1);
        self.outboxes.push(slot, Outgoing { bytes: answer, messages: 0, role: Role::Other }, effects.budget);
        self.end_after_sending(slot, Phase::Lingering, effects);
    }

    pub(super) fn open(
        &mut self,
        slot: u32,
        upgrade: &Upgrade,
        user: UserName,
        access: Option<Box<Access>>,
        effects: &mut HomeEffects<'_>,
    ) {
        let form = upgrade.subprotocol.unwrap_or(Form::Json);
        let deflate = upgrade.deflate.filter(|_| self.settings.compression.is_some());
        let session = self.sessions.at_mut(slot);
        let opening_us = session.take_opening_us(effects.now);
        session.phase = Phase::Open;
        session.reading = Some(Reading::new(form, deflate.map(|offer| offer.window)));
        if upgrade.path != WS_PATH {
            session.marks.set(Marks::ECHO);
        }
        if self.settings.limits.message_rate_per_user.is_some() {
            session.marks.set(Marks::COUNTED_MESSAGES);
        }
        effects.budget.charge_standing(self.connection_bytes + user.len());
        session.user = Some(user.clone());
        let (id, echo) = (session.id(self.core, slot), session.marks.has(Marks::ECHO));
        self.expect_idle(slot, effects.now);
        self.open += 1;
        self.websockets += 1;
        effects.counters.upgrading.sub(1);
        effects.counters.connections.add(1);
        effects.counters.upgrade.record(opening_us, 1);
        let bytes = if deflate.is_some() { accept_deflate_response(upgrade) } else { accept_response(upgrade) };
        let accept = Outgoing { bytes, messages: 0, role: Role::Opening };
        self.outboxes.push(slot, accept, effects.budget);
        let name = access.as_ref().and_then(|access| access.name.clone());
        if let Some(access) = access {
            self.hold_token(slot, *access, effects);
        }
        if echo {
            return;
        }
        let session = format!("{:016x}{:016x}", self.random.next_u64(), self.random.next_u64());
        let welcome = Push::Welcome {
            connection: &id.to_string(),
            user: &user,
            name: name.as_deref(),
            session: &session,
            node: &self.settings.node,
            heartbeat_ms: self.settings.heartbeat_interval_ms,
            max_message_bytes: self.settings.max_message_bytes as u64,
        };
        let welcome = encode_push(&welcome, form);
        self.say(slot, welcome, effects);
        self.join_by_query(slot, upgrade, form, effects);
    }

    fn join_by_query(&mut self, slot: u32, upgrade: &Upgrade, form: Form, effects: &mut HomeEffects<'_>) {
        let recover = upgrade.last_received_seq.filter(|_| upgrade.rooms.len() == 1);
        let epoch = upgrade.epoch.as_deref().map(Epoch::from_text);
        let ask = Ask { recover: recover.map(|seq| Recover { seq, epoch }), history: None };
        self.count_joins(slot, upgrade.rooms.len(), effects.now);
        for room in &upgrade.rooms {
            let session = self.sessions.at(slot);
            if session.phase != Phase::Open {
                return;
            }
            // Named before: each join of one room would be answered by its history again.
            let audience = self.audiences.find(room);
            if session.memberships.iter().any(|membership| Some(membership.audience) == audience) {
                continue;
            }
            self.join(slot, room, ask, ReplyTo { id: None, form }, true, effects);
        }
    }
}

enum Route {
    /// Say this and end.
    Answer(Bytes),
    /// Open the WebSocket.
    Open(Box<Upgrade>),
}
