//! Why a state cannot be read or changed.

use crate::base::ids::{RoomName, Seq};
use crate::store::codec::bytes::DecodeError;
use crate::store::tables::error::TablesError;
use crate::store::tables::table::Table;

/// A state could not be read or changed. After an error of a change or a sweep the state must be opened again.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Its tables failed.
    #[error(transparent)]
    Tables(#[from] TablesError),
    /// A row cannot be read.
    #[error("the row {key} of table {} cannot be read: {source}", table.name())]
    Row {
        /// The table.
        table: Table,
        /// The row's key, with escapes.
        key: String,
        /// What is wrong.
        source: DecodeError,
    },
    /// A record that should be held is not.
    #[error("the record {seq} of room {room} is missing from table records")]
    Missing {
        /// The room.
        room: RoomName,
        /// The record.
        seq: Seq,
    },
    /// The rows were written by another version.
    #[error("table {} has format {found}, but this version reads format {known}", table.name())]
    Format {
        /// The table.
        table: Table,
        /// Its format.
        found: u8,
        /// The format of this version.
        known: u8,
    },
    /// A commit that has been applied.
    #[error("commit {commit} cannot be applied after commit {applied}")]
    Applied {
        /// The commit.
        commit: u64,
        /// The last one that was applied.
        applied: u64,
    },
}

impl StateError {
    /// Whether the tables' content must go: opening them again does not help.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        match self {
            StateError::Tables(error) => error.is_damage(),
            StateError::Row { .. } | StateError::Missing { .. } => true,
            StateError::Format { .. } | StateError::Applied { .. } => false,
        }
    }
}
