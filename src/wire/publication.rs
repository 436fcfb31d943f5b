//! Publications: published data, its position, and the finished frames that history, lanes and outboxes share.
//! Never writes a frame, which is `encode`'s part.

use bytes::Bytes;

use super::form::{Form, Frames};
use crate::base::ids::{ConnId, RoomName, Seq, UserName};

/// The kind of published data, which determines how other forms represent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataKind {
    /// The text of one JSON value, as the client wrote it.
    Json,
    /// Any bytes.
    Binary,
}

impl DataKind {
    /// The form that contains such data verbatim.
    #[must_use]
    pub const fn form(self) -> Form {
        match self {
            DataKind::Json => Form::Json,
            DataKind::Binary => Form::Binary,
        }
    }
}

/// Published data, borrowed and verbatim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Data<'a> {
    pub kind: DataKind,
    pub bytes: &'a [u8],
}

/// The content of a publication, before it is encoded.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// Its room.
    pub room: &'a RoomName,
    /// Its number in the room's epoch. Not used for an ephemeral message.
    pub seq: Seq,
    /// The publisher.
    pub from: &'a UserName,
    /// When it was numbered, Unix milliseconds.
    pub at: u64,
    /// The publisher's idempotency key, shown to members.
    pub key: Option<&'a str>,
    /// The published data.
    pub data: Data<'a>,
    /// The publishing connection, if it asked not to receive its own message (`echo:false`).
    pub except: Option<ConnId>,
    /// When the publish arrived, monotonic microseconds.
    pub arrived_us: u64,
}

impl<'a> Content<'a> {
    /// Content without an idempotency key, for every member, that arrived at time 0.
    #[must_use]
    pub const fn new(room: &'a RoomName, seq: Seq, from: &'a UserName, at: u64, data: Data<'a>) -> Self {
        Self { room, seq, from, at, key: None, data, except: None, arrived_us: 0 }
    }

    /// The same with an idempotency key.
    #[must_use]
    pub const fn with_key(self, key: Option<&'a str>) -> Self {
        Self { key, ..self }
    }

    /// The same for every member but `except`.
    #[must_use]
    pub const fn sparing(self, except: Option<ConnId>) -> Self {
        Self { except, ..self }
    }

    /// The same with a time of arrival, monotonic microseconds.
    #[must_use]
    pub const fn arrived(self, arrived_us: u64) -> Self {
        Self { arrived_us, ..self }
    }
}

/// A numbered, encoded, immutable publication. See [`Content`] for its other fields.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Publication {
    pub seq: Seq,
    pub at: u64,
    pub from: UserName,
    pub kind: DataKind,
    /// The data, verbatim: a slice of one of the frames.
    pub data: Bytes,
    pub key: Option<Box<str>>,
    pub except: Option<ConnId>,
    pub arrived_us: u64,
    /// Finished `message` frames in the forms that were wanted when it was encoded; at least one.
    pub frames: Frames,
}

impl Publication {
    /// Its content, as a message of `room`.
    pub(super) fn content<'a>(&'a self, room: &'a RoomName) -> Content<'a> {
        let Self { seq, at, ref from, kind, ref data, ref key, except, arrived_us, frames: _ } = *self;
        let data = Data { kind, bytes: data };
        Content { room, seq, from, at, key: key.as_deref(), data, except, arrived_us }
    }

    /// Bytes that the publication keeps in memory, for budgets.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.frames.len()
    }

    /// Approximate bytes of its frame in a form.
    #[must_use]
    pub fn bytes_in(&self, form: Form) -> usize {
        // Base64 is a third longer than binary data.
        self.frames.get(form).map_or_else(|| self.frames.len() / 3 * 4 + 64, Bytes::len)
    }
}
