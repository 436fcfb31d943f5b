//! The log: an append-only list of groups in a directory, the only guardian of what was acknowledged. Knows bytes only,
//! never what they mean, and reads no clock.
//!
//! A *group* is an opaque payload with a *commit number*, which counts up by one from 1. [`Log::append`](writer::Log::append)
//! returns once the group is on disk: one write and one `fdatasync`. One thread writes.
//!
//! # Files
//!
//! Segments `log-<first commit number>.rrl` ([`format`]), allocated ahead, so that a sync changes no length. The next one is
//! made as `spare.rrl`, and gets its name when it is used: its header is synced before the name, and the name before its first
//! group. So a segment under its own name always has a whole header, and one that has none is damaged.
//!
//! A header says where the log ended in the segment before: at the last acknowledged group. What stands behind that is
//! ignored for ever. After a failed write or sync the writer goes on in a new segment, so a group that failed is never read
//! once a later one is acknowledged. (If the process dies before that, the group may be found at the next start; it is then
//! part of the log, and its number is not given again.)
//!
//! # What is found at the start
//!
//! Every group is checked. Damage is an error that names file and offset, and then nothing is changed. In the newest
//! segment the first invalid place is a *torn tail*, the rest of a group that was never acknowledged, if no valid record
//! stands anywhere behind it. The tail is made zero and synced before anything is appended. What was found is written once
//! more and synced before it is handed out: a process that was killed may have left it in the page cache only, even after a
//! failed sync.
//!
//! Damage within the last group cannot be told from a torn tail by checksums. So [`Log::open`](writer::Log::open) and
//! [`Log::close`](writer::Log::close) write a *mark* behind the last group, and with a mark behind it the damage is an error.
//! One case is left: the last group before a crash is damaged before the next start. That group is lost without an error.
//!
//! A *seal* behind the last group says that a next segment exists, so a newest segment that is missing is noticed too. It is
//! not synced by itself, so this holds once the kernel has written it.
//!
//! Checksums begin with a secret of the segment. Without it a client could publish bytes that look like a later group, and a
//! torn tail that holds them would be reported as damage.
//!
//! # Parts
//!
//! - [`writer`]: appends, removes old segments. [`survey`] reads a directory, [`recovery`] repairs the newest segment,
//!   [`groups`] reads groups again, [`check`] reports to an operator.
//! - [`disk`]: what the log needs of files, so that [`model`] can stand in for [`real`]. The model loses, tears and reorders
//!   what was not synced.
//! - [`directory`] takes the directory for this process: [`lock`], [`version`].

pub mod check;
pub mod directory;
pub mod disk;
pub mod error;
pub mod format;
pub mod groups;
pub mod lock;
pub mod model;
pub mod reader;
pub mod real;
pub mod recovery;
pub mod survey;
pub mod version;
pub mod writer;

#[cfg(test)]
mod tests;
