//! Clients of several rooms each that come and go: what they say, and whether what they hear is right. Each checks order,
//! holes and duplicates by seq, `gap` and `joined`; together they check that all have seen the same rooms ([`truth`]).
//! Who does what when is the scenario's that drives them.

pub mod client;
#[cfg(test)]
pub mod tests;
mod truth;

use roomring::wire::frame::Opcode;

use super::{Complaints, RECOVERABLE};
use crate::dialect::{Position, Published, Said, binary, json};
use crate::fleet::handshake::Request;
use crate::fleet::{Ended, Fleet};
use crate::measure::histogram::Durations;
use crate::measure::sequence::{Arrival, Sequence};
use crate::payload::Stamp;
use crate::plan::{Phase, Plan};
use client::{Client, Membership, Stage};
use truth::{Sender, Truth};

/// All clients of a worker.
pub struct Crowd {
    plan: Plan,
    /// Each of them.
    pub clients: Vec<Client>,
    truth: Truth,
    names: Vec<String>,
    /// The phase of the run.
    pub phase: Phase,
    message: Vec<u8>,
    /// From the end of a client's absence to its last rejoin's answer.
    pub recovery: Durations,
    /// What went wrong, in words.
    pub complaints: Complaints,
}

/// What a message from the server was.
#[derive(Debug)]
pub enum Heard {
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
    pub fn new(plan: Plan, rooms: u32, speaks_binary: impl Fn(u32) -> bool) -> Self {
        let client = |client| Client { binary: speaks_binary(client), ..Client::default() };
        Crowd {
            clients: (0..plan.clients).map(client).collect(),
            truth: Truth::new(rooms),
            names: (0..rooms).map(|room| plan.room_name(room)).collect(),
            phase: Phase::Connect,
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
    pub fn request(&self, client: u32) -> Request {
        let target = client as usize % self.plan.targets.len();
        let path = format!("{}?user={}", self.plan.targets[target].path, self.plan.user_name(client));
        let binary = self.clients[client as usize].binary;
        let subprotocol = if binary { "roomring.v1.binary" } else { "roomring.v1.json" };
        Request { target, path, subprotocol: Some(subprotocol), receive_bytes: None }
    }

    fn send(&mut self, fleet: &mut Fleet, client: u32) {
        let opcode = if self.clients[client as usize].binary { Opcode::Binary } else { Opcode::Text };
        fleet.queue(client, opcode, &self.message);
    }

    /// Sends a join, unless the client is in the room or on its way into or out of it.
    pub fn join(&mut self, fleet: &mut Fleet, client: u32, room: u32, asked: Option<Position>) {
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
        state.memberships.push(Membership::joining(room, asked));
        self.send(fleet, client);
    }

    /// Sends a leave, if the client is in the room.
    pub fn leave(&mut self, fleet: &mut Fleet, client: u32, room: u32) {
        let state = &mut self.clients[client as usize];
        let binary = state.binary;
        let Some(membership) = state.membership(room).filter(|membership| membership.stage == Stage::In) else {
            return;
        };
        membership.stage = Stage::Leaving;
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
        let number = self.truth.next_number(Sender { client, generation: state.generation });
        state.unanswered.push_back((room, number));
        let stamp = Stamp { number, room };
        let name = &self.names[room as usize];
        self.message.clear();
        match state.binary {
            true => binary::write_publish(name, stamp, size, &mut self.message),
            false => json::write_publish(name, stamp, size, true, &mut self.message),
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
        if self.phase < Phase::Leave {
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
    pub fn check(&mut self, room: u32, published: &Published) -> Result<(), String> {
        // The stamp may stand behind the quote of a JSON string.
        self.truth.check(room, published.seq, Stamp::find(&published.data, &mut 0))
    }

    fn deliver(&mut self, fleet: &mut Fleet, client: u32, published: &Published) -> Heard {
        let seq = published.seq;
        let room = self.room_named(&published.room);
        let membership = room.and_then(|room| self.clients[client as usize].membership(room));
        let (Some(room), Some(membership)) = (room, membership) else {
            fleet.counters.misrouted += 1;
            self.complaints.add(|| format!("client {client} got seq {seq} of {}: not a member", published.room));
            return Heard::Done;
        };
        if membership.stage == Stage::Joining {
            self.wrong(fleet, client, || format!("room {room}: seq {seq} before the joined"));
            return Heard::Done;
        }
        let expected = membership.sequence.next();
        let is_live = seq > membership.head;
        let arrival = membership.sequence.observe(seq);
        fleet.counters.delivered += 1;
        match arrival {
            Arrival::InOrder => fleet.counters.expected += 1,
            Arrival::AfterHole(missing) => {
                fleet.counters.expected += missing + 1;
                self.complaints.add(|| format!("client {client}, room {room}: seq {seq} in place of {expected}"));
            }
            Arrival::Late => fleet.counters.out_of_order += 1,
            Arrival::Duplicate => {
                fleet.counters.duplicated += 1;
                self.complaints.add(|| format!("client {client}, room {room}: seq {seq} again, not {expected}"));
            }
        }
        fleet.counters.replayed += u64::from(!is_live);
        if let Err(what) = self.check(room, published) {
            self.wrong(fleet, client, || what);
            return Heard::Done;
        }
        match Stamp::find(&published.data, &mut 0) {
            Some(Stamp { number, .. }) if is_live && arrival == Arrival::InOrder => Heard::Live { number },
            _ => Heard::Done,
        }
    }

    fn joined(&mut self, fleet: &mut Fleet, client: u32, now: u64, joined: Said) {
        let Said::Joined { room, epoch, seq, recovered, messages, following } = joined else { return };
        let room_index = self.room_named(&room);
        let membership = room_index.and_then(|room| self.clients[client as usize].membership(room));
        let (Some(room), Some(membership)) = (room_index, membership) else {
            return self.wrong(fleet, client, || format!("joined {room} unasked"));
        };
        fleet.counters.joins += 1;
        if membership.stage != Stage::Joining {
            return self.wrong(fleet, client, || format!("room {room}: joined twice"));
        }
        let told = messages.len() as u64 + u64::from(following);
        // Whether recovered or not, what is told ends at the head without a hole.
        let first = (seq + 1).saturating_sub(told);
        membership.stage = Stage::In;
        membership.head = seq;
        membership.sequence = Sequence::starting_at(first);
        let asked = membership.asked.take();
        self.check_recovery(fleet, client, room, asked.as_ref(), (first, seq, recovered));
        if let Err(what) = self.truth.check_epoch(room, &epoch) {
            self.wrong(fleet, client, || what);
        }
        for published in &messages {
            self.deliver(fleet, client, published);
        }
        self.settle(fleet, client, now);
    }

    /// Holds a `joined` that tells from `first` to `head` against what was asked.
    fn check_recovery(
        &mut self,
        fleet: &mut Fleet,
        client: u32,
        room: u32,
        asked: Option<&Position>,
        (first, head, recovered): (u64, u64, bool),
    ) {
        let Some(&Position { seq: last, .. }) = asked else {
            if recovered {
                self.wrong(fleet, client, || format!("room {room}: recovered, but nothing was asked"));
            }
            return;
        };
        match recovered {
            true => fleet.counters.recovered += 1,
            false => fleet.counters.not_recovered += 1,
        }
        if recovered && first != last + 1 {
            let what = || format!("room {room}: recovered from {first} in place of {}, head {head}", last + 1);
            self.wrong(fleet, client, what);
        }
        if !recovered && head.saturating_sub(last) <= RECOVERABLE {
            self.wrong(fleet, client, || format!("room {room}: {last} not recovered, head {head}"));
        }
        if last > head {
            self.wrong(fleet, client, || format!("room {room}: head {head} behind {last}, which was received"));
        }
    }

    fn settle(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        let state = &mut self.clients[client as usize];
        if !state.is_settled() {
            return;
        }
        if let Some(since) = state.returning_since.take().filter(|_| self.phase == Phase::Measure) {
            self.recovery.record(now.saturating_sub(since));
        }
        if !std::mem::replace(&mut state.settled, true) {
            fleet.counters.ready += 1;
        }
    }

    fn accepted(&mut self, fleet: &mut Fleet, client: u32, room: &str, seq: Option<u64>) {
        let room_index = self.room_named(room);
        let state = &mut self.clients[client as usize];
        let number = room_index.and_then(|room| state.take_unanswered(room));
        match (room_index, number, seq) {
            _ if state.unsure => {}
            (Some(room), Some(number), Some(seq)) => {
                if let Err(what) = self.truth.check(room, seq, Some(Stamp { number, room })) {
                    self.wrong(fleet, client, || format!("published: {what}"));
                }
            }
            _ => self.wrong(fleet, client, || format!("{room}: a publish was accepted that was not sent")),
        }
    }

    fn left(&mut self, fleet: &mut Fleet, client: u32, room: &str) {
        let room = self.room_named(room);
        let memberships = &mut self.clients[client as usize].memberships;
        let left = |membership: &Membership| Some(membership.room) == room && membership.stage == Stage::Leaving;
        match memberships.iter().position(left) {
            Some(place) => drop(memberships.remove(place)),
            None => self.wrong(fleet, client, || format!("left {room:?} unasked")),
        }
    }

    fn gap(&mut self, fleet: &mut Fleet, client: u32, room: &str, from: u64, to: u64) {
        let room_index = self.room_named(room);
        let Some(membership) = room_index.and_then(|room| self.clients[client as usize].membership(room)) else {
            return self.wrong(fleet, client, || format!("gap {from} to {to} of {room}: not a member"));
        };
        let next = membership.sequence.next();
        let missing = membership.sequence.announce_gap(from, to);
        // What was a hole is not expected any more; what the gap leaves out before it is one.
        let passed = membership.sequence.next() - next;
        fleet.counters.expected = (fleet.counters.expected + passed).saturating_sub(missing);
        fleet.counters.gaps_announced += missing;
        if from > to || missing != to - from + 1 {
            self.wrong(fleet, client, || format!("{room}: gap {from} to {to}, of which {missing} were missing"));
        }
    }

    /// Deliveries and replies that are still owed.
    #[must_use]
    pub fn owed(&self) -> u64 {
        let of = |client: &Client| {
            let returning = u64::from(!client.up && client.returning_since.is_some());
            let unanswered = client.unanswered.len() as u64 * u64::from(!client.unsure);
            let behind = |membership: &Membership| match membership.stage {
                Stage::In => (self.truth.head(membership.room) + 1).saturating_sub(membership.sequence.next()),
                Stage::Joining | Stage::Leaving => 1,
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

    /// Takes a message from the server.
    pub fn message(&mut self, fleet: &mut Fleet, client: u32, message: &[u8], now: u64) -> Heard {
        // Pushes come in the form of the connection, replies in that of their command; no binary one begins like this.
        let is_binary = self.clients[client as usize].binary && message.first() != Some(&b'{');
        match if is_binary { binary::parse(message) } else { json::parse(message) } {
            Said::Message(published) => return self.deliver(fleet, client, &published),
            joined @ Said::Joined { .. } => self.joined(fleet, client, now, joined),
            Said::Left { room } => self.left(fleet, client, &room),
            Said::Accepted { room, seq } => self.accepted(fleet, client, &room, seq),
            Said::Gap { room, from, to } => self.gap(fleet, client, &room, from, to),
            answer @ (Said::History { .. } | Said::Presence { .. }) => return Heard::Answer(answer),
            Said::Error { code, message } => {
                fleet.counters.errors += 1;
                self.clients[client as usize].unsure = true;
                self.complaints.add(|| format!("client {client}: refused: {code}: {message}"));
            }
            Said::Garbage(what) => self.wrong(fleet, client, || format!("not understood: {what}")),
            Said::Reconnect | Said::Asked { .. } | Said::Other => fleet.counters.other_messages += 1,
        }
        Heard::Done
    }

    /// A client's connection has ended. Returns whether it is to come back.
    pub fn ended(&mut self, fleet: &mut Fleet, client: u32, ended: &Ended) -> bool {
        if self.phase == Phase::Leave {
            return false;
        }
        if *ended != Ended::Asked {
            if self.clients[client as usize].stalled && *ended == Ended::ByServer(Some(4413)) {
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
