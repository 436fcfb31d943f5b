//! Opens the state of the embedded store, at the start and after a failure, carries out what the log has and the tables lack,
//! and begins a boot.

use std::io::IoSlice;
use std::path::{Path, PathBuf};

use crossbeam_channel::{Sender, bounded};

use super::change::Change;
use super::group::{Ack, Entry, Group, GroupError};
use super::log::disk::Disk;
use super::log::error::LogError;
use super::log::groups::Groups;
use super::log::writer::Log;
use super::messages::LogJob;
use super::state::{Rules, Setup, State, StateError};
use super::tables::disk::{DiskOptions, DiskTables};
use super::tables::error::TablesError;
use super::tables::rows::Tables;

/// A state cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ReopenError {
    /// Its tables.
    #[error(transparent)]
    State(#[from] StateError),
    /// The log behind it.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What the log holds.
    #[error("the log's group {commit} cannot be read: {why}")]
    Group {
        /// Which.
        commit: u64,
        /// What is wrong.
        why: GroupError,
    },
    /// The log has ended.
    #[error("the log has ended")]
    Ended,
}

/// Opens a state again.
pub trait Reopen<T: Tables>: Send {
    /// The state with everything that the log has.
    ///
    /// # Errors
    /// It still cannot be used.
    fn reopen(&mut self, rules: &Rules) -> Result<State<T>, ReopenError>;
}

/// Opens the tables in a directory.
///
/// # Errors
/// They cannot be used.
pub fn open_state(path: &Path, setup: Setup, rules: &Rules) -> Result<State<DiskTables>, StateError> {
    State::open(DiskTables::open(path, &DiskOptions::default())?, setup, rules.clone())
}

/// Carries out what the log has and the state lacks. Returns how many groups.
///
/// # Errors
/// The log cannot be read, or the state cannot be changed.
pub fn catch_up<T: Tables, D: Disk>(state: &mut State<T>, groups: &mut Groups<D>) -> Result<u64, ReopenError> {
    let mut count = 0;
    while let Some(group) = groups.next_group()? {
        let commit = group.commit;
        let payload = bytes::Bytes::copy_from_slice(group.payload);
        let changes = Group::decode(&payload).map_err(|why| ReopenError::Group { commit, why })?;
        state.apply(commit, changes.iter())?;
        count += 1;
    }
    Ok(count)
}

/// The group by which a process begins to use a store.
#[must_use]
pub fn beginning(boot: u64, is_behind: bool) -> Group {
    let change = Change::Begin { boot, is_behind };
    Group { entries: vec![Entry { change, ack: Ack::Nobody }], bytes: 0 }
}

/// Begins a boot, and returns its number. Before anything else: a room that is used in a boot of which the log does not know
/// would keep its numbering after a crash.
///
/// # Errors
/// The log cannot be written, or the state cannot be changed.
pub fn begin<T: Tables, D: Disk>(log: &mut Log<D>, state: &mut State<T>, is_behind: bool) -> Result<u64, ReopenError> {
    let boot = state.boot()? + 1;
    let (group, mut payload) = (beginning(boot, is_behind), Vec::new());
    group.encode(&mut payload);
    let commit = log.append(&[IoSlice::new(&payload)]).map_err(LogError::from)?;
    state.apply(commit, group.entries.iter().map(|entry| &entry.change))?;
    Ok(boot)
}

/// Opens tables on disk again.
pub struct ReopenDisk {
    /// Their directory.
    pub path: PathBuf,
    /// As at the start.
    pub setup: Setup,
    /// To the thread of the log, which lends its groups.
    pub log: Sender<LogJob>,
}

impl Reopen<DiskTables> for ReopenDisk {
    fn reopen(&mut self, rules: &Rules) -> Result<State<DiskTables>, ReopenError> {
        let mut state = open_state(&self.path, self.setup, rules)?;
        let (lend, lent) = bounded(1);
        let asked = self.log.send(LogJob::Lend { after: state.applied(), to: lend });
        let groups = asked.ok().and_then(|()| lent.recv().ok()).ok_or(ReopenError::Ended)?;
        catch_up(&mut state, &mut groups?)?;
        Ok(state)
    }
}

/// Tables in memory do not fail.
pub struct ReopenNothing;

impl<T: Tables> Reopen<T> for ReopenNothing {
    fn reopen(&mut self, _: &Rules) -> Result<State<T>, ReopenError> {
        Err(ReopenError::Ended)
    }
}

impl From<TablesError> for ReopenError {
    fn from(error: TablesError) -> Self {
        ReopenError::State(error.into())
    }
}
