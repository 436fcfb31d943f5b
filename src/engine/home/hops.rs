//! What rooms' owners say: answers to this core's connections, and what its members are to see.

use std::sync::Arc;

use super::{Home, HomeEffects};
use crate::base::chat::Role;
use crate::base::codes::ErrorCode;
use crate::base::ids::{ConnId, Position, RoomName};
use crate::base::limits::JOINED_BYTES_MAX;
use crate::engine::hop::ToHome;
use crate::engine::session::{NOWHERE, Phase};
use crate::wire::encode::{encode_push, encode_reply};
use crate::wire::form::Form;
use crate::wire::protocol::{Answer, LeftReason, Push, Refusal, Reply, ReplyTo};
use crate::wire::publication::Publication;

impl Home {
    /// A hop from a room's owner.
    pub fn handle_hop(&mut self, hop: ToHome, effects: &mut HomeEffects<'_>) {
        match hop {
            ToHome::Deliver { room, delivery } => {
                if let Some(mark) = delivery.trace {
                    let publication = &delivery.publication;
                    self.note_traced((mark, publication.arrived_us), &room, publication.seq, effects);
                }
                self.deliver(&room, delivery, effects);
            }
            ToHome::Push { room, frames, variants, except } => {
                self.push(&room, (&frames, variants.as_deref()), except, effects);
            }
            ToHome::News { room, news, frames, variants } => {
                self.tell_news(&room, &news, (&frames, variants.as_deref()), effects);
            }
            ToHome::ConnectAdmitted { conn, counted } => self.connect_admitted(conn, counted, effects),
            ToHome::TooOften { conn, too_often } => self.connects_too_often(conn, too_often, effects),
            ToHome::AttemptAdmitted { conn } => self.attempt_judged(conn, Ok(()), effects),
            ToHome::AttemptRefused { conn, retry_after_ms } => self.attempt_judged(conn, Err(retry_after_ms), effects),
            ToHome::UserAdmitted { conn, user } => self.user_admitted(conn, user, effects),
            ToHome::ConnectRefused { conn, refusal } => self.connect_refused(conn, refusal, effects),
            ToHome::Passed { hop } => self.passed(*hop, effects),
            ToHome::Answer { room, conn, answer, reply } => self.answered(conn, &room, &answer, reply, effects),
            ToHome::Joined { room, conn, head, recovered, messages, members, role, reply } => {
                let joined = Joined { room: &room, head, recovered, messages, members, role };
                self.joined(conn, joined, reply, effects);
            }
            ToHome::LookedUp { conn, found, reply } => self.looked_up(conn, found, reply, effects),
            ToHome::PutOut { room, whom, reason } => self.put_out(&room, &whom, reason, effects),
            ToHome::Left { room, conn, reply } => self.left(&room, conn, reply, effects),
            ToHome::Expelled { room, conn, reason } => {
                if self.membership_left(&room, conn, true, effects) {
                    effects.counters.kicked.add(u64::from(reason == LeftReason::Kicked));
                    let form = self.sessions.at(conn.slot).reading.expect("an open connection reads somehow").form();
                    let left = encode_push(&Push::Left { room: &room, reason }, form);
                    self.say_of(conn.slot, Some(&room), left, effects);
                }
            }
            ToHome::JoinRefused { room, conn, refusal, reply } => {
                self.join_answered(&room, conn, effects);
                self.answered(conn, &room, &Answer::Refused(refusal), reply, effects);
            }
            ToHome::Gap { room, from, to } => self.gap(&room, from, to, effects),
            ToHome::NewEpoch { room, head, messages, members } => {
                // Roles differ between the members, who are all told the same.
                let joined = Joined { room: &room, head, recovered: false, messages, members, role: None };
                self.new_epoch(joined, effects);
            }
        }
    }

    /// The owner of a room has answered a connection. Behind everything that the room has said before.
    fn answered(&mut self, conn: ConnId, room: &RoomName, answer: &Answer, to: ReplyTo, effects: &mut HomeEffects<'_>) {
        if let Answer::Published { .. } = answer {
            self.note_published(conn);
        }
        if self.session_of(conn).is_none() {
            return;
        }
        if let Answer::Refused(Refusal { code, message, retry_after_ms }) = *answer {
            return self.refuse_of(conn.slot, Some(room), (code, message, retry_after_ms), to, effects);
        }
        if !to.wants_reply() {
            return;
        }
        let bytes = encode_reply(&Reply::Answer { room, answer }, to);
        // A page may be large: a reader who has too much waiting is told so instead.
        let is_page = matches!(answer, Answer::History { .. } | Answer::Presence { .. });
        if is_page && self.outboxes.is_full_for(conn.slot, bytes.len()) {
            let refusal = (ErrorCode::Overloaded, "too much waits to be read by this client", None);
            self.refuse_of(conn.slot, Some(room), refusal, to, effects);
        } else {
            self.say_of(conn.slot, Some(room), bytes, effects);
        }
    }

    fn joined(&mut self, conn: ConnId, joined: Joined<'_>, reply: ReplyTo, effects: &mut HomeEffects<'_>) {
        if let Some(index) = self.audiences.find(joined.room) {
            self.put_pending(index, effects);
        }
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
        let slot = conn.slot;
        let session = self.sessions.at_mut(slot);
        let reading = session.reading.expect("an open connection reads somehow");
        let index = session.membership(audience_index).expect("kept while a join is unanswered");
        let membership = &mut session.memberships[index];
        membership.joins -= 1;
        let announce = std::mem::take(&mut membership.announce);
        // Whoever has asked to leave is a member until that is done, and gets what was published before it.
        if membership.expulsions == 0 && membership.place == NOWHERE {
            membership.place = self.audiences.at_mut(audience_index).add(slot, reading);
        }
        if reply.wants_reply() || announce {
            self.say_joined(slot, joined, reply, effects);
        }
    }

    /// Says a `joined` with as many of its messages as the queue takes; the others follow as the connection reads.
    fn say_joined(&mut self, slot: u32, mut joined: Joined<'_>, to: ReplyTo, effects: &mut HomeEffects<'_>) {
        let rest = joined.split_off(self.outboxes.queue_room(slot).min(JOINED_BYTES_MAX), to.form);
        self.say_of(slot, Some(joined.room), encode_reply(&joined.reply(rest.len()), to), effects);
        if self.sessions.at(slot).phase == Phase::Open {
            self.outboxes.replay(slot, self.source_of(joined.room), rest, effects.budget);
        }
    }

    fn left(&mut self, room: &RoomName, conn: ConnId, reply: ReplyTo, effects: &mut HomeEffects<'_>) {
        if self.membership_left(room, conn, false, effects) && reply.wants_reply() {
            self.say_of(conn.slot, Some(room), encode_reply(&Reply::Left { room }, reply), effects);
        }
    }

    /// A leave is done, an expulsion or another. Whether its connection is still there.
    fn membership_left(
        &mut self,
        room: &RoomName,
        conn: ConnId,
        is_expelled: bool,
        effects: &mut HomeEffects<'_>,
    ) -> bool {
        if let Some(index) = self.audiences.find(room) {
            self.put_pending(index, effects);
        }
        if self.session_of(conn).is_none() {
            return false;
        }
        let audience = self.audiences.find(room).expect("an open connection's leave holds a membership");
        let session = self.sessions.at_mut(conn.slot);
        let index = session.membership(audience).expect("kept while a leave is unanswered");
        let membership = &mut session.memberships[index];
        membership.leaves -= 1;
        membership.expulsions -= u8::from(is_expelled);
        // A join behind this leave may have been refused before the leave was done.
        membership.wanted &= membership.joins > 0 || membership.leaves > 0;
        let place = std::mem::replace(&mut membership.place, NOWHERE);
        if place != NOWHERE {
            self.remove_member(conn.slot, audience, place, effects);
        }
        self.drop_idle_membership(conn.slot, audience, effects);
        true
    }

    /// A join was refused: the membership prepared for it goes, unless it has other reasons to be there.
    pub(super) fn join_answered(&mut self, room: &RoomName, conn: ConnId, effects: &mut HomeEffects<'_>) {
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
            if memberships.spilled() && memberships.len() * 4 <= memberships.capacity() {
                memberships.shrink_to_fit();
            }
            effects.counters.members.sub(1);
            self.audiences.exit(audience, effects.budget);
        }
    }

    /// Takes a connection off an audience's list.
    pub(super) fn remove_member(&mut self, slot: u32, audience: u32, place: u32, effects: &mut HomeEffects<'_>) {
        self.forget_missed(slot, audience, effects);
        let reading = self.sessions.at(slot).reading.expect("members are open");
        if let Some(moved) = self.audiences.at_mut(audience).remove(place, reading) {
            let session = self.sessions.at_mut(moved);
            let index = session.membership(audience).expect("members hold a membership");
            session.memberships[index].place = place;
        }
    }
}

/// What a `joined` says.
pub(super) struct Joined<'a> {
    pub(super) room: &'a RoomName,
    pub(super) head: Position,
    recovered: bool,
    pub(super) messages: Vec<Arc<Publication>>,
    members: u64,
    role: Option<Role>,
}

impl Joined<'_> {
    /// Takes off the messages that would make more than so many bytes.
    pub(super) fn split_off(&mut self, bytes_max: usize, form: Form) -> Vec<Arc<Publication>> {
        let mut bytes = 0;
        let first = self.messages.iter().take_while(|message| {
            bytes += message.bytes_in(form);
            bytes <= bytes_max
        });
        let first = first.count();
        self.messages.split_off(first)
    }

    pub(super) fn reply(&self, remaining: usize) -> Reply<'_> {
        Reply::Joined {
            room: self.room,
            epoch: self.head.epoch,
            seq: self.head.seq,
            recovered: self.recovered,
            messages: &self.messages,
            remaining,
            members: self.members,
            role: self.role,
        }
    }
}
