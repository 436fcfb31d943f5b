//! Events of the store for the rooms of this core.

use super::OwnerEffects;
use super::questions::{Question, QuestionPurpose, Undone, done};
use super::room::Numbering;
use super::state::Owner;
use super::stored::Appended;
use crate::base::limits::{HISTORY_ENTRY_BYTES, WAITING_BYTES};
use crate::engine::kept::RoomDone;
use crate::engine::record::PageAnswer;
use crate::engine::store_port::StoreEvent;

impl Owner {
    /// Handles an event of the store.
    pub fn handle_store(&mut self, event: StoreEvent, effects: &mut OwnerEffects<'_>) {
        match event {
            StoreEvent::Loaded { attempt, room: name, stretch, first_seq, keys, created } => {
                let Some(id) = self.rooms.find(&name) else { return };
                let Some(room) = self.rooms.get_mut(id) else { return };
                if matches!(room.numbering, Numbering::Own) && self.settings.has_store() && attempt == room.attempt() {
                    let opening = room.opening.take();
                    let was_open = opening.is_none();
                    room.handle_loaded(was_open, (&stretch, first_seq), &keys, effects);
                    if room.note_created(was_open, created.is_some()) {
                        self.remove_deleted(id, &name, effects);
                    }
                    self.go_on(id, opening, effects);
                }
                self.enter(id, effects);
            }
            StoreEvent::Committed { attempt, room, epoch, seq } => {
                let Some(id) = self.rooms.find(&room) else { return };
                if let Some(room) = self.rooms.get_mut(id) {
                    room.handle_committed(Appended { attempt, epoch, seq }, effects);
                }
                self.enter(id, effects);
            }
            StoreEvent::Failed { attempt, room, epoch, seq, retry_after_ms } => {
                let Some(id) = self.rooms.find(&room) else { return };
                if let Some(room) = self.rooms.get_mut(id) {
                    room.handle_failed(Appended { attempt, epoch, seq }, retry_after_ms, effects);
                }
                self.enter(id, effects);
            }
            StoreEvent::Answered { token, answer } => {
                if let Some(question) = self.asks.take(token, effects.budget) {
                    self.handle_done(question, done(answer), effects);
                }
            }
            StoreEvent::Page(page) => self.handle_page(page, effects),
        }
        self.shed(effects);
    }

    /// Gives up the questions that have waited too long.
    pub(super) fn give_up_questions(&mut self, effects: &mut OwnerEffects<'_>) {
        while let Some(question) = self.asks.take_expired(effects.now.mono_us, effects.budget) {
            self.handle_done(question, Err(Undone::UNANSWERED), effects);
        }
    }

    /// Handles the answer to a question about a room.
    fn handle_done(&mut self, question: Question, done: Result<RoomDone, Undone>, effects: &mut OwnerEffects<'_>) {
        let Question { room: id, purpose } = question;
        match purpose {
            QuestionPurpose::Enter { conn, name } => self.admitted(id, (conn, &name), done, effects),
            QuestionPurpose::Command(command) => self.command_done(id, *command, done, effects),
            QuestionPurpose::FindReceipt { user, kind } => self.found_receipt(id, &user, kind, done),
            QuestionPurpose::KeepReceipt { user, kind } => self.kept_receipt(id, user, kind, done, effects),
        }
        self.enter(id, effects);
    }

    /// Handles the answer to a request for a page, from the store or the link.
    pub(super) fn handle_page(
        &mut self,
        PageAnswer { token, room, result }: PageAnswer,
        effects: &mut OwnerEffects<'_>,
    ) {
        let Some(id) = self.rooms.find(&room) else { return };
        let records = result.iter().flat_map(|page| &page.records);
        let bytes = records.map(|record| HISTORY_ENTRY_BYTES + record.data.len()).sum::<usize>();
        let may_wait = self.may_keep(WAITING_BYTES + bytes, effects);
        if let Some(room) = self.rooms.get_mut(id) {
            room.handle_page(token, result, may_wait, effects);
        }
        self.enter(id, effects);
    }
}
