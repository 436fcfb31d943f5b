//! A store and a link that misbehave as badly as their contracts allow.

use std::collections::{BTreeMap, VecDeque};

use super::*;

/// Keeps records in order, fails at random, and answers in order and late.
#[derive(Default)]
pub(super) struct StoreModel {
    pub is_calm: bool,
    epoch: Option<Epoch>,
    records: Vec<Record>,
    requests: VecDeque<StoreRequest>,
    answers: VecDeque<StoreEvent>,
}

impl StoreModel {
    pub fn head(&self) -> Position {
        Position { epoch: self.epoch.expect("it was loaded"), seq: self.records.len() as u64 }
    }

    pub fn step(&mut self, world: &mut World, random: &mut Random) {
        self.requests.extend(world.store.drain(..));
        if random.below(3) > 0
            && let Some(request) = self.requests.pop_front()
        {
            self.carry_out(request, random);
        }
        if random.below(3) > 0
            && let Some(answer) = self.answers.pop_front()
        {
            world.store_event(answer);
        }
    }

    fn carry_out(&mut self, request: StoreRequest, random: &mut Random) {
        match request {
            StoreRequest::Load { attempt, room, count, keys_since, epoch } => {
                if !self.is_calm && random.below(4) == 0 {
                    return;
                }
                let epoch = *self.epoch.get_or_insert(epoch);
                let from = self.records.len().saturating_sub(count);
                let head = Some(Position { epoch, seq: self.records.len() as u64 });
                let stretch = Stretch { head, records: self.records[from..].to_vec() };
                let keys = kept_keys(&self.records, keys_since);
                self.answers.push_back(StoreEvent::Loaded {
                    attempt,
                    room,
                    stretch,
                    first_seq: 1,
                    keys,
                    created: None,
                });
            }
            StoreRequest::Append { attempt, room, epoch, record } => {
                let seq = record.seq;
                let fits = self.epoch == Some(epoch) && seq == self.records.len() as u64 + 1;
                let outcome = if self.is_calm { 99 } else { random.below(30) };
                // Outcome 1: on disk, but the store could not report it.
                if fits && outcome != 0 {
                    self.records.push(record);
                }
                self.answers.push_back(if fits && outcome > 1 {
                    StoreEvent::Committed { attempt, room, epoch, seq }
                } else {
                    StoreEvent::Failed { attempt, room, epoch, seq, retry_after_ms: 5 }
                });
            }
            StoreRequest::Ask { .. } => panic!("the owner half asks for rooms alone"),
            StoreRequest::Page(request) => {
                if self.is_calm || random.below(4) > 0 {
                    let held = if self.epoch == Some(request.epoch) { &self.records[..] } else { &[] };
                    let result =
                        if self.is_calm || random.below(8) > 0 { Ok(read_page(&request, held)) } else { Err(5) };
                    let PageRequest { token, room, .. } = request;
                    self.answers.push_back(StoreEvent::Page(PageAnswer { token, room, result }));
                }
            }
        }
    }
}

/// The page of what is held, in order, that was asked for.
fn read_page(request: &PageRequest, held: &[Record]) -> RecordPage {
    let PageRequest { after, before, count, .. } = *request;
    let first_seq = held.first().map(|record| record.seq);
    let mut records: Vec<Record> =
        held.iter().filter(|record| Some(record.seq) > after && record.seq < before).cloned().collect();
    match after {
        Some(_) => records.truncate(count),
        None => drop(records.drain(..records.len().saturating_sub(count))),
    }
    RecordPage { first_seq, records }
}

fn kept_keys(records: &[Record], since: u64) -> Vec<KeptKey> {
    let recent = records.iter().filter(|record| record.at >= since);
    let kept = recent.filter_map(|record| {
        let Record { seq, at, from, key, .. } = record.clone();
        Some(KeptKey { from, key: key?, seq, at })
    });
    kept.collect()
}

/// Records that a read still returns.
const KEPT: u64 = 40;

/// Numbers and keeps records for this machine and another one. Loses, repeats and reorders its events, and restarts.
pub(super) struct LinkModel {
    pub is_calm: bool,
    epoch: u64,
    records: Vec<Record>,
    is_open: bool,
    events: Vec<LinkEvent>,
    /// Who is there on the other machine.
    elsewhere: BTreeMap<UserName, u32>,
    version: u64,
}

impl LinkModel {
    pub fn new() -> Self {
        let (records, events, elsewhere) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { is_calm: false, epoch: 500, records, is_open: false, events, elsewhere, version: 0 }
    }

    pub fn head(&self) -> Position {
        Position { epoch: Epoch(self.epoch), seq: self.records.len() as u64 }
    }

    pub fn step(&mut self, world: &mut World, random: &mut Random) {
        if world.owner.settings.numbering == NumberingMode::Own {
            return;
        }
        for request in std::mem::take(&mut world.link) {
            self.carry_out(request, random);
        }
        if !self.is_calm {
            self.misbehave(random);
        }
        if random.below(2) == 0 && !self.events.is_empty() {
            let at = if self.is_calm { 0 } else { random.below(self.events.len() as u64) as usize };
            let event = self.events.remove(at);
            if !self.is_calm && random.below(8) == 0 {
                self.events.extend(again(&event));
            }
            let is_lost = !self.is_calm && random.below(8) == 0 && !matches!(event, LinkEvent::Published { .. });
            if !is_lost {
                world.link_event(event);
            }
        }
    }

    fn misbehave(&mut self, random: &mut Random) {
        match random.below(300) {
            0..20 => {
                let data = Bytes::from(format!("\"elsewhere {}\"", random.next_u64()));
                self.number(Record { data, ..record(0, 99) });
            }
            20 => {
                self.epoch += 1;
                self.records.clear();
            }
            21 => self.events.push(LinkEvent::Restored { round: 1 }),
            22..30 => {
                let (user, connections) = (user(90 + random.below(3) as u32), random.below(3) as u32);
                self.elsewhere.insert(user.clone(), connections);
                self.tell(room(), 2, vec![self.counts(&user, connections)]);
            }
            30 => self.roll_back(random.below(3) as usize),
            _ => {}
        }
    }

    /// A failover that has lost the newest records, and nothing else.
    fn roll_back(&mut self, count: usize) {
        self.records.truncate(self.records.len().saturating_sub(count));
        self.events.retain_mut(|event| {
            let LinkEvent::Published { result, .. } = event else { return false };
            *result = Err(LinkFailure { retry_after_ms: 5 });
            true
        });
        self.events.push(LinkEvent::Restored { round: 2 });
    }

    fn carry_out(&mut self, request: LinkRequest, random: &mut Random) {
        let (head, kept) = (self.head(), self.head().seq.saturating_sub(KEPT));
        match request {
            LinkRequest::Open { token, room, count } => {
                self.is_open = true;
                self.open(token, room, count);
            }
            LinkRequest::Renumber { token, room, from, epoch, count } => {
                if self.epoch == from.0 {
                    self.epoch = epoch.0;
                }
                self.open(token, room, count);
            }
            LinkRequest::Read { token, room, after, count, presence } => {
                let from = kept.max(after).min(head.seq);
                let records = self.records[from as usize..].iter().take(count).cloned().collect();
                let stretch = Stretch { head: Some(head), records };
                let present = presence.then(|| self.present());
                self.events.push(LinkEvent::Read { token, room, stretch, present });
            }
            LinkRequest::Positions { token, rooms } => {
                let head = LinkHead { position: head, presence: self.version };
                let heads = rooms.into_iter().map(|room| (room, Some(head))).collect();
                self.events.push(LinkEvent::Positions { token, heads });
            }
            LinkRequest::Presence { room, .. } => self.tell(room, 1, Vec::new()),
            LinkRequest::Verified { .. } => {}
            LinkRequest::Close { .. } => self.is_open = false,
            LinkRequest::Page(request) => {
                let held = if request.epoch == head.epoch { &self.records[kept as usize..] } else { &[] };
                let result = Ok(read_page(&request, held));
                let PageRequest { token, room, .. } = request;
                self.events.push(LinkEvent::Page(PageAnswer { token, room, result }));
            }
            LinkRequest::Publish { token, record, .. } => {
                let result = if self.is_calm || random.below(10) > 0 {
                    Ok((self.number(record), false))
                } else {
                    Err(LinkFailure { retry_after_ms: 5 })
                };
                self.events.push(LinkEvent::Published { token, result });
            }
        }
    }

    fn open(&mut self, token: u64, room: RoomName, count: usize) {
        let head = self.head();
        let from = head.seq.saturating_sub(KEPT.min(count as u64));
        let stretch = Stretch { head: Some(head), records: self.records[from as usize..].to_vec() };
        let present = Some(self.present());
        self.events.push(LinkEvent::Read { token, room, stretch, present });
    }

    fn present(&self) -> Present {
        let counts = self.elsewhere.iter().filter(|(_, connections)| **connections > 0);
        let counts = counts.map(|(user, connections)| (2, self.counts(user, *connections))).collect();
        Present { version: self.version, counts }
    }

    fn counts(&self, user: &UserName, connections: u32) -> UserCounts {
        UserCounts { user: user.clone(), connections, away: 0 }
    }

    fn tell(&mut self, room: RoomName, life: u64, changes: Vec<UserCounts>) {
        self.version += 1;
        if self.is_open {
            self.events.push(LinkEvent::Presence { room, life, version: self.version, changes });
        }
    }

    fn number(&mut self, record: Record) -> Position {
        let record = Record { seq: self.records.len() as u64 + 1, ..record };
        self.records.push(record.clone());
        if self.is_open {
            self.events.push(LinkEvent::Publication { room: room(), epoch: Epoch(self.epoch), record });
        }
        self.head()
    }
}

fn again(event: &LinkEvent) -> Option<LinkEvent> {
    match event {
        LinkEvent::Read { token, room, stretch, present } => {
            let (room, stretch, present) = (room.clone(), stretch.clone(), present.clone());
            Some(LinkEvent::Read { token: *token, room, stretch, present })
        }
        LinkEvent::Publication { room, epoch, record } => {
            Some(LinkEvent::Publication { room: room.clone(), epoch: *epoch, record: record.clone() })
        }
        LinkEvent::Page(page) => Some(LinkEvent::Page(page.clone())),
        LinkEvent::Presence { room, life, version, changes } => {
            let (room, life, version, changes) = (room.clone(), *life, *version, changes.clone());
            Some(LinkEvent::Presence { room, life, version, changes })
        }
        LinkEvent::Positions { .. }
        | LinkEvent::LifeEnded { .. }
        | LinkEvent::Published { .. }
        | LinkEvent::Restored { .. } => None,
    }
}
