//! Commands, replies and pushes (PROTOCOL sections 2 and 3) as values, independent of the forms. Readers check names, but
//! neither permissions nor state. Never reads and never writes bytes.
//!
//! Fields with the same meaning everywhere: `room` is the room's name; `epoch` is the room's numbering; `messages` are
//! publications, oldest first; `limit` is the maximum length of a page, 1 … `PAGE_MAX`; `members` and `total` count the
//! users present; `after_ms` and `retry_after_ms` tell the client how long to wait before its next attempt.

use std::borrow::Cow;
use std::sync::Arc;

use super::form::Form;
use super::publication::{Data, Publication};
use crate::base::causes::COMMAND_KINDS_MAX;
use crate::base::codes::{CloseCode, ErrorCode};
use crate::base::ids::{Epoch, RoomName, Seq, UserName};

/// Where the reply to a command goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    /// The command's `id`.
    pub id: Option<u64>,
    /// The form of the command, which is the form of its reply.
    pub form: Form,
}

impl ReplyTo {
    /// Whether the command is answered if it succeeds; errors are always answered.
    #[must_use]
    pub const fn wants_reply(self) -> bool {
        self.id.is_some() || self.form.replies_without_id()
    }
}

/// A command, and where its reply goes.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Request<'a> {
    pub reply: ReplyTo,
    pub command: Command<'a>,
}

/// A message that is not a command. `reply.id` is set if it could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRequest {
    /// Where the error goes.
    pub reply: ReplyTo,
    /// `BadCommand`, `UnknownCommand` or `TooLarge`.
    pub code: ErrorCode,
    /// The text of the error, which names the field.
    pub message: String,
}

/// The position that a joining client wants to continue from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recover {
    /// The last message that the client has.
    pub seq: Seq,
    /// The epoch of `seq`; `None` stands for the room's current epoch.
    pub epoch: Option<Epoch>,
}

/// A client's command. Names of rooms and users have passed `check_name`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Command<'a> {
    /// Become a member, and get the messages after a position or else the newest ones, at most `history` of them.
    Join { room: Cow<'a, str>, recover: Option<Recover>, history: Option<u32> },
    /// Stop being a member.
    Leave { room: Cow<'a, str> },
    /// Send data to all members, to this connection too if `echo` is set. `key` is an idempotency key of at most
    /// `KEY_BYTES_MAX`; an `ephemeral` message is neither numbered nor kept.
    Publish { room: Cow<'a, str>, data: Data<'a>, key: Option<Cow<'a, str>>, echo: bool, ephemeral: bool },
    /// Read held messages: the oldest above `after`, or the newest below `before`, or else the newest.
    History { room: Cow<'a, str>, after: Option<Seq>, before: Option<Seq>, limit: Option<u32> },
    /// List the users present, sorted by the bytes of their names, starting after the name `after`.
    Presence { room: Cow<'a, str>, limit: Option<u32>, after: Option<Cow<'a, str>> },
    /// Set the user's status to away or online.
    Status { away: bool },
    /// Identify the connection's user, by a token or, in mode `open`, by name. Only in dialects that identify by message.
    Identify { token: Option<Cow<'a, str>>, user: Option<Cow<'a, str>> },
    /// Replace the connection's token.
    Refresh { token: Cow<'a, str> },
    /// Ask for a pong. The binary form returns `value` in it.
    Ping { value: u64 },
}

/// Metric labels of commands, by [`Command::index`]. The last one is for invalid messages.
pub const COMMANDS: [&str; 10] =
    ["join", "leave", "publish", "history", "presence", "status", "ping", "refresh", "identify", "bad"];

/// Index of invalid messages in [`COMMANDS`].
pub const BAD_COMMAND: usize = COMMANDS.len() - 1;

const _: () = assert!(COMMANDS.len() <= COMMAND_KINDS_MAX, "each kind of command needs a counter");

impl Command<'_> {
    /// Index of its kind in [`COMMANDS`].
    #[must_use]
    pub const fn index(&self) -> usize {
        match self {
            Command::Join { .. } => 0,
            Command::Leave { .. } => 1,
            Command::Publish { .. } => 2,
            Command::History { .. } => 3,
            Command::Presence { .. } => 4,
            Command::Status { .. } => 5,
            Command::Ping { .. } => 6,
            Command::Refresh { .. } => 7,
            Command::Identify { .. } => 8,
        }
    }
}

/// A user's presence in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// At least one connection is a member and not away.
    Online,
    /// All connections are away.
    Away,
    /// The last connection has left and the grace period has passed.
    Offline,
}

impl Status {
    /// Name in the JSON form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Online => "online",
            Status::Away => "away",
            Status::Offline => "offline",
        }
    }
}

/// One user in a `presence` reply.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct PresentUser {
    pub user: UserName,
    /// `online` or `away`.
    pub status: Status,
    /// Number of the user's connections that are members.
    pub connections: u32,
}

/// The answer to a command.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Reply<'a> {
    /// The connection is a member. `seq` is the room's head. `remaining` messages follow as pushes, before any live one;
    /// `recovered` means that these and `messages` are exactly the missed ones. Also pushed when a room's epoch changes.
    Joined {
        room: &'a RoomName,
        epoch: Epoch,
        seq: Seq,
        recovered: bool,
        messages: &'a [Arc<Publication>],
        remaining: usize,
        members: u64,
    },
    /// The connection is no longer a member.
    Left { room: &'a str },
    /// The message is numbered, in history, and on its way to members. An ephemeral one has no `seq`. `duplicate` means that
    /// the key was known, and `seq` is that of the first message with it.
    Published { room: &'a str, seq: Option<Seq>, epoch: Epoch, duplicate: bool },
    /// A page of held messages. `first_seq` is the oldest held (`head_seq` + 1 if there is none), `head_seq` the newest.
    History { room: &'a RoomName, epoch: Epoch, first_seq: Seq, head_seq: Seq, messages: &'a [Arc<Publication>] },
    /// A page of the users present, by name.
    Presence { room: &'a str, total: u64, users: &'a [PresentUser] },
    /// The status is set.
    Status { status: Status },
    /// The new token is accepted, and expires at `expires_at`, Unix milliseconds.
    Refreshed { expires_at: u64 },
    /// The answer to a ping: the time in Unix milliseconds (JSON form), the ping's value (binary form).
    Pong { at: u64, value: u64 },
    /// The command failed.
    Error { code: ErrorCode, message: &'a str, retry_after_ms: Option<u64> },
}

/// Why the server is about to close a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconnectReason {
    /// Planned stop.
    Draining,
    /// The memory budget or the maximum number of connections is reached.
    Overloaded,
    /// The rate limit of connections is exceeded.
    RateLimited,
    /// The maximum number of connections of an address or a user is reached.
    LimitExceeded,
}

impl ReconnectReason {
    /// Name in the JSON form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ReconnectReason::Draining => "draining",
            ReconnectReason::Overloaded => "overloaded",
            ReconnectReason::RateLimited => "rate_limited",
            ReconnectReason::LimitExceeded => "limit_exceeded",
        }
    }

    /// Code of the close that follows.
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            ReconnectReason::Draining => CloseCode::Restart,
            ReconnectReason::Overloaded => CloseCode::Overloaded,
            ReconnectReason::RateLimited | ReconnectReason::LimitExceeded => CloseCode::Rate,
        }
    }
}

/// Why the server has removed a connection from a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftReason {
    /// The connection's new token does not allow the room.
    Token,
    /// An administrator has removed the user from the room.
    Kicked,
}

impl LeftReason {
    /// Name in the JSON form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            LeftReason::Token => "token",
            LeftReason::Kicked => "kicked",
        }
    }
}

/// A push to one connection or to a room, other than a message.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Push<'a> {
    /// The first push after the upgrade. `connection` and `session` are public ids, `name` is the user's shown name if a
    /// token has one, `node` the name of this machine.
    Welcome {
        connection: &'a str,
        user: &'a str,
        name: Option<&'a str>,
        session: &'a str,
        node: &'a str,
        heartbeat_ms: u64,
        max_message_bytes: u64,
    },
    /// A user's status in a room changed.
    Status { room: &'a RoomName, user: &'a UserName, status: Status },
    /// The users present changed, without names: statuses told before may no longer hold.
    Total { room: &'a RoomName, total: u64 },
    /// The connection was not given the messages `from` … `to`, both included.
    Gap { room: &'a RoomName, from: Seq, to: Seq },
    /// The server has removed the connection from the room.
    Left { room: &'a str, reason: LeftReason },
    /// The server will close this connection.
    Reconnect { after_ms: u64, reason: ReconnectReason },
}
