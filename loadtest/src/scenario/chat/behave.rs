//! Owns how users act: sets up rooms, writes, reads, leaves and returns. Never checks what the server says.

use roomring::wire::frame::Opcode;

use super::acts::{Act, Acts};
use super::person::PendingReply;
use super::{ChatActor, town};
use crate::clock::MILLISECOND;
use crate::dialect::people::{self, Command};
use crate::fleet::{Departure, Fleet};
use crate::payload::Stamp;
use crate::plan::RunPhase;

/// How often a user looks at the list of rooms, per second: once in two minutes (assumption).
const LISTS_PER_USER: f64 = 1.0 / 120.0;

/// How often a user's status changes, per second: once in five minutes (assumption).
const STATUSES_PER_USER: f64 = 1.0 / 300.0;

/// Time between the first key and the message: shorter than people take, so that a short run has both ends.
const TYPING_NS: std::ops::Range<u64> = 500 * MILLISECOND..1_500 * MILLISECOND;

/// One of so many messages is sent without telling that typing has ended: the server must do that.
const FORGETS_TYPING: u32 = 10;

/// One of so many returning users does not tell that the inbox was delivered: its messages must come again.
const WITHHOLDS: u32 = 4;

/// Half of the absences are of one in so many users, whose connections are bad: they return often enough in a short run.
const BAD_CONNECTIONS: u32 = 10;

impl ChatActor {
    /// Starts the acts of all users.
    pub(super) fn start_acts(&mut self, fleet: &mut Fleet, now: u64) {
        let people = f64::from(self.plan.clients);
        let streams = vec![
            (Act::Type, self.load.messages_per_user * people),
            (Act::Read, self.load.reads_per_user * people),
            (Act::List, LISTS_PER_USER * people),
            (Act::ChangeStatus, STATUSES_PER_USER * people),
            (Act::Leave, self.load.absences_per_user * people),
        ];
        self.acts = Acts::start(streams, &mut fleet.rng, now);
    }

    /// Does what is due.
    pub(super) fn act(&mut self, fleet: &mut Fleet, at: u64, act: Act, now: u64) {
        match act {
            Act::Type => self.begin_to_type(fleet, at),
            Act::Write { client, room } => self.write(fleet, client, room, at, now),
            Act::WriteInbox { to } => self.write_inbox(fleet, to, at, now),
            Act::Read => self.read(fleet),
            Act::List => {
                if let Some(client) = self.anybody(fleet) {
                    self.list(fleet, client);
                }
            }
            Act::ChangeStatus => self.change_status(fleet),
            Act::Leave => self.leave(fleet, now),
            Act::Return { client } => {
                let person = self.person(client);
                // While the connection is being closed, its end brings the user back.
                if !person.closing && person.returns_at.take().is_some() {
                    person.returning_since = Some(now);
                    fleet.connect(client);
                }
            }
        }
    }

    /// Somebody who is online with all rooms.
    fn anybody(&self, fleet: &mut Fleet) -> Option<u32> {
        let from = fleet.rng.u32(..self.plan.clients);
        (from..self.plan.clients).chain(0..from).find(|client| self.people[*client as usize].is_back())
    }

    /// Sends a command that gets a reply.
    pub(super) fn ask(&mut self, fleet: &mut Fleet, client: u32, reply: PendingReply, command: Command<'_>) {
        let id = self.person(client).expect(reply);
        self.message.clear();
        people::write(command, Some(id), &mut self.message);
        fleet.queue(client, Opcode::Text, &self.message);
    }

    /// Sends a command that gets none.
    fn tell(&mut self, fleet: &mut Fleet, client: u32, command: Command<'_>) {
        self.message.clear();
        people::write(command, None, &mut self.message);
        fleet.queue(client, Opcode::Text, &self.message);
    }

    /// Creates the user's rooms, and joins those that are open.
    pub(super) fn set_up(&mut self, fleet: &mut Fleet, client: u32) {
        for place in 0..self.people[client as usize].places.len() {
            let room = self.people[client as usize].places[place].room;
            let of = &self.rooms[room as usize];
            if of.is_open {
                self.join(fleet, client, room);
            } else if of.town.members[0] == client {
                let (name, private) = (of.name.clone(), town::KINDS[of.town.kind].is_private);
                self.ask(fleet, client, PendingReply::Create { room }, Command::Create { room: &name, private });
            }
        }
    }

    /// Makes a code for the other members, if the room is private; otherwise opens it.
    pub(super) fn room_created(&mut self, fleet: &mut Fleet, client: u32, room: u32) {
        let of = &self.rooms[room as usize];
        if !town::KINDS[of.town.kind].is_private {
            return self.open(fleet, room, None);
        }
        let (name, uses) = (of.name.clone(), of.town.members.len() - 1);
        self.ask(fleet, client, PendingReply::Invite { room }, Command::Invite { room: &name, uses });
    }

    /// All members who are online join.
    pub(super) fn open(&mut self, fleet: &mut Fleet, room: u32, code: Option<String>) {
        let of = &mut self.rooms[room as usize];
        (of.is_open, of.code) = (true, code);
        for client in of.town.members.clone() {
            if self.people[client as usize].up {
                self.join(fleet, client, room);
            }
        }
    }

    fn join(&mut self, fleet: &mut Fleet, client: u32, room: u32) {
        let Some(place) = self.person(client).place(room).filter(|place| !place.is_in && !place.asked) else { return };
        place.asked = true;
        let position = place.position.clone();
        let of = &self.rooms[room as usize];
        // Whoever has created the room, or was in it, needs no code.
        let needs_code = of.town.members[0] != client && position.is_none();
        let (name, code) = (of.name.clone(), of.code.clone().filter(|_| needs_code));
        let command = Command::Join { room: &name, invite: code.as_deref(), position: position.as_ref() };
        self.ask(fleet, client, PendingReply::Join { room }, command);
    }

    /// Continues the session before, or sets up the rooms.
    pub(super) fn welcomed(&mut self, fleet: &mut Fleet, client: u32) {
        let Some(session) = self.people[client as usize].resumes.clone() else { return self.set_up(fleet, client) };
        let mut positions = Vec::new();
        for place in &mut self.people[client as usize].places {
            if let Some(position) = place.position.clone() {
                place.asked = true;
                positions.push((self.rooms[place.room as usize].name.clone(), position));
            }
        }
        let positions: Vec<_> = positions.iter().map(|(name, position)| (name.as_str(), position.clone())).collect();
        let command = Command::Resume { session: &session, positions: &positions };
        self.ask(fleet, client, PendingReply::Resume, command);
    }

    /// The session is gone: joins by position instead.
    pub(super) fn rejoin(&mut self, fleet: &mut Fleet, client: u32) {
        let person = self.person(client);
        person.resumes = None;
        person.places.iter_mut().for_each(|place| place.asked = false);
        self.set_up(fleet, client);
    }

    /// Looks at the list of rooms.
    pub(super) fn list(&mut self, fleet: &mut Fleet, client: u32) {
        let truth = &self.truth;
        let places = self.people[client as usize].places.iter();
        let known = places.map(|place| (place.room, truth.head(place.room), place.read.confirmed)).collect();
        self.ask(fleet, client, PendingReply::List(known), Command::List);
    }

    /// A user is back: looks at the list of rooms and at who is there.
    pub(super) fn look_around(&mut self, fleet: &mut Fleet, client: u32) {
        self.list(fleet, client);
        let room = self.people[client as usize].places[0].room;
        let name = self.rooms[room as usize].name.clone();
        self.ask(fleet, client, PendingReply::Presence { room }, Command::Presence { room: &name });
    }

    /// One of a user's rooms, as often as people write to rooms of its kind.
    fn room_of(&self, fleet: &mut Fleet, client: u32) -> Option<u32> {
        let kind = town::kind(&mut fleet.rng);
        let rooms = self.people[client as usize].places.iter().map(|place| place.room);
        let rooms: Vec<u32> = rooms.filter(|room| self.rooms[*room as usize].town.kind == kind).collect();
        fleet.rng.choice(&rooms).copied()
    }

    fn begin_to_type(&mut self, fleet: &mut Fleet, at: u64) {
        let writer = self.anybody(fleet).and_then(|client| Some((client, self.room_of(fleet, client)?)));
        let Some((client, room)) = writer else {
            fleet.counters.unsent += 1;
            return;
        };
        let name = self.rooms[room as usize].name.clone();
        self.tell(fleet, client, Command::Typing { room: &name, active: true });
        let takes = fleet.rng.u64(TYPING_NS);
        self.acts.plan(at + takes, Act::Write { client, room });
    }

    fn write(&mut self, fleet: &mut Fleet, client: u32, room: u32, at: u64, now: u64) {
        // If the user has left meanwhile, somebody else has something to say.
        let writer = match self.people[client as usize].is_back() {
            true => Some((client, room)),
            false => self.anybody(fleet).and_then(|client| Some((client, self.room_of(fleet, client)?))),
        };
        let Some((client, room)) = writer else {
            fleet.counters.unsent += 1;
            return;
        };
        let name = self.rooms[room as usize].name.clone();
        if fleet.rng.u32(..FORGETS_TYPING) > 0 {
            self.tell(fleet, client, Command::Typing { room: &name, active: false });
        }
        self.publish(fleet, client, room, &name, at, now);
    }

    fn write_inbox(&mut self, fleet: &mut Fleet, to: u32, at: u64, now: u64) {
        let Some(client) = self.anybody(fleet).filter(|client| *client != to) else { return };
        let (room, name) = (self.inbox_of(to), self.inbox_name(to));
        self.publish(fleet, client, room, &name, at, now);
    }

    fn publish(&mut self, fleet: &mut Fleet, client: u32, room: u32, name: &str, at: u64, now: u64) {
        let measured = self.phase == RunPhase::Measure;
        // The inbox has no offered rate of its own.
        let is_offered = (room as usize) < self.rooms.len();
        if measured && is_offered {
            self.durations.lag.record(now.saturating_sub(at));
        }
        let number = self.next_number(client, at, measured && is_offered);
        let command = Command::Publish { room: name, stamp: Stamp { number, room }, payload: self.plan.payload() };
        self.ask(fleet, client, PendingReply::Publish { room, number }, command);
        fleet.counters.published += u64::from(is_offered);
        fleet.flush(client);
    }

    /// Somebody reads a room in which there is something new.
    fn read(&mut self, fleet: &mut Fleet) {
        let Some(client) = self.anybody(fleet) else { return };
        let unread = |of: &Self, room: u32| {
            let place = of.people[client as usize].places.iter().find(|place| place.room == room)?;
            (place.seen() > place.read.sent).then(|| place.seen())
        };
        // Where most is written, most is read.
        let drawn = (0..3).filter_map(|_| self.room_of(fleet, client)).collect::<Vec<_>>();
        let Some((room, seq)) = drawn.into_iter().find_map(|room| Some((room, unread(self, room)?))) else { return };
        if let Some(place) = self.person(client).place(room) {
            place.read.sent = seq;
        }
        let name = self.rooms[room as usize].name.clone();
        let command = Command::Receipt { room: &name, seq, delivered: false };
        self.ask(fleet, client, PendingReply::Read { room, seq }, command);
    }

    /// Tells that the inbox was delivered, unless the user withholds that.
    pub(super) fn acknowledge_inbox(&mut self, fleet: &mut Fleet, client: u32) {
        let person = self.person(client);
        if person.withholds {
            return;
        }
        if let Some(seq) = person.inbox.receipt() {
            let name = self.inbox_name(client);
            let command = Command::Receipt { room: &name, seq, delivered: true };
            self.ask(fleet, client, PendingReply::Delivered, command);
        }
    }

    fn change_status(&mut self, fleet: &mut Fleet) {
        let Some(client) = self.anybody(fleet) else { return };
        let person = self.person(client);
        person.away = !person.away;
        let away = person.away;
        self.tell(fleet, client, Command::Status { away });
    }

    /// Somebody loses the connection for a while. Meanwhile others write to the inbox.
    fn leave(&mut self, fleet: &mut Fleet, now: u64) {
        let Some(mut client) = self.anybody(fleet) else { return };
        let bad = fleet.rng.u32(..(self.plan.clients / BAD_CONNECTIONS).max(1));
        if fleet.rng.bool() && self.people[bad as usize].is_back() {
            client = bad;
        }
        let longest = self.load.gone_ns;
        let gone = fleet.rng.u64(longest / 10..=longest);
        let withholds = fleet.rng.u32(..WITHHOLDS) == 0;
        match fleet.rng.choice(&[None, Some(Departure::Fin), Some(Departure::Reset), Some(Departure::MidFrame)]) {
            Some(Some(leaving)) => fleet.vanish(client, *leaving),
            _ => {
                fleet.close(client);
                self.person(client).closing = true;
            }
        }
        self.lose_connection(client);
        let person = self.person(client);
        (person.returns_at, person.withholds) = (Some(now + gone), withholds);
        self.acts.plan(now + gone, Act::Return { client });
        // As often as the mean says: the whole part surely, the rest by chance.
        let messages = self.load.inbox.floor() as u32 + u32::from(fleet.rng.f64() < self.load.inbox.fract());
        for _ in 0..messages {
            let at = now + fleet.rng.u64(..gone);
            self.acts.plan(at, Act::WriteInbox { to: client });
        }
    }
}
