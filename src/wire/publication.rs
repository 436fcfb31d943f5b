//! A room's publication: encoded once per form into a finished frame that history, lanes and outboxes share.
//! `data` is copied into the first frame verbatim and never parsed.

use bytes::Bytes;

use super::binary::push_op;
use super::command::{Data, DataKind, Form};
use super::frame::{Opcode, frame_of, payload_of, payload_start};
use super::writer::Writer;
use crate::base::ids::{RoomName, Seq, UserName};

/// Which forms are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Forms {
    /// Somebody reads JSON.
    pub json: bool,
    /// Somebody reads binary.
    pub binary: bool,
}

impl From<Form> for Forms {
    fn from(form: Form) -> Self {
        Self { json: form == Form::Json, binary: form == Form::Binary }
    }
}

/// The same push as a finished frame (or several in a row) in each form that somebody reads.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    /// For members who read JSON.
    pub json: Option<Bytes>,
    /// For members who read binary.
    pub binary: Option<Bytes>,
}

impl Frames {
    /// The frame in one form.
    #[must_use]
    pub fn get(&self, form: Form) -> Option<&Bytes> {
        match form {
            Form::Json => self.json.as_ref(),
            Form::Binary => self.binary.as_ref(),
        }
    }

    /// Bytes of both.
    #[must_use]
    pub fn len(&self) -> usize {
        self.json.as_ref().map_or(0, Bytes::len) + self.binary.as_ref().map_or(0, Bytes::len)
    }

    /// Whether there is no frame.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.json.is_none() && self.binary.is_none()
    }
}

/// What a publication says, before it is encoded.
#[derive(Clone, Debug)]
pub struct Content<'a> {
    /// Where.
    pub room: &'a RoomName,
    /// Who.
    pub from: &'a UserName,
    /// When it was numbered, Unix milliseconds.
    pub at: u64,
    /// The publisher's idempotency key, shown to members.
    pub key: Option<&'a str>,
    /// What.
    pub data: Data<'a>,
}

/// A numbered, encoded, immutable publication.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Its number in the room's epoch.
    pub seq: Seq,
    /// When it was numbered, Unix milliseconds.
    pub at: u64,
    /// Who published it.
    pub from: UserName,
    /// How `data` was written.
    pub kind: DataKind,
    /// The data, verbatim: a slice of one of the frames.
    pub data: Bytes,
    /// The publisher's idempotency key.
    pub key: Option<Box<str>>,
    /// Finished `message` frames in the forms that were wanted when it was encoded; at least one.
    pub frames: Frames,
}

impl Publication {
    /// Encodes `content` as message `seq` in the wanted forms; in the form its data was written in if none is. Data
    /// written in binary is always encoded in binary too: JSON shows it as base64, which `data` cannot be a slice of.
    #[must_use]
    pub fn encode(content: &Content<'_>, seq: Seq, forms: Forms) -> Publication {
        let message = Message::of(content, seq);
        let written_json = content.data.kind == DataKind::Json;
        let wants_json = forms.json || (written_json && !forms.binary);
        let json = wants_json.then(|| message.frame(Form::Json));
        let binary = (forms.binary || !written_json).then(|| message.frame(Form::Binary));
        let data = match (&json, &binary) {
            (Some(frame), _) if written_json => {
                let end = frame.len() - message.json_after_data();
                frame.slice(end - content.data.bytes.len()..end)
            }
            (_, Some(frame)) => frame.slice(frame.len() - content.data.bytes.len()..),
            (_, None) => unreachable!("without a JSON frame to slice there is a binary one"),
        };
        Publication {
            seq,
            at: content.at,
            from: content.from.clone(),
            kind: content.data.kind,
            data,
            key: content.key.map(Box::from),
            frames: Frames { json, binary },
        }
    }

    /// The finished frame in `form`: the shared one, or made now from the other form's.
    #[must_use]
    pub fn frame(&self, room: &RoomName, form: Form) -> Bytes {
        match self.frames.get(form) {
            Some(frame) => frame.clone(),
            None => self.message(room).frame(form),
        }
    }

    /// The JSON `message` object, as members who read JSON get it.
    #[must_use]
    pub fn json(&self, room: &RoomName) -> Bytes {
        payload_of(&self.frame(room, Form::Json))
    }

    /// Bytes this publication keeps alive, for budgets.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.frames.len()
    }

    /// About the bytes of its frame in one form.
    #[must_use]
    pub fn bytes_in(&self, form: Form) -> usize {
        // Data written in binary is a third longer in JSON.
        self.frames.get(form).map_or_else(|| self.frames.len() / 3 * 4 + 64, Bytes::len)
    }

    /// Writes the JSON `message` object: the shared frame's payload, or made now.
    pub(super) fn write_json(&self, room: &str, out: &mut Writer<'_>) {
        match &self.frames.json {
            Some(frame) => {
                out.raw(&frame[payload_start(frame)..]);
            }
            None => self.message(room).write_json(out),
        }
    }

    /// Writes the binary `message`, without a frame header.
    pub(super) fn write_binary(&self, room: &str, out: &mut Writer<'_>) {
        match &self.frames.binary {
            Some(frame) => {
                out.raw(&frame[payload_start(frame)..]);
            }
            None => self.message(room).write_binary(out),
        }
    }

    fn message<'a>(&'a self, room: &'a str) -> Message<'a> {
        let data = Data { kind: self.kind, bytes: &self.data };
        Message { room, seq: self.seq, from: &self.from, at: self.at, key: self.key.as_deref(), data }
    }
}

/// Everything a `message` push shows.
#[derive(Clone, Copy)]
struct Message<'a> {
    room: &'a str,
    seq: Seq,
    from: &'a str,
    at: u64,
    key: Option<&'a str>,
    data: Data<'a>,
}

impl<'a> Message<'a> {
    fn of(content: &Content<'a>, seq: Seq) -> Self {
        let Content { room, from, at, key, data } = *content;
        Message { room, seq, from, at, key, data }
    }

    fn frame(&self, form: Form) -> Bytes {
        match form {
            Form::Json => frame_of(Opcode::Text, |out| self.write_json(out)),
            Form::Binary => frame_of(Opcode::Binary, |out| self.write_binary(out)),
        }
    }

    fn write_json(&self, out: &mut Writer<'_>) {
        out.text(r#"{"type":"message","room":"#).string(self.room);
        out.text(r#","seq":"#).integer(self.seq);
        out.text(r#","from":"#).string(self.from);
        out.text(r#","at":"#).integer(self.at);
        write_data(self.data, out);
        self.write_json_after_data(out);
    }

    fn write_json_after_data(&self, out: &mut Writer<'_>) {
        if let Some(key) = self.key {
            out.text(r#","key":"#).string(key);
        }
        out.text("}");
    }

    /// Bytes of the JSON form behind the data.
    fn json_after_data(&self) -> usize {
        Writer::measure(|out| self.write_json_after_data(out))
    }

    fn write_binary(&self, out: &mut Writer<'_>) {
        out.u32(push_op::MESSAGE).u64(self.seq).u64(self.at);
        out.u16(name_len(self.room)).u16(name_len(self.from));
        out.text(self.room).text(self.from).raw(self.data.bytes);
    }
}

/// A name's length as the binary form tells it.
fn name_len(name: &str) -> u16 {
    u16::try_from(name.len()).expect("a checked name is short")
}

/// Writes the data as the last field so far.
fn write_data(data: Data<'_>, out: &mut Writer<'_>) {
    match data.kind {
        DataKind::Json => out.text(r#","data":"#).raw(data.bytes),
        DataKind::Binary => out.text(r#","data_b64":"#).base64_string(data.bytes),
    };
}

/// Encodes `content` as an `ephemeral` push in the wanted forms (binary members get it as op 136).
#[must_use]
pub fn encode_ephemeral(content: &Content<'_>, forms: Forms) -> Frames {
    let write = |out: &mut Writer<'_>| {
        out.text(r#"{"type":"ephemeral","room":"#).string(content.room);
        out.text(r#","from":"#).string(content.from);
        out.text(r#","at":"#).integer(content.at);
        write_data(content.data, out);
        out.text("}");
    };
    Frames {
        json: forms.json.then(|| frame_of(Opcode::Text, write)),
        binary: forms.binary.then(|| {
            frame_of(Opcode::Binary, |out| {
                out.u32(push_op::OTHER);
                write(out);
            })
        }),
    }
}

#[cfg(test)]
mod tests;
