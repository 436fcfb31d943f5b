//! Hops of connections that must wait for what they asked before, in order. `detaining` says which do, and until when.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::FixedState;

use super::opening::waiting_bytes;
use crate::base::ids::{ConnId, Seq};
use crate::engine::hop::ToOwner;

/// What a connection's hops wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Its publications, the last of which the store has been given as this one; 0: none, or it is known at the link.
    OwnPublications(Seq),
    /// A page that is being read.
    Page,
    /// Nothing any more.
    Now,
}

/// A connection whose hops wait.
#[derive(Debug)]
pub(super) struct Held {
    pub until: Until,
    /// What waits, in order: where it leaves, its leave first.
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

    /// A connection went away or came back: its last join that waits says so. Whether that is all there is to it: it will be
    /// no member until that join, or leaves.
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
