//! Commands of clients: each field, and each error about it.

use std::borrow::Cow;

use bytes::Bytes;

use super::{ID_MAX, parse_command};
use crate::base::chat::{ReceiptKind, Role, Visibility};
use crate::base::codes::ErrorCode;
use crate::base::ids::{Epoch, RoomName, UserName};
use crate::base::limits::{
    COMMAND_FIELDS_MAX, INVITE_BYTES_MAX, KEY_BYTES_MAX, PAGE_MAX, RESUME_ROOMS_MAX, TITLE_BYTES_MAX,
};
use crate::wire::form::Form;
use crate::wire::protocol::{Ask, COMMANDS, Command, Publish, Recover, ReplyTo};
use crate::wire::publication::DataKind;

fn read(text: &str) -> Command<'_> {
    parse_command(text).unwrap_or_else(|error| panic!("{text}: {}", error.message)).command
}

fn fail(text: &str) -> (Option<u64>, ErrorCode, String) {
    let error = parse_command(text).expect_err(text);
    assert_eq!(error.reply.form, Form::Json);
    (error.reply.id, error.code, error.message)
}

fn ask<'a>(room: &Cow<'a, str>, ask: Ask) -> Command<'a> {
    Command::Ask { room: room.clone(), ask }
}

fn named(room: &str) -> RoomName {
    RoomName::new(room).expect("valid")
}

fn publish(data: &str) -> Publish {
    let data = Bytes::copy_from_slice(data.as_bytes());
    Publish { kind: DataKind::Json, data, key: None, echo: true, ephemeral: false }
}

/// The data that a publish is read with.
fn data_of(command: Command<'_>) -> String {
    let Command::Ask { ask: Ask::Publish(Publish { kind: DataKind::Json, data, .. }), .. } = command else {
        panic!("a publish")
    };
    String::from_utf8(data.to_vec()).expect("JSON is UTF-8")
}

#[test]
fn every_command_is_read_with_its_defaults() {
    let (room, bob) = (Cow::Borrowed("r"), UserName::new("bob").expect("valid"));
    let cases = [
        (
            r#"{"type":"join","room":"r"}"#,
            Command::Join { room: room.clone(), recover: None, history: None, invite: None },
        ),
        (
            r#"{"type":"join","room":"r","last_received_seq":7,"epoch":"00000000000000ff","history":0}"#,
            Command::Join {
                room: room.clone(),
                recover: Some(Recover { seq: 7, epoch: Some(Epoch(255)) }),
                history: Some(0),
                invite: None,
            },
        ),
        (
            r#"{"type":"join","room":"r","last_received_seq":0,"epoch":"strange","history":99999999999}"#,
            Command::Join {
                room: room.clone(),
                recover: Some(Recover { seq: 0, epoch: Some(Epoch::UNKNOWN) }),
                history: Some(u32::MAX),
                invite: None,
            },
        ),
        (r#"{"type":"leave","room":"r"}"#, Command::Leave { room: room.clone() }),
        (
            r#"{"type":"publish","room":"r","data":{"a": [1, 2]}}"#,
            ask(&room, Ask::Publish(publish(r#"{"a": [1, 2]}"#))),
        ),
        (
            r#"{"ephemeral":false,"echo":false,"key":"k","data": null ,"room":"r","type":"publish"}"#,
            ask(&room, Ask::Publish(Publish { key: Some("k".into()), echo: false, ..publish("null") })),
        ),
        (
            r#"{"ephemeral":true,"data":1,"room":"r","type":"publish"}"#,
            ask(&room, Ask::Publish(Publish { ephemeral: true, ..publish("1") })),
        ),
        (r#"{"type":"history","room":"r"}"#, ask(&room, Ask::History { after: None, before: None, limit: PAGE_MAX })),
        (
            r#"{"type":"history","room":"r","after":18446744073709551615,"limit":300}"#,
            ask(&room, Ask::History { after: Some(u64::MAX), before: None, limit: 300 }),
        ),
        (
            r#"{"type":"history","room":"r","before":1,"limit":1}"#,
            ask(&room, Ask::History { after: None, before: Some(1), limit: 1 }),
        ),
        (
            r#"{"type":"presence","room":"r","limit":2,"after":"bob"}"#,
            ask(&room, Ask::Presence { after: Some("bob".into()), limit: 2 }),
        ),
        (r#"{"type":"typing","room":"r","active":true}"#, ask(&room, Ask::Typing { active: true })),
        (r#"{"active":false,"room":"r","type":"typing"}"#, ask(&room, Ask::Typing { active: false })),
        (r#"{"type":"receipt","room":"r","seq":7}"#, ask(&room, Ask::Receipt { kind: ReceiptKind::Read, seq: 7 })),
        (
            r#"{"type":"receipt","room":"r","seq":0,"kind":"delivered"}"#,
            ask(&room, Ask::Receipt { kind: ReceiptKind::Delivered, seq: 0 }),
        ),
        (
            r#"{"type":"join","room":"r","invite":"c0de"}"#,
            Command::Join { room: room.clone(), recover: None, history: None, invite: Some("c0de".into()) },
        ),
        (
            r#"{"type":"create_room","room":"r","visibility":"public"}"#,
            ask(&room, Ask::CreateRoom { visibility: Visibility::Public, title: "".into() }),
        ),
        (
            r#"{"type":"create_room","room":"r","visibility":"private","title":"The \"r\""}"#,
            ask(&room, Ask::CreateRoom { visibility: Visibility::Private, title: "The \"r\"".into() }),
        ),
        (r#"{"type":"delete_room","room":"r"}"#, ask(&room, Ask::DeleteRoom)),
        (r#"{"type":"room_info","room":"r"}"#, ask(&room, Ask::RoomInfo)),
        (r#"{"type":"invite","room":"r"}"#, ask(&room, Ask::Invite { uses_max: 0, ttl_ms: 604_800_000 })),
        (
            r#"{"type":"invite","room":"r","max_uses":1,"ttl_s":2592000}"#,
            ask(&room, Ask::Invite { uses_max: 1, ttl_ms: 2_592_000_000 }),
        ),
        (
            r#"{"type":"set_role","room":"r","user":"bob","role":"admin"}"#,
            ask(&room, Ask::SetRole { user: bob.clone(), role: Role::Admin }),
        ),
        (
            r#"{"type":"resume","session":"5e55","positions":{}}"#,
            Command::Resume { session: "5e55".into(), positions: vec![] },
        ),
        (
            r#"{"type":"resume","session":"s","positions":{"r":{"seq":7,"epoch":"00000000000000ff","x":[1]},"\u0071":{"seq":0}}}"#,
            Command::Resume {
                session: "s".into(),
                positions: vec![
                    (named("r"), Recover { seq: 7, epoch: Some(Epoch(255)) }),
                    (named("q"), Recover { seq: 0, epoch: None }),
                ],
            },
        ),
        (r#"{"type":"list_rooms"}"#, Command::ListRooms { after: None, limit: PAGE_MAX }),
        (r#"{"type":"list_rooms","limit":2,"after":"r"}"#, Command::ListRooms { after: Some(named("r")), limit: 2 }),
        (r#"{"type":"kick","room":"r","user":"bob"}"#, ask(&room, Ask::Kick { user: bob })),
        (r#"{"type":"status","status":"away"}"#, Command::Status { away: true }),
        (r#"{"type":"status","status":"online"}"#, Command::Status { away: false }),
        (r#"{"type":"refresh","token":"a.b.c"}"#, Command::Refresh { token: Cow::Borrowed("a.b.c") }),
        (r#" { "type" : "ping" } "#, Command::Ping { value: 0 }),
    ];
    for (text, command) in cases {
        assert_eq!(read(text), command, "{text}");
        assert!(text.contains(&format!("\"{}\"", COMMANDS[command.index()])), "{text} is counted under its type");
    }
}

#[test]
fn data_is_kept_byte_for_byte() {
    for data in ["1.50", "-0", "\"\\u00fc\\ud83d\"", "[ ]", "{\"b\":1,\"a\":1,\"b\":2}", "1e999", "\"😀\"", "true"] {
        let text = format!(r#"{{"type":"publish","room":"r","data": {data} ,"id":3}}"#);
        assert_eq!(data_of(read(&text)), data);
    }
}

#[test]
fn escapes_in_names_and_fields_are_decoded() {
    let text = r#"{"ty\u0070e":"\u006aoin","room":"r\u00fc\"\\"}"#;
    let Command::Join { room, .. } = read(text) else { panic!("a join") };
    assert_eq!(room, "rü\"\\");
}

#[test]
fn unknown_fields_are_ignored_even_twice() {
    assert_eq!(read(r#"{"x":1,"x":{"type":"join"},"type":"ping","":[]}"#), Command::Ping { value: 0 });
}

#[test]
fn ids_are_integers_up_to_two_to_the_53() {
    for id in [0, 1, ID_MAX] {
        let text = format!(r#"{{"type":"ping","id":{id}}}"#);
        let request = parse_command(&text).expect("a ping");
        assert_eq!(request.reply, ReplyTo { id: Some(id), form: Form::Json });
        assert!(request.reply.wants_reply());
    }
    assert!(!parse_command(r#"{"type":"ping"}"#).expect("a ping").reply.wants_reply());
    for id in ["9007199254740992", "-1", "1.0", "1e3", "\"1\"", "null", "[]", "true", "99999999999999999999999"] {
        let (reply_id, code, message) = fail(&format!(r#"{{"type":"ping","id":{id}}}"#));
        assert_eq!((reply_id, code), (None, ErrorCode::BadCommand), "{id}");
        assert!(message.contains("`id`"), "{message}");
    }
    let (reply_id, code, message) = fail(r#"{"type":"ping","room":"a","room":"b","id":1,"id":2}"#);
    assert_eq!((reply_id, code), (None, ErrorCode::BadCommand));
    assert!(message.contains("`id`"), "{message}");
}

#[test]
fn other_values_than_objects_are_bad_and_not_repeated() {
    let long = format!("\"{}\"", "x".repeat(10_000));
    for text in ["", " ", "[]", "1", "null", "{", "{\"type\":\"ping\"", "{\"type\":\"ping\"}x", "{'a':1}", &long] {
        let (id, code, message) = fail(text);
        assert_eq!((id, code), (None, ErrorCode::BadCommand), "{text}");
        assert!(message.starts_with("not a JSON object") && message.len() < 120, "{message}");
    }
    assert_eq!(fail(r#"{"id":1,"type":"ping",}"#).0, None, "an id outside an object is not read");
}

#[test]
fn bad_fields_are_named_and_keep_the_id() {
    let cases = [
        (r#""room":"r""#, "type"),
        (r#""type":5"#, "type"),
        (r#""type":"ping","type":"ping""#, "type"),
        (r#""type":"join""#, "room"),
        (r#""type":"join","room":null"#, "room"),
        (r#""type":"join","room":"""#, "room"),
        (r#""type":"join","room":"a\nb""#, "room"),
        (r#""type":"join","room":"\ud800""#, "room"),
        (r#""type":"join","room":"a","room":"b""#, "room"),
        (r#""type":"join","room":"r","last_received_seq":"1""#, "last_received_seq"),
        (r#""type":"join","room":"r","last_received_seq":1,"epoch":255"#, "epoch"),
        (r#""type":"join","room":"r","history":-1"#, "history"),
        (r#""type":"join","room":"r","history":1.5"#, "history"),
        (r#""type":"leave","room":["r"]"#, "room"),
        (r#""type":"publish","room":"r""#, "data"),
        (r#""type":"publish","data":1"#, "room"),
        (r#""type":"publish","room":"r","data":1,"data":2"#, "data"),
        (r#""type":"publish","room":"r","data":1,"key":"""#, "key"),
        (r#""type":"publish","room":"r","data":1,"key":7"#, "key"),
        (r#""type":"publish","room":"r","data":1,"key":"k","ephemeral":true"#, "key"),
        (r#""type":"publish","room":"r","data":1,"echo":"no""#, "echo"),
        (r#""type":"publish","room":"r","data":1,"ephemeral":1"#, "ephemeral"),
        (r#""type":"history","room":"r","limit":0"#, "limit"),
        (r#""type":"history","room":"r","limit":301"#, "limit"),
        (r#""type":"history","room":"r","after":1,"before":2"#, "before"),
        (r#""type":"history","room":"r","after":"1""#, "after"),
        (r#""type":"presence","room":"r","after":"""#, "after"),
        (r#""type":"presence","room":"r","limit":18446744073709551616"#, "limit"),
        (r#""type":"typing","room":"r""#, "active"),
        (r#""type":"typing","room":"r","active":1"#, "active"),
        (r#""type":"typing","active":true"#, "room"),
        (r#""type":"receipt","room":"r""#, "seq"),
        (r#""type":"receipt","room":"r","seq":-1"#, "seq"),
        (r#""type":"receipt","room":"r","seq":1,"kind":"seen""#, "kind"),
        (r#""type":"receipt","seq":1"#, "room"),
        (r#""type":"join","room":"r","invite":"""#, "invite"),
        (r#""type":"join","room":"r","invite":7"#, "invite"),
        (r#""type":"create_room","room":"r""#, "visibility"),
        (r#""type":"create_room","room":"r","visibility":"secret""#, "visibility"),
        (r#""type":"create_room","room":"r","visibility":"public","title":"a\tb""#, "title"),
        (r#""type":"create_room","room":"r","visibility":"public","title":1"#, "title"),
        (r#""type":"create_room","visibility":"public""#, "room"),
        (r#""type":"delete_room""#, "room"),
        (r#""type":"room_info","room":"""#, "room"),
        (r#""type":"invite","room":"r","max_uses":0"#, "max_uses"),
        (r#""type":"invite","room":"r","max_uses":4294967296"#, "max_uses"),
        (r#""type":"invite","room":"r","ttl_s":0"#, "ttl_s"),
        (r#""type":"invite","room":"r","ttl_s":2592001"#, "ttl_s"),
        (r#""type":"set_role","room":"r","user":"bob""#, "role"),
        (r#""type":"set_role","room":"r","user":"bob","role":"king""#, "role"),
        (r#""type":"set_role","room":"r","role":"admin""#, "user"),
        (r#""type":"set_role","user":"bob","role":"admin""#, "room"),
        (r#""type":"resume","positions":{}"#, "session"),
        (r#""type":"resume","session":7,"positions":{}"#, "session"),
        (r#""type":"resume","session":"s""#, "positions"),
        (r#""type":"resume","session":"s","positions":[]"#, "positions"),
        (r#""type":"resume","session":"s","positions":{"r":7}"#, "positions"),
        (r#""type":"resume","session":"s","positions":{"r":{}}"#, "positions"),
        (r#""type":"resume","session":"s","positions":{"r":{"seq":-1}}"#, "positions"),
        (r#""type":"resume","session":"s","positions":{"":{"seq":1}}"#, "positions"),
        (r#""type":"resume","session":"s","positions":{"r":{"seq":1,"epoch":7}}"#, "positions"),
        (r#""type":"list_rooms","limit":0"#, "limit"),
        (r#""type":"list_rooms","after":"""#, "after"),
        (r#""type":"kick","room":"r""#, "user"),
        (r#""type":"kick","room":"r","user":"""#, "user"),
        (r#""type":"kick","user":"bob""#, "room"),
        (r#""type":"status","status":"offline""#, "status"),
        (r#""type":"status""#, "status"),
        (r#""type":"refresh""#, "token"),
        (r#""type":"refresh","token":7"#, "token"),
    ];
    for (fields, name) in cases {
        let (id, code, message) = fail(&format!("{{{fields},\"id\":9}}"));
        assert_eq!((id, code), (Some(9), ErrorCode::BadCommand), "{fields}");
        assert!(message.contains(&format!("`{name}`")), "{fields}: {message}");
    }
}

#[test]
fn texts_over_their_limit_are_too_large() {
    for (fields, name, bytes_max) in [
        (r#""type":"publish","data":0"#, "key", KEY_BYTES_MAX),
        (r#""type":"join""#, "invite", INVITE_BYTES_MAX),
        (r#""type":"create_room","visibility":"public""#, "title", TITLE_BYTES_MAX),
    ] {
        let command = |length| format!(r#"{{"id":1,"room":"r",{fields},"{name}":"{}"}}"#, "k".repeat(length));
        assert!(parse_command(&command(bytes_max)).is_ok());
        let (id, code, message) = fail(&command(bytes_max + 1));
        assert_eq!((id, code), (Some(1), ErrorCode::TooLarge));
        assert!(message.contains(&format!("`{name}`")), "{message}");
    }
}

#[test]
fn a_session_may_have_been_in_so_many_rooms() {
    let command = |rooms: usize| {
        let positions: Vec<String> = (0..rooms).map(|room| format!(r#""r{room}":{{"seq":1}}"#)).collect();
        format!(r#"{{"id":1,"type":"resume","session":"s","positions":{{{}}}}}"#, positions.join(","))
    };
    let Command::Resume { positions, .. } = read(&command(RESUME_ROOMS_MAX)) else { panic!("a resume") };
    assert_eq!(positions.len(), RESUME_ROOMS_MAX);
    for more in [1, 1_000] {
        let (id, code, message) = fail(&command(RESUME_ROOMS_MAX + more));
        assert_eq!((id, code), (Some(1), ErrorCode::TooLarge));
        assert!(message.contains("`positions`"), "{message}");
    }
}

#[test]
fn unknown_and_future_types_have_their_own_code() {
    for name in ["resumed", "", "Join"] {
        let (id, code, _) = fail(&format!(r#"{{"type":"{name}","id":4}}"#));
        assert_eq!((id, code), (Some(4), ErrorCode::UnknownCommand), "{name}");
    }
    let (_, _, message) = fail(&format!(r#"{{"type":"{}"}}"#, "ü\\u0000".repeat(10_000)));
    assert!(message.len() < 600, "{} bytes", message.len());
}

#[test]
fn the_number_of_fields_is_limited() {
    let command = |others: usize| format!(r#"{{{}"type":"ping","id":1}}"#, r#""x":{"a":1,"b":[2]},"#.repeat(others));
    assert_eq!(read(&command(COMMAND_FIELDS_MAX - 2)), Command::Ping { value: 0 });
    for text in [command(COMMAND_FIELDS_MAX - 1), format!("{{{}", r#""id":1,"#.repeat(10_000)), command(10_000)] {
        let message = format!("a command has at most {COMMAND_FIELDS_MAX} fields");
        assert_eq!(fail(&text), (None, ErrorCode::BadCommand, message));
    }
    let data = format!("{{{}\"x\":1}}", r#""x":1,"#.repeat(10_000));
    let publish = format!(r#"{{"type":"publish","room":"r","data":{data}}}"#);
    assert_eq!(data_of(read(&publish)), data, "the limit does not apply to data");
}

#[test]
fn nesting_does_not_recurse() {
    let depth = 200_000;
    let data = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let text = format!(r#"{{"type":"publish","room":"r","other":{data},"data":{data}}}"#);
    assert_eq!(data_of(read(&text)), data);
    let objects = format!(r#"{{"type":"ping","room":{}"#, "{\"a\":".repeat(depth));
    assert_eq!(fail(&objects).1, ErrorCode::BadCommand);
    let room = format!(r#"{{"id":1,"type":"join","room":{data}}}"#);
    assert_eq!(fail(&room), (Some(1), ErrorCode::BadCommand, "`room` must be a string".to_owned()));
}
