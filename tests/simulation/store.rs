//! A model of a node's store: it keeps what it has committed through any crash and nothing else. Slow, and sometimes it
//! fails: then everything of that room that was not committed did not happen.

use std::collections::{BTreeMap, VecDeque};

use roomring::base::ids::{Epoch, Position, RoomName};
use roomring::engine::kept::{KeptAnswer, KeptAsk, KeptSession, SessionId};
use roomring::engine::record::{Record, Stretch};
use roomring::engine::store_port::StoreRequest;
use roomring::engine::store_port::{KeptKey, StoreEvent};

use super::link::{CoreAt, Later};
use super::profile::Profile;
use super::rng::Rng;

#[derive(Debug)]
struct StoreRoom {
    epoch: u64,
    records: Vec<Record>,
    /// Taken, not committed.
    pending: VecDeque<Record>,
    /// After a failure, appends that were asked before the engine heard of it are dropped.
    failed: bool,
}

impl StoreRoom {
    fn head(&self) -> u64 {
        self.records.last().map_or(0, |record| record.seq)
    }
}

/// The store of one node.
pub struct Store {
    rooms: BTreeMap<RoomName, StoreRoom>,
    /// By their ids.
    sessions: BTreeMap<u128, KeptSession>,
    /// Requests in order.
    queue: VecDeque<(u64, CoreAt, StoreRequest)>,
    rng: Rng,
    delay_us: u64,
    loss: f64,
    fail: f64,
    /// A defect for the canary: a crash loses the last committed record of each room.
    pub forgetful: bool,
}

/// What some work brought about.
#[derive(Debug, Default)]
pub struct Done {
    /// Events for cores, with their delays.
    pub later: Vec<Later<StoreEvent>>,
    /// Records that were committed just now.
    pub committed: Vec<(RoomName, u64, Record)>,
    /// What the engine asked against the rules.
    pub wrong: Option<String>,
}

impl Store {
    /// An empty store.
    pub fn new(profile: &Profile, node: usize) -> Self {
        Self {
            rooms: BTreeMap::new(),
            sessions: BTreeMap::new(),
            queue: VecDeque::new(),
            rng: Rng::salted(profile.seed, "store", node as u64),
            delay_us: profile.faults.service_delay_us.max(100),
            loss: profile.faults.service_loss,
            fail: profile.faults.store_fail,
            forgetful: false,
        }
    }

    /// Faults stop.
    pub fn heal(&mut self) {
        (self.delay_us, self.loss, self.fail) = (1_000, 0.0, 0.0);
    }

    /// Takes a request; the store wants to work at the returned time.
    pub fn ask(&mut self, now_us: u64, from: CoreAt, request: StoreRequest) -> u64 {
        let after_us = self.queue.back().map_or(now_us, |(ready_us, ..)| *ready_us);
        let ready_us = (now_us + 1 + self.rng.below(self.delay_us)).max(after_us);
        self.queue.push_back((ready_us, from, request));
        ready_us
    }

    /// Takes in what is ready, then commits it all at once.
    pub fn work(&mut self, now_us: u64) -> Done {
        let mut done = Done::default();
        let mut touched = BTreeMap::new();
        while self.queue.front().is_some_and(|(ready_us, ..)| *ready_us <= now_us) {
            let Some((_, from, request)) = self.queue.pop_front() else { break };
            match request {
                StoreRequest::Load { room, count, keys_since, epoch } => {
                    // Answers of one room come in the order of its requests.
                    if touched.remove(&room).is_some() {
                        self.commit(from, &room, &mut done);
                    }
                    self.load(from, room, count, keys_since, epoch, &mut done);
                }
                StoreRequest::Append { room, epoch, record } => {
                    self.append(&room, epoch, record, &mut done);
                    touched.insert(room, from);
                }
                StoreRequest::Ask { token, ask } => self.answer(from, token, ask, &mut done),
            }
        }
        for (room, from) in touched {
            self.commit(from, &room, &mut done);
        }
        done
    }

    fn load(&mut self, from: CoreAt, room: RoomName, count: usize, keys_since: u64, epoch: Epoch, done: &mut Done) {
        let fresh = StoreRoom { epoch: epoch.0, records: Vec::new(), pending: VecDeque::new(), failed: false };
        let held = self.rooms.entry(room.clone()).or_insert(fresh);
        let skipped = held.records.len().saturating_sub(count);
        let records = held.records[skipped..].to_vec();
        let head = Some(Position { epoch: Epoch(held.epoch), seq: held.head() });
        if !self.rng.chance(self.loss) {
            let recent = held.records.iter().filter(|record| record.at >= keys_since);
            let keys = recent.filter_map(|record| {
                let Record { seq, at, from, key, .. } = record.clone();
                Some(KeptKey { from, key: key?, seq, at })
            });
            let (stretch, keys) = (Stretch { head, records }, keys.collect());
            done.later.push((1, from, StoreEvent::Loaded { room, stretch, keys }));
        }
    }

    fn answer(&mut self, from: CoreAt, token: u64, ask: KeptAsk, done: &mut Done) {
        let answer = match ask {
            KeptAsk::SaveSession { session, kept } => {
                self.sessions.insert(session.0, kept);
                return;
            }
            KeptAsk::FindSession { .. } if self.rng.chance(self.fail) => KeptAnswer::Unavailable { retry_after_ms: 50 },
            KeptAsk::FindSession { session } => KeptAnswer::Session(self.sessions.get(&session.0).cloned()),
        };
        if !self.rng.chance(self.loss) {
            done.later.push((1, from, StoreEvent::Answered { token, answer }));
        }
    }

    /// One of the sessions that are kept.
    pub fn a_session(&self, pick: u64) -> Option<SessionId> {
        let kept = self.sessions.keys().nth(pick as usize % self.sessions.len().max(1))?;
        Some(SessionId(*kept))
    }

    fn append(&mut self, room: &RoomName, epoch: Epoch, record: Record, done: &mut Done) {
        let Some(held) = self.rooms.get_mut(room) else {
            done.wrong = Some(format!("append to {room} before its load"));
            return;
        };
        let next = held.pending.back().map_or(held.head(), |record| record.seq) + 1;
        if epoch.0 != held.epoch || (record.seq != next && !held.failed) {
            done.wrong = Some(format!("append of {} to {room} in {epoch} where {next} comes next", record.seq));
        } else if record.seq == next {
            held.failed = false;
            held.pending.push_back(record);
        }
    }

    fn commit(&mut self, from: CoreAt, room: &RoomName, done: &mut Done) {
        let fails = self.rng.chance(self.fail);
        let part = self.rng.next();
        let Some(held) = self.rooms.get_mut(room) else { return };
        let Some(first) = held.pending.front().map(|record| record.seq) else { return };
        let count = if fails { part % held.pending.len() as u64 } else { held.pending.len() as u64 };
        for record in held.pending.drain(..count as usize) {
            done.committed.push((room.clone(), held.epoch, record.clone()));
            held.records.push(record);
        }
        let epoch = Epoch(held.epoch);
        let last = first + count - 1;
        if count > 0 {
            done.later.push((1, from, StoreEvent::Committed { room: room.clone(), epoch, seq: last }));
        }
        if fails {
            held.pending.clear();
            held.failed = true;
            let failed = StoreEvent::Failed { room: room.clone(), epoch, seq: last + 1, retry_after_ms: 50 };
            done.later.push((1, from, failed));
        }
    }

    /// The node has crashed: what was asked may have been taken in, up to any point; nobody hears of it.
    pub fn crash(&mut self) -> Done {
        let part = self.rng.below(self.queue.len() as u64 + 1) as usize;
        let until_us = part.checked_sub(1).map(|last| self.queue[last].0);
        let mut done = until_us.map(|until_us| self.work(until_us)).unwrap_or_default();
        self.queue.clear();
        for held in self.rooms.values_mut() {
            held.pending.clear();
            held.failed = false;
            if self.forgetful {
                held.records.pop();
            }
        }
        done.later.clear();
        done
    }

    /// Where a room stands.
    pub fn head(&self, room: &str) -> Option<(u64, u64)> {
        self.rooms.get(room).map(|held| (held.epoch, held.head()))
    }
}
