//! Random clients that join, publish, leave, stall, vanish in the middle of a frame, come back and recover by position,
//! in both forms of the protocol. Each checks order, holes and duplicates by seq, `gap` and `joined`; together they
//! check that all have seen the same rooms ([`truth`]).

mod client;
#[cfg(test)]
mod tests;
mod truth;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use roomring::wire::frame::Opcode;

use super::{Actor, Complaints, Findings, RECOVERABLE, RETRY_NS};
use crate::clock::{MILLISECOND, SECOND};
use crate::dialect::{Position, Published, Said, binary, json};
use crate::fleet::handshake::Request;
use crate::fleet::{Behaviour, Ended, Fleet, Leaving};
use crate::measure::histogram::Durations;
use crate::measure::sequence::{Arrival, Sequence};
use crate::payload::Stamp;
use crate::plan::{Phase, Plan, Soak as Mixture};
use client::{Client, Membership, Stage};
use truth::{Sender, Truth};

/// Rooms that a client is in at most.
const ROOMS_PER_CLIENT_MAX: usize = 4;

/// How often a draining soak looks who is behind.
const LOOK_NS: u64 = 20 * MILLISECOND;

/// The scenario.
pub struct Soak {
    plan: Plan,
    mixture: Mixture,
    clients: Vec<Client>,
    truth: Truth,
    names: Vec<String>,
    phase: Phase,
    next_action: u64,
    resumes: BinaryHeap<Reverse<(u64, u32)>>,
    looked: u64,
    message: Vec<u8>,
    recovery: Durations,
    complaints: Complaints,
}

impl Soak {
    /// Clients and rooms as planned.
    #[must_use]
    pub fn new(plan: Plan, mixture: Mixture) -> Self {
        let clients = (0..plan.clients).map(|client| Client { binary: client % 2 == 1, ..Client::default() });
        Soak {
            clients: clients.collect(),
            truth: Truth::new(mixture.rooms),
            names: (0..mixture.rooms).map(|room| plan.room_name(room)).collect(),
            phase: Phase::Connect,
            next_action: u64::MAX,
            resumes: BinaryHeap::new(),
            looked: 0,
            message: Vec::new(),
            recovery: Durations::default(),
            complaints: Complaints::default(),
            mixture,
            plan,
        }
    }

    /// A room, the first ones more often: some are crowded.
    fn draw_room(&self, fleet: &mut Fleet) -> u32 {
        let draw = fleet.rng.f64();
        ((draw * draw * f64::from(self.mixture.rooms)) as u32).min(self.mixture.rooms - 1)
    }

    fn send(&mut self, fleet: &mut Fleet, client: u32) {
        let opcode = if self.clients[client as usize].binary { Opcode::Binary } else { Opcode::Text };
        fleet.queue(client, opcode, &self.message);
    }

    fn join(&mut self, fleet: &mut Fleet, client: u32, room: u32, asked: Option<Position>) {
        let state = &mut self.clients[client as usize];
        if state.membership(room).is_some() {
            return;
        }
        self.message.clear();
        let name = &self.names[room as usize];
        match state.binary {
            true => binary::write_join(name, asked.as_ref(), &mut self.message),
            false => json::write_join(name, asked.as_ref(), &mut self.message),
        }
        let sequence = Sequence::default();
        state.memberships.push(Membership { room, stage: Stage::Joining, asked, sequence });
        self.send(fleet, client);
    }

    fn leave(&mut self, fleet: &mut Fleet, client: u32) {
        let state = &mut self.clients[client as usize];
        let Some(membership) = state.memberships.iter_mut().find(|membership| membership.stage == Stage::In) else {
            return;
        };
        membership.stage = Stage::Leaving;
        let name = &self.names[membership.room as usize];
        self.message.clear();
        match state.binary {
            true => binary::write_leave(name, &mut self.message),
            false => json::write_leave(name, &mut self.message),
        }
        self.send(fleet, client);
    }

    fn publish(&mut self, fleet: &mut Fleet, client: u32) {
        let state = &mut self.clients[client as usize];
        let inside: Vec<usize> =
            (0..state.memberships.len()).filter(|&index| state.memberships[index].stage == Stage::In).collect();
        let Some(&index) = fleet.rng.choice(&inside) else { return };
        let sender = Sender { client, generation: state.generation };
        // Now and then a burst, of all sizes up to the plan's.
        for _ in 0..if fleet.rng.u8(..8) == 0 { 8 } else { 1 } {
            let size = fleet.rng.usize(..=self.plan.payload_bytes);
            let number = self.truth.next_number(sender);
            let state = &mut self.clients[client as usize];
            let room = state.memberships[index].room;
            state.unanswered.push_back((room, number));
            let stamp = Stamp { number, room };
            let name = &self.names[room as usize];
            self.message.clear();
            match state.binary {
                true => binary::write_publish(name, stamp, size, &mut self.message),
                false => json::write_publish(name, stamp, size, true, &mut self.message),
            }
            fleet.counters.published += 1;
            self.send(fleet, client);
        }
    }

    fn go_away(&mut self, client: u32) {
        let truth = &self.truth;
        self.clients[client as usize].go_down(|room| truth.epoch(room).map(str::to_owned));
    }

    fn come_back(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        if self.phase < Phase::Leave {
            // Some at once, before the server can have noticed; some after the presence grace.
            let away = if fleet.rng.bool() { fleet.rng.u64(..20 * MILLISECOND) } else { fleet.rng.u64(..4 * SECOND) };
            self.clients[client as usize].returning_since = Some(now + away);
            fleet.connect_at(client, now + away);
        }
    }

    fn act(&mut self, fleet: &mut Fleet, now: u64) {
        let client = fleet.rng.u32(..self.plan.clients);
        let state = &self.clients[client as usize];
        if !state.up || state.stalled {
            return;
        }
        match fleet.rng.u8(..100) {
            0..60 => self.publish(fleet, client),
            60..72 if state.memberships.len() < ROOMS_PER_CLIENT_MAX => {
                let room = self.draw_room(fleet);
                self.join(fleet, client, room, None);
            }
            60..72 => self.leave(fleet, client),
            72..80 => self.leave(fleet, client),
            80..84 => {
                self.clients[client as usize].stalled = true;
                fleet.stall(client);
                let wait = fleet.rng.u64(10 * MILLISECOND..500 * MILLISECOND);
                self.resumes.push(Reverse((now + wait, client)));
            }
            84..88 => {
                // What still comes is not looked at; `ended` tells when the server has agreed.
                fleet.close(client);
                self.go_away(client);
            }
            _ => {
                let leaving = *fleet.rng.choice(&[Leaving::Fin, Leaving::Reset, Leaving::MidFrame]).expect("three");
                fleet.vanish(client, leaving);
                self.go_away(client);
                self.come_back(fleet, client, now);
            }
        }
    }

    fn wrong(&mut self, fleet: &mut Fleet, client: u32, what: impl FnOnce() -> String) {
        fleet.counters.wrong += 1;
        let form = if self.clients[client as usize].binary { "binary" } else { "JSON" };
        self.complaints.add(|| format!("client {client} ({form}): {}", what()));
    }

    fn room_named(&self, name: &str) -> Option<u32> {
        let room = name.rsplit('-').next()?.parse().ok()?;
        (self.names.get(room as usize).map(String::as_str) == Some(name)).then_some(room)
    }

    fn deliver(&mut self, fleet: &mut Fleet, client: u32, published: &Published) {
        fleet.counters.delivered += 1;
        let seq = published.seq;
        let room = self.room_named(&published.room);
        let membership = room.and_then(|room| self.clients[client as usize].membership(room));
        let (Some(room), Some(membership)) = (room, membership) else {
            fleet.counters.misrouted += 1;
            self.complaints.add(|| format!("client {client} got seq {seq} of {}: not a member", published.room));
            return;
        };
        if membership.stage == Stage::Joining {
            return self.wrong(fleet, client, || format!("room {room}: seq {seq} before the joined"));
        }
        let expected = membership.sequence.next();
        match membership.sequence.observe(seq) {
            Arrival::InOrder => {}
            Arrival::AfterHole(missing) => {
                fleet.counters.holes += missing;
                self.complaints.add(|| format!("client {client}, room {room}: seq {seq} in place of {expected}"));
            }
            Arrival::Late => fleet.counters.out_of_order += 1,
            Arrival::Duplicate => {
                fleet.counters.duplicated += 1;
                self.complaints.add(|| format!("client {client}, room {room}: seq {seq} again, not {expected}"));
            }
        }
        // The stamp may stand behind the quote of a JSON string.
        if let Err(what) = self.truth.check(room, seq, Stamp::find(&published.data, &mut 0)) {
            self.wrong(fleet, client, || what);
        }
    }

    fn joined(&mut self, fleet: &mut Fleet, client: u32, now: u64, joined: Said) {
        let Said::Joined { room, epoch, seq, recovered, messages, following } = joined else { return };
        let room_index = self.room_named(&room);
        let membership = room_index.and_then(|room| self.clients[client as usize].membership(room));
        let (Some(room), Some(membership)) = (room_index, membership) else {
            return self.wrong(fleet, client, || format!("joined {room} unasked"));
        };
        fleet.counters.joins += 1;
        if membership.stage != Stage::Joining {
            return self.wrong(fleet, client, || format!("room {room}: joined twice"));
        }
        membership.stage = Stage::In;
        let told = messages.len() as u64 + u64::from(following);
        // Whether recovered or not, what is told ends at the head without a hole.
        let first = (seq + 1).saturating_sub(told);
        membership.sequence = Sequence::starting_at(first);
        let asked = membership.asked.take();
        if let Some(Position { seq: last, .. }) = &asked {
            let last = *last;
            match recovered {
                true => fleet.counters.recovered += 1,
                false => fleet.counters.not_recovered += 1,
            }
            if recovered && first != last + 1 {
                let what = || format!("room {room}: recovered from {first} in place of {}, head {seq}", last + 1);
                self.wrong(fleet, client, what);
            }
            if !recovered && seq.saturating_sub(last) <= RECOVERABLE {
                self.wrong(fleet, client, || format!("room {room}: {last} not recovered, head {seq}"));
            }
            if last > seq {
                self.wrong(fleet, client, || format!("room {room}: head {seq} behind {last}, which was received"));
            }
        } else if recovered {
            self.wrong(fleet, client, || format!("room {room}: recovered, but nothing was asked"));
        }
        if let Err(what) = self.truth.check_epoch(room, &epoch) {
            self.wrong(fleet, client, || what);
        }
        for published in &messages {
            self.deliver(fleet, client, published);
        }
        self.settle(fleet, client, now);
    }

    fn settle(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        let state = &mut self.clients[client as usize];
        if !state.is_settled() {
            return;
        }
        if let Some(since) = state.returning_since.take().filter(|_| self.phase == Phase::Measure) {
            self.recovery.record(now.saturating_sub(since));
        }
        if !std::mem::replace(&mut state.settled, true) {
            fleet.counters.ready += 1;
        }
    }

    fn accepted(&mut self, fleet: &mut Fleet, client: u32, room: &str, seq: Option<u64>) {
        let room_index = self.room_named(room);
        let state = &mut self.clients[client as usize];
        let number = room_index.and_then(|room| state.take_unanswered(room));
        match (room_index, number, seq) {
            _ if state.unsure => {}
            (Some(room), Some(number), Some(seq)) => {
                if let Err(what) = self.truth.check(room, seq, Some(Stamp { number, room })) {
                    self.wrong(fleet, client, || format!("published: {what}"));
                }
            }
            _ => self.wrong(fleet, client, || format!("{room}: a publish was accepted that was not sent")),
        }
    }

    /// Draining: deliveries that are still owed to members.
    fn look(&mut self, fleet: &mut Fleet) {
        let mut behind = 0;
        for client in &self.clients {
            behind += u64::from(!client.up && client.returning_since.is_some());
            behind += client.unanswered.len() as u64 * u64::from(!client.unsure);
            for membership in &client.memberships {
                behind += match membership.stage {
                    Stage::In => (self.truth.head(membership.room) + 1).saturating_sub(membership.sequence.next()),
                    Stage::Joining | Stage::Leaving => 1,
                };
            }
        }
        fleet.counters.outstanding = behind;
    }

    fn plan_next(&mut self, fleet: &mut Fleet) {
        let resume = self.resumes.peek().map_or(u64::MAX, |Reverse((at, _))| *at);
        fleet.set_deadline(resume.min(self.next_action));
    }
}

impl Behaviour for Soak {
    fn request(&mut self, client: u32) -> Request {
        let target = client as usize % self.plan.targets.len();
        let path = format!("{}?user={}", self.plan.targets[target].path, self.plan.user_name(client));
        let binary = self.clients[client as usize].binary;
        let subprotocol = if binary { "roomring.v1.binary" } else { "roomring.v1.json" };
        Request { target, path, subprotocol: Some(subprotocol), receive_bytes: None }
    }

    fn opened(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        let state = &mut self.clients[client as usize];
        state.up = true;
        state.unsure = false;
        state.generation += 1;
        for (room, position) in std::mem::take(&mut state.remembered) {
            self.join(fleet, client, room, position);
        }
        self.settle(fleet, client, now);
    }

    fn message(&mut self, fleet: &mut Fleet, client: u32, message: &[u8], now: u64) {
        // Pushes come in the form of the connection, replies in that of the command: here they are the same.
        let said = if self.clients[client as usize].binary { binary::parse(message) } else { json::parse(message) };
        match said {
            Said::Message(published) => self.deliver(fleet, client, &published),
            joined @ Said::Joined { .. } => self.joined(fleet, client, now, joined),
            Said::Left { room } => {
                let room = self.room_named(&room);
                let state = &mut self.clients[client as usize];
                let place = state
                    .memberships
                    .iter()
                    .position(|membership| Some(membership.room) == room && membership.stage == Stage::Leaving);
                match place {
                    Some(place) => drop(state.memberships.remove(place)),
                    None => self.wrong(fleet, client, || format!("left {room:?} unasked")),
                }
            }
            Said::Accepted { room, seq } => self.accepted(fleet, client, &room, seq),
            Said::Gap { room, from, to } => {
                let room = self.room_named(&room);
                if let Some(membership) = room.and_then(|room| self.clients[client as usize].membership(room)) {
                    fleet.counters.gaps_announced += membership.sequence.announce_gap(from, to);
                }
            }
            Said::Error { code, message } => {
                fleet.counters.errors += 1;
                self.clients[client as usize].unsure = true;
                self.complaints.add(|| format!("client {client}: refused: {code}: {message}"));
            }
            Said::Garbage(what) => self.wrong(fleet, client, || format!("not understood: {what}")),
            Said::Reconnect | Said::Other => fleet.counters.other_messages += 1,
        }
    }

    fn ended(&mut self, fleet: &mut Fleet, client: u32, ended: Ended, now: u64) {
        if self.phase == Phase::Leave {
            return;
        }
        if ended != Ended::Asked {
            if self.clients[client as usize].stalled && ended == Ended::ByServer(Some(4413)) {
                fleet.counters.stalled_closed += 1;
            } else {
                fleet.counters.disconnected += 1;
                self.complaints.add(|| format!("client {client}: connection ended: {ended:?}"));
            }
        }
        self.go_away(client);
        self.come_back(fleet, client, now);
    }

    fn failed(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        if self.phase < Phase::Leave {
            fleet.connect_at(client, now + RETRY_NS);
        }
    }

    fn due(&mut self, fleet: &mut Fleet, now: u64) {
        while let Some(Reverse((_, client))) = self.resumes.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            self.resumes.pop();
            self.clients[client as usize].stalled = false;
            fleet.resume(client);
        }
        while self.phase.is_running() && self.next_action <= now {
            self.act(fleet, now);
            let gap = -(1.0 - fleet.rng.f64()).ln() / self.mixture.actions_per_second * 1e9;
            self.next_action += (gap as u64).max(1);
        }
        self.plan_next(fleet);
    }

    fn turn_ended(&mut self, fleet: &mut Fleet, now: u64) {
        if self.phase == Phase::Drain && now.saturating_sub(self.looked) >= LOOK_NS {
            self.looked = now;
            self.look(fleet);
        }
    }
}

impl Actor for Soak {
    fn enter(&mut self, fleet: &mut Fleet, phase: Phase, now: u64) {
        let before = std::mem::replace(&mut self.phase, phase);
        match phase {
            Phase::Connect => {
                for client in 0..self.plan.clients {
                    for _ in 0..fleet.rng.usize(1..=ROOMS_PER_CLIENT_MAX - 1) {
                        let room = self.draw_room(fleet);
                        self.clients[client as usize].remembered.push((room, None));
                    }
                    fleet.connect(client);
                }
            }
            Phase::Warm | Phase::Measure if !before.is_running() => {
                self.next_action = now;
                self.plan_next(fleet);
            }
            Phase::Warm | Phase::Measure => {}
            Phase::Drain => {
                self.next_action = u64::MAX;
                for Reverse((_, client)) in std::mem::take(&mut self.resumes) {
                    self.clients[client as usize].stalled = false;
                    fleet.resume(client);
                }
                self.look(fleet);
            }
            Phase::Leave => {
                // What is still owed now will not come.
                self.look(fleet);
                if fleet.counters.outstanding > 0 {
                    let owed = fleet.counters.outstanding;
                    fleet.counters.holes += owed;
                    self.complaints.add(|| format!("{owed} deliveries or replies never came"));
                }
                for client in 0..self.plan.clients {
                    match fleet.rng.u8(..4) {
                        0 => fleet.vanish(client, Leaving::MidFrame),
                        1 => fleet.vanish(client, Leaving::Reset),
                        _ => {}
                    }
                }
                fleet.close_all();
            }
        }
    }

    fn finish(&mut self, _fleet: &mut Fleet) -> Findings {
        let mut findings = Findings::default();
        findings.add("recovery", &self.recovery);
        findings.complaints = self.complaints.take();
        findings
    }
}
