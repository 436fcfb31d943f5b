//! Opens the embedded store in a directory: takes the directory, checks the log, and brings the index up to the log. Starts no
//! thread.

use std::path::{Path, PathBuf};

use super::log::directory::{DirectoryError, take_directory};
use super::log::error::LogError;
use super::log::lock::DirectoryLock;
use super::log::real::RealDisk;
use super::log::writer::{Log, Options};
use super::reopen::{ReopenError, catch_up, open_state};
use super::state::{Rules, Setup, State, StateError};
use super::tables::disk::DiskTables;
use crate::io::clock;

/// Name of the log's directory.
pub const LOG: &str = "log";

/// Name of the index's directory.
pub const INDEX: &str = "index";

/// A store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Its directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Its log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Its index.
    #[error(transparent)]
    State(#[from] StateError),
    /// Its index, from the log.
    #[error(transparent)]
    Reopen(#[from] ReopenError),
    /// The log has lost groups that the index has carried out.
    #[error("{} ends with group {newest}, but the index has carried out group {applied}: the log's end is damaged or gone", log.display())]
    Behind {
        /// The directory of the log.
        log: PathBuf,
        /// The log's last group.
        newest: u64,
        /// The index's.
        applied: u64,
    },
    /// The index cannot be made again.
    #[error("{damage}; the log no longer holds what it needs to make the index again, so restore {} from a backup", path.display())]
    NoReplay {
        /// The store's directory.
        path: PathBuf,
        /// What is wrong with the index.
        damage: StateError,
    },
    /// Something of the system.
    #[error("cannot {action} {}: {reason}", path.display())]
    Io {
        /// What.
        action: &'static str,
        /// Of which file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
}

/// An open store that nothing uses yet.
pub struct OpenedStore {
    /// Its log.
    pub log: Log<RealDisk>,
    /// Its state, with everything that the log has.
    pub state: State<DiskTables>,
    /// Number of the log's last group.
    pub newest: u64,
    /// What the state was opened by.
    pub setup: Setup,
    /// Held until everything is written.
    pub lock: DirectoryLock,
}

impl OpenedStore {
    /// Opens the store in a directory, which is made if there is none.
    ///
    /// # Errors
    /// The directory cannot be used, or what is in it is damaged.
    pub fn open(path: &Path, rules: &Rules) -> Result<Self, StoreError> {
        let lock = take_directory(path)?;
        let log_path = path.join(LOG);
        make_directory(&log_path)?;
        let mut salt = [0; 8];
        getrandom::fill(&mut salt).map_err(|error| StoreError::Io {
            action: "get random numbers for",
            path: log_path.clone(),
            reason: std::io::Error::other(error.to_string()),
        })?;
        let (log, found) = Log::open(RealDisk::new(&log_path), Options::new(u64::from_le_bytes(salt)))?;
        if let Some((file, tail)) = &found.torn {
            tracing::info!(file, ?tail, "removed the unfinished end of the log, which was never acknowledged");
        }
        let setup = Setup::with_records(clock::now().unix_ms);
        let index_path = path.join(INDEX);
        let mut state = match open_state(&index_path, setup, rules) {
            Err(damage) if damage.is_damage() => {
                if found.oldest > 1 {
                    return Err(StoreError::NoReplay { path: path.to_owned(), damage });
                }
                tracing::warn!(error = %damage, "making the index again from the log");
                remove_directory(&index_path)?;
                open_state(&index_path, setup, rules)?
            }
            opened => opened?,
        };
        if state.applied() > found.newest {
            return Err(StoreError::Behind { log: log_path, newest: found.newest, applied: state.applied() });
        }
        let mut groups = log.groups(state.applied())?;
        let groups = catch_up(&mut state, &mut groups)?;
        if groups > 0 {
            tracing::info!(groups, "carried out what the log had and the index lacked");
        }
        Ok(Self { log, state, newest: found.newest, setup, lock })
    }
}

fn make_directory(path: &Path) -> Result<(), StoreError> {
    match std::fs::create_dir(path) {
        Err(reason) if reason.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(StoreError::Io { action: "make", path: path.to_owned(), reason })
        }
        _ => Ok(()),
    }
}

fn remove_directory(path: &Path) -> Result<(), StoreError> {
    std::fs::remove_dir_all(path).map_err(|reason| StoreError::Io { action: "remove", path: path.to_owned(), reason })
}
