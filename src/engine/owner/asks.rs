//! Requests to this core's rooms, from members and from the control address. Both go through the room, under the same
//! bounds; only the answers take different paths.

use super::OwnerEffects;
use super::administration::Administrator;
use super::answer::{Asker, Origin};
use super::keys::key_bytes;
use super::opening::waiting_bytes_of;
use super::publish::{Memory, Post};
use super::room_id::RoomId;
use super::state::Owner;
use super::stream::Arrival;
use crate::base::ids::{RoomName, UserName};
use crate::base::limits::{CALL_SCAN_MAX, WAITING_BYTES};
use crate::base::time::Now;
use crate::engine::access::Standing;
use crate::engine::call::{CallAnswer, RoomOrder};
use crate::engine::settings::NumberingMode;
use crate::wire::protocol::{Ask, Refusal};

impl Owner {
    /// A call from the control address about one room.
    pub fn handle_call(
        &mut self,
        token: u64,
        room: RoomName,
        from: UserName,
        ask: Ask,
        effects: &mut OwnerEffects<'_>,
    ) {
        // The link or the store may know a room that this core does not hold.
        let may_be_made = matches!(ask, Ask::Publish(_)) || self.may_know_more();
        let unfound = Refusal::without_room(&ask);
        let asker = Asker::Call(token);
        let id = match self.rooms.find(&room) {
            Some(id) => id,
            None if may_be_made && effects.budget.is_tight() => {
                return asker.refuse(&room, Refusal::OUT_OF_MEMORY, effects);
            }
            None if may_be_made => self.create(room, effects),
            None => return asker.refuse(&room, unfound, effects),
        };
        let may_wait = self.may_keep(waiting_bytes_of(&ask), effects);
        match self.rooms.get_mut(id).map(|room| (&room.stream.name, room.opening.as_mut())) {
            Some((_, Some(opening))) if may_wait && !opening.is_full() => {
                opening.push_call(token, from, ask, effects.now);
            }
            Some((name, Some(_))) => asker.refuse(name, Refusal::OVERLOADED, effects),
            _ => self.perform_call(id, token, from, ask, effects),
        }
        self.enter(id, effects);
        self.shed(effects);
    }

    /// A call about an open room.
    pub(super) fn perform_call(
        &mut self,
        id: RoomId,
        token: u64,
        user: UserName,
        ask: Ask,
        effects: &mut OwnerEffects<'_>,
    ) {
        let asker = Asker::Call(token);
        let Some(room) = self.rooms.get_mut(id) else { return };
        if !ask.is_for_members() {
            let server = Administrator { asker, user, standing: Standing::Admin };
            return self.administer(id, server, ask, effects);
        }
        if !matches!(ask, Ask::Publish(_)) && room.is_unknown() {
            return asker.refuse(&room.stream.name, Refusal::NOT_FOUND, effects);
        }
        self.perform_ask(id, Origin { asker, user, arrival: Arrival::now(effects.now) }, ask, effects);
    }

    /// Performs a request to an open room.
    pub(super) fn perform_ask(&mut self, id: RoomId, origin: Origin, ask: Ask, effects: &mut OwnerEffects<'_>) {
        let publish = match ask {
            Ask::Publish(publish) => publish,
            Ask::Receipt { kind, seq } => return self.take_receipt(id, origin, (kind, seq), effects),
            ask => {
                let may_wait = self.may_keep(WAITING_BYTES, effects);
                if let Some(room) = self.rooms.get_mut(id) {
                    room.answer(origin, ask, may_wait, effects);
                }
                return;
            }
        };
        let key = key_bytes(publish.key.as_deref());
        let memory = Memory {
            for_key: key == 0 || self.may_keep(key, effects),
            for_wait: self.may_keep(key + WAITING_BYTES + publish.data.len(), effects),
        };
        let Origin { asker, user: from, arrival } = origin;
        if let Some(room) = self.rooms.get_mut(id) {
            room.publish(Post { asker, from, arrival, publish }, memory, (id, &mut self.awaited), effects);
        }
    }

    /// Whether the link or the store may know rooms that this core does not hold.
    pub(super) fn may_know_more(&self) -> bool {
        self.settings.numbering == NumberingMode::Link || self.settings.has_store()
    }

    /// Lists some of the rooms that this core holds.
    pub fn list(&self, now: Now, from: u32, limit: u32, order: RoomOrder) -> CallAnswer {
        let limit = limit as usize;
        let end = from.saturating_add(CALL_SCAN_MAX);
        let next = Some(end).filter(|end| *end < self.rooms.places());
        let looked_at = self.rooms.from(from, CALL_SCAN_MAX);
        if order == RoomOrder::Place {
            let mut page: Vec<_> = looked_at.take(limit + 1).collect();
            // One more than fits shows where to continue.
            let beyond = if page.len() > limit { page.pop().map(|(place, _)| place) } else { None };
            let rooms = page.into_iter().map(|(_, room)| room.summary(now)).collect();
            return CallAnswer::Rooms { rooms, next: beyond.or(next) };
        }
        let mut rooms: Vec<_> = looked_at.map(|(_, room)| room.summary(now)).collect();
        rooms.sort_by(|one, other| other.cmp_by(order, one));
        rooms.truncate(limit);
        CallAnswer::Rooms { rooms, next }
    }
}
