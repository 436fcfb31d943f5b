//! Commands in both forms, compared with other readers: serde_json's values, and the binary form read by offsets.

use roomring::base::ids::check_name;
use roomring::base::limits::{
    INVITE_BYTES_MAX, INVITE_TTL_DEFAULT_S, INVITE_TTL_MAX_S, KEY_BYTES_MAX, PAGE_MAX, TITLE_BYTES_MAX,
};
use roomring::wire::binary::{self, command_op};
use roomring::wire::form::Form;
use roomring::wire::json::{self, ID_MAX};
use roomring::wire::protocol::{Ask, Command, Publish, Request};
use roomring::wire::publication::DataKind;
use serde_json::Value;

/// Fragments of commands.
pub const WORDS: &[&[u8]] = &[
    b"\"type\":",
    b"\"id\":9007199254740992,",
    b"\"room\":\"a\",",
    b"\"data\":null",
    b"\"\\ud800\"",
    b"\\u0041",
    b"1e999",
    b"-0",
    b"[[[[[[[[[[[[[[[[",
    b"{\"a\":{\"a\":",
    b"true",
    b"18446744073709551616",
    b"\xe2\x80\xa8",
    b"\x03\0\0\0",
    b"\x04\0\0\0",
    b"\xff\xff",
];

/// Errors of serde_json's values for valid JSON: they recurse, store numbers as floats, and store text as UTF-8.
const VALUE_LIMITS: [&str; 4] =
    ["recursion limit", "number out of range", "lone leading surrogate", "unexpected end of hex escape"];

pub fn run_json(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let oracle = serde_json::from_str::<Value>(text);
    match json::parse_command(text) {
        Ok(request) => {
            assert_eq!(request.reply.form, Form::Json);
            assert!(request.reply.id.is_none_or(|id| id <= ID_MAX));
            match oracle {
                Ok(value) => check_command(&request, &value),
                Err(error) => {
                    let error = error.to_string();
                    assert!(VALUE_LIMITS.iter().any(|limit| error.contains(limit)), "accepted, but {error}");
                }
            }
        }
        Err(error) => {
            assert!(!error.message.is_empty() && error.message.len() < 700, "{}", error.message);
            let calls_it_no_object = error.message.starts_with("not a JSON object");
            assert!(!(calls_it_no_object && oracle.is_ok_and(|value| value.is_object())), "{}", error.message);
        }
    }
}

/// Compares a command with its JSON text.
fn check_command(request: &Request<'_>, value: &Value) {
    assert_eq!(request.reply.id, value["id"].as_u64());
    let kind = value["type"].as_str().expect("a command has a type");
    let room = |room: &str| {
        check_name(room).expect("names are checked");
        assert_eq!(Some(room), value["room"].as_str());
    };
    match &request.command {
        Command::Join { room: name, recover, history, invite } => {
            room(name);
            assert_eq!(invite.as_deref(), value["invite"].as_str());
            assert!(invite.as_ref().is_none_or(|invite| (1..=INVITE_BYTES_MAX).contains(&invite.len())));
            assert_eq!(recover.map(|recover| recover.seq), value["last_received_seq"].as_u64());
            assert_eq!(history.is_some(), value["history"].is_u64());
        }
        Command::Leave { room: name } => room(name),
        Command::Ask { room: name, ask: Ask::Publish(Publish { kind, data, key, echo, ephemeral }) } => {
            room(name);
            assert_eq!(*kind, DataKind::Json);
            assert_eq!(serde_json::from_slice::<Value>(data).expect("JSON of its own"), value["data"]);
            assert_eq!(key.as_deref(), value["key"].as_str());
            assert!(key.as_ref().is_none_or(|key| (1..=KEY_BYTES_MAX).contains(&key.len())));
            assert_eq!((*echo, *ephemeral), (value["echo"] != false, value["ephemeral"] == true));
        }
        Command::Ask { room: name, ask: Ask::History { after, before, limit } } => {
            room(name);
            assert_eq!((*after, *before), (value["after"].as_u64(), value["before"].as_u64()));
            assert!((1..=PAGE_MAX).contains(limit));
        }
        Command::Ask { room: name, ask: Ask::Presence { limit, after } } => {
            room(name);
            assert_eq!(after.as_deref(), value["after"].as_str());
            assert!((1..=PAGE_MAX).contains(limit));
        }
        Command::Ask { room: name, ask: Ask::Typing { active } } => {
            room(name);
            assert_eq!(value["active"], *active);
        }
        Command::Ask { room: name, ask: Ask::Receipt { kind, seq } } => {
            room(name);
            assert_eq!(value["seq"], *seq);
            assert_eq!(kind.as_str(), value["kind"].as_str().unwrap_or("read"));
        }
        Command::Ask { room: name, ask: ask @ (Ask::DeleteRoom | Ask::RoomInfo) } => {
            room(name);
            assert_eq!(kind, if *ask == Ask::RoomInfo { "room_info" } else { "delete_room" });
        }
        Command::Ask { room: name, ask: Ask::CreateRoom { visibility, title } } => {
            room(name);
            assert_eq!(
                (Some(visibility.as_str()), &**title),
                (value["visibility"].as_str(), value["title"].as_str().unwrap_or(""))
            );
            assert!(title.len() <= TITLE_BYTES_MAX && !title.contains(char::is_control));
        }
        Command::Ask { room: name, ask: Ask::Invite { uses_max, ttl_ms } } => {
            room(name);
            assert_eq!(u64::from(*uses_max), value["max_uses"].as_u64().unwrap_or(0));
            assert_eq!(*ttl_ms, value["ttl_s"].as_u64().unwrap_or(INVITE_TTL_DEFAULT_S) * 1_000);
            assert!((1..=INVITE_TTL_MAX_S).contains(&(ttl_ms / 1_000)) && value["max_uses"] != 0);
        }
        Command::Ask { room: name, ask: Ask::SetRole { user, role } } => {
            room(name);
            assert_eq!((Some(&**user), Some(role.as_str())), (value["user"].as_str(), value["role"].as_str()));
        }
        Command::Ask { room: name, ask: Ask::Kick { user } } => {
            room(name);
            assert_eq!((kind, Some(&**user)), ("kick", value["user"].as_str()));
        }
        Command::Resume { session, positions } => {
            assert_eq!(Some(&**session), value["session"].as_str());
            for (name, recover) in positions {
                // A room that is named twice has one value in the other reader.
                assert!(value["positions"][&**name]["seq"].is_u64(), "{name} {recover:?}");
            }
        }
        Command::ListRooms { after, limit } => {
            assert_eq!(after.as_deref(), value["after"].as_str());
            assert!((1..=PAGE_MAX).contains(limit));
        }
        Command::Status { away } => assert_eq!(value["status"], if *away { "away" } else { "online" }),
        Command::Identify { .. } | Command::Ask { ask: Ask::Summary, .. } => panic!("the JSON form has no {request:?}"),
        Command::Refresh { token } => assert_eq!(Some(&**token), value["token"].as_str()),
        Command::Ping { .. } => assert_eq!(kind, "ping"),
    }
}

pub fn json_seeds() -> Vec<Vec<u8>> {
    let deep = format!(r#"{{"type":"publish","room":"r","data":{}1{}}}"#, "[".repeat(300), "]".repeat(300));
    let long = format!(r#"{{"type":"join","room":"{}"}}"#, "x".repeat(129));
    let texts = [
        r#"{"type":"publish","id":1,"room":"r","data":{"a":[1,"ü\u00fc",null]},"key":"k","echo":true}"#,
        r#"{"type":"publish","room":"a\u0062\ud83d\ude00","data":"\ud800","ephemeral":true,"echo":false}"#,
        r#" { "type" : "join" , "room":"r","last_received_seq":7,"epoch":"00000000000000ff","history":5}"#,
        r#"{"type":"leave","room":"räume"}"#,
        r#"{"type":"history","id":9,"room":"r","after":1,"limit":10}"#,
        r#"{"type":"history","id":9,"room":"r","before":18446744073709551615}"#,
        r#"{"type":"presence","room":"r","after":"bob","limit":300}"#,
        r#"{"type":"receipt","room":"r","seq":7,"kind":"delivered"}"#,
        r#"{"type":"join","room":"r","invite":"c0de"}"#,
        r#"{"type":"create_room","id":1,"room":"r","visibility":"private","title":"A \u0072oom"}"#,
        r#"{"type":"delete_room","room":"r"}"#,
        r#"{"type":"room_info","room":"r"}"#,
        r#"{"type":"invite","room":"r","max_uses":3,"ttl_s":2592000}"#,
        r#"{"type":"set_role","room":"r","user":"bob","role":"owner"}"#,
        r#"{"type":"kick","room":"r","user":"bob"}"#,
        r#"{"type":"resume","session":"5e","positions":{"r":{"seq":7,"epoch":"00000000000000ff"},"q":{"seq":0}}}"#,
        r#"{"type":"list_rooms","id":2,"after":"a","limit":7}"#,
        r#"{"type":"status","status":"away"}"#,
        r#"{"type":"refresh","token":"eyJhbGciOiJIUzI1NiJ9.e30.AAAA"}"#,
        r#"{"type":"ping","id":9007199254740991}"#,
        r#"{"type":"later","unknown":[{},{"type":"x"}]}"#,
        r#"{"type":"publish","room":"r","data":1e999,"later":-0.5E-7}"#,
        r#"["type","ping"]"#,
        "null",
        "",
        &deep,
        &long,
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub fn run_binary(input: &[u8]) {
    let parsed = binary::parse_command(input);
    let op = input.first_chunk::<4>().map(|op| u32::from_le_bytes(*op));
    let request = match parsed {
        Ok(request) => request,
        Err(error) => {
            assert!(!error.message.is_empty() && error.message.len() < 200, "{}", error.message);
            assert_eq!((error.reply.form, error.reply.id), (Form::Binary, None));
            let is_ping = op == Some(command_op::PING) && input.len() >= 12;
            return assert!(!is_ping, "refused: {}", error.message);
        }
    };
    assert_eq!(request.reply.form, Form::Binary);
    let number = |at: usize| u64::from_le_bytes(*input[at..].first_chunk().expect("it was read"));
    let (room, at) = match &request.command {
        Command::Join { room, recover: None, history: None, invite: None } => (room, 4),
        Command::Join { room, recover: Some(recover), history: None, invite: None } => {
            assert_eq!((recover.seq, recover.epoch.map_or(0, |epoch| epoch.0)), (number(4), number(12)));
            (room, 20)
        }
        Command::Leave { room } => (room, 4),
        Command::Ask { room, ask: Ask::Publish(Publish { kind, data, key: None, echo: true, ephemeral: false }) } => {
            let length = usize::from(u16::from_le_bytes([input[4], input[5]]));
            assert_eq!((*kind, &data[..]), (DataKind::Binary, &input[6 + length..]));
            assert_eq!(room.as_bytes(), &input[6..6 + length]);
            return check_name(room).expect("names are checked");
        }
        Command::Ping { value } => return assert_eq!((op, *value), (Some(command_op::PING), number(4))),
        other => panic!("the binary form has no {other:?}"),
    };
    assert_eq!(room.as_bytes(), &input[at..]);
    check_name(room).expect("names are checked");
}

pub fn binary_seeds() -> Vec<Vec<u8>> {
    let message = |op: u32, rest: &[u8]| [&op.to_le_bytes(), rest].concat();
    vec![
        message(command_op::JOIN, "räume".as_bytes()),
        message(command_op::LEAVE, b"lobby"),
        message(command_op::PUBLISH, b"\x05\0lobby\xff\0any bytes"),
        message(command_op::PUBLISH, b"\x01\0r"),
        message(command_op::JOIN_FROM, b"\x09\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0lobby"),
        message(command_op::PING, b"\x07\0\0\0\0\0\0\0later"),
        message(200, b"?"),
        vec![1, 0],
    ]
}
