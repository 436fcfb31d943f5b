//! A client's side of one connection: bytes to messages, the handshake, pings, and whether the connection's end is legal.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use roomring::wire::form::Form;

use super::super::codec::{self, ServerFrame, opcode};
use super::super::hear::{self, Heard};
use super::super::judge::ConnKey;
use super::super::profile::Mode;
use super::super::rng::Rng;
use super::super::view::{HistoryAsk, JoinAsk, View};
use super::{Client, Context, Effect, answer};

/// What a session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The answer to the request head.
    Head,
    /// An HTTP answer came instead of a WebSocket: the end.
    Refused,
    /// Messages.
    Open,
}

/// Whether the client is a member when the server reads the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    /// Surely.
    Yes,
    /// Surely not.
    No,
    /// It depends on answers that are not there yet.
    Maybe,
}

/// A command that waits for its reply.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Its number on this connection.
    pub number: u64,
    /// What was asked.
    pub what: What,
    /// Where (0 for commands without a room).
    pub room: usize,
    /// Whether the client was a member.
    pub member: Member,
    /// Rooms that the connection might have been a member of, when it was asked.
    pub rooms: usize,
}

/// What was asked.
#[derive(Clone, Debug)]
pub enum What {
    /// `join`.
    Join(JoinAsk),
    /// `leave`.
    Leave,
    /// `publish` of a content.
    Publish(usize),
    /// `history`.
    History(HistoryAsk),
    /// `presence`, of so many users.
    Presence(u64),
    /// `typing`.
    Typing,
    /// `receipt`.
    Receipt,
    /// `status`, away or not.
    Status(bool),
    /// `ping`, with the binary form's value.
    Ping(u64),
    /// Something wrong: it must be answered by one of these codes.
    Wrong(&'static [&'static str]),
}

/// A client's side of one connection.
pub struct Session {
    /// Which connection.
    pub conn: ConnKey,
    /// What it waits for.
    pub phase: Phase,
    received: Vec<u8>,
    /// The form of pushes.
    pub form: Form,
    /// The status that the request head must get; 101 for a WebSocket.
    pub expected_status: u16,
    /// The accept key and subprotocol that a 101 must show.
    pub expected_upgrade: (String, Option<&'static str>),
    /// The `Sec-WebSocket-Extensions` that a 101 must show.
    pub expected_extensions: Option<String>,
    /// Compression will be agreed.
    pub deflate: bool,
    /// Draws that concern compression.
    pub deflate_rng: Rng,
    /// Its user, once known.
    pub user: Option<Rc<str>>,
    /// Commands sent.
    pub commands: u64,
    /// What its last `status` said.
    pub away: bool,
    /// By room.
    pub views: Vec<View>,
    /// JSON commands by `id`.
    pub asks: BTreeMap<u64, Ask>,
    /// Binary commands in order.
    pub binary_asks: VecDeque<Ask>,
    /// An error to one of several binary commands: which one it was is not told.
    pub binary_errors: usize,
    /// JSON commands without `id`: only errors come back.
    pub silent_asks: Vec<Ask>,
    /// Its publishes that were acknowledged and that it wants to see, by room: the command's number and the position.
    pub own: Vec<Vec<(u64, (u64, u64))>>,
    /// Rooms of the request's query, whose `joined` come without being asked for again.
    pub query_joins: Vec<(usize, JoinAsk)>,
    /// WebSocket pings that were not answered yet.
    pub pings: Vec<Vec<u8>>,
    /// It broke the protocol: the close codes that answer that, and none at all if 0 is one of them.
    pub broke: Option<&'static [u16]>,
    /// It said goodbye: by a close frame or the end of its stream.
    pub leaving: bool,
    /// It ended its stream.
    pub ended: bool,
    /// It wrote a close frame, whole.
    pub said_close: bool,
    /// It has been a stuck reader.
    pub stuck: bool,
    /// The close code that came.
    pub closed: Option<u16>,
    /// The reason of a `reconnect`.
    pub reconnect: Option<String>,
    written_us: u64,
    /// What was asked since the trace was written, if there is one.
    said: Option<Vec<String>>,
}

impl Session {
    /// A connection whose head is about to be sent.
    pub fn new(conn: ConnKey, context: &mut Context<'_>) -> Self {
        Self {
            conn,
            phase: Phase::Head,
            received: Vec::new(),
            form: Form::Json,
            expected_status: 101,
            expected_upgrade: (String::new(), None),
            expected_extensions: None,
            deflate: false,
            deflate_rng: Rng::salted(context.profile.seed, "deflate", conn as u64),
            user: None,
            commands: 0,
            away: false,
            views: vec![View::default(); context.rooms.len()],
            asks: BTreeMap::new(),
            binary_asks: VecDeque::new(),
            binary_errors: 0,
            silent_asks: Vec::new(),
            own: vec![Vec::new(); context.rooms.len()],
            query_joins: Vec::new(),
            pings: Vec::new(),
            broke: None,
            leaving: false,
            ended: false,
            said_close: false,
            stuck: false,
            closed: None,
            reconnect: None,
            written_us: context.now_us,
            said: context.judge.is_tracing().then(Vec::new),
        }
    }

    /// Whether a WebSocket was asked for.
    pub fn is_upgrade(&self) -> bool {
        self.expected_status == 101
    }

    /// What was asked since this was called last, for the trace.
    pub fn take_said(&mut self) -> Vec<String> {
        self.said.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Whether commands make sense.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open && self.closed.is_none() && !self.leaving && self.broke.is_none()
    }

    /// Something that contains a whole frame was written.
    pub fn wrote(&mut self, now_us: u64) {
        self.written_us = now_us;
    }

    /// Commands whose replies have not come: each reply of a binary command, errors too, takes one away.
    pub fn outstanding(&self) -> usize {
        self.asks.len() + self.binary_asks.len().saturating_sub(self.binary_errors) + self.query_joins.len()
    }

    /// Bytes from the server.
    pub fn read(&mut self, bytes: &[u8], client: &mut Client, context: &mut Context<'_>, effects: &mut Vec<Effect>) {
        self.received.extend_from_slice(bytes);
        if self.phase == Phase::Head && !self.read_head(context) {
            return;
        }
        while self.phase == Phase::Open {
            match codec::take_frame(&mut self.received) {
                Ok(None) => return,
                Ok(Some(frame)) => self.read_frame(frame, client, context, effects),
                Err(what) => return context.judge.fail(|| format!("connection {}: {what}", self.conn)),
            }
            if context.judge.verdict().is_some() {
                return;
            }
        }
    }

    /// Reads the answer to the request head; whether it is there.
    fn read_head(&mut self, context: &mut Context<'_>) -> bool {
        let conn = self.conn;
        let answer = match codec::read_http(&self.received) {
            Ok(Some(answer)) => answer,
            Ok(None) => return false,
            Err(what) => {
                context.judge.fail(|| format!("connection {conn}: {what}"));
                return false;
            }
        };
        context.judge.note(|| format!("connection {conn} <- HTTP {}", answer.status));
        if answer.status == 101 {
            let key = answer.header("sec-websocket-accept");
            let sound = key == Some(&self.expected_upgrade.0)
                && answer.header("sec-websocket-protocol") == self.expected_upgrade.1
                && answer.header("sec-websocket-extensions") == self.expected_extensions.as_deref()
                && answer.header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
                && self.expected_status == 101;
            context.judge.check(sound, || format!("connection {conn}: a wrong 101: {answer:?}"));
            context.judge.seen.opened += 1;
            self.phase = Phase::Open;
        } else {
            self.phase = Phase::Refused;
            let busy = answer.status == 503 || answer.status == 429;
            let faults = &context.profile.faults;
            let limited = answer.status == 429 && context.profile.limits_connects();
            let legal_busy = faults.drain > 0.0 || context.profile.is_tight() || limited;
            let sound = answer.status == self.expected_status || (busy && legal_busy) || self.broke.is_some();
            context.judge.check(sound, || format!("connection {conn} expected {}: {answer:?}", self.expected_status));
            let told = !busy || answer.header("retry-after").is_some() || self.expected_status != 101;
            context.judge.check(told, || format!("connection {conn}: no Retry-After in {answer:?}"));
        }
        self.received = answer.rest;
        true
    }

    fn read_frame(
        &mut self,
        frame: ServerFrame,
        client: &mut Client,
        context: &mut Context<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let conn = self.conn;
        let closed = self.closed;
        context.judge.check(closed.is_none(), || format!("connection {conn}: {frame:?} after close {closed:?}"));
        let deflate = self.deflate;
        context.judge.check(deflate || !frame.compressed, || format!("connection {conn}: compressed unasked"));
        context.judge.seen.compressed += u64::from(frame.compressed);
        match frame.opcode {
            opcode::TEXT | opcode::BINARY => {
                let form = if frame.opcode == opcode::TEXT { Form::Json } else { Form::Binary };
                match hear::read(form, &frame.payload) {
                    Ok(heard) => self.hear(heard, client, context),
                    Err(what) => context.judge.fail(|| format!("connection {conn}: {what}")),
                }
            }
            opcode::PING if !self.leaving && self.broke.is_none() => {
                let mut bytes = Vec::new();
                codec::write_message(&mut bytes, opcode::PONG, &frame.payload, client.rng());
                self.wrote(context.now_us);
                effects.push(Effect::Write(bytes));
            }
            opcode::PONG => {
                let known = self.pings.iter().position(|ping| *ping == frame.payload);
                context.judge.check(known.is_some(), || format!("connection {conn}: a pong to no ping of it"));
                // A pong may answer only the newest of several pings (RFC 6455 section 5.5.3).
                self.pings.drain(..known.map_or(0, |at| at + 1));
            }
            opcode::CLOSE => self.read_close(&frame.payload, client, context, effects),
            _ => {}
        }
    }

    fn hear(&mut self, heard: Heard, client: &mut Client, context: &mut Context<'_>) {
        let conn = self.conn;
        context.judge.note(|| format!("connection {conn} <- {}", shorten(&format!("{heard:?}"))));
        answer::hear(self, heard, client, context);
    }

    fn read_close(
        &mut self,
        payload: &[u8],
        client: &mut Client,
        context: &mut Context<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let conn = self.conn;
        let code = match payload {
            [high, low, reason @ ..] if std::str::from_utf8(reason).is_ok() => u16::from_be_bytes([*high, *low]),
            [] => 1005,
            _ => return context.judge.fail(|| format!("connection {conn}: a close frame of {payload:?}")),
        };
        context.judge.note(|| format!("connection {conn} <- close {code}"));
        context.judge.seen.closes += 1;
        self.closed = Some(code);
        let legal = self.close_is_legal(code, context);
        context.judge.check(legal, || {
            format!(
                "connection {conn} was closed {code}: broke {:?}, leaving {}, stuck {}",
                self.broke, self.leaving, self.stuck
            )
        });
        if !self.leaving {
            self.leaving = true;
            match client.rng().below(3) {
                0 => {
                    let mut bytes = Vec::new();
                    codec::write_message(&mut bytes, opcode::CLOSE, payload, client.rng());
                    effects.push(Effect::Write(bytes));
                }
                1 => {
                    self.ended = true;
                    effects.push(Effect::Fin);
                }
                _ => {}
            }
        }
    }

    fn close_is_legal(&self, code: u16, context: &Context<'_>) -> bool {
        let profile = context.profile;
        let faults = &profile.faults;
        let own = self.broke.is_some_and(|codes| codes.contains(&code)) || (self.leaving && code == 1000);
        let silent_us = context.now_us - self.written_us;
        let late_us = 2 * faults.stall_us + 2 * faults.tick_late_us + 1_000_000;
        own || match code {
            1012 => faults.drain > 0.0 && self.reconnect.as_deref() == Some("draining"),
            1013 => profile.is_tight(),
            4429 => profile.limits_rate(true),
            4408 => silent_us + late_us >= profile.settings.heartbeat_timeout_ms * 1_000,
            // Whoever reads is not slow, whatever waits.
            4413 => self.stuck || profile.is_tight(),
            _ => false,
        }
    }

    /// Judges the end of the server's stream; `excused` when the world knows a reason.
    pub fn judge_end(&self, excused: bool, context: &mut Context<'_>) {
        let conn = self.conn;
        let broke = self.broke.is_some_and(|codes| codes.contains(&0));
        // Whoever ends its stream still gets the answer to its request head and to its close frame.
        let is_owed = self.phase == Phase::Head || self.said_close;
        let told = self.closed.is_some() || self.phase == Phase::Refused || (self.ended && !is_owed);
        // A head that never becomes complete, or a slow reader whose close frame never got through.
        let cut_off = (self.phase == Phase::Head && self.broke.is_some()) || self.stuck || context.profile.is_tight();
        context.judge.check(excused || told || broke || cut_off, || {
            format!(
                "connection {conn} ended without a word: {:?}, broke {:?}, leaving {}",
                self.phase, self.broke, self.leaving
            )
        });
        let whole = self.received.is_empty() || excused || self.phase == Phase::Refused || self.stuck;
        context.judge.check(whole || self.broke.is_some(), || {
            format!("connection {conn} ended inside a frame after close {:?}", self.closed)
        });
        if self.phase == Phase::Refused {
            let body = std::str::from_utf8(&self.received).unwrap_or_default();
            let sound = serde_json::from_str::<serde_json::Value>(body.trim_end()).is_ok_and(|body| body.is_object());
            context.judge.check(sound || excused || self.stuck, || format!("connection {conn}: an HTTP body {body:?}"));
        }
    }

    /// The client says goodbye by a close frame, whose answer it waits for.
    pub fn goodbye(&mut self) -> Vec<Effect> {
        if !self.is_open() {
            self.ended = true;
            return vec![Effect::Fin];
        }
        (self.leaving, self.said_close) = (true, true);
        // An all-zero mask is legal.
        vec![Effect::Write(vec![0x88, 0x82, 0, 0, 0, 0, 3, 0xe8])]
    }

    /// Notes that a command is asked now.
    pub fn ask(&mut self, what: What, room: usize) -> Ask {
        self.commands += 1;
        let (member, rooms) = (self.membership(room), self.rooms_possible());
        let ask = Ask { number: self.commands, what, room, member, rooms };
        if let Some(said) = &mut self.said {
            said.push(format!("connection {} asks {ask:?}", self.conn));
        }
        ask
    }

    /// Membership at the moment the next command is read by the server.
    pub fn membership(&self, room: usize) -> Member {
        let view = &self.views[room];
        let joining = self.waits(room, |what| matches!(what, What::Join(_)))
            || self.query_joins.iter().any(|(query, _)| *query == room);
        match (view.member, view.fading) {
            (true, None) if !self.is_leaving(room) => Member::Yes,
            (false, _) if !joining => Member::No,
            _ => Member::Maybe,
        }
    }

    /// Whether a leave of a room waits for its reply.
    pub fn is_leaving(&self, room: usize) -> bool {
        self.waits(room, |what| matches!(what, What::Leave))
    }

    fn waits(&self, room: usize, is: impl Fn(&What) -> bool) -> bool {
        self.asks.values().chain(&self.binary_asks).any(|ask| ask.room == room && is(&ask.what))
    }

    /// How many rooms it may be a member of.
    pub fn rooms_possible(&self) -> usize {
        (0..self.views.len()).filter(|room| self.membership(*room) != Member::No).count()
    }

    /// Whether `unavailable` and lost positions can happen at all.
    pub fn has_keeper(context: &Context<'_>) -> bool {
        context.profile.mode != Mode::Memory
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
