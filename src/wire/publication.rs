//! A room's numbered message: its facts, and the finished frames that history, lanes and outboxes share.
//! Never writes a frame: `encode` does.

use bytes::Bytes;

use super::form::{Form, Frames};
use crate::base::ids::{ConnId, RoomName, Seq, UserName};

/// How published data was written. It decides how the data is shown to members of other forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataKind {
    /// The text of one JSON value, as the client wrote it.
    Json,
    /// Any bytes.
    Binary,
}

impl DataKind {
    /// The form whose messages hold such data verbatim.
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

/// The facts of a publication, before it is encoded.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// Its room.
    pub room: &'a RoomName,
    /// Its number in the room's epoch; an ephemeral message has none.
    pub seq: Seq,
    /// The publisher.
    pub from: &'a UserName,
    /// When it was numbered, Unix milliseconds.
    pub at: u64,
    /// The publisher's idempotency key, shown to members.
    pub key: Option<&'a str>,
    /// The published data.
    pub data: Data<'a>,
    /// A connection that asked not to receive its own message (`echo:false`).
    pub except: Option<ConnId>,
    /// When the publish arrived, monotonic microseconds.
    pub arrived_us: u64,
}

impl<'a> Content<'a> {
    /// A publication without an idempotency key, for every member, numbered as it arrived at time 0.
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

    /// The same with the time of its arrival, monotonic microseconds.
    #[must_use]
    pub const fn arrived(self, arrived_us: u64) -> Self {
        Self { arrived_us, ..self }
    }
}

/// A numbered, encoded, immutable publication. Its fields mean what those of [`Content`] mean.
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
    /// Its facts, as a message of `room`.
    pub(super) fn content<'a>(&'a self, room: &'a RoomName) -> Content<'a> {
        let Self { seq, at, ref from, kind, ref data, ref key, except, arrived_us, frames: _ } = *self;
        let data = Data { kind, bytes: data };
        Content { room, seq, from, at, key: key.as_deref(), data, except, arrived_us }
    }

    /// Bytes that this publication keeps alive, for budgets.
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
}
