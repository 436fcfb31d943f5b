//! What came of a change.

use super::error::StateError;
use crate::base::ids::{Epoch, Seq};
use crate::engine::kept::{KeptAnswer, RoomRefusal};

/// What came of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done, and nobody waits for an answer.
    Done,
    /// Nothing has changed: the record is not the next one of its room.
    Skipped(Skipped),
    /// The answer to what was asked.
    Answer(KeptAnswer),
}

/// Why a record is not appended, or a room not imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// Its seq has been taken in this numbering: it is kept already.
    KeptAlready {
        /// The room's head.
        head: Seq,
    },
    /// Records before it are missing.
    Gap {
        /// The room's head.
        head: Seq,
    },
    /// The room has another numbering.
    OtherEpoch {
        /// The room's.
        epoch: Epoch,
    },
    /// The room was deleted.
    Deleted,
    /// A room to be imported is there already.
    Exists,
    /// The step does not fit the room that is imported, which is given up.
    NotImported,
}

/// Why what was asked of a room stops.
#[derive(Debug)]
pub(super) enum Stop {
    Refused(RoomRefusal),
    Failed(StateError),
}

impl From<RoomRefusal> for Stop {
    fn from(refusal: RoomRefusal) -> Self {
        Stop::Refused(refusal)
    }
}

impl From<StateError> for Stop {
    fn from(error: StateError) -> Self {
        Stop::Failed(error)
    }
}
