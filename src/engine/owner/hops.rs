//! Hops from homes to the rooms of this core. A hop is performed at once, or once the room is open and earlier asks of its
//! connection are done.

use std::sync::Arc;

use super::OwnerEffects;
use super::administration::Administrator;
use super::answer::{Asker, Origin, expelled, left, refuse_join};
use super::join::Join;
use super::numberings::LastHead;
use super::opening::{Opening, Waiting, waiting_bytes};
use super::room::{Keeping, Room};
use super::room_id::RoomId;
use super::state::Owner;
use super::stream::Arrival;
use crate::base::codes::ErrorCode;
use crate::base::ids::RoomName;
use crate::engine::hop::ToOwner;
use crate::engine::settings::Settings;
use crate::wire::protocol::Refusal;

impl Owner {
    /// Takes over other settings, for existing rooms too.
    pub fn set_settings(&mut self, settings: Arc<Settings>, effects: &mut OwnerEffects<'_>) {
        let same_rooms = self.settings.rooms == settings.rooms && self.settings.classes == settings.classes;
        self.settings = settings;
        if !same_rooms {
            for id in self.rooms.all() {
                if let Some(room) = self.rooms.get_mut(id) {
                    room.set_settings(effects.now, &self.settings);
                }
                self.enter(id, effects);
            }
        }
        self.shed(effects);
    }

    /// Handles a hop from a home, including the one on this core.
    pub fn handle_hop(&mut self, hop: ToOwner, effects: &mut OwnerEffects<'_>) {
        if effects.budget.is_tight() {
            // Numberings and messages make room for what comes, before it is refused.
            self.shed(effects);
        }
        let id = match (self.rooms.find(hop.room()), &hop) {
            (Some(id), _) => id,
            (None, ToOwner::Administer { ask, .. }) if !self.may_know_more() => {
                let refusal = Refusal::without_room(ask);
                refuse(hop, refusal, effects);
                return;
            }
            (None, hop_to_new) if opens_room(hop_to_new) && effects.budget.is_tight() => {
                refuse(hop, Refusal::OUT_OF_MEMORY, effects);
                return;
            }
            (None, hop_to_new) if opens_room(hop_to_new) => self.create(hop_to_new.room().clone(), effects),
            (None, _) => {
                refuse(hop, Refusal::NOT_JOINED, effects);
                return;
            }
        };
        let is_opening = self.rooms.get(id).is_some_and(|room| room.opening.is_some());
        if is_opening {
            self.wait(id, hop, effects);
        } else {
            self.take(id, hop, effects);
        }
        self.enter(id, effects);
        self.shed(effects);
    }

    /// Performs what has waited for a room to open, in order.
    pub(super) fn go_on(&mut self, id: RoomId, opening: Option<Box<Opening>>, effects: &mut OwnerEffects<'_>) {
        for waiting in opening.into_iter().flat_map(|opening| opening.into_waiting()) {
            match waiting {
                Waiting::Hop(hop) => self.take(id, hop, effects),
                Waiting::Call { token, from, ask } => self.perform_call(id, token, from, ask, effects),
            }
        }
    }

    /// Refuses what has waited too long for a room to open.
    pub(super) fn give_up(&mut self, id: RoomId, waiting: Waiting, effects: &mut OwnerEffects<'_>) {
        match waiting {
            Waiting::Hop(hop) => refuse(hop, Refusal::UNANSWERED, effects),
            Waiting::Call { token, .. } => {
                if let Some(room) = self.rooms.get(id) {
                    Asker::Call(token).refuse(&room.stream.name, Refusal::UNANSWERED, effects);
                }
            }
        }
    }

    pub(super) fn create(&mut self, name: RoomName, effects: &mut OwnerEffects<'_>) -> RoomId {
        let last = self.numberings.take(&name).unwrap_or_else(|| LastHead::new(effects.random.epoch()));
        self.enter_numberings(effects);
        let mut room = Room::new(name, &self.settings, last, effects.now);
        if room.opening.is_some() {
            room.ask_to_open(effects);
        }
        if let Some(pages) = &mut room.pages {
            pages.number_from(self.rooms_made << 32);
            if let Keeping::Store(stored) = &mut room.keeping {
                stored.number_from(self.rooms_made << 32);
            }
            self.rooms_made += 1;
        }
        effects.counters.rooms_held.add(1);
        self.rooms.insert(room)
    }

    /// Handles a hop for an open room: performs it now, or queues it behind what its connection waits for.
    pub(super) fn take(&mut self, id: RoomId, mut hop: ToOwner, effects: &mut OwnerEffects<'_>) {
        let may_wait = self.may_keep(waiting_bytes(&hop), effects);
        let Some(room) = self.rooms.get_mut(id) else { return };
        if room.detains(&hop) {
            if let Err(hop) = room.detain(hop, may_wait, effects.now) {
                refuse(hop, Refusal::OVERLOADED, effects);
            }
            return;
        }
        if let ToOwner::Leave { member, away, reply: None, .. } = &mut hop {
            *away = room.forget_leaver(member.conn).unwrap_or(*away);
        }
        self.perform(id, hop, effects);
    }

    /// Performs the hops of connections that need not wait any longer.
    pub(super) fn let_leavers_go(&mut self, id: RoomId, effects: &mut OwnerEffects<'_>) {
        while let Some(hops) = self.rooms.get_mut(id).and_then(Room::take_leaver) {
            for hop in hops {
                self.take(id, hop, effects);
            }
        }
    }

    pub(super) fn perform(&mut self, id: RoomId, hop: ToOwner, effects: &mut OwnerEffects<'_>) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        match hop {
            ToOwner::Join { member, away, again, recover, history, invite, standing, reply, .. } => {
                let join = Join { member, away, again, recover, history, invite, standing, role: None, reply };
                self.admit_join(id, join, effects);
            }
            ToOwner::Leave { member, away, reply, .. } => room.leave(&member, away, reply, effects),
            ToOwner::Expel { member, away, reason, .. } => {
                room.leave(&member, away, None, effects);
                expelled(&room.stream.name, member.conn, reason, effects);
            }
            ToOwner::Away { conn, user, away, .. } => room.set_away(conn, &user, away, effects.now),
            ToOwner::Administer { conn, user, ask, standing, reply, .. } => {
                let asker = Asker::Connection { conn, reply };
                self.administer(id, Administrator { asker, user, standing }, ask, effects);
            }
            ToOwner::Ask { conn, user, ask, arrived_us, trace, reply, .. } => {
                let (asker, arrival) = (Asker::Connection { conn, reply }, Arrival { us: arrived_us, trace });
                self.perform_ask(id, Origin { asker, user, arrival }, ask, effects);
            }
        }
    }

    /// Queues a hop for a room that is not open yet.
    pub(super) fn wait(&mut self, id: RoomId, hop: ToOwner, effects: &mut OwnerEffects<'_>) {
        let may_wait = self.may_keep(waiting_bytes(&hop), effects);
        let Some(room) = self.rooms.get_mut(id) else { return };
        let Some(opening) = &mut room.opening else { return };
        let (is_joining, has_asked) = (opening.is_joining(hop.conn()), opening.has_asked(hop.conn()));
        let has_place = may_wait && !opening.is_full();
        match hop {
            ToOwner::Away { conn, away, .. } => opening.set_away(conn, away),
            ToOwner::Leave { member, reply: None, .. } => opening.cancel(member.conn),
            // Joins and leaves of one connection are answered in order.
            ToOwner::Leave { .. } | ToOwner::Expel { .. } if has_asked => opening.push(hop, effects.now),
            ToOwner::Join { again: false, .. } if has_place => opening.push(hop, effects.now),
            ToOwner::Join { again: false, .. } => refuse(hop, Refusal::OVERLOADED, effects),
            ToOwner::Administer { .. } if has_place => opening.push(hop, effects.now),
            ToOwner::Administer { .. } => refuse(hop, Refusal::OVERLOADED, effects),
            _ if !is_joining => refuse(hop, Refusal::NOT_JOINED, effects),
            _ if has_place => opening.push(hop, effects.now),
            _ => refuse(hop, Refusal::OVERLOADED, effects),
        }
    }
}

/// Whether a hop brings its room into memory.
fn opens_room(hop: &ToOwner) -> bool {
    match hop {
        ToOwner::Join { again, .. } => !again,
        ToOwner::Administer { .. } => true,
        _ => false,
    }
}

/// Refuses a hop of a connection that is not a member of an open room.
fn refuse(hop: ToOwner, refusal: Refusal, effects: &mut OwnerEffects<'_>) {
    match hop {
        // A leave always succeeds.
        ToOwner::Leave { room, member, reply: Some(reply), .. } => {
            left(&room, member.conn, reply, effects);
        }
        ToOwner::Expel { room, member, reason, .. } => expelled(&room, member.conn, reason, effects),
        ToOwner::Leave { reply: None, .. } | ToOwner::Away { .. } => {}
        ToOwner::Join { room, member, reply, .. } => {
            // One that counts on an earlier join was refused with it, for the same reason.
            let refusal = if refusal.code == ErrorCode::NotJoined { Refusal::OVERLOADED } else { refusal };
            refuse_join(&room, (member.conn, reply), refusal, effects);
        }
        ToOwner::Ask { room, conn, reply, .. } | ToOwner::Administer { room, conn, reply, .. } => {
            Asker::Connection { conn, reply }.refuse(&room, refusal, effects);
        }
    }
}
