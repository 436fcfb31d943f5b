//! What the server says unasked, beside publications (PROTOCOL section 3): finished frames in either form.

use bytes::Bytes;

use super::binary::push_op;
use super::command::Form;
use super::frame::{Opcode, append_frame, header_len};
use super::publication::{Forms, Frames};
use super::writer::Writer;
use crate::base::codes::CloseCode;
use crate::base::ids::{RoomName, Seq, UserName};

/// A user's standing in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// At least one connection is here and not away.
    Online,
    /// All connections say they are away.
    Away,
    /// The last connection has gone and the grace has passed.
    Offline,
}

impl Status {
    /// The JSON form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Online => "online",
            Status::Away => "away",
            Status::Offline => "offline",
        }
    }
}

/// Why the server is about to close on its own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconnectReason {
    /// Planned stop.
    Draining,
    /// The memory budget is used up, or there is no place for a connection.
    Overloaded,
    /// Connections come too often.
    RateLimited,
    /// There are as many connections of an address or a user as there may be.
    LimitExceeded,
}

impl ReconnectReason {
    /// The JSON form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ReconnectReason::Draining => "draining",
            ReconnectReason::Overloaded => "overloaded",
            ReconnectReason::RateLimited => "rate_limited",
            ReconnectReason::LimitExceeded => "limit_exceeded",
        }
    }

    /// The close that follows.
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            ReconnectReason::Draining => CloseCode::Restart,
            ReconnectReason::Overloaded => CloseCode::Overloaded,
            ReconnectReason::RateLimited | ReconnectReason::LimitExceeded => CloseCode::Rate,
        }
    }
}

/// Why the server has taken a connection out of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftReason {
    /// The connection's new token does not allow the room.
    Token,
    /// Somebody who may has put the user out of the room.
    Kicked,
}

impl LeftReason {
    /// The JSON form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            LeftReason::Token => "token",
            LeftReason::Kicked => "kicked",
        }
    }
}

/// A push to one connection or to a room.
#[derive(Clone, Debug)]
pub enum Push<'a> {
    /// The first push after the upgrade.
    Welcome {
        /// The connection's public id.
        connection: &'a str,
        /// Its user.
        user: &'a str,
        /// How the user is shown, where a token says so.
        name: Option<&'a str>,
        /// The session's id.
        session: &'a str,
        /// This machine's name.
        node: &'a str,
        /// How often the server pings.
        heartbeat_ms: u64,
        /// The largest message taken.
        max_message_bytes: u64,
    },
    /// A user's standing in a room changed.
    Status {
        /// Where.
        room: &'a RoomName,
        /// Who.
        user: &'a UserName,
        /// To what.
        status: Status,
    },
    /// Who is in a room changed, told without names: what was told by name before may no longer hold.
    Total {
        /// Where.
        room: &'a RoomName,
        /// Users present.
        total: u64,
    },
    /// Messages that this connection was not given.
    Gap {
        /// Where.
        room: &'a RoomName,
        /// First missing.
        from: Seq,
        /// Last missing.
        to: Seq,
    },
    /// The connection is no longer a member, and did not ask for that.
    Left {
        /// Where.
        room: &'a str,
        /// Why.
        reason: LeftReason,
    },
    /// The server will close this connection.
    Reconnect {
        /// Wait this long before connecting again.
        after_ms: u64,
        /// Why.
        reason: ReconnectReason,
    },
}

/// Encodes a push in one form. Binary: `welcome` is op 128, `gap` op 134, all others op 136.
#[must_use]
pub fn encode_push(push: &Push<'_>, form: Form) -> Bytes {
    encode_in_form(std::slice::from_ref(push), form)
}

/// Encodes one or more pushes in the wanted forms, one frame after another in one buffer per form.
#[must_use]
pub fn encode_pushes(pushes: &[Push<'_>], forms: Forms) -> Frames {
    if pushes.is_empty() {
        return Frames::default();
    }
    Frames {
        json: forms.json.then(|| encode_in_form(pushes, Form::Json)),
        binary: forms.binary.then(|| encode_in_form(pushes, Form::Binary)),
    }
}

fn encode_in_form(pushes: &[Push<'_>], form: Form) -> Bytes {
    let opcode = match form {
        Form::Json => Opcode::Text,
        Form::Binary => Opcode::Binary,
    };
    let payload_len = |push: &Push<'_>| Writer::measure(|out| push.write(form, out));
    let total = pushes.iter().map(payload_len).map(|length| header_len(length) + length).sum();
    let mut out = Vec::with_capacity(total);
    for push in pushes {
        append_frame(&mut out, opcode, payload_len(push), |out| push.write(form, out));
    }
    Bytes::from(out)
}

impl Push<'_> {
    fn write(&self, form: Form, out: &mut Writer<'_>) {
        match form {
            Form::Json => self.write_json(out),
            Form::Binary => self.write_binary(out),
        }
    }

    fn write_json(&self, out: &mut Writer<'_>) {
        match *self {
            Push::Welcome { connection, user, name, session, node, heartbeat_ms, max_message_bytes } => {
                out.text(r#"{"type":"welcome","connection":"#).string(connection);
                out.text(r#","user":"#).string(user);
                if let Some(name) = name {
                    out.text(r#","name":"#).string(name);
                }
                out.text(r#","session":"#).string(session);
                out.text(r#","node":"#).string(node);
                out.text(r#","heartbeat_ms":"#).integer(heartbeat_ms);
                out.text(r#","max_message_bytes":"#).integer(max_message_bytes);
            }
            Push::Status { room, user, status } => {
                out.text(r#"{"type":"status","room":"#).string(room);
                out.text(r#","user":"#).string(user);
                out.text(r#","status":"#).string(status.as_str());
            }
            Push::Total { room, total } => {
                out.text(r#"{"type":"status","room":"#).string(room);
                out.text(r#","total":"#).integer(total);
            }
            Push::Gap { room, from, to } => {
                out.text(r#"{"type":"gap","room":"#).string(room);
                out.text(r#","from":"#).integer(from);
                out.text(r#","to":"#).integer(to);
            }
            Push::Left { room, reason } => {
                out.text(r#"{"type":"left","room":"#).string(room);
                out.text(r#","reason":"#).string(reason.as_str());
            }
            Push::Reconnect { after_ms, reason } => {
                out.text(r#"{"type":"reconnect","after_ms":"#).integer(after_ms);
                out.text(r#","reason":"#).string(reason.as_str());
            }
        }
        out.text("}");
    }

    fn write_binary(&self, out: &mut Writer<'_>) {
        match *self {
            Push::Gap { room, from, to } => {
                out.u32(push_op::GAP).u64(from).u64(to).text(room);
            }
            Push::Welcome { .. } => self.write_json(out.u32(push_op::WELCOME)),
            Push::Status { .. } | Push::Total { .. } | Push::Left { .. } | Push::Reconnect { .. } => {
                self.write_json(out.u32(push_op::OTHER));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::wire::frame::payload_of;

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
        let frames = encode_pushes(&list, Forms { json: true, binary: true });
        for form in [Form::Json, Form::Binary] {
            let one_by_one: Vec<u8> = list.iter().flat_map(|push| encode_push(push, form)).collect();
            assert_eq!(frames.get(form).expect("wanted"), &one_by_one);
        }
        assert!(encode_pushes(&list, Forms::default()).is_empty());
        assert!(encode_pushes(&[], Forms { json: true, binary: true }).is_empty());
    }
}
