//! Owns `chat`: users in private and public rooms who write, read, come and go. All times are drawn in advance. Decides
//! who acts and when; [`hear`] checks the server's messages.

mod accounts;
mod acts;
mod behave;
mod hear;
mod person;
#[cfg(test)]
mod tests;
mod town;

use std::collections::HashMap;

use super::crowd::truth::Truth;
use super::{Actor, Complaints, Findings, RETRY_NS};
use crate::clock::MILLISECOND;
use crate::fleet::handshake::OpeningRequest;
use crate::fleet::{Behavior, ConnectionEnd, Fleet};
use crate::measure::histogram::Durations;
use crate::plan::{ChatLoad, RunPhase, WorkerPlan};
use acts::{Act, Acts};
use fastrand::Rng;
use person::{Person, Place};
use town::{KINDS, TownRoom};

/// Interval at which a draining run counts what is missing.
const LOOK_NS: u64 = 20 * MILLISECOND;

/// The scenario.
pub struct ChatActor {
    plan: WorkerPlan,
    load: ChatLoad,
    rooms: Vec<ChatRoom>,
    by_name: HashMap<String, u32>,
    people: Vec<Person>,
    /// Rooms, then the inbox of each user.
    truth: Truth,
    acts: Acts,
    phase: RunPhase,
    looked: u64,
    /// Scheduled time of each publish by number, and whether it is measured.
    publishes: Vec<(u64, bool)>,
    message: Vec<u8>,
    durations: ChatDurations,
    complaints: Complaints,
}

struct ChatRoom {
    name: String,
    town: TownRoom,
    /// Whether others may join.
    is_open: bool,
    /// The code of the invite.
    code: Option<String>,
    /// Highest head that a list of rooms has named.
    listed_head: u64,
}

#[derive(Default)]
struct ChatDurations {
    latency: Durations,
    lag: Durations,
    recovery: Durations,
    inbox: Durations,
}

impl ChatActor {
    /// Creates users and rooms.
    #[must_use]
    pub fn new(plan: WorkerPlan, load: ChatLoad) -> Self {
        let town = town::rooms(plan.clients, &mut Rng::with_seed(plan.seed));
        let mut people: Vec<Person> = (0..plan.clients).map(|_| Person::default()).collect();
        let mut rooms = Vec::new();
        for (index, town) in (0u32..).zip(town) {
            let is_private = KINDS[town.kind].is_private;
            for (place, member) in town.members.iter().enumerate() {
                // An invite makes a lasting member, and creating makes an owner.
                people[*member as usize].places.push(Place::new(index, is_private || place == 0));
            }
            let name = plan.room_name(index);
            rooms.push(ChatRoom { name, town, is_open: false, code: None, listed_head: 0 });
        }
        ChatActor {
            by_name: (0u32..).zip(&rooms).map(|(index, room)| (room.name.clone(), index)).collect(),
            truth: Truth::new(rooms.len() as u32 + plan.clients),
            rooms,
            people,
            acts: Acts::default(),
            phase: RunPhase::Connect,
            looked: 0,
            publishes: Vec::new(),
            message: Vec::new(),
            durations: ChatDurations::default(),
            complaints: Complaints::default(),
            plan,
            load,
        }
    }

    fn person(&mut self, client: u32) -> &mut Person {
        &mut self.people[client as usize]
    }

    /// The number of a user's inbox among the rooms.
    fn inbox_of(&self, client: u32) -> u32 {
        self.rooms.len() as u32 + client
    }

    fn inbox_name(&self, client: u32) -> String {
        format!("@{}", self.plan.user_name(client))
    }

    fn wrong(&mut self, fleet: &mut Fleet, client: u32, what: impl FnOnce() -> String) {
        fleet.counters.wrong += 1;
        self.complaints.add(|| format!("user {client}: {}", what()));
    }

    /// The connection of a user is gone.
    fn lose_connection(&mut self, client: u32) {
        let truth = &self.truth;
        self.people[client as usize].go_down(|room| truth.epoch(room).map(str::to_owned));
    }

    /// What users wait for: replies, rooms, messages.
    fn owed(&self) -> u64 {
        let of = |(client, person): (u32, &Person)| {
            let behind = |place: &Place| match place.is_in {
                true => (self.truth.head(place.room) + 1).saturating_sub(place.sequence.next()),
                false => 1,
            };
            let inbox = self.truth.head(self.inbox_of(client)).saturating_sub(person.inbox.seen());
            let away = u64::from(!person.up);
            away + person.pending.len() as u64 + person.places.iter().map(behind).sum::<u64>() + inbox
        };
        (0u32..).zip(&self.people).map(of).sum()
    }

    /// At the end, what is still owed is lost, and heads that the server has named must have come.
    fn give_up(&mut self, fleet: &mut Fleet) {
        let owed = self.owed();
        fleet.counters.outstanding = owed;
        fleet.counters.holes += owed;
        if owed > 0 {
            self.complaints.add(|| format!("{owed} messages, replies or rooms never came"));
        }
        for index in 0..self.rooms.len() as u32 {
            let (listed, head) = (self.rooms[index as usize].listed_head, self.truth.head(index));
            if listed > head {
                fleet.counters.wrong += 1;
                self.complaints.add(|| format!("room {index}: the list of rooms named head {listed}, but {head} came"));
            }
        }
    }

    fn plan_next(&self, fleet: &mut Fleet) {
        fleet.set_deadline(self.acts.next_at());
    }
}

impl Behavior for ChatActor {
    fn request(&mut self, client: u32) -> OpeningRequest {
        let (target, path) = self.plan.target_of(client, 0);
        OpeningRequest { target, path, subprotocol: Some("roomring.v1.json"), receive_bytes: None }
    }

    fn opened(&mut self, _fleet: &mut Fleet, client: u32, _now: u64) {
        // Everything else follows the welcome, which has the session.
        self.person(client).generation += 1;
    }

    fn message(&mut self, fleet: &mut Fleet, client: u32, message: &[u8], now: u64) {
        self.hear(fleet, client, message, now);
    }

    fn ended(&mut self, fleet: &mut Fleet, client: u32, ended: ConnectionEnd, now: u64) {
        if self.phase == RunPhase::Leave {
            return;
        }
        let person = self.person(client);
        person.closing = false;
        if let Some(at) = person.returns_at {
            // Closed on purpose. If the user should be back already, that was delayed until now.
            self.acts.plan(at.max(now), Act::Return { client });
            return self.plan_next(fleet);
        }
        fleet.counters.disconnected += 1;
        fleet.last_failure = Some(format!("connection ended: {ended:?}"));
        self.complaints.add(|| format!("user {client}: connection ended: {ended:?}"));
        self.lose_connection(client);
        self.person(client).returning_since = Some(now);
        fleet.connect_at(client, now + RETRY_NS);
    }

    fn failed(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        if self.phase < RunPhase::Leave {
            fleet.connect_at(client, now + RETRY_NS);
        }
    }

    fn due(&mut self, fleet: &mut Fleet, now: u64) {
        while let Some((at, act)) = self.acts.take_due(&mut fleet.rng, now) {
            self.act(fleet, at, act, now);
        }
        self.plan_next(fleet);
    }

    fn turn_ended(&mut self, fleet: &mut Fleet, now: u64) {
        if self.phase == RunPhase::Drain && now.saturating_sub(self.looked) >= LOOK_NS {
            self.looked = now;
            fleet.counters.outstanding = self.owed();
        }
    }
}

impl Actor for ChatActor {
    fn enter(&mut self, fleet: &mut Fleet, phase: RunPhase, now: u64) {
        let before = std::mem::replace(&mut self.phase, phase);
        match phase {
            RunPhase::Connect => (0..self.plan.clients).for_each(|client| fleet.connect(client)),
            RunPhase::Warm | RunPhase::Measure if !before.is_running() => {
                self.start_acts(fleet, now);
                self.plan_next(fleet);
            }
            RunPhase::Warm | RunPhase::Measure | RunPhase::Kill | RunPhase::Check => {}
            RunPhase::Drain => {
                // Nobody begins anything new, and whoever is away comes back at once.
                self.acts = Acts::default();
                for client in 0..self.plan.clients {
                    if self.people[client as usize].returns_at.is_some() {
                        self.acts.plan(now, Act::Return { client });
                    }
                }
                self.plan_next(fleet);
                fleet.counters.outstanding = self.owed().max(1);
            }
            RunPhase::Leave => {
                self.give_up(fleet);
                fleet.close_all();
            }
        }
    }

    fn finish(&mut self, _fleet: &mut Fleet) -> Findings {
        let mut findings = Findings::default();
        for (name, durations) in [
            ("latency", &self.durations.latency),
            ("lag", &self.durations.lag),
            ("recovery", &self.durations.recovery),
            ("inbox", &self.durations.inbox),
        ] {
            findings.add(name, durations);
        }
        findings.complaints = self.complaints.take();
        findings
    }
}
