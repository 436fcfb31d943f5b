//! Owns the client side of Roomring's JSON form (PROTOCOL sections 2 and 3). Never knows scenarios.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::said::{ClientPosition, RoomMessage, Said, StampedDelivery};
use crate::payload::{Payload, Stamp};

/// Positions of fields in the last publication, since messages of a room look alike.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Hints {
    seq: usize,
    stamp: usize,
}

const MESSAGE: &[u8] = b"{\"type\":\"message\"";
const TYPE: &[u8] = b"{\"type\":";
const PUBLISHED: &[u8] = b"\"published\"";
const SEQ: &[u8] = b"\"seq\":";

impl Hints {
    /// Parses seq and stamp of a publication without the rest. Uses [`parse`] if `type` is not the first field.
    pub fn delivery(&mut self, message: &[u8]) -> Option<StampedDelivery> {
        if !message.starts_with(MESSAGE) {
            return match parse(message) {
                Said::Message(published) => {
                    let stamp = Stamp::find(&published.data, &mut 0);
                    Some(StampedDelivery { seq: Some(published.seq), stamp })
                }
                _ => None,
            };
        }
        if message.get(self.seq..).is_none_or(|rest| !rest.starts_with(SEQ)) {
            self.seq = memchr::memmem::find(message, SEQ)?;
        }
        let seq = digits(&message[self.seq + SEQ.len()..]);
        Some(StampedDelivery { seq: Some(seq), stamp: Stamp::find(message, &mut self.stamp) })
    }
}

/// Writes a join. The generator's names need no escaping.
pub fn write_join(room: &str, position: Option<&ClientPosition>, out: &mut Vec<u8>) {
    let text = match position {
        None => format!(r#"{{"type":"join","id":1,"room":"{room}"}}"#),
        Some(ClientPosition { epoch, seq }) => {
            format!(r#"{{"type":"join","id":1,"room":"{room}","last_received_seq":{seq},"epoch":"{epoch}"}}"#)
        }
    };
    out.extend_from_slice(text.as_bytes());
}

/// Writes a leave.
pub fn write_leave(room: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(format!(r#"{{"type":"leave","id":2,"room":"{room}"}}"#).as_bytes());
}

/// Writes a history read of at most `limit` messages after a seq.
pub fn write_history(room: &str, after: u64, limit: u32, out: &mut Vec<u8>) {
    let text = format!(r#"{{"type":"history","id":4,"room":"{room}","after":{after},"limit":{limit}}}"#);
    out.extend_from_slice(text.as_bytes());
}

/// Writes a publish with a reply and without an echo. The reply has the same `id`.
pub fn write_silent_publish(room: &str, id: u32, stamp: Stamp, payload: Payload, out: &mut Vec<u8>) {
    write!(out, r#"{{"type":"publish","id":{id},"room":"{room}","echo":false,"data":"#)
        .expect("a Vec takes all writes");
    payload.write_value(stamp, out);
    out.push(b'}');
}

/// Reply to a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedReply<'a> {
    /// The `id` of the publish.
    pub id: u64,
    /// The seq.
    pub seq: u64,
    /// The room's epoch.
    pub epoch: &'a [u8],
}

/// Parses a reply to a publish fast; `None` for other messages. The generator's room names contain none of the fields.
#[must_use]
pub fn published(message: &[u8]) -> Option<PublishedReply<'_>> {
    let after = |field: &[u8]| Some(&message[memchr::memmem::find(message, field)? + field.len()..]);
    let is_reply = match message.starts_with(TYPE) {
        true => message[TYPE.len()..].starts_with(PUBLISHED),
        false => memchr::memmem::find(message, b"\"type\":\"published\"").is_some(),
    };
    is_reply.then_some(())?;
    let epoch = after(b"\"epoch\":\"")?;
    let epoch = &epoch[..memchr::memchr(b'"', epoch)?];
    Some(PublishedReply { id: digits(after(b"\"id\":")?), seq: digits(after(SEQ)?), epoch })
}

fn digits(bytes: &[u8]) -> u64 {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |value, digit| value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
}

/// Writes a presence query.
pub fn write_presence(room: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(format!(r#"{{"type":"presence","id":5,"room":"{room}"}}"#).as_bytes());
}

/// Writes a publish. Without `reply` it has no `id`, so that only errors come back.
pub fn write_publish(room: &str, stamp: Stamp, payload: Payload, reply: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"type":"publish","#);
    if reply {
        out.extend_from_slice(br#""id":3,"#);
    }
    out.extend_from_slice(br#""room":""#);
    out.extend_from_slice(room.as_bytes());
    out.extend_from_slice(br#"","data":"#);
    payload.write_value(stamp, out);
    out.push(b'}');
}

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(default)]
    room: String,
    #[serde(default)]
    epoch: String,
    seq: Option<u64>,
    head_seq: Option<u64>,
    #[serde(default)]
    first_seq: u64,
    total: Option<u64>,
    #[serde(default)]
    recovered: bool,
    #[serde(default)]
    remaining: u32,
    #[serde(default, borrow)]
    messages: Vec<JsonEntry<'a>>,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    data_b64: Option<String>,
    #[serde(default)]
    from: Option<serde_json::Value>,
    #[serde(default)]
    to: u64,
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct JsonEntry<'a> {
    seq: u64,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    data_b64: Option<String>,
}

/// Parses any message.
#[must_use]
pub fn parse(message: &[u8]) -> Said {
    let object: Object = match serde_json::from_slice(message) {
        Ok(object) => object,
        Err(error) => return Said::Garbage(format!("{error} in {}", String::from_utf8_lossy(message))),
    };
    let data = |raw: Option<&RawValue>, base64: Option<&String>| match (raw, base64) {
        (Some(raw), _) => raw.get().as_bytes().to_vec(),
        // Data that cannot be decoded has no stamp, which counts as wrong.
        (None, base64) => base64.and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default(),
    };
    let entries = |room: &String| {
        let entry = |entry: &JsonEntry| {
            let data = data(entry.data, entry.data_b64.as_ref());
            RoomMessage { room: room.clone(), seq: entry.seq, data }
        };
        object.messages.iter().map(entry).collect()
    };
    match (object.kind, object.seq) {
        ("message", Some(seq)) => {
            let data = data(object.data, object.data_b64.as_ref());
            Said::Message(RoomMessage { room: object.room, seq, data })
        }
        ("joined", Some(seq)) => {
            let messages = entries(&object.room);
            let (epoch, recovered, following) = (object.epoch, object.recovered, object.remaining);
            Said::Joined { room: object.room, epoch, seq, recovered, messages, following }
        }
        ("history", _) if object.head_seq.is_some() => {
            let messages = entries(&object.room);
            let (epoch, first, head) = (object.epoch, object.first_seq, object.head_seq.unwrap_or(0));
            Said::History { room: object.room, epoch, first, head, messages }
        }
        ("presence", _) if object.total.is_some() => {
            Said::Presence { room: object.room, total: object.total.unwrap_or(0) }
        }
        ("left", _) => Said::Left { room: object.room },
        ("published", seq) => Said::Accepted { room: object.room, seq },
        ("gap", _) => {
            let from = object.from.and_then(|from| from.as_u64()).unwrap_or(0);
            Said::Gap { room: object.room, from, to: object.to }
        }
        ("error", _) => Said::Error { code: object.code, message: object.message },
        ("reconnect", _) => Said::Reconnect,
        ("message" | "joined", None) => Said::Garbage(String::from_utf8_lossy(message).into_owned()),
        _ => Said::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::PayloadKind;

    fn message(seq: u64, stamp: Stamp) -> Vec<u8> {
        let mut out = format!(r#"{{"type":"message","room":"r","seq":{seq},"from":"u","at":1,"data":""#).into_bytes();
        stamp.write(40, &mut out);
        out.extend_from_slice(b"\"}");
        out
    }

    #[test]
    fn the_fast_reader_agrees_with_the_parser() {
        let mut hints = Hints::default();
        for seq in [1, 9, 10, 99_999, 7] {
            let stamp = Stamp { number: 3, room: 8 };
            let bytes = message(seq, stamp);
            assert_eq!(hints.delivery(&bytes), Some(StampedDelivery { seq: Some(seq), stamp: Some(stamp) }));
            let Said::Message(published) = parse(&bytes) else { panic!("a message") };
            assert_eq!((published.seq, published.room.as_str()), (seq, "r"));
            assert_eq!(Stamp::read(&published.data[1..]), Some(stamp));
        }
        let other_order = br#"{"seq":5,"type":"message","room":"r","data":1}"#;
        assert_eq!(hints.delivery(other_order), Some(StampedDelivery { seq: Some(5), stamp: None }));
        assert_eq!(hints.delivery(br#"{"type":"status","room":"r"}"#), None);
    }

    #[test]
    fn replies_and_pushes_are_read() {
        let joined = br#"{"type":"joined","id":1,"room":"r","epoch":"00ff","seq":4,"recovered":true,
            "messages":[{"seq":4,"from":"u","at":1,"data":[1,2]}],"remaining":6,"members":1,"role":"member"}"#;
        let entry = RoomMessage { room: "r".into(), seq: 4, data: b"[1,2]".to_vec() };
        let (room, epoch) = ("r".to_owned(), "00ff".to_owned());
        let expected = Said::Joined { room, epoch, seq: 4, recovered: true, messages: vec![entry], following: 6 };
        assert_eq!(parse(joined), expected);
        let encoded = br#"{"type":"message","room":"r","seq":1,"from":"u","at":1,"data_b64":"fnJyMQ=="}"#;
        assert_eq!(parse(encoded), Said::Message(RoomMessage { room: "r".into(), seq: 1, data: b"~rr1".to_vec() }));
        let gap = br#"{"type":"gap","room":"r","from":3,"to":9}"#;
        assert_eq!(parse(gap), Said::Gap { room: "r".into(), from: 3, to: 9 });
        let error = br#"{"type":"error","code":"not_joined","message":"join first"}"#;
        assert_eq!(parse(error), Said::Error { code: "not_joined".into(), message: "join first".into() });
        assert!(matches!(parse(b"{"), Said::Garbage(_)));
        assert!(matches!(parse(br#"{"type":"joined","room":"r"}"#), Said::Garbage(_)));
    }

    #[test]
    fn a_silent_publish_and_its_reply_are_matched_by_id() {
        let mut out = Vec::new();
        let payload = Payload { bytes: 30, kind: PayloadKind::Dots, seed: 0 };
        write_silent_publish("r", 77, Stamp { number: 1, room: 1 }, payload, &mut out);
        let value: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!((value["id"].as_u64(), value["echo"].as_bool()), (Some(77), Some(false)));
        let reply = br#"{"type":"published","id":77,"room":"r","seq":120,"epoch":"00ff"}"#;
        assert_eq!(published(reply), Some(PublishedReply { id: 77, seq: 120, epoch: b"00ff" }));
        let other_order = br#"{"epoch":"00ff","id":77,"room":"r","seq":120,"type":"published"}"#;
        assert_eq!(published(other_order), Some(PublishedReply { id: 77, seq: 120, epoch: b"00ff" }));
        assert_eq!(published(br#"{"type":"published","id":77,"room":"r","seq":120}"#), None, "no epoch");
        assert_eq!(published(br#"{"type":"message","id":77,"seq":120,"epoch":"00ff"}"#), None);
    }

    #[test]
    fn commands_are_json() {
        let position = ClientPosition { epoch: "00ff".into(), seq: 12 };
        for (position, wanted) in [(None, serde_json::Value::Null), (Some(&position), 12.into())] {
            let mut out = Vec::new();
            write_join("r", position, &mut out);
            let value: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
            assert_eq!(value["last_received_seq"], wanted);
        }
        for reply in [true, false] {
            let mut out = Vec::new();
            let payload = Payload { bytes: 30, kind: PayloadKind::Dots, seed: 0 };
            write_publish("r", Stamp { number: 1, room: 1 }, payload, reply, &mut out);
            let value: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
            assert_eq!(value["data"].as_str().map(str::len), Some(30));
            assert_eq!(value["id"].is_number(), reply);
        }
    }
}
