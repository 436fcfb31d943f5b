//! What this core's rooms have asked of the store beside publications, as values. Asks and answers nothing.

use super::answer::Asker;
use super::room_id::RoomId;
use crate::base::chat::{ReceiptKind, Role, Visibility};
use crate::base::codes::ErrorCode;
use crate::base::ids::{ConnId, RoomName, UserName};
use crate::base::limits::UNAVAILABLE_RETRY_MS;
use crate::engine::kept::{KeptAnswer, RoomDone, RoomRefusal};
use crate::wire::protocol::Refusal;

/// A question about one room that the store has not answered.
#[derive(Debug)]
pub(super) struct Question {
    /// Which room. It may have gone meanwhile.
    pub room: RoomId,
    pub purpose: QuestionPurpose,
}

/// What a question is for.
#[derive(Debug)]
pub(super) enum QuestionPurpose {
    /// Whether a connection may join; its join waits in the room.
    Enter { conn: ConnId, name: RoomName },
    /// What a command or the server has asked.
    Command(Box<RoomCommand>),
    /// What is kept of a receipt, before more is.
    FindReceipt { user: UserName, kind: ReceiptKind },
    /// Keeps a receipt; who waits for it stands in the room.
    KeepReceipt { user: UserName, kind: ReceiptKind },
}

/// A command that waits for the store.
#[derive(Debug)]
pub(super) struct RoomCommand {
    pub asker: Asker,
    /// Who asks.
    pub user: UserName,
    /// Which room.
    pub name: RoomName,
    pub asked: Asked,
}

/// What a command asks, as far as its answer needs it.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub(super) enum Asked {
    Create { visibility: Visibility, title: Box<str> },
    Delete,
    Info,
    Invite { code: Box<str>, expires_at: u64 },
    SetRole { user: UserName, role: Role },
    Kick { user: UserName },
}

/// Why the store has not done something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undone {
    /// The rules of the room forbid it.
    Refused(RoomRefusal),
    /// The store has failed or has not answered in time. What was asked may be done later all the same.
    Unavailable { retry_after_ms: u64 },
}

impl Undone {
    /// The store has not answered in time.
    pub const UNANSWERED: Self = Undone::Unavailable { retry_after_ms: UNAVAILABLE_RETRY_MS };
}

/// Reads an answer of the store about a room.
pub(super) fn done(answer: KeptAnswer) -> Result<RoomDone, Undone> {
    match answer {
        KeptAnswer::Room(Ok(done)) => Ok(done),
        KeptAnswer::Room(Err(refusal)) => Err(Undone::Refused(refusal)),
        KeptAnswer::Unavailable { retry_after_ms } => Err(Undone::Unavailable { retry_after_ms }),
        _ => Err(Undone::UNANSWERED),
    }
}

impl From<Undone> for Refusal {
    fn from(undone: Undone) -> Self {
        match undone {
            Undone::Unavailable { retry_after_ms } => {
                let refusal = Refusal::new(ErrorCode::Unavailable, "the store does not answer; try again later");
                Refusal { retry_after_ms: Some(retry_after_ms), ..refusal }
            }
            Undone::Refused(RoomRefusal::NotFound) => Refusal::NOT_FOUND,
            Undone::Refused(RoomRefusal::Exists) => {
                Refusal::new(ErrorCode::RoomExists, "there is a room of this name already")
            }
            Undone::Refused(RoomRefusal::Forbidden) => {
                Refusal::new(ErrorCode::Forbidden, "the role of this user in the room does not allow that")
            }
            Undone::Refused(RoomRefusal::LastOwner) => {
                Refusal::new(ErrorCode::Forbidden, "the room would be left without an owner")
            }
            Undone::Refused(RoomRefusal::InviteInvalid) => {
                Refusal::new(ErrorCode::InviteInvalid, "the invite is unknown, used up or expired")
            }
            Undone::Refused(RoomRefusal::Full) => {
                let words = "the room has too many members or invites, or the user is a member of too many rooms";
                Refusal::new(ErrorCode::LimitExceeded, words)
            }
        }
    }
}
