//! Encodes the server's messages as finished frames, which are ready for the socket and shared by reference from then on.
//! Owns the table of forms. Never parses data.

use bytes::Bytes;

use super::binary::Binary;
use super::form::{Form, Forms, Frames};
use super::form_writer::FormWriter;
use super::frame::{append_frame, frame_of, header_len, payload_of};
use super::json::Json;
use super::protocol::{Push, Reply, ReplyTo};
use super::publication::{Content, Publication};
use super::writer::Writer;
use crate::base::ids::RoomName;

/// The encoding functions of one form.
struct FormEncoder {
    form: Form,
    reply: fn(&Reply<'_>, Option<u64>) -> Bytes,
    pushes: fn(&[Push<'_>]) -> Bytes,
    message: fn(&Content<'_>) -> Bytes,
    bytes_after_data: fn(&Content<'_>) -> Option<usize>,
    ephemeral: fn(&Content<'_>) -> Bytes,
}

/// In the order of [`Form::ALL`].
static ENCODERS: [FormEncoder; Form::COUNT] = [FormEncoder::of::<Json>(), FormEncoder::of::<Binary>()];

const _: () = {
    let mut at = 0;
    while at < Form::COUNT {
        assert!(ENCODERS[at].form.index() == at, "each encoder must be at its form's index");
        at += 1;
    }
};

impl FormEncoder {
    const fn of<W: FormWriter>() -> Self {
        Self {
            form: W::FORM,
            reply: reply_frames::<W>,
            pushes: push_frames::<W>,
            message: |content| frame_of(W::FORM.opcode(), |out| W::message(content, out)),
            bytes_after_data: W::bytes_after_data,
            ephemeral: |content| frame_of(W::FORM.opcode(), |out| W::ephemeral(content, out)),
        }
    }

    fn for_form(form: Form) -> &'static Self {
        &ENCODERS[form.index()]
    }
}

/// Encodes a reply in the form of its command: one frame, and in the same buffer the messages that the form sends after it.
#[must_use]
pub fn encode_reply(reply: &Reply<'_>, to: ReplyTo) -> Bytes {
    (FormEncoder::for_form(to.form).reply)(reply, to.id)
}

/// Encodes a push in one form.
#[must_use]
pub fn encode_push(push: &Push<'_>, form: Form) -> Bytes {
    (FormEncoder::for_form(form).pushes)(std::slice::from_ref(push))
}

/// Encodes pushes in the wanted forms, one frame after another in one buffer per form.
#[must_use]
pub fn encode_pushes(pushes: &[Push<'_>], forms: Forms) -> Frames {
    let forms = if pushes.is_empty() { Forms::default() } else { forms };
    frames_in(forms, |encoder| (encoder.pushes)(pushes))
}

/// Encodes `content` as an `ephemeral` push in the wanted forms, without its number and key.
#[must_use]
pub fn encode_ephemeral(content: &Content<'_>, forms: Forms) -> Frames {
    frames_in(forms, |encoder| (encoder.ephemeral)(content))
}

fn frames_in(forms: Forms, encode: impl Fn(&FormEncoder) -> Bytes) -> Frames {
    let mut frames = Frames::default();
    for form in forms.iter() {
        frames.set(form, encode(FormEncoder::for_form(form)));
    }
    frames
}

impl Publication {
    /// Encodes `content` in the wanted forms. If none of them contains the data verbatim, encodes it in the data's own form
    /// too, so that `data` is always a slice of a frame.
    #[must_use]
    pub fn encode(content: &Content<'_>, forms: Forms) -> Publication {
        let mut frames = frames_in(forms, |encoder| (encoder.message)(content));
        let verbatim = frames.iter().find_map(|(form, frame)| data_in(frame, form, content));
        let data = verbatim.unwrap_or_else(|| {
            let form = content.data.kind.form();
            let frame = (FormEncoder::for_form(form).message)(content);
            let data = data_in(&frame, form, content).expect("a form contains its own kind of data verbatim");
            frames.set(form, frame);
            data
        });
        Publication {
            seq: content.seq,
            at: content.at,
            from: content.from.clone(),
            kind: content.data.kind,
            data,
            key: content.key.map(Box::from),
            except: content.except,
            arrived_us: content.arrived_us,
            frames,
        }
    }

    /// The finished frame in `form`: the shared one, or encoded now.
    #[must_use]
    pub fn frame(&self, room: &RoomName, form: Form) -> Bytes {
        match self.frames.get(form) {
            Some(frame) => frame.clone(),
            None => (FormEncoder::for_form(form).message)(&self.content(room)),
        }
    }

    /// The JSON `message` object, as members who read JSON get it.
    #[must_use]
    pub fn json(&self, room: &RoomName) -> Bytes {
        payload_of(&self.frame(room, Form::Json))
    }
}

/// The data of `content` as a slice of its frame in `form`, if that form contains it verbatim.
fn data_in(frame: &Bytes, form: Form, content: &Content<'_>) -> Option<Bytes> {
    let end = frame.len() - (FormEncoder::for_form(form).bytes_after_data)(content)?;
    Some(frame.slice(end - content.data.bytes.len()..end))
}

/// A reply and the messages that follow it, in one buffer.
fn reply_frames<W: FormWriter>(reply: &Reply<'_>, id: Option<u64>) -> Bytes {
    let opcode = W::FORM.opcode();
    let Some((room, messages)) = W::following(reply) else {
        return frame_of(opcode, |out| W::reply(reply, id, out));
    };
    let reply_len = Writer::measure(|out| W::reply(reply, id, out));
    let message_len = |message: &Publication| Writer::measure(|out| W::publication(message, room, out));
    let messages_total: usize = messages.iter().map(|m| message_len(m)).map(|length| header_len(length) + length).sum();
    let mut out = Vec::with_capacity(header_len(reply_len) + reply_len + messages_total);
    append_frame(&mut out, opcode, reply_len, |out| W::reply(reply, id, out));
    for message in messages {
        append_frame(&mut out, opcode, message_len(message), |out| W::publication(message, room, out));
    }
    Bytes::from(out)
}

/// Pushes one after another, in one buffer.
fn push_frames<W: FormWriter>(pushes: &[Push<'_>]) -> Bytes {
    let payload_len = |push: &Push<'_>| Writer::measure(|out| W::push(push, out));
    let total = pushes.iter().map(payload_len).map(|length| header_len(length) + length).sum();
    let mut out = Vec::with_capacity(total);
    for push in pushes {
        append_frame(&mut out, W::FORM.opcode(), payload_len(push), |out| W::push(push, out));
    }
    Bytes::from(out)
}

#[cfg(test)]
mod tests;
