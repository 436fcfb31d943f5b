//! A model of a node's store: it keeps what it has committed through any crash and nothing else. Slow, and sometimes it
//! fails: then everything of that room that was not committed did not happen. Written behind, it gives the rooms that were
//! loaded in a life that crashed a new numbering, with the records that it has.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use roomring::base::ids::{Epoch, Position, RoomName};
use roomring::engine::kept::KeptAsk;
use roomring::engine::record::{PageAnswer, PageRequest, Record, RecordPage, Stretch};
use roomring::engine::store_port::StoreRequest;
use roomring::engine::store_port::{KeptKey, StoreEvent};

use super::link::{CoreAt, Later};
use super::profile::{Mode, Profile};
use super::rng::Rng;
use super::sessions::Sessions;

#[derive(Debug)]
struct StoreRoom {
    epoch: u64,
    records: Vec<Record>,
    /// Taken, not committed.
    pending: VecDeque<Record>,
    /// The attempt of those.
    attempt: u64,
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
    /// The sessions that it keeps.
    pub sessions: Sessions,
    /// Requests in order.
    queue: VecDeque<(u64, CoreAt, StoreRequest)>,
    rng: Rng,
    delay_us: u64,
    loss: f64,
    fail: f64,
    /// A defect for the canary: a crash loses the last committed record of each room.
    pub forgetful: bool,
    /// A defect for the canary: pages lack a record.
    pub holes: bool,
    is_behind: bool,
    /// Rooms loaded in this life.
    loaded: BTreeSet<RoomName>,
}

/// What some work brought about.
#[derive(Debug, Default)]
pub struct Done {
    /// Events for cores, with their delays.
    pub later: Vec<Later<StoreEvent>>,
    /// Records that were committed just now.
    pub committed: Vec<(RoomName, u64, Record)>,
    /// Rooms whose records stand under another epoch now: the old one, the new one, and the last record.
    pub renumbered: Vec<(RoomName, u64, u64, u64)>,
    /// A page was given that lacks a record.
    pub has_hole: bool,
    /// What the engine asked against the rules.
    pub wrong: Option<String>,
}

impl Store {
    /// An empty store.
    pub fn new(profile: &Profile, node: usize) -> Self {
        Self {
            rooms: BTreeMap::new(),
            sessions: Sessions::default(),
            queue: VecDeque::new(),
            rng: Rng::salted(profile.seed, "store", node as u64),
            delay_us: profile.faults.service_delay_us.max(100),
            loss: profile.faults.service_loss,
            fail: profile.faults.store_fail,
            forgetful: false,
            holes: false,
            is_behind: profile.mode == Mode::Behind,
            loaded: BTreeSet::new(),
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
                StoreRequest::Load { attempt, room, count, keys_since, epoch } => {
                    // Answers of one room come in the order of its requests.
                    if touched.remove(&room).is_some() {
                        self.commit(from, &room, &mut done);
                    }
                    self.load(from, (attempt, room), count, keys_since, epoch, &mut done);
                }
                StoreRequest::Page(request) => {
                    if touched.remove(&request.room).is_some() {
                        self.commit(from, &request.room, &mut done);
                    }
                    self.page(from, request, &mut done);
                }
                StoreRequest::Append { attempt, room, epoch, record } => {
                    self.append(&room, attempt, epoch, record, &mut done);
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

    fn load(
        &mut self,
        from: CoreAt,
        (attempt, room): (u64, RoomName),
        count: usize,
        keys_since: u64,
        epoch: Epoch,
        done: &mut Done,
    ) {
        let fresh =
            StoreRoom { epoch: epoch.0, records: Vec::new(), pending: VecDeque::new(), attempt: 0, failed: false };
        self.loaded.insert(room.clone());
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
            let first_seq = held.records.first().map_or(held.head() + 1, |first| first.seq);
            done.later.push((1, from, StoreEvent::Loaded { attempt, room, stretch, first_seq, keys, created: None }));
        }
    }

    fn answer(&mut self, from: CoreAt, token: u64, ask: KeptAsk, done: &mut Done) {
        let fails = self.rng.chance(self.fail);
        let answer = self.sessions.answer(ask, fails);
        if let Some(answer) = answer.filter(|_| !self.rng.chance(self.loss)) {
            done.later.push((1, from, StoreEvent::Answered { token, answer }));
        }
    }

    fn page(&mut self, from: CoreAt, request: PageRequest, done: &mut Done) {
        let (lost, fails) = (self.rng.chance(self.loss), self.rng.chance(self.fail));
        let held = self.rooms.get(&request.room).filter(|held| held.epoch == request.epoch.0);
        let mut page = read_page(&request, &held.map_or_else(Vec::new, |held| held.records.iter().collect()));
        if self.holes && page.records.len() > 2 {
            page.records.remove(page.records.len() / 2);
            done.has_hole = true;
        }
        let result = if fails { Err(50) } else { Ok(page) };
        if !lost {
            let answer = PageAnswer { token: request.token, room: request.room, result };
            done.later.push((1, from, StoreEvent::Page(answer)));
        }
    }

    fn append(&mut self, room: &RoomName, attempt: u64, epoch: Epoch, record: Record, done: &mut Done) {
        let Some(held) = self.rooms.get_mut(room) else {
            done.wrong = Some(format!("append to {room} before its load"));
            return;
        };
        let next = held.pending.back().map_or(held.head(), |record| record.seq) + 1;
        if epoch.0 != held.epoch || (record.seq != next && !held.failed) {
            done.wrong = Some(format!("append of {} to {room} in {epoch} where {next} comes next", record.seq));
        } else if record.seq == next {
            held.failed = false;
            held.attempt = attempt;
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
        let (epoch, attempt) = (Epoch(held.epoch), held.attempt);
        let last = first + count - 1;
        if count > 0 {
            done.later.push((1, from, StoreEvent::Committed { attempt, room: room.clone(), epoch, seq: last }));
        }
        if fails {
            held.pending.clear();
            held.failed = true;
            let failed = StoreEvent::Failed { attempt, room: room.clone(), epoch, seq: last + 1, retry_after_ms: 50 };
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
        for room in std::mem::take(&mut self.loaded) {
            if let Some(held) = self.rooms.get_mut(&room).filter(|_| self.is_behind) {
                let before = std::mem::replace(&mut held.epoch, self.rng.next() | 1);
                done.renumbered.push((room, before, held.epoch, held.head()));
            }
        }
        done
    }

    /// The node has ended in order.
    pub fn stop(&mut self) -> Done {
        let mut done = self.work(u64::MAX);
        done.later.clear();
        self.loaded.clear();
        done
    }

    /// Where each room stands.
    pub fn heads(&self) -> impl Iterator<Item = (&RoomName, u64, u64)> {
        self.rooms.iter().map(|(room, held)| (room, held.epoch, held.head()))
    }

    /// Where a room stands.
    pub fn head(&self, room: &str) -> Option<(u64, u64)> {
        self.rooms.get(room).map(|held| (held.epoch, held.head()))
    }
}

/// The page that was asked for, of what is held in order.
pub fn read_page(request: &PageRequest, held: &[&Record]) -> RecordPage {
    let PageRequest { after, before, expired_at, count, bytes, .. } = *request;
    let expired = held.iter().rposition(|record| record.at <= expired_at).map_or(0, |last| last + 1);
    let held = &held[expired..];
    let first_seq = held.first().map(|record| record.seq);
    let fits = |record: &&&Record| record.seq < before && Some(record.seq) > after;
    let mut room = bytes;
    let takes = |record: &&&Record| {
        let is_first = room == bytes;
        let has_room = is_first || record.data.len() <= room;
        room = room.saturating_sub(record.data.len().max(1));
        has_room
    };
    let records = held.iter().filter(fits);
    let records = match after {
        Some(_) => records.take(count).take_while(takes).map(|record| (*record).clone()).collect(),
        None => {
            let newest = records.rev().take(count).take_while(takes);
            let mut newest: Vec<Record> = newest.map(|record| (*record).clone()).collect();
            newest.reverse();
            newest
        }
    };
    RecordPage { first_seq, records }
}
