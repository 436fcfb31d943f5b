//! Hops that wait for one room to be opened from the link or the store, in order. Bounded; a connection that goes takes
//! its waiting join with it. Answers nobody.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::FixedState;

use crate::base::ids::ConnId;
use crate::base::limits::{OPENING_PER_ROOM_MAX, WAITING_BYTES};
use crate::engine::hop::ToOwner;

/// Places of cancelled joins are kept until there are as many as of waiting hops and this many more.
const SLACK: usize = 64;

/// A room that is being opened.
#[derive(Debug)]
pub(super) struct Opening {
    /// When the link or the store was asked last, monotonic milliseconds.
    pub asked_ms: u64,
    /// `None`: a join whose connection has gone.
    queue: VecDeque<Option<ToOwner>>,
    waiting: usize,
    bytes: usize,
    /// Connections that will be members, and where in the queue their join stands.
    joining: HashMap<ConnId, usize, FixedState>,
}

impl Opening {
    pub fn new(asked_ms: u64) -> Self {
        let joining = HashMap::with_hasher(FixedState::default());
        Self { asked_ms, queue: VecDeque::new(), waiting: 0, bytes: 0, joining }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Bytes for the budget.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether this connection's join waits.
    pub fn is_joining(&self, conn: ConnId) -> bool {
        self.joining.contains_key(&conn)
    }

    /// Whether hops that may be refused would be.
    pub fn is_full(&self) -> bool {
        self.waiting >= OPENING_PER_ROOM_MAX
    }

    /// Lets a hop wait. The caller has checked the bound for those that may be refused; a leave is bounded by the joins.
    pub fn push(&mut self, hop: ToOwner) {
        match &hop {
            ToOwner::Join { member, again: false, .. } => {
                self.joining.entry(member.conn).or_insert(self.queue.len());
            }
            ToOwner::Leave { member, .. } => {
                self.joining.remove(&member.conn);
            }
            _ => {}
        }
        self.bytes += waiting_bytes(&hop);
        self.waiting += 1;
        self.queue.push_back(Some(hop));
        if self.queue.len() > 2 * self.waiting + SLACK {
            self.compact();
        }
    }

    /// A connection has gone: its join need not be done. What else it asked will find it no member.
    pub fn cancel(&mut self, conn: ConnId) {
        let Some(at) = self.joining.remove(&conn) else { return };
        if let Some(hop) = self.queue[at].take() {
            self.bytes -= waiting_bytes(&hop);
            self.waiting -= 1;
        }
    }

    /// A connection whose join waits went away or came back.
    pub fn set_away(&mut self, conn: ConnId, now_away: bool) {
        let Some(at) = self.joining.get(&conn) else { return };
        if let Some(ToOwner::Join { away, .. }) = &mut self.queue[*at] {
            *away = now_away;
        }
    }

    /// Everything that waited, in order.
    pub fn into_waiting(self) -> impl Iterator<Item = ToOwner> {
        self.queue.into_iter().flatten()
    }

    fn compact(&mut self) {
        self.queue.retain(Option::is_some);
        self.joining.clear();
        for (at, hop) in self.queue.iter().enumerate() {
            match hop {
                Some(ToOwner::Join { member, again: false, .. }) => {
                    self.joining.entry(member.conn).or_insert(at);
                }
                Some(ToOwner::Leave { member, .. }) => {
                    self.joining.remove(&member.conn);
                }
                _ => {}
            }
        }
    }
}

/// Bytes for the budget of a hop that waits.
pub(super) fn waiting_bytes(hop: &ToOwner) -> usize {
    let data = if let ToOwner::Publish { data, .. } = hop { data.len() } else { 0 };
    WAITING_BYTES + data
}

#[cfg(test)]
mod tests;
