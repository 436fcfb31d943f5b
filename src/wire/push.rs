//! What the server says unasked, beside publications (PROTOCOL section 3): finished frames in either form.

use bytes::Bytes;

use super::command::Form;
use super::publication::{Forms, Frames};
use crate::base::ids::{RoomName, Seq, UserName};

/// A user's standing in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// At least one connection is here and not away.
    Online,
    /// All connections say they are away.
    Away,
    /// The last connection has gone and the grace has passed.
    Offline,
}

impl Status {
    /// The JSON form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Online => "online",
            Status::Away => "away",
            Status::Offline => "offline",
        }
    }
}

/// Why the server is about to close on its own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconnectReason {
    /// Planned stop.
    Draining,
    /// The memory budget is used up.
    Overloaded,
}

/// A push to one connection or to a room.
#[derive(Clone, Debug)]
pub enum Push<'a> {
    /// The first push after the upgrade.
    Welcome {
        /// The connection's public id.
        connection: &'a str,
        /// Its user.
        user: &'a str,
        /// The session's id.
        session: &'a str,
        /// This machine's name.
        node: &'a str,
        /// How often the server pings.
        heartbeat_ms: u64,
        /// The largest message taken.
        max_message_bytes: u64,
    },
    /// A user's standing in a room changed.
    Status {
        /// Where.
        room: &'a RoomName,
        /// Who.
        user: &'a UserName,
        /// To what.
        status: Status,
    },
    /// Messages that this connection was not given.
    Gap {
        /// Where.
        room: &'a RoomName,
        /// First missing.
        from: Seq,
        /// Last missing.
        to: Seq,
    },
    /// The server will close this connection.
    Reconnect {
        /// Wait this long before connecting again.
        after_ms: u64,
        /// Why.
        reason: ReconnectReason,
    },
}

/// Encodes a push in one form. Binary: `welcome` is op 128, `gap` op 134, all others op 136.
#[must_use]
pub fn encode_push(push: &Push<'_>, form: Form) -> Bytes {
    let _ = (push, form);
    todo!()
}

/// Encodes one or more pushes in the wanted forms, one frame after another in one buffer per form.
#[must_use]
pub fn encode_pushes(pushes: &[Push<'_>], forms: Forms) -> Frames {
    let _ = (pushes, forms);
    todo!()
}
