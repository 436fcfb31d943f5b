//! What a client hears: the server's messages in both forms (PROTOCOL sections 2, 3 and 6) as one kind of value.
//! Strict about form; what a value means for rooms is judged elsewhere.

use base64::Engine as _;
use roomring::wire::form::Form;
use roomring::wire::publication::DataKind;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A numbered message as one client got it.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its number.
    pub seq: u64,
    /// When it was numbered.
    pub at: u64,
    /// Who published it.
    pub from: String,
    /// The publisher's key; `None` in the form that does not tell.
    pub key: Option<Option<String>>,
    /// What, as the publisher wrote it.
    pub data: Vec<u8>,
    /// How it was written, where the form tells.
    pub kind: Option<DataKind>,
}

/// What a reply answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// The JSON command with this id.
    Id(u64),
    /// Some binary command.
    Binary,
    /// Nothing: a push, or an error of a JSON command without `id`.
    Nothing,
}

/// A `joined` in either form.
#[derive(Debug)]
pub struct Joined {
    /// What it answers.
    pub to: To,
    /// Where.
    pub room: String,
    /// The room's numbering.
    pub epoch: u64,
    /// Its head.
    pub seq: u64,
    /// Whether `messages` is what was missed.
    pub recovered: bool,
    /// Users present, where the form tells.
    pub members: Option<u64>,
    /// Oldest first.
    pub messages: Vec<Message>,
    /// How many more follow as messages of their own; all of them in the binary form.
    pub remaining: u64,
}

/// A `history` reply.
#[derive(Debug)]
pub struct History {
    /// Where.
    pub room: String,
    /// The room's numbering.
    pub epoch: u64,
    /// Oldest held.
    pub first_seq: u64,
    /// Newest numbered.
    pub head_seq: u64,
    /// Oldest first.
    pub messages: Vec<Message>,
}

/// A user in a `presence` reply.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Present {
    /// Who.
    pub user: String,
    /// `online` or `away`.
    pub status: String,
    /// How many connections.
    pub connections: u64,
}

/// One message of the server.
#[derive(Debug)]
pub enum Heard {
    /// The first push.
    Welcome { user: String, max_message_bytes: u64, heartbeat_ms: u64 },
    /// A join is done, or a room has a new numbering.
    Joined(Joined),
    /// A leave is done.
    Left { to: To, room: String },
    /// A publish is done.
    Published { to: To, room: String, seq: Option<u64>, epoch: Option<u64>, duplicate: bool },
    /// A page of history.
    History { id: u64, page: History },
    /// A page of presence.
    Presence { id: u64, room: String, total: u64, users: Vec<Present> },
    /// The own status is set.
    StatusSet { id: u64, status: String },
    /// The others are told of the typing.
    TypingTold { id: u64, room: String },
    /// The receipt that is kept.
    ReceiptKept { id: u64, room: String, kind: String },
    /// Somebody's receipt has risen.
    Receipt { room: String, user: String },
    /// Somebody is typing, or no longer.
    Typing { room: String, user: String },
    /// Pong: `value` in the binary form.
    Pong { to: To, value: Option<u64> },
    /// A live message.
    Message { room: String, message: Message },
    /// An ephemeral message.
    Ephemeral { room: String, message: Message },
    /// Somebody's standing changed.
    Status { room: String, user: String, status: String },
    /// Somebody's standing changed in a room that is told totals.
    Total { room: String, total: u64 },
    /// Messages not given.
    Gap { room: String, from: u64, to: u64 },
    /// The server will close.
    Reconnect { after_ms: u64, reason: String },
    /// A command failed.
    Error { to: To, code: String, retry_after_ms: Option<u64> },
}

#[derive(Deserialize)]
struct JsonMessage<'a> {
    room: Option<String>,
    seq: Option<u64>,
    from: String,
    at: u64,
    key: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    data_b64: Option<String>,
}

impl JsonMessage<'_> {
    fn read(self, room: &str) -> Result<Message, String> {
        if self.room.is_some_and(|named| named != room) {
            return Err(format!("a message of another room inside {room:?}"));
        }
        let (data, kind) = match (self.data, self.data_b64) {
            (Some(raw), None) => (raw.get().as_bytes().to_vec(), DataKind::Json),
            (None, Some(text)) => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(&text);
                (bytes.map_err(|error| format!("data_b64 {text:?}: {error}"))?, DataKind::Binary)
            }
            _ => return Err("a message with both or none of data and data_b64".to_owned()),
        };
        let (seq, at, from) = (self.seq.unwrap_or(0), self.at, self.from);
        Ok(Message { seq, at, from, key: Some(self.key), data, kind: Some(kind) })
    }
}

#[derive(Deserialize)]
struct Any<'a> {
    #[serde(rename = "type")]
    kind: String,
    id: Option<u64>,
    room: Option<String>,
    epoch: Option<String>,
    seq: Option<u64>,
    recovered: Option<bool>,
    duplicate: Option<bool>,
    members: Option<u64>,
    remaining: Option<u64>,
    #[serde(borrow)]
    messages: Option<Vec<JsonMessage<'a>>>,
    first_seq: Option<u64>,
    head_seq: Option<u64>,
    total: Option<u64>,
    users: Option<Vec<Present>>,
    user: Option<String>,
    status: Option<String>,
    #[serde(rename = "kind")]
    receipt: Option<String>,
    /// A user in messages, a seq in `gap`.
    #[serde(borrow)]
    from: Option<&'a RawValue>,
    to: Option<u64>,
    at: Option<u64>,
    key: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    data_b64: Option<String>,
    after_ms: Option<u64>,
    retry_after_ms: Option<u64>,
    reason: Option<String>,
    code: Option<String>,
    heartbeat_ms: Option<u64>,
    max_message_bytes: Option<u64>,
    active: Option<bool>,
}

fn need<T>(field: Option<T>, name: &str) -> Result<T, String> {
    field.ok_or_else(|| format!("no {name}"))
}

/// Reads an epoch's text: 16 hex digits.
fn epoch(text: Option<String>) -> Result<u64, String> {
    let text = need(text, "epoch")?;
    let number = u64::from_str_radix(&text, 16).map_err(|error| format!("epoch {text:?}: {error}"))?;
    if text.len() == 16 && number != 0 { Ok(number) } else { Err(format!("epoch {text:?}")) }
}

/// Reads a text message.
///
/// # Errors
/// What is wrong with it.
pub fn read_text(text: &str) -> Result<Heard, String> {
    let any: Any<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    read_any(any).map_err(|what| format!("{what} in {text}"))
}

fn read_any(any: Any<'_>) -> Result<Heard, String> {
    let to = any.id.map_or(To::Nothing, To::Id);
    let reply = || need(any.id, "id");
    Ok(match any.kind.as_str() {
        "welcome" => Heard::Welcome {
            user: need(any.user, "user")?,
            max_message_bytes: need(any.max_message_bytes, "max_message_bytes")?,
            heartbeat_ms: need(any.heartbeat_ms, "heartbeat_ms")?,
        },
        "joined" => {
            let room = need(any.room, "room")?;
            let messages = need(any.messages, "messages")?;
            Heard::Joined(Joined {
                to,
                epoch: epoch(any.epoch)?,
                seq: need(any.seq, "seq")?,
                recovered: need(any.recovered, "recovered")?,
                members: Some(need(any.members, "members")?),
                messages: messages.into_iter().map(|message| message.read(&room)).collect::<Result<_, _>>()?,
                remaining: any.remaining.unwrap_or(0),
                room,
            })
        }
        "left" if any.reason.is_none() => Heard::Left { to, room: need(any.room, "room")? },
        "published" => Heard::Published {
            to,
            room: need(any.room, "room")?,
            seq: any.seq,
            epoch: Some(epoch(any.epoch)?),
            duplicate: any.duplicate.unwrap_or(false),
        },
        "history" => {
            let room = need(any.room, "room")?;
            let messages = need(any.messages, "messages")?;
            let page = History {
                epoch: epoch(any.epoch)?,
                first_seq: need(any.first_seq, "first_seq")?,
                head_seq: need(any.head_seq, "head_seq")?,
                messages: messages.into_iter().map(|message| message.read(&room)).collect::<Result<_, _>>()?,
                room,
            };
            Heard::History { id: reply()?, page }
        }
        "presence" => Heard::Presence {
            id: reply()?,
            room: need(any.room, "room")?,
            total: need(any.total, "total")?,
            users: need(any.users, "users")?,
        },
        "status" if any.room.is_some() && any.total.is_some() => {
            if any.user.is_some() || any.status.is_some() {
                return Err("a total with a name".to_owned());
            }
            Heard::Total { room: need(any.room, "room")?, total: need(any.total, "total")? }
        }
        "status" if any.room.is_some() => Heard::Status {
            room: need(any.room, "room")?,
            user: need(any.user, "user")?,
            status: need(any.status, "status")?,
        },
        "status" => Heard::StatusSet { id: reply()?, status: need(any.status, "status")? },
        "typing" if any.user.is_some() => {
            need(any.active, "active")?;
            Heard::Typing { room: need(any.room, "room")?, user: need(any.user, "user")? }
        }
        "typing" => Heard::TypingTold { id: reply()?, room: need(any.room, "room")? },
        "receipt" => {
            let (room, kind) = (need(any.room, "room")?, need(any.receipt, "kind")?);
            need(any.seq, "seq")?;
            match any.user {
                Some(user) => Heard::Receipt { room, user },
                None => Heard::ReceiptKept { id: reply()?, room, kind },
            }
        }
        "pong" => {
            need(any.at, "at")?;
            Heard::Pong { to, value: None }
        }
        "message" | "ephemeral" => {
            let room = need(any.room, "room")?;
            let from = need(any.from, "from")?.get();
            let from = serde_json::from_str(from).map_err(|error| format!("from {from}: {error}"))?;
            let (seq, at, key, data, data_b64) = (any.seq, need(any.at, "at")?, any.key, any.data, any.data_b64);
            if seq.is_some() != (any.kind == "message") {
                return Err("a message without, or an ephemeral with, seq".to_owned());
            }
            let message = JsonMessage { room: None, seq, from, at, key, data, data_b64 }.read(&room)?;
            if any.kind == "message" { Heard::Message { room, message } } else { Heard::Ephemeral { room, message } }
        }
        "gap" => {
            let from = need(any.from, "from")?.get();
            let from = from.parse().map_err(|error| format!("from {from}: {error}"))?;
            Heard::Gap { room: need(any.room, "room")?, from, to: need(any.to, "to")? }
        }
        "reconnect" => {
            Heard::Reconnect { after_ms: need(any.after_ms, "after_ms")?, reason: need(any.reason, "reason")? }
        }
        "error" => Heard::Error { to, code: need(any.code, "code")?, retry_after_ms: any.retry_after_ms },
        unknown => return Err(format!("type {unknown:?}")),
    })
}

/// The error codes of PROTOCOL section 5 in the order of their numbers.
pub const ERROR_CODES: [&str; 17] = [
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

/// Reads a binary message's fields from the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        if self.0.len() < len {
            return Err("a binary message that is too short".to_owned());
        }
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self, len: usize) -> Result<u64, String> {
        let mut bytes = [0; 8];
        bytes[..len].copy_from_slice(self.take(len)?);
        Ok(u64::from_le_bytes(bytes))
    }

    fn text(bytes: &[u8]) -> Result<String, String> {
        String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string())
    }

    fn rest(&mut self) -> Result<String, String> {
        Self::text(std::mem::take(&mut self.0))
    }
}

/// Reads a message of the server.
///
/// # Errors
/// What is wrong with it.
pub fn read(form: Form, payload: &[u8]) -> Result<Heard, String> {
    if form == Form::Json {
        let text = std::str::from_utf8(payload).map_err(|error| error.to_string())?;
        return read_text(text);
    }
    let mut fields = Fields(payload);
    let op = fields.number(4)?;
    read_binary(op, fields)
}

fn read_message(mut fields: Fields<'_>) -> Result<Heard, String> {
    let (seq, at) = (fields.number(8)?, fields.number(8)?);
    let (room_len, from_len) = (fields.number(2)? as usize, fields.number(2)? as usize);
    let room = Fields::text(fields.take(room_len)?)?;
    let from = Fields::text(fields.take(from_len)?)?;
    let message = Message { seq, at, from, key: None, data: fields.0.to_vec(), kind: None };
    Ok(Heard::Message { room, message })
}

fn read_binary(op: u64, mut fields: Fields<'_>) -> Result<Heard, String> {
    let to = To::Binary;
    Ok(match op {
        128 => match read_text(&fields.rest()?)? {
            welcome @ Heard::Welcome { .. } => welcome,
            other => return Err(format!("{other:?} as op 128")),
        },
        129 => {
            let (epoch, seq, recovered) = (fields.number(8)?, fields.number(8)?, fields.number(1)? != 0);
            let (remaining, messages, members) = (fields.number(4)?, Vec::new(), None);
            Heard::Joined(Joined { to, room: fields.rest()?, epoch, seq, recovered, members, messages, remaining })
        }
        130 => Heard::Left { to, room: fields.rest()? },
        131 => read_message(fields)?,
        132 => {
            let seq = Some(fields.number(8)?).filter(|seq| *seq != 0);
            Heard::Published { to, room: fields.rest()?, seq, epoch: None, duplicate: false }
        }
        133 => Heard::Pong { to, value: Some(fields.number(8)?) },
        134 => Heard::Gap { from: fields.number(8)?, to: fields.number(8)?, room: fields.rest()? },
        135 => {
            let code = fields.number(2)? as usize;
            let code = ERROR_CODES.get(code.wrapping_sub(1)).ok_or_else(|| format!("error code {code}"))?;
            fields.rest()?;
            Heard::Error { to, code: (*code).to_owned(), retry_after_ms: None }
        }
        136 => read_text(&fields.rest()?)?,
        _ => return Err(format!("op {op}")),
    })
}
