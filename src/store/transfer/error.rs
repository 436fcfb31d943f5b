//! Why an export or an import fails.

use std::io;
use std::path::PathBuf;

use crate::base::ids::RoomName;
use crate::store::log::error::{AppendError, LogError};
use crate::store::log::version::VersionError;
use crate::store::open::StoreError;
use crate::store::state::StateError;

/// An export or an import cannot be done.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum TransferError {
    /// There is nothing to export.
    #[error("there is no store in {}", path.display())]
    NoStore { path: PathBuf },
    /// The directory belongs to another program or version.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] StoreError),
    /// Its state.
    #[error(transparent)]
    State(#[from] StateError),
    /// Its log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Its log.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// A room that is asked for is not there.
    #[error("there is no room \"{room}\" in the store")]
    NoRoom { room: RoomName },
    /// A record's data is not what it should be.
    #[error("the data of message {seq} of room \"{room}\" is not JSON")]
    Data { room: RoomName, seq: u64 },
    /// The lines cannot be read or written.
    #[error("cannot {action}: {reason}")]
    Io { action: &'static str, reason: io::Error },
    /// A line is wrong.
    #[error("line {number}: {what}")]
    Line { number: u64, what: String },
    /// The room, the account, or the dead letters do not fit into the store.
    #[error("line {number}: {what}; nothing was imported")]
    Taken { number: u64, what: String },
    /// The store did not take a room.
    #[error("line {number}: room \"{room}\" was not imported, because {what}; {rooms} other rooms were imported")]
    Room { number: u64, room: RoomName, what: String, rooms: u64 },
}

impl TransferError {
    /// Whether the store is in use by another process.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        use crate::store::log::directory::DirectoryError;
        use crate::store::log::lock::LockError;
        matches!(self, TransferError::Open(StoreError::Directory(DirectoryError::Lock(LockError::Held { .. }))))
    }
}
