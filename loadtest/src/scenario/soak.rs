//! Owns `soak`: random clients join, publish, leave, stall, vanish in the middle of a frame, reconnect and recover by
//! position, in both forms of the protocol. Never checks messages: their [`Crowd`] does.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::crowd::client::MembershipStage;
use super::crowd::{Crowd, HeardMessage};
use super::{Actor, Findings, RETRY_NS};
use crate::clock::{MILLISECOND, SECOND};
use crate::fleet::handshake::OpeningRequest;
use crate::fleet::{Behavior, ConnectionEnd, Departure, Fleet};
use crate::plan::{RunPhase, SoakLoad, WorkerPlan};

/// Maximum rooms per client.
const ROOMS_PER_CLIENT_MAX: usize = 4;

/// Interval at which a draining run counts missing messages.
const LOOK_NS: u64 = 20 * MILLISECOND;

/// The scenario.
pub struct SoakActor {
    clients: u32,
    payload_bytes: usize,
    actions_per_second: f64,
    crowd: Crowd,
    next_action: u64,
    resumes: BinaryHeap<Reverse<(u64, u32)>>,
    looked: u64,
}

impl SoakActor {
    /// Creates clients and rooms; every other client uses the binary form.
    #[must_use]
    pub fn new(plan: WorkerPlan, load: SoakLoad) -> Self {
        SoakActor {
            clients: plan.clients,
            payload_bytes: plan.payload_bytes,
            actions_per_second: load.actions_per_second,
            crowd: Crowd::new(plan, load.rooms, |client| client % 2 == 1),
            next_action: u64::MAX,
            resumes: BinaryHeap::new(),
            looked: 0,
        }
    }

    /// Draws a room. The first rooms are more likely, so that some are crowded.
    fn draw_room(&self, fleet: &mut Fleet) -> u32 {
        let (draw, rooms) = (fleet.rng.f64(), self.crowd.rooms());
        ((draw * draw * f64::from(rooms)) as u32).min(rooms - 1)
    }

    fn leave(&mut self, fleet: &mut Fleet, client: u32) {
        let memberships = &self.crowd.clients[client as usize].memberships;
        if let Some(inside) = memberships.iter().find(|membership| membership.stage == MembershipStage::In) {
            let room = inside.room;
            self.crowd.leave(fleet, client, room);
        }
    }

    fn publish(&mut self, fleet: &mut Fleet, client: u32) {
        let inside: Vec<u32> = self.crowd.clients[client as usize].rooms_in().collect();
        let Some(&room) = fleet.rng.choice(&inside) else { return };
        // Sometimes a burst, with sizes up to the plan's.
        for _ in 0..if fleet.rng.u8(..8) == 0 { 8 } else { 1 } {
            let size = fleet.rng.usize(..=self.payload_bytes);
            self.crowd.publish(fleet, client, room, size);
        }
    }

    fn come_back(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        // Some reconnect before the server notices, some after the presence grace.
        let away = if fleet.rng.bool() { fleet.rng.u64(..20 * MILLISECOND) } else { fleet.rng.u64(..4 * SECOND) };
        self.crowd.come_back(fleet, client, now + away);
    }

    fn act(&mut self, fleet: &mut Fleet, now: u64) {
        let client = fleet.rng.u32(..self.clients);
        let state = &self.crowd.clients[client as usize];
        if !state.up || state.stalled {
            return;
        }
        match fleet.rng.u8(..100) {
            0..60 => self.publish(fleet, client),
            60..72 if state.memberships.len() < ROOMS_PER_CLIENT_MAX => {
                let room = self.draw_room(fleet);
                self.crowd.join(fleet, client, room, None);
            }
            60..80 => self.leave(fleet, client),
            80..84 => {
                self.crowd.clients[client as usize].stalled = true;
                fleet.stall(client);
                let wait = fleet.rng.u64(10 * MILLISECOND..500 * MILLISECOND);
                self.resumes.push(Reverse((now + wait, client)));
            }
            84..88 => {
                // Later messages are ignored; `ended` follows the server's close.
                fleet.close(client);
                self.crowd.go_away(client);
            }
            _ => {
                let leaving =
                    *fleet.rng.choice(&[Departure::Fin, Departure::Reset, Departure::MidFrame]).expect("three");
                fleet.vanish(client, leaving);
                self.crowd.go_away(client);
                self.come_back(fleet, client, now);
            }
        }
    }

    fn plan_next(&mut self, fleet: &mut Fleet) {
        let resume = self.resumes.peek().map_or(u64::MAX, |Reverse((at, _))| *at);
        fleet.set_deadline(resume.min(self.next_action));
    }
}

impl Behavior for SoakActor {
    fn request(&mut self, client: u32) -> OpeningRequest {
        self.crowd.request(client)
    }

    fn opened(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        self.crowd.opened(fleet, client, now);
    }

    fn message(&mut self, fleet: &mut Fleet, client: u32, message: &[u8], now: u64) {
        if let HeardMessage::Answer(said) = self.crowd.message(fleet, client, message, now) {
            self.crowd.wrong(fleet, client, || format!("unexpected reply to a read: {said:?}"));
        }
    }

    fn ended(&mut self, fleet: &mut Fleet, client: u32, ended: ConnectionEnd, now: u64) {
        if self.crowd.ended(fleet, client, &ended) {
            self.come_back(fleet, client, now);
        }
    }

    fn failed(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        if self.crowd.phase < RunPhase::Leave {
            fleet.connect_at(client, now + RETRY_NS);
        }
    }

    fn due(&mut self, fleet: &mut Fleet, now: u64) {
        while let Some(Reverse((_, client))) = self.resumes.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            self.resumes.pop();
            self.crowd.clients[client as usize].stalled = false;
            fleet.resume(client);
        }
        while self.crowd.phase.is_running() && self.next_action <= now {
            self.act(fleet, now);
            let gap = -(1.0 - fleet.rng.f64()).ln() / self.actions_per_second * 1e9;
            self.next_action += (gap as u64).max(1);
        }
        self.plan_next(fleet);
    }

    fn turn_ended(&mut self, fleet: &mut Fleet, now: u64) {
        if self.crowd.phase == RunPhase::Drain && now.saturating_sub(self.looked) >= LOOK_NS {
            self.looked = now;
            fleet.counters.outstanding = self.crowd.owed();
        }
    }
}

impl Actor for SoakActor {
    fn enter(&mut self, fleet: &mut Fleet, phase: RunPhase, now: u64) {
        let before = std::mem::replace(&mut self.crowd.phase, phase);
        match phase {
            RunPhase::Connect => {
                for client in 0..self.clients {
                    for _ in 0..fleet.rng.usize(1..=ROOMS_PER_CLIENT_MAX - 1) {
                        let room = self.draw_room(fleet);
                        self.crowd.clients[client as usize].remembered.push((room, None));
                    }
                    fleet.connect(client);
                }
            }
            RunPhase::Warm | RunPhase::Measure if !before.is_running() => {
                self.next_action = now;
                self.plan_next(fleet);
            }
            RunPhase::Warm | RunPhase::Measure | RunPhase::Kill | RunPhase::Check => {}
            RunPhase::Drain => {
                self.next_action = u64::MAX;
                for Reverse((_, client)) in std::mem::take(&mut self.resumes) {
                    self.crowd.clients[client as usize].stalled = false;
                    fleet.resume(client);
                }
                fleet.counters.outstanding = self.crowd.owed();
            }
            RunPhase::Leave => {
                let owed = self.crowd.owed();
                self.crowd.give_up(fleet, owed);
                for client in 0..self.clients {
                    match fleet.rng.u8(..4) {
                        0 => fleet.vanish(client, Departure::MidFrame),
                        1 => fleet.vanish(client, Departure::Reset),
                        _ => {}
                    }
                }
                fleet.close_all();
            }
        }
    }

    fn finish(&mut self, _fleet: &mut Fleet) -> Findings {
        let mut findings = Findings::default();
        findings.add("recovery", &self.crowd.recovery);
        findings.complaints = self.crowd.complaints.take();
        findings
    }
}
