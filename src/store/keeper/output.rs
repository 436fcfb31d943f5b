//! What the keeper wants to be done. Values only.

use std::sync::Arc;

use crate::base::ids::CoreId;
use crate::engine::kept::KeptAnswer;
use crate::engine::store_port::StoreEvent;
use crate::store::group::{Asker, Group, Read};

/// A group that is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Counts up by one with each.
    pub number: u64,
    /// What.
    pub group: Arc<Group>,
}

/// For the index, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum ToIndex {
    /// Carry out a group; report it as applied.
    Apply(Commit),
    /// Read from the state, and answer.
    Read(Read),
}

/// What is to be done.
#[derive(Debug, Default)]
pub struct KeeperOutput {
    /// Append this group to the log, and report the result.
    pub log: Option<Arc<Group>>,
    /// Tell the index.
    pub index: Vec<ToIndex>,
    /// Tell the cores.
    pub events: Vec<(CoreId, StoreEvent)>,
    /// Tell the server's other parts, by the tokens of what they asked.
    pub answers: Vec<(u64, KeptAnswer)>,
}

impl KeeperOutput {
    /// Answers an ask.
    pub fn answer(&mut self, to: Asker, token: u64, answer: KeptAnswer) {
        match to {
            Asker::Core(core) => self.events.push((core, StoreEvent::Answered { token, answer })),
            Asker::Server => self.answers.push((token, answer)),
        }
    }
}
