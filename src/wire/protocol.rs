//! Everything that clients ask and the server says (PROTOCOL sections 2 and 3), as values of no particular form. Names are
//! checked when a command is read; permissions and state are not. Never reads and never writes bytes.
//!
//! Fields that mean the same wherever they occur: `room` is the room's name; `epoch` the room's numbering; `messages` are
//! publications, oldest first; `limit` is the most entries of a page, 1 … `PAGE_MAX`; `members` and `total` count the users
//! present; `after_ms` and `retry_after_ms` are how long the client should wait before it tries again.

use std::borrow::Cow;
use std::sync::Arc;

use super::form::Form;
use super::publication::{Data, Publication};
use crate::base::causes::COMMAND_KINDS_MAX;
use crate::base::codes::{CloseCode, ErrorCode};
use crate::base::ids::{Epoch, RoomName, Seq, UserName};

/// How a command is answered.
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

/// A command and how it is answered.
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
    /// Error text that names the field.
    pub message: String,
}

/// The position that a joining client wants to continue from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recover {
    /// The last message that the client has.
    pub seq: Seq,
    /// The epoch of `seq`; `None` stands for the room's own.
    pub epoch: Option<Epoch>,
}

/// A client's command. Names of rooms and users have passed `check_name`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Command<'a> {
    /// Become a member: from a position, or with the newest messages, at most `history` of them.
    Join { room: Cow<'a, str>, recover: Option<Recover>, history: Option<u32> },
    /// Stop being a member.
    Leave { room: Cow<'a, str> },
    /// Send data to all members, to this connection too if `echo` is set. `key` is an idempotency key of at most
    /// `KEY_BYTES_MAX`; an `ephemeral` message is neither numbered nor kept.
    Publish { room: Cow<'a, str>, data: Data<'a>, key: Option<Cow<'a, str>>, echo: bool, ephemeral: bool },
    /// Read held messages: the oldest above `after`, or the newest below `before`, or (neither is set) the newest.
    History { room: Cow<'a, str>, after: Option<Seq>, before: Option<Seq>, limit: Option<u32> },
    /// List the users present, from the first whose name sorts (by bytes) after `after`.
    Presence { room: Cow<'a, str>, limit: Option<u32>, after: Option<Cow<'a, str>> },
    /// Tell whether the user is `away` rather than `online`.
    Status { away: bool },
    /// Replace the connection's token.
    Refresh { token: Cow<'a, str> },
    /// Ask for a pong. The binary form returns `value` in it.
    Ping { value: u64 },
}

/// The metric label of each kind of command, at its [`Command::index`]. The last one is that of messages that are no
/// command.
pub const COMMANDS: [&str; 9] = ["join", "leave", "publish", "history", "presence", "status", "ping", "refresh", "bad"];

/// Place in [`COMMANDS`] of messages that are no command.
pub const BAD_COMMAND: usize = COMMANDS.len() - 1;

const _: () = assert!(COMMANDS.len() <= COMMAND_KINDS_MAX, "there is a counter for each kind of command");

impl Command<'_> {
    /// Place of its kind in [`COMMANDS`].
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
    /// The connection is a member. `seq` is the room's head; `recovered` says that `messages`, together with the
    /// `remaining` ones that follow as pushes before any live one, are exactly those missed. Also pushed, without a
    /// command, when a room's epoch changes.
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
    /// The message is numbered, in history, and on its way to members; an ephemeral one has no `seq`. `duplicate` says
    /// that its key was known and that `seq` is the first one's.
    Published { room: &'a str, seq: Option<Seq>, epoch: Epoch, duplicate: bool },
    /// A page of held messages. `first_seq` is the oldest held (`head_seq` + 1 if none is), `head_seq` the newest numbered.
    History { room: &'a RoomName, epoch: Epoch, first_seq: Seq, head_seq: Seq, messages: &'a [Arc<Publication>] },
    /// A page of the users present, by name.
    Presence { room: &'a str, total: u64, users: &'a [PresentUser] },
    /// The status is set.
    Status { status: Status },
    /// The new token is in force until `expires_at`, Unix milliseconds.
    Refreshed { expires_at: u64 },
    /// The answer to a ping: the time in Unix milliseconds (JSON form), the ping's value (binary form).
    Pong { at: u64, value: u64 },
    /// The command failed.
    Error { code: ErrorCode, message: &'a str, retry_after_ms: Option<u64> },
}

/// Why the server is about to close a connection on its own account.
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
    /// The connection is no longer a member, without having asked for it.
    Left { room: &'a str, reason: LeftReason },
    /// The server will close this connection.
    Reconnect { after_ms: u64, reason: ReconnectReason },
}
