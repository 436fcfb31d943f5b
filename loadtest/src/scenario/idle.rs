//! Owns `idle`: clients join and wait, to measure the cost of an idle connection. Never publishes.

use super::{Actor, Findings, RETRY_NS};
use crate::dialect::Said;
use crate::fleet::handshake::OpeningRequest;
use crate::fleet::{Behavior, ConnectionEnd, Fleet};
use crate::plan::{RunPhase, WorkerPlan};

/// The scenario.
pub struct IdleActor {
    plan: WorkerPlan,
    joined: Vec<bool>,
    message: Vec<u8>,
    leaving: bool,
}

impl IdleActor {
    /// Creates clients in rooms of the plan's size.
    #[must_use]
    pub fn new(plan: WorkerPlan) -> Self {
        IdleActor { joined: vec![false; plan.clients as usize], plan, message: Vec::new(), leaving: false }
    }

    fn room_of(&self, client: u32) -> u32 {
        client / self.plan.room_size
    }

    fn join_answered(&mut self, fleet: &mut Fleet, client: u32) {
        if !std::mem::replace(&mut self.joined[client as usize], true) {
            fleet.counters.ready += 1;
            fleet.counters.joins += 1;
        }
    }
}

impl Behavior for IdleActor {
    fn request(&mut self, client: u32) -> OpeningRequest {
        request(&self.plan, client, self.room_of(client))
    }

    fn opened(&mut self, fleet: &mut Fleet, client: u32, _now: u64) {
        self.message.clear();
        self.plan.dialect.write_join(&self.plan.room_name(self.room_of(client)), None, &mut self.message);
        if !self.message.is_empty() {
            fleet.queue(client, self.plan.dialect.opcode(), &self.message);
        }
        if !self.plan.dialect.joins_by_message() {
            self.join_answered(fleet, client);
        }
    }

    fn message(&mut self, fleet: &mut Fleet, client: u32, message: &[u8], _now: u64) {
        match self.plan.dialect.parse(message) {
            Said::Joined { .. } => self.join_answered(fleet, client),
            Said::Error { code, message } => {
                fleet.counters.errors += 1;
                fleet.last_failure = Some(format!("join refused: {code}: {message}"));
            }
            Said::Asked { answer } => fleet.queue(client, self.plan.dialect.opcode(), &answer),
            Said::Garbage(what) => {
                fleet.counters.wrong += 1;
                fleet.last_failure = Some(format!("not understood: {what}"));
            }
            _ => fleet.counters.other_messages += 1,
        }
    }

    fn ended(&mut self, fleet: &mut Fleet, client: u32, ended: ConnectionEnd, now: u64) {
        if std::mem::take(&mut self.joined[client as usize]) {
            fleet.counters.ready -= 1;
        }
        if !self.leaving {
            fleet.counters.disconnected += 1;
            fleet.last_failure = Some(format!("connection ended: {ended:?}"));
            fleet.connect_at(client, now + RETRY_NS);
        }
    }

    fn failed(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        if !self.leaving {
            fleet.connect_at(client, now + RETRY_NS);
        }
    }

    fn due(&mut self, _fleet: &mut Fleet, _now: u64) {}

    fn turn_ended(&mut self, _fleet: &mut Fleet, _now: u64) {}
}

impl Actor for IdleActor {
    fn enter(&mut self, fleet: &mut Fleet, phase: RunPhase, _now: u64) {
        match phase {
            RunPhase::Connect => (0..self.plan.clients).for_each(|client| fleet.connect(client)),
            RunPhase::Leave => {
                self.leaving = true;
                fleet.close_all();
            }
            RunPhase::Warm | RunPhase::Measure | RunPhase::Drain | RunPhase::Kill | RunPhase::Check => {}
        }
    }

    fn finish(&mut self, _fleet: &mut Fleet) -> Findings {
        Findings::default()
    }
}

/// The upgrade request of a client with one room.
pub fn request(plan: &WorkerPlan, client: u32, room: u32) -> OpeningRequest {
    let (target, path) = plan.target_of(client, room);
    OpeningRequest { target, path, subprotocol: plan.dialect.subprotocol(), receive_bytes: None }
}
