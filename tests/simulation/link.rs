//! A model of the link between machines: it numbers publishes atomically, keeps a bounded stream and who is there per room
//! and tells every machine that listens, by messages that are late, lost, repeated or out of order. Machines are cut from
//! it, it restarts with or without its data, and it fails over to a replica that lacks the newest records. A publish is
//! answered exactly once: the model retries by itself.
//!
//! After a failover it numbers again only when every core that was alive has compared its rooms with it. Where a core that
//! was told of lost records has ended or closed the room since, nobody can vouch for the room's epoch, and it gets a new
//! one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use roomring::base::ids::{Epoch, Position, RoomName, UserName};
use roomring::engine::link_port::{LinkEvent, LinkFailure, LinkHead, LinkRequest, Present, UserCounts};
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

/// Requests that are carried out in order: of one node and room, and its publishes apart; what is of no room, by core.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Queue {
    Room(RoomName),
    Publishes(RoomName),
    Core(usize),
}

/// Who is in a room.
#[derive(Debug, Default)]
struct Crowd {
    version: u64,
    by_life: BTreeMap<u64, BTreeMap<UserName, (u32, u32)>>,
}

/// A number that a core was told of, or that any core that has gone since was.
type Told = BTreeMap<(RoomName, u64), u64>;

/// The link.
pub struct Link {
    rooms: BTreeMap<RoomName, LinkRoom>,
    crowds: BTreeMap<RoomName, Crowd>,
    listeners: BTreeSet<(RoomName, CoreAt)>,
    queues: BTreeMap<(usize, Queue), VecDeque<Waiting>>,
    /// Nodes that are cut off.
    cut: Vec<bool>,
    /// How often it has failed over.
    era: u64,
    /// Cores that have not compared their rooms since the last failover: it does not number until they have.
    unverified: BTreeSet<CoreAt>,
    /// Rooms that lost records in a failover, with the epoch and the head of then.
    rolled_back: BTreeMap<RoomName, (u64, u64)>,
    told: BTreeMap<CoreAt, Told>,
    told_gone: Told,
    rng: Rng,
    records_max: usize,
    delay_us: u64,
    loss: f64,
    duplicate: f64,
    fail: f64,
    /// A defect for the canary: the next publish gets the number of the one before.
    pub repeats: bool,
    /// A defect for the canary: the next publish with a known key gets a new number.
    pub forgets_key: bool,
}

/// What handling a request brought about.
#[derive(Debug, Default)]
pub struct Done {
    /// Events for cores, with their delays.
    pub later: Vec<Later<LinkEvent>>,
    /// A record that was numbered just now.
    pub numbered: Option<(RoomName, u64, Record)>,
    /// Rooms that have a new epoch: from, to, and the head.
    pub renumbered: Vec<(RoomName, u64, u64, u64)>,
    /// Queues that can go on.
    pub ready: Vec<(usize, Queue)>,
}

/// A life as the machines know it.
fn life_of(node: usize, life: u32) -> u64 {
    (node as u64) << 32 | u64::from(life)
}

impl Link {
    /// An empty link that all nodes reach.
    pub fn new(profile: &Profile) -> Self {
        Self {
            rooms: BTreeMap::new(),
            crowds: BTreeMap::new(),
            listeners: BTreeSet::new(),
            queues: BTreeMap::new(),
            cut: vec![false; profile.nodes],
            era: 0,
            unverified: BTreeSet::new(),
            rolled_back: BTreeMap::new(),
            told: BTreeMap::new(),
            told_gone: Told::new(),
            rng: Rng::salted(profile.seed, "link", 0),
            records_max: profile.link_records,
            delay_us: profile.faults.service_delay_us.max(100),
            loss: profile.faults.service_loss,
            duplicate: profile.faults.link_duplicate,
            fail: profile.faults.link_fail,
            repeats: false,
            forgets_key: false,
        }
    }

    /// Faults stop: fast and reliable from here on.
    pub fn heal(&mut self) {
        (self.delay_us, self.loss, self.duplicate, self.fail) = (1_000, 0.0, 0.0, 0.0);
    }

    /// How often it has failed over: what was said before the last time reaches nobody.
    pub fn era(&self) -> u64 {
        self.era
    }

    /// What becomes of an event that was said in an earlier era: a publish is answered all the same.
    pub fn outdated(event: LinkEvent) -> Option<LinkEvent> {
        let LinkEvent::Published { token, .. } = event else { return None };
        Some(LinkEvent::Published { token, result: Err(LinkFailure { retry_after_ms: 500 }) })
    }

    /// An event has reached a core.
    pub fn note_told(&mut self, at: CoreAt, event: &LinkEvent) {
        let (room, position) = match event {
            LinkEvent::Read { room, stretch, .. } => (room, stretch.head),
            LinkEvent::Publication { room, epoch, record } => (room, Some(Position { epoch: *epoch, seq: record.seq })),
            _ => return,
        };
        if let Some(Position { epoch, seq }) = position {
            let told = self.told.entry(at).or_default().entry((room.clone(), epoch.0)).or_default();
            *told = seq.max(*told);
        }
    }

    /// What a core was told of is known to nobody there any more.
    fn forget_told(&mut self, at: CoreAt, is_of: impl Fn(&RoomName) -> bool) {
        let Some(told) = self.told.get_mut(&at) else { return };
        for (key, seq) in told.extract_if(.., |(room, _), _| is_of(room)) {
            let gone = self.told_gone.entry(key).or_default();
            *gone = seq.max(*gone);
        }
    }

    /// Takes a request; the queue wants work at the returned time.
    pub fn ask(&mut self, now_us: u64, from: CoreAt, request: LinkRequest) -> (u64, Queue) {
        let name = queue_of(&request, from.core);
        let queue = self.queues.entry((from.node, name.clone())).or_default();
        let after_us = queue.back().map_or(now_us, |waiting| waiting.ready_us);
        let ready_us = (now_us + 1 + self.rng.below(self.delay_us)).max(after_us);
        queue.push_back(Waiting { ready_us, from, request });
        (ready_us, name)
    }

    /// Carries out what is ready of a node's queue.
    pub fn work(&mut self, now_us: u64, node: usize, name: &Queue) -> Vec<Done> {
        let mut done = Vec::new();
        while !self.cut[node] {
            if matches!(name, Queue::Publishes(_)) && !self.unverified.is_empty() {
                break;
            }
            let Some(queue) = self.queues.get_mut(&(node, name.clone())) else { break };
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
            LinkRequest::Open { token, room, count } => {
                self.listeners.insert((room.clone(), from));
                let fresh = self.rng.next() | 1;
                self.rooms.entry(room.clone()).or_insert_with(|| LinkRoom::new(fresh));
                self.answer_newest(from, token, room, count)
            }
            LinkRequest::Renumber { token, room, from: epoch, epoch: next, count } => {
                let held = self.rooms.get_mut(&room).filter(|held| held.epoch == epoch.0);
                let renumbered = held.map(|held| held.renumber(&room, next.0));
                let done = self.answer_newest(from, token, room, count);
                Done { renumbered: renumbered.into_iter().collect(), ..done }
            }
            LinkRequest::Read { token, room, after, count, presence } => {
                let stretch = match self.rooms.get(&room) {
                    Some(held) => {
                        let above = held.records.iter().filter(|record| record.seq > after);
                        Stretch { head: Some(held.position()), records: above.take(count).cloned().collect() }
                    }
                    None => Stretch { head: None, records: Vec::new() },
                };
                let present = presence.then(|| self.present(from, &room));
                self.answer(from, LinkEvent::Read { token, room, stretch, present })
            }
            LinkRequest::Positions { token, rooms } => {
                let head = |room: &RoomName| {
                    let presence = self.crowds.get(room).map_or(0, |crowd| crowd.version);
                    Some(LinkHead { position: self.rooms.get(room)?.position(), presence })
                };
                let heads = rooms.into_iter().map(|room| (room.clone(), head(&room))).collect();
                self.answer(from, LinkEvent::Positions { token, heads })
            }
            LinkRequest::Page(request) => {
                let held = self.rooms.get(&request.room).filter(|held| held.epoch == request.epoch.0);
                let records = held.map_or_else(Vec::new, |held| held.records.iter().collect());
                let page = super::pages::read_page(&request, &records);
                let answer = PageAnswer { token: request.token, room: request.room, result: Ok(page) };
                self.answer(from, LinkEvent::Page(answer))
            }
            LinkRequest::Close { room } => {
                self.listeners.remove(&(room.clone(), from));
                self.forget_told(from, |own| *own == room);
                self.change_presence(from, &room, true, Vec::new())
            }
            LinkRequest::Publish { token, room, record } => self.publish(from, token, room, record),
            LinkRequest::Presence { room, afresh, changes } => self.change_presence(from, &room, afresh, changes),
            LinkRequest::Verified { round } => {
                if round == self.era {
                    self.unverified.remove(&from);
                }
                self.number_again()
            }
        }
    }

    fn answer_newest(&mut self, to: CoreAt, token: u64, room: RoomName, count: usize) -> Done {
        let stretch = match self.rooms.get(&room) {
            Some(held) => {
                let records = held.records.iter().skip(held.records.len().saturating_sub(count)).cloned().collect();
                Stretch { head: Some(held.position()), records }
            }
            None => Stretch { head: None, records: Vec::new() },
        };
        let present = Some(self.present(to, &room));
        self.answer(to, LinkEvent::Read { token, room, stretch, present })
    }

    /// An answer that may be lost: the engine asks again.
    fn answer(&mut self, to: CoreAt, event: LinkEvent) -> Done {
        let lost = self.rng.chance(self.loss);
        let later = if lost { Vec::new() } else { vec![(self.delay(), to, event)] };
        Done { later, ..Done::default() }
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
        let known = known.filter(|_| !std::mem::take(&mut self.forgets_key));
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
        self.tell_all(room, done, |_| LinkEvent::Publication { room: room.clone(), epoch, record: record.clone() });
    }

    /// Tells every core that listens to a room, as well as the wire allows.
    fn tell_all(&mut self, room: &RoomName, done: &mut Done, event: impl Fn(CoreAt) -> LinkEvent) {
        let listeners: Vec<CoreAt> =
            self.listeners.iter().filter(|(name, _)| name == room).map(|(_, listener)| *listener).collect();
        for listener in listeners {
            let copies = 1 + usize::from(self.rng.chance(self.duplicate));
            for _ in 0..copies {
                if !self.cut[listener.node] && !self.rng.chance(self.loss) {
                    done.later.push((self.delay(), listener, event(listener)));
                }
            }
        }
    }

    /// Who is in a room on other lives than the one that asks.
    fn present(&self, to: CoreAt, room: &RoomName) -> Present {
        let Some(crowd) = self.crowds.get(room) else { return Present::default() };
        let own = life_of(to.node, to.life);
        let others = crowd.by_life.iter().filter(|(life, _)| **life != own);
        let counts = others.flat_map(|(life, users)| {
            users.iter().map(|(user, (connections, away))| {
                (*life, UserCounts { user: user.clone(), connections: *connections, away: *away })
            })
        });
        Present { version: crowd.version, counts: counts.collect() }
    }

    /// A life tells who is in a room there; `afresh`: all of them.
    fn change_presence(&mut self, from: CoreAt, room: &RoomName, afresh: bool, changes: Vec<UserCounts>) -> Done {
        let mut done = Done::default();
        let life = life_of(from.node, from.life);
        let crowd = self.crowds.entry(room.clone()).or_default();
        let own = crowd.by_life.entry(life).or_default();
        let mut changed: BTreeMap<UserName, (u32, u32)> = BTreeMap::new();
        if afresh {
            changed.extend(std::mem::take(own).into_keys().map(|user| (user, (0, 0))));
        }
        changed.extend(changes.into_iter().map(|counts| (counts.user, (counts.connections, counts.away))));
        own.extend(changed.clone());
        own.retain(|_, (connections, _)| *connections > 0);
        if own.is_empty() {
            crowd.by_life.remove(&life);
        }
        if changed.is_empty() {
            return done;
        }
        crowd.version += 1;
        let version = crowd.version;
        let changes = |(user, (connections, away)): (UserName, (u32, u32))| UserCounts { user, connections, away };
        let changes: Vec<UserCounts> = changed.into_iter().map(changes).collect();
        self.tell_all(room, &mut done, |to| {
            let changes = if life_of(to.node, to.life) == life { Vec::new() } else { changes.clone() };
            LinkEvent::Presence { room: room.clone(), life, version, changes }
        });
        done
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
                    LinkRequest::Publish { .. } | LinkRequest::Presence { .. } | LinkRequest::Close { .. } => {
                        queue.push_back(Waiting { ready_us, from, request });
                    }
                    _ if self.rng.chance(0.5) => {}
                    request => queue.push_back(Waiting { ready_us, from, request }),
                }
            }
        }
        later
    }

    /// Lets a node reach the link again; its queues want work now, and each of its cores hears `Restored`.
    pub fn restore(&mut self, node: usize) -> Vec<Queue> {
        self.cut[node] = false;
        self.queues.keys().filter(|(owner, _)| *owner == node).map(|(_, queue)| queue.clone()).collect()
    }

    /// Whether a node is cut off.
    pub fn is_cut(&self, node: usize) -> bool {
        self.cut[node]
    }

    /// A restart that loses all data.
    pub fn forget(&mut self) {
        self.rooms.clear();
        self.crowds.clear();
    }

    /// Some rooms lose their newest records and keep their epochs. Returns those that did, with the epoch and the head.
    pub fn lose_newest(&mut self) -> Vec<(RoomName, u64, u64)> {
        let mut lost = Vec::new();
        for (name, held) in &mut self.rooms {
            if held.head > 0 && self.rng.chance(0.6) {
                held.head -= self.rng.range(1, 6.min(held.head));
                held.records.retain(|record| record.seq <= held.head);
                held.keys.retain(|_, seq| *seq <= held.head);
                lost.push((name.clone(), held.epoch, held.head));
            }
        }
        lost
    }

    /// A failover to a replica that lacks the newest records of some rooms. It is noticed: nothing that was said before
    /// arrives any more, and nothing is numbered until all these cores have compared their rooms.
    pub fn fail_over(&mut self, alive: impl IntoIterator<Item = CoreAt>) -> Vec<(RoomName, u64, u64)> {
        self.era += 1;
        self.unverified.extend(alive);
        let lost = self.lose_newest();
        for (room, epoch, head) in &lost {
            let before = self.rolled_back.insert(room.clone(), (*epoch, *head));
            if let Some((_, earlier)) = before.filter(|(earlier, _)| earlier == epoch) {
                self.rolled_back.insert(room.clone(), (*epoch, earlier.min(*head)));
            }
        }
        lost
    }

    /// Numbers again if every core has compared its rooms.
    pub fn number_again(&mut self) -> Done {
        let mut done = Done::default();
        if !self.unverified.is_empty() {
            return done;
        }
        for (room, (epoch, head)) in std::mem::take(&mut self.rolled_back) {
            let known = self.told_gone.get(&(room.clone(), epoch)).copied().unwrap_or(0);
            let fresh = self.rng.next() | 1;
            if let Some(held) = self.rooms.get_mut(&room).filter(|held| held.epoch == epoch && known > head) {
                done.renumbered.push(held.renumber(&room, fresh));
            }
        }
        let publishes = self.queues.keys().filter(|(_, queue)| matches!(queue, Queue::Publishes(_)));
        done.ready = publishes.cloned().collect();
        done
    }

    /// A node's life has ended: nobody listens and nobody waits there any more. What was on the wire still happens.
    pub fn end_life(&mut self, node: usize) {
        self.listeners.retain(|(_, listener)| listener.node != node);
        for (_, queue) in self.queues.iter_mut().filter(|((owner, _), _)| *owner == node) {
            queue.retain(|waiting| matches!(waiting.request, LinkRequest::Publish { .. }));
        }
        let gone: Vec<CoreAt> = self.told.keys().filter(|at| at.node == node).copied().collect();
        for at in gone {
            self.forget_told(at, |_| true);
        }
    }

    /// The lease of a life that has ended runs out: its users are there no more, and nobody waits for its cores.
    pub fn end_lease(&mut self, node: usize, life: u32) -> Done {
        for crowd in self.crowds.values_mut() {
            crowd.by_life.remove(&life_of(node, life));
        }
        self.unverified.retain(|at| (at.node, at.life) != (node, life));
        self.number_again()
    }

    /// What the other machines hear when a lease has run out.
    pub fn life_ended(node: usize, life: u32) -> LinkEvent {
        LinkEvent::LifeEnded { life: life_of(node, life) }
    }

    /// Whether anybody is still present by a life.
    pub fn is_present(&self, node: usize, life: u32) -> bool {
        self.crowds.values().any(|crowd| crowd.by_life.contains_key(&life_of(node, life)))
    }

    /// Whether a failover could lose something that matters.
    pub fn holds_records(&self) -> bool {
        self.rooms.values().any(|held| held.head > 6)
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

    fn renumber(&mut self, name: &RoomName, to: u64) -> (RoomName, u64, u64, u64) {
        let from = std::mem::replace(&mut self.epoch, to);
        (name.clone(), from, to, self.head)
    }
}

fn queue_of(request: &LinkRequest, core: usize) -> Queue {
    match request {
        LinkRequest::Open { room, .. }
        | LinkRequest::Read { room, .. }
        | LinkRequest::Renumber { room, .. }
        | LinkRequest::Presence { room, .. }
        | LinkRequest::Close { room } => Queue::Room(room.clone()),
        LinkRequest::Page(request) => Queue::Room(request.room.clone()),
        LinkRequest::Publish { room, .. } => Queue::Publishes(room.clone()),
        LinkRequest::Positions { .. } | LinkRequest::Verified { .. } => Queue::Core(core),
    }
}
