//! Events of the link for the rooms of this core, and requests to it for many rooms at once.

use super::OwnerEffects;
use super::linked::LinkAnswer;
use super::room_id::RoomId;
use super::state::Owner;
use crate::base::ids::RoomName;
use crate::base::limits::{ENDED_LIVES_MAX, POSITIONS_MAX, WAITING_BYTES};
use crate::engine::link_port::{LinkEvent, LinkRequest};
use crate::engine::settings::NumberingMode;

impl Owner {
    /// Handles an event of the link.
    pub fn handle_link(&mut self, event: LinkEvent, effects: &mut OwnerEffects<'_>) {
        match event {
            LinkEvent::Read { token, room, stretch, mut present } => {
                if let Some(present) = &mut present {
                    present.counts.retain(|(life, _)| !self.linking.ended.contains(life));
                }
                let Some(id) = self.rooms.find(&room) else { return };
                let Some(room) = self.rooms.get_mut(id) else { return };
                let opened = room.handle_read(&LinkAnswer { token, stretch, present }, effects);
                self.note_verified(id);
                self.go_on(id, opened, effects);
                self.enter(id, effects);
            }
            LinkEvent::Positions { token, heads } => {
                for (room, head) in heads {
                    let Some(id) = self.rooms.find(&room) else { continue };
                    if let Some(room) = self.rooms.get_mut(id) {
                        room.handle_position(token, head, effects);
                    }
                    self.note_verified(id);
                    self.enter(id, effects);
                }
            }
            LinkEvent::Publication { room, epoch, record } => {
                let Some(id) = self.rooms.find(&room) else { return };
                let may_wait = self.may_keep(WAITING_BYTES + record.data.len(), effects);
                if let Some(room) = self.rooms.get_mut(id) {
                    room.handle_publication((epoch, record), may_wait, effects);
                }
                self.enter(id, effects);
            }
            LinkEvent::Published { token, result } => {
                let Some(publish) = self.awaited.take(token) else { return };
                let id = publish.room;
                if let Some(room) = self.rooms.get_mut(id) {
                    room.handle_published(publish, result, effects);
                }
                self.enter(id, effects);
            }
            LinkEvent::Presence { room, life, version, mut changes } => {
                if self.linking.ended.contains(&life) {
                    changes.clear();
                }
                let Some(id) = self.rooms.find(&room) else { return };
                if let Some(room) = self.rooms.get_mut(id) {
                    room.handle_presence(life, version, &changes, effects.now);
                }
                self.enter(id, effects);
            }
            LinkEvent::Page(page) => self.handle_page(page, effects),
            LinkEvent::LifeEnded { life } => self.end_life(life, effects),
            LinkEvent::Restored { round } => self.handle_restored(round, effects),
        }
        self.tell_verified(effects);
        self.shed(effects);
    }

    /// Compares all rooms with the link.
    fn handle_restored(&mut self, round: u64, effects: &mut OwnerEffects<'_>) {
        if self.settings.numbering == NumberingMode::Own {
            return;
        }
        for id in self.rooms.all() {
            if self.rooms.get_mut(id).is_some_and(|room| room.handle_restored(effects)) {
                self.linking.due.push(id);
            }
        }
        self.linking.verifying = Some((round, self.linking.due.len()));
        self.compare_due(effects);
    }

    /// Asks the link for the heads of the rooms that are due.
    pub(super) fn compare_due(&mut self, effects: &mut OwnerEffects<'_>) {
        let due = std::mem::take(&mut self.linking.due);
        for due in due.chunks(POSITIONS_MAX) {
            let token = effects.random.next_u64();
            let mut rooms: Vec<RoomName> = Vec::with_capacity(due.len());
            for id in due {
                if let Some(room) = self.rooms.get_mut(*id) {
                    room.note_compared(token, effects.now);
                    rooms.push(room.stream.name.clone());
                }
            }
            effects.link.push(LinkRequest::Positions { token, rooms });
        }
        for id in due {
            self.enter(id, effects);
        }
    }

    fn note_verified(&mut self, id: RoomId) {
        if let Some((_, left)) = &mut self.linking.verifying
            && self.rooms.get_mut(id).is_some_and(|room| room.take_verified())
        {
            *left -= 1;
        }
    }

    /// Tells the link once all rooms have been compared.
    fn tell_verified(&mut self, effects: &mut OwnerEffects<'_>) {
        if let Some((round, _)) = self.linking.verifying.take_if(|(_, left)| *left == 0) {
            effects.link.push(LinkRequest::Verified { round });
        }
    }

    fn end_life(&mut self, life: u64, effects: &mut OwnerEffects<'_>) {
        if self.linking.ended.len() == ENDED_LIVES_MAX {
            self.linking.ended.pop_front();
        }
        self.linking.ended.push_back(life);
        for id in self.rooms.all() {
            if let Some(room) = self.rooms.get_mut(id) {
                room.end_life(life, effects.now);
            }
            self.enter(id, effects);
        }
    }
}
