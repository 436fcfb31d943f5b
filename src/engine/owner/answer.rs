//! Answers of a room's owner: to one connection, by way of its home, or to a call.

use std::sync::Arc;

use super::OwnerEffects;
use crate::base::codes::ErrorCode;
use crate::base::ids::{ConnId, Epoch, Position, RoomName, Seq};
use crate::base::limits::OVERLOADED_RETRY_MS;
use crate::engine::call::Answer;
use crate::engine::hop::ToHome;
use crate::wire::protocol::{LeftReason, PresentUser, ReplyTo};
use crate::wire::publication::Publication;

/// Who gets an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// A connection, to its command.
    Connection { conn: ConnId, reply: ReplyTo },
    /// A call with this token.
    Call(u64),
}

/// Why a command is not done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    pub code: ErrorCode,
    pub message: &'static str,
    pub retry_after_ms: Option<u64>,
    /// See [`ToHome::Refused`].
    pub unjoin: bool,
}

impl Refusal {
    pub const NOT_JOINED: Self = Self::new(ErrorCode::NotJoined, "not a member of this room");
    pub const NOT_FOUND: Self = Self::new(ErrorCode::RoomNotFound, "there is no such room");
    pub const OVERLOADED: Self = Self::new(ErrorCode::Overloaded, "too much is waiting; nothing was done");
    /// The memory budget is used up.
    pub const OUT_OF_MEMORY: Self = Self {
        retry_after_ms: Some(OVERLOADED_RETRY_MS),
        ..Self::new(ErrorCode::Overloaded, "the server is out of memory for this; try again later")
    };

    pub const fn new(code: ErrorCode, message: &'static str) -> Self {
        Self { code, message, retry_after_ms: None, unjoin: false }
    }

    /// The room carries no more at the moment.
    pub const fn too_often(retry_after_ms: u64) -> Self {
        let refusal = Self::new(ErrorCode::RateLimited, "this room is published to too often");
        Self { retry_after_ms: Some(retry_after_ms), ..refusal }
    }

    /// The link or the store could not do it.
    pub const fn unavailable(retry_after_ms: u64) -> Self {
        let refusal = Self::new(ErrorCode::Unavailable, "the message could not be stored; it was not sent");
        Self { retry_after_ms: Some(retry_after_ms), ..refusal }
    }
}

impl Asker {
    /// The connection that asks; `None`: none does.
    pub fn conn(self) -> Option<ConnId> {
        match self {
            Asker::Connection { conn, .. } => Some(conn),
            Asker::Call(_) => None,
        }
    }

    pub fn refuse(self, room: &RoomName, refusal: Refusal, effects: &mut OwnerEffects<'_>) {
        let Refusal { code, message, retry_after_ms, unjoin } = refusal;
        let hop =
            |conn, reply| ToHome::Refused { room: room.clone(), conn, unjoin, code, message, retry_after_ms, reply };
        self.say(hop, || Answer::Refused { code, message, retry_after_ms }, effects);
    }

    pub fn published(
        self,
        room: &RoomName,
        position: (Epoch, Option<Seq>),
        duplicate: bool,
        effects: &mut OwnerEffects<'_>,
    ) {
        let (epoch, seq) = position;
        let hop = |conn, reply| ToHome::Published { room: room.clone(), conn, position, duplicate, reply };
        self.say(hop, || Answer::Published { epoch, seq, duplicate }, effects);
    }

    pub fn history(
        self,
        room: &RoomName,
        (head, first_seq): (Position, Seq),
        messages: Vec<Arc<Publication>>,
        effects: &mut OwnerEffects<'_>,
    ) {
        match self {
            Asker::Connection { conn, reply } => {
                let hop = ToHome::History { room: room.clone(), conn, head, first_seq, messages, reply };
                effects.outbound.post_to_home(conn.home, hop);
            }
            Asker::Call(token) => effects.answers.push((token, Answer::History { head, first_seq, messages })),
        }
    }

    pub fn members(self, room: &RoomName, total: u64, users: Vec<PresentUser>, effects: &mut OwnerEffects<'_>) {
        match self {
            Asker::Connection { conn, reply } => {
                let hop = ToHome::Presence { room: room.clone(), conn, total, users, reply };
                effects.outbound.post_to_home(conn.home, hop);
            }
            Asker::Call(token) => effects.answers.push((token, Answer::Members { total, users })),
        }
    }

    fn say(
        self,
        hop: impl FnOnce(ConnId, ReplyTo) -> ToHome,
        answer: impl FnOnce() -> Answer,
        effects: &mut OwnerEffects<'_>,
    ) {
        match self {
            Asker::Connection { conn, reply } => effects.outbound.post_to_home(conn.home, hop(conn, reply)),
            Asker::Call(token) => effects.answers.push((token, answer())),
        }
    }
}

/// The leave of a connection is done.
pub(super) fn left(room: &RoomName, conn: ConnId, reply: ReplyTo, effects: &mut OwnerEffects<'_>) {
    effects.outbound.post_to_home(conn.home, ToHome::Left { room: room.clone(), conn, reply });
}

/// The connection has been put out.
pub(super) fn expelled(room: &RoomName, conn: ConnId, reason: LeftReason, effects: &mut OwnerEffects<'_>) {
    effects.outbound.post_to_home(conn.home, ToHome::Expelled { room: room.clone(), conn, reason });
}
