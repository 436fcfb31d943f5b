//! Answers of a room's owner to one connection, by way of its home.

use super::OwnerEffects;
use crate::base::codes::ErrorCode;
use crate::base::ids::{ConnId, Epoch, RoomName, Seq};
use crate::engine::hop::ToHome;
use crate::wire::command::ReplyTo;

/// Whom a command's reply goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asker {
    pub conn: ConnId,
    pub reply: ReplyTo,
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
    pub const OVERLOADED: Self = Self::new(ErrorCode::Overloaded, "too much is waiting; nothing was done");

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
    pub fn refuse(self, room: &RoomName, refusal: Refusal, effects: &mut OwnerEffects<'_>) {
        let Refusal { code, message, retry_after_ms, unjoin } = refusal;
        let (room, conn, reply) = (room.clone(), self.conn, self.reply);
        let hop = ToHome::Refused { room, conn, unjoin, code, message, retry_after_ms, reply };
        effects.outbound.post_to_home(conn.home, hop);
    }

    pub fn left(self, room: &RoomName, effects: &mut OwnerEffects<'_>) {
        let hop = ToHome::Left { room: room.clone(), conn: self.conn, reply: self.reply };
        effects.outbound.post_to_home(self.conn.home, hop);
    }

    pub fn published(
        self,
        room: &RoomName,
        position: (Epoch, Option<Seq>),
        duplicate: bool,
        effects: &mut OwnerEffects<'_>,
    ) {
        let (room, conn, reply) = (room.clone(), self.conn, self.reply);
        effects.outbound.post_to_home(conn.home, ToHome::Published { room, conn, position, duplicate, reply });
    }
}
