//! What rooms' owners say: answers to this core's connections, and what its members are to see.

use std::sync::Arc;

use bytes::Bytes;

use super::{Home, HomeEffects};
use crate::base::codes::{CloseCode, ErrorCode};
use crate::base::ids::{ConnId, Position, RoomName, Seq};
use crate::engine::hop::ToHome;
use crate::engine::outbox::{Outgoing, Role};
use crate::engine::session::NOWHERE;
use crate::engine::settings::SlowPolicy;
use crate::wire::command::{Form, ReplyTo};
use crate::wire::frame::count_messages;
use crate::wire::publication::{Frames, Publication};
use crate::wire::reply::{Reply, encode_reply};

const FORMS: [Form; 2] = [Form::Json, Form::Binary];

impl Home {
    /// A hop from a room's owner.
    pub fn handle_hop(&mut self, hop: ToHome, effects: &mut HomeEffects<'_>) {
        match hop {
            ToHome::Deliver { room, publication, except, arrived_us } => {
                self.deliver(&room, &publication, except, arrived_us, effects);
            }
            ToHome::Push { room, frames, is_publication, except } => {
                let queued = self.push(&room, &frames, except, effects);
                effects.counters.deliveries.add(if is_publication { queued } else { 0 });
            }
            ToHome::Published { room, conn, position: (epoch, seq), duplicate, reply } => {
                self.answer(conn, &Reply::Published { room: &room, seq, epoch, duplicate }, reply, effects);
            }
            ToHome::Joined { room, conn, head, recovered, messages, members, reply } => {
                let joined = Joined { room: &room, head, recovered, messages: &messages, members };
                self.joined(conn, &joined, reply, effects);
            }
            ToHome::Left { room, conn, reply } => self.left(&room, conn, reply, effects),
            ToHome::History { room, conn, head, first_seq, messages, reply } => {
                let (epoch, head_seq) = (head.epoch, head.seq);
                let page = Reply::History { room: &room, epoch, first_seq, head_seq, messages: &messages };
                self.answer_page(conn, &page, reply, effects);
            }
            ToHome::Presence { room, conn, total, users, reply } => {
                self.answer_page(conn, &Reply::Presence { room: &room, total, users: &users }, reply, effects);
            }
            ToHome::Refused { room, conn, unjoin, code, message, retry_after_ms, reply } => {
                if unjoin {
                    self.join_answered(&room, conn, effects);
                }
                if self.session_of(conn).is_some() {
                    effects.counters.errors.add(1);
                    let error = encode_reply(&Reply::Error { code, message, retry_after_ms }, reply);
                    self.say(conn.slot, error, Role::Other, effects);
                }
            }
            ToHome::Gap { room, from, to } => self.gap(&room, from, to),
            ToHome::NewEpoch { room, head, messages, members } => {
                let joined = Joined { room: &room, head, recovered: false, messages: &messages, members };
                self.new_epoch(&joined, effects);
            }
        }
    }

    fn answer(&mut self, conn: ConnId, reply: &Reply<'_>, to: ReplyTo, effects: &mut HomeEffects<'_>) {
        if self.session_of(conn).is_some() {
            self.reply(conn.slot, reply, to, effects);
        }
    }

    /// An answer that may be large: a reader who has too much waiting is told so instead.
    fn answer_page(&mut self, conn: ConnId, page: &Reply<'_>, to: ReplyTo, effects: &mut HomeEffects<'_>) {
        if self.session_of(conn).is_none() || !to.wants_reply() {
            return;
        }
        let bytes = encode_reply(page, to);
        if self.outboxes.is_full_for(conn.slot, bytes.len()) {
            self.refuse(conn.slot, ErrorCode::Overloaded, "too much waits to be read by this client", to, effects);
        } else {
            self.say(conn.slot, bytes, Role::Other, effects);
        }
    }

    fn joined(&mut self, conn: ConnId, joined: &Joined<'_>, reply: ReplyTo, effects: &mut HomeEffects<'_>) {
        let audience_index = self.audiences.find(joined.room);
        if let Some(index) = audience_index {
            let audience = self.audiences.at_mut(index);
            // Whoever is a member here has been given everything up to the head: one lane, one order.
            assert!(
                audience.is_empty() || audience.last_seq == Some(joined.head.seq),
                "joined {} at {} after message {:?}",
                joined.room,
                joined.head.seq,
                audience.last_seq
            );
            audience.last_seq = Some(joined.head.seq);
        }
        if self.session_of(conn).is_none() {
            return;
        }
        let audience_index = audience_index.expect("an open connection's join holds a membership");
        let (slot, stream) = (conn.slot, self.audiences.at(audience_index).stream);
        let session = self.sessions.at_mut(slot);
        let form = session.form.expect("an open connection has a form");
        let index = session.membership(audience_index).expect("kept while a join is unanswered");
        let membership = &mut session.memberships[index];
        membership.joins -= 1;
        let announce = std::mem::take(&mut membership.announce);
        if membership.leaves == 0 && membership.place == NOWHERE {
            membership.place = self.audiences.at_mut(audience_index).add(slot, form);
        }
        if reply.wants_reply() || announce {
            let mut bytes = encode_reply(&joined.reply(), reply);
            if self.outboxes.is_full_for(slot, bytes.len()) {
                bytes = encode_reply(&Joined { recovered: false, messages: &[], ..*joined }.reply(), reply);
            }
            self.say(slot, bytes, Role::Start { stream }, effects);
        }
    }

    fn left(&mut self, room: &RoomName, conn: ConnId, reply: ReplyTo, effects: &mut HomeEffects<'_>) {
        if self.session_of(conn).is_none() {
            return;
        }
        let audience = self.audiences.find(room).expect("an open connection's leave holds a membership");
        let session = self.sessions.at_mut(conn.slot);
        let index = session.membership(audience).expect("kept while a leave is unanswered");
        let membership = &mut session.memberships[index];
        membership.leaves -= 1;
        // A join behind this leave may have been refused before the leave was done.
        membership.wanted &= membership.joins > 0 || membership.leaves > 0;
        let place = std::mem::replace(&mut membership.place, NOWHERE);
        if place != NOWHERE {
            self.remove_member(conn.slot, audience, place);
        }
        self.drop_idle_membership(conn.slot, audience, effects);
        self.reply(conn.slot, &Reply::Left { room }, reply, effects);
    }

    /// A join was refused: the membership prepared for it goes, unless it has other reasons to be there.
    fn join_answered(&mut self, room: &RoomName, conn: ConnId, effects: &mut HomeEffects<'_>) {
        if self.session_of(conn).is_none() {
            return;
        }
        let audience = self.audiences.find(room).expect("an open connection's join holds a membership");
        let session = self.sessions.at_mut(conn.slot);
        let index = session.membership(audience).expect("kept while a join is unanswered");
        let membership = &mut session.memberships[index];
        membership.joins -= 1;
        if membership.joins == 0 && membership.leaves == 0 && membership.place == NOWHERE {
            membership.wanted = false;
        }
        self.drop_idle_membership(conn.slot, audience, effects);
    }

    /// Forgets a membership that is neither wanted nor waits for an answer.
    fn drop_idle_membership(&mut self, slot: u32, audience: u32, effects: &mut HomeEffects<'_>) {
        let memberships = &mut self.sessions.at_mut(slot).memberships;
        let index = memberships.iter().position(|membership| membership.audience == audience);
        let index = index.expect("the caller has just used it");
        let membership = memberships[index];
        if !membership.wanted && membership.joins == 0 && membership.leaves == 0 {
            memberships.swap_remove(index);
            effects.counters.members.sub(1);
            self.audiences.exit(audience);
        }
    }

    /// Takes a connection off an audience's list.
    pub(super) fn remove_member(&mut self, slot: u32, audience: u32, place: u32) {
        let form = self.sessions.at(slot).form.expect("members are open");
        if let Some(moved) = self.audiences.at_mut(audience).remove(place, form) {
            let session = self.sessions.at_mut(moved);
            let index = session.membership(audience).expect("members hold a membership");
            session.memberships[index].place = place;
        }
    }

    fn deliver(
        &mut self,
        room: &RoomName,
        publication: &Arc<Publication>,
        except: Option<ConnId>,
        arrived_us: u64,
        effects: &mut HomeEffects<'_>,
    ) {
        let Some(index) = self.audiences.find(room) else { return };
        let audience = self.audiences.at_mut(index);
        let seq = publication.seq;
        if let Some(last) = audience.last_seq.replace(seq) {
            // Lanes lose nothing and the owner tells every hole: anything else is a fault of the server's own, and
            // wrong data must not be served.
            assert_eq!(seq, last + 1, "message out of order in {room}");
        }
        let (stream, policy) = (audience.stream, audience.slow_policy);
        let except = self.spared(except);
        let mut queued = 0;
        for form in FORMS {
            // Closing a slow member may have ended the audience.
            if self.audiences.find(room) != Some(index) {
                break;
            }
            let members = self.audiences.at(index).members(form);
            if members.is_empty() {
                continue;
            }
            let bytes = publication.frame(room, form);
            let outgoing = Outgoing { bytes: bytes.clone(), messages: 1, role: Role::Message { stream, seq } };
            let mut full = std::mem::take(&mut self.full);
            queued += u64::from(self.outboxes.push_all(members, except, outgoing, &mut full, effects.budget));
            for slot in full.drain(..) {
                queued += self.deliver_to_full(slot, (stream, room, seq), &bytes, policy, effects);
            }
            self.full = full;
        }
        effects.counters.deliveries.add(queued);
        if queued > 0 {
            self.delivered.push((arrived_us, queued));
        }
    }

    fn deliver_to_full(
        &mut self,
        slot: u32,
        message: (u32, &RoomName, Seq),
        bytes: &Bytes,
        policy: SlowPolicy,
        effects: &mut HomeEffects<'_>,
    ) -> u64 {
        let latest = match policy {
            SlowPolicy::Disconnect => {
                self.fail(slot, CloseCode::Slow, "outbox full", effects);
                return 0;
            }
            SlowPolicy::Skip => false,
            SlowPolicy::Latest => true,
        };
        let dropped = self.outboxes.push_dropping(slot, message, bytes.clone(), latest, effects.budget);
        effects.counters.dropped_slow.add(dropped);
        1
    }

    /// Frames without a number: a member who has no room for them does not get them, unless slow members are closed.
    /// Returns for how many they were queued.
    fn push(&mut self, room: &RoomName, frames: &Frames, except: Option<ConnId>, effects: &mut HomeEffects<'_>) -> u64 {
        let mut queued = 0;
        let Some(index) = self.audiences.find(room) else { return queued };
        let policy = self.audiences.at(index).slow_policy;
        let except = self.spared(except);
        for form in FORMS {
            // Closing a slow member may have ended the audience.
            if self.audiences.find(room) != Some(index) {
                break;
            }
            let (members, Some(bytes)) = (self.audiences.at(index).members(form), frames.get(form)) else { continue };
            let outgoing = Outgoing { bytes: bytes.clone(), messages: count_messages(bytes), role: Role::Other };
            let mut full = std::mem::take(&mut self.full);
            queued += u64::from(self.outboxes.push_all(members, except, outgoing, &mut full, effects.budget));
            for slot in full.drain(..) {
                if policy == SlowPolicy::Disconnect {
                    self.fail(slot, CloseCode::Slow, "outbox full", effects);
                } else {
                    effects.counters.dropped_slow.add(1);
                }
            }
            self.full = full;
        }
        queued
    }

    fn gap(&mut self, room: &RoomName, from: Seq, to: Seq) {
        let Some(index) = self.audiences.find(room) else { return };
        self.audiences.at_mut(index).last_seq = Some(to);
        let audience = self.audiences.at(index);
        for form in FORMS {
            for &slot in audience.members(form) {
                self.outboxes.push_gap(slot, audience.stream, room, from, to);
            }
        }
    }

    fn new_epoch(&mut self, joined: &Joined<'_>, effects: &mut HomeEffects<'_>) {
        let Some(index) = self.audiences.find(joined.room) else { return };
        let audience = self.audiences.at_mut(index);
        audience.last_seq = Some(joined.head.seq);
        let role = Role::Start { stream: audience.stream };
        for form in FORMS {
            // Closing a slow member may have ended the audience.
            if self.audiences.find(joined.room) != Some(index) {
                break;
            }
            let members = self.audiences.at(index).members(form);
            if members.is_empty() {
                continue;
            }
            let bytes = encode_reply(&joined.reply(), ReplyTo { id: None, form });
            let outgoing = Outgoing { messages: count_messages(&bytes), bytes, role };
            let mut full = std::mem::take(&mut self.full);
            self.outboxes.push_all(members, None, outgoing, &mut full, effects.budget);
            for slot in full.drain(..) {
                // Without it the connection would take the new numbering for the old one, whatever the policy.
                self.fail(slot, CloseCode::Slow, "outbox full", effects);
            }
            self.full = full;
        }
    }

    /// The slot of a connection that asked to be spared, if it is here.
    fn spared(&self, except: Option<ConnId>) -> Option<u32> {
        except.filter(|conn| conn.home == self.core && self.session_of(*conn).is_some()).map(|conn| conn.slot)
    }
}

/// What a `joined` says.
#[derive(Clone, Copy)]
struct Joined<'a> {
    room: &'a RoomName,
    head: Position,
    recovered: bool,
    messages: &'a [Arc<Publication>],
    members: u64,
}

impl<'a> Joined<'a> {
    fn reply(&self) -> Reply<'a> {
        Reply::Joined {
            room: self.room,
            epoch: self.head.epoch,
            seq: self.head.seq,
            recovered: self.recovered,
            messages: self.messages,
            members: self.members,
        }
    }
}
