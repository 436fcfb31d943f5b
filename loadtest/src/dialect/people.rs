//! Owns the commands of PROTOCOL sections 2 and 4 that people use beyond joining and publishing, and the replies and pushes
//! about them, in the JSON form. Never knows scenarios.

use std::io::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::said::{ClientPosition, RoomMessage};
use crate::payload::{Payload, Stamp};

/// A message of the server, as people's clients understand it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeopleSaid {
    /// The first push.
    Welcome {
        /// The session of the connection.
        session: String,
    },
    /// Reply to a join, or the push for a room that the server has joined.
    Joined {
        /// The join, unless the server has joined.
        id: Option<u64>,
        /// The room.
        room: String,
        /// Its epoch.
        epoch: String,
        /// Its head.
        seq: u64,
        /// Whether all messages after the given position follow.
        recovered: bool,
        /// The first of these messages.
        messages: Vec<RoomMessage>,
        /// How many follow as pushes.
        remaining: u64,
    },
    /// A numbered message.
    Message(RoomMessage),
    /// Reply to a publish.
    Published {
        /// The publish.
        id: Option<u64>,
        /// Its seq.
        seq: Option<u64>,
    },
    /// Reply to `create_room`.
    Room {
        /// The command.
        id: Option<u64>,
    },
    /// Reply to `invite`.
    Invite {
        /// The command.
        id: Option<u64>,
        /// The code for joins.
        code: String,
    },
    /// Reply to a receipt, or the receipt of another member.
    Receipt {
        /// The command, unless it is of another member.
        id: Option<u64>,
        /// The room.
        room: String,
        /// The other member.
        user: String,
        /// The stored seq.
        seq: u64,
    },
    /// Reply to `resume`. Joined pushes follow.
    Resumed {
        /// The command.
        id: Option<u64>,
    },
    /// Reply to `list_rooms`.
    Rooms {
        /// The command.
        id: Option<u64>,
        /// The rooms.
        rooms: Vec<ListedRoom>,
    },
    /// Reply to a presence query.
    Presence {
        /// The command.
        id: Option<u64>,
        /// Users present.
        total: u64,
    },
    /// Another member types, or stops typing.
    Typing {
        /// The room.
        room: String,
        /// The other member.
        user: String,
    },
    /// A member is online, away or offline.
    Status {
        /// The room; empty in the reply to the member itself.
        room: String,
    },
    /// Messages that will not come.
    Gap {
        /// The room.
        room: String,
        /// First of them.
        from: u64,
        /// Last of them.
        to: u64,
    },
    /// A command failed.
    Error {
        /// The command, if it had an `id`.
        id: Option<u64>,
        /// The code.
        code: String,
        /// The text.
        message: String,
    },
    /// Any other message.
    Other,
    /// An invalid message.
    Garbage(String),
}

/// A room in the reply to `list_rooms`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ListedRoom {
    /// Its name.
    pub room: String,
    /// Its head.
    pub head_seq: u64,
    /// The user's `read` receipt.
    pub read_seq: u64,
    /// Messages after that.
    pub unread: u64,
}

/// A command that people send.
#[derive(Clone, Copy, Debug)]
pub enum Command<'a> {
    /// Creates a room, `private` or public.
    Create { room: &'a str, private: bool },
    /// Makes a code for this many joins.
    Invite { room: &'a str, uses: usize },
    /// Joins, with a code or from a position.
    Join { room: &'a str, invite: Option<&'a str>, position: Option<&'a ClientPosition> },
    /// Publishes.
    Publish { room: &'a str, stamp: Stamp, payload: Payload },
    /// Tells that messages up to a seq were read, or `delivered`.
    Receipt { room: &'a str, seq: u64, delivered: bool },
    /// Continues a session, with the position in each room.
    Resume { session: &'a str, positions: &'a [(&'a str, ClientPosition)] },
    /// Lists lasting memberships.
    List,
    /// Asks who is present.
    Presence { room: &'a str },
    /// Tells that the user types, or no longer does.
    Typing { room: &'a str, active: bool },
    /// Tells that the user is away, or back.
    Status { away: bool },
}

/// More rooms than a user of the generator has.
const LISTED_MAX: u32 = 200;

/// Validity of an invite: longer than it takes to connect all users.
const INVITE_S: u32 = 3_600;

/// Writes a command, with an `id` if it needs a reply. Room names of the generator need no escaping.
pub fn write(command: Command<'_>, id: Option<u64>, out: &mut Vec<u8>) {
    let start = out.len();
    put(command, out);
    if let Some(id) = id {
        debug_assert_eq!(out.get(start), Some(&b'{'));
        let field = format!("\"id\":{id},");
        out.splice(start + 1..=start, field.into_bytes());
    }
}

fn put(command: Command<'_>, out: &mut Vec<u8>) {
    let result = match command {
        Command::Create { room, private } => {
            let visibility = if private { "private" } else { "public" };
            write!(out, r#"{{"type":"create_room","room":"{room}","visibility":"{visibility}"}}"#)
        }
        Command::Invite { room, uses } => {
            write!(out, r#"{{"type":"invite","room":"{room}","max_uses":{uses},"ttl_s":{INVITE_S}}}"#)
        }
        Command::Join { room, invite, position } => {
            let invite = invite.map_or_else(String::new, |code| format!(",\"invite\":{}", quoted(code)));
            let position = position.map_or_else(String::new, |ClientPosition { epoch, seq }| {
                format!(",\"last_received_seq\":{seq},\"epoch\":{}", quoted(epoch))
            });
            write!(out, r#"{{"type":"join","room":"{room}"{invite}{position}}}"#)
        }
        Command::Publish { room, stamp, payload } => {
            let begun = write!(out, r#"{{"type":"publish","room":"{room}","data":"#);
            payload.write_value(stamp, out);
            out.push(b'}');
            begun
        }
        Command::Receipt { room, seq, delivered } => {
            let kind = if delivered { "delivered" } else { "read" };
            write!(out, r#"{{"type":"receipt","room":"{room}","kind":"{kind}","seq":{seq}}}"#)
        }
        Command::Resume { session, positions } => {
            let position = |(room, ClientPosition { epoch, seq }): &(&str, ClientPosition)| {
                format!(r#""{room}":{{"seq":{seq},"epoch":{}}}"#, quoted(epoch))
            };
            let positions = positions.iter().map(position).collect::<Vec<_>>().join(",");
            write!(out, r#"{{"type":"resume","session":{},"positions":{{{positions}}}}}"#, quoted(session))
        }
        Command::List => write!(out, r#"{{"type":"list_rooms","limit":{LISTED_MAX}}}"#),
        Command::Presence { room } => write!(out, r#"{{"type":"presence","room":"{room}","limit":1}}"#),
        Command::Typing { room, active } => write!(out, r#"{{"type":"typing","room":"{room}","active":{active}}}"#),
        Command::Status { away } => {
            write!(out, r#"{{"type":"status","status":"{}"}}"#, if away { "away" } else { "online" })
        }
    };
    result.expect("a Vec takes all writes");
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: Option<u64>,
    #[serde(default)]
    room: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    session: String,
    #[serde(default)]
    epoch: String,
    seq: Option<u64>,
    #[serde(default)]
    recovered: bool,
    #[serde(default)]
    remaining: u64,
    #[serde(default, borrow)]
    messages: Vec<Entry<'a>>,
    #[serde(default, borrow)]
    rooms: Option<&'a RawValue>,
    total: Option<u64>,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
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
struct Entry<'a> {
    seq: u64,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
}

/// Parses any message.
#[must_use]
pub fn parse(message: &[u8]) -> PeopleSaid {
    let object: Object = match serde_json::from_slice(message) {
        Ok(object) => object,
        Err(error) => return PeopleSaid::Garbage(format!("{error} in {}", String::from_utf8_lossy(message))),
    };
    let Object { kind, id, room, user, session, epoch, seq, recovered, remaining, .. } = object;
    let bytes = |data: Option<&RawValue>| data.map(|data| data.get().as_bytes().to_vec()).unwrap_or_default();
    match (kind, seq) {
        ("welcome", _) => PeopleSaid::Welcome { session },
        ("joined", Some(seq)) => {
            let entry = |entry: &Entry| RoomMessage { room: room.clone(), seq: entry.seq, data: bytes(entry.data) };
            let messages = object.messages.iter().map(entry).collect();
            PeopleSaid::Joined { id, room, epoch, seq, recovered, messages, remaining }
        }
        ("message", Some(seq)) => PeopleSaid::Message(RoomMessage { room, seq, data: bytes(object.data) }),
        ("published", seq) => PeopleSaid::Published { id, seq },
        ("room", _) => PeopleSaid::Room { id },
        ("invite", _) => PeopleSaid::Invite { id, code: object.code },
        ("receipt", Some(seq)) => PeopleSaid::Receipt { id, room, user, seq },
        ("resumed", _) => PeopleSaid::Resumed { id },
        ("rooms", _) => match object.rooms.map(|rooms| serde_json::from_str(rooms.get())) {
            Some(Ok(rooms)) => PeopleSaid::Rooms { id, rooms },
            Some(Err(error)) => PeopleSaid::Garbage(format!("{error} in {}", String::from_utf8_lossy(message))),
            None => PeopleSaid::Garbage(String::from_utf8_lossy(message).into_owned()),
        },
        ("presence", _) => PeopleSaid::Presence { id, total: object.total.unwrap_or(0) },
        // The reply to the member itself has an `id`, or no user.
        ("typing", _) if !user.is_empty() => PeopleSaid::Typing { room, user },
        ("status", _) => PeopleSaid::Status { room },
        ("gap", _) => {
            let from = object.from.and_then(|from| from.as_u64()).unwrap_or(0);
            PeopleSaid::Gap { room, from, to: object.to }
        }
        ("error", _) => PeopleSaid::Error { id, code: object.code, message: object.message },
        ("message" | "joined" | "receipt", None) => PeopleSaid::Garbage(String::from_utf8_lossy(message).into_owned()),
        _ => PeopleSaid::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::PayloadKind;

    fn written(command: Command<'_>, id: Option<u64>) -> serde_json::Value {
        let mut out = b"before".to_vec();
        write(command, id, &mut out);
        serde_json::from_slice(&out[6..]).expect("JSON")
    }

    #[test]
    fn commands_are_those_of_the_protocol() {
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        let position = ClientPosition { epoch: "00ff".into(), seq: 12 };
        let positions = [("r", position.clone()), ("s", position.clone())];
        for (command, id, wanted) in [
            (
                Command::Create { room: "r", private: true },
                Some(7),
                r#"{"type":"create_room","id":7,"room":"r","visibility":"private"}"#,
            ),
            (
                Command::Invite { room: "r", uses: 3 },
                Some(8),
                r#"{"type":"invite","id":8,"room":"r","max_uses":3,"ttl_s":3600}"#,
            ),
            (
                Command::Join { room: "r", invite: Some("a\"b"), position: None },
                Some(9),
                r#"{"type":"join","id":9,"room":"r","invite":"a\"b"}"#,
            ),
            (
                Command::Join { room: "r", invite: None, position: Some(&position) },
                None,
                r#"{"type":"join","room":"r","last_received_seq":12,"epoch":"00ff"}"#,
            ),
            (
                Command::Receipt { room: "@u", seq: 4, delivered: true },
                Some(1),
                r#"{"type":"receipt","id":1,"room":"@u","kind":"delivered","seq":4}"#,
            ),
            (
                Command::Resume { session: "s1", positions: &positions },
                Some(2),
                r#"{"type":"resume","id":2,"session":"s1","positions":{"r":{"seq":12,"epoch":"00ff"},
                    "s":{"seq":12,"epoch":"00ff"}}}"#,
            ),
            (Command::List, Some(3), r#"{"type":"list_rooms","id":3,"limit":200}"#),
            (Command::Presence { room: "r" }, Some(3), r#"{"type":"presence","id":3,"room":"r","limit":1}"#),
            (Command::Typing { room: "r", active: false }, None, r#"{"type":"typing","room":"r","active":false}"#),
            (Command::Status { away: true }, None, r#"{"type":"status","status":"away"}"#),
        ] {
            assert_eq!(written(command, id), json(wanted));
        }
        let payload = Payload { bytes: 40, kind: PayloadKind::Dots, seed: 1 };
        let publish = written(Command::Publish { room: "r", stamp: Stamp { number: 1, room: 2 }, payload }, Some(5));
        assert_eq!((publish["id"].as_u64(), publish["data"].as_str().map(str::len)), (Some(5), Some(40)));
    }

    #[test]
    fn replies_and_pushes_are_told_apart() {
        let parsed = |text: &str| parse(text.as_bytes());
        assert_eq!(
            parsed(r#"{"type":"welcome","session":"s","user":"u"}"#),
            PeopleSaid::Welcome { session: "s".into() }
        );
        assert_eq!(
            parsed(r#"{"type":"receipt","room":"r","user":"u","kind":"read","seq":3}"#),
            PeopleSaid::Receipt { id: None, room: "r".into(), user: "u".into(), seq: 3 }
        );
        assert_eq!(
            parsed(r#"{"type":"invite","id":1,"room":"r","code":"c","expires_at":5}"#),
            PeopleSaid::Invite { id: Some(1), code: "c".into() }
        );
        let listed = ListedRoom { room: "r".into(), head_seq: 9, read_seq: 4, unread: 5 };
        assert_eq!(
            parsed(
                r#"{"type":"rooms","id":1,"rooms":[{"room":"r","role":"member","head_seq":9,"read_seq":4,"unread":5}]}"#
            ),
            PeopleSaid::Rooms { id: Some(1), rooms: vec![listed] }
        );
        assert!(matches!(parsed(r#"{"type":"rooms","id":1,"rooms":[{"room":"r"}]}"#), PeopleSaid::Garbage(_)));
        assert_eq!(parsed(r#"{"type":"resumed","id":4,"rooms":["r"]}"#), PeopleSaid::Resumed { id: Some(4) });
        assert_eq!(parsed(r#"{"type":"typing","room":"r","id":4}"#), PeopleSaid::Other, "the reply to oneself");
        assert_eq!(
            parsed(r#"{"type":"gap","room":"r","from":3,"to":9}"#),
            PeopleSaid::Gap { room: "r".into(), from: 3, to: 9 }
        );
        assert!(matches!(parsed(r#"{"type":"message","room":"r"}"#), PeopleSaid::Garbage(_)));
        let joined = parsed(r#"{"type":"joined","room":"@u","epoch":"e","seq":2,"messages":[{"seq":2,"data":1}]}"#);
        let PeopleSaid::Joined { id: None, messages, recovered: false, remaining: 0, .. } = joined else {
            panic!("{joined:?}")
        };
        assert_eq!(messages[0], RoomMessage { room: "@u".into(), seq: 2, data: b"1".to_vec() });
    }
}
