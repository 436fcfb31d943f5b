//! Both forms of a message, made from either.

use serde_json::{Value, json};

use super::*;
use crate::wire::frame::payload_of;

const BOTH: Forms = Forms { json: true, binary: true };
const ONLY_JSON: Forms = Forms { json: true, binary: false };
const ONLY_BINARY: Forms = Forms { json: false, binary: true };
const NONE: Forms = Forms { json: false, binary: false };

fn names() -> (RoomName, UserName) {
    (RoomName::new("a \"b\"\\ü").expect("a name"), UserName::new("zoë").expect("a name"))
}

fn publish(data: Data<'_>, key: Option<&str>, forms: Forms) -> Publication {
    let (room, from) = names();
    Publication::encode(&Content { room: &room, from: &from, at: 1_700_000_000_123, key, data }, 42, forms)
}

fn json_data(text: &str) -> Data<'_> {
    Data { kind: DataKind::Json, bytes: text.as_bytes() }
}

fn binary_data(bytes: &[u8]) -> Data<'_> {
    Data { kind: DataKind::Binary, bytes }
}

fn binary_message(data: &[u8]) -> Vec<u8> {
    let (room, from) = names();
    let mut expected = Vec::new();
    expected.extend_from_slice(&131_u32.to_le_bytes());
    expected.extend_from_slice(&42_u64.to_le_bytes());
    expected.extend_from_slice(&1_700_000_000_123_u64.to_le_bytes());
    expected.extend_from_slice(&(room.len() as u16).to_le_bytes());
    expected.extend_from_slice(&(from.len() as u16).to_le_bytes());
    expected.extend_from_slice(room.as_bytes());
    expected.extend_from_slice(from.as_bytes());
    expected.extend_from_slice(data);
    expected
}

fn lies_in(part: &Bytes, whole: &Bytes) -> bool {
    let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
    whole.start <= part.start && part.end <= whole.end
}

#[test]
fn json_has_the_documented_fields_in_order() {
    let publication = publish(json_data(r#"{"x": [1]}"#), Some("k\"1"), ONLY_JSON);
    let frame = publication.frames.json.as_ref().expect("wanted");
    assert_eq!(frame[0], 0x81);
    assert_eq!(
        std::str::from_utf8(&payload_of(frame)),
        Ok(concat!(
            r#"{"type":"message","room":"a \"b\"\\ü","seq":42,"from":"zoë","at":1700000000123,"#,
            r#""data":{"x": [1]},"key":"k\"1"}"#
        ))
    );
}

#[test]
fn data_is_a_slice_of_a_frame_in_every_combination() {
    let text = r#"["ü", 1.0]"#;
    for key in [None, Some("key \\")] {
        for forms in [BOTH, ONLY_JSON, ONLY_BINARY, NONE] {
            for data in [json_data(text), json_data("0"), binary_data(b"\x00\xff}"), binary_data(b"")] {
                let publication = publish(data, key, forms);
                assert_eq!(publication.data, data.bytes);
                let frames = [&publication.frames.json, &publication.frames.binary];
                let slice = frames.into_iter().flatten().any(|frame| lies_in(&publication.data, frame));
                assert!(slice || data.bytes.is_empty(), "not copied");
                assert!(publication.frames.json.is_some() || !forms.json, "wanted");
                assert!(publication.frames.binary.is_some() || !forms.binary, "wanted");
                assert!(!publication.frames.is_empty());
                assert_eq!(publication.bytes(), publication.frames.len());
                assert_eq!(publication.key.as_deref(), key);
            }
        }
    }
    assert!(publish(json_data("0"), None, ONLY_JSON).frames.binary.is_none(), "not wanted");
    assert!(publish(json_data("0"), None, ONLY_BINARY).frames.json.is_none(), "not wanted");
    assert!(publish(json_data("0"), None, NONE).frames.json.is_some(), "the data's own form");
    assert!(publish(binary_data(b"0"), None, NONE).frames.json.is_none(), "the data's own form");
}

#[test]
fn a_missing_form_is_made_from_the_other() {
    let (room, _) = names();
    for data in [json_data("{\"a\":1}"), binary_data(b"\x00\xff raw"), binary_data(b"")] {
        let both = publish(data, Some("k"), BOTH);
        for forms in [ONLY_JSON, ONLY_BINARY, NONE] {
            let publication = publish(data, Some("k"), forms);
            for form in [Form::Json, Form::Binary] {
                assert_eq!(publication.frame(&room, form), both.frame(&room, form), "{forms:?} {form:?}");
            }
        }
        let binary = both.frame(&room, Form::Binary);
        assert_eq!(binary[0], 0x82);
        assert_eq!(payload_of(&binary), binary_message(data.bytes));
    }
}

#[test]
fn binary_data_is_base64_for_json() {
    let (room, _) = names();
    let publication = publish(binary_data(b"\x00\xff\x10"), None, ONLY_BINARY);
    let read: Value = serde_json::from_slice(&payload_of(&publication.frame(&room, Form::Json))).expect("valid JSON");
    assert_eq!(
        read,
        json!({"type": "message", "room": *room, "seq": 42, "from": "zoë", "at": 1_700_000_000_123_u64,
            "data_b64": "AP8Q"})
    );
}

#[test]
fn long_data_has_long_headers() {
    let (room, _) = names();
    for length in [10, 60, 125, 126, 65_000, 65_535, 65_536, 200_000] {
        let text = format!("\"{}\"", "x".repeat(length));
        let publication = publish(json_data(&text), None, BOTH);
        assert_eq!(publication.data, text.as_bytes());
        assert_eq!(payload_of(&publication.frame(&room, Form::Binary)), binary_message(text.as_bytes()));
        let json: Value = serde_json::from_slice(&payload_of(&publication.frame(&room, Form::Json))).expect("JSON");
        assert_eq!(json["data"].as_str().map(str::len), Some(length));
    }
}

#[test]
fn ephemeral_pushes_have_no_number() {
    let (room, from) = names();
    for (data, name, value) in [(json_data("[1]"), "data", json!([1])), (binary_data(b"f"), "data_b64", json!("Zg=="))]
    {
        let frames = encode_ephemeral(&Content { room: &room, from: &from, at: 5, key: None, data }, BOTH);
        let json = payload_of(frames.json.as_ref().expect("wanted"));
        let read: Value = serde_json::from_slice(&json).expect("valid JSON");
        assert_eq!(read, json!({"type": "ephemeral", "room": *room, "from": "zoë", "at": 5, name: value}));
        let binary = payload_of(frames.binary.as_ref().expect("wanted"));
        assert_eq!(binary[..4], 136_u32.to_le_bytes());
        assert_eq!(binary[4..], json);
        assert!(encode_ephemeral(&Content { room: &room, from: &from, at: 5, key: None, data }, NONE).is_empty());
    }
}
