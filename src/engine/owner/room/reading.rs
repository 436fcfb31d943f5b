//! Read requests to a room: pages of history and presence, and the summary.

use crate::base::codes::ErrorCode;
use crate::base::limits::{PAGE_MAX, ROOM_RATE_WINDOW_MS};
use crate::base::time::Now;
use crate::engine::owner::OwnerEffects;
use crate::engine::owner::answer::Asker;
use crate::engine::owner::pages::{HistoryPart, HistoryRange};
use crate::engine::owner::room::Room;
use crate::wire::protocol::{Answer, Refusal, RoomSummary};

impl Room {
    /// Answers with a page of history, at once or when what memory lacks has been read. `may_wait`: the core has memory for
    /// that.
    pub(super) fn read_history(
        &mut self,
        asker: Asker,
        range: HistoryRange,
        may_wait: bool,
        effects: &mut OwnerEffects<'_>,
    ) {
        if self.stream.settings.history_size == 0 {
            let refusal = Refusal::new(ErrorCode::HistoryUnavailable, "this room keeps no history");
            return asker.refuse(&self.stream.name, refusal, effects);
        }
        if let Err(refusal) = self.may_read(asker, effects) {
            return asker.refuse(&self.stream.name, refusal, effects);
        }
        let part = self.part_in_memory(asker, range, effects.now);
        self.finish_history(part, may_wait, effects);
    }

    /// Answers with what memory has of a page.
    pub(in crate::engine::owner) fn answer_from_memory(&mut self, part: HistoryPart, effects: &mut OwnerEffects<'_>) {
        if let Err(refusal) = self.may_read(part.asker, effects) {
            return part.asker.refuse(&self.stream.name, refusal, effects);
        }
        let HistoryPart { asker, head, first_seq, messages, .. } =
            self.part_in_memory(part.asker, part.range, effects.now);
        asker.answer(&self.stream.name, Answer::History { head, first_seq, messages }, effects);
    }

    /// Whether a page may be answered now: it is large.
    pub(in crate::engine::owner) fn may_read(&self, asker: Asker, effects: &OwnerEffects<'_>) -> Result<(), Refusal> {
        if effects.budget.is_over() {
            return Err(Refusal::OUT_OF_MEMORY);
        }
        if lacks_room_for_page(asker, effects) { Err(Refusal::OVERLOADED) } else { Ok(()) }
    }

    fn part_in_memory(&mut self, asker: Asker, range: HistoryRange, now: Now) -> HistoryPart {
        self.stream.expire(now);
        let (head, history) = (self.stream.head(), &self.stream.history);
        let limit = self.stream.page(range.limit.clamp(1, PAGE_MAX));
        let messages = match range.after {
            Some(after) => history.page_after(after, range.before, limit),
            None => history.page_before(range.before, limit),
        };
        HistoryPart { asker, range, limit, head, first_seq: history.first_seq(), messages }
    }

    /// Answers with a page of the users present.
    pub(super) fn read_presence(
        &mut self,
        asker: Asker,
        limit: u32,
        after: Option<&str>,
        effects: &mut OwnerEffects<'_>,
    ) {
        let Some(presence) = &mut self.stream.presence else {
            let refusal = Refusal::new(ErrorCode::Forbidden, "presence is off in this room");
            return asker.refuse(&self.stream.name, refusal, effects);
        };
        if lacks_room_for_page(asker, effects) {
            return asker.refuse(&self.stream.name, Refusal::OVERLOADED, effects);
        }
        let users = presence.page(after, limit.clamp(1, PAGE_MAX) as usize, asker.conn().is_some());
        let answer = Answer::Presence { total: presence.present(), users };
        asker.answer(&self.stream.name, answer, effects);
    }

    /// Describes the room as its owner knows it.
    pub(in crate::engine::owner) fn summary(&self, now: Now) -> RoomSummary {
        let stream = &self.stream;
        RoomSummary {
            room: stream.name.clone(),
            members: stream.members(),
            connections: stream.listeners.members() as u64,
            head: stream.head(),
            rate_milli: stream.history.rate_milli(now.unix_ms, ROOM_RATE_WINDOW_MS),
        }
    }
}

/// Whether the asker's lane is too full for a page.
fn lacks_room_for_page(asker: Asker, effects: &OwnerEffects<'_>) -> bool {
    asker.conn().is_some_and(|conn| effects.outbound.is_full_for_questions(conn.home))
}
