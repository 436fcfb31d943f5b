//! Tells members who is in a room. Never closes a member for it: one whose outbox is full is told the newest state later.

use super::replies::pack;
use super::{Home, HomeEffects};
use crate::base::ids::RoomName;
use crate::base::limits::SEND_BYTES_MAX;
use crate::engine::news::News;
use crate::engine::outbox::{Outgoing, Role};
use crate::wire::form::Frames;
use crate::wire::frame::count_messages;
use crate::wire::reading::Variants;

/// Members looked at in one tick for statuses that they missed; the rest follow at the next tick.
const MISSED_LOOKS_PER_TICK_MAX: usize = 4_096;

/// Statuses told together to a member that has missed them.
const STATUSES_AT_A_TIME: usize = 16;

/// The part of the outbox (one in so many bytes) that must be free for them.
const ROOM_DIVISOR: usize = 8;

impl Home {
    pub(super) fn tell_news(
        &mut self,
        room: &RoomName,
        news: &News,
        (frames, variants): (&Frames, Option<&Variants>),
        effects: &mut HomeEffects<'_>,
    ) {
        let Some(index) = self.audiences.find(room) else { return };
        self.put_pending(index, effects);
        // Closing a slow member may have ended the audience.
        let Some(index) = self.audiences.find(room) else { return };
        let audience = self.audiences.at(index);
        let mut full = std::mem::take(&mut self.turn.lagging);
        for reading in audience.readings() {
            let members = audience.members(reading);
            let packed = variants.and_then(|variants| variants.get(reading));
            let Some(bytes) = packed.or_else(|| frames.get(reading.form())).filter(|_| !members.is_empty()) else {
                continue;
            };
            let outgoing = Outgoing { bytes: bytes.clone(), messages: count_messages(bytes), role: Role::Other };
            let frame = self.outboxes.add(outgoing, effects.budget);
            self.outboxes.push_all(members, None, frame, &mut full, effects.budget);
            self.outboxes.release(frame, effects.budget);
        }
        let audience = self.audiences.at_mut(index);
        if audience.missed.is_some() || !full.is_empty() {
            let missed = audience.missed.get_or_insert_default();
            effects.budget.release(missed.bytes());
            missed.note(news, full.iter().copied());
            effects.budget.charge(missed.bytes());
        }
        self.uninformed.members.extend(full.drain(..).map(|slot| (index, slot)));
        self.turn.lagging = full;
    }

    /// Tells members the newest state of the news that they have missed, as far as their outboxes have room.
    pub(super) fn make_up_news(&mut self, effects: &mut HomeEffects<'_>) {
        let from = self.uninformed.next;
        let in_turn = self.uninformed.members.range(from..).chain(self.uninformed.members.range(..from));
        let looked_at: Vec<(u32, u32)> = in_turn.take(MISSED_LOOKS_PER_TICK_MAX).copied().collect();
        for (index, slot) in looked_at {
            self.uninformed.next = (index, slot + 1);
            self.make_up_for(index, slot, effects);
        }
    }

    fn make_up_for(&mut self, index: u32, slot: u32, effects: &mut HomeEffects<'_>) {
        let reading = self.sessions.at(slot).reading.expect("members are open");
        let wanted = SEND_BYTES_MAX.min(self.settings.outbox_bytes / ROOM_DIVISOR);
        while self.outboxes.queue_room(slot) >= wanted {
            let audience = self.audiences.at_mut(index);
            let room = audience.room.clone();
            let Some(missed) = audience.missed.as_mut().filter(|missed| missed.is_behind(slot)) else {
                self.uninformed.members.remove(&(index, slot));
                return;
            };
            effects.budget.release(missed.bytes());
            let told = missed.take(slot, STATUSES_AT_A_TIME);
            effects.budget.charge(missed.bytes());
            audience.missed.take_if(|missed| missed.is_empty());
            for news in told {
                let frames = news.encode(&room, reading.form().into());
                let Some(bytes) = frames.get(reading.form()) else { continue };
                let bytes = pack(reading, bytes.clone(), effects);
                let outgoing = Outgoing { messages: count_messages(&bytes), bytes, role: Role::Other };
                self.outboxes.push(slot, outgoing, effects.budget);
            }
        }
    }

    /// Forgets the missed news of a member that has left an audience.
    pub(super) fn forget_missed(&mut self, slot: u32, index: u32, effects: &mut HomeEffects<'_>) {
        if !self.uninformed.members.remove(&(index, slot)) {
            return;
        }
        let audience = self.audiences.at_mut(index);
        if let Some(missed) = &mut audience.missed {
            effects.budget.release(missed.bytes());
            missed.forget(slot);
            effects.budget.charge(missed.bytes());
        }
        audience.missed.take_if(|missed| missed.is_empty());
    }
}
