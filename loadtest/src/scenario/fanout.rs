//! Owns `fanout`: one publisher per room, and every member checks what it receives. Closed loop with publishes in
//! flight per room, or open loop at a rate with latency from the scheduled time. A share of members may stall. Never
//! reconnects under load.

use std::ops::Range;

use super::flights::{Flight, Flights};
use super::schedule::ArrivalSchedule;
use super::{Actor, Complaints, Findings, RETRY_NS, idle};
use crate::clock::MILLISECOND;
use crate::dialect::{Said, StampedDelivery};
use crate::fleet::handshake::OpeningRequest;
use crate::fleet::{Behavior, ConnectionEnd, Fleet};
use crate::measure::histogram::Durations;
use crate::measure::sequence::{ArrivalOrder, Sequence};
use crate::payload::Stamp;
use crate::plan::{PublishPace, RunPhase, WorkerPlan};

/// Receive buffer of a client that will stall, in bytes.
const STALLED_RECEIVE_BYTES: usize = 4 * 1024;

/// Interval at which a draining run counts missing deliveries.
const LOOK_NS: u64 = 20 * MILLISECOND;

/// The scenario.
pub struct FanoutActor {
    plan: WorkerPlan,
    pace: PublishPace,
    rooms: Vec<FanoutRoom>,
    members: Vec<FanoutMember>,
    schedule: ArrivalSchedule,
    phase: RunPhase,
    /// Missing deliveries of members that stalled and resumed; included in the counter `outstanding`.
    behind: u64,
    looked: u64,
    refill: Vec<u32>,
    message: Vec<u8>,
    latency: Durations,
    last_receiver: Durations,
    lag: Durations,
    complaints: Complaints,
}

struct FanoutRoom {
    name: String,
    clients: Range<u32>,
    healthy: u32,
    flights: Flights,
    /// seq − number, the same for every publication of the room.
    offset: Option<u64>,
    refilling: bool,
    /// The publisher lost its connection, and unsent publishes with it.
    abandoned: bool,
}

#[derive(Default)]
struct FanoutMember {
    sequence: Sequence,
    joined: bool,
    stalls: bool,
}

impl FanoutActor {
    /// Creates rooms of the plan's size. The last members of each room stall.
    #[must_use]
    pub fn new(plan: WorkerPlan, pace: PublishPace, stalled_per_mille: u32) -> Self {
        let mut members: Vec<FanoutMember> = (0..plan.clients).map(|_| FanoutMember::default()).collect();
        let mut rooms = Vec::new();
        for (room, first) in (0u32..).zip((0..plan.clients).step_by(plan.room_size as usize)) {
            let clients = first..plan.clients.min(first + plan.room_size);
            let size = clients.len() as u32;
            // Rounded up, but never includes the publisher.
            let stalled = (size * stalled_per_mille).div_ceil(1_000).min(size - 1);
            for client in clients.end - stalled..clients.end {
                members[client as usize].stalls = true;
            }
            let name = plan.room_name(room);
            rooms.push(FanoutRoom {
                name,
                clients,
                healthy: size - stalled,
                flights: Flights::default(),
                offset: None,
                refilling: false,
                abandoned: false,
            });
        }
        FanoutActor {
            pace,
            rooms,
            members,
            schedule: ArrivalSchedule::default(),
            phase: RunPhase::Connect,
            behind: 0,
            looked: 0,
            refill: Vec::new(),
            message: Vec::new(),
            latency: Durations::default(),
            last_receiver: Durations::default(),
            lag: Durations::default(),
            complaints: Complaints::default(),
            plan,
        }
    }

    fn room_of(&self, client: u32) -> u32 {
        client / self.plan.room_size
    }

    fn join_answered(&mut self, fleet: &mut Fleet, client: u32, seq: u64) {
        let room_index = self.room_of(client);
        let room = &mut self.rooms[room_index as usize];
        let member = &mut self.members[client as usize];
        // Without seqs, the stamp's number counts from 0; with seqs, counting starts after the head.
        let numbered = self.plan.dialect.is_numbered();
        member.sequence = Sequence::starting_at(if numbered { seq + 1 } else { 0 });
        if numbered && room.flights.next() == 0 {
            room.offset = Some(seq + 1);
        }
        if !std::mem::replace(&mut member.joined, true) {
            fleet.counters.ready += 1;
            fleet.counters.joins += 1;
        }
    }

    fn publish(&mut self, fleet: &mut Fleet, room_index: u32, scheduled: u64) {
        let room = &mut self.rooms[room_index as usize];
        let publisher = room.clients.start;
        if !fleet.is_open(publisher) {
            fleet.counters.unsent += 1;
            return;
        }
        let measured = self.phase == RunPhase::Measure;
        let number = room.flights.launch(scheduled, room.healthy, measured);
        let stamp = Stamp { number, room: room_index };
        self.message.clear();
        self.plan.dialect.write_publish(&room.name, stamp, self.plan.payload(), &mut self.message);
        fleet.queue(publisher, self.plan.dialect.opcode(), &self.message);
        fleet.counters.published += 1;
        fleet.counters.expected += u64::from(room.healthy);
        fleet.counters.outstanding += u64::from(room.healthy);
    }

    fn deliver(&mut self, fleet: &mut Fleet, client: u32, delivery: StampedDelivery, now: u64) {
        let room_index = self.room_of(client);
        let room = &mut self.rooms[room_index as usize];
        let member = &mut self.members[client as usize];
        let Some(stamp) = delivery.stamp else {
            fleet.counters.wrong += 1;
            self.complaints.add(|| format!("client {client}: a publication without the published data"));
            return;
        };
        if stamp.room != room_index {
            fleet.counters.misrouted += 1;
            self.complaints.add(|| format!("client {client} of room {room_index} got {stamp:?}"));
            return;
        }
        if !member.stalls {
            fleet.counters.delivered += 1;
        }
        if let Some(seq) = delivery.seq {
            let offset = seq.wrapping_sub(u64::from(stamp.number));
            if *room.offset.get_or_insert(offset) != offset {
                fleet.counters.wrong += 1;
                self.complaints.add(|| format!("room {room_index}: seq {seq} for publish {}", stamp.number));
            }
        }
        match member.sequence.observe(delivery.seq.unwrap_or(u64::from(stamp.number))) {
            ArrivalOrder::InOrder | ArrivalOrder::AfterHole(_) => {}
            ArrivalOrder::Late => fleet.counters.out_of_order += 1,
            ArrivalOrder::Duplicate => {
                fleet.counters.duplicated += u64::from(!member.stalls);
                return;
            }
        }
        if member.stalls {
            return;
        }
        let Some(flight) = room.flights.arrive(stamp.number) else {
            fleet.counters.wrong += 1;
            self.complaints.add(|| format!("room {room_index}: publish {} is not in flight", stamp.number));
            return;
        };
        fleet.counters.outstanding -= 1;
        let took = now.saturating_sub(flight.scheduled);
        let Flight { measured, missing, skipped, .. } = flight;
        fleet.pulse.record(took);
        if measured {
            self.latency.record(took);
        }
        if missing == 0 {
            // A skipped publish has no last receiver.
            if measured && !skipped {
                self.last_receiver.record(took);
            }
            self.want_refill(room_index);
        }
    }

    /// Handles a `gap` over `from ..= to`.
    fn gap(&mut self, fleet: &mut Fleet, client: u32, from: u64, to: u64) {
        let room_index = self.room_of(client);
        let (member, room) = (&mut self.members[client as usize], &mut self.rooms[room_index as usize]);
        let missing = member.sequence.announce_gap(from, to);
        if from > to || missing != to - from + 1 {
            fleet.counters.wrong += 1;
            self.complaints.add(|| format!("client {client}: gap {from} to {to}, of which {missing} were missing"));
        }
        if member.stalls {
            fleet.counters.gaps_announced += missing;
            return;
        }
        fleet.counters.skipped += missing;
        if fleet.counters.skipped == missing {
            self.complaints
                .add(|| format!("client {client}: gap {from} to {to} although it reads (first of its kind)"));
        }
        let Some(offset) = room.offset else { return };
        fleet.counters.outstanding -= room.flights.skip_seqs(offset, from, to);
        self.want_refill(room_index);
    }

    fn want_refill(&mut self, room_index: u32) {
        if !std::mem::replace(&mut self.rooms[room_index as usize].refilling, true) {
            self.refill.push(room_index);
        }
    }

    fn other(&mut self, fleet: &mut Fleet, client: u32, message: &[u8]) {
        match self.plan.dialect.parse(message) {
            Said::Joined { seq, .. } => self.join_answered(fleet, client, seq),
            Said::Gap { from, to, .. } => self.gap(fleet, client, from, to),
            Said::Error { code, message } => {
                fleet.counters.errors += 1;
                fleet.last_failure = Some(format!("refused: {code}: {message}"));
                self.complaints.add(|| format!("client {client}: refused: {code}: {message}"));
            }
            Said::Asked { answer } => fleet.queue(client, self.plan.dialect.opcode(), &answer),
            Said::Garbage(what) => {
                fleet.counters.wrong += 1;
                self.complaints.add(|| format!("client {client}: invalid message: {what}"));
            }
            _ => fleet.counters.other_messages += 1,
        }
    }

    /// Missing deliveries of a member that stalled and resumed. None in a dialect without seqs and `gap`.
    fn missing(&self, member: &FanoutMember, room: &FanoutRoom) -> u64 {
        match room.offset {
            Some(offset) if member.stalls && member.joined => {
                let head = offset.wrapping_add(u64::from(room.flights.next()));
                member.sequence.missing() + head.saturating_sub(member.sequence.next())
            }
            _ => 0,
        }
    }

    /// Publications after the last one that a disconnected member received. Holes before it do not count here.
    fn cut_off(member: &FanoutMember, room: &FanoutRoom) -> u64 {
        if member.stalls || member.joined {
            return 0;
        }
        // A member that never joined has no position.
        let got_until = member.sequence.next().saturating_sub(room.offset.unwrap_or(0));
        u64::from(room.flights.next()).saturating_sub(got_until)
    }

    /// Counts missing deliveries of members that stalled, while draining.
    fn look(&mut self, fleet: &mut Fleet) {
        let members = self.members.iter().enumerate();
        let room_of = |client: usize| &self.rooms[client / self.plan.room_size as usize];
        let behind = members.map(|(client, member)| self.missing(member, room_of(client))).sum::<u64>();
        fleet.counters.outstanding = fleet.counters.outstanding + behind - self.behind;
        self.behind = behind;
    }

    /// Closed loop: keeps the number of publishes in flight in a room.
    fn fill(&mut self, fleet: &mut Fleet, room_index: u32, now: u64) {
        let PublishPace::InFlight(wanted) = self.pace else { return };
        let room = &self.rooms[room_index as usize];
        for _ in room.flights.len()..wanted as usize {
            self.publish(fleet, room_index, now);
        }
    }

    fn begin(&mut self, fleet: &mut Fleet, now: u64) {
        for (client, member) in (0u32..).zip(&self.members) {
            if member.stalls {
                fleet.stall(client);
            }
        }
        for room in 0..self.rooms.len() as u32 {
            self.fill(fleet, room, now);
        }
        self.schedule = ArrivalSchedule::start(self.pace, self.rooms.len() as u32, &mut fleet.rng, now);
        fleet.set_deadline(self.schedule.next_at());
    }
}

impl Behavior for FanoutActor {
    fn request(&mut self, client: u32) -> OpeningRequest {
        // A small receive buffer, so that the kernel does not hide the stalled reader.
        let receive_bytes = self.members[client as usize].stalls.then_some(STALLED_RECEIVE_BYTES);
        OpeningRequest { receive_bytes, ..idle::request(&self.plan, client, self.room_of(client)) }
    }

    fn opened(&mut self, fleet: &mut Fleet, client: u32, _now: u64) {
        self.message.clear();
        let room = &self.rooms[self.room_of(client) as usize].name;
        self.plan.dialect.write_join(room, None, &mut self.message);
        if !self.message.is_empty() {
            fleet.queue(client, self.plan.dialect.opcode(), &self.message);
        }
        if !self.plan.dialect.joins_by_message() {
            self.join_answered(fleet, client, 0);
        }
    }

    fn message(&mut self, fleet: &mut Fleet, client: u32, message: &[u8], now: u64) {
        match self.plan.dialect.delivery(message) {
            Some(delivery) => self.deliver(fleet, client, delivery, now),
            None => self.other(fleet, client, message),
        }
    }

    fn ended(&mut self, fleet: &mut Fleet, client: u32, ended: ConnectionEnd, now: u64) {
        let member = &mut self.members[client as usize];
        if std::mem::take(&mut member.joined) {
            fleet.counters.ready -= 1;
        }
        if self.phase == RunPhase::Leave {
            return;
        }
        if member.stalls && self.phase > RunPhase::Connect {
            fleet.counters.stalled_closed += 1;
            return;
        }
        fleet.counters.disconnected += 1;
        let room_index = self.room_of(client);
        let room = &mut self.rooms[room_index as usize];
        room.abandoned |= room.clients.start == client;
        fleet.last_failure = Some(format!("connection ended: {ended:?}"));
        self.complaints.add(|| format!("client {client}: connection ended: {ended:?}"));
        if self.phase == RunPhase::Connect {
            fleet.connect_at(client, now + RETRY_NS);
        }
    }

    fn failed(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        if self.phase == RunPhase::Connect {
            fleet.connect_at(client, now + RETRY_NS);
        }
    }

    fn due(&mut self, fleet: &mut Fleet, now: u64) {
        if !self.phase.is_running() {
            return;
        }
        while let Some((at, room)) = self.schedule.take_due(&mut fleet.rng, now) {
            if self.phase == RunPhase::Measure {
                self.lag.record(now - at);
            }
            self.publish(fleet, room, at);
            fleet.flush(self.rooms[room as usize].clients.start);
        }
        fleet.set_deadline(self.schedule.next_at());
    }

    fn turn_ended(&mut self, fleet: &mut Fleet, now: u64) {
        let mut refill = std::mem::take(&mut self.refill);
        for room in refill.drain(..) {
            self.rooms[room as usize].refilling = false;
            if self.phase.is_running() {
                self.fill(fleet, room, now);
            }
        }
        self.refill = refill;
        if self.phase == RunPhase::Drain && now.saturating_sub(self.looked) >= LOOK_NS {
            self.looked = now;
            self.look(fleet);
        }
    }
}

impl Actor for FanoutActor {
    fn enter(&mut self, fleet: &mut Fleet, phase: RunPhase, now: u64) {
        let before = std::mem::replace(&mut self.phase, phase);
        match phase {
            RunPhase::Connect => (0..self.plan.clients).for_each(|client| fleet.connect(client)),
            RunPhase::Warm | RunPhase::Measure if !before.is_running() => self.begin(fleet, now),
            RunPhase::Warm | RunPhase::Measure | RunPhase::Kill | RunPhase::Check => {}
            RunPhase::Drain => {
                fleet.set_deadline(u64::MAX);
                for (client, _) in (0u32..).zip(&self.members).filter(|(_, member)| member.stalls) {
                    fleet.resume(client);
                }
                self.look(fleet);
            }
            RunPhase::Leave => {
                for room in self.rooms.iter_mut().filter(|room| room.abandoned) {
                    room.flights.recall(&mut fleet.counters);
                }
                for (client, member) in self.members.iter().enumerate() {
                    let room = &self.rooms[client / self.plan.room_size as usize];
                    fleet.counters.holes += self.missing(member, room);
                    fleet.counters.cut_off += FanoutActor::cut_off(member, room);
                }
                fleet.close_all();
            }
        }
    }

    fn finish(&mut self, _fleet: &mut Fleet) -> Findings {
        let mut findings = Findings::default();
        findings.add("latency", &self.latency);
        findings.add("last_receiver", &self.last_receiver);
        findings.add("lag", &self.lag);
        findings.complaints = self.complaints.take();
        findings
    }
}
