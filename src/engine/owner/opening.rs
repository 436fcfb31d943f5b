//! Hops and calls that wait for one room to be opened from the link or the store, in order. Bounded in number
//! and in time; a connection that goes takes its waiting join with it. Answers nobody.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::FixedState;

use crate::base::ids::{ConnId, UserName};
use crate::base::limits::{ASK_AGAIN_MS, OPENING_PER_ROOM_MAX, OPENING_TIMEOUT_MS, WAITING_BYTES};
use crate::base::time::Now;
use crate::engine::hop::ToOwner;
use crate::wire::protocol::{Ask, Publish};

/// The queue is compacted when its length exceeds twice the number of waiting entries by this.
const SLACK: usize = 64;

/// A room that is being opened.
#[derive(Debug)]
pub(super) struct Opening {
    /// Time of the last request to the link or the store, monotonic milliseconds.
    pub asked_ms: u64,
    queue: VecDeque<Place>,
    waiting: usize,
    bytes: usize,
    /// Connections that wait for something.
    asked: HashMap<ConnId, Asked, FixedState>,
}

/// A place in the queue.
#[derive(Debug)]
struct Place {
    /// Time of arrival, monotonic milliseconds.
    since_ms: u64,
    /// `None`: a join whose connection has ended.
    waiting: Option<Waiting>,
}

/// What waits for a room.
#[derive(Debug)]
pub(super) enum Waiting {
    /// A connection's hop.
    Hop(ToOwner),
    /// A call of the control address.
    Call { token: u64, from: UserName, ask: Ask },
}

/// What one connection waits for.
#[derive(Debug, Default)]
struct Asked {
    hops: usize,
    /// Index of its join in the queue, if it will be a member.
    join_at: Option<usize>,
}

impl Asked {
    fn note(&mut self, hop: &ToOwner, at: usize) {
        self.hops += 1;
        match hop {
            ToOwner::Join { again: false, .. } => {
                self.join_at.get_or_insert(at);
            }
            ToOwner::Leave { .. } | ToOwner::Expel { .. } => self.join_at = None,
            _ => {}
        }
    }
}

impl Waiting {
    fn bytes(&self) -> usize {
        match self {
            Waiting::Hop(hop) => waiting_bytes(hop),
            Waiting::Call { ask, .. } => waiting_bytes_of(ask),
        }
    }
}

impl Opening {
    pub fn new(asked_ms: u64) -> Self {
        let asked = HashMap::with_hasher(FixedState::default());
        Self { asked_ms, queue: VecDeque::new(), waiting: 0, bytes: 0, asked }
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
        self.asked.get(&conn).is_some_and(|asked| asked.join_at.is_some())
    }

    /// Whether anything of this connection waits. Changes of its membership must wait behind that.
    pub fn has_asked(&self, conn: ConnId) -> bool {
        self.asked.contains_key(&conn)
    }

    /// Whether the queue is full.
    pub fn is_full(&self) -> bool {
        self.waiting >= OPENING_PER_ROOM_MAX
    }

    /// Queues a hop. The caller has checked the bound, except for leaves, which the joins bound.
    pub fn push(&mut self, hop: ToOwner, now: Now) {
        self.asked.entry(hop.conn()).or_default().note(&hop, self.queue.len());
        self.add(waiting_bytes(&hop), Waiting::Hop(hop), now);
    }

    /// Queues a call. The caller has checked the bound.
    pub fn push_call(&mut self, token: u64, from: UserName, ask: Ask, now: Now) {
        self.add(waiting_bytes_of(&ask), Waiting::Call { token, from, ask }, now);
    }

    fn add(&mut self, bytes: usize, waiting: Waiting, now: Now) {
        self.bytes += bytes;
        self.waiting += 1;
        self.queue.push_back(Place { since_ms: now.mono_ms(), waiting: Some(waiting) });
        if self.queue.len() > 2 * self.waiting + SLACK {
            self.compact();
        }
    }

    /// Drops the join of a connection that has ended. Its other asks will be refused, since it is not a member.
    pub fn cancel(&mut self, conn: ConnId) {
        let Some(asked) = self.asked.get_mut(&conn) else { return };
        let Some(Waiting::Hop(hop)) = asked.join_at.take().and_then(|at| self.queue[at].waiting.take()) else { return };
        asked.hops -= 1;
        if asked.hops == 0 {
            self.asked.remove(&conn);
        }
        self.bytes -= waiting_bytes(&hop);
        self.waiting -= 1;
    }

    /// Sets the status of a connection whose join waits.
    pub fn set_away(&mut self, conn: ConnId, now_away: bool) {
        let Some(at) = self.asked.get(&conn).and_then(|asked| asked.join_at) else { return };
        if let Some(Waiting::Hop(ToOwner::Join { away, .. })) = &mut self.queue[at].waiting {
            *away = now_away;
        }
    }

    /// Everything that waited, in order.
    pub fn into_waiting(self) -> impl Iterator<Item = Waiting> {
        self.queue.into_iter().filter_map(|place| place.waiting)
    }

    /// When the request must be repeated, or an entry has waited too long, monotonic milliseconds.
    pub fn due_ms(&self) -> u64 {
        let oldest = self.queue.iter().find(|place| place.waiting.is_some());
        let late_ms = oldest.map_or(u64::MAX, |oldest| oldest.since_ms + OPENING_TIMEOUT_MS);
        late_ms.min(self.asked_ms + ASK_AGAIN_MS)
    }

    /// Takes the entries that have waited too long, in order.
    pub fn take_late(&mut self, now: Now) -> Vec<Waiting> {
        let is_late = |place: &Place| place.since_ms + OPENING_TIMEOUT_MS <= now.mono_ms();
        let count = self.queue.iter().take_while(|place| is_late(place)).count();
        let late: Vec<_> = self.queue.drain(..count).filter_map(|place| place.waiting).collect();
        if count > 0 {
            self.waiting -= late.len();
            self.bytes -= late.iter().map(Waiting::bytes).sum::<usize>();
            self.compact();
        }
        late
    }

    fn compact(&mut self) {
        self.queue.retain(|place| place.waiting.is_some());
        self.asked.clear();
        for (at, place) in self.queue.iter().enumerate() {
            if let Some(Waiting::Hop(hop)) = &place.waiting {
                self.asked.entry(hop.conn()).or_default().note(hop, at);
            }
        }
    }
}

/// Bytes of a waiting hop for the budget.
pub(super) fn waiting_bytes(hop: &ToOwner) -> usize {
    match hop {
        ToOwner::Ask { ask, .. } | ToOwner::Administer { ask, .. } => waiting_bytes_of(ask),
        ToOwner::Join { invite: Some(invite), .. } => WAITING_BYTES + invite.len(),
        _ => WAITING_BYTES,
    }
}

/// Bytes of a waiting ask for the budget.
pub(super) fn waiting_bytes_of(ask: &Ask) -> usize {
    let more = match ask {
        Ask::Publish(Publish { data, .. }) => data.len(),
        Ask::CreateRoom { title, .. } => title.len(),
        _ => 0,
    };
    WAITING_BYTES + more
}

#[cfg(test)]
mod tests;
