//! Replies in every form, field by field.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::base::chat::{ReceiptKind, Role, Visibility};
use crate::base::codes::ErrorCode;
use crate::base::ids::{Epoch, Position, RoomName, UserName};
use crate::wire::client::ServerDecoder;
use crate::wire::encode::encode_reply;
use crate::wire::form::{Form, Forms};
use crate::wire::frame::payload_of;
use crate::wire::protocol::{Answer, PresentUser, Refusal, Reply, ReplyTo, RoomEntry, RoomInfo, Status};
use crate::wire::publication::{Content, Data, DataKind, Publication};

const JSON: ReplyTo = ReplyTo { id: Some(7), form: Form::Json };
const BINARY: ReplyTo = ReplyTo { id: None, form: Form::Binary };

fn room() -> RoomName {
    RoomName::new("r\"ü").expect("a name")
}

/// Messages in every mixture of forms.
fn messages() -> Vec<Arc<Publication>> {
    let from = UserName::new("bob").expect("a name");
    let forms = [Form::Json.into(), Form::Binary.into(), Forms::ALL, Forms::default()];
    forms
        .into_iter()
        .enumerate()
        .map(|(i, forms)| {
            let data = match i % 2 {
                0 => Data { kind: DataKind::Json, bytes: b"{\"n\": 1}" },
                _ => Data { kind: DataKind::Binary, bytes: b"\xff" },
            };
            let room = room();
            let content = Content::new(&room, i as u64 + 1, &from, 9, data).with_key(Some("k"));
            Arc::new(Publication::encode(&content, forms))
        })
        .collect()
}

fn json_of(reply: &Reply<'_>, to: ReplyTo) -> Value {
    let frame = encode_reply(reply, to);
    assert_eq!(frame[0], 0x81, "a final text frame");
    serde_json::from_slice(&payload_of(&frame)).expect("valid JSON")
}

fn binary_of(reply: &Reply<'_>) -> Bytes {
    let frame = encode_reply(reply, BINARY);
    assert_eq!(frame[0], 0x82, "a final binary frame");
    payload_of(&frame)
}

fn joined<'a>(room: &'a RoomName, messages: &'a [Arc<Publication>]) -> Reply<'a> {
    Reply::Joined {
        room,
        epoch: Epoch(0xab),
        seq: 4,
        recovered: true,
        messages,
        remaining: 0,
        members: 3,
        role: Some(Role::Member),
    }
}

fn shown_messages() -> Vec<Value> {
    (1..=4)
        .map(|seq| {
            let (name, data) = if seq % 2 == 1 { ("data", json!({"n": 1})) } else { ("data_b64", json!("/w==")) };
            json!({"type": "message", "room": *room(), "seq": seq, "from": "bob", "at": 9, name: data, "key": "k"})
        })
        .collect()
}

#[test]
fn joined_tells_how_many_messages_follow_it() {
    let (room, messages) = (room(), messages());
    let Reply::Joined { epoch, seq, recovered, members, .. } = joined(&room, &messages) else { unreachable!() };
    let (room, messages, remaining, role) = (&room, &messages[..], 9, None);
    let reply = Reply::Joined { room, epoch, seq, recovered, messages, remaining, members, role };
    let shown = json_of(&reply, JSON);
    assert_eq!(shown.get("role"), None, "only a lasting member has one");
    assert_eq!((shown["messages"].as_array().map(Vec::len), &shown["remaining"]), (Some(4), &json!(9)));
    assert_eq!(binary_of(&reply)[21..25], 13_u32.to_le_bytes(), "the binary number counts all");
}

#[test]
fn joined_in_json_holds_the_messages_verbatim() {
    let (room, messages) = (room(), messages());
    let reply = joined(&room, &messages);
    assert_eq!(
        json_of(&reply, JSON),
        json!({"type": "joined", "id": 7, "room": *room, "epoch": "00000000000000ab", "seq": 4, "recovered": true,
            "messages": shown_messages(), "members": 3, "role": "member"})
    );
    let pushed = payload_of(&encode_reply(&joined(&room, &[]), ReplyTo { id: None, form: Form::Json }));
    assert_eq!(
        std::str::from_utf8(&pushed),
        Ok(concat!(
            r#"{"type":"joined","room":"r\"ü","epoch":"00000000000000ab","seq":4,"recovered":true,"#,
            r#""messages":[],"members":3,"role":"member"}"#
        ))
    );
    let text = payload_of(&encode_reply(&reply, JSON));
    let text = std::str::from_utf8(&text).expect("UTF-8");
    assert!(text.contains(r#""data":{"n": 1},"key":"k"}"#), "as published: {text}");
}

#[test]
fn joined_in_binary_is_followed_by_its_messages() {
    let (room, messages) = (room(), messages());
    let buffer = encode_reply(&joined(&room, &messages), BINARY);
    let mut decoder = ServerDecoder::default();
    let mut rest = &buffer[..];
    let mut payloads = Vec::new();
    while !rest.is_empty() {
        let (used, message) = decoder.next(rest, 1 << 20).expect("legal frames");
        payloads.push(message.expect("whole frames").payload.to_vec());
        rest = &rest[used..];
    }
    let mut expected = 129_u32.to_le_bytes().to_vec();
    expected.extend_from_slice(&0xab_u64.to_le_bytes());
    expected.extend_from_slice(&4_u64.to_le_bytes());
    expected.push(1);
    expected.extend_from_slice(&4_u32.to_le_bytes());
    expected.extend_from_slice(room.as_bytes());
    assert_eq!(payloads[0], expected);
    assert_eq!(payloads.len(), 5);
    for (payload, message) in payloads[1..].iter().zip(&messages) {
        assert_eq!(payload, &payload_of(&message.frame(&room, Form::Binary)));
    }
}

#[test]
fn the_other_replies_in_json() {
    let (room, messages) = (room(), messages());
    let users = [
        PresentUser { user: UserName::new("a").expect("a name"), status: Status::Online, connections: 2 },
        PresentUser { user: UserName::new("b").expect("a name"), status: Status::Away, connections: 1 },
    ];
    let name = RoomName::new("r").expect("a name");
    let answers = [(Some(5), false), (Some(5), true), (None, false)].map(|(seq, duplicate)| Answer::Published {
        epoch: Epoch(1),
        seq,
        duplicate,
    });
    let [published, duplicate, ephemeral] = answers.each_ref().map(|answer| Reply::Answer { room: &name, answer });
    let head = Position { epoch: Epoch(u64::MAX), seq: 4 };
    let history = Answer::History { head, first_seq: 1, messages: messages.to_vec() };
    let presence = Answer::Presence { total: 10, users: users.to_vec() };
    let info = RoomInfo { visibility: Visibility::Private, role: Some(Role::Owner), title: "T".into(), figures: None };
    let created = Answer::Room(info.clone());
    let figures = Some((3, 9));
    let described = Answer::Room(RoomInfo { visibility: Visibility::Public, role: None, figures, ..info });
    let invited = Answer::Invited { code: "c0de".into(), expires_at: 99 };
    let role_set = Answer::RoleSet { user: users[0].user.clone(), role: Role::Admin };
    let kicked = Answer::Kicked { user: users[0].user.clone() };
    let entries = [
        RoomEntry { room: room.clone(), role: Role::Owner, head_seq: 9, read_seq: 4 },
        RoomEntry { room: name.clone(), role: Role::Member, head_seq: 0, read_seq: 1 },
    ];
    let receipt = Answer::Receipt { kind: ReceiptKind::Read, seq: 3 };
    let refusal = Refusal { retry_after_ms: Some(9), ..Refusal::new(ErrorCode::NotJoined, "no") };
    let refused = Answer::Refused(refusal);
    let error = |retry_after_ms| Reply::Error { code: ErrorCode::RateLimited, message: "a \"b\"", retry_after_ms };
    let cases = [
        (Reply::Left { room: "r" }, json!({"type": "left", "id": 7, "room": "r"})),
        (published, json!({"type": "published", "id": 7, "room": "r", "seq": 5, "epoch": "0000000000000001"})),
        (
            duplicate,
            json!({"type": "published", "id": 7, "room": "r", "seq": 5, "epoch": "0000000000000001",
                "duplicate": true}),
        ),
        (ephemeral, json!({"type": "published", "id": 7, "room": "r", "epoch": "0000000000000001"})),
        (
            Reply::Answer { room: &room, answer: &history },
            json!({"type": "history", "id": 7, "room": *room, "epoch": "ffffffffffffffff", "first_seq": 1,
                "head_seq": 4, "messages": shown_messages()}),
        ),
        (
            Reply::Answer { room: &name, answer: &presence },
            json!({"type": "presence", "id": 7, "room": "r", "total": 10, "users": [
                {"user": "a", "status": "online", "connections": 2},
                {"user": "b", "status": "away", "connections": 1}]}),
        ),
        (
            Reply::Answer { room: &name, answer: &receipt },
            json!({"type": "receipt", "id": 7, "room": "r", "kind": "read", "seq": 3}),
        ),
        (
            Reply::Answer { room: &name, answer: &created },
            json!({"type": "room", "id": 7, "room": "r", "visibility": "private", "role": "owner", "title": "T"}),
        ),
        (
            Reply::Answer { room: &name, answer: &described },
            json!({"type": "room", "id": 7, "room": "r", "visibility": "public", "title": "T", "members": 3,
                "head_seq": 9}),
        ),
        (
            Reply::Answer { room: &name, answer: &Answer::RoomDeleted },
            json!({"type": "room_deleted", "id": 7, "room": "r"}),
        ),
        (
            Reply::Answer { room: &name, answer: &invited },
            json!({"type": "invite", "id": 7, "room": "r", "code": "c0de", "expires_at": 99}),
        ),
        (
            Reply::Answer { room: &name, answer: &role_set },
            json!({"type": "role", "id": 7, "room": "r", "user": "a", "role": "admin"}),
        ),
        (Reply::Answer { room: &name, answer: &kicked }, json!({"type": "kicked", "id": 7, "room": "r", "user": "a"})),
        (Reply::Resumed { rooms: &[] }, json!({"type": "resumed", "id": 7, "rooms": []})),
        (
            Reply::Resumed { rooms: &[name.clone(), room.clone()] },
            json!({"type": "resumed", "id": 7, "rooms": ["r", *room]}),
        ),
        (Reply::Rooms { rooms: &[] }, json!({"type": "rooms", "id": 7, "rooms": []})),
        (
            Reply::Rooms { rooms: &entries },
            json!({"type": "rooms", "id": 7, "rooms": [
                {"room": *room, "role": "owner", "head_seq": 9, "read_seq": 4, "unread": 5},
                {"room": "r", "role": "member", "head_seq": 0, "read_seq": 1, "unread": 0}]}),
        ),
        (Reply::Status { status: Status::Away }, json!({"type": "status", "id": 7, "status": "away"})),
        (Reply::Refreshed { expires_at: 1_700 }, json!({"type": "refreshed", "id": 7, "expires_at": 1_700})),
        (Reply::Pong { at: 123, value: 0 }, json!({"type": "pong", "id": 7, "at": 123})),
        (error(None), json!({"type": "error", "id": 7, "code": "rate_limited", "message": "a \"b\""})),
        (
            Reply::Answer { room: &name, answer: &refused },
            json!({"type": "error", "id": 7, "code": "not_joined", "message": "no", "retry_after_ms": 9}),
        ),
        (
            error(Some(250)),
            json!({"type": "error", "id": 7, "code": "rate_limited", "message": "a \"b\"", "retry_after_ms": 250}),
        ),
    ];
    for (reply, expected) in cases {
        assert_eq!(json_of(&reply, JSON), expected);
        let mut without_id = expected;
        without_id.as_object_mut().expect("an object").remove("id");
        assert_eq!(json_of(&reply, ReplyTo { id: None, form: Form::Json }), without_id);
    }
}

#[test]
fn the_other_replies_in_binary() {
    let room = RoomName::new("räume").expect("a name");
    let answers = [Some(5), None].map(|seq| Answer::Published { epoch: Epoch(1), seq, duplicate: false });
    let [published, ephemeral] = answers.each_ref().map(|answer| Reply::Answer { room: &room, answer });
    let refused = Answer::Refused(Refusal::new(ErrorCode::Internal, "böse"));
    let cases: [(Reply<'_>, Vec<&[u8]>); 6] = [
        (Reply::Left { room: "räume" }, vec![&[130, 0, 0, 0], "räume".as_bytes()]),
        (published, vec![&[132, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0], "räume".as_bytes()]),
        (ephemeral, vec![&[132, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "räume".as_bytes()]),
        (Reply::Pong { at: 1, value: 0x0102 }, vec![&[133, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0]]),
        (Reply::Answer { room: &room, answer: &refused }, vec![&[135, 0, 0, 0, 17, 0], "böse".as_bytes()]),
        (
            Reply::Error { code: ErrorCode::Internal, message: "böse", retry_after_ms: Some(1) },
            vec![&[135, 0, 0, 0, 17, 0], "böse".as_bytes()],
        ),
    ];
    for (reply, expected) in cases {
        assert_eq!(binary_of(&reply), expected.concat());
    }
}

#[test]
fn replies_without_an_op_are_json_in_binary() {
    let (room, messages) = (room(), messages());
    let head = Position { epoch: Epoch(1), seq: 4 };
    let history = Answer::History { head, first_seq: 1, messages: messages.to_vec() };
    let presence = Answer::Presence { total: 0, users: Vec::new() };
    for reply in [
        Reply::Answer { room: &room, answer: &history },
        Reply::Answer { room: &room, answer: &presence },
        Reply::Answer { room: &room, answer: &Answer::RoomDeleted },
        Reply::Answer { room: &room, answer: &Answer::Receipt { kind: ReceiptKind::Read, seq: 3 } },
        Reply::Status { status: Status::Online },
        Reply::Refreshed { expires_at: 1 },
    ] {
        let payload = binary_of(&reply);
        assert_eq!(payload[..4], 136_u32.to_le_bytes());
        let read: Value = serde_json::from_slice(&payload[4..]).expect("valid JSON");
        assert_eq!(read, json_of(&reply, ReplyTo { id: None, form: Form::Json }));
    }
}
