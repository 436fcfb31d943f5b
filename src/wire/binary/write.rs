//! Writes the payloads of binary messages. Replies and pushes without an op of their own are op 136 and JSON.
//! Never writes a frame header.

use std::sync::Arc;

use super::push_op;
use crate::base::ids::RoomName;
use crate::wire::form::Form;
use crate::wire::form_writer::FormWriter;
use crate::wire::json::Json;
use crate::wire::protocol::{Answer, Push, Refusal, Reply};
use crate::wire::publication::{Content, Publication};
use crate::wire::writer::Writer;

/// The binary form.
pub(in crate::wire) struct Binary;

impl FormWriter for Binary {
    const FORM: Form = Form::Binary;

    fn reply(reply: &Reply<'_>, id: Option<u64>, out: &mut Writer<'_>) {
        match *reply {
            Reply::Joined { room, epoch, seq, recovered, messages, remaining, .. } => {
                let count = u32::try_from(messages.len() + remaining).expect("a history holds fewer messages");
                out.u32(push_op::JOINED).u64(epoch.0).u64(seq).raw(&[u8::from(recovered)]).u32(count).text(room);
            }
            Reply::Left { room } => {
                out.u32(push_op::LEFT).text(room);
            }
            Reply::Answer { room, answer: Answer::Published { seq, .. } } => {
                out.u32(push_op::PUBLISHED).u64(seq.unwrap_or(0)).text(room);
            }
            Reply::Answer { answer: Answer::Refused(Refusal { code, message, .. }), .. } => {
                out.u32(push_op::ERROR).u16(*code as u16).text(message);
            }
            Reply::Pong { value, .. } => {
                out.u32(push_op::PONG).u64(value);
            }
            Reply::Error { code, message, .. } => {
                out.u32(push_op::ERROR).u16(code as u16).text(message);
            }
            _ => Json::reply(reply, id, out.u32(push_op::OTHER)),
        }
    }

    fn following<'a>(reply: &Reply<'a>) -> Option<(&'a RoomName, &'a [Arc<Publication>])> {
        match *reply {
            Reply::Joined { room, messages, .. } => Some((room, messages)),
            _ => None,
        }
    }

    fn push(push: &Push<'_>, out: &mut Writer<'_>) {
        match *push {
            Push::Gap { room, from, to } => {
                out.u32(push_op::GAP).u64(from).u64(to).text(room);
            }
            Push::Welcome { .. } => Json::push(push, out.u32(push_op::WELCOME)),
            _ => Json::push(push, out.u32(push_op::OTHER)),
        }
    }

    fn message(content: &Content<'_>, out: &mut Writer<'_>) {
        let (room, from) = (content.room, content.from);
        out.u32(push_op::MESSAGE).u64(content.seq).u64(content.at);
        out.u16(name_len(room)).u16(name_len(from));
        out.text(room).text(from).raw(content.data.bytes);
    }

    fn bytes_after_data(_content: &Content<'_>) -> Option<usize> {
        Some(0)
    }

    fn ephemeral(content: &Content<'_>, out: &mut Writer<'_>) {
        Json::ephemeral(content, out.u32(push_op::OTHER));
    }
}

/// A name's length in the binary form.
fn name_len(name: &str) -> u16 {
    u16::try_from(name.len()).expect("a checked name is short")
}
