//! Commands, replies and pushes (PROTOCOL sections 2 and 3) as values, independent of the forms. Readers check names, but
//! neither permissions nor state. Never reads and never writes bytes.
//!
//! Fields with the same meaning everywhere: `room` is the room's name; `epoch` is the room's numbering; `messages` are
//! publications, oldest first; `limit` is the maximum length of a page, 1 … `PAGE_MAX`; `members` and `total` count the
//! users present; `after_ms` and `retry_after_ms` tell the client how long to wait before its next attempt.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use super::form::Form;
use super::publication::{DataKind, Publication};
use crate::base::causes::COMMAND_KINDS_MAX;
use crate::base::chat::{ReceiptKind, Role, Visibility};
use crate::base::codes::{CloseCode, ErrorCode};
use crate::base::ids::{Epoch, Position, RoomName, Seq, UserName};

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
    /// Become a member, and get the messages after a position or else the newest ones, at most `history` of them. `invite`
    /// is the code of an invite.
    Join { room: Cow<'a, str>, recover: Option<Recover>, history: Option<u32>, invite: Option<Cow<'a, str>> },
    /// Stop being a member.
    Leave { room: Cow<'a, str> },
    /// Ask something of a room, or publish to it: most of it as a member ([`Ask::is_for_members`]).
    Ask { room: Cow<'a, str>, ask: Ask },
    /// Join the rooms of an earlier session of the same user, each from a position.
    Resume { session: Cow<'a, str>, positions: Vec<(RoomName, Recover)> },
    /// List the rooms of which the user is a lasting member, in the order of their names, above the name `after`.
    ListRooms { after: Option<RoomName>, limit: u32 },
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
pub const COMMANDS: [&str; 20] = [
    "join",
    "leave",
    "status",
    "ping",
    "refresh",
    "identify",
    "publish",
    "history",
    "presence",
    "typing",
    "receipt",
    "create_room",
    "delete_room",
    "room_info",
    "invite",
    "set_role",
    "kick",
    "resume",
    "list_rooms",
    "bad",
];

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
            Command::Status { .. } => 2,
            Command::Ping { .. } => 3,
            Command::Refresh { .. } => 4,
            Command::Identify { .. } => 5,
            Command::Resume { .. } => 17,
            Command::ListRooms { .. } => 18,
            Command::Ask { ask, .. } => ask.index(),
        }
    }
}

/// What is asked of one room, by a command or through the control address. Its owner performs it and answers
/// with an [`Answer`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Ask {
    /// Send data to all members.
    Publish(Publish),
    /// Read held messages: the oldest above `after`, or the newest below `before`, or else the newest.
    History { after: Option<Seq>, before: Option<Seq>, limit: u32 },
    /// List the users present, sorted by the bytes of their names, starting after the name `after`.
    Presence { after: Option<Box<str>>, limit: u32 },
    /// Tell the other members that the user is typing, or no longer.
    Typing { active: bool },
    /// Keep that the user has read, or has been given, the messages up to `seq`.
    Receipt { kind: ReceiptKind, seq: Seq },
    /// Create the room, with the asker as its owner.
    CreateRoom { visibility: Visibility, title: Box<str> },
    /// Delete the room with everything that is kept of it.
    DeleteRoom,
    /// Describe the room.
    RoomInfo,
    /// Make an invite that can be used so often (0: without bound) and for so long.
    Invite { uses_max: u32, ttl_ms: u64 },
    /// Give a user a role.
    SetRole { user: UserName, role: Role },
    /// Remove a user from the room, and end the user's lasting membership.
    Kick { user: UserName },
    /// Describe the room as its owner core sees it. Only the control address asks it.
    Summary,
}

/// A publish: the data, copied once from the message that it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// How the data was written.
    pub kind: DataKind,
    /// The data, verbatim.
    pub data: Bytes,
    /// An idempotency key of at most `KEY_BYTES_MAX`.
    pub key: Option<Box<str>>,
    /// Whether the publishing connection gets the message too.
    pub echo: bool,
    /// Neither numbered nor kept.
    pub ephemeral: bool,
}

impl Ask {
    /// Place of its kind in [`COMMANDS`].
    const fn index(&self) -> usize {
        match self {
            Ask::Publish(_) => 6,
            Ask::History { .. } => 7,
            Ask::Presence { .. } => 8,
            Ask::Typing { .. } => 9,
            Ask::Receipt { .. } => 10,
            Ask::CreateRoom { .. } => 11,
            Ask::DeleteRoom => 12,
            Ask::RoomInfo => 13,
            Ask::Invite { .. } => 14,
            Ask::SetRole { .. } => 15,
            Ask::Kick { .. } => 16,
            Ask::Summary => BAD_COMMAND,
        }
    }

    /// Whether it sends something to members: it counts in the message rates, and needs the permission to publish.
    #[must_use]
    pub const fn is_message(&self) -> bool {
        matches!(self, Ask::Publish(_) | Ask::Typing { .. })
    }

    /// Whether only a member may ask it. Anything else is judged by the asker's token and role.
    #[must_use]
    pub const fn is_for_members(&self) -> bool {
        match self {
            Ask::Publish(_)
            | Ask::History { .. }
            | Ask::Presence { .. }
            | Ask::Typing { .. }
            | Ask::Receipt { .. }
            | Ask::Summary => true,
            Ask::CreateRoom { .. }
            | Ask::DeleteRoom
            | Ask::RoomInfo
            | Ask::Invite { .. }
            | Ask::SetRole { .. }
            | Ask::Kick { .. } => false,
        }
    }

    /// Bytes that it takes beside its own size.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Ask::Publish(Publish { data, key, .. }) => data.len() + key.as_ref().map_or(0, |key| key.len()),
            Ask::Presence { after, .. } => after.as_ref().map_or(0, |after| after.len()),
            Ask::CreateRoom { title, .. } => title.len(),
            _ => 0,
        }
    }
}

/// What a room's owner says to an [`Ask`].
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Answer {
    /// The message is numbered, in history, and on its way to members. An ephemeral one has no `seq`. `duplicate` means that
    /// the key was known, and `seq` is that of the first message with it.
    Published { epoch: Epoch, seq: Option<Seq>, duplicate: bool },
    /// A page of held messages. `head` is the room's numbering and head; `first_seq` is the oldest held (`head.seq` + 1 if
    /// none is).
    History { head: Position, first_seq: Seq, messages: Vec<Arc<Publication>> },
    /// A page of the users present, by name.
    Presence { total: u64, users: Vec<PresentUser> },
    /// The other members are told.
    Typing,
    /// The receipt that is kept now: `seq` may be higher than the one asked.
    Receipt { kind: ReceiptKind, seq: Seq },
    /// The room, created or described.
    Room(RoomInfo),
    /// The room is deleted.
    RoomDeleted,
    /// The invite, valid until `expires_at`, Unix milliseconds.
    Invited { code: Box<str>, expires_at: u64 },
    /// The user has the role.
    RoleSet { user: UserName, role: Role },
    /// The user is no longer in the room.
    Kicked { user: UserName },
    /// The room as its owner core sees it.
    Summary(RoomSummary),
    /// It was not done.
    Refused(Refusal),
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The error's code.
    pub code: ErrorCode,
    /// The error's text.
    pub message: &'static str,
    /// How long the client should wait before it tries again.
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    /// A refusal that says nothing of another attempt.
    #[must_use]
    pub const fn new(code: ErrorCode, message: &'static str) -> Self {
        Self { code, message, retry_after_ms: None }
    }
}

/// A room as clients are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomInfo {
    /// Who may join. A room that was not created is public.
    pub visibility: Visibility,
    /// The asker's role; `None`: no lasting member.
    pub role: Option<Role>,
    /// Its title; may be empty.
    pub title: Box<str>,
    /// Number of members, and the room's head; not for a room that has just been created.
    pub figures: Option<(u64, Seq)>,
}

/// A room in the list of a user's rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomEntry {
    /// Its name.
    pub room: RoomName,
    /// The user's role.
    pub role: Role,
    /// The room's head.
    pub head_seq: Seq,
    /// The user's receipt of kind `read`.
    pub read_seq: Seq,
}

/// A room as its owner core sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomSummary {
    /// Its name.
    pub room: RoomName,
    /// Users present; connections where presence is off.
    pub members: u64,
    /// Connections that are members.
    pub connections: u64,
    /// Its numbering and head.
    pub head: Position,
    /// Messages per 1,000 seconds, of the last `ROOM_RATE_WINDOW_MS` as far as they are still held; 0 in a room that keeps
    /// no history.
    pub rate_milli: u64,
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
    /// `recovered` means that these and `messages` are exactly the missed ones. `role` is that of a lasting member. Also
    /// pushed when a room's epoch changes.
    Joined {
        room: &'a RoomName,
        epoch: Epoch,
        seq: Seq,
        recovered: bool,
        messages: &'a [Arc<Publication>],
        remaining: usize,
        members: u64,
        role: Option<Role>,
    },
    /// The connection is no longer a member.
    Left { room: &'a str },
    /// What a room's owner says.
    Answer { room: &'a RoomName, answer: &'a Answer },
    /// The rooms of the session that are joined; a `joined` for each of them follows.
    Resumed { rooms: &'a [RoomName] },
    /// Rooms of which the user is a lasting member.
    Rooms { rooms: &'a [RoomEntry] },
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
    /// The room has been deleted.
    RoomDeleted,
}

impl LeftReason {
    /// Name in the JSON form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            LeftReason::Token => "token",
            LeftReason::Kicked => "kicked",
            LeftReason::RoomDeleted => "room_deleted",
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
    /// A user is typing in a room, or no longer.
    Typing { room: &'a RoomName, user: &'a UserName, active: bool },
    /// A user's receipt has risen.
    Receipt { room: &'a RoomName, user: &'a UserName, kind: ReceiptKind, seq: Seq },
    /// The connection was not given the messages `from` … `to`, both included.
    Gap { room: &'a RoomName, from: Seq, to: Seq },
    /// The server has removed the connection from the room.
    Left { room: &'a str, reason: LeftReason },
    /// The server will close this connection.
    Reconnect { after_ms: u64, reason: ReconnectReason },
}
