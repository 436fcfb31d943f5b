//! Owns `durable`: every client publishes to its room in an open loop and waits for the answer, which promises that the
//! server keeps the message. After the server was killed and started again, or at the end, the messages are read back
//! ([`check`]) and compared to the answers ([`account`]). Never kills the server: the parent does.

mod account;
mod check;
mod stage;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use roomring::wire::frame::Opcode;

use super::schedule::ArrivalSchedule;
use super::{Actor, Complaints, Findings, RETRY_NS};
use crate::dialect::{Said, json};
use crate::fleet::handshake::OpeningRequest;
use crate::fleet::{Behavior, ConnectionEnd, Fleet};
use crate::measure::histogram::Durations;
use crate::payload::Stamp;
use crate::plan::{DurableLoad, RunPhase, WorkerPlan};
use account::{RoomAccount, Tally};
use stage::{CheckDurations, CheckStage};

/// The scenario.
pub struct DurableActor {
    plan: WorkerPlan,
    load: DurableLoad,
    rooms: Vec<DurableRoom>,
    publishers: Vec<Publisher>,
    schedule: ArrivalSchedule,
    phase: RunPhase,
    stage: CheckStage,
    tally: Tally,
    message: Vec<u8>,
    latency: Durations,
    lag: Durations,
    checks: CheckDurations,
    complaints: Complaints,
}

struct DurableRoom {
    name: String,
    account: RoomAccount,
}

#[derive(Default)]
struct Publisher {
    joined: bool,
    was_ready: bool,
    in_flight: VecDeque<InFlight>,
}

/// A publish without an answer.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    number: u32,
    scheduled: u64,
    measured: bool,
}

impl DurableActor {
    /// Creates rooms of the plan's size, whose members all publish.
    #[must_use]
    pub fn new(plan: WorkerPlan, load: DurableLoad) -> Self {
        let room = |room: u32| {
            let members = plan.room_size.min(plan.clients - room * plan.room_size);
            DurableRoom { name: plan.room_name(room), account: RoomAccount::new(room, members, load.history) }
        };
        DurableActor {
            rooms: (0..plan.clients.div_ceil(plan.room_size)).map(room).collect(),
            publishers: (0..plan.clients).map(|_| Publisher::default()).collect(),
            schedule: ArrivalSchedule::default(),
            phase: RunPhase::Connect,
            stage: CheckStage::default(),
            tally: Tally::default(),
            message: Vec::new(),
            latency: Durations::default(),
            lag: Durations::default(),
            checks: CheckDurations::default(),
            complaints: Complaints::default(),
            plan,
            load,
        }
    }

    fn room_of(&self, client: u32) -> u32 {
        client / self.plan.room_size
    }

    fn wrong(&mut self, fleet: &mut Fleet, what: String) {
        fleet.counters.wrong += 1;
        self.complaints.add(|| what);
    }

    fn send(&self, fleet: &mut Fleet, client: u32) {
        // Only the JSON form has an `id` for replies and reads of history.
        fleet.queue(client, Opcode::Text, &self.message);
    }

    fn join(&mut self, fleet: &mut Fleet, client: u32, room: u32) {
        self.message.clear();
        json::write_join(&self.rooms[room as usize].name, None, &mut self.message);
        self.send(fleet, client);
    }

    fn publish(&mut self, fleet: &mut Fleet, client: u32, scheduled: u64, now: u64) {
        if !fleet.is_open(client) {
            // A killed server takes no publishes.
            fleet.counters.unsent += u64::from(self.phase != RunPhase::Kill);
            return;
        }
        let measured = self.phase == RunPhase::Measure;
        if measured {
            self.lag.record(now - scheduled);
        }
        let room_index = self.room_of(client);
        let room = &mut self.rooms[room_index as usize];
        let number = room.account.launch(client % self.plan.room_size);
        self.publishers[client as usize].in_flight.push_back(InFlight { number, scheduled, measured });
        self.message.clear();
        let stamp = Stamp { number, room: room_index };
        json::write_silent_publish(&room.name, number, stamp, self.plan.payload(), &mut self.message);
        fleet.counters.published += 1;
        fleet.counters.outstanding += 1;
        self.send(fleet, client);
    }

    fn answered(&mut self, fleet: &mut Fleet, client: u32, reply: json::PublishedReply<'_>, now: u64) {
        let room = self.room_of(client);
        let in_flight = &mut self.publishers[client as usize].in_flight;
        let Some(publish) = in_flight.pop_front_if(|publish| u64::from(publish.number) == reply.id) else {
            let oldest = in_flight.front().map(|publish| publish.number);
            let what = format!("client {client}: answer to publish {}, expected {oldest:?}", reply.id);
            return self.wrong(fleet, what);
        };
        fleet.counters.outstanding -= 1;
        fleet.counters.expected += 1;
        let took = now.saturating_sub(publish.scheduled);
        fleet.pulse.record(took);
        if publish.measured {
            self.latency.record(took);
        }
        let account = &mut self.rooms[room as usize].account;
        if let Err(what) = account.acknowledge(publish.number, reply.seq, reply.epoch) {
            self.wrong(fleet, what);
        }
    }

    /// Gives up the answers of a client whose connection ended.
    fn abandon(&mut self, fleet: &mut Fleet, client: u32) {
        let room = self.room_of(client);
        let publisher = &mut self.publishers[client as usize];
        publisher.joined = false;
        for publish in publisher.in_flight.drain(..) {
            self.rooms[room as usize].account.abandon(publish.number);
            fleet.counters.unanswered += 1;
            fleet.counters.outstanding -= 1;
        }
    }

    fn refused(&mut self, fleet: &mut Fleet, client: u32, code: &str, message: &str) {
        fleet.counters.errors += 1;
        fleet.last_failure = Some(format!("refused: {code}: {message}"));
        self.complaints.add(|| format!("client {client}: refused: {code}: {message}"));
        let room = self.room_of(client);
        // Replies about one room keep their order, so it is the oldest.
        if let Some(publish) = self.publishers[client as usize].in_flight.pop_front() {
            self.rooms[room as usize].account.abandon(publish.number);
            fleet.counters.outstanding -= 1;
        }
    }

    fn joined(&mut self, fleet: &mut Fleet, client: u32, room: &str, epoch: &str, now: u64) {
        let expected = self.probed_room().unwrap_or_else(|| self.room_of(client));
        let of = &mut self.rooms[expected as usize];
        if of.name != room {
            let what = format!("client {client}: unexpected joined of {room:?}");
            return self.wrong(fleet, what);
        }
        if let Err(what) = of.account.check_epoch(epoch.as_bytes()) {
            self.wrong(fleet, what);
        }
        fleet.counters.joins += 1;
        if self.probed_room().is_some() {
            return self.probe_joined(fleet, now);
        }
        let publisher = &mut self.publishers[client as usize];
        publisher.joined = true;
        if !std::mem::replace(&mut publisher.was_ready, true) {
            fleet.counters.ready += 1;
        }
        self.read_back(fleet, client);
    }

    fn start(&mut self, fleet: &mut Fleet, now: u64) {
        self.schedule = ArrivalSchedule::start(self.load.pace, self.plan.clients, &mut fleet.rng, now);
        fleet.set_deadline(self.schedule.next_at());
    }
}

impl Behavior for DurableActor {
    fn request(&mut self, client: u32) -> OpeningRequest {
        let (target, path) = self.plan.target_of(client, self.room_of(client));
        OpeningRequest { target, path, subprotocol: Some("roomring.v1.json"), receive_bytes: None }
    }

    fn opened(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        match self.probed_room() {
            Some(room) => self.probe(fleet, room, now),
            None => self.join(fleet, client, self.room_of(client)),
        }
    }

    fn message(&mut self, fleet: &mut Fleet, client: u32, message: &[u8], now: u64) {
        if let Some(reply) = json::published(message) {
            return self.answered(fleet, client, reply, now);
        }
        match json::parse(message) {
            // An inbox, which the server joins.
            Said::Joined { room, .. } if room.starts_with('@') => {}
            Said::Joined { room, epoch, .. } => self.joined(fleet, client, &room, &epoch, now),
            Said::History { room, epoch, first, head, messages } => {
                self.page(fleet, client, (&room, &epoch, first, head), &messages, now);
            }
            Said::Left { .. } => self.left(fleet, client, now),
            Said::Error { code, message } => self.refused(fleet, client, &code, &message),
            Said::Garbage(what) => self.wrong(fleet, format!("client {client}: invalid message: {what}")),
            // Messages of other members, which are checked when they are read back.
            Said::Message(_) => {}
            _ => fleet.counters.other_messages += 1,
        }
    }

    fn ended(&mut self, fleet: &mut Fleet, client: u32, ended: ConnectionEnd, _now: u64) {
        if self.phase == RunPhase::Leave {
            return;
        }
        self.abandon(fleet, client);
        let is_killed = self.phase == RunPhase::Kill || self.stage == CheckStage::Waiting;
        if !is_killed {
            fleet.counters.disconnected += 1;
            fleet.last_failure = Some(format!("connection ended: {ended:?}"));
            self.complaints.add(|| format!("client {client}: connection ended: {ended:?}"));
        }
    }

    fn failed(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        if self.phase != RunPhase::Leave {
            fleet.connect_at(client, now + RETRY_NS);
        }
    }

    fn due(&mut self, fleet: &mut Fleet, now: u64) {
        if !self.phase.is_running() && self.phase != RunPhase::Kill {
            return;
        }
        while let Some((at, client)) = self.schedule.take_due(&mut fleet.rng, now) {
            self.publish(fleet, client, at, now);
            fleet.flush(client);
        }
        fleet.set_deadline(self.schedule.next_at());
    }

    fn turn_ended(&mut self, fleet: &mut Fleet, _now: u64) {
        self.go_on_checking(fleet);
    }
}

impl Actor for DurableActor {
    fn enter(&mut self, fleet: &mut Fleet, phase: RunPhase, now: u64) {
        let before = std::mem::replace(&mut self.phase, phase);
        match phase {
            RunPhase::Connect => (0..self.plan.clients).for_each(|client| fleet.connect(client)),
            RunPhase::Warm | RunPhase::Measure if !before.is_running() => self.start(fleet, now),
            // The load goes on until the connections break.
            RunPhase::Warm | RunPhase::Measure | RunPhase::Kill => {}
            RunPhase::Drain => fleet.set_deadline(u64::MAX),
            RunPhase::Check => {
                fleet.set_deadline(u64::MAX);
                self.begin_check(fleet, before == RunPhase::Kill);
            }
            RunPhase::Leave => fleet.close_all(),
        }
    }

    fn finish(&mut self, _fleet: &mut Fleet) -> Findings {
        let mut findings = Findings::default();
        findings.add("latency", &self.latency);
        findings.add("lag", &self.lag);
        findings.add("cold_join", &self.checks.cold);
        findings.add("warm_join", &self.checks.warm);
        findings.add("history", &self.checks.page);
        findings.complaints = self.complaints.take();
        findings
    }
}
