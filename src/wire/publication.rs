//! A room's publication: encoded once per form into a finished frame that history, lanes and outboxes share.
//! `data` is copied into the first frame verbatim and never parsed.

use bytes::Bytes;

use super::command::{Data, DataKind, Form};
use crate::base::ids::{RoomName, Seq, UserName};

/// Which forms are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Forms {
    /// Somebody reads JSON.
    pub json: bool,
    /// Somebody reads binary.
    pub binary: bool,
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
    /// Encodes `content` as message `seq` in the wanted forms (JSON if none is).
    #[must_use]
    pub fn encode(content: &Content<'_>, seq: Seq, forms: Forms) -> Publication {
        let _ = (content, seq, forms);
        todo!()
    }

    /// The finished frame in `form`: the shared one, or made now from the other form's.
    #[must_use]
    pub fn frame(&self, room: &RoomName, form: Form) -> Bytes {
        let _ = (room, form);
        todo!()
    }

    /// Bytes this publication keeps alive, for budgets.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.frames.len()
    }
}

/// Encodes `content` as an `ephemeral` push in the wanted forms (binary members get it as op 136).
#[must_use]
pub fn encode_ephemeral(content: &Content<'_>, forms: Forms) -> Frames {
    let _ = (content, forms);
    todo!()
}
