//! The server's messages, read by independent readers: serde_json, and a hand-written reader of the layout of PROTOCOL
//! section 6. Uses names and data that a hostile client might choose.

use std::sync::Arc;

use base64::Engine as _;
use roomring::base::codes::ErrorCode;
use roomring::base::ids::{Epoch, RoomName, UserName};
use roomring::wire::client::ServerDecoder;
use roomring::wire::encode::{encode_push, encode_reply};
use roomring::wire::form::{Form, Forms};
use roomring::wire::frame::Opcode;
use roomring::wire::json;
use roomring::wire::protocol::{Ask, Command, Publish, Push, Reply, ReplyTo, Status};
use roomring::wire::publication::{Content, Data, DataKind, Publication};
use serde_json::{Value, json};

use crate::support::Random;

/// The messages of a buffer of whole frames, which all have the form's opcode.
fn messages(mut buffer: &[u8], form: Form) -> Vec<Vec<u8>> {
    let opcode = [Opcode::Text, Opcode::Binary][form.index()];
    let mut decoder = ServerDecoder::default();
    let mut found = Vec::new();
    while !buffer.is_empty() {
        let (used, message) = decoder.next(buffer, usize::MAX).expect("legal frames");
        let message = message.expect("whole frames");
        assert_eq!(message.opcode, opcode);
        found.push(message.payload.to_vec());
        buffer = &buffer[used..];
    }
    found
}

fn json_of(buffer: &[u8]) -> Value {
    let [message] = &messages(buffer, Form::Json)[..] else { panic!("one message") };
    serde_json::from_slice(message).expect("valid JSON")
}

/// A binary message taken apart: op, seq, at, room, from, data.
fn take_apart(message: &[u8]) -> (u32, u64, u64, String, String, Vec<u8>) {
    let number = |from: usize, length: usize| {
        message[from..from + length].iter().rev().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte))
    };
    let (room_len, from_len) = (number(20, 2) as usize, number(22, 2) as usize);
    let text = |from: usize, length: usize| String::from_utf8(message[from..from + length].to_vec()).expect("UTF-8");
    let data_at = 24 + room_len + from_len;
    let (room, from) = (text(24, room_len), text(24 + room_len, from_len));
    (number(0, 4) as u32, number(4, 8), number(12, 8), room, from, message[data_at..].to_vec())
}

fn random_json(random: &mut Random) -> String {
    let length = random.length();
    let text = random.text(length);
    match random.below(4) {
        0 => format!(" [ {} , 1.50e2, null ]", json!(text)).trim().to_owned(),
        1 => format!("{{\"b\": {}, \"a\" : [true]}}", json!(text)),
        2 => format!("{}", random.next()),
        _ => json!(text).to_string(),
    }
}

#[test]
fn publications_have_the_same_content_in_both_forms() {
    for seed in 0..500 {
        let mut random = Random(seed);
        let name_len = 1 + random.below(30);
        let room = RoomName::new(&random.text(name_len)).expect("a name");
        let from = UserName::new(&random.text(name_len)).expect("a name");
        let key_text = random.text(1 + name_len / 2);
        let key = random.one_in(2).then_some(key_text.as_str());
        let (seq, at) = (random.next() >> random.below(64), random.next() >> 20);
        let text = random_json(&mut random);
        let length = random.length();
        let bytes = random.bytes(length);
        let data = if random.one_in(2) {
            Data { kind: DataKind::Json, bytes: text.as_bytes() }
        } else {
            Data { kind: DataKind::Binary, bytes: &bytes }
        };
        let forms = Form::ALL.into_iter().filter(|_| random.one_in(2)).collect();
        let content = Content::new(&room, seq, &from, at, data).with_key(key);
        let publication = Publication::encode(&content, forms);
        assert_eq!(publication.data, data.bytes, "seed {seed}");

        let mut expected = json!({"type": "message", "room": *room, "seq": seq, "from": *from, "at": at});
        match data.kind {
            DataKind::Json => expected["data"] = serde_json::from_str(&text).expect("valid JSON"),
            DataKind::Binary => {
                expected["data_b64"] = json!(base64::engine::general_purpose::STANDARD.encode(&bytes));
            }
        }
        if let Some(key) = key {
            expected["key"] = json!(key);
        }
        assert_eq!(json_of(&publication.frame(&room, Form::Json)), expected, "seed {seed}");

        let binary = messages(&publication.frame(&room, Form::Binary), Form::Binary);
        let taken_apart = take_apart(&binary[0]);
        assert_eq!(taken_apart, (131, seq, at, room.to_string(), from.to_string(), data.bytes.to_vec()), "seed {seed}");
    }
}

#[test]
fn data_passes_through_byte_for_byte() {
    for seed in 0..200 {
        let mut random = Random(seed);
        let data = random_json(&mut random);
        let name = random.text(5);
        let command = format!(r#"{{"type":"publish","room":{},"data":{data}}}"#, json!(name));
        let Ok(Command::Ask { room, ask: Ask::Publish(Publish { kind, data: read, .. }) }) =
            json::parse_command(&command).map(|request| request.command)
        else {
            panic!("seed {seed}: a publish");
        };
        let read = Data { kind, bytes: &read };
        assert_eq!(room, name, "seed {seed}");
        let (room, from) = (RoomName::new(&room).expect("a name"), UserName::new("u").expect("a name"));
        let publication = Publication::encode(&Content::new(&room, 1, &from, 1, read), Forms::ALL);
        let json = messages(&publication.frame(&room, Form::Json), Form::Json).remove(0);
        assert!(String::from_utf8(json).expect("UTF-8").ends_with(&format!(r#""data":{data}}}"#)), "seed {seed}");
        let binary = messages(&publication.frame(&room, Form::Binary), Form::Binary).remove(0);
        assert!(binary.ends_with(data.as_bytes()), "seed {seed}");
    }
}

#[test]
fn a_joined_with_a_long_history_is_one_json_and_many_binary_messages() {
    let mut random = Random(1);
    let (room, from) = (RoomName::new("räume/1").expect("a name"), UserName::new("u").expect("a name"));
    let history: Vec<Arc<Publication>> = (1..=300)
        .map(|seq| {
            let data = json!(random.text(seq as usize % 200)).to_string();
            let data = Data { kind: DataKind::Json, bytes: data.as_bytes() };
            let forms = [Forms::from(Form::Binary), Forms::ALL, Form::Json.into()][seq as usize % 3];
            Arc::new(Publication::encode(&Content::new(&room, seq, &from, seq * 10, data), forms))
        })
        .collect();
    let joined = Reply::Joined {
        room: &room,
        epoch: Epoch(u64::MAX - 1),
        seq: 300,
        recovered: false,
        messages: &history,
        remaining: 0,
        members: 12,
        role: None,
    };
    let read = json_of(&encode_reply(&joined, ReplyTo { id: Some(1), form: Form::Json }));
    assert_eq!(read["epoch"], "fffffffffffffffe");
    let shown = read["messages"].as_array().expect("an array");
    assert!(shown.iter().enumerate().all(|(i, message)| message["seq"] == i as u64 + 1));
    assert_eq!(shown.len(), 300);

    let frames = messages(&encode_reply(&joined, ReplyTo { id: None, form: Form::Binary }), Form::Binary);
    assert_eq!(frames.len(), 301);
    assert_eq!(frames[0][..4], 129_u32.to_le_bytes());
    assert_eq!(frames[0][21..25], 300_u32.to_le_bytes());
    assert_eq!(&frames[0][25..], room.as_bytes());
    for (i, frame) in frames[1..].iter().enumerate() {
        let seq = i as u64 + 1;
        let data = history[i].data.to_vec();
        assert_eq!(take_apart(frame), (131, seq, seq * 10, room.to_string(), "u".to_owned(), data));
    }
}

#[test]
fn every_error_code_is_written_in_both_forms() {
    let mut listed = include_str!("error_codes.txt").split_whitespace();
    for number in 1..=17_u16 {
        let code = [
            ErrorCode::BadCommand,
            ErrorCode::UnknownCommand,
            ErrorCode::NotJoined,
            ErrorCode::RoomNotFound,
            ErrorCode::RoomExists,
            ErrorCode::Forbidden,
            ErrorCode::InviteInvalid,
            ErrorCode::InvalidToken,
            ErrorCode::TokenExpired,
            ErrorCode::TooLarge,
            ErrorCode::LimitExceeded,
            ErrorCode::RateLimited,
            ErrorCode::HistoryUnavailable,
            ErrorCode::SessionUnknown,
            ErrorCode::Unavailable,
            ErrorCode::Overloaded,
            ErrorCode::Internal,
        ][usize::from(number) - 1];
        let error = Reply::Error { code, message: "why \"so\"", retry_after_ms: None };
        let read = json_of(&encode_reply(&error, ReplyTo { id: None, form: Form::Json }));
        assert_eq!(read, json!({"type": "error", "code": listed.next(), "message": "why \"so\""}));
        let binary = messages(&encode_reply(&error, ReplyTo { id: None, form: Form::Binary }), Form::Binary).remove(0);
        assert_eq!(binary, [&135_u32.to_le_bytes()[..], &number.to_le_bytes(), b"why \"so\""].concat());
    }
    assert_eq!(listed.next(), None);
}

#[test]
fn pushes_survive_any_name() {
    for seed in 0..200 {
        let mut random = Random(seed);
        let name_len = 1 + random.below(30);
        let room = RoomName::new(&random.text(name_len)).expect("a name");
        let user = UserName::new(&random.text(name_len)).expect("a name");
        let push = Push::Status { room: &room, user: &user, status: Status::Offline };
        let expected = json!({"type": "status", "room": *room, "user": *user, "status": "offline"});
        assert_eq!(json_of(&encode_push(&push, Form::Json)), expected);
        let binary = messages(&encode_push(&push, Form::Binary), Form::Binary).remove(0);
        assert_eq!(binary[..4], 136_u32.to_le_bytes());
        assert_eq!(serde_json::from_slice::<Value>(&binary[4..]).expect("valid JSON"), expected);
    }
}
