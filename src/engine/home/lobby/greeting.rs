//! Connections that are upgraded before their user is known, because their dialect identifies by message
//! ([`Identifies::ByMessage`](crate::wire::dialect::Identifies)). The first message then takes the place of the upgrade's
//! token and user; until it has arrived, the socket stays in the lobby under the bounds of all sockets there. Never reads a
//! second message, and never judges a token or a user.

use std::borrow::Cow;

use crate::base::codes::{CloseCode, ErrorCode};
use crate::base::ids::UserName;
use crate::base::limits::GREETING_BYTES_MAX;
use crate::engine::home::{Home, HomeEffects};
use crate::engine::session::{Marks, Phase};
use crate::wire::deflate::Inflater;
use crate::wire::frame::close_frame;
use crate::wire::handshake::HttpRefusal;
use crate::wire::message::{Decoder, Event, ProtocolError};
use crate::wire::protocol::{BAD_COMMAND, BadRequest, Command, Request};

/// Who a client says it is.
#[derive(Debug)]
pub(super) struct Credentials {
    pub(super) token: Option<String>,
    /// Checked: a valid name.
    pub(super) user: Option<String>,
}

/// How a client begins after its upgrade.
enum Greeting {
    /// With a message: one that identifies it, or another one, which is refused.
    Message(Result<Credentials, HttpRefusal>),
    /// With a close frame of this status.
    Close(Option<u16>),
}

impl Home {
    /// Awaits the first message of a client that was upgraded; `early` has arrived after its head.
    pub(super) fn await_greeting(&mut self, slot: u32, early: &mut [u8], effects: &mut HomeEffects<'_>) {
        self.sessions.at_mut(slot).phase = Phase::Greeting;
        self.lobby.count_greeting(slot, Some(0));
        self.receive_greeting(slot, early, effects);
        if self.lobby.awaits_greeting(slot) && self.sessions.at(slot).marks.has(Marks::HALF_CLOSED) {
            self.abandon_greeting(slot, effects);
        }
    }

    /// Receives bytes of a client that was upgraded and is not let in yet.
    pub(in crate::engine::home) fn receive_greeting(
        &mut self,
        slot: u32,
        bytes: &mut [u8],
        effects: &mut HomeEffects<'_>,
    ) {
        if !self.lobby.awaits_greeting(slot) {
            self.receive_early(slot, bytes, effects);
            return;
        }
        let mut decoder = std::mem::take(&mut self.sessions.at_mut(slot).decoder);
        effects.budget.release(decoder.held_bytes());
        let mut inflater = std::mem::take(effects.inflater);
        let read = self.read_greeting(slot, &mut decoder, &mut inflater, bytes, effects);
        inflater.let_go();
        *effects.inflater = inflater;
        let (used, greeting) = match read {
            Ok(read) => read,
            Err(error) => return self.refuse_unreadable(slot, error, effects),
        };
        let held = decoder.held_bytes();
        self.sessions.at_mut(slot).decoder = decoder;
        effects.budget.charge(held);
        match greeting {
            None => {
                self.lobby.count_greeting(slot, Some(held));
                return self.bound_heads(effects);
            }
            Some(Greeting::Message(Ok(credentials))) => self.greeted(slot, credentials, effects),
            Some(Greeting::Message(Err(refusal))) => self.turn_away(slot, &refusal, effects),
            Some(Greeting::Close(status)) => {
                self.leave_greeting(slot, effects);
                self.answer_close(slot, status, effects);
            }
        }
        match self.sessions.at(slot).phase {
            Phase::Open => self.receive_messages(slot, &mut bytes[used..], effects),
            Phase::Greeting => drop(self.receive_early(slot, &bytes[used..], effects)),
            _ => {}
        }
    }

    /// Reads up to the first message or close frame and answers pings before it. Returns how many bytes it has used.
    fn read_greeting(
        &mut self,
        slot: u32,
        decoder: &mut Decoder,
        inflater: &mut Inflater,
        bytes: &mut [u8],
        effects: &mut HomeEffects<'_>,
    ) -> Result<(usize, Option<Greeting>), ProtocolError> {
        let is_compressed = self.sessions.at(slot).reading.is_some_and(|reading| reading.window().is_some());
        let mut used = 0;
        loop {
            let rest = &mut bytes[used..];
            let decoded = if is_compressed {
                decoder.next_inflated(rest, GREETING_BYTES_MAX, inflater)?
            } else {
                decoder.next(rest, GREETING_BYTES_MAX)?
            };
            used += decoded.used;
            let Some(event) = decoded.event else { return Ok((used, None)) };
            let dialect = self.dialect(slot);
            let request = match event {
                Event::Text(text) => (dialect.read_text)(text),
                Event::Binary(message) => (dialect.read_binary)(message),
                Event::Close(status) => return Ok((used, Some(Greeting::Close(status.map(|(code, _)| code))))),
                Event::Ping(payload) => {
                    self.hear_ping(slot, payload, effects);
                    continue;
                }
                Event::Pong(_) => continue,
            };
            let kind = request.as_ref().map_or(BAD_COMMAND, |request| request.command.index());
            effects.counters.causes.command(kind);
            let credentials = credentials(request);
            self.count_message(slot, effects);
            return Ok((used, Some(Greeting::Message(credentials))));
        }
    }

    /// Refuses a client whose frames violate the protocol.
    fn refuse_unreadable(&mut self, slot: u32, error: ProtocolError, effects: &mut HomeEffects<'_>) {
        self.stop_waiting(slot, effects);
        self.note_refusal(slot, 400, "bad_request", effects);
        self.answer_head(slot, close_frame(error.code.number(), error.what), effects);
    }

    /// Refuses a client that was not identified in time.
    pub(super) fn greeting_expired(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        self.stop_waiting(slot, effects);
        self.note_refusal(slot, 0, "greeting_timeout", effects);
        let reason = "the connection was not identified in time";
        self.answer_head(slot, close_frame(CloseCode::Heartbeat.number(), reason), effects);
    }

    /// The client has ended its stream without identifying itself: it gets what is queued, and no connection.
    pub(in crate::engine::home) fn abandon_greeting(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        self.leave_greeting(slot, effects);
        self.end_after_sending(slot, Phase::Ending, effects);
    }

    fn leave_greeting(&mut self, slot: u32, effects: &mut HomeEffects<'_>) {
        self.stop_waiting(slot, effects);
        effects.counters.upgrading.sub(1);
    }
}

/// The credentials in a first message.
///
/// # Errors
/// 401: it is another command. 400: it cannot be read as a command, or its user is not a valid name.
fn credentials(request: Result<Request<'_>, BadRequest>) -> Result<Credentials, HttpRefusal> {
    match request {
        Ok(Request { command: Command::Identify { token, user }, .. }) => {
            if let Some(Err(error)) = user.as_deref().map(UserName::new) {
                return Err(bad_request(format!("user {error}")));
            }
            Ok(Credentials { token: token.map(Cow::into_owned), user: user.map(Cow::into_owned) })
        }
        Ok(_) => {
            let words = "the first message must identify the connection";
            Err(HttpRefusal::new(401, ErrorCode::InvalidToken.as_str(), words))
        }
        Err(bad) => Err(bad_request(bad.message)),
    }
}

fn bad_request(message: String) -> HttpRefusal {
    HttpRefusal::new(400, "bad_request", message)
}
