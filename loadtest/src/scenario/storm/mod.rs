//! Owns `storm`: all readers lose their connections at once and reconnect as fast as allowed, by position, while
//! publishers continue. Every member must get every publication once, live or by recovery; without recovery, missed
//! publications are counted. Never disconnects publishers.

mod hear;
mod member;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::flights::Flights;
use super::schedule::ArrivalSchedule;
use super::{Actor, Complaints, Findings, RECOVERABLE, RETRY_NS, idle};
use crate::clock::{self, Clock, MILLISECOND, SECOND};
use crate::dialect::{ClientPosition, Said};
use crate::fleet::handshake::OpeningRequest;
use crate::fleet::{Behavior, ConnectionEnd, Departure, Fleet};
use crate::measure::histogram::Durations;
use crate::payload::Stamp;
use crate::plan::{RunPhase, StormLoad, WorkerPlan};
use member::{MemberStage, StormMember};

/// Maximum wait after a failed attempt.
const BACKOFF_NS_MAX: u64 = 30 * SECOND;

/// Wait before the last publish, which shows each member what it missed: a server without numbers may still process
/// joins.
const SETTLED_NS: u64 = 200 * MILLISECOND;

/// The scenario.
pub struct StormActor {
    plan: WorkerPlan,
    load: StormLoad,
    clock: Clock,
    rooms: Vec<StormRoom>,
    members: Vec<StormMember>,
    schedule: ArrivalSchedule,
    phase: RunPhase,
    /// The storm in progress.
    raging: Option<Raging>,
    next_storm: u64,
    /// End of the last storm.
    calm_since: u64,
    /// Whether the last publish of each room was sent.
    closed: bool,
    message: Vec<u8>,
    calm: Durations,
    during: Durations,
    last_receiver: Durations,
    /// Lag of publishes outside of storms, which affects the verdict. In a storm the generator is busy with reconnects.
    lag: Durations,
    lag_during: Durations,
    back: Durations,
    join: Durations,
    whole: Durations,
    complaints: Complaints,
}

struct StormRoom {
    name: String,
    clients: Range<u32>,
    flights: Flights,
    /// Seq of publish 0, if the server numbers publications.
    offset: Option<u64>,
    epoch: Option<String>,
    /// The publisher lost its connection, and unsent publishes with it.
    abandoned: bool,
}

/// A storm in progress.
struct Raging {
    since: u64,
    /// Disconnected members.
    away: u64,
    /// CPU time of this thread and of the server at the start.
    cpu_ns: u64,
    server_ns: u64,
}

impl StormActor {
    /// Creates rooms of the plan's size. The first member of each room is its publisher. Storms hit the last members.
    #[must_use]
    pub fn new(plan: WorkerPlan, load: StormLoad) -> Self {
        let mut members: Vec<StormMember> = (0..plan.clients).map(|_| StormMember::default()).collect();
        let mut rooms = Vec::new();
        for (room, first) in (0u32..).zip((0..plan.clients).step_by(plan.room_size as usize)) {
            let clients = first..plan.clients.min(first + plan.room_size);
            let hit = ((clients.len() as u32 - 1) * load.share_per_mille).div_ceil(1_000);
            for client in clients.end - hit..clients.end {
                members[client as usize].is_hit = true;
            }
            let name = plan.room_name(room);
            rooms.push(StormRoom {
                name,
                clients,
                flights: Flights::default(),
                offset: None,
                epoch: None,
                abandoned: false,
            });
        }
        StormActor {
            load,
            clock: Clock::start(),
            rooms,
            members,
            schedule: ArrivalSchedule::default(),
            phase: RunPhase::Connect,
            raging: None,
            next_storm: u64::MAX,
            calm_since: 0,
            closed: false,
            message: Vec::new(),
            calm: Durations::default(),
            during: Durations::default(),
            last_receiver: Durations::default(),
            lag: Durations::default(),
            lag_during: Durations::default(),
            back: Durations::default(),
            join: Durations::default(),
            whole: Durations::default(),
            complaints: Complaints::default(),
            plan,
        }
    }

    fn room_of(&self, client: u32) -> u32 {
        client / self.plan.room_size
    }

    fn wrong(&mut self, fleet: &mut Fleet, what: impl FnOnce() -> String) {
        fleet.counters.wrong += 1;
        self.complaints.add(what);
    }

    fn publish(&mut self, fleet: &mut Fleet, room_index: u32, scheduled: u64, measured: bool) {
        let room = &mut self.rooms[room_index as usize];
        let publisher = room.clients.start;
        if !fleet.is_open(publisher) {
            fleet.counters.unsent += 1;
            return;
        }
        let receivers = room.clients.len() as u32;
        let number = room.flights.launch(scheduled, receivers, measured);
        self.message.clear();
        let stamp = Stamp { number, room: room_index };
        self.plan.dialect.write_publish(&room.name, stamp, self.plan.payload(), &mut self.message);
        fleet.queue(publisher, self.plan.dialect.opcode(), &self.message);
        fleet.flush(publisher);
        fleet.counters.published += 1;
        fleet.counters.expected += u64::from(receivers);
        fleet.counters.outstanding += u64::from(receivers);
    }

    /// Starts a storm: disconnects all affected members.
    fn strike(&mut self, fleet: &mut Fleet, now: u64) {
        let hit = |member: &StormMember| member.is_hit && member.stage == MemberStage::In;
        let hit: Vec<u32> = (0u32..).zip(&self.members).filter(|(_, member)| hit(member)).map(|(at, _)| at).collect();
        if hit.is_empty() {
            return;
        }
        let server_ns = self.plan.pid.and_then(clock::process_cpu_ns).unwrap_or(0);
        self.raging = Some(Raging { since: now, away: hit.len() as u64, cpu_ns: clock::thread_cpu_ns(), server_ns });
        fleet.counters.storms += 1;
        fleet.counters.outstanding += hit.len() as u64;
        for &client in &hit {
            let leaving = *fleet.rng.choice(&[Departure::Fin, Departure::Reset, Departure::MidFrame]).expect("three");
            fleet.vanish(client, leaving);
            self.members[client as usize].break_off();
        }
        for client in hit {
            self.reconnect(fleet, client, now);
        }
    }

    /// Reconnects a member at once, or after a random part of the backoff, which doubles with each failed attempt.
    fn reconnect(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        let member = &mut self.members[client as usize];
        let attempt = member.attempts;
        member.attempts = attempt.saturating_add(1);
        match (self.load.backoff_ns, attempt) {
            (0, 0) => fleet.connect(client),
            (0, _) => fleet.connect_at(client, now + RETRY_NS),
            (backoff, attempt) => {
                let window = backoff.saturating_mul(1 << attempt.min(20)).min(BACKOFF_NS_MAX.max(backoff));
                let wait = fleet.rng.u64(..window);
                fleet.connect_at(client, now + wait);
            }
        }
    }

    /// Handles a member that has joined and caught up.
    fn come_in(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        let member = &mut self.members[client as usize];
        let started = member.started;
        if !member.was_in {
            fleet.counters.ready += 1;
        }
        let was_away = member.come_in();
        let Some(raging) = self.raging.as_mut().filter(|_| was_away) else { return };
        raging.away -= 1;
        fleet.counters.outstanding -= 1;
        fleet.counters.returned += 1;
        self.back.record(now.saturating_sub(raging.since));
        self.join.record(now.saturating_sub(started));
        if raging.away == 0 {
            self.calm_since = now;
            self.whole.record(now.saturating_sub(raging.since));
            fleet.counters.storm_ns += now.saturating_sub(raging.since);
            fleet.counters.storm_cpu_ns += clock::thread_cpu_ns().saturating_sub(raging.cpu_ns);
            let server_ns = self.plan.pid.and_then(clock::process_cpu_ns).unwrap_or(raging.server_ns);
            fleet.counters.storm_server_ns += server_ns.saturating_sub(raging.server_ns);
            self.raging = None;
        }
    }

    /// Publishes once more in each room while draining, if the server does not number publications, so that members
    /// detect what they missed.
    fn close(&mut self, fleet: &mut Fleet, now: u64) {
        let is_calm = self.raging.is_none() && now.saturating_sub(self.calm_since) >= SETTLED_NS;
        if self.plan.dialect.is_numbered() || self.closed || !is_calm {
            return;
        }
        self.closed = true;
        for room in 0..self.rooms.len() as u32 {
            self.publish(fleet, room, now, false);
        }
    }
}

impl Behavior for StormActor {
    fn request(&mut self, client: u32) -> OpeningRequest {
        self.members[client as usize].started = self.clock.now();
        idle::request(&self.plan, client, self.room_of(client))
    }

    fn opened(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        let room = &self.rooms[self.room_of(client) as usize];
        let member = &mut self.members[client as usize];
        member.stage = MemberStage::Joining;
        let epoch = room.epoch.clone().filter(|_| member.was_in && self.plan.dialect.is_numbered());
        let position = epoch.map(|epoch| ClientPosition { epoch, seq: member.last() });
        self.message.clear();
        self.plan.dialect.write_join(&room.name, position.as_ref(), &mut self.message);
        if !self.message.is_empty() {
            fleet.queue(client, self.plan.dialect.opcode(), &self.message);
        }
        if !self.plan.dialect.joins_by_message() {
            fleet.counters.joins += 1;
            self.come_in(fleet, client, now);
        }
    }

    fn message(&mut self, fleet: &mut Fleet, client: u32, message: &[u8], now: u64) {
        if let Some(delivery) = self.plan.dialect.delivery(message) {
            return self.deliver(fleet, client, delivery, now);
        }
        match self.plan.dialect.parse(message) {
            joined @ Said::Joined { .. } if self.plan.dialect.is_numbered() => {
                self.joined(fleet, client, now, joined);
            }
            Said::Joined { .. } if self.members[client as usize].stage == MemberStage::Joining => {
                fleet.counters.joins += 1;
                self.come_in(fleet, client, now);
            }
            Said::Gap { from, to, .. } => self.gap(fleet, client, from, to),
            Said::Error { code, message } => {
                fleet.counters.errors += 1;
                fleet.last_failure = Some(format!("refused: {code}: {message}"));
                self.complaints.add(|| format!("client {client}: refused: {code}: {message}"));
            }
            Said::Asked { answer } => fleet.queue(client, self.plan.dialect.opcode(), &answer),
            Said::Garbage(what) => self.wrong(fleet, || format!("client {client}: invalid message: {what}")),
            _ => fleet.counters.other_messages += 1,
        }
    }

    fn ended(&mut self, fleet: &mut Fleet, client: u32, ended: ConnectionEnd, now: u64) {
        if self.phase == RunPhase::Leave {
            return;
        }
        fleet.counters.disconnected += 1;
        let room_index = self.room_of(client);
        let room = &mut self.rooms[room_index as usize];
        room.abandoned |= room.clients.start == client;
        fleet.last_failure = Some(format!("connection ended: {ended:?}"));
        self.complaints.add(|| format!("client {client}: connection ended: {ended:?}"));
        self.members[client as usize].lose();
        self.reconnect(fleet, client, now);
    }

    fn failed(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        if self.phase < RunPhase::Leave {
            self.members[client as usize].attempts = self.members[client as usize].attempts.max(1);
            self.reconnect(fleet, client, now);
        }
    }

    fn due(&mut self, fleet: &mut Fleet, now: u64) {
        if !self.phase.is_running() {
            return;
        }
        while let Some((at, room)) = self.schedule.take_due(&mut fleet.rng, now) {
            let measured = self.phase == RunPhase::Measure;
            if measured {
                let is_calm = self.raging.is_none() && at >= self.calm_since;
                if is_calm { &mut self.lag } else { &mut self.lag_during }.record(now - at);
            }
            self.publish(fleet, room, at, measured);
        }
        if now >= self.next_storm {
            match self.raging {
                None => self.strike(fleet, now),
                Some(_) => fleet.counters.storms_put_off += 1,
            }
            self.next_storm += self.load.every_ns;
        }
        fleet.set_deadline(self.schedule.next_at().min(self.next_storm));
    }

    fn turn_ended(&mut self, fleet: &mut Fleet, now: u64) {
        if self.phase == RunPhase::Drain {
            self.close(fleet, now);
        }
    }
}

impl Actor for StormActor {
    fn enter(&mut self, fleet: &mut Fleet, phase: RunPhase, now: u64) {
        let before = std::mem::replace(&mut self.phase, phase);
        if phase == RunPhase::Measure {
            // Starts with half an interval without a storm, for comparison.
            self.next_storm = now + self.load.every_ns / 2;
        }
        match phase {
            RunPhase::Connect => {
                self.clock = fleet.clock;
                (0..self.plan.clients).for_each(|client| fleet.connect(client));
            }
            RunPhase::Warm | RunPhase::Measure => {
                if !before.is_running() {
                    let streams = self.rooms.len() as u32;
                    self.schedule = ArrivalSchedule::start(self.load.pace, streams, &mut fleet.rng, now);
                }
                fleet.set_deadline(self.schedule.next_at().min(self.next_storm));
            }
            RunPhase::Kill | RunPhase::Check => {}
            RunPhase::Drain => {
                fleet.set_deadline(u64::MAX);
                self.close(fleet, now);
            }
            RunPhase::Leave => {
                for room in self.rooms.iter_mut().filter(|room| room.abandoned) {
                    room.flights.recall(&mut fleet.counters);
                }
                let stranded = self.raging.as_ref().map_or(0, |raging| raging.away);
                fleet.counters.stranded += stranded;
                fleet.close_all();
            }
        }
    }

    fn finish(&mut self, _fleet: &mut Fleet) -> Findings {
        let mut findings = Findings::default();
        findings.add("latency", &self.calm);
        findings.add("latency_storm", &self.during);
        findings.add("last_receiver", &self.last_receiver);
        findings.add("back", &self.back);
        findings.add("join", &self.join);
        findings.add("whole", &self.whole);
        findings.add("lag", &self.lag);
        findings.add("lag_storm", &self.lag_during);
        findings.complaints = self.complaints.take();
        findings
    }
}
