//! What a client asks, decoded from either form. Names are checked here; permissions and state are not.

use std::borrow::Cow;

use crate::base::codes::ErrorCode;
use crate::base::ids::{Epoch, Seq};

/// In which of the two forms something is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Text messages of JSON.
    Json,
    /// Binary messages (PROTOCOL section 6).
    Binary,
}

/// Where the reply of a command goes and how: its `id`, if any, and its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    /// The command's `id`. Without one a JSON command is answered by errors only; a binary command always is.
    pub id: Option<u64>,
    /// The form the command came in.
    pub form: Form,
}

impl ReplyTo {
    /// Whether a success is answered too.
    #[must_use]
    pub const fn wants_reply(self) -> bool {
        self.id.is_some() || matches!(self.form, Form::Binary)
    }
}

/// A command and where its reply goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Request<'a> {
    /// Where the reply goes.
    pub reply: ReplyTo,
    /// What is asked.
    pub command: Command<'a>,
}

/// From where a joining client wants to continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recover {
    /// The last message it has.
    pub seq: Seq,
    /// The numbering that belongs to; `None` is the room's own.
    pub epoch: Option<Epoch>,
}

/// How published data was written. It decides how it is shown to members of the other form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataKind {
    /// The text of one JSON value, as the client wrote it.
    Json,
    /// Any bytes.
    Binary,
}

/// Published data: borrowed from the message it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    /// How it was written.
    pub kind: DataKind,
    /// The bytes, verbatim.
    pub bytes: &'a [u8],
}

/// What a client asks (PROTOCOL section 2). Room names have passed `check_name`.
#[derive(Clone, Debug, PartialEq)]
pub enum Command<'a> {
    /// Become a member.
    Join {
        /// Which room.
        room: Cow<'a, str>,
        /// Continue from here, if given.
        recover: Option<Recover>,
        /// How many of the newest messages are wanted, if given.
        history: Option<u32>,
    },
    /// Stop being a member.
    Leave {
        /// Which room.
        room: Cow<'a, str>,
    },
    /// Send to all members.
    Publish {
        /// Which room.
        room: Cow<'a, str>,
        /// What.
        data: Data<'a>,
        /// Idempotency key, at most `KEY_BYTES_MAX`.
        key: Option<Cow<'a, str>>,
        /// Whether this connection gets its own message.
        echo: bool,
        /// Not numbered, not kept.
        ephemeral: bool,
    },
    /// Read held messages: after a seq, before a seq, or (neither) the newest.
    History {
        /// Which room.
        room: Cow<'a, str>,
        /// Only messages above it, oldest first.
        after: Option<Seq>,
        /// Only messages below it, the newest of them.
        before: Option<Seq>,
        /// 1 … `PAGE_MAX`.
        limit: Option<u32>,
    },
    /// Who is here.
    Presence {
        /// Which room.
        room: Cow<'a, str>,
        /// 1 … `PAGE_MAX`.
        limit: Option<u32>,
        /// Only users whose name sorts (by bytes) after it.
        after: Option<Cow<'a, str>>,
    },
    /// Say whether this connection's user is at the keyboard.
    Status {
        /// `away` rather than `online`.
        away: bool,
    },
    /// Stand on another token (JSON form alone).
    Refresh {
        /// The new one.
        token: Cow<'a, str>,
    },
    /// Application-level ping.
    Ping {
        /// Binary form: any value, returned in the pong.
        value: u64,
    },
}

/// A message that is not a command. `reply.id` is set when it could still be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRequest {
    /// Where the error goes.
    pub reply: ReplyTo,
    /// `BadCommand`, `UnknownCommand` or `TooLarge`.
    pub code: ErrorCode,
    /// Plain words that name the field.
    pub message: String,
}
