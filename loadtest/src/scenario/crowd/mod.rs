//! Owns clients with several rooms each that leave and return: their commands, and the checks of their messages. Each
//! client checks order, holes and duplicates by seq, `gap` and `joined`; together they check that all see the same
//! rooms ([`truth`]). Never decides when a client acts: the scenario does.

pub mod client;
mod hear;
#[cfg(test)]
pub mod tests;
pub mod truth;

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
    /// The clients.
    pub clients: Vec<CrowdClient>,
    truth: Truth,
    names: Vec<String>,
    /// The phase of the run.
    pub phase: RunPhase,
    message: Vec<u8>,
    /// Time from the start of a reconnect to the reply to the last rejoin.
    pub recovery: Durations,
    /// Descriptions of errors.
    pub complaints: Complaints,
}

/// The meaning of a server's message.
#[derive(Debug)]
pub enum HeardMessage {
    /// Handled completely.
    Done,
    /// A live publication in order.
    Live {
        /// Number of the publish, over all rooms.
        number: u32,
    },
    /// Reply to a read, for the scenario.
    Answer(Said),
}

impl Crowd {
    /// Creates clients without rooms, and `rooms` rooms.
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

    /// Number of rooms.
    #[must_use]
    pub fn rooms(&self) -> u32 {
        self.names.len() as u32
    }

    /// Name of a room.
    #[must_use]
    pub fn room_name(&self, room: u32) -> &str {
        &self.names[room as usize]
    }

    /// Highest seq seen in a room.
    #[must_use]
    pub fn head(&self, room: u32) -> u64 {
        self.truth.head(room)
    }

    /// The upgrade request of a client.
    #[must_use]
    pub fn request(&self, client: u32) -> OpeningRequest {
        // Its rooms are not known yet.
        let (target, path) = self.plan.target_of(client, 0);
        let binary = self.clients[client as usize].binary;
        let subprotocol = if binary { "roomring.v1.binary" } else { "roomring.v1.json" };
        OpeningRequest { target, path, subprotocol: Some(subprotocol), receive_bytes: None }
    }

    fn send(&mut self, fleet: &mut Fleet, client: u32) {
        let opcode = if self.clients[client as usize].binary { Opcode::Binary } else { Opcode::Text };
        fleet.queue(client, opcode, &self.message);
    }

    /// Sends a join, unless the client has a membership of the room.
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

    /// Sends a leave, if the client has joined the room.
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

    /// Sends a publish to a joined room. Returns its number, over all rooms.
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

    /// Handles a lost connection, or one whose messages are ignored from now on.
    pub fn go_away(&mut self, client: u32) {
        let truth = &self.truth;
        self.clients[client as usize].go_down(|room| truth.epoch(room).map(str::to_owned));
    }

    /// Reconnects a client at `at`, unless the run is in its leave phase.
    pub fn come_back(&mut self, fleet: &mut Fleet, client: u32, at: u64) {
        if self.phase < RunPhase::Leave {
            self.clients[client as usize].returning_since = Some(at);
            fleet.connect_at(client, at);
        }
    }

    /// Counts a wrong message.
    pub fn wrong(&mut self, fleet: &mut Fleet, client: u32, what: impl FnOnce() -> String) {
        fleet.counters.wrong += 1;
        let form = if self.clients[client as usize].binary { "binary" } else { "JSON" };
        self.complaints.add(|| format!("client {client} ({form}): {}", what()));
    }

    /// Finds a room of this worker by name.
    #[must_use]
    pub fn room_named(&self, name: &str) -> Option<u32> {
        let room = name.rsplit('-').next()?.parse().ok()?;
        (self.names.get(room as usize).map(String::as_str) == Some(name)).then_some(room)
    }

    /// Checks a publication against the other clients' messages.
    ///
    /// # Errors
    /// The contradiction.
    pub fn check(&mut self, room: u32, published: &RoomMessage) -> Result<(), String> {
        // In a JSON string, a quote precedes the stamp.
        self.truth.check(room, published.seq, Stamp::find(&published.data, &mut 0))
    }

    /// Number of missing deliveries and replies.
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

    /// Counts missing messages as lost.
    pub fn give_up(&mut self, fleet: &mut Fleet, owed: u64) {
        fleet.counters.outstanding = owed;
        fleet.counters.holes += owed;
        if owed > 0 {
            self.complaints.add(|| format!("{owed} deliveries or replies never came"));
        }
    }

    /// Handles an opened WebSocket: joins the remembered rooms.
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

    /// Handles the end of a connection. Returns whether the client must reconnect.
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
