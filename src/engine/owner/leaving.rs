//! Hops of connections that must wait for what they asked before, in order. `detaining` says which do, and until when.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::FixedState;

use super::opening::waiting_bytes;
use crate::base::ids::{ConnId, Seq};
use crate::engine::hop::ToOwner;

/// What a connection's hops wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Its own publications; the seq of the last one sent to the store, or 0 if there is none or the room is linked.
    OwnPublications(Seq),
    /// The answer to something: a page that is being read, a question to the store.
    Answer,
    /// Nothing any longer.
    Now,
}

/// A connection whose hops wait.
#[derive(Debug)]
pub(super) struct Held {
    pub until: Until,
    /// The hops in order. If the connection leaves, its leave is first.
    pub hops: VecDeque<ToOwner>,
}

/// The connections whose hops wait in one room.
#[derive(Debug)]
pub(super) struct Leaving {
    pub held: HashMap<ConnId, Held, FixedState>,
    pub waiting: usize,
    bytes: usize,
}

impl Leaving {
    pub fn new() -> Self {
        Self { held: HashMap::with_hasher(FixedState::default()), waiting: 0, bytes: 0 }
    }

    /// Bytes for the budget.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn push(&mut self, until: Until, hop: ToOwner) {
        self.bytes += waiting_bytes(&hop);
        self.waiting += 1;
        let held = Held { until, hops: VecDeque::new() };
        self.held.entry(hop.conn()).or_insert(held).hops.push_back(hop);
    }

    pub fn take(&mut self, conn: ConnId) -> VecDeque<ToOwner> {
        let hops = self.held.remove(&conn).map_or_else(VecDeque::new, |held| held.hops);
        self.waiting -= hops.len();
        self.bytes -= hops.iter().map(waiting_bytes).sum::<usize>();
        hops
    }

    /// Notes a connection's status in its last waiting join. Returns whether nothing else is to be done: the connection will
    /// not be a member until that join, or leaves.
    pub fn set_away(&mut self, conn: ConnId, now_away: bool) -> bool {
        let Some(held) = self.held.get_mut(&conn) else { return false };
        for hop in held.hops.iter_mut().rev() {
            match hop {
                ToOwner::Join { away, again: false, .. } => {
                    *away = now_away;
                    return true;
                }
                ToOwner::Leave { .. } | ToOwner::Expel { .. } => return true,
                _ => {}
            }
        }
        false
    }
}
