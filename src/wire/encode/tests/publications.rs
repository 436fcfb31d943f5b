//! Messages in every form, made from either kind of data.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::base::ids::{RoomName, UserName};
use crate::wire::encode::encode_ephemeral;
use crate::wire::form::{Form, Forms};
use crate::wire::frame::payload_of;
use crate::wire::publication::{Content, Data, DataKind, Publication};

/// Every set of forms.
fn form_sets() -> [Forms; 4] {
    [Forms::ALL, Form::Json.into(), Form::Binary.into(), Forms::default()]
}

fn names() -> (RoomName, UserName) {
    (RoomName::new("a \"b\"\\ü").expect("a name"), UserName::new("zoë").expect("a name"))
}

fn publish(data: Data<'_>, key: Option<&str>, forms: impl Into<Forms>) -> Publication {
    let (room, from) = names();
    let content = Content::new(&room, 42, &from, 1_700_000_000_123, data).with_key(key);
    Publication::encode(&content, forms.into())
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
    let publication = publish(json_data(r#"{"x": [1]}"#), Some("k\"1"), Form::Json);
    let frame = publication.frames.get(Form::Json).expect("wanted");
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
        for forms in form_sets() {
            for data in [json_data(text), json_data("0"), binary_data(b"\x00\xff}"), binary_data(b"")] {
                let publication = publish(data, key, forms);
                assert_eq!(publication.data, data.bytes);
                let slice = publication.frames.iter().any(|(_, frame)| lies_in(&publication.data, frame));
                assert!(slice || data.bytes.is_empty(), "not copied");
                assert!(forms.iter().all(|form| publication.frames.get(form).is_some()), "wanted");
                assert!(!publication.frames.is_empty());
                assert_eq!(publication.bytes(), publication.frames.len());
                assert_eq!(publication.key.as_deref(), key);
            }
        }
    }
    assert!(publish(json_data("0"), None, Form::Json).frames.get(Form::Binary).is_none(), "not wanted");
    assert!(publish(json_data("0"), None, Form::Binary).frames.get(Form::Json).is_none(), "not wanted");
    assert!(publish(json_data("0"), None, Forms::default()).frames.get(Form::Json).is_some(), "the data's own form");
    assert!(publish(binary_data(b"0"), None, Forms::default()).frames.get(Form::Json).is_none(), "the data's own form");
}

#[test]
fn a_missing_form_is_made_from_the_other() {
    let (room, _) = names();
    for data in [json_data("{\"a\":1}"), binary_data(b"\x00\xff raw"), binary_data(b"")] {
        let both = publish(data, Some("k"), Forms::ALL);
        for forms in form_sets() {
            let publication = publish(data, Some("k"), forms);
            for form in Form::ALL {
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
    let publication = publish(binary_data(b"\x00\xff\x10"), None, Form::Binary);
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
        let publication = publish(json_data(&text), None, Forms::ALL);
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
        let frames = encode_ephemeral(&Content::new(&room, 0, &from, 5, data), Forms::ALL);
        let json = payload_of(frames.get(Form::Json).expect("wanted"));
        let read: Value = serde_json::from_slice(&json).expect("valid JSON");
        assert_eq!(read, json!({"type": "ephemeral", "room": *room, "from": "zoë", "at": 5, name: value}));
        let binary = payload_of(frames.get(Form::Binary).expect("wanted"));
        assert_eq!(binary[..4], 136_u32.to_le_bytes());
        assert_eq!(binary[4..], json);
        assert!(encode_ephemeral(&Content::new(&room, 0, &from, 5, data), Forms::default()).is_empty());
    }
}
