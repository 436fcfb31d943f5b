//! What the control address asks of this core's rooms. Goes the same way as what members ask: through the room, under its
//! bounds; only the answers go elsewhere.

use super::answer::{Asker, Refusal};
use super::membership::HistoryRange;
use super::opening::ask_bytes;
use super::publish::Publish;
use super::room::Room;
use super::rooms::RoomId;
use super::{Owner, OwnerEffects};
use crate::base::ids::RoomName;
use crate::base::limits::{CALL_SCAN_MAX, ROOM_RATE_WINDOW_MS};
use crate::base::time::Now;
use crate::engine::call::{Answer, RoomAsk, RoomOrder, RoomSummary};
use crate::engine::settings::{KeepingMode, NumberingMode};

impl Owner {
    /// A call about one room.
    pub fn handle_call(&mut self, token: u64, room: RoomName, ask: RoomAsk, effects: &mut OwnerEffects<'_>) {
        // A link or a store may know a room that this core does not hold.
        let may_be_made = matches!(ask, RoomAsk::Publish { .. }) || self.may_know_more();
        let id = match self.rooms.find(&room) {
            Some(id) => id,
            None if may_be_made && effects.budget.is_tight() => {
                return Asker::Call(token).refuse(&room, Refusal::OUT_OF_MEMORY, effects);
            }
            None if may_be_made => self.create(room, effects),
            None => return Asker::Call(token).refuse(&room, Refusal::NOT_FOUND, effects),
        };
        let may_wait = self.may_keep(ask_bytes(&ask), effects);
        match self.rooms.get_mut(id).and_then(|room| room.opening.as_mut()) {
            None => self.perform_call(id, token, ask, effects),
            Some(opening) if may_wait && !opening.is_full() => opening.push_call(token, ask),
            Some(_) => effects.answers.push((token, refused(Refusal::OVERLOADED))),
        }
        self.enter(id, effects);
        self.shed(effects);
    }

    /// A call about a room that is open.
    pub(super) fn perform_call(&mut self, id: RoomId, token: u64, ask: RoomAsk, effects: &mut OwnerEffects<'_>) {
        let asker = Asker::Call(token);
        let Some(room) = self.rooms.get_mut(id) else { return };
        if !matches!(ask, RoomAsk::Publish { .. }) && room.is_unknown() {
            return asker.refuse(&room.stream.name, Refusal::NOT_FOUND, effects);
        }
        match ask {
            RoomAsk::Publish { from, kind, data, key, ephemeral } => {
                let arrived_us = effects.now.mono_us;
                let trace = None;
                let publish = Publish { asker, from, kind, data, key, echo: true, ephemeral, arrived_us, trace };
                self.publish(id, publish, effects);
            }
            RoomAsk::Summary => effects.answers.push((token, Answer::Room(room.summary(effects.now)))),
            RoomAsk::Members { after, limit } => room.read_presence(asker, limit, after.as_deref(), effects),
            RoomAsk::History { after, before, limit } => {
                room.read_history(asker, &HistoryRange { after, before, limit }, effects);
            }
        }
    }

    /// Whether a link or a store may know rooms that this core does not hold.
    fn may_know_more(&self) -> bool {
        self.settings.numbering == NumberingMode::Link || self.settings.keeping != KeepingMode::None
    }

    /// Some of the rooms that this core holds.
    pub fn list(&self, now: Now, from: u32, limit: u32, order: RoomOrder) -> Answer {
        let limit = limit as usize;
        let end = from.saturating_add(CALL_SCAN_MAX);
        let next = Some(end).filter(|end| *end < self.rooms.places());
        let looked_at = self.rooms.from(from, CALL_SCAN_MAX);
        if order == RoomOrder::Place {
            let mut page: Vec<_> = looked_at.take(limit + 1).collect();
            // One more than fits tells where to go on.
            let beyond = if page.len() > limit { page.pop().map(|(place, _)| place) } else { None };
            let rooms = page.into_iter().map(|(_, room)| room.summary(now)).collect();
            return Answer::Rooms { rooms, next: beyond.or(next) };
        }
        let mut rooms: Vec<_> = looked_at.map(|(_, room)| room.summary(now)).collect();
        rooms.sort_by(|one, other| other.cmp_by(order, one));
        rooms.truncate(limit);
        Answer::Rooms { rooms, next }
    }
}

fn refused(refusal: Refusal) -> Answer {
    let Refusal { code, message, retry_after_ms, .. } = refusal;
    Answer::Refused { code, message, retry_after_ms }
}

impl Room {
    /// Whether nobody has ever been told of the room: it is here only because it was asked for.
    fn is_unknown(&self) -> bool {
        self.stream.history.head() == 0
            && self.stream.listeners.members() == 0
            && self.stream.presence.as_ref().is_none_or(|presence| presence.is_empty())
            && self.stream.keys.is_none()
    }

    fn summary(&self, now: Now) -> RoomSummary {
        RoomSummary {
            room: self.stream.name.clone(),
            members: self.stream.members(),
            connections: self.stream.listeners.members() as u64,
            head: self.stream.head(),
            rate_milli: self.stream.history.rate_milli(now.unix_ms, ROOM_RATE_WINDOW_MS),
        }
    }
}
