//! What the threads of a store send each other beside [`ToIndex`](super::keeper::ToIndex). Values only.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::change::Change;
use super::group::{Group, Load};
use super::log::disk::Disk;
use super::log::error::LogError;
use super::log::groups::Groups;
use super::log::real::RealDisk;
use crate::base::ids::CoreId;
use crate::engine::kept::KeptAnswer;
use crate::engine::store_port::StoreEvent;

/// What the other threads report to the keeper's.
#[derive(Debug)]
pub enum Report {
    /// The log has appended the group, or failed to.
    Logged {
        /// Whether it is on disk.
        is_kept: bool,
    },
    /// The index has carried out a group.
    Applied,
    /// The index has done a read: what it found has been reported.
    Read,
    /// A room must be opened in the log before it is loaded.
    NeedsOpen(CoreId, Load),
    /// A change that nobody waits for.
    Change(Change),
    /// Something for a core.
    Event(CoreId, StoreEvent),
    /// The answer to something that the server asked.
    Answer(u64, KeptAnswer),
}

/// What the thread of the log is asked for.
#[derive(Debug)]
pub enum LogJob<D: Disk = RealDisk> {
    /// Append a group, and report the result.
    Append(Arc<Group>),
    /// Lend the groups after a number, for the index to carry out again.
    Lend {
        /// The number.
        after: u64,
        /// Whoever asks.
        to: Sender<Result<Groups<D>, LogError>>,
    },
}
