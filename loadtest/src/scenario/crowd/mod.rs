//! Clients of several rooms each that come and go: what they say, and whether what they hear is right. Each checks order,
//! holes and duplicates by seq, `gap` and `joined`; together they check that all have seen the same rooms ([`truth`]).
//! Who does what when is the scenario's that drives them.

pub mod client;
mod hear;
#[cfg(test)]
pub mod tests;
mod truth;

use roomring::wire::frame::Opcode;

use super::{Complaints, RECOVERABLE};
use crate::dialect::{ClientPosition, RoomMessage, Said, binary, json};
use crate::fleet::handshake::OpeningRequest;
use crate::fleet::{ConnectionEnd, Fleet};
use crate::measure::histogram::Durations;
use crate::payload::{Payload, Stamp};
use crate::plan::{RunPhase, WorkerPlan};
use client::{CrowdClient, CrowdMembership, MembershipStage};
use truth::{Author, Truth};

/// All clients of a worker.
pub struct Crowd {
    plan: WorkerPlan,
    /// Each of them.
    pub clients: Vec<CrowdClient>,
    truth: Truth,
    names: Vec<String>,
    /// The phase of the run.
    pub phase: RunPhase,
    message: Vec<u8>,
    /// From the end of a client's absence to its last rejoin's answer.
    pub recovery: Durations,
    /// What went wrong, in words.
    pub complaints: Complaints,
}

/// What a message from the server was.
#[derive(Debug)]
pub enum HeardMessage {
    /// Everything about it is done.
    Done,
    /// A live publication, the receiver's next one.
    Live {
        /// The publish's number, counted over all rooms.
        number: u32,
    },
    /// An answer to a read, for the scenario.
    Answer(Said),
}

impl Crowd {
    /// Clients that are in no room, and so many rooms.
    #[must_use]
    pub fn new(plan: WorkerPlan, rooms: u32, speaks_binary: impl Fn(u32) -> bool) -> Self {
        let client = |client| CrowdClient { binary: speaks_binary(client), ..CrowdClient::default() };
        Crowd {
            clients: (0..plan.clients).map(client).collect(),
            truth: Truth::new(rooms),
            names: (0..rooms).map(|room| plan.room_name(room)).collect(),
            phase: RunPhase::Connect,
            message: Vec::new(),
            recovery: Durations::default(),
            complaints: Complaints::default(),
            plan,
        }
    }

    /// How many rooms there are.
    #[must_use]
    pub fn rooms(&self) -> u32 {
        self.names.len() as u32
    }

    /// A room's name.
    #[must_use]
    pub fn room_name(&self, room: u32) -> &str {
        &self.names[room as usize]
    }

    /// The highest seq that anyone has seen in a room.
    #[must_use]
    pub fn head(&self, room: u32) -> u64 {
        self.truth.head(room)
    }

    /// The upgrade request of a client.
    #[must_use]
    pub fn request(&self, client: u32) -> OpeningRequest {
        // Which rooms it will be in shows later.
        let (target, path) = self.plan.target_of(client, 0);
        let binary = self.clients[client as usize].binary;
        let subprotocol = if binary { "roomring.v1.binary" } else { "roomring.v1.json" };
        OpeningRequest { target, path, subprotocol: Some(subprotocol), receive_bytes: None }
    }

    fn send(&mut self, fleet: &mut Fleet, client: u32) {
        let opcode = if self.clients[client as usize].binary { Opcode::Binary } else { Opcode::Text };
        fleet.queue(client, opcode, &self.message);
    }

    /// Sends a join, unless the client is in the room or on its way into or out of it.
    pub fn join(&mut self, fleet: &mut Fleet, client: u32, room: u32, asked: Option<ClientPosition>) {
        let state = &mut self.clients[client as usize];
        if state.membership(room).is_some() {
            return;
        }
        self.message.clear();
        let name = &self.names[room as usize];
        match state.binary {
            true => binary::write_join(name, asked.as_ref(), &mut self.message),
            false => json::write_join(name, asked.as_ref(), &mut self.message),
        }
        state.memberships.push(CrowdMembership::joining(room, asked));
        self.send(fleet, client);
    }

    /// Sends a leave, if the client is in the room.
    pub fn leave(&mut self, fleet: &mut Fleet, client: u32, room: u32) {
        let state = &mut self.clients[client as usize];
        let binary = state.binary;
        let Some(membership) = state.membership(room).filter(|membership| membership.stage == MembershipStage::In)
        else {
            return;
        };
        membership.stage = MembershipStage::Leaving;
        let name = &self.names[room as usize];
        self.message.clear();
        match binary {
            true => binary::write_leave(name, &mut self.message),
            false => json::write_leave(name, &mut self.message),
        }
        self.send(fleet, client);
    }

    /// Sends a publish to a room that the client is in. Returns its number, counted over all rooms.
    pub fn publish(&mut self, fleet: &mut Fleet, client: u32, room: u32, size: usize) -> u32 {
        let state = &mut self.clients[client as usize];
        let number = self.truth.next_number(Author { client, generation: state.generation });
        state.unanswered.push_back((room, number));
        let stamp = Stamp { number, room };
        let payload = Payload { bytes: size, ..self.plan.payload() };
        let name = &self.names[room as usize];
        self.message.clear();
        match state.binary {
            true => binary::write_publish(name, stamp, payload, &mut self.message),
            false => json::write_publish(name, stamp, payload, true, &mut self.message),
        }
        fleet.counters.published += 1;
        self.send(fleet, client);
        number
    }

    /// A client's connection is gone, or the client no longer looks at what comes.
    pub fn go_away(&mut self, client: u32) {
        let truth = &self.truth;
        self.clients[client as usize].go_down(|room| truth.epoch(room).map(str::to_owned));
    }

    /// Connects a client again at `at`, unless all are leaving.
    pub fn come_back(&mut self, fleet: &mut Fleet, client: u32, at: u64) {
        if self.phase < RunPhase::Leave {
            self.clients[client as usize].returning_since = Some(at);
            fleet.connect_at(client, at);
        }
    }

    /// Counts something that cannot be right.
    pub fn wrong(&mut self, fleet: &mut Fleet, client: u32, what: impl FnOnce() -> String) {
        fleet.counters.wrong += 1;
        let form = if self.clients[client as usize].binary { "binary" } else { "JSON" };
        self.complaints.add(|| format!("client {client} ({form}): {}", what()));
    }

    /// The room with this name, if it is one of this worker's.
    #[must_use]
    pub fn room_named(&self, name: &str) -> Option<u32> {
        let room = name.rsplit('-').next()?.parse().ok()?;
        (self.names.get(room as usize).map(String::as_str) == Some(name)).then_some(room)
    }

    /// Holds a publication of a room against what others have seen of it.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&mut self, room: u32, published: &RoomMessage) -> Result<(), String> {
        // The stamp may stand behind the quote of a JSON string.
        self.truth.check(room, published.seq, Stamp::find(&published.data, &mut 0))
    }

    /// Deliveries and replies that are still owed.
    #[must_use]
    pub fn owed(&self) -> u64 {
        let of = |client: &CrowdClient| {
            let returning = u64::from(!client.up && client.returning_since.is_some());
            let unanswered = client.unanswered.len() as u64 * u64::from(!client.unsure);
            let behind = |membership: &CrowdMembership| match membership.stage {
                MembershipStage::In => {
                    (self.truth.head(membership.room) + 1).saturating_sub(membership.sequence.next())
                }
                MembershipStage::Joining | MembershipStage::Leaving => 1,
            };
            returning + unanswered + client.memberships.iter().map(behind).sum::<u64>()
        };
        self.clients.iter().map(of).sum()
    }

    /// What is owed now will not come.
    pub fn give_up(&mut self, fleet: &mut Fleet, owed: u64) {
        fleet.counters.outstanding = owed;
        fleet.counters.holes += owed;
        if owed > 0 {
            self.complaints.add(|| format!("{owed} deliveries or replies never came"));
        }
    }

    /// A client's WebSocket is open: it joins what it remembers.
    pub fn opened(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        let state = &mut self.clients[client as usize];
        state.up = true;
        state.unsure = false;
        state.generation += 1;
        for (room, position) in std::mem::take(&mut state.remembered) {
            self.join(fleet, client, room, position);
        }
        self.settle(fleet, client, now);
    }

    /// A client's connection has ended. Returns whether it is to come back.
    pub fn ended(&mut self, fleet: &mut Fleet, client: u32, ended: &ConnectionEnd) -> bool {
        if self.phase == RunPhase::Leave {
            return false;
        }
        if *ended != ConnectionEnd::Asked {
            if self.clients[client as usize].stalled && *ended == ConnectionEnd::ByServer(Some(4413)) {
                fleet.counters.stalled_closed += 1;
            } else {
                fleet.counters.disconnected += 1;
                self.complaints.add(|| format!("client {client}: connection ended: {ended:?}"));
            }
        }
        self.go_away(client);
        true
    }
}
