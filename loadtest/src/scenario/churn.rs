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
    started: Vec<u64>,
    joined: Vec<bool>,
    phase: Phase,
    message: Vec<u8>,
    cycle: Durations,
    join: Durations,
    complaints: Complaints,
}

impl Churn {
    /// Rooms of the plan's size.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Churn {
            started: vec![0; plan.clients as usize],
            joined: vec![false; plan.clients as usize],
            phase: Phase::Connect,
            message: Vec::new(),
            cycle: Durations::default(),
            join: Durations::default(),
            complaints: Complaints::default(),
            plan,
        }
    }

    fn begin(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        self.started[client as usize] = now;
        self.joined[client as usize] = false;
        fleet.connect(client);
    }

    fn join_answered(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        if std::mem::replace(&mut self.joined[client as usize], true) {
            return;
        }
        fleet.counters.joins += 1;
        if self.phase == Phase::Measure {
            self.join.record(now - self.started[client as usize]);
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
        if ended == Ended::Asked && self.joined[client as usize] {
            fleet.counters.cycles += 1;
            let took = now - self.started[client as usize];
            fleet.pulse.record(took);
            if self.phase == Phase::Measure {
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
        if self.phase.is_running() {
            self.started[client as usize] = now + RETRY_NS;
            fleet.connect_at(client, now + RETRY_NS);
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
            Phase::Leave => fleet.close_all(),
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
