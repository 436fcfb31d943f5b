//! The world: nodes, sockets, clients, link and stores under one seeded scheduler with virtual time, in one thread.
//! Everything that happens is an event at a time; equal seeds give equal runs.

mod call;
mod end;
mod fault;
mod network;
mod turn;

use std::collections::BTreeMap;

use roomring::engine::link_port::LinkEvent;
use roomring::engine::store_port::StoreEvent;

use super::canary::{Cage, Canary};
use super::client::{Client, Role};
use super::database::Database;
use super::hear::Message;
use super::judge::{Judge, Seen};
use super::link::{CoreAt, Link, Queue};
use super::node::{Node, UNIX_MS};
use super::profile::{Mode, Profile};
use super::rng::Rng;
use super::socket::Socket;

/// Something that will happen.
#[derive(Debug)]
enum Event {
    /// A core has its turn.
    Turn(CoreAt),
    /// A core's tick is due.
    Tick(CoreAt),
    /// A batch in a core's lanes may be handled, or a refused one sent again.
    Lane(CoreAt),
    /// A connection reaches the server.
    Accept(usize),
    /// Bytes of a connection, or its end, reach the server.
    Arrive(usize),
    /// A client reads.
    Read(usize),
    /// A client acts.
    Step(usize),
    /// The link may work on a queue of a node.
    LinkWork(usize, Queue),
    /// The link says something, in one of its eras.
    LinkSays(CoreAt, u64, LinkEvent),
    /// The lease of a node's life that has ended runs out.
    LeaseEnds(usize, u32),
    /// A node's store may work.
    StoreWork(CoreAt),
    /// The store says something.
    StoreSays(CoreAt, StoreEvent),
    /// Something may go wrong; things that last are looked at.
    Fault,
    /// A node starts.
    Start(usize),
    /// A node reaches the link again.
    Restore(usize),
}

/// How the run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Clients act, faults happen.
    Chaos,
    /// No more faults; clients catch up.
    Settle,
    /// Everybody leaves.
    Goodbye,
}

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// What was seen.
    pub seen: Seen,
    /// Stands for everything that every engine asked for: equal for equal seeds.
    pub digest: u64,
}

/// A run.
pub struct World {
    profile: Profile,
    rooms: Vec<String>,
    now_us: u64,
    order: u64,
    events: BTreeMap<(u64, u64), Event>,
    part: Part,
    /// Auditors are at work: nobody else takes the places of those that left.
    auditing: bool,
    nodes: Vec<Node>,
    sockets: Vec<Socket>,
    clients: Vec<Client>,
    link: Link,
    database: Database,
    judge: Judge,
    cage: Option<Cage>,
    schedule: Rng,
    network: Rng,
    faults: Rng,
    lanes: Rng,
    calls: Rng,
    next_token: u64,
    digest: u64,
    spins: u32,
}

impl World {
    /// A world at its beginning.
    pub fn new(profile: Profile, cage: Option<Cage>, trace: bool) -> Self {
        let salted = |salt| Rng::salted(profile.seed, salt, 0);
        Self {
            rooms: (0..profile.rooms).map(Profile::room_name).collect(),
            now_us: 0,
            order: 0,
            events: BTreeMap::new(),
            part: Part::Chaos,
            auditing: false,
            nodes: (0..profile.nodes).map(|node| Node::new(&profile, node, cage.as_ref().map(Cage::canary))).collect(),
            sockets: Vec::new(),
            clients: (0..profile.clients).map(|client| Client::new(client, Role::Random, &profile)).collect(),
            link: Link::new(&profile),
            database: Database::new(&profile),
            judge: Judge::new(&profile, trace),
            cage,
            schedule: salted("schedule"),
            network: salted("network"),
            faults: salted("faults"),
            lanes: salted("lanes"),
            calls: salted("calls"),
            next_token: 0,
            digest: 0xcbf2_9ce4_8422_2325,
            spins: 0,
            profile,
        }
    }

    /// Runs to the end, or to the first violation.
    ///
    /// # Errors
    /// The violation.
    pub fn run(&mut self) -> Result<Report, String> {
        for node in 0..self.nodes.len() {
            self.start_node(node);
        }
        for client in 0..self.clients.len() {
            let after_us = self.schedule.below(500_000);
            self.later(after_us, Event::Step(client));
        }
        self.later(50_000, Event::Fault);
        self.run_for(self.profile.chaos_us);
        self.settle();
        self.audit();
        self.say_goodbye();
        match self.judge.verdict() {
            Some(verdict) => Err(verdict.to_owned()),
            None => Ok(Report { seen: self.judge.seen, digest: self.digest }),
        }
    }

    /// Whether the defect that was put in had its chance.
    pub fn has_sung(&self) -> bool {
        self.cage.as_ref().is_some_and(|cage| cage.sung) || self.nodes.iter().any(|node| node.store.sung)
    }

    /// The trace.
    pub fn take_trace(&mut self) -> Vec<String> {
        self.judge.take_trace()
    }

    fn later(&mut self, after_us: u64, event: Event) {
        self.at(self.now_us + after_us, event);
    }

    fn at(&mut self, time_us: u64, event: Event) {
        self.order += 1;
        self.events.insert((time_us.max(self.now_us), self.order), event);
    }

    fn is_over(&self) -> bool {
        self.judge.verdict().is_some()
    }

    fn run_for(&mut self, duration_us: u64) {
        let until_us = self.now_us + duration_us;
        while !self.is_over() {
            let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= until_us) else { break };
            let ((time_us, _), event) = entry.remove_entry();
            self.now_us = time_us;
            self.judge.now_us = time_us;
            self.happen(event);
        }
        self.now_us = until_us;
        self.judge.now_us = until_us;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Turn(at) => self.turn(at),
            Event::Tick(at) => self.tick(at),
            Event::Lane(at) => {
                if self.lives(at) {
                    self.wake(at);
                }
            }
            Event::Accept(conn) => self.accept(conn),
            Event::Arrive(conn) => self.arrive(conn),
            Event::Read(conn) => self.read(conn),
            Event::Step(client) => self.step(client),
            Event::LinkWork(node, queue) => self.link_work(node, &queue),
            Event::LinkSays(at, era, event) => {
                let event = if era == self.link.era() { Some(event) } else { Link::outdated(event) };
                if let Some(event) = event.filter(|_| self.lives(at)) {
                    self.judge.note(|| format!("{at:?} <- {event:?}"));
                    self.link.note_told(at, &event);
                    self.nodes[at.node].cores[at.core].link.push_back(event);
                    self.wake(at);
                }
            }
            Event::LeaseEnds(node, life) => self.end_lease(node, life),
            Event::StoreWork(at) => {
                if self.lives(at) {
                    let done = self.store_work(at.node);
                    self.store_done(at.node, done);
                }
            }
            Event::StoreSays(at, event) => {
                if self.lives(at) {
                    self.judge.note(|| format!("{at:?} <- {event:?}"));
                    self.nodes[at.node].cores[at.core].store.push_back(event);
                    self.wake(at);
                }
            }
            Event::Fault => self.fault(),
            Event::Start(node) => self.start_node(node),
            Event::Restore(node) => self.restore(node),
        }
    }

    /// Whether a core is still in the life that something was meant for.
    fn lives(&self, at: CoreAt) -> bool {
        self.nodes[at.node].life == at.life && at.core < self.nodes[at.node].cores.len()
    }

    fn core_at(&self, node: usize, core: usize) -> CoreAt {
        CoreAt { node, life: self.nodes[node].life, core }
    }

    fn unix_ms(&self) -> u64 {
        UNIX_MS + self.now_us / 1_000
    }

    fn room_index(&self, room: &str) -> Option<usize> {
        self.rooms.iter().position(|name| name == room)
    }

    fn link_work(&mut self, node: usize, queue: &Queue) {
        if let Some(cage) = &mut self.cage {
            self.link.repeats |= cage.sings(Canary::RepeatingLink);
        }
        for done in self.link.work(self.now_us, node, queue) {
            self.link_done(done);
        }
    }

    fn link_done(&mut self, done: super::link::Done) {
        if let Some((room, epoch, record)) = done.numbered {
            self.keep(&room, epoch, &record);
        }
        for (room, from, to, head) in done.renumbered {
            self.judge.note(|| format!("{room} has the epoch {to:016x} after {from:016x}, from {head} on"));
            if let Some(room) = self.room_index(&room) {
                self.judge.renumbered(room, from, to, head);
            }
        }
        for (after_us, at, event) in done.later {
            self.link_says(after_us, at, event);
        }
        for (node, queue) in done.ready {
            self.later(0, Event::LinkWork(node, queue));
        }
    }

    fn link_says(&mut self, after_us: u64, at: CoreAt, event: LinkEvent) {
        let era = self.link.era();
        self.later(after_us, Event::LinkSays(at, era, event));
    }

    fn store_work(&mut self, node: usize) -> super::store::Done {
        if self.profile.mode == Mode::LinkedKept {
            return self.database.work(self.now_us, node);
        }
        let now = self.nodes[node].now(self.now_us);
        self.nodes[node].store.work(now, self.now_us)
    }

    fn store_done(&mut self, node: usize, done: super::store::Done) {
        if let Some(wake_us) = done.wake_us {
            let at = self.core_at(node, 0);
            self.at(wake_us, Event::StoreWork(at));
        }
        self.judge.numbering_lost |= done.is_numbering_lost;
        self.judge.seen.met(done.met);
        for (room, from, to, head) in done.renumbered {
            self.judge.numbering_lost = true;
            if let Some(room) = self.room_index(&room) {
                (1..=head).for_each(|seq| self.judge.row(room, to, seq));
                self.judge.renumbered(room, from, to, head);
            }
        }
        if let Some(wrong) = done.wrong {
            self.judge.fail(|| wrong);
        }
        let found = done.found.into_iter().map(|found| (true, found));
        for (is_found, (room, epoch, record)) in done.committed.into_iter().map(|kept| (false, kept)).chain(found) {
            if is_found {
                self.judge.note(|| format!("{room} has {} after all", record.seq));
                self.judge.found_after_all(&record.data);
            }
            self.keep(&room, epoch, &record);
            if let Some(room) = self.room_index(&room) {
                self.judge.row(room, epoch, record.seq);
            }
        }
        for (after_us, at, event) in done.later {
            self.later(after_us, Event::StoreSays(at, event));
        }
    }

    /// A record is numbered by the link or committed by the store.
    fn keep(&mut self, room: &str, epoch: u64, record: &roomring::engine::record::Record) {
        let message = Message {
            seq: record.seq,
            at: record.at,
            from: record.from.to_string(),
            key: Some(record.key.as_deref().map(str::to_owned)),
            data: record.data.to_vec(),
            kind: Some(record.kind),
        };
        match self.room_index(room) {
            Some(room) => self.judge.kept(room, epoch, &message),
            None => self.judge.fail(|| format!("a record of {room:?}")),
        }
    }

    /// Mixes a number into the digest.
    fn digest(&mut self, number: u64) {
        self.digest = (self.digest ^ number).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(7);
    }

    fn is_linked(&self) -> bool {
        self.profile.mode.is_linked()
    }
}
