//! What open connections ask (PROTOCOL section 2): answered here where this core knows, handed to the room's owner where
//! that core does.

use arcstr::ArcStr;
use smallvec::smallvec;

use super::routing::LANE_FULL;
use super::state::late::MembershipEnd;
use super::{Home, HomeEffects};
use crate::base::codes::ErrorCode;
use crate::base::ids::{CoreId, RoomName};
use crate::base::limits::{EXPULSIONS_MAX, OVERLOADED_RETRY_MS, UNANSWERED_MAX};
use crate::engine::access::Allowed;
use crate::engine::hop::{MemberRef, ToOwner};
use crate::engine::placement::owner_of;
use crate::engine::session::{Marks, Membership, NOWHERE};
use crate::wire::protocol::{
    Ask, BAD_COMMAND, BadRequest, Command, LeftReason, Recover, Reply, ReplyTo, Request, Status,
};

/// Error text for a room that the token does not allow to join.
const JOIN_DENIED: &str = "the token does not allow to join this room";

impl Home {
    pub(super) fn handle_request(
        &mut self,
        slot: u32,
        request: Result<Request<'_>, BadRequest>,
        effects: &mut HomeEffects<'_>,
    ) {
        let (command, reply) = match &request {
            Ok(request) => (Some(&request.command), request.reply),
            Err(bad) => (None, bad.reply),
        };
        effects.counters.causes.command(command.map_or(BAD_COMMAND, Command::index));
        if !self.keeps_pace(slot, command, reply, effects) {
            return;
        }
        let Request { reply, command } = match request {
            Ok(request) => request,
            Err(bad) => return self.refuse(slot, bad.code, &bad.message, bad.reply, effects),
        };
        match command {
            Command::Join { room, recover, history, invite } => {
                let wanted = Wanted { recover, history, invite: invite.map(|invite| ArcStr::from(&*invite)) };
                self.join(slot, &room, wanted, reply, false, effects);
            }
            Command::Leave { room } => self.leave(slot, &room, reply, effects),
            Command::Ask { room, ask } if ask.is_for_members() => self.ask(slot, &room, ask, reply, effects),
            Command::Ask { room, ask } => self.administer(slot, &room, ask, reply, effects),
            Command::Identify { .. } => {
                let words = "this connection has already identified itself";
                self.refuse(slot, ErrorCode::BadCommand, words, reply, effects);
            }
            Command::Refresh { token } => self.refresh(slot, &token, reply, effects),
            Command::Resume { session, positions } => self.resume(slot, &session, positions, reply, effects),
            Command::ListRooms { after, limit } => self.list_rooms(slot, (after, limit), reply, effects),
            Command::Status { away } => self.set_status(slot, away, reply, effects),
            Command::Ping { value } => {
                let pong = Reply::Pong { at: effects.now.unix_ms, value };
                self.reply(slot, &pong, reply, effects);
            }
        }
    }

    /// The connection as an owner knows it.
    pub(super) fn member(&self, slot: u32) -> MemberRef {
        let session = self.sessions.at(slot);
        MemberRef {
            conn: session.id(self.core, slot),
            user: session.user.clone().expect("an open connection has a user"),
            reading: session.reading.expect("an open connection reads somehow"),
        }
    }

    pub(super) fn join(
        &mut self,
        slot: u32,
        room: &str,
        wanted: Wanted,
        reply: ReplyTo,
        announce: bool,
        effects: &mut HomeEffects<'_>,
    ) {
        // Inboxes are joined by the server alone.
        if room.starts_with('@') {
            return self.refuse(slot, ErrorCode::Forbidden, "inboxes cannot be joined", reply, effects);
        }
        let (allowed, standing) = self.in_room(slot, room);
        if !allowed.has(Allowed::JOIN) {
            return self.refuse(slot, ErrorCode::Forbidden, JOIN_DENIED, reply, effects);
        }
        let owner = owner_of(room, self.settings.cores);
        if self.is_way_full_for_questions(slot, owner, effects) {
            return self.refuse(slot, ErrorCode::Overloaded, LANE_FULL, reply, effects);
        }
        if effects.budget.is_over() {
            return self.refuse_for_memory(slot, reply, effects);
        }
        let Some((audience, index)) = self.prepare_membership(slot, room, owner, reply, effects) else { return };
        let session = self.sessions.at_mut(slot);
        let away = session.is_away();
        let membership = &mut session.memberships[index];
        membership.joins += 1;
        membership.announce |= announce;
        let again = std::mem::replace(&mut membership.wanted, true);
        if again {
            self.settle_away(slot, index, effects);
        } else {
            membership.away = away;
        }
        let Wanted { recover, history, invite } = wanted;
        let room = self.audiences.at(audience).room.clone();
        let member = self.member(slot);
        let join = ToOwner::Join { room, member, away, again, recover, history, invite, standing, reply };
        self.tell_owner(slot, owner, join, effects);
    }

    /// The membership of a room that is being joined, made if it is new: its audience and its index in the session.
    fn prepare_membership(
        &mut self,
        slot: u32,
        room: &str,
        owner: CoreId,
        reply: ReplyTo,
        effects: &mut HomeEffects<'_>,
    ) -> Option<(u32, usize)> {
        let audience = self.audiences.find(room);
        let session = self.sessions.at(slot);
        let found = audience.and_then(|audience| Some((audience, session.membership(audience)?)));
        let membership = found.map(|(_, index)| session.memberships[index]);
        let max = self.settings.rooms_per_connection as usize;
        let is_new = membership.is_none_or(|membership| !membership.wanted);
        if max > 0 && is_new && session.rooms() >= max {
            let words = format!("this connection has joined the maximum number of rooms ({max})");
            self.refuse(slot, ErrorCode::LimitExceeded, &words, reply, effects);
            return None;
        }
        let expulsions = membership.map_or(0, |membership| membership.expulsions);
        if session.unanswered() >= UNANSWERED_MAX || expulsions >= EXPULSIONS_MAX {
            let words = "too many joins and leaves of this connection are unanswered";
            self.refuse(slot, ErrorCode::Overloaded, words, reply, effects);
            return None;
        }
        if found.is_some() {
            return found;
        }
        if effects.budget.is_tight() {
            self.refuse_for_memory(slot, reply, effects);
            return None;
        }
        let name = match audience {
            Some(audience) => self.audiences.at(audience).room.clone(),
            None => RoomName::new(room).expect("the wire has checked it"),
        };
        let policy = self.settings.room(room).slow_policy;
        let audience = self.audiences.enter(&name, owner, policy, effects.budget);
        let memberships = &mut self.sessions.at_mut(slot).memberships;
        memberships.push(Membership {
            audience,
            place: NOWHERE,
            joins: 0,
            leaves: 0,
            expulsions: 0,
            wanted: false,
            away: false,
            announce: false,
        });
        effects.counters.members.add(1);
        Some((audience, memberships.len() - 1))
    }

    fn leave(&mut self, slot: u32, room: &str, reply: ReplyTo, effects: &mut HomeEffects<'_>) {
        let Some((audience, index)) = self.wanted_membership(slot, room) else {
            return self.refuse_stranger(slot, reply, effects);
        };
        self.end_membership(slot, (audience, index), MembershipEnd::Asked(reply), effects);
    }

    /// Puts a member out of a room: from here on it gets nothing more of it, and is told so once the owner has answered
    /// all that it asked before.
    pub(super) fn expel(&mut self, slot: u32, audience: u32, reason: LeftReason, effects: &mut HomeEffects<'_>) {
        let session = self.sessions.at_mut(slot);
        let index = session.membership(audience).expect("the caller has found it");
        let membership = &mut session.memberships[index];
        // Bounded where rooms are joined: each expulsion needs a join before it.
        membership.expulsions += 1;
        let place = std::mem::replace(&mut membership.place, NOWHERE);
        if place != NOWHERE {
            self.remove_member(slot, audience, place, effects);
        }
        self.end_membership(slot, (audience, index), MembershipEnd::Expelled(reason), effects);
    }

    /// The connection no longer wants a membership, or may no longer have it. Its place is free for the next command.
    fn end_membership(
        &mut self,
        slot: u32,
        (audience, index): (u32, usize),
        how: MembershipEnd,
        effects: &mut HomeEffects<'_>,
    ) {
        let membership = &mut self.sessions.at_mut(slot).memberships[index];
        membership.leaves += 1;
        membership.wanted = false;
        let away = membership.away;
        let room = self.audiences.at(audience).room.clone();
        self.tell_left(slot, how, smallvec![(room, away)], effects);
    }

    /// Hands what a member asks of a room, or publishes to it, to the room's owner, or answers why not.
    fn ask(&mut self, slot: u32, room: &str, ask: Ask, reply: ReplyTo, effects: &mut HomeEffects<'_>) {
        if matches!(ask, Ask::History { .. }) && effects.budget.is_over() {
            return self.refuse_for_memory(slot, reply, effects);
        }
        let (membership, is_message) = (self.wanted_membership(slot, room), ask.is_message());
        if is_message && membership.is_some() && !self.may(slot, room, Allowed::PUBLISH) {
            let words = "the token does not allow to publish to this room";
            return self.refuse(slot, ErrorCode::Forbidden, words, reply, effects);
        }
        let publish = if let Ask::Publish(publish) = &ask { Some(publish) } else { None };
        if publish.is_some() && !self.user_keeps_pace(slot, reply, effects) {
            return;
        }
        let Some((audience, index)) = membership else {
            return self.refuse_stranger(slot, reply, effects);
        };
        let owner = self.audiences.at(audience).owner;
        let is_full = match is_message {
            true => self.is_way_full(slot, owner, ask.bytes(), effects),
            false => self.is_way_full_for_questions(slot, owner, effects),
        };
        if is_full {
            return self.refuse(slot, ErrorCode::Overloaded, LANE_FULL, reply, effects);
        }
        let mut trace = None;
        if self.settings.trace_sample > 0
            && let Some(publish) = publish
        {
            let room = self.audiences.at(audience).room.clone();
            trace = self.sample(slot, &room, publish.data.len(), effects);
        }
        self.settle_away(slot, index, effects);
        let (room, arrived_us) = (self.audiences.at(audience).room.clone(), effects.now.mono_us);
        let MemberRef { conn, user, .. } = self.member(slot);
        self.tell_owner(slot, owner, ToOwner::Ask { room, conn, user, ask, arrived_us, trace, reply }, effects);
    }

    /// Hands what needs no membership to the room's owner, or answers why not. The token bounds everything: whoever may not
    /// join a room learns nothing of it and changes nothing in it, whatever the role. Within that the owner decides.
    fn administer(&mut self, slot: u32, room: &str, ask: Ask, reply: ReplyTo, effects: &mut HomeEffects<'_>) {
        if room.starts_with('@') {
            return self.refuse(slot, ErrorCode::Forbidden, "inboxes have no members and roles", reply, effects);
        }
        let (allowed, standing) = self.in_room(slot, room);
        if !allowed.has(Allowed::JOIN) {
            return self.refuse(slot, ErrorCode::Forbidden, JOIN_DENIED, reply, effects);
        }
        let owner = owner_of(room, self.settings.cores);
        if self.is_way_full_for_questions(slot, owner, effects) {
            return self.refuse(slot, ErrorCode::Overloaded, LANE_FULL, reply, effects);
        }
        let room = RoomName::new(room).expect("the wire has checked it");
        let MemberRef { conn, user, .. } = self.member(slot);
        self.tell_owner(slot, owner, ToOwner::Administer { room, conn, user, ask, standing, reply }, effects);
    }

    fn set_status(&mut self, slot: u32, away: bool, reply: ReplyTo, effects: &mut HomeEffects<'_>) {
        let marks = &mut self.sessions.at_mut(slot).marks;
        let was_away = marks.take(Marks::AWAY);
        if away {
            marks.set(Marks::AWAY);
        }
        if was_away != away {
            self.mark_restless(slot);
        }
        let status = if away { Status::Away } else { Status::Online };
        self.reply(slot, &Reply::Status { status }, reply, effects);
    }

    /// The membership of a room whose last word was to join: its audience and its index in the session.
    pub(super) fn wanted_membership(&self, slot: u32, room: &str) -> Option<(u32, usize)> {
        let audience = self.audiences.find(room)?;
        let session = self.sessions.at(slot);
        let index = session.membership(audience)?;
        session.memberships[index].wanted.then_some((audience, index))
    }

    /// Refuses what the memory budget leaves no room for.
    fn refuse_for_memory(&mut self, slot: u32, reply: ReplyTo, effects: &mut HomeEffects<'_>) {
        let words = "the server is out of memory for this; try again later";
        self.refuse_until(slot, (ErrorCode::Overloaded, words), Some(OVERLOADED_RETRY_MS), reply, effects);
    }

    fn refuse_stranger(&mut self, slot: u32, reply: ReplyTo, effects: &mut HomeEffects<'_>) {
        self.refuse(slot, ErrorCode::NotJoined, "this connection has not joined that room", reply, effects);
    }
}

/// What a joining connection says: which messages it wants, all after the last one it has or else the newest, and by which
/// invite it comes.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// The last one it has.
    pub recover: Option<Recover>,
    /// How many of the newest, if they cannot be recovered; `None`: as many as the room gives.
    pub history: Option<u32>,
    /// The code of an invite.
    pub invite: Option<ArcStr>,
}
