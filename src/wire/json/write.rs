//! Writes replies, pushes and messages as JSON objects. Copies published data verbatim, and binary data as base64.
//! Never writes a frame header.

use std::sync::Arc;

use crate::base::chat::Role;
use crate::base::codes::ErrorCode;
use crate::base::ids::{Epoch, RoomName};
use crate::wire::form::Form;
use crate::wire::form_writer::FormWriter;
use crate::wire::protocol::{Answer, PresentUser, Push, Reply, RoomEntry, RoomInfo};
use crate::wire::publication::{Content, Data, DataKind, Publication};
use crate::wire::writer::Writer;

/// The JSON form.
pub(in crate::wire) struct Json;

impl FormWriter for Json {
    const FORM: Form = Form::Json;

    fn reply(reply: &Reply<'_>, id: Option<u64>, out: &mut Writer<'_>) {
        out.text(r#"{"type":""#).text(reply_type(reply)).text("\"");
        if let Some(id) = id {
            out.text(r#","id":"#).integer(id);
        }
        write_reply_fields(reply, out);
        out.text("}");
    }

    fn push(push: &Push<'_>, out: &mut Writer<'_>) {
        match *push {
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
            Push::Typing { room, user, active } => {
                out.text(r#"{"type":"typing","room":"#).string(room);
                out.text(r#","user":"#).string(user);
                out.text(r#","active":"#).boolean(active);
            }
            Push::Receipt { room, user, kind, seq } => {
                out.text(r#"{"type":"receipt","room":"#).string(room);
                out.text(r#","user":"#).string(user);
                out.text(r#","kind":"#).string(kind.as_str());
                out.text(r#","seq":"#).integer(seq);
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

    fn message(content: &Content<'_>, out: &mut Writer<'_>) {
        out.text(r#"{"type":"message","room":"#).string(content.room);
        out.text(r#","seq":"#).integer(content.seq);
        out.text(r#","from":"#).string(content.from);
        out.text(r#","at":"#).integer(content.at);
        write_data(content.data, out);
        write_after_data(content, out);
    }

    fn bytes_after_data(content: &Content<'_>) -> Option<usize> {
        match content.data.kind {
            DataKind::Json => Some(Writer::measure(|out| write_after_data(content, out))),
            DataKind::Binary => None,
        }
    }

    fn ephemeral(content: &Content<'_>, out: &mut Writer<'_>) {
        out.text(r#"{"type":"ephemeral","room":"#).string(content.room);
        out.text(r#","from":"#).string(content.from);
        out.text(r#","at":"#).integer(content.at);
        write_data(content.data, out);
        out.text("}");
    }
}

const fn reply_type(reply: &Reply<'_>) -> &'static str {
    match reply {
        Reply::Joined { .. } => "joined",
        Reply::Left { .. } => "left",
        Reply::Answer { answer, .. } => match answer {
            Answer::Published { .. } => "published",
            Answer::History { .. } => "history",
            Answer::Presence { .. } => "presence",
            Answer::Typing => "typing",
            Answer::Receipt { .. } => "receipt",
            Answer::Room(_) | Answer::Summary(_) => "room",
            Answer::RoomDeleted => "room_deleted",
            Answer::Invited { .. } => "invite",
            Answer::RoleSet { .. } => "role",
            Answer::Kicked { .. } => "kicked",
            Answer::Refused(_) => "error",
        },
        Reply::Resumed { .. } => "resumed",
        Reply::Rooms { .. } => "rooms",
        Reply::Status { .. } => "status",
        Reply::Refreshed { .. } => "refreshed",
        Reply::Pong { .. } => "pong",
        Reply::Error { .. } => "error",
    }
}

fn write_reply_fields(reply: &Reply<'_>, out: &mut Writer<'_>) {
    match *reply {
        Reply::Joined { room, epoch, seq, recovered, messages, remaining, members, role } => {
            write_room_and_epoch(room, epoch, out);
            out.text(r#","seq":"#).integer(seq);
            out.text(r#","recovered":"#).boolean(recovered);
            write_messages(room, messages, out);
            if remaining > 0 {
                out.text(r#","remaining":"#).integer(remaining as u64);
            }
            out.text(r#","members":"#).integer(members);
            write_role(role, out);
        }
        Reply::Left { room } => {
            out.text(r#","room":"#).string(room);
        }
        Reply::Answer { room, answer } => write_answer_fields(room, answer, out),
        Reply::Resumed { rooms } => {
            out.text(r#","rooms":["#);
            for (i, room) in rooms.iter().enumerate() {
                out.text(if i > 0 { "," } else { "" }).string(room);
            }
            out.text("]");
        }
        Reply::Rooms { rooms } => write_rooms(rooms, out),
        Reply::Status { status } => {
            out.text(r#","status":"#).string(status.as_str());
        }
        Reply::Refreshed { expires_at } => {
            out.text(r#","expires_at":"#).integer(expires_at);
        }
        Reply::Pong { at, .. } => {
            out.text(r#","at":"#).integer(at);
        }
        Reply::Error { code, message, retry_after_ms } => write_error(code, message, retry_after_ms, out),
    }
}

fn write_answer_fields(room: &RoomName, answer: &Answer, out: &mut Writer<'_>) {
    match answer {
        Answer::Published { epoch, seq, duplicate } => {
            out.text(r#","room":"#).string(room);
            if let Some(seq) = seq {
                out.text(r#","seq":"#).integer(*seq);
            }
            write_epoch(*epoch, out);
            if *duplicate {
                out.text(r#","duplicate":true"#);
            }
        }
        Answer::History { head, first_seq, messages } => {
            write_room_and_epoch(room, head.epoch, out);
            out.text(r#","first_seq":"#).integer(*first_seq);
            out.text(r#","head_seq":"#).integer(head.seq);
            write_messages(room, messages, out);
        }
        Answer::Presence { total, users } => write_presence(room, *total, users, out),
        Answer::Typing | Answer::RoomDeleted => {
            out.text(r#","room":"#).string(room);
        }
        Answer::Receipt { kind, seq } => {
            out.text(r#","room":"#).string(room);
            out.text(r#","kind":"#).string(kind.as_str());
            out.text(r#","seq":"#).integer(*seq);
        }
        Answer::Room(info) => write_room_info(room, info, out),
        Answer::Invited { code, expires_at } => {
            out.text(r#","room":"#).string(room);
            out.text(r#","code":"#).string(code);
            out.text(r#","expires_at":"#).integer(*expires_at);
        }
        Answer::RoleSet { user, role } => {
            out.text(r#","room":"#).string(room);
            out.text(r#","user":"#).string(user);
            write_role(Some(*role), out);
        }
        Answer::Kicked { user } => {
            out.text(r#","room":"#).string(room);
            out.text(r#","user":"#).string(user);
        }
        Answer::Summary(summary) => {
            out.text(r#","room":"#).string(room);
            out.text(r#","members":"#).integer(summary.members);
            out.text(r#","head_seq":"#).integer(summary.head.seq);
        }
        Answer::Refused(refusal) => write_error(refusal.code, refusal.message, refusal.retry_after_ms, out),
    }
}

fn write_room_info(room: &RoomName, info: &RoomInfo, out: &mut Writer<'_>) {
    out.text(r#","room":"#).string(room);
    out.text(r#","visibility":"#).string(info.visibility.as_str());
    write_role(info.role, out);
    out.text(r#","title":"#).string(&info.title);
    if let Some((members, head_seq)) = info.figures {
        out.text(r#","members":"#).integer(members);
        out.text(r#","head_seq":"#).integer(head_seq);
    }
}

fn write_rooms(rooms: &[RoomEntry], out: &mut Writer<'_>) {
    out.text(r#","rooms":["#);
    for (i, RoomEntry { room, role, head_seq, read_seq }) in rooms.iter().enumerate() {
        out.text(if i > 0 { "," } else { "" }).text(r#"{"room":"#).string(room);
        write_role(Some(*role), out);
        out.text(r#","head_seq":"#).integer(*head_seq);
        out.text(r#","read_seq":"#).integer(*read_seq);
        out.text(r#","unread":"#).integer(head_seq.saturating_sub(*read_seq)).text("}");
    }
    out.text("]");
}

fn write_role(role: Option<Role>, out: &mut Writer<'_>) {
    if let Some(role) = role {
        out.text(r#","role":"#).string(role.as_str());
    }
}

fn write_error(code: ErrorCode, message: &str, retry_after_ms: Option<u64>, out: &mut Writer<'_>) {
    out.text(r#","code":"#).string(code.as_str());
    out.text(r#","message":"#).string(message);
    if let Some(retry_after_ms) = retry_after_ms {
        out.text(r#","retry_after_ms":"#).integer(retry_after_ms);
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

fn write_messages(room: &RoomName, messages: &[Arc<Publication>], out: &mut Writer<'_>) {
    out.text(r#","messages":["#);
    for (i, message) in messages.iter().enumerate() {
        if i > 0 {
            out.text(",");
        }
        Json::publication(message, room, out);
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

/// Writes the field of the data.
fn write_data(data: Data<'_>, out: &mut Writer<'_>) {
    match data.kind {
        DataKind::Json => out.text(r#","data":"#).raw(data.bytes),
        DataKind::Binary => out.text(r#","data_b64":"#).base64_string(data.bytes),
    };
}

/// Writes the part of a message after its data.
fn write_after_data(content: &Content<'_>, out: &mut Writer<'_>) {
    if let Some(key) = content.key {
        out.text(r#","key":"#).string(key);
    }
    out.text("}");
}
