//! Hops of connections that must wait for what they asked before, in order. `detaining` says which do, and until when.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::FixedState;

use super::join::Join;
use super::opening::waiting_bytes;
use crate::base::ids::{ConnId, RoomName, Seq};
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
    /// Its join, if the store was asked whether it may.
    pub join: Option<Box<Join>>,
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
        let held = Held { until, join: None, hops: VecDeque::new() };
        self.held.entry(hop.conn()).or_insert(held).hops.push_back(hop);
    }

    /// Holds a join of a connection, and with it what the connection says next.
    pub fn hold_join(&mut self, join: Join) {
        self.bytes += join.bytes();
        self.waiting += 1;
        let (conn, join) = (join.member.conn, Some(Box::new(join)));
        self.held.insert(conn, Held { until: Until::Answer, join, hops: VecDeque::new() });
    }

    /// Takes the join that a connection waits for.
    pub fn take_join(&mut self, conn: ConnId) -> Option<Join> {
        let join = self.held.get_mut(&conn)?.join.take()?;
        self.bytes -= join.bytes();
        self.waiting -= 1;
        Some(*join)
    }

    /// Everything that waits, by connection and in order.
    pub fn into_hops(self, room: &RoomName) -> Vec<ToOwner> {
        let mut held: Vec<_> = self.held.into_iter().collect();
        held.sort_unstable_by_key(|(conn, _)| *conn);
        let hops = held.into_iter().flat_map(|(_, held)| {
            let join = held.join.map(|join| join.into_hop(room.clone()));
            join.into_iter().chain(held.hops)
        });
        hops.collect()
    }

    pub fn take(&mut self, conn: ConnId) -> VecDeque<ToOwner> {
        self.take_join(conn);
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
        if let Some(join) = held.join.as_mut().filter(|join| !join.again) {
            join.away = now_away;
            return true;
        }
        false
    }
}
