//! Owns the checks of what the server says to users. Never decides what a user does.

use super::ChatActor;
use super::person::PendingReply;
use crate::dialect::RoomMessage;
use crate::dialect::people::{self, ListedRoom, PeopleSaid};
use crate::fleet::Fleet;
use crate::measure::sequence::{ArrivalOrder, Sequence};
use crate::payload::Stamp;
use crate::plan::RunPhase;
use crate::scenario::RECOVERABLE;
use crate::scenario::crowd::truth::Author;

/// A `joined` without its room.
struct JoinedRoom {
    epoch: String,
    seq: u64,
    recovered: bool,
    messages: Vec<RoomMessage>,
    remaining: u64,
}

impl ChatActor {
    /// Takes a number for the next publish of a user.
    pub(super) fn next_number(&mut self, client: u32, at: u64, measured: bool) -> u32 {
        let generation = self.people[client as usize].generation;
        let number = self.truth.next_number(Author { client, generation });
        debug_assert_eq!(number as usize, self.publishes.len());
        self.publishes.push((at, measured));
        number
    }

    /// Takes a message of the server.
    pub(super) fn hear(&mut self, fleet: &mut Fleet, client: u32, message: &[u8], now: u64) {
        match people::parse(message) {
            PeopleSaid::Welcome { session } => {
                let person = self.person(client);
                (person.up, person.session) = (true, session);
                self.welcomed(fleet, client);
            }
            PeopleSaid::Joined { id, room, epoch, seq, recovered, messages, remaining } => {
                if id.is_some() {
                    self.replied(fleet, client, id, "joined");
                }
                let joined = JoinedRoom { epoch, seq, recovered, messages, remaining };
                if room == self.inbox_name(client) {
                    self.inbox_opened(fleet, client, &joined, now);
                } else {
                    self.joined(fleet, client, &room, joined, now);
                }
            }
            PeopleSaid::Message(message) if message.room == self.inbox_name(client) => {
                self.inbox_message(fleet, client, &message, now);
                self.acknowledge_inbox(fleet, client);
            }
            PeopleSaid::Message(message) => self.deliver(fleet, client, &message, now),
            PeopleSaid::Published { id, seq } => self.published(fleet, client, id, seq),
            PeopleSaid::Room { id } => {
                if let Some(PendingReply::Create { room }) = self.replied(fleet, client, id, "room") {
                    self.room_created(fleet, client, room);
                }
            }
            PeopleSaid::Invite { id, code } => {
                if let Some(PendingReply::Invite { room }) = self.replied(fleet, client, id, "invite") {
                    self.open(fleet, room, Some(code));
                }
            }
            PeopleSaid::Receipt { id: None, room, user, .. } => {
                fleet.counters.receipts += 1;
                self.check_push(fleet, client, &room, Some(&user), "receipt");
            }
            PeopleSaid::Receipt { id, seq, .. } => self.receipt_stored(fleet, client, id, seq),
            PeopleSaid::Resumed { id } => drop(self.replied(fleet, client, id, "resumed")),
            PeopleSaid::Rooms { id, rooms } => self.listed(fleet, client, id, &rooms),
            PeopleSaid::Presence { id, total } => self.present(fleet, client, id, total),
            PeopleSaid::Typing { room, user } => {
                fleet.counters.typing += 1;
                self.check_push(fleet, client, &room, Some(&user), "typing");
            }
            // The reply to the user, who has asked for none.
            PeopleSaid::Status { room } if room.is_empty() => {}
            PeopleSaid::Status { room } => {
                fleet.counters.statuses += 1;
                self.check_push(fleet, client, &room, None, "status");
            }
            PeopleSaid::Gap { room, from, to } => self.gap(fleet, client, &room, from, to),
            PeopleSaid::Error { id, code, message } => self.refused(fleet, client, id, &code, &message),
            PeopleSaid::Garbage(what) => self.wrong(fleet, client, || format!("invalid message: {what}")),
            PeopleSaid::Other => fleet.counters.other_messages += 1,
        }
    }

    /// Takes the command that a reply answers. One without a command is wrong.
    fn replied(&mut self, fleet: &mut Fleet, client: u32, id: Option<u64>, reply: &str) -> Option<PendingReply> {
        let pending = self.person(client).take_pending(id);
        let fits = match (&pending, reply) {
            (Some(pending), "joined") => matches!(pending, PendingReply::Join { .. }),
            (Some(pending), "room") => matches!(pending, PendingReply::Create { .. }),
            (Some(pending), "resumed") => *pending == PendingReply::Resume,
            (Some(pending), reply) => {
                let of = if reply == "published" { "publish" } else { reply };
                pending.command() == of || (reply, pending.command()) == ("rooms", "list_rooms")
            }
            (None, _) => false,
        };
        if !fits {
            self.wrong(fleet, client, || format!("unexpected {reply} with id {id:?}, command {pending:?}"));
            return None;
        }
        pending
    }

    fn joined(&mut self, fleet: &mut Fleet, client: u32, name: &str, joined: JoinedRoom, now: u64) {
        let room = self.by_name.get(name).copied();
        let place = room.and_then(|room| self.people[client as usize].place(room));
        let (Some(room), Some(place)) = (room, place) else {
            return self.wrong(fleet, client, || format!("unexpected joined of {name:?}"));
        };
        fleet.counters.joins += 1;
        if place.is_in || !place.asked {
            return self.wrong(fleet, client, || format!("{name}: joined, but no join was sent"));
        }
        let told = joined.messages.len() as u64 + joined.remaining;
        // Recovered or not, the messages end at the head without a hole.
        let first = (joined.seq + 1).saturating_sub(told);
        (place.is_in, place.asked) = (true, false);
        place.head = joined.seq;
        place.sequence = Sequence::starting_at(first);
        let position = place.position.take().map(|position| position.seq);
        if let Err(what) = check_recovery(position, first, joined.seq, joined.recovered) {
            self.wrong(fleet, client, || format!("{name}: {what}"));
        }
        match (position, joined.recovered) {
            (Some(_), true) => fleet.counters.recovered += 1,
            (Some(_), false) => fleet.counters.not_recovered += 1,
            (None, _) => {}
        }
        if let Err(what) = self.truth.check_epoch(room, &joined.epoch) {
            self.wrong(fleet, client, || what);
        }
        for message in &joined.messages {
            self.deliver(fleet, client, message, now);
        }
        self.settle(fleet, client, now);
    }

    /// A user may have all rooms now.
    fn settle(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        let person = &mut self.people[client as usize];
        if !person.is_back() {
            return;
        }
        person.resumes = None;
        let is_measured = self.phase == RunPhase::Measure;
        if let Some(since) = person.returning_since.take() {
            if is_measured {
                self.durations.recovery.record(now.saturating_sub(since));
            }
            fleet.counters.returned += 1;
            self.look_around(fleet, client);
        }
        if !std::mem::replace(&mut self.person(client).settled, true) {
            fleet.counters.ready += 1;
        }
    }

    fn deliver(&mut self, fleet: &mut Fleet, client: u32, message: &RoomMessage, now: u64) {
        let seq = message.seq;
        let room = self.by_name.get(&message.room).copied();
        let place = room.and_then(|room| self.people[client as usize].place(room)).filter(|place| place.is_in);
        let (Some(room), Some(place)) = (room, place) else {
            fleet.counters.misrouted += 1;
            self.complaints.add(|| format!("user {client} got seq {seq} of {}: not joined", message.room));
            return;
        };
        let (expected, is_live) = (place.sequence.next(), seq > place.head);
        let arrival = place.sequence.observe(seq);
        fleet.counters.delivered += 1;
        match arrival {
            ArrivalOrder::InOrder => fleet.counters.expected += 1,
            ArrivalOrder::AfterHole(missing) => {
                fleet.counters.expected += missing + 1;
                self.complaints.add(|| format!("user {client}, room {room}: seq {seq} in place of {expected}"));
            }
            ArrivalOrder::Late => fleet.counters.out_of_order += 1,
            ArrivalOrder::Duplicate => {
                fleet.counters.duplicated += 1;
                self.complaints.add(|| format!("user {client}, room {room}: seq {seq} again, not {expected}"));
            }
        }
        fleet.counters.replayed += u64::from(!is_live);
        let stamp = Stamp::find(&message.data, &mut 0);
        if let Err(what) = self.truth.check(room, seq, stamp) {
            return self.wrong(fleet, client, || what);
        }
        let Some(Stamp { number, .. }) = stamp.filter(|_| is_live && arrival == ArrivalOrder::InOrder) else { return };
        let (scheduled, is_measured) = self.publishes[number as usize];
        let took = now.saturating_sub(scheduled);
        fleet.pulse.record(took);
        if is_measured {
            self.durations.latency.record(took);
        }
    }

    /// The server has joined the user's inbox.
    fn inbox_opened(&mut self, fleet: &mut Fleet, client: u32, joined: &JoinedRoom, now: u64) {
        let told = joined.messages.len() as u64 + joined.remaining;
        if let Err(what) = self.person(client).inbox.opened(joined.seq, told) {
            self.wrong(fleet, client, || what);
        }
        if let Err(what) = self.truth.check_epoch(self.inbox_of(client), &joined.epoch) {
            self.wrong(fleet, client, || what);
        }
        for message in &joined.messages {
            self.inbox_message(fleet, client, message, now);
        }
        // Later messages of the inbox are acknowledged as they come.
        self.acknowledge_inbox(fleet, client);
    }

    fn inbox_message(&mut self, fleet: &mut Fleet, client: u32, message: &RoomMessage, now: u64) {
        let stamp = Stamp::find(&message.data, &mut 0);
        if let Err(what) = self.truth.check(self.inbox_of(client), message.seq, stamp) {
            return self.wrong(fleet, client, || format!("inbox: {what}"));
        }
        match self.person(client).inbox.take(message.seq) {
            Ok(true) => {
                fleet.counters.inbox_received += 1;
                let since = self.people[client as usize].returning_since;
                if let Some(since) = since.filter(|_| self.phase == RunPhase::Measure) {
                    self.durations.inbox.record(now.saturating_sub(since));
                }
            }
            Ok(false) => fleet.counters.inbox_again += 1,
            Err(what) => self.wrong(fleet, client, || what),
        }
    }

    fn published(&mut self, fleet: &mut Fleet, client: u32, id: Option<u64>, seq: Option<u64>) {
        let pending = self.replied(fleet, client, id, "published");
        let Some(PendingReply::Publish { room, number }) = pending else { return };
        let checked = match seq {
            Some(seq) => self.truth.check(room, seq, Some(Stamp { number, room })),
            None => Err(format!("room {room}: publish {number} was answered without a seq")),
        };
        if let Err(what) = checked {
            self.wrong(fleet, client, || what);
        }
    }

    fn receipt_stored(&mut self, fleet: &mut Fleet, client: u32, id: Option<u64>, stored: u64) {
        match self.replied(fleet, client, id, "receipt") {
            Some(PendingReply::Delivered) => {
                if let Err(what) = self.person(client).inbox.delivered(stored) {
                    self.wrong(fleet, client, || what);
                }
            }
            Some(PendingReply::Read { room, seq }) => {
                let Some(place) = self.person(client).place(room) else { return };
                place.read.confirmed = place.read.confirmed.max(stored);
                let sent = place.read.sent;
                if stored < seq || stored > sent {
                    let what = || format!("room {room}: the receipt for seq {seq} was stored as {stored}, {sent} sent");
                    self.wrong(fleet, client, what);
                }
            }
            _ => {}
        }
    }

    fn listed(&mut self, fleet: &mut Fleet, client: u32, id: Option<u64>, listed: &[ListedRoom]) {
        let Some(PendingReply::List(known)) = self.replied(fleet, client, id, "rooms") else { return };
        for (room, head, confirmed) in known {
            let name = &self.rooms[room as usize].name;
            let Some(found) = listed.iter().find(|listed| listed.room == *name) else {
                let place = self.people[client as usize].place(room);
                if place.is_some_and(|place| place.is_lasting) {
                    self.wrong(fleet, client, || format!("room {room} is not in the list of rooms"));
                }
                continue;
            };
            fleet.counters.unread_checked += 1;
            let known_head = &mut self.rooms[room as usize].listed_head;
            *known_head = (*known_head).max(found.head_seq);
            let mark = self.person(client).place(room).map(|place| place.read).unwrap_or_default();
            if let Err(what) = mark.check(found, confirmed, head) {
                self.wrong(fleet, client, || what);
            }
        }
        let own = self.inbox_name(client);
        let is_own = |of: &Self, name: &str| {
            let room = of.by_name.get(name).copied();
            name == own || room.is_some_and(|room| of.rooms[room as usize].town.members.contains(&client))
        };
        if let Some(stranger) = listed.iter().find(|listed| !is_own(self, &listed.room)) {
            self.wrong(fleet, client, || format!("{} is in the list of rooms: not a member", stranger.room));
        }
    }

    fn present(&mut self, fleet: &mut Fleet, client: u32, id: Option<u64>, total: u64) {
        let Some(PendingReply::Presence { room }) = self.replied(fleet, client, id, "presence") else { return };
        fleet.counters.reads += 1;
        let members = self.rooms[room as usize].town.members.len() as u64;
        // The user is present.
        if !(1..=members).contains(&total) {
            self.wrong(fleet, client, || format!("room {room}: presence of {total}, with {members} members"));
        }
    }

    /// Checks a push about another member.
    fn check_push(&mut self, fleet: &mut Fleet, client: u32, room: &str, user: Option<&str>, what: &str) {
        if user.is_some_and(|user| user == self.plan.user_name(client)) {
            return self.wrong(fleet, client, || format!("{room}: the user's own {what}"));
        }
        let place = self.by_name.get(room).copied().and_then(|room| self.people[client as usize].place(room));
        if place.is_none() && room != self.inbox_name(client) {
            fleet.counters.misrouted += 1;
            self.complaints.add(|| format!("user {client} got a {what} of {room}: not a member"));
        }
    }

    fn gap(&mut self, fleet: &mut Fleet, client: u32, room: &str, from: u64, to: u64) {
        // These users read as fast as they can, and the outboxes are large enough.
        let place = self.by_name.get(room).copied().and_then(|room| self.people[client as usize].place(room));
        let missing = place.map_or(0, |place| place.sequence.announce_gap(from, to));
        fleet.counters.skipped += missing;
        fleet.counters.expected += missing;
        self.complaints.add(|| format!("user {client}: gap {from} to {to} of {room}, of which {missing} were missing"));
    }

    fn refused(&mut self, fleet: &mut Fleet, client: u32, id: Option<u64>, code: &str, message: &str) {
        fleet.counters.errors += 1;
        let pending = self.person(client).take_pending(id);
        let command = pending.as_ref().map_or("a command without id", PendingReply::command);
        let mut what = format!("{command} was refused: {code}: {message}");
        if code == "unknown_command" {
            what.push_str(" (chat needs a server with all commands of PROTOCOL section 2)");
        }
        self.complaints.add(|| format!("user {client}: {what}"));
        fleet.last_failure = Some(what);
        match pending {
            Some(PendingReply::Resume) => self.rejoin(fleet, client),
            Some(PendingReply::Join { room }) => {
                if let Some(place) = self.person(client).place(room) {
                    place.asked = false;
                }
            }
            _ => {}
        }
    }
}

/// Checks a `joined` with messages from `first` to `head` against the position that was sent.
fn check_recovery(position: Option<u64>, first: u64, head: u64, recovered: bool) -> Result<(), String> {
    let Some(last) = position else {
        return if recovered { Err("recovered without a position".to_owned()) } else { Ok(()) };
    };
    if last > head {
        return Err(format!("head {head} is before {last}, which was received"));
    }
    if recovered && first != last + 1 {
        return Err(format!("recovered from {first} in place of {}, head {head}", last + 1));
    }
    if !recovered && head - last <= RECOVERABLE {
        return Err(format!("{last} was not recovered, head {head}"));
    }
    Ok(())
}
