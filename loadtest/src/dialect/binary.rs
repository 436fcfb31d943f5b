//! Owns the client side of Roomring's binary form (PROTOCOL section 6). Never knows scenarios.

use super::json;
use super::said::{ClientPosition, RoomMessage, Said, StampedDelivery};
use crate::payload::{Payload, Stamp};

const JOIN: u32 = 1;
const LEAVE: u32 = 2;
const PUBLISH: u32 = 3;
const JOIN_FROM: u32 = 4;
const WELCOME: u32 = 128;
const JOINED: u32 = 129;
const LEFT: u32 = 130;
const MESSAGE: u32 = 131;
const PUBLISHED: u32 = 132;
const PONG: u32 = 133;
const GAP: u32 = 134;
const ERROR: u32 = 135;
const OTHER: u32 = 136;

/// Bytes of a publication before the room's name.
const MESSAGE_HEAD: usize = 24;

/// Error codes in the order of PROTOCOL section 5; numbers start at 1.
const CODES: [&str; 17] = [
    "bad_command",
    "unknown_command",
    "not_joined",
    "room_not_found",
    "room_exists",
    "forbidden",
    "invite_invalid",
    "invalid_token",
    "token_expired",
    "too_large",
    "limit_exceeded",
    "rate_limited",
    "history_unavailable",
    "session_unknown",
    "unavailable",
    "overloaded",
    "internal",
];

/// Writes a join, from a position if there is one.
pub fn write_join(room: &str, position: Option<&ClientPosition>, out: &mut Vec<u8>) {
    match position {
        None => out.extend_from_slice(&JOIN.to_le_bytes()),
        Some(ClientPosition { epoch, seq }) => {
            out.extend_from_slice(&JOIN_FROM.to_le_bytes());
            out.extend_from_slice(&seq.to_le_bytes());
            out.extend_from_slice(&u64::from_str_radix(epoch, 16).unwrap_or(0).to_le_bytes());
        }
    }
    out.extend_from_slice(room.as_bytes());
}

/// Writes a leave.
pub fn write_leave(room: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&LEAVE.to_le_bytes());
    out.extend_from_slice(room.as_bytes());
}

/// Writes a publish.
pub fn write_publish(room: &str, stamp: Stamp, payload: Payload, out: &mut Vec<u8>) {
    out.extend_from_slice(&PUBLISH.to_le_bytes());
    let room_bytes = u16::try_from(room.len()).expect("the generator's room names are short");
    out.extend_from_slice(&room_bytes.to_le_bytes());
    out.extend_from_slice(room.as_bytes());
    payload.write(stamp, out);
}

/// Parses seq and stamp of a publication.
#[must_use]
pub fn delivery(message: &[u8]) -> Option<StampedDelivery> {
    if u32_at(message, 0)? != MESSAGE {
        return None;
    }
    let data = MESSAGE_HEAD + usize::from(u16_at(message, 20)?) + usize::from(u16_at(message, 22)?);
    Some(StampedDelivery { seq: Some(u64_at(message, 4)?), stamp: message.get(data..).and_then(stamp_of) })
}

fn stamp_of(data: &[u8]) -> Option<Stamp> {
    // The stamp begins the data, except in JSON.
    Stamp::read(data).or_else(|| Stamp::find(data, &mut 0))
}

/// Parses any message.
#[must_use]
pub fn parse(message: &[u8]) -> Said {
    try_parse(message).unwrap_or_else(|| Said::Garbage(format!("binary message of {} bytes", message.len())))
}

fn try_parse(message: &[u8]) -> Option<Said> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(match u32_at(message, 0)? {
        WELCOME | PONG => Said::Other,
        JOINED => Said::Joined {
            epoch: format!("{:016x}", u64_at(message, 4)?),
            seq: u64_at(message, 12)?,
            recovered: *message.get(20)? != 0,
            messages: Vec::new(),
            following: u32_at(message, 21)?,
            room: text(message.get(25..)?),
        },
        LEFT => Said::Left { room: text(&message[4..]) },
        MESSAGE => {
            let room_end = MESSAGE_HEAD + usize::from(u16_at(message, 20)?);
            let data = room_end + usize::from(u16_at(message, 22)?);
            let room = text(message.get(MESSAGE_HEAD..room_end)?);
            Said::Message(RoomMessage { room, seq: u64_at(message, 4)?, data: message.get(data..)?.to_vec() })
        }
        PUBLISHED => Said::Accepted { seq: Some(u64_at(message, 4)?), room: text(message.get(12..)?) },
        GAP => Said::Gap { from: u64_at(message, 4)?, to: u64_at(message, 12)?, room: text(message.get(20..)?) },
        ERROR => {
            let code = usize::from(u16_at(message, 4)?);
            let name = CODES.get(code.wrapping_sub(1)).map_or_else(|| code.to_string(), |name| (*name).to_owned());
            Said::Error { code: name, message: text(message.get(6..)?) }
        }
        OTHER => json::parse(message.get(4..)?),
        op => Said::Garbage(format!("unknown op {op}")),
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(seq: u64, data: &[u8]) -> Vec<u8> {
        let mut out = MESSAGE.to_le_bytes().to_vec();
        out.extend_from_slice(&seq.to_le_bytes());
        out.extend_from_slice(&77u64.to_le_bytes());
        out.extend_from_slice(&4u16.to_le_bytes());
        out.extend_from_slice(&5u16.to_le_bytes());
        out.extend_from_slice(b"roomalice");
        out.extend_from_slice(data);
        out
    }

    #[test]
    fn publications_are_read_by_layout() {
        let stamp = Stamp { number: 6, room: 1 };
        let mut data = Vec::new();
        stamp.write(64, &mut data);
        let bytes = message(9, &data);
        assert_eq!(delivery(&bytes), Some(StampedDelivery { seq: Some(9), stamp: Some(stamp) }));
        assert_eq!(parse(&bytes), Said::Message(RoomMessage { room: "room".into(), seq: 9, data }));
        for cut in 0..MESSAGE_HEAD + 9 {
            assert!(matches!(parse(&bytes[..cut]), Said::Garbage(_)), "cut at {cut}");
        }
        assert_eq!(delivery(&PONG.to_le_bytes()), None);
    }

    #[test]
    fn replies_are_read() {
        let mut joined = JOINED.to_le_bytes().to_vec();
        joined.extend_from_slice(&0xabcu64.to_le_bytes());
        joined.extend_from_slice(&40u64.to_le_bytes());
        joined.push(1);
        joined.extend_from_slice(&3u32.to_le_bytes());
        joined.extend_from_slice(b"r");
        let (room, epoch) = ("r".to_owned(), "0000000000000abc".to_owned());
        let expected = Said::Joined { room, epoch, seq: 40, recovered: true, messages: Vec::new(), following: 3 };
        assert_eq!(parse(&joined), expected);
        let mut error = ERROR.to_le_bytes().to_vec();
        error.extend_from_slice(&3u16.to_le_bytes());
        error.extend_from_slice(b"join first");
        assert_eq!(parse(&error), Said::Error { code: "not_joined".into(), message: "join first".into() });
    }
}
