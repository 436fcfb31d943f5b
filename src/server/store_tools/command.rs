//! The commands of `roomring store`, and what they come to. Values only.

use std::path::PathBuf;

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreCommand {
    /// Check the log and the index.
    Check {
        /// Write the report as JSON.
        json: bool,
    },
    /// Write rooms, accounts and dead letters as lines.
    Export {
        /// Only these rooms.
        rooms: Vec<String>,
        /// Or to standard output.
        file: Option<PathBuf>,
    },
    /// Read such lines.
    Import {
        /// Every room gets another epoch.
        new_epochs: bool,
        /// Or from standard input.
        file: Option<PathBuf>,
    },
}

/// What a command has come to.
#[derive(Debug, PartialEq, Eq)]
pub enum StoreOutcome {
    /// Done, with a text for standard output.
    Done(String),
    /// Done; what there is to say stands on standard output already.
    Written,
    /// The store is damaged; the report is for standard output.
    Damaged(String),
    /// It failed: one sentence for standard error.
    Failed(String),
    /// Nothing was done, for a reason outside of the store: one sentence for standard error.
    Refused(String),
}
