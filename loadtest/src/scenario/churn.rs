//! Owns `churn`: clients connect, join and close repeatedly, to measure the cost of a connection's life. Never
//! publishes.

use super::{Actor, Complaints, Findings, RETRY_NS, idle};
use crate::dialect::Said;
use crate::fleet::handshake::OpeningRequest;
use crate::fleet::{Behavior, ConnectionEnd, Fleet};
use crate::measure::histogram::Durations;
use crate::plan::{RunPhase, WorkerPlan};

/// The scenario. All clients of the plan run cycles at the same time.
pub struct ChurnActor {
    plan: WorkerPlan,
    clients: Vec<ChurnCycle>,
    phase: RunPhase,
    message: Vec<u8>,
    cycle: Durations,
    join: Durations,
    complaints: Complaints,
}

/// One client's cycle.
#[derive(Clone, Copy, Debug, Default)]
struct ChurnCycle {
    started: u64,
    joined: bool,
    /// The cycle has not ended.
    is_under_way: bool,
    /// The cycle started in the measured time; it may end later.
    measured: bool,
}

impl ChurnActor {
    /// Creates clients in rooms of the plan's size.
    #[must_use]
    pub fn new(plan: WorkerPlan) -> Self {
        ChurnActor {
            clients: vec![ChurnCycle::default(); plan.clients as usize],
            phase: RunPhase::Connect,
            message: Vec::new(),
            cycle: Durations::default(),
            join: Durations::default(),
            complaints: Complaints::default(),
            plan,
        }
    }

    /// Starts a cycle at `at` or soon after it.
    fn begin(&mut self, fleet: &mut Fleet, client: u32, at: u64) {
        let measured = self.phase == RunPhase::Measure;
        self.clients[client as usize] = ChurnCycle { started: at, joined: false, is_under_way: true, measured };
        fleet.counters.outstanding += 1;
        fleet.connect_at(client, at);
    }

    /// Ends a cycle, successful or not, and returns it.
    fn end(&mut self, fleet: &mut Fleet, client: u32) -> ChurnCycle {
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

impl Behavior for ChurnActor {
    fn request(&mut self, client: u32) -> OpeningRequest {
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
                self.complaints.add(|| format!("client {client}: invalid message: {what}"));
            }
            _ => fleet.counters.other_messages += 1,
        }
    }

    fn ended(&mut self, fleet: &mut Fleet, client: u32, ended: ConnectionEnd, now: u64) {
        let cycle = self.end(fleet, client);
        if ended == ConnectionEnd::Asked && cycle.joined {
            fleet.counters.cycles += 1;
            let took = now.saturating_sub(cycle.started);
            fleet.pulse.record(took);
            if cycle.measured {
                self.cycle.record(took);
            }
        } else if ended != ConnectionEnd::Asked {
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

impl Actor for ChurnActor {
    fn enter(&mut self, fleet: &mut Fleet, phase: RunPhase, now: u64) {
        let before = std::mem::replace(&mut self.phase, phase);
        match phase {
            // No connections yet: the cycles create them.
            RunPhase::Connect => fleet.counters.ready = u64::from(self.plan.clients),
            RunPhase::Warm | RunPhase::Measure if !before.is_running() => {
                (0..self.plan.clients).for_each(|client| self.begin(fleet, client, now));
            }
            RunPhase::Warm | RunPhase::Measure | RunPhase::Drain | RunPhase::Kill | RunPhase::Check => {}
            RunPhase::Leave => {
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
