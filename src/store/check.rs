//! Checks a store's directory that no server uses, for an operator: the log, what its groups hold, the index, and whether both
//! fit each other. Changes nothing, and goes on after damage.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Serialize;

use super::group::Group;
use super::index_copy::IndexCopy;
use super::log::check::{Report, SegmentReport, check as check_log, groups_of};
use super::log::error::LogError;
use super::log::lock::{DirectoryLock, LockError};
use super::log::real::RealDisk;
use super::log::version::{VersionError, is_store};
use super::reopen::open_state;
use super::state::{Holdings, Rules, Setup, StateError};
use crate::base::limits::CHECK_FAULTS_MAX;

/// Where the index is copied to, within the store's directory.
const COPY: &str = "check.tmp";

/// A directory cannot be checked.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum CheckError {
    /// Nothing is there.
    #[error("there is no store in {}: the directory {}", path.display(), if path.exists() { "is empty" } else { "does not exist" })]
    NoStore { path: PathBuf },
    /// A server, or another tool, has it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// It belongs to another program or version.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// The log's directory cannot be listed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The index cannot be copied.
    #[error("cannot copy {} to {}, which the check of the index needs: {reason}", from.display(), to.display())]
    Copy { from: PathBuf, to: PathBuf, reason: std::io::Error },
}

/// What a store holds, and what is wrong with it.
#[derive(Debug, Serialize)]
pub struct CheckReport {
    /// The directory.
    pub path: PathBuf,
    /// Whether nothing is wrong.
    pub sound: bool,
    /// The segments of the log whose header can be read, oldest first.
    pub segments: Vec<SegmentLine>,
    /// The index.
    pub index: IndexLine,
    /// How many things are wrong.
    pub faults: u64,
    /// The first of them.
    pub damage: Vec<Damage>,
    /// What the server does at its next start.
    pub notes: Vec<String>,
}

/// A segment of the log.
#[derive(Debug, Serialize)]
pub struct SegmentLine {
    /// Its file.
    pub file: String,
    /// Commit number of its first group.
    pub first_commit: u64,
    /// Of its last one that can be read; one less than the first if there is none.
    pub last_commit: u64,
    /// Groups that can be read.
    pub groups: u64,
    /// Changes in them.
    pub changes: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes in use.
    pub used_bytes: u64,
    /// The rest of a group that was never acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub torn_tail: Option<TornTail>,
}

/// The rest of a group that was never acknowledged.
#[derive(Debug, Serialize)]
pub struct TornTail {
    /// Where it begins.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
}

/// The index.
#[derive(Debug, Default, Serialize)]
pub struct IndexLine {
    /// The last commit that it has carried out; absent if it cannot be opened or is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_commit: Option<u64>,
    /// What it holds, as far as it can be read.
    #[serde(flatten)]
    pub holdings: HoldingsLine,
}

/// How many rows of each kind the index holds.
#[derive(Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct HoldingsLine {
    pub rooms: u64,
    pub messages: u64,
    pub idempotency_keys: u64,
    pub members: u64,
    pub invites: u64,
    pub receipts: u64,
    pub sessions: u64,
    pub accounts: u64,
    pub dead_letters: u64,
}

/// One thing that is wrong.
#[derive(Debug, Serialize)]
pub struct Damage {
    /// `log` or `index`.
    pub part: &'static str,
    /// The file, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The place in the file, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// One sentence.
    pub message: String,
}

/// Checks the store in a directory.
///
/// # Errors
/// It cannot be checked: there is none, or it is in use. Damage is no error but part of the report.
pub fn check(path: &Path, rules: &Rules) -> Result<CheckReport, CheckError> {
    if !path.is_dir() || !is_store(path)? {
        return Err(CheckError::NoStore { path: path.to_owned() });
    }
    let _lock = DirectoryLock::take(path)?;
    let mut check = Check::new(path);
    let (oldest, newest) = check.log()?;
    check.index(rules, oldest, newest)?;
    check.report.sound = check.report.faults == 0;
    Ok(check.report)
}

struct Check {
    report: CheckReport,
}

impl Check {
    fn new(path: &Path) -> Self {
        let report = CheckReport {
            path: path.to_owned(),
            sound: false,
            segments: Vec::new(),
            index: IndexLine::default(),
            faults: 0,
            damage: Vec::new(),
            notes: Vec::new(),
        };
        Self { report }
    }

    fn damage(&mut self, damage: Damage) {
        self.report.faults += 1;
        if self.report.damage.len() < CHECK_FAULTS_MAX {
            self.report.damage.push(damage);
        }
    }

    fn log_damage(&mut self, error: &LogError) {
        let (file, offset) = error.place().map_or((None, None), |(file, offset)| (Some(file.to_owned()), offset));
        self.damage(Damage { part: "log", file, offset, message: error.to_string() });
    }

    fn index_damage(&mut self, message: String) {
        self.damage(Damage { part: "index", file: None, offset: None, message });
    }

    /// Returns the numbers of the oldest and the newest group.
    fn log(&mut self) -> Result<(u64, u64), CheckError> {
        let path = self.report.path.join("log");
        if !path.is_dir() {
            self.report.notes.push("the log has not been begun; the server makes it at its next start".to_owned());
            return Ok((1, 0));
        }
        let disk = RealDisk::new(&path);
        let Report { segments, damage } = check_log(&disk)?;
        damage.iter().for_each(|error| self.log_damage(error));
        let oldest = segments.first().map_or(1, |segment| segment.first);
        let newest = segments.last().map_or(0, |segment| segment.last);
        for segment in segments {
            let changes = self.changes(&disk, &segment);
            let groups = segment.groups();
            let SegmentReport { file, first, last, bytes, end, torn, .. } = segment;
            if let Some(tail) = torn {
                self.report.notes.push(format!(
                    "{file} ends with a group that was never acknowledged, at offset {}; the server removes it at its next start",
                    tail.offset
                ));
            }
            let torn_tail = torn.map(|tail| TornTail { offset: tail.offset, bytes: tail.bytes });
            let (first_commit, last_commit) = (first, last);
            let used_bytes = end;
            self.report.segments.push(SegmentLine {
                file,
                first_commit,
                last_commit,
                groups,
                changes,
                bytes,
                used_bytes,
                torn_tail,
            });
        }
        Ok((oldest, newest))
    }

    /// Counts the changes in a segment's groups, each of which must be readable.
    fn changes(&mut self, disk: &RealDisk, segment: &SegmentReport) -> u64 {
        let mut groups = groups_of(disk, segment);
        let mut changes = 0;
        loop {
            match groups.next_group() {
                Ok(Some(group)) => match Group::decode(&Bytes::copy_from_slice(group.payload)) {
                    Ok(found) => changes += found.len() as u64,
                    Err(why) => {
                        let message = format!("group {} of {} cannot be read: {why}", group.commit, segment.file);
                        self.damage(Damage { part: "log", file: Some(segment.file.clone()), offset: None, message });
                    }
                },
                Ok(None) => return changes,
                Err(error) => {
                    self.log_damage(&error);
                    return changes;
                }
            }
        }
    }

    fn index(&mut self, rules: &Rules, oldest: u64, newest: u64) -> Result<(), CheckError> {
        let index = self.report.path.join("index");
        let is_whole = oldest <= 1;
        if !index.is_dir() {
            if is_whole {
                self.report
                    .notes
                    .push("there is no index; the server makes it from the log at its next start".to_owned());
            } else {
                let message = format!("there is no index, and the log begins with group {oldest}: restore a backup");
                self.index_damage(message);
            }
            return Ok(());
        }
        let to = self.report.path.join(COPY);
        let copy = IndexCopy::make(&index, to.clone());
        let copy = copy.map_err(|reason| CheckError::Copy { from: index, to, reason })?;
        if let Err(error) = self.state(copy.path(), rules, oldest, newest) {
            // The copy's name would mislead.
            let message = error.to_string().replace(COPY, "index");
            self.index_damage(message);
            self.report.notes.push(match (error.is_damage(), is_whole) {
                (true, true) => "the server makes the index again from the log at its next start".to_owned(),
                (true, false) => {
                    format!("the log begins with group {oldest}, so the index cannot be made again from it: restore a backup")
                }
                (false, _) => "the index could not be read to its end".to_owned(),
            });
        }
        Ok(())
    }

    fn state(&mut self, path: &Path, rules: &Rules, oldest: u64, newest: u64) -> Result<(), StateError> {
        // Nothing expires: what the server would show is not the question.
        let state = open_state(path, Setup::with_records(0), rules)?;
        let applied = state.applied();
        self.report.index.applied_commit = Some(applied);
        if applied > newest {
            self.index_damage(format!(
                "the index has carried out group {applied}, but the log ends with group {newest}: the log's end is damaged or gone"
            ));
        } else if applied + 1 < oldest {
            self.index_damage(format!(
                "the index has carried out group {applied}, but the log begins with group {oldest}: groups between them are gone"
            ));
        } else if applied < newest {
            let behind = newest - applied;
            self.report.notes.push(format!(
                "the index is {behind} groups behind the log; the server carries them out at its next start"
            ));
        }
        let mut found = Vec::new();
        let mut count = 0_u64;
        let audited = state.audit(&mut |fault| {
            count += 1;
            if found.len() < CHECK_FAULTS_MAX {
                found.push(fault);
            }
        });
        let unheard = count - found.len() as u64;
        found.into_iter().for_each(|fault| self.index_damage(fault));
        self.report.faults += unheard;
        self.report.index.holdings = audited?.into();
        Ok(())
    }
}

impl From<Holdings> for HoldingsLine {
    fn from(held: Holdings) -> Self {
        let Holdings { rooms, records, keys, members, invites, receipts, sessions, accounts, dead_letters } = held;
        let (messages, idempotency_keys) = (records, keys);
        Self { rooms, messages, idempotency_keys, members, invites, receipts, sessions, accounts, dead_letters }
    }
}
