//! Pushes in every form, field by field.

use serde_json::{Value, json};

use crate::base::chat::ReceiptKind;
use crate::base::ids::{RoomName, UserName};
use crate::wire::encode::{encode_push, encode_pushes};
use crate::wire::form::{Form, Forms};
use crate::wire::frame::payload_of;
use crate::wire::protocol::{LeftReason, Push, ReconnectReason, Status};

fn pushes() -> Vec<(Push<'static>, Value, u32)> {
    let room: &'static RoomName = Box::leak(Box::new(RoomName::new("a \"room\" \\ ü").expect("a name")));
    let user: &'static UserName = Box::leak(Box::new(UserName::new("zoë").expect("a name")));
    let welcome = Push::Welcome {
        connection: "0-1-2",
        user: "zoë",
        name: None,
        session: "s\"1",
        node: "n1",
        heartbeat_ms: 25_000,
        max_message_bytes: 65_536,
    };
    let named = Push::Welcome {
        connection: "c",
        user: "zoë",
        name: Some("Zoë \"Z\""),
        session: "s",
        node: "n",
        heartbeat_ms: 1,
        max_message_bytes: 2,
    };
    vec![
        (
            welcome,
            json!({"type": "welcome", "connection": "0-1-2", "user": "zoë", "session": "s\"1", "node": "n1",
                "heartbeat_ms": 25_000, "max_message_bytes": 65_536}),
            128,
        ),
        (
            named,
            json!({"type": "welcome", "connection": "c", "user": "zoë", "name": "Zoë \"Z\"", "session": "s",
                "node": "n", "heartbeat_ms": 1, "max_message_bytes": 2}),
            128,
        ),
        (
            Push::Left { room, reason: LeftReason::Token },
            json!({"type": "left", "room": **room, "reason": "token"}),
            136,
        ),
        (
            Push::Status { room, user, status: Status::Away },
            json!({"type": "status", "room": **room, "user": "zoë", "status": "away"}),
            136,
        ),
        (
            Push::Receipt { room, user, kind: ReceiptKind::Delivered, seq: 9 },
            json!({"type": "receipt", "room": **room, "user": "zoë", "kind": "delivered", "seq": 9}),
            136,
        ),
        (Push::Total { room, total: 1_001 }, json!({"type": "status", "room": **room, "total": 1_001}), 136),
        (
            Push::Gap { room, from: 3, to: u64::MAX },
            json!({"type": "gap", "room": **room, "from": 3, "to": u64::MAX}),
            134,
        ),
        (
            Push::Left { room, reason: LeftReason::Kicked },
            json!({"type": "left", "room": **room, "reason": "kicked"}),
            136,
        ),
        (
            Push::Left { room, reason: LeftReason::RoomDeleted },
            json!({"type": "left", "room": **room, "reason": "room_deleted"}),
            136,
        ),
        (
            Push::Reconnect { after_ms: 1_500, reason: ReconnectReason::Draining },
            json!({"type": "reconnect", "after_ms": 1_500, "reason": "draining"}),
            136,
        ),
    ]
}

#[test]
fn json_pushes_read_back() {
    for (push, expected, _) in pushes() {
        let frame = encode_push(&push, Form::Json);
        assert_eq!(frame[0], 0x81, "a final text frame");
        let read: Value = serde_json::from_slice(&payload_of(&frame)).expect("valid JSON");
        assert_eq!(read, expected);
    }
}

#[test]
fn binary_pushes_have_their_ops() {
    for (push, expected, op) in pushes() {
        let frame = encode_push(&push, Form::Binary);
        assert_eq!(frame[0], 0x82, "a final binary frame");
        let payload = payload_of(&frame);
        assert_eq!(payload[..4], op.to_le_bytes());
        if let Push::Gap { room, from, to } = push {
            let expected = [&from.to_le_bytes()[..], &to.to_le_bytes(), room.as_bytes()].concat();
            assert_eq!(payload[4..], expected);
        } else {
            let read: Value = serde_json::from_slice(&payload[4..]).expect("valid JSON");
            assert_eq!(read, expected);
        }
    }
}

#[test]
fn several_pushes_share_a_buffer() {
    let list: Vec<_> = pushes().into_iter().map(|(push, ..)| push).collect();
    let frames = encode_pushes(&list, Forms::ALL);
    for form in Form::ALL {
        let one_by_one: Vec<u8> = list.iter().flat_map(|push| encode_push(push, form)).collect();
        assert_eq!(frames.get(form).expect("wanted"), &one_by_one);
    }
    assert!(encode_pushes(&list, Forms::default()).is_empty());
    assert!(encode_pushes(&[], Forms::ALL).is_empty());
}
