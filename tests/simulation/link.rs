//! A model of the link between machines: it numbers publishes atomically, keeps a bounded stream per room and tells
//! every machine that listens, by messages that are late, lost, repeated or out of order. Machines are cut from it, it
//! restarts with or without its data. A publish is answered exactly once: the model retries by itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use roomring::base::ids::{Epoch, Position, RoomName};
use roomring::engine::link_port::LinkRequest;
use roomring::engine::link_port::{LinkEvent, LinkFailure};
use roomring::engine::record::{PageAnswer, Record, Stretch};

use super::profile::Profile;
use super::rng::Rng;

/// One core of one life of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CoreAt {
    /// Which node.
    pub node: usize,
    /// Which life of it: what is meant for an earlier one reaches nobody.
    pub life: u32,
    /// Which core.
    pub core: usize,
}

/// Something that the link (or the store) says to a core after a delay.
pub type Later<T> = (u64, CoreAt, T);

#[derive(Debug)]
struct LinkRoom {
    epoch: u64,
    head: u64,
    records: VecDeque<Record>,
    /// First position by (user, key).
    keys: BTreeMap<(String, String), u64>,
}

#[derive(Debug)]
struct Waiting {
    ready_us: u64,
    from: CoreAt,
    request: LinkRequest,
}

/// The link.
pub struct Link {
    rooms: BTreeMap<RoomName, LinkRoom>,
    listeners: BTreeSet<(RoomName, CoreAt)>,
    /// Requests of one room from one node are carried out in order.
    queues: BTreeMap<(usize, RoomName), VecDeque<Waiting>>,
    /// Nodes that are cut off.
    cut: Vec<bool>,
    rng: Rng,
    records_max: usize,
    delay_us: u64,
    loss: f64,
    duplicate: f64,
    fail: f64,
    /// A defect for the canary: the next publish gets the number of the one before.
    pub repeats: bool,
}

/// What handling a request brought about.
#[derive(Debug, Default)]
pub struct Done {
    /// Events for cores, with their delays.
    pub later: Vec<Later<LinkEvent>>,
    /// A record that was numbered just now.
    pub numbered: Option<(RoomName, u64, Record)>,
}

impl Link {
    /// An empty link that all nodes reach.
    pub fn new(profile: &Profile) -> Self {
        Self {
            rooms: BTreeMap::new(),
            listeners: BTreeSet::new(),
            queues: BTreeMap::new(),
            cut: vec![false; profile.nodes],
            rng: Rng::salted(profile.seed, "link", 0),
            records_max: profile.link_records,
            delay_us: profile.faults.service_delay_us.max(100),
            loss: profile.faults.service_loss,
            duplicate: profile.faults.link_duplicate,
            fail: profile.faults.link_fail,
            repeats: false,
        }
    }

    /// Faults stop: fast and reliable from here on.
    pub fn heal(&mut self) {
        (self.delay_us, self.loss, self.duplicate, self.fail) = (1_000, 0.0, 0.0, 0.0);
    }

    /// Takes a request; the node's queue of its room wants work at the returned time.
    pub fn ask(&mut self, now_us: u64, from: CoreAt, request: LinkRequest) -> (u64, RoomName) {
        let room = room_of(&request).clone();
        let queue = self.queues.entry((from.node, room.clone())).or_default();
        let after_us = queue.back().map_or(now_us, |waiting| waiting.ready_us);
        let ready_us = (now_us + 1 + self.rng.below(self.delay_us)).max(after_us);
        queue.push_back(Waiting { ready_us, from, request });
        (ready_us, room)
    }

    /// Carries out what is ready of a node's queue.
    pub fn work(&mut self, now_us: u64, node: usize, room: &RoomName) -> Vec<Done> {
        let mut done = Vec::new();
        while !self.cut[node] {
            let Some(queue) = self.queues.get_mut(&(node, room.clone())) else { break };
            if queue.front().is_none_or(|waiting| waiting.ready_us > now_us) {
                break;
            }
            let Some(Waiting { from, request, .. }) = queue.pop_front() else { break };
            done.push(self.carry_out(from, request));
        }
        done
    }

    fn carry_out(&mut self, from: CoreAt, request: LinkRequest) -> Done {
        match request {
            LinkRequest::Open { room, count } => {
                self.listeners.insert((room.clone(), from));
                let fresh = self.rng.next() | 1;
                let held = self.rooms.entry(room.clone()).or_insert_with(|| LinkRoom::new(fresh));
                let records = held.records.iter().skip(held.records.len().saturating_sub(count)).cloned().collect();
                let stretch = Stretch { head: Some(held.position()), records };
                self.answer(from, LinkEvent::Read { room, stretch })
            }
            LinkRequest::Read { room, after, count } => {
                let stretch = match self.rooms.get(&room) {
                    Some(held) => {
                        let above = held.records.iter().filter(|record| record.seq > after);
                        Stretch { head: Some(held.position()), records: above.take(count).cloned().collect() }
                    }
                    None => Stretch { head: None, records: Vec::new() },
                };
                self.answer(from, LinkEvent::Read { room, stretch })
            }
            LinkRequest::Page(request) => {
                let held = self.rooms.get(&request.room).filter(|held| held.epoch == request.epoch.0);
                let records = held.map_or_else(Vec::new, |held| held.records.iter().collect());
                let page = super::store::read_page(&request, &records);
                let answer = PageAnswer { token: request.token, room: request.room, result: Ok(page) };
                self.answer(from, LinkEvent::Page(answer))
            }
            LinkRequest::Close { room } => {
                self.listeners.remove(&(room, from));
                Done::default()
            }
            LinkRequest::Publish { token, room, record } => self.publish(from, token, room, record),
        }
    }

    /// An answer that may be lost: the engine asks again.
    fn answer(&mut self, to: CoreAt, event: LinkEvent) -> Done {
        let lost = self.rng.chance(self.loss);
        let later = if lost { Vec::new() } else { vec![(self.delay(), to, event)] };
        Done { later, numbered: None }
    }

    fn delay(&mut self) -> u64 {
        1 + self.rng.below(self.delay_us)
    }

    /// One atomic operation: the key's check, the number, the stream, the word to everyone.
    fn publish(&mut self, from: CoreAt, token: u64, room: RoomName, mut record: Record) -> Done {
        let failed = self.rng.chance(self.fail);
        let failure = LinkFailure { retry_after_ms: 100 };
        let mut done = Done::default();
        if failed && self.rng.chance(0.5) {
            done.later.push((self.delay(), from, LinkEvent::Published { token, result: Err(failure) }));
            return done;
        }
        let fresh = self.rng.next() | 1;
        let held = self.rooms.entry(room.clone()).or_insert_with(|| LinkRoom::new(fresh));
        let key = record.key.as_ref().map(|key| (record.from.to_string(), key.to_string()));
        let known = key.as_ref().and_then(|key| held.keys.get(key)).copied();
        let epoch = Epoch(held.epoch);
        let repeats = self.repeats && known.is_none() && held.head > 0;
        self.repeats &= !repeats;
        let seq = known.unwrap_or(if repeats { held.head } else { held.head + 1 });
        if known.is_none() {
            held.head = seq;
            record.seq = seq;
            held.records.push_back(record.clone());
            if held.records.len() > self.records_max {
                held.records.pop_front();
            }
            held.keys.extend(key.map(|key| (key, seq)));
            done.numbered = Some((room.clone(), epoch.0, record.clone()));
        }
        // It may have happened although the answer says that it did not.
        let result = if failed { Err(failure) } else { Ok((Position { epoch, seq }, known.is_some())) };
        done.later.push((self.delay(), from, LinkEvent::Published { token, result }));
        if known.is_none() {
            self.tell(&room, epoch, &record, &mut done);
        }
        done
    }

    fn tell(&mut self, room: &RoomName, epoch: Epoch, record: &Record, done: &mut Done) {
        let listeners: Vec<CoreAt> =
            self.listeners.iter().filter(|(name, _)| name == room).map(|(_, listener)| *listener).collect();
        for listener in listeners {
            let copies = 1 + usize::from(self.rng.chance(self.duplicate));
            for _ in 0..copies {
                if !self.cut[listener.node] && !self.rng.chance(self.loss) {
                    let event = LinkEvent::Publication { room: room.clone(), epoch, record: record.clone() };
                    done.later.push((self.delay(), listener, event));
                }
            }
        }
    }

    /// Cuts a node off. What it asks waits; some of it is refused or lost at once.
    pub fn cut(&mut self, node: usize) -> Vec<Later<LinkEvent>> {
        self.cut[node] = true;
        let mut later = Vec::new();
        for (_, queue) in self.queues.iter_mut().filter(|((owner, _), _)| *owner == node) {
            for Waiting { from, request, ready_us } in std::mem::take(queue) {
                match request {
                    LinkRequest::Publish { token, .. } if self.rng.chance(0.3) => {
                        let result = Err(LinkFailure { retry_after_ms: 500 });
                        later.push((1 + self.rng.below(self.delay_us), from, LinkEvent::Published { token, result }));
                    }
                    LinkRequest::Open { .. } | LinkRequest::Read { .. } | LinkRequest::Page(_)
                        if self.rng.chance(0.5) => {}
                    request => queue.push_back(Waiting { ready_us, from, request }),
                }
            }
        }
        later
    }

    /// Lets a node reach the link again; its queues want work now, and each of its cores hears `Restored`.
    pub fn restore(&mut self, node: usize) -> Vec<RoomName> {
        self.cut[node] = false;
        self.queues.keys().filter(|(owner, _)| *owner == node).map(|(_, room)| room.clone()).collect()
    }

    /// Whether a node is cut off.
    pub fn is_cut(&self, node: usize) -> bool {
        self.cut[node]
    }

    /// A restart that loses all data.
    pub fn forget(&mut self) {
        self.rooms.clear();
    }

    /// A node's life has ended: nobody listens and nobody waits there any more. What was on the wire still happens.
    pub fn end_life(&mut self, node: usize) {
        self.listeners.retain(|(_, listener)| listener.node != node);
        for (_, queue) in self.queues.iter_mut().filter(|((owner, _), _)| *owner == node) {
            queue.retain(|waiting| matches!(waiting.request, LinkRequest::Publish { .. }));
        }
    }

    /// Where a room stands.
    pub fn head(&self, room: &str) -> Option<(u64, u64)> {
        self.rooms.get(room).map(|held| (held.epoch, held.head))
    }

    /// Rooms that somebody listens to.
    pub fn listeners(&self) -> usize {
        self.listeners.len()
    }
}

impl LinkRoom {
    fn new(epoch: u64) -> Self {
        Self { epoch, head: 0, records: VecDeque::new(), keys: BTreeMap::new() }
    }

    fn position(&self) -> Position {
        Position { epoch: Epoch(self.epoch), seq: self.head }
    }
}

fn room_of(request: &LinkRequest) -> &RoomName {
    match request {
        LinkRequest::Open { room, .. }
        | LinkRequest::Read { room, .. }
        | LinkRequest::Close { room }
        | LinkRequest::Publish { room, .. } => room,
        LinkRequest::Page(request) => &request.room,
    }
}
