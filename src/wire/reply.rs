//! Replies to commands (PROTOCOL section 2), finished frames in the form of their command.

use std::sync::Arc;

use bytes::Bytes;

use super::command::ReplyTo;
use super::publication::Publication;
use super::push::Status;
use crate::base::codes::ErrorCode;
use crate::base::ids::{Epoch, RoomName, Seq, UserName};

/// One user in a `presence` reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentUser {
    /// Who.
    pub user: UserName,
    /// `online` or `away`.
    pub status: Status,
    /// How many of the user's connections are members.
    pub connections: u32,
}

/// A reply's content.
#[derive(Clone, Debug)]
pub enum Reply<'a> {
    /// The connection is a member. Also pushed without being asked for when a room's epoch changes.
    Joined {
        /// Where.
        room: &'a RoomName,
        /// The room's numbering.
        epoch: Epoch,
        /// Its head.
        seq: Seq,
        /// Whether `messages` is exactly what was missed.
        recovered: bool,
        /// Oldest first.
        messages: &'a [Arc<Publication>],
        /// Users present, the joiner included.
        members: u64,
    },
    /// No longer a member.
    Left {
        /// Where.
        room: &'a str,
    },
    /// Numbered, in history, on its way.
    Published {
        /// Where.
        room: &'a str,
        /// Its number; `None` for an ephemeral one (0 in the binary form).
        seq: Option<Seq>,
        /// The numbering.
        epoch: Epoch,
        /// The key was known: this is the first one's number.
        duplicate: bool,
    },
    /// A page of held messages.
    History {
        /// Where.
        room: &'a RoomName,
        /// The room's numbering.
        epoch: Epoch,
        /// Oldest held; head + 1 when none is.
        first_seq: Seq,
        /// Newest numbered.
        head_seq: Seq,
        /// Oldest first.
        messages: &'a [Arc<Publication>],
    },
    /// A page of present users.
    Presence {
        /// Where.
        room: &'a str,
        /// All users present.
        total: u64,
        /// This page, by name.
        users: &'a [PresentUser],
    },
    /// The status is set.
    Status {
        /// To what.
        status: Status,
    },
    /// Still here.
    Pong {
        /// Unix milliseconds (JSON form).
        at: u64,
        /// The ping's value (binary form).
        value: u64,
    },
    /// It failed.
    Error {
        /// How.
        code: ErrorCode,
        /// Plain words.
        message: &'a str,
        /// When to try again, for `rate_limited` and `unavailable`.
        retry_after_ms: Option<u64>,
    },
}

/// Encodes a reply. One frame, but for the binary `joined`, whose 131s follow it in the same buffer.
#[must_use]
pub fn encode_reply(reply: &Reply<'_>, to: ReplyTo) -> Bytes {
    let _ = (reply, to);
    todo!()
}
