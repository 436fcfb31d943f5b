//! The interface of a form's writer: each form implements it in its folder, `encode` calls it. Never writes a frame header.

use std::sync::Arc;

use super::form::Form;
use super::frame::payload_start;
use super::protocol::{Push, Reply};
use super::publication::{Content, Publication};
use super::writer::Writer;
use crate::base::ids::RoomName;

/// Writes the payloads of one form's messages. Each function is called twice with the same values, to measure and to
/// write, and must write the same both times.
pub(super) trait FormWriter {
    /// The form that it writes.
    const FORM: Form;

    /// Writes a reply; `id` is its command's.
    fn reply(reply: &Reply<'_>, id: Option<u64>, out: &mut Writer<'_>);

    /// Publications of a reply that this form sends as separate messages after the reply, not inside it.
    fn following<'a>(_reply: &Reply<'a>) -> Option<(&'a RoomName, &'a [Arc<Publication>])> {
        None
    }

    /// Writes a push.
    fn push(push: &Push<'_>, out: &mut Writer<'_>);

    /// Writes a numbered message.
    fn message(content: &Content<'_>, out: &mut Writer<'_>);

    /// Number of bytes that [`message`](FormWriter::message) writes after the data; `None` if it does not write this kind of
    /// data verbatim.
    fn bytes_after_data(content: &Content<'_>) -> Option<usize>;

    /// Writes a message that is neither numbered nor kept.
    fn ephemeral(content: &Content<'_>, out: &mut Writer<'_>);

    /// Writes a publication's message, copied from its frame in this form if it has one.
    fn publication(publication: &Publication, room: &RoomName, out: &mut Writer<'_>) {
        match publication.frames.get(Self::FORM) {
            Some(frame) => {
                out.raw(&frame[payload_start(frame)..]);
            }
            None => Self::message(&publication.content(room), out),
        }
    }
}
