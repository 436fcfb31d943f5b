//! A model of a database that all nodes share: rows by room, numbering and number, inserted by whichever node has a publish
//! numbered. Slow, and sometimes an insertion fails, or seems to have failed. Never loses a row.

use std::collections::{BTreeMap, VecDeque};

use roomring::base::ids::{Epoch, RoomName};
use roomring::engine::record::{PageAnswer, PageRequest, Record};
use roomring::engine::store_port::{StoreEvent, StoreRequest};

use super::link::CoreAt;
use super::pages::read_page;
use super::profile::Profile;
use super::rng::Rng;
use super::sessions::Sessions;
use super::store::Done;

/// A row on its way, and in which attempt it was given.
#[derive(Debug)]
struct Insertion {
    attempt: u64,
    epoch: Epoch,
    record: Record,
}

/// The database.
pub struct Database {
    rows: BTreeMap<(RoomName, u64), BTreeMap<u64, Record>>,
    /// Requests of each node in order.
    queues: Vec<VecDeque<(u64, CoreAt, StoreRequest)>>,
    /// The last attempt of a core in a room that has failed.
    failed: BTreeMap<(CoreAt, RoomName), u64>,
    /// The sessions that it keeps.
    pub sessions: Sessions,
    rng: Rng,
    delay_us: u64,
    loss: f64,
    fail: f64,
}

impl Database {
    /// An empty database.
    pub fn new(profile: &Profile) -> Self {
        Self {
            rows: BTreeMap::new(),
            queues: (0..profile.nodes).map(|_| VecDeque::new()).collect(),
            failed: BTreeMap::new(),
            sessions: Sessions::default(),
            rng: Rng::salted(profile.seed, "database", 0),
            delay_us: profile.faults.service_delay_us.max(100),
            loss: profile.faults.service_loss,
            fail: profile.faults.store_fail,
        }
    }

    /// Faults stop.
    pub fn heal(&mut self) {
        (self.delay_us, self.loss, self.fail) = (1_000, 0.0, 0.0);
    }

    /// Takes a request; the database wants to work for that node at the returned time.
    pub fn ask(&mut self, now_us: u64, from: CoreAt, request: StoreRequest) -> u64 {
        let queue = &mut self.queues[from.node];
        let after_us = queue.back().map_or(now_us, |(ready_us, ..)| *ready_us);
        let ready_us = (now_us + 1 + self.rng.below(self.delay_us)).max(after_us);
        queue.push_back((ready_us, from, request));
        ready_us
    }

    /// Carries out what is ready of a node's requests.
    pub fn work(&mut self, now_us: u64, node: usize) -> Done {
        let mut done = Done::default();
        let mut batches: BTreeMap<(CoreAt, RoomName), Vec<Insertion>> = BTreeMap::new();
        while let Some((_, from, request)) = self.queues[node].pop_front_if(|(ready_us, ..)| *ready_us <= now_us) {
            match request {
                StoreRequest::Load { room, .. } => {
                    done.wrong = Some(format!("a load of {room}, which the link numbers"))
                }
                StoreRequest::Append { attempt, room, epoch, record } => {
                    batches.entry((from, room)).or_default().push(Insertion { attempt, epoch, record });
                }
                StoreRequest::Page(request) => {
                    if let Some(batch) = batches.remove(&(from, request.room.clone())) {
                        self.insert_all(from, &request.room, batch, &mut done);
                    }
                    self.page(from, request, &mut done);
                }
                StoreRequest::Ask { token, ask } => {
                    let fails = self.rng.chance(self.fail);
                    let answer = self.sessions.answer(ask, fails);
                    if let Some(answer) = answer.filter(|_| !self.rng.chance(self.loss)) {
                        done.later.push((1, from, StoreEvent::Answered { token, answer }));
                    }
                }
            }
        }
        for ((from, room), batch) in batches {
            self.insert_all(from, &room, batch, &mut done);
        }
        done
    }

    fn insert_all(&mut self, from: CoreAt, room: &RoomName, batch: Vec<Insertion>, done: &mut Done) {
        let failed = self.failed.get(&(from, room.clone())).copied();
        let (late, batch): (Vec<_>, Vec<_>) = batch.into_iter().partition(|row| Some(row.attempt) == failed);
        let fails = !batch.is_empty() && self.rng.chance(self.fail);
        let count = if fails { self.rng.index(batch.len()) } else { batch.len() };
        for row in &batch[..count] {
            self.insert(room, row, done);
        }
        let event = |row: &Insertion| (row.attempt, room.clone(), row.epoch, row.record.seq);
        if let Some(last) = batch[..count].last() {
            let (attempt, room, epoch, seq) = event(last);
            done.later.push((1, from, StoreEvent::Committed { attempt, room, epoch, seq }));
        }
        if let Some(first) = batch.get(count) {
            let (attempt, room, epoch, seq) = event(first);
            self.failed.insert((from, room.clone()), attempt);
            done.later.push((1, from, StoreEvent::Failed { attempt, room, epoch, seq, retry_after_ms: 50 }));
        }
        // What seems to have failed may be there all the same.
        for row in batch[count..].iter().chain(&late) {
            if self.rng.chance(0.3) {
                self.insert(room, row, done);
            }
        }
    }

    fn insert(&mut self, room: &RoomName, row: &Insertion, done: &mut Done) {
        let rows = self.rows.entry((room.clone(), row.epoch.0)).or_default();
        let seq = row.record.seq;
        match rows.get(&seq) {
            Some(there) if *there != row.record => {
                done.wrong = Some(format!("{room} {seq}: {:?} is there, {:?} comes", there, row.record));
            }
            Some(_) => {}
            None => {
                rows.insert(seq, row.record.clone());
                done.committed.push((room.clone(), row.epoch.0, row.record.clone()));
            }
        }
    }

    fn page(&mut self, from: CoreAt, request: PageRequest, done: &mut Done) {
        let (lost, fails) = (self.rng.chance(self.loss), self.rng.chance(self.fail));
        let rows = self.rows.get(&(request.room.clone(), request.epoch.0));
        let page = read_page(&request, &rows.map_or_else(Vec::new, |rows| rows.values().collect()));
        let result = if fails { Err(50) } else { Ok(page) };
        if !lost {
            let answer = PageAnswer { token: request.token, room: request.room, result };
            done.later.push((1, from, StoreEvent::Page(answer)));
        }
    }

    /// A node has ended: what it asked may have been carried out, up to any point; it does not hear of it.
    pub fn end_life(&mut self, node: usize) -> Done {
        let part = self.rng.below(self.queues[node].len() as u64 + 1) as usize;
        let until_us = part.checked_sub(1).map(|last| self.queues[node][last].0);
        let mut done = until_us.map(|until_us| self.work(until_us, node)).unwrap_or_default();
        self.queues[node].clear();
        done.later.clear();
        done
    }
}
