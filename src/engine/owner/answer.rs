//! Answers of a room's owner: to a connection, by way of its home, or to a call from the control address.

use super::OwnerEffects;
use super::stream::Arrival;
use crate::base::codes::ErrorCode;
use crate::base::ids::{ConnId, Position, RoomName, UserName};
use crate::base::limits::{OVERLOADED_RETRY_MS, UNAVAILABLE_RETRY_MS};
use crate::engine::call::CallAnswer;
use crate::engine::hop::ToHome;
use crate::wire::protocol::{Answer, Ask, LeftReason, Refusal, ReplyTo};

/// The receiver of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// A connection, for its command.
    Connection { conn: ConnId, reply: ReplyTo },
    /// The call with this token.
    Call(u64),
}

/// Who asks, and when the request arrived.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub asker: Asker,
    pub user: UserName,
    pub arrival: Arrival,
}

impl Refusal {
    pub(super) const NOT_JOINED: Self = Self::new(ErrorCode::NotJoined, "not a member of this room");
    pub(super) const NOT_FOUND: Self = Self::new(ErrorCode::RoomNotFound, "there is no such room");
    pub(super) const OVERLOADED: Self = Self::new(ErrorCode::Overloaded, "too much is waiting; nothing was done");
    /// The memory budget is used up.
    pub(super) const OUT_OF_MEMORY: Self = Self {
        retry_after_ms: Some(OVERLOADED_RETRY_MS),
        ..Self::new(ErrorCode::Overloaded, "the server is out of memory for this; try again later")
    };

    /// The server has no store for created rooms.
    pub(super) const NO_STORE: Self = Self::new(ErrorCode::Forbidden, "this server has no store for rooms with roles");

    /// There is no room to ask this of.
    pub(super) const fn without_room(ask: &Ask) -> Self {
        if matches!(ask, Ask::CreateRoom { .. }) { Self::NO_STORE } else { Self::NOT_FOUND }
    }

    /// The link or the store has not answered in time.
    pub(super) const UNANSWERED: Self = Self::unreadable(UNAVAILABLE_RETRY_MS);

    /// The link or the store cannot be read.
    pub(super) const fn unreadable(retry_after_ms: u64) -> Self {
        let refusal = Self::new(ErrorCode::Unavailable, "the room cannot be read at the moment; nothing was done");
        Self { retry_after_ms: Some(retry_after_ms), ..refusal }
    }

    /// The room's rate limit is exceeded.
    pub(super) const fn too_often(retry_after_ms: u64) -> Self {
        let refusal = Self::new(ErrorCode::RateLimited, "the message rate limit of this room is exceeded");
        Self { retry_after_ms: Some(retry_after_ms), ..refusal }
    }

    /// The link or the store failed.
    pub(super) const fn unavailable(retry_after_ms: u64) -> Self {
        let refusal = Self::new(ErrorCode::Unavailable, "the message could not be stored; it was not sent");
        Self { retry_after_ms: Some(retry_after_ms), ..refusal }
    }
}

impl Asker {
    /// The connection that asked; `None` for a call.
    pub fn conn(self) -> Option<ConnId> {
        match self {
            Asker::Connection { conn, .. } => Some(conn),
            Asker::Call(_) => None,
        }
    }

    /// Whether it is answered if it succeeds.
    pub fn wants_reply(self) -> bool {
        match self {
            Asker::Connection { reply, .. } => reply.wants_reply(),
            Asker::Call(_) => true,
        }
    }

    /// Sends an answer.
    pub fn answer(self, room: &RoomName, answer: Answer, effects: &mut OwnerEffects<'_>) {
        match self {
            Asker::Connection { conn, reply } => {
                effects.outbound.post_to_home(conn.home, ToHome::Answer { room: room.clone(), conn, answer, reply });
            }
            Asker::Call(token) => effects.answers.push((token, CallAnswer::Room(answer))),
        }
    }

    pub fn refuse(self, room: &RoomName, refusal: Refusal, effects: &mut OwnerEffects<'_>) {
        self.answer(room, Answer::Refused(refusal), effects);
    }

    /// The publish was accepted.
    pub fn published(
        self,
        room: &RoomName,
        Position { epoch, seq }: Position,
        duplicate: bool,
        effects: &mut OwnerEffects<'_>,
    ) {
        self.answer(room, Answer::Published { epoch, seq: Some(seq), duplicate }, effects);
    }
}

/// Refuses a join.
pub(super) fn refuse_join(
    room: &RoomName,
    (conn, reply): (ConnId, ReplyTo),
    refusal: Refusal,
    effects: &mut OwnerEffects<'_>,
) {
    effects.outbound.post_to_home(conn.home, ToHome::JoinRefused { room: room.clone(), conn, refusal, reply });
}

/// A leave by command is done.
pub(super) fn left(room: &RoomName, conn: ConnId, reply: ReplyTo, effects: &mut OwnerEffects<'_>) {
    effects.outbound.post_to_home(conn.home, ToHome::Left { room: room.clone(), conn, reply });
}

/// The connection was removed from the room.
pub(super) fn expelled(room: &RoomName, conn: ConnId, reason: LeftReason, effects: &mut OwnerEffects<'_>) {
    effects.outbound.post_to_home(conn.home, ToHome::Expelled { room: room.clone(), conn, reason });
}
