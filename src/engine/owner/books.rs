//! The books of one core's rooms: budget, ages, sizes, timers, counters. After each event of a room they are brought up to
//! date in one place, and what memory has no room for is let go. Never looks into a hop.

use super::OwnerEffects;
use super::entered::Bytes;
use super::room::Numbering;
use super::room_id::RoomId;
use super::state::Owner;
use crate::base::limits::{HISTORY_BUDGET_DIVISOR, HISTORY_FLOOR_DIVISOR, NUMBERINGS_BUDGET_DIVISOR};
use crate::base::time::Now;
use crate::engine::link_port::LinkRequest;

impl Owner {
    /// Enters in the core's books what has changed in a room, and forgets the room if nothing would be lost.
    pub(super) fn enter(&mut self, id: RoomId, effects: &mut OwnerEffects<'_>) {
        self.let_leavers_go(id, effects);
        let Some(room) = self.rooms.get_mut(id) else { return };
        let is_idle = room.may_leave_memory(effects.now);
        let bytes = if is_idle { Bytes::default() } else { room.bytes() };
        let before = std::mem::replace(&mut room.entered.bytes, bytes);
        let retention = &mut self.retention;
        effects.budget.charge_history(bytes.history);
        effects.budget.release_history(before.history);
        effects.budget.charge_standing(bytes.kept + bytes.standing);
        effects.budget.release_standing(before.kept + before.standing);
        retention.bytes = retention.bytes + bytes.history as u64 - before.history as u64;
        retention.kept_bytes = retention.kept_bytes + bytes.kept as u64 - before.kept as u64;

        let end = room.entered.messages.end;
        let messages = if is_idle { end..end } else { room.stream.history.numbers() };
        retention.update(id, &mut room.entered.messages, messages);

        let members = room.stream.listeners.members() as u32;
        let before = std::mem::replace(&mut room.entered.members, members);
        if members != before {
            self.sizes.change(before, members);
            effects.counters.room_members_max.set(u64::from(self.sizes.max()));
        }
        let waits = !is_idle && room.waits();
        let waited = std::mem::replace(&mut room.entered.waits, waits);
        self.waiting_rooms = self.waiting_rooms + u32::from(waits) - u32::from(waited);
        let has_members = members > 0;
        if has_members != (before > 0) {
            if has_members { effects.counters.rooms.add(1) } else { effects.counters.rooms.sub(1) }
        }
        self.largest.update(&mut self.rooms, id, bytes.history);
        if is_idle {
            self.forget(id, effects);
        } else {
            self.schedule(id, effects.now);
        }
        self.retention.compact(|id| self.rooms.messages(id));
    }

    /// Lets a room go. Of one that this core numbers and keeps by itself the numbering stays for a while.
    fn forget(&mut self, id: RoomId, effects: &mut OwnerEffects<'_>) {
        let Some(room) = self.rooms.remove(id) else { return };
        if let Some(due_ms) = room.entered.due_ms {
            self.timers.remove(&(due_ms, id));
        }
        if let Numbering::Link(_) = room.numbering {
            effects.link.push(LinkRequest::Close { room: room.stream.name.clone() });
        }
        let numbering_ttl_ms = room.stream.settings.numbering_ttl_ms;
        if let Some(last) = room.last_head().filter(|_| numbering_ttl_ms > 0) {
            let expires_ms = effects.now.mono_ms().saturating_add(numbering_ttl_ms);
            self.numberings.remember(room.stream.name.clone(), last, expires_ms);
            self.enter_numberings(effects);
        }
        effects.counters.rooms_held.sub(1);
    }

    /// Charges what the numberings take now.
    pub(super) fn enter_numberings(&mut self, effects: &mut OwnerEffects<'_>) {
        let bytes = self.numberings.bytes();
        effects.budget.charge_standing(bytes);
        effects.budget.release_standing(std::mem::replace(&mut self.numberings_entered, bytes));
    }

    /// Puts the room into the timers. It may stand there for too early a time: then it is looked at once more, which
    /// costs less than moving it with every publication.
    fn schedule(&mut self, id: RoomId, now: Now) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        let Some(due_ms) = room.due_ms(now) else { return };
        let due_ms = due_ms.max(now.mono_ms() + 1);
        if room.entered.due_ms.is_some_and(|earlier| earlier <= due_ms) {
            return;
        }
        if let Some(later) = room.entered.due_ms.replace(due_ms) {
            self.timers.remove(&(later, id));
        }
        self.timers.insert((due_ms, id));
    }

    /// Whether so many bytes may be taken in that cannot be let go to make room: publishes that wait, keys.
    pub(super) fn may_keep(&self, bytes: usize, effects: &OwnerEffects<'_>) -> bool {
        self.retention.kept_bytes + bytes as u64 <= effects.budget.max() / HISTORY_BUDGET_DIVISOR
            && !effects.budget.is_tight()
    }

    /// Lets go of numberings and messages while they take more than is left for them. A room that is kept for its
    /// messages alone goes with the last of them.
    pub(super) fn shed(&mut self, effects: &mut OwnerEffects<'_>) {
        while self.numberings.bytes() as u64 > self.numberings_share(effects) && self.numberings.drop_first() {
            self.enter_numberings(effects);
        }
        loop {
            let share = self.history_share(effects);
            if self.retention.bytes <= share {
                return;
            }
            let Some(id) = self.next_to_shed(share) else { return };
            if let Some(room) = self.rooms.get_mut(id) {
                room.stream.history.drop_oldest();
            }
            self.enter(id, effects);
        }
    }

    /// The part of the core's budget that messages may take: half of it less what else is kept of rooms, and no more than
    /// what stands leaves, but an eighth in any case.
    fn history_share(&self, effects: &OwnerEffects<'_>) -> u64 {
        let budget = &effects.budget;
        let left = budget.standing_max().saturating_sub(budget.standing());
        let half = (budget.max() / HISTORY_BUDGET_DIVISOR).saturating_sub(self.retention.kept_bytes);
        half.min(left.max(budget.max() / HISTORY_FLOOR_DIVISOR))
    }

    /// The part that numberings may take: an eighth, and none of it where messages and what stands fill the budget.
    fn numberings_share(&self, effects: &OwnerEffects<'_>) -> u64 {
        let others = self.retention.bytes + effects.budget.standing() - self.numberings_entered as u64;
        let left = effects.budget.standing_max().saturating_sub(others);
        (effects.budget.max() / NUMBERINGS_BUDGET_DIVISOR).min(left)
    }

    /// The room that loses its oldest message: one of the largest, if it holds more than twice as much as each room might
    /// if all held the same; otherwise the one with the oldest message of the core.
    fn next_to_shed(&mut self, share: u64) -> Option<RoomId> {
        let largest = self.largest.take_turn()?;
        let fair = share / self.largest.rooms();
        let held = self.rooms.get(largest).map_or(0, |room| room.entered.bytes.history as u64);
        if held > 2 * fair && !self.rooms.messages(largest).is_empty() {
            return Some(largest);
        }
        self.retention.oldest(|id| self.rooms.messages(id))
    }
}
