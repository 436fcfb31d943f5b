//! Replies to commands (PROTOCOL section 2), finished frames in the form of their command.

use std::sync::Arc;

use bytes::Bytes;

use super::binary::push_op;
use super::command::{Form, ReplyTo};
use super::frame::{Opcode, append_frame, frame_of, header_len};
use super::publication::Publication;
use super::push::Status;
use super::writer::Writer;
use crate::base::codes::ErrorCode;
use crate::base::ids::{Epoch, RoomName, Seq, UserName};

/// One user in a `presence` reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentUser {
    /// Who.
    pub user: UserName,
    /// `online` or `away`.
    pub status: Status,
    /// How many of the user's connections are members.
    pub connections: u32,
}

/// A reply's content.
#[derive(Clone, Debug)]
pub enum Reply<'a> {
    /// The connection is a member. Also pushed without being asked for when a room's epoch changes.
    Joined {
        /// Where.
        room: &'a RoomName,
        /// The room's numbering.
        epoch: Epoch,
        /// Its head.
        seq: Seq,
        /// Whether `messages` is exactly what was missed.
        recovered: bool,
        /// Oldest first.
        messages: &'a [Arc<Publication>],
        /// How many more follow as pushes, before the live ones.
        remaining: usize,
        /// Users present, the joiner included.
        members: u64,
    },
    /// No longer a member.
    Left {
        /// Where.
        room: &'a str,
    },
    /// Numbered, in history, on its way.
    Published {
        /// Where.
        room: &'a str,
        /// Its number; `None` for an ephemeral one (0 in the binary form).
        seq: Option<Seq>,
        /// The numbering.
        epoch: Epoch,
        /// The key was known: this is the first one's number.
        duplicate: bool,
    },
    /// A page of held messages.
    History {
        /// Where.
        room: &'a RoomName,
        /// The room's numbering.
        epoch: Epoch,
        /// Oldest held; head + 1 when none is.
        first_seq: Seq,
        /// Newest numbered.
        head_seq: Seq,
        /// Oldest first.
        messages: &'a [Arc<Publication>],
    },
    /// A page of present users.
    Presence {
        /// Where.
        room: &'a str,
        /// All users present.
        total: u64,
        /// This page, by name.
        users: &'a [PresentUser],
    },
    /// The status is set.
    Status {
        /// To what.
        status: Status,
    },
    /// The new token counts.
    Refreshed {
        /// When it expires, Unix milliseconds.
        expires_at: u64,
    },
    /// Still here.
    Pong {
        /// Unix milliseconds (JSON form).
        at: u64,
        /// The ping's value (binary form).
        value: u64,
    },
    /// It failed.
    Error {
        /// How.
        code: ErrorCode,
        /// Plain words.
        message: &'a str,
        /// When to try again, for `rate_limited` and `unavailable`.
        retry_after_ms: Option<u64>,
    },
}

/// A member's role. Rooms have no other yet.
const ROLE: &str = "member";

/// Encodes a reply. One frame, but for the binary `joined`, whose 131s follow it in the same buffer. Replies that the
/// binary form has no op for are op 136.
#[must_use]
pub fn encode_reply(reply: &Reply<'_>, to: ReplyTo) -> Bytes {
    match (to.form, reply) {
        (Form::Json, _) => frame_of(Opcode::Text, |out| reply.write_json(to.id, out)),
        (Form::Binary, Reply::Joined { room, messages, .. }) => joined_frames(reply, room, messages),
        (Form::Binary, _) => frame_of(Opcode::Binary, |out| reply.write_binary(to.id, out)),
    }
}

/// The binary `joined` and its messages.
fn joined_frames(joined: &Reply<'_>, room: &RoomName, messages: &[Arc<Publication>]) -> Bytes {
    let joined_len = Writer::measure(|out| joined.write_binary(None, out));
    let message_len = |message: &Publication| Writer::measure(|out| message.write_binary(room, out));
    let messages_total: usize = messages.iter().map(|m| message_len(m)).map(|length| header_len(length) + length).sum();
    let mut out = Vec::with_capacity(header_len(joined_len) + joined_len + messages_total);
    append_frame(&mut out, Opcode::Binary, joined_len, |out| joined.write_binary(None, out));
    for message in messages {
        append_frame(&mut out, Opcode::Binary, message_len(message), |out| message.write_binary(room, out));
    }
    Bytes::from(out)
}

impl Reply<'_> {
    /// The JSON form's `type`.
    const fn name(&self) -> &'static str {
        match self {
            Reply::Joined { .. } => "joined",
            Reply::Left { .. } => "left",
            Reply::Published { .. } => "published",
            Reply::History { .. } => "history",
            Reply::Presence { .. } => "presence",
            Reply::Status { .. } => "status",
            Reply::Refreshed { .. } => "refreshed",
            Reply::Pong { .. } => "pong",
            Reply::Error { .. } => "error",
        }
    }

    fn write_json(&self, id: Option<u64>, out: &mut Writer<'_>) {
        out.text(r#"{"type":""#).text(self.name()).text("\"");
        if let Some(id) = id {
            out.text(r#","id":"#).integer(id);
        }
        self.write_json_fields(out);
        out.text("}");
    }

    fn write_json_fields(&self, out: &mut Writer<'_>) {
        match *self {
            Reply::Joined { room, epoch, seq, recovered, messages, remaining, members } => {
                write_room_and_epoch(room, epoch, out);
                out.text(r#","seq":"#).integer(seq);
                out.text(r#","recovered":"#).boolean(recovered);
                write_messages(room, messages, out);
                if remaining > 0 {
                    out.text(r#","remaining":"#).integer(remaining as u64);
                }
                out.text(r#","members":"#).integer(members);
                out.text(r#","role":"#).string(ROLE);
            }
            Reply::Left { room } => {
                out.text(r#","room":"#).string(room);
            }
            Reply::Published { room, seq, epoch, duplicate } => {
                out.text(r#","room":"#).string(room);
                if let Some(seq) = seq {
                    out.text(r#","seq":"#).integer(seq);
                }
                write_epoch(epoch, out);
                if duplicate {
                    out.text(r#","duplicate":true"#);
                }
            }
            Reply::History { room, epoch, first_seq, head_seq, messages } => {
                write_room_and_epoch(room, epoch, out);
                out.text(r#","first_seq":"#).integer(first_seq);
                out.text(r#","head_seq":"#).integer(head_seq);
                write_messages(room, messages, out);
            }
            Reply::Presence { room, total, users } => write_presence(room, total, users, out),
            Reply::Status { status } => {
                out.text(r#","status":"#).string(status.as_str());
            }
            Reply::Refreshed { expires_at } => {
                out.text(r#","expires_at":"#).integer(expires_at);
            }
            Reply::Pong { at, .. } => {
                out.text(r#","at":"#).integer(at);
            }
            Reply::Error { code, message, retry_after_ms } => {
                out.text(r#","code":"#).string(code.as_str());
                out.text(r#","message":"#).string(message);
                if let Some(retry_after_ms) = retry_after_ms {
                    out.text(r#","retry_after_ms":"#).integer(retry_after_ms);
                }
            }
        }
    }

    /// Writes the payload of the (first) binary frame.
    fn write_binary(&self, id: Option<u64>, out: &mut Writer<'_>) {
        match *self {
            Reply::Joined { room, epoch, seq, recovered, messages, remaining, .. } => {
                let count = u32::try_from(messages.len() + remaining).expect("a history is bounded far below");
                out.u32(push_op::JOINED).u64(epoch.0).u64(seq).raw(&[u8::from(recovered)]).u32(count).text(room);
            }
            Reply::Left { room } => {
                out.u32(push_op::LEFT).text(room);
            }
            Reply::Published { room, seq, .. } => {
                out.u32(push_op::PUBLISHED).u64(seq.unwrap_or(0)).text(room);
            }
            Reply::Pong { value, .. } => {
                out.u32(push_op::PONG).u64(value);
            }
            Reply::Error { code, message, .. } => {
                out.u32(push_op::ERROR).u16(code as u16).text(message);
            }
            Reply::History { .. } | Reply::Presence { .. } | Reply::Status { .. } | Reply::Refreshed { .. } => {
                self.write_json(id, out.u32(push_op::OTHER));
            }
        }
    }
}

fn write_room_and_epoch(room: &str, epoch: Epoch, out: &mut Writer<'_>) {
    out.text(r#","room":"#).string(room);
    write_epoch(epoch, out);
}

fn write_epoch(epoch: Epoch, out: &mut Writer<'_>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digits: [u8; 16] = std::array::from_fn(|i| HEX[(epoch.0 >> (60 - 4 * i)) as usize & 15]);
    out.text(r#","epoch":""#).raw(&digits).text("\"");
}

fn write_messages(room: &str, messages: &[Arc<Publication>], out: &mut Writer<'_>) {
    out.text(r#","messages":["#);
    for (i, message) in messages.iter().enumerate() {
        if i > 0 {
            out.text(",");
        }
        message.write_json(room, out);
    }
    out.text("]");
}

fn write_presence(room: &str, total: u64, users: &[PresentUser], out: &mut Writer<'_>) {
    out.text(r#","room":"#).string(room);
    out.text(r#","total":"#).integer(total);
    out.text(r#","users":["#);
    for (i, PresentUser { user, status, connections }) in users.iter().enumerate() {
        if i > 0 {
            out.text(",");
        }
        out.text(r#"{"user":"#).string(user);
        out.text(r#","status":"#).string(status.as_str());
        out.text(r#","connections":"#).integer(u64::from(*connections)).text("}");
    }
    out.text("]");
}

#[cfg(test)]
mod tests;
