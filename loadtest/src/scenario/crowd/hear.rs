//! Owns the checks of received messages against the client's requests and the other clients' messages. Never sends.

use super::client::{CrowdMembership, MembershipStage};
use super::{Crowd, HeardMessage, RECOVERABLE};
use crate::dialect::{ClientPosition, RoomMessage, Said, binary, json};
use crate::fleet::Fleet;
use crate::measure::sequence::{ArrivalOrder, Sequence};
use crate::payload::Stamp;
use crate::plan::RunPhase;

impl Crowd {
    fn deliver(&mut self, fleet: &mut Fleet, client: u32, published: &RoomMessage) -> HeardMessage {
        let seq = published.seq;
        let room = self.room_named(&published.room);
        let membership = room.and_then(|room| self.clients[client as usize].membership(room));
        let (Some(room), Some(membership)) = (room, membership) else {
            fleet.counters.misrouted += 1;
            self.complaints.add(|| format!("client {client} got seq {seq} of {}: not a member", published.room));
            return HeardMessage::Done;
        };
        if membership.stage == MembershipStage::Joining {
            self.wrong(fleet, client, || format!("room {room}: seq {seq} before the joined"));
            return HeardMessage::Done;
        }
        let expected = membership.sequence.next();
        let is_live = seq > membership.head;
        let arrival = membership.sequence.observe(seq);
        fleet.counters.delivered += 1;
        match arrival {
            ArrivalOrder::InOrder => fleet.counters.expected += 1,
            ArrivalOrder::AfterHole(missing) => {
                fleet.counters.expected += missing + 1;
                self.complaints.add(|| format!("client {client}, room {room}: seq {seq} in place of {expected}"));
            }
            ArrivalOrder::Late => fleet.counters.out_of_order += 1,
            ArrivalOrder::Duplicate => {
                fleet.counters.duplicated += 1;
                self.complaints.add(|| format!("client {client}, room {room}: seq {seq} again, not {expected}"));
            }
        }
        fleet.counters.replayed += u64::from(!is_live);
        if let Err(what) = self.check(room, published) {
            self.wrong(fleet, client, || what);
            return HeardMessage::Done;
        }
        match Stamp::find(&published.data, &mut 0) {
            Some(Stamp { number, .. }) if is_live && arrival == ArrivalOrder::InOrder => HeardMessage::Live { number },
            _ => HeardMessage::Done,
        }
    }

    pub(super) fn joined(&mut self, fleet: &mut Fleet, client: u32, now: u64, joined: Said) {
        let Said::Joined { room, epoch, seq, recovered, messages, following } = joined else { return };
        let room_index = self.room_named(&room);
        let membership = room_index.and_then(|room| self.clients[client as usize].membership(room));
        let (Some(room), Some(membership)) = (room_index, membership) else {
            return self.wrong(fleet, client, || format!("unexpected joined of {room}"));
        };
        fleet.counters.joins += 1;
        if membership.stage != MembershipStage::Joining {
            return self.wrong(fleet, client, || format!("room {room}: joined twice"));
        }
        let told = messages.len() as u64 + u64::from(following);
        // Recovered or not, the messages end at the head without a hole.
        let first = (seq + 1).saturating_sub(told);
        membership.stage = MembershipStage::In;
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

    /// Checks a `joined` with messages from `first` to `head` against the requested position.
    fn check_recovery(
        &mut self,
        fleet: &mut Fleet,
        client: u32,
        room: u32,
        asked: Option<&ClientPosition>,
        (first, head, recovered): (u64, u64, bool),
    ) {
        let Some(&ClientPosition { seq: last, .. }) = asked else {
            if recovered {
                self.wrong(fleet, client, || format!("room {room}: recovered without a requested position"));
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
            self.wrong(fleet, client, || format!("room {room}: head {head} is before {last}, which was received"));
        }
    }

    pub(super) fn settle(&mut self, fleet: &mut Fleet, client: u32, now: u64) {
        let state = &mut self.clients[client as usize];
        if !state.is_settled() {
            return;
        }
        if let Some(since) = state.returning_since.take().filter(|_| self.phase == RunPhase::Measure) {
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
            _ => self.wrong(fleet, client, || format!("{room}: reply to a publish that was not sent")),
        }
    }

    fn left(&mut self, fleet: &mut Fleet, client: u32, room: &str) {
        let room = self.room_named(room);
        let memberships = &mut self.clients[client as usize].memberships;
        let left = |membership: &CrowdMembership| {
            Some(membership.room) == room && membership.stage == MembershipStage::Leaving
        };
        match memberships.iter().position(left) {
            Some(place) => drop(memberships.remove(place)),
            None => self.wrong(fleet, client, || format!("unexpected left of {room:?}")),
        }
    }

    fn gap(&mut self, fleet: &mut Fleet, client: u32, room: &str, from: u64, to: u64) {
        let room_index = self.room_named(room);
        let Some(membership) = room_index.and_then(|room| self.clients[client as usize].membership(room)) else {
            return self.wrong(fleet, client, || format!("gap {from} to {to} of {room}: not a member"));
        };
        let next = membership.sequence.next();
        let missing = membership.sequence.announce_gap(from, to);
        // Holes within the gap are no longer expected; numbers skipped before it become holes.
        let passed = membership.sequence.next() - next;
        fleet.counters.expected = (fleet.counters.expected + passed).saturating_sub(missing);
        fleet.counters.gaps_announced += missing;
        if from > to || missing != to - from + 1 {
            self.wrong(fleet, client, || format!("{room}: gap {from} to {to}, of which {missing} were missing"));
        }
    }

    /// Takes a message from the server.
    pub fn message(&mut self, fleet: &mut Fleet, client: u32, message: &[u8], now: u64) -> HeardMessage {
        // Pushes have the form of the connection, replies that of their command. No binary message starts with `{`.
        let is_binary = self.clients[client as usize].binary && message.first() != Some(&b'{');
        match if is_binary { binary::parse(message) } else { json::parse(message) } {
            Said::Message(published) => return self.deliver(fleet, client, &published),
            joined @ Said::Joined { .. } => self.joined(fleet, client, now, joined),
            Said::Left { room } => self.left(fleet, client, &room),
            Said::Accepted { room, seq } => self.accepted(fleet, client, &room, seq),
            Said::Gap { room, from, to } => self.gap(fleet, client, &room, from, to),
            answer @ (Said::History { .. } | Said::Presence { .. }) => return HeardMessage::Answer(answer),
            Said::Error { code, message } => {
                fleet.counters.errors += 1;
                self.clients[client as usize].unsure = true;
                self.complaints.add(|| format!("client {client}: refused: {code}: {message}"));
            }
            Said::Garbage(what) => self.wrong(fleet, client, || format!("invalid message: {what}")),
            Said::Reconnect | Said::Asked { .. } | Said::Other => fleet.counters.other_messages += 1,
        }
        HeardMessage::Done
    }
}
