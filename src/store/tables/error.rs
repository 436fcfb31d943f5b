//! Why tables fail, told apart by what helps.

use std::io;
use std::path::PathBuf;

use super::table::Table;

/// Tables could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TablesError {
    /// What is on disk is not what was written. Remove the directory's content and apply all commits again.
    #[error("the index in {} is damaged: {why}", path.display())]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// A write failed before, so no further one is accepted. Open the tables again and apply the commits after their mark.
    #[error("the index in {} accepts no writes, because one has failed", path.display())]
    Poisoned {
        /// The directory.
        path: PathBuf,
    },
    /// Reading or writing failed. Open the tables again and apply the commits after their mark.
    #[error("cannot read or write the index in {}: {source}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process uses the directory.
    #[error("the index in {} is in use by another process", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// A key is empty, or longer than the tables take. Nothing was written.
    #[error("a key of table {} has {length} bytes; it must have 1 to {max}", table.name())]
    KeyLength {
        /// The table.
        table: Table,
        /// Of the key.
        length: usize,
        /// Most bytes.
        max: usize,
    },
}

impl TablesError {
    /// Whether the directory's content must go: opening it again does not help.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        matches!(self, TablesError::Damaged { .. })
    }
}
