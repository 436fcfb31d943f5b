//! What each form must be able to write. The folders of forms implement it, `encode` calls it.
//! Never frames a message and never chooses a form.

use std::sync::Arc;

use super::form::Form;
use super::frame::payload_start;
use super::protocol::{Push, Reply};
use super::publication::{Content, Publication};
use super::writer::Writer;
use crate::base::ids::RoomName;

/// Writes the payloads of one form's messages. Each function does the same whenever it is called with the same values:
/// it is called to measure and then to write.
pub(super) trait FormWriter {
    /// The form.
    const FORM: Form;

    /// Writes a reply; `id` is its command's.
    fn reply(reply: &Reply<'_>, id: Option<u64>, out: &mut Writer<'_>);

    /// Publications of a reply that follow it as messages of their own, because the form does not put them inside of it.
    fn following<'a>(_reply: &Reply<'a>) -> Option<(&'a RoomName, &'a [Arc<Publication>])> {
        None
    }

    /// Writes a push.
    fn push(push: &Push<'_>, out: &mut Writer<'_>);

    /// Writes a numbered message.
    fn message(content: &Content<'_>, out: &mut Writer<'_>);

    /// Bytes that [`message`](FormWriter::message) writes after the data; `None` if it does not write this kind of data
    /// verbatim.
    fn bytes_after_data(content: &Content<'_>) -> Option<usize>;

    /// Writes a message that is neither numbered nor kept.
    fn ephemeral(content: &Content<'_>, out: &mut Writer<'_>);

    /// Writes a publication's message: the payload of its frame in this form, if it has one.
    fn publication(publication: &Publication, room: &RoomName, out: &mut Writer<'_>) {
        match publication.frames.get(Self::FORM) {
            Some(frame) => {
                out.raw(&frame[payload_start(frame)..]);
            }
            None => Self::message(&publication.content(room), out),
        }
    }
}
