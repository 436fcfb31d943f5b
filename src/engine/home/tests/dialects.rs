//! The dialects on offer are a setting: another one is chosen by its subprotocol and reads messages its own way.

use super::{HEAD, One, accepted};
use crate::base::codes::ErrorCode;
use crate::engine::settings::Settings;
use crate::wire::client::client_frame;
use crate::wire::dialect::{DIALECTS, Dialect, Identifies};
use crate::wire::form::Form;
use crate::wire::frame::Opcode;
use crate::wire::protocol::{BadRequest, Command, ReplyTo, Request};

static OFFERED: [Dialect; 2] = [
    DIALECTS[0],
    Dialect {
        subprotocol: "lines.v1",
        form: Form::Json,
        read_text: |text| Ok(Request { reply: ReplyTo { id: Some(1), form: Form::Json }, command: read_line(text) }),
        read_binary: |_| {
            let (code, message) = (ErrorCode::BadCommand, "lines are text".to_owned());
            Err(BadRequest { reply: ReplyTo { id: None, form: Form::Json }, code, message })
        },
        identifies: Identifies::ByUpgrade,
    },
];

/// `+room` joins; anything else is a ping.
fn read_line(line: &str) -> Command<'_> {
    match line.strip_prefix('+') {
        Some(room) => Command::Join { room: room.into(), recover: None, history: None, invite: None },
        None => Command::Ping { value: 0 },
    }
}

fn one() -> One {
    One::with(Settings { cores: 1, dialects: &OFFERED, ..Settings::for_tests() })
}

/// Opens a connection whose client names this subprotocol; gives the answer and the pushes behind it.
fn open(one: &mut One, slot: u32, subprotocol: &str) -> String {
    one.handle(accepted(slot));
    let field = format!("Host: a\r\nSec-WebSocket-Protocol: {subprotocol}\r\n");
    one.receive(slot, HEAD.replace("Host: a\r\n", &field).as_bytes());
    said(one)
}

fn say(one: &mut One, slot: u32, opcode: Opcode, message: &str) -> String {
    one.receive(slot, &client_frame(opcode, message.as_bytes(), [1, 2, 3, 4]));
    said(one)
}

fn said(one: &mut One) -> String {
    one.turn().iter().map(|send| String::from_utf8_lossy(&send.bytes).into_owned()).collect()
}

#[test]
fn a_dialect_of_the_settings_reads_its_own_commands() {
    let mut one = one();
    let answer = open(&mut one, 0, "other, lines.v1");
    assert!(answer.contains("Sec-WebSocket-Protocol: lines.v1\r\n") && answer.contains(r#""type":"welcome""#));
    assert!(say(&mut one, 0, Opcode::Text, "+a").contains(r#"{"type":"joined","id":1,"room":"a""#));
    assert!(say(&mut one, 0, Opcode::Text, "?").contains(r#"{"type":"pong","id":1"#));
    assert!(say(&mut one, 0, Opcode::Binary, "?").contains("lines are text"));
}

#[test]
fn the_first_dialect_is_spoken_where_none_is_named() {
    let mut one = one();
    let answer = open(&mut one, 0, "roomring.v1.binary");
    assert!(!answer.contains("Sec-WebSocket-Protocol") && answer.contains(r#""type":"welcome""#), "{answer}");
    let ping = r#"{"type":"ping","id":7}"#;
    assert!(say(&mut one, 0, Opcode::Text, ping).contains(r#"{"type":"pong","id":7"#));
}
