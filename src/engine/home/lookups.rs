//! What connections look up in the store by way of this core's user half: a session that they resume, and the rooms of their
//! user. Keeps nothing while the store is asked.

use super::commands::Wanted;
use super::{Home, HomeEffects};
use crate::base::codes::ErrorCode;
use crate::base::ids::{ConnId, RoomName, UserName};
use crate::engine::access::Allowed;
use crate::engine::hop::{Found, MemberRef};
use crate::engine::kept::{ListedRoom, SessionId};
use crate::engine::session::Phase;
use crate::engine::user::{Lookups, Seeker, UserEffects};
use crate::wire::encode::encode_reply;
use crate::wire::protocol::{Recover, Refusal, Reply, ReplyTo, RoomEntry};

impl Home {
    /// Resumes a session: once the store has said whose it is, the connection joins the rooms of `positions`.
    pub(super) fn resume(
        &mut self,
        slot: u32,
        session: &str,
        positions: Vec<(RoomName, Recover)>,
        reply: ReplyTo,
        effects: &mut HomeEffects<'_>,
    ) {
        let session = SessionId::from_text(session).filter(|_| self.settings.has_store());
        let Some(session) = session else { return self.refuse_session(slot, reply, effects) };
        let MemberRef { conn, .. } = self.member(slot);
        let seeker = Seeker::Resume { conn, reply, positions: positions.into() };
        let (lookups, mut effects) = split(effects);
        lookups.find_session(session, seeker, &mut effects);
    }

    /// Lists the rooms of which a connection's user is a lasting member.
    pub(super) fn list_rooms(
        &mut self,
        slot: u32,
        (after, limit): (Option<RoomName>, u32),
        reply: ReplyTo,
        effects: &mut HomeEffects<'_>,
    ) {
        if !self.settings.has_store() {
            return self.say_rooms(slot, &[], reply, effects);
        }
        let MemberRef { conn, user, .. } = self.member(slot);
        let (lookups, mut effects) = split(effects);
        lookups.list_rooms((user, after, limit), Seeker::List { conn, reply }, &mut effects);
    }

    /// The store has answered what a connection has looked up.
    pub(super) fn looked_up(
        &mut self,
        conn: ConnId,
        found: Result<Found, Refusal>,
        reply: ReplyTo,
        effects: &mut HomeEffects<'_>,
    ) {
        if self.session_of(conn).is_none() {
            return;
        }
        match found {
            Ok(Found::Session { user, positions }) => {
                self.resumed(conn.slot, user.as_ref(), &positions, reply, effects);
            }
            Ok(Found::Rooms(rooms)) => self.say_rooms(conn.slot, &rooms, reply, effects),
            Err(Refusal { code, message, retry_after_ms }) => {
                self.refuse_until(conn.slot, (code, message), retry_after_ms, reply, effects);
            }
        }
    }

    /// Joins the rooms of a session, if it is one of the connection's user. The token applies to each room again: one that
    /// it does not allow any more is left out, and so are rooms beyond those that a connection may join.
    fn resumed(
        &mut self,
        slot: u32,
        user: Option<&UserName>,
        positions: &[(RoomName, Recover)],
        reply: ReplyTo,
        effects: &mut HomeEffects<'_>,
    ) {
        let session = self.sessions.at(slot);
        if user.is_none() || user != session.user.as_ref() {
            return self.refuse_session(slot, reply, effects);
        }
        let max = self.settings.rooms_per_connection as usize;
        let mut places = if max == 0 { usize::MAX } else { max.saturating_sub(session.rooms()) };
        let may_join = |(room, _): &&(RoomName, Recover)| {
            // Inboxes are joined by the server alone.
            let is_allowed = !room.starts_with('@') && self.in_room(slot, room).0.has(Allowed::JOIN);
            let has_place = is_allowed && (self.is_member(slot, room) || places > 0);
            if has_place && !self.is_member(slot, room) {
                places -= 1;
            }
            has_place
        };
        let joined: Vec<&(RoomName, Recover)> = positions.iter().filter(may_join).collect();
        let rooms: Vec<RoomName> = joined.iter().map(|(room, _)| room.clone()).collect();
        self.reply(slot, &Reply::Resumed { rooms: &rooms }, reply, effects);
        for (room, recover) in joined {
            if self.sessions.at(slot).phase != Phase::Open {
                return;
            }
            let form = self.sessions.at(slot).reading.expect("an open connection reads somehow").form();
            let wanted = Wanted { recover: Some(*recover), history: None, invite: None };
            self.join(slot, room, wanted, ReplyTo { id: None, form }, true, effects);
        }
    }

    /// Whether it wants to be a member.
    fn is_member(&self, slot: u32, room: &str) -> bool {
        self.wanted_membership(slot, room).is_some()
    }

    fn say_rooms(&mut self, slot: u32, listed: &[ListedRoom], reply: ReplyTo, effects: &mut HomeEffects<'_>) {
        if !reply.wants_reply() {
            return;
        }
        let entry = |ListedRoom { room, role, head_seq, read_seq }: &ListedRoom| RoomEntry {
            room: room.clone(),
            role: *role,
            head_seq: *head_seq,
            read_seq: *read_seq,
        };
        let rooms: Vec<RoomEntry> = listed.iter().map(entry).collect();
        let bytes = encode_reply(&Reply::Rooms { rooms: &rooms }, reply);
        if self.outboxes.is_full_for(slot, bytes.len()) {
            let words = "too much waits to be read by this client";
            return self.refuse(slot, ErrorCode::Overloaded, words, reply, effects);
        }
        self.say(slot, bytes, effects);
    }

    fn refuse_session(&mut self, slot: u32, reply: ReplyTo, effects: &mut HomeEffects<'_>) {
        let words = "there is no such session of this user: join the rooms one by one";
        self.refuse(slot, ErrorCode::SessionUnknown, words, reply, effects);
    }
}

/// The lookups of this core, and what they act through.
fn split<'e>(effects: &'e mut HomeEffects<'_>) -> (&'e mut Lookups, UserEffects<'e>) {
    let HomeEffects { now, outbound, users, budget, output, .. } = effects;
    let (store, answers) = (&mut output.store, &mut output.answers);
    (&mut users.lookups, UserEffects { now: *now, outbound, budget, store, answers })
}
