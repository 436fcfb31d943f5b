//! Dialects that identify by message: connections that are upgraded before their user is known.

use super::limits::Two;
use super::tokens::{guarded, keys, strange_token, token};
use super::*;
use crate::base::codes::ErrorCode;
use crate::base::ids::UserName;
use crate::base::limits::{GREETING_BYTES_MAX, KEYS_WAIT_MS};
use crate::engine::access::{Expected, Keys, Material, Renewal};
use crate::engine::rates::Rate;
use crate::engine::settings::{Compression, Limits};
use crate::engine::user::core_of_user;
use crate::wire::client::{DEFLATE_OFFER, append_compressed_client_frame};
use crate::wire::deflate::{Compressor, Window};
use crate::wire::dialect::{DIALECTS, Dialect, Identifies};
use crate::wire::form::Form;
use crate::wire::protocol::{BadRequest, Command, ReplyTo, Request};

static OFFERED: [Dialect; 2] = [
    DIALECTS[0],
    Dialect {
        subprotocol: "test.v1",
        form: Form::Json,
        read_text: read_line,
        read_binary: |_| Err(unreadable("lines are text")),
        identifies: Identifies::ByMessage,
    },
];

fn unreadable(message: &str) -> BadRequest {
    BadRequest { reply: ReplyTo { id: None, form: Form::Json }, code: ErrorCode::BadCommand, message: message.into() }
}

/// `hello <user>`, `token <token>` or `join <room>`.
fn read_line(line: &str) -> Result<Request<'_>, BadRequest> {
    let command = match line.split_once(' ').ok_or_else(|| unreadable("not two words"))? {
        ("hello", user) => Command::Identify { token: None, user: Some(user.into()) },
        ("token", token) => Command::Identify { token: Some(token.into()), user: None },
        ("join", room) => Command::Join { room: room.into(), recover: None, history: None, invite: None },
        _ => return Err(unreadable("an unknown word")),
    };
    Ok(Request { reply: ReplyTo { id: Some(1), form: Form::Json }, command })
}

fn settings() -> Settings {
    Settings { cores: 1, dialects: &OFFERED, ..Settings::for_tests() }
}

fn greeting_head() -> String {
    HEAD.replace("?user=ann", "").replace("Host: a\r\n", "Host: a\r\nSec-WebSocket-Protocol: test.v1\r\n")
}

fn line(text: &str) -> Vec<u8> {
    client_frame(Opcode::Text, text.as_bytes(), [1, 2, 3, 4])
}

impl One {
    /// A connection is upgraded; asserts that this is all that it hears.
    fn upgraded(&mut self, slot: u32) {
        self.handle(accepted(slot));
        self.receive(slot, greeting_head().as_bytes());
        let answer = self.said();
        assert!(answer.starts_with("HTTP/1.1 101 ") && answer.ends_with("\r\n\r\n"), "{answer}");
        assert!(answer.contains("Sec-WebSocket-Protocol: test.v1\r\n"), "{answer}");
        assert_eq!(self.engine.home.sessions.at(slot).phase, Phase::Greeting);
    }

    /// The bytes sent in answer to bytes.
    fn hear(&mut self, slot: u32, bytes: &[u8]) -> Vec<u8> {
        self.receive(slot, bytes);
        self.turn().iter().flat_map(|send| send.bytes.to_vec()).collect()
    }

    fn hear_text(&mut self, slot: u32, bytes: &[u8]) -> String {
        String::from_utf8_lossy(&self.hear(slot, bytes)).into_owned()
    }

    /// Asserts that a socket is refused with this close code, and that nothing is left of it.
    fn refused(&mut self, slot: u32, said: &[u8], code: u16, reason: &str) {
        let at = said.windows(2).rposition(|bytes| bytes == code.to_be_bytes()).expect("a close frame with the code");
        let words = String::from_utf8_lossy(&said[at + 2..]).into_owned();
        assert!(said[at - 2] == 0x88 && words.contains(reason), "{words}");
        assert!(self.output.shutdowns.contains(&slot), "half-closed as soon as all is sent");
        assert!(self.output.ended.is_empty(), "it never was a connection");
        assert!(self.hear(slot, &line("hello ann")).is_empty(), "it hears nothing any more");
        self.handle(Input::Disconnected { slot });
        self.expect_nothing();
        assert_eq!(self.engine.budget.used(), 0);
    }

    /// Asserts that there is no socket, and nothing left of one.
    fn expect_nothing(&mut self) {
        let home = &self.engine.home;
        assert_eq!((home.slots.sockets(), home.lobby.begun_bytes(), home.paces.len()), (0, 0, 0));
        assert_eq!((self.counters.upgrading.get(), self.counters.connections.get()), (0, 0));
        assert!(!home.lobby.is_pending(0) && !home.lobby.is_pending(1));
    }
}

#[test]
fn the_first_message_opens_the_connection() {
    let mut one = One::with(settings());
    one.upgraded(0);
    assert_eq!((one.counters.upgrading.get(), one.counters.connections.get()), (1, 0));
    assert_eq!((one.engine.home.slots.half_open(), one.engine.open_slots()), (1, 0), "no WebSocket yet");
    let said = one.hear_text(0, &line("hello ann"));
    assert!(said.contains(r#""type":"welcome""#) && said.contains(r#""user":"ann""#), "{said}");
    assert_eq!((one.counters.upgrading.get(), one.counters.connections.get()), (0, 1));
    let said = one.hear_text(0, &line("join a"));
    assert!(said.contains(r#"{"type":"joined","id":1,"room":"a""#), "{said}");
    let said = one.hear_text(0, &line("hello bob"));
    assert!(said.contains("already identified"), "{said}");
    one.handle(Input::Disconnected { slot: 0 });
    assert_eq!(one.output.ended.len(), 1);
    one.expect_nothing();
}

#[test]
fn what_comes_with_the_first_message_or_before_the_answer_is_kept() {
    let words = [line("hello ann"), line("join a")].concat();
    for max in [0, 5] {
        let limits = Limits { connections_per_user: max, connections_per_ip: max, ..Limits::default() };
        let mut one = One::with(Settings { limits, ..settings() });
        one.handle(accepted(0));
        let said = one.hear_text(0, &[greeting_head().as_bytes(), &words].concat());
        assert!(said.contains(r#""type":"welcome""#) && said.contains(r#""type":"joined""#), "{said}");
        one.upgraded(1);
        // Byte by byte.
        words.iter().for_each(|byte| one.receive(1, &[*byte]));
        let said = one.said();
        assert!(said.contains(r#""type":"welcome""#) && said.contains(r#""type":"joined""#), "{said}");
        (0..2).for_each(|slot| one.handle(Input::Disconnected { slot }));
        one.expect_nothing();
        assert_eq!(one.engine.counted(), 0);
    }
}

#[test]
fn the_first_message_may_be_compressed() {
    let compression = Some(Compression { min_bytes: 1, level: 6 });
    let mut one = One::with(Settings { compression, ..settings() });
    one.handle(accepted(0));
    let head = greeting_head().replace("Host: a\r\n", &format!("Host: a\r\n{DEFLATE_OFFER}"));
    assert!(one.hear_text(0, head.as_bytes()).contains("permessage-deflate"));
    let (mut frame, user) = (Vec::new(), "a".repeat(100));
    let mut compressor = Compressor::new(6);
    let payload = compressor.compress(Window::Bits15, format!("hello {user}").as_bytes()).expect("it is shorter");
    append_compressed_client_frame(&mut frame, Opcode::Text, payload, [1, 2, 3, 4]);
    one.receive(0, &frame);
    one.turn();
    assert_eq!(one.counters.connections.get(), 1);
}

#[test]
fn a_connection_that_does_not_identify_itself_in_time_is_closed() {
    for part in [&b""[..], &line("hello ann")[..5]] {
        let mut one = One::with(settings());
        one.upgraded(0);
        one.receive(0, part);
        one.pass(HEAD_TIMEOUT_MS - TICK_MS);
        assert!(one.turn().is_empty() && one.output.closes.is_empty());
        one.pass(TICK_MS);
        let said: Vec<u8> = one.turn().iter().flat_map(|send| send.bytes.to_vec()).collect();
        assert_eq!((one.counters.refused.get(), one.output.refused[0].cause), (1, "greeting_timeout"));
        one.refused(0, &said, 4408, "in time");
    }
}

#[test]
fn another_first_message_is_refused_by_a_close_code() {
    let too_long = line(&format!("hello {}", "x".repeat(GREETING_BYTES_MAX)));
    let cases: [(&[u8], u16, &str); 7] = [
        (&line("join a"), 4401, "must identify"),
        (&line("hello"), 1002, "not two words"),
        (&line("hello \u{7}"), 1002, "control characters"),
        (&client_frame(Opcode::Binary, b"x", [1, 2, 3, 4]), 1002, "lines are text"),
        (&client_frame(Opcode::Text, b"\xff", [1, 2, 3, 4]), 1007, ""),
        (&[0x81, 0x01, b'x'], 1002, ""),
        (&too_long, 1009, ""),
    ];
    for (bytes, code, reason) in cases {
        let mut one = One::with(settings());
        one.upgraded(0);
        let said = one.hear(0, bytes);
        assert_eq!(one.counters.refused.get(), 1);
        one.refused(0, &said, code, reason);
    }
}

#[test]
fn a_client_that_half_closes_is_answered() {
    // After its first message: it is answered.
    for max in [0, 5] {
        let limits = Limits { connections_per_user: max, ..Limits::default() };
        let mut one = One::with(Settings { limits, ..settings() });
        one.upgraded(0);
        one.receive(0, &[line("hello ann"), line("join a")].concat());
        one.handle(Input::Ended { slot: 0 });
        let said = one.said();
        assert!(said.contains(r#""type":"welcome""#) && said.contains(r#""type":"joined""#), "{said}");
        assert_eq!(one.output.closes, [0]);
        one.expect_nothing();
    }
    // Before it: it gets the answer to its upgrade, and no connection.
    let mut one = One::with(settings());
    one.handle(accepted(0));
    one.receive(0, greeting_head().as_bytes());
    one.handle(Input::Ended { slot: 0 });
    assert!(one.output.closes.is_empty());
    assert!(one.said().starts_with("HTTP/1.1 101 "));
    assert_eq!(one.output.closes, [0]);
    one.expect_nothing();
}

#[test]
fn control_frames_before_the_first_message_are_answered() {
    let mut one = One::with(settings());
    one.upgraded(0);
    let ping = client_frame(Opcode::Ping, b"here", [1, 2, 3, 4]);
    let pong = client_frame(Opcode::Pong, b"8 bytes.", [1, 2, 3, 4]);
    assert_eq!(one.hear(0, &[ping, pong].concat()), b"\x8a\x04here");
    let close = client_frame(Opcode::Close, &1000_u16.to_be_bytes(), [1, 2, 3, 4]);
    assert_eq!(one.hear(0, &close), [0x88, 2, 0x03, 0xe8]);
    assert_eq!(one.output.closes, [0]);
    assert!(one.counters.refused.get() == 0 && one.output.ended.is_empty(), "it neither opened nor was refused");
    one.expect_nothing();
}

#[test]
fn checks_that_need_no_user_come_before_the_upgrade() {
    let limits = Limits { connect_rate: Rate::new(1, 10_000), ..Limits::default() };
    let mut one = One::with(Settings { limits, ..settings() });
    one.upgraded(0);
    one.upgraded(1);
    one.handle(accepted(2));
    assert!(one.hear(2, greeting_head().as_bytes()).starts_with(b"HTTP/1.1 429 "), "the rate of the server");
    for (origin, status) in [("http://a", "101"), ("http://evil.example", "403")] {
        let mut one = One::with(settings());
        one.handle(accepted(0));
        let head = greeting_head().replace("Host: a\r\n", &format!("Host: a\r\nOrigin: {origin}\r\n"));
        assert_eq!(&one.hear(0, head.as_bytes())[9..12], status.as_bytes(), "{origin}");
    }
    let mut one = One::with(Settings { max_connections: 0, ..settings() });
    one.handle(accepted(0));
    assert!(one.hear(0, greeting_head().as_bytes()).starts_with(b"HTTP/1.1 503 "), "no room");
}

#[test]
fn a_place_is_taken_when_the_connection_is_let_in() {
    let mut one = One::with(Settings { max_connections: 1, ..settings() });
    one.upgraded(0);
    one.upgraded(1);
    assert!(one.hear_text(1, &line("hello ann")).contains("welcome"));
    let said = one.hear(0, &line("hello bob"));
    assert!(String::from_utf8_lossy(&said).contains(r#""reason":"overloaded""#));
    one.handle(Input::Disconnected { slot: 1 });
    one.output.ended.clear();
    one.refused(0, &said, 1013, "at capacity");
    let mut one = One::with(settings());
    one.upgraded(0);
    one.handle(Input::Drain { window_ms: 1_000, hands_over: false });
    let said = one.hear(0, &line("hello bob"));
    assert!(String::from_utf8_lossy(&said).contains(r#""reason":"draining""#));
    one.refused(0, &said, 1012, "draining");
}

#[test]
fn a_user_over_its_limit_is_4429() {
    let limits = Limits { connections_per_user: 1, ..Limits::default() };
    let mut one = One::with(Settings { limits, ..settings() });
    one.upgraded(0);
    one.hear(0, &line("hello ann"));
    one.upgraded(1);
    let said = one.hear(1, &line("hello ann"));
    assert!(String::from_utf8_lossy(&said).contains(r#""reason":"limit_exceeded""#));
    one.handle(Input::Disconnected { slot: 0 });
    one.output.ended.clear();
    one.refused(1, &said, 4429, "connections");
    assert_eq!(one.engine.counted(), 0);
}

#[test]
fn users_are_asked_for_on_their_own_core() {
    let limits = Limits { connections_per_user: 1, connections_per_ip: 9, ..Limits::default() };
    let mut two = Two::with(Settings { cores: 2, limits, ..settings() });
    let users = (0..).map(|number| format!("user-{number}"));
    let of_core = |core: u16| {
        let is_of = |user: &String| core_of_user(&UserName::new(user).expect("a name"), 2) == CoreId(core);
        users.clone().find(is_of).expect("one hashes there")
    };
    for user in [of_core(0), of_core(1)] {
        for slot in 0..2 {
            let answer = two.handle(0, accepted(slot));
            assert!(answer.is_empty());
            let head = two.handle(0, Input::Received { slot, bytes: &mut greeting_head().into_bytes() });
            assert!(head.starts_with("HTTP/1.1 101 ") && head.ends_with("\r\n\r\n"), "{head}");
            let words = [line(&format!("hello {user}")), line("join a")].concat();
            let said = two.handle(0, Input::Received { slot, bytes: &mut words.clone() });
            assert_eq!(said.contains(r#""type":"joined""#), slot == 0, "{said}");
            assert_eq!(said.contains("limit_exceeded"), slot == 1, "{said}");
        }
        (0..2).for_each(|slot| drop(two.handle(0, Input::Disconnected { slot })));
        two.expect_nothing_counted(&user);
    }
}

#[test]
fn tokens_come_by_message() {
    let mut one = guarded(0);
    let limits = one.engine.home.settings.limits.clone();
    let strict = Arc::new(Settings { limits, heartbeat_timeout_ms: 1 << 40, ..settings() });
    one.handle(Input::Settings(strict));
    one.upgraded(0);
    let said = one.hear(0, &line("hello ann"));
    assert!(String::from_utf8_lossy(&said).contains("a token is required"));
    one.refused(0, &said, 4401, "token");
    one.upgraded(0);
    let mut said = one.hear_text(0, &line(&format!("token {}", token(60, serde_json::json!({})))));
    said.push_str(&one.hear_text(0, &line("join a")));
    assert!(said.contains(r#""user":"ann""#) && said.contains(r#""type":"joined""#), "{said}");
    assert!(one.wait_for(&4401_u16.to_be_bytes(), 70_000).is_some(), "it expires like any other");
}

#[test]
fn a_token_that_no_key_fits_waits_for_the_next_keys() {
    for (renewal, expected) in [(Renewal::Renewed, 4401), (Renewal::Awaited, 1013)] {
        let mut one = One::with(settings());
        let set = || Arc::new(Keys::new(Material::from_secret("secret"), Expected::default(), renewal));
        one.handle(Input::Keys(set()));
        one.upgraded(0);
        assert!(one.hear(0, &line(&format!("token {}", strange_token()))).is_empty(), "it waits");
        assert!(one.hear(0, &line("join a")).is_empty());
        one.handle(Input::Keys(set()));
        let said: Vec<u8> = one.turn().iter().flat_map(|send| send.bytes.to_vec()).collect();
        one.refused(0, &said, expected, "");
    }
    let mut one = One::with(settings());
    one.handle(Input::Keys(keys("other", 0, Renewal::Renewed)));
    one.upgraded(0);
    assert!(one.hear(0, &line(&format!("token {}", strange_token()))).is_empty());
    one.pass(KEYS_WAIT_MS);
    let said: Vec<u8> = one.turn().iter().flat_map(|send| send.bytes.to_vec()).collect();
    one.refused(0, &said, 4401, "");
}

#[test]
fn parts_of_first_messages_are_bounded_together() {
    let mut one = One::with(Settings { sockets_max: u32::MAX, ..settings() });
    let part = line(&format!("hello {}", "x".repeat(GREETING_BYTES_MAX - 100)));
    let part = &part[..part.len() - 1];
    let mut slot = 0;
    while one.output.closes.is_empty() {
        one.upgraded(slot);
        one.receive(slot, part);
        slot += 1;
    }
    assert!((slot as usize - 1) * GREETING_BYTES_MAX <= HEADS_BYTES_MAX, "{slot}");
    assert_eq!(one.output.closes, [0], "the oldest goes");
    (1..slot).for_each(|slot| one.handle(Input::Disconnected { slot }));
    one.expect_nothing();
}

#[test]
fn connections_that_say_nothing_make_way_like_sockets_without_a_request() {
    let mut one = One::with(Settings { sockets_max: 30, max_connections_per_core: 20, ..settings() });
    (0..25).for_each(|slot| one.upgraded(slot));
    assert!(one.output.closes.is_empty());
    one.handle(accepted(25));
    assert_eq!(one.output.closes, [0]);
    assert_eq!(one.counters.refused_crowded.get(), 1);
    one.handle(Input::Broken { slot: 1 });
    assert_eq!((one.counters.upgrading.get(), one.engine.home.slots.half_open()), (24, 25));
}
