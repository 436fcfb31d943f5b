//! Owns `echo`: clients send stamped messages and check that each comes back in order. Never joins rooms.

use roomring::wire::frame::Opcode;

use super::flights::Flights;
use super::schedule::ArrivalSchedule;
use super::{Actor, Complaints, Findings, RETRY_NS};
use crate::fleet::handshake::OpeningRequest;
use crate::fleet::{Behavior, ConnectionEnd, Fleet};
use crate::measure::histogram::Durations;
use crate::measure::sequence::{ArrivalOrder, Sequence};
use crate::payload::Stamp;
use crate::plan::{PublishPace, RunPhase, WorkerPlan};

/// The scenario.
pub struct EchoActor {
    plan: WorkerPlan,
    pace: PublishPace,
    opcode: Opcode,
    clients: Vec<EchoClient>,
    schedule: ArrivalSchedule,
    phase: RunPhase,
    message: Vec<u8>,
    hint: usize,
    latency: Durations,
    lag: Durations,
    complaints: Complaints,
}

#[derive(Default)]
struct EchoClient {
    /// Messages that have not come back.
    sent: Flights,
    sequence: Sequence,
    open: bool,
}

impl EchoActor {
    /// Creates clients that send messages of the plan's size with the dialect's opcode.
    #[must_use]
    pub fn new(plan: WorkerPlan, pace: PublishPace) -> Self {
        EchoActor {
            pace,
            opcode: plan.dialect.opcode(),
            clients: (0..plan.clients).map(|_| EchoClient::default()).collect(),
            schedule: ArrivalSchedule::default(),
            phase: RunPhase::Connect,
            message: Vec::new(),
            hint: 0,
            latency: Durations::default(),
            lag: Durations::default(),
            complaints: Complaints::default(),
            plan,
        }
    }

    fn send(&mut self, fleet: &mut Fleet, client: u32, scheduled: u64) {
        if !fleet.is_open(client) {
            fleet.counters.unsent += 1;
            return;
        }
        // Counted by its scheduled time; it may come back after the measured time.
        let number = self.clients[client as usize].sent.launch(scheduled, 1, self.phase == RunPhase::Measure);
        let stamp = Stamp { number, room: client };
        self.message.clear();
        self.plan.payload().write(stamp, &mut self.message);
        fleet.queue(client, self.opcode, &self.message);
        fleet.counters.published += 1;
        fleet.counters.expected += 1;
        fleet.counters.outstanding += 1;
    }

    fn begin(&mut self, fleet: &mut Fleet, now: u64) {
        if let PublishPace::InFlight(wanted) = self.pace {
            for client in 0..self.plan.clients {
                (0..wanted).for_each(|_| self.send(fleet, client, now));
            }
        }
        self.schedule = ArrivalSchedule::start(self.pace, self.plan.clients, &mut fleet.rng, now);
        fleet.set_deadline(self.schedule.next_at());
    }
}

impl Behavior for EchoActor {
    fn request(&mut self, client: u32) -> OpeningRequest {
        let target = client as usize % self.plan.targets.len();
        let path = self.plan.targets[target].path.clone();
        OpeningRequest { target, path, subprotocol: None, receive_bytes: None }
    }

    fn opened(&mut self, fleet: &mut Fleet, client: u32, _now: u64) {
        self.clients[client as usize].open = true;
        fleet.counters.ready += 1;
    }

    fn message(&mut self, fleet: &mut Fleet, client: u32, message: &[u8], now: u64) {
        let Some(stamp) = Stamp::find(message, &mut self.hint) else {
            fleet.counters.other_messages += 1;
            return;
        };
        if stamp.room != client || message.len() != self.plan.payload().len() {
            fleet.counters.wrong += 1;
            self.complaints.add(|| format!("client {client} got {stamp:?} in {} bytes", message.len()));
            return;
        }
        fleet.counters.delivered += 1;
        let state = &mut self.clients[client as usize];
        match state.sequence.observe(u64::from(stamp.number)) {
            ArrivalOrder::InOrder | ArrivalOrder::AfterHole(_) => {}
            ArrivalOrder::Late => fleet.counters.out_of_order += 1,
            ArrivalOrder::Duplicate => {
                fleet.counters.duplicated += 1;
                return;
            }
        }
        let Some(sent) = state.sent.arrive(stamp.number) else {
            fleet.counters.wrong += 1;
            self.complaints.add(|| format!("client {client} got {stamp:?}, which it never sent"));
            return;
        };
        fleet.counters.outstanding -= 1;
        let took = now.saturating_sub(sent.scheduled);
        fleet.pulse.record(took);
        if sent.measured {
            self.latency.record(took);
        }
        if self.phase.is_running() && matches!(self.pace, PublishPace::InFlight(_)) {
            self.send(fleet, client, now);
        }
    }

    fn ended(&mut self, fleet: &mut Fleet, client: u32, ended: ConnectionEnd, _now: u64) {
        if std::mem::take(&mut self.clients[client as usize].open) {
            fleet.counters.ready -= 1;
        }
        if self.phase != RunPhase::Leave {
            fleet.counters.disconnected += 1;
            fleet.last_failure = Some(format!("connection ended: {ended:?}"));
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
        while let Some((at, client)) = self.schedule.take_due(&mut fleet.rng, now) {
            if self.phase == RunPhase::Measure {
                self.lag.record(now - at);
            }
            self.send(fleet, client, at);
            fleet.flush(client);
        }
        fleet.set_deadline(self.schedule.next_at());
    }

    fn turn_ended(&mut self, _fleet: &mut Fleet, _now: u64) {}
}

impl Actor for EchoActor {
    fn enter(&mut self, fleet: &mut Fleet, phase: RunPhase, now: u64) {
        let before = std::mem::replace(&mut self.phase, phase);
        match phase {
            RunPhase::Connect => (0..self.plan.clients).for_each(|client| fleet.connect(client)),
            RunPhase::Warm | RunPhase::Measure if !before.is_running() => self.begin(fleet, now),
            RunPhase::Warm | RunPhase::Measure | RunPhase::Kill | RunPhase::Check => {}
            RunPhase::Drain => fleet.set_deadline(u64::MAX),
            RunPhase::Leave => fleet.close_all(),
        }
    }

    fn finish(&mut self, _fleet: &mut Fleet) -> Findings {
        let mut findings = Findings::default();
        findings.add("latency", &self.latency);
        findings.add("lag", &self.lag);
        findings.complaints = self.complaints.take();
        findings
    }
}
