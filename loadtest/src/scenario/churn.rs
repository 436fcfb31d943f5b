//! Clients that connect, join, close, and begin again: what a connection costs over its life.

use super::{Actor, Complaints, Findings, RETRY_NS, idle};
use crate::dialect::Said;
use crate::fleet::handshake::Request;
use crate::fleet::{Behaviour, Ended, Fleet};
use crate::measure::histogram::Durations;
use crate::plan::{Phase, Plan};

/// The scenario: as many clients as the plan has go round at a time.
pub struct Churn {
    plan: Plan,
    clients: Vec<Client>,
    phase: Phase,
    message: Vec<u8>,
    cycle: Durations,
    join: Durations,
    complaints: Complaints,
}

/// One client's cycle.
#[derive(Clone, Copy, Debug, Default)]
struct Client {
    started: u64,
    joined: bool,
    /// It is not over.
    is_under_way: bool,
    /// It began in the measured time: what is slow may end after it.
    measured: bool,
}

impl Churn {
    /// Rooms of the plan's size.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Churn {
            clients: vec![Client::default(); plan.clients as usize],
            phase: Phase::Connect,
            message: Vec::new(),
            cycle: Durations::default(),
            join: Durations::default(),
            complaints: Complaints::default(),
            plan,
        }
    }

    /// Begins a cycle, at `at` or as soon after it as can be.
    fn begin(&mut self, fleet: &mut Fleet, client: u32, at: u64) {
        let measured = self.phase == Phase::Measure;
        self.clients[client as usize] = Client { started: at, joined: false, is_under_way: true, measured };
        fleet.counters.outstanding += 1;
        fleet.connect_at(client, at);
    }

    /// A cycle is over, one way or the other. Returns it.
    fn end(&mut self, fleet: &mut Fleet, client: u32) -> Client {
        let cycle = std::mem::take(&mut self.clients[client as usize]);
        fleet.counters.outstanding -= u64::from(cycle.is_under_way);
        cycle
    }

    fn join_answered(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        let cycle = &mut self.clients[client as usize];
        if std::mem::replace(&mut cycle.joined, true) {
            return;
        }
        fleet.counters.joins += 1;
        if cycle.measured {
            self.join.record(now.saturating_sub(cycle.started));
        }
        fleet.close(client);
    }
}

impl Behaviour for Churn {
    fn request(&mut self, client: u32) -> Request {
        idle::request(&self.plan, client, client / self.plan.room_size)
    }

    fn opened(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        self.message.clear();
        let room = self.plan.room_name(client / self.plan.room_size);
        self.plan.dialect.write_join(&room, None, &mut self.message);
        if !self.message.is_empty() {
            fleet.queue(client, self.plan.dialect.opcode(), &self.message);
        }
        if !self.plan.dialect.joins_by_message() {
            self.join_answered(fleet, client, now);
        }
    }

    fn message(&mut self, fleet: &mut Fleet, client: u32, message: &[u8], now: u64) {
        match self.plan.dialect.parse(message) {
            Said::Joined { .. } => self.join_answered(fleet, client, now),
            Said::Error { code, message } => {
                fleet.counters.errors += 1;
                fleet.last_failure = Some(format!("refused: {code}: {message}"));
                fleet.close(client);
            }
            Said::Asked { answer } => fleet.queue(client, self.plan.dialect.opcode(), &answer),
            Said::Garbage(what) => {
                fleet.counters.wrong += 1;
                self.complaints.add(|| format!("client {client}: not understood: {what}"));
            }
            _ => fleet.counters.other_messages += 1,
        }
    }

    fn ended(&mut self, fleet: &mut Fleet, client: u32, ended: Ended, now: u64) {
        let cycle = self.end(fleet, client);
        if ended == Ended::Asked && cycle.joined {
            fleet.counters.cycles += 1;
            let took = now.saturating_sub(cycle.started);
            fleet.pulse.record(took);
            if cycle.measured {
                self.cycle.record(took);
            }
        } else if ended != Ended::Asked {
            fleet.counters.disconnected += 1;
            self.complaints.add(|| format!("client {client}: connection ended: {ended:?}"));
        }
        if self.phase.is_running() {
            self.begin(fleet, client, now);
        }
    }

    fn failed(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        self.end(fleet, client);
        if self.phase.is_running() {
            self.begin(fleet, client, now + RETRY_NS);
        }
    }

    fn due(&mut self, _fleet: &mut Fleet, _now: u64) {}

    fn turn_ended(&mut self, _fleet: &mut Fleet, _now: u64) {}
}

impl Actor for Churn {
    fn enter(&mut self, fleet: &mut Fleet, phase: Phase, now: u64) {
        let before = std::mem::replace(&mut self.phase, phase);
        match phase {
            // Nothing to wait for: the cycles are what is measured.
            Phase::Connect => fleet.counters.ready = u64::from(self.plan.clients),
            Phase::Warm | Phase::Measure if !before.is_running() => {
                (0..self.plan.clients).for_each(|client| self.begin(fleet, client, now));
            }
            Phase::Warm | Phase::Measure | Phase::Drain => {}
            Phase::Leave => {
                fleet.counters.stranded += fleet.counters.outstanding;
                fleet.close_all();
            }
        }
    }

    fn finish(&mut self, _fleet: &mut Fleet) -> Findings {
        let mut findings = Findings::default();
        findings.add("cycle", &self.cycle);
        findings.add("join", &self.join);
        findings.complaints = self.complaints.take();
        findings
    }
}
