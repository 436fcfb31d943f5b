//! Pages of a room's history that memory does not reach, asked of whoever keeps them. A `history` goes on from where memory
//! begins; a join that recovers is done once everything it missed is there. Refused when the answer takes too long.

use std::sync::Arc;

use super::OwnerEffects;
use super::answer::refuse_join;
use super::history::{PageLimit, fill};
use super::join::Join;
use super::pages::{HistoryPart, Purpose, WaitingPage};
use super::room::{Keeping, Numbering, Room};
use crate::base::ids::Seq;
use crate::base::limits::{ASK_AGAIN_MS, PAGE_RECORDS_MAX, PAGES_PER_ROOM_MAX};
use crate::base::time::Now;
use crate::engine::link_port::LinkRequest;
use crate::engine::record::{PageRequest, Record, RecordPage};
use crate::engine::store_port::StoreRequest;
use crate::wire::protocol::{Answer, Recover, Refusal};
use crate::wire::publication::Publication;

impl Room {
    /// Answers a page of history, or requests what memory does not hold. `may_wait`: the core has memory for it.
    pub(super) fn finish_history(&mut self, part: HistoryPart, may_wait: bool, effects: &mut OwnerEffects<'_>) {
        let floor = self.pages.as_ref().map(|pages| pages.floor(part.head.epoch));
        let Some(floor) = floor.filter(|floor| !part.is_whole(*floor)) else {
            let first_seq = floor.map_or(part.first_seq, |floor| floor.min(part.first_seq));
            let answer = Answer::History { head: part.head, first_seq, messages: part.messages };
            return part.asker.answer(&self.stream.name, answer, effects);
        };
        if !self.has_place_for_page(may_wait) {
            return part.asker.refuse(&self.stream.name, Refusal::OVERLOADED, effects);
        }
        let after = part.range.after.map(|after| after.max(floor.saturating_sub(1)));
        let held = if after.is_some() { 0 } else { part.messages.len() };
        let bounds = (after, part.end());
        let limit = PageLimit { count: part.limit.count - held, bytes: part.limit.bytes };
        self.ask_page(bounds, limit, Purpose::History(part), effects);
    }

    /// The seq after which a recovering join must read on, if memory does not reach back far enough and the keeper may.
    /// `older` has been read already.
    pub(super) fn missing_from(&self, recover: Option<Recover>, older: &[Arc<Publication>]) -> Option<Seq> {
        let (stream, recover) = (&self.stream, recover?);
        let pages = self.pages.as_ref().filter(|_| stream.settings.history_size > 0)?;
        let missed = stream.history.head().checked_sub(recover.seq)?;
        let is_own = recover.epoch.is_none_or(|epoch| epoch == stream.epoch);
        let from = older.last().map_or(recover.seq, |last| last.seq);
        let is_missing = from + 1 < stream.history.first_seq() && pages.floor(stream.epoch) <= from + 1;
        (is_own && is_missing && missed <= stream.settings.recovery_max as u64).then_some(from)
    }

    /// Requests the messages above `from` and below memory for a join.
    pub(super) fn wait_for_missed(
        &mut self,
        mut join: Join,
        (from, older): (Seq, Vec<Arc<Publication>>),
        may_wait: bool,
        effects: &mut OwnerEffects<'_>,
    ) {
        if !self.has_place_for_page(may_wait) {
            return refuse_join(&self.stream.name, (join.member.conn, join.reply), Refusal::OVERLOADED, effects);
        }
        if let Some(recover) = &mut join.recover {
            // The numbering may change while the join waits.
            recover.epoch = Some(self.stream.epoch);
        }
        let end = self.stream.history.first_seq();
        let count = PAGE_RECORDS_MAX.min(usize::try_from(end - from - 1).unwrap_or(PAGE_RECORDS_MAX));
        let limit = PageLimit { count, bytes: self.stream.page_bytes_max };
        self.ask_page((Some(from), end), limit, Purpose::Join { join, older }, effects);
    }

    fn has_place_for_page(&self, may_wait: bool) -> bool {
        may_wait && self.pages.as_ref().is_some_and(|pages| pages.waiting.len() < PAGES_PER_ROOM_MAX)
    }

    fn ask_page(
        &mut self,
        (after, before): (Option<Seq>, Seq),
        limit: PageLimit,
        purpose: Purpose,
        effects: &mut OwnerEffects<'_>,
    ) {
        if let Some(conn) = purpose.conn() {
            self.hold(conn);
        }
        let Some(pages) = &mut self.pages else { return };
        let (room, epoch, PageLimit { count, bytes }) = (self.stream.name.clone(), self.stream.epoch, limit);
        let expired_at = effects.now.unix_ms.saturating_sub(self.stream.settings.history_ttl_ms);
        let request = PageRequest { token: pages.next_token, room, epoch, after, before, expired_at, count, bytes };
        pages.next_token += 1;
        pages.add(request.clone(), purpose, effects.now);
        self.send_page(request, effects);
    }

    fn send_page(&self, request: PageRequest, effects: &mut OwnerEffects<'_>) {
        match (&self.keeping, &self.numbering) {
            (Keeping::Store(_), _) => effects.store.push(StoreRequest::Page(request)),
            (Keeping::None, Numbering::Link(_)) => effects.link.push(LinkRequest::Page(request)),
            (Keeping::None, Numbering::Own) => {}
        }
    }

    /// Repeats unanswered requests, and refuses pages that have waited too long.
    pub(super) fn ask_pages_again(&mut self, effects: &mut OwnerEffects<'_>) {
        while let Some(late) = self.pages.as_mut().and_then(|pages| pages.take_late(effects.now)) {
            self.refuse_page(late.purpose, Refusal::UNANSWERED, effects);
        }
        let now_ms = effects.now.mono_ms();
        let mut again = Vec::new();
        for waiting in self.pages.iter_mut().flat_map(|pages| &mut pages.waiting) {
            if waiting.asked_ms + ASK_AGAIN_MS <= now_ms {
                waiting.asked_ms = now_ms;
                again.push(waiting.request.clone());
            }
        }
        for request in again {
            self.send_page(request, effects);
        }
    }

    fn refuse_page(&mut self, purpose: Purpose, refusal: Refusal, effects: &mut OwnerEffects<'_>) {
        if let Some(conn) = purpose.conn() {
            self.release_held(conn);
        }
        match purpose {
            Purpose::History(part) => part.asker.refuse(&self.stream.name, refusal, effects),
            Purpose::Join { join, .. } => {
                refuse_join(&self.stream.name, (join.member.conn, join.reply), refusal, effects);
            }
        }
    }

    /// Handles the keeper's answer. `may_wait`: the core has memory for what was read.
    pub fn handle_page(
        &mut self,
        token: u64,
        result: Result<RecordPage, u64>,
        may_wait: bool,
        effects: &mut OwnerEffects<'_>,
    ) {
        let Some(WaitingPage { request, purpose, .. }) = self.pages.as_mut().and_then(|pages| pages.take(token)) else {
            return;
        };
        let read = result.as_ref().map_or(0, |page| page.records.len());
        let mut page = match result {
            Ok(page) => self.without_expired(page, effects.now),
            Err(retry_after_ms) => return self.refuse_page(purpose, Refusal::unreadable(retry_after_ms), effects),
        };
        if let (Some(pages), Some(first_seq)) = (&mut self.pages, &mut page.first_seq) {
            pages.set_floor(request.epoch, *first_seq);
            // What was taken for gone was not asked for.
            if let Purpose::History(part) = &purpose
                && request.after > part.range.after
            {
                *first_seq = (*first_seq).max(request.after.map_or(1, |after| after + 1));
            }
        }
        if let Some(conn) = purpose.conn() {
            self.release_held(conn);
        }
        match purpose {
            // What was asked in a numbering that is past is answered in the one that holds.
            Purpose::History(part) if part.head.epoch != self.stream.epoch => self.answer_from_memory(part, effects),
            // All of it expired on its way.
            Purpose::History(part) if read > 0 && page.records.is_empty() => {
                self.finish_history(part, may_wait, effects);
            }
            Purpose::History(part) => self.answer_with_page(part, page, effects),
            Purpose::Join { join, older } => self.join_with_page(join, older, page, may_wait, effects),
        }
    }

    /// Drops expired records that the keeper still holds.
    fn without_expired(&self, mut page: RecordPage, now: Now) -> RecordPage {
        let is_expired = |record: &Record| record.at.saturating_add(self.stream.settings.history_ttl_ms) <= now.unix_ms;
        if let Some(last) = page.records.iter().rposition(is_expired) {
            let seq = page.records[last].seq + 1;
            page.first_seq = page.first_seq.map(|first_seq| first_seq.max(seq));
            page.records.drain(..=last);
        }
        page
    }

    fn answer_with_page(&mut self, part: HistoryPart, page: RecordPage, effects: &mut OwnerEffects<'_>) {
        if let Err(refusal) = self.may_read(part.asker, effects) {
            return part.asker.refuse(&self.stream.name, refusal, effects);
        }
        let end = part.end();
        let first_seq = page.first_seq.map_or(part.first_seq, |first_seq| first_seq.min(part.first_seq));
        let records = || page.records.iter().filter(|record| record.seq < end && Some(record.seq) > part.range.after);
        let (messages, first_seq) = match part.range.after {
            Some(after) => {
                // A run from the lowest number: never past one that is missing.
                let low = first_seq.max(after.saturating_add(1));
                let run = records().zip(low..).take_while(|(record, seq)| record.seq == *seq);
                let read: Vec<_> = run.map(|(record, _)| self.stream.publication(record, effects.now)).collect();
                let meets_memory = low.saturating_add(read.len() as u64) >= end;
                let held = part.messages.iter().filter(|_| meets_memory);
                (fill(read.iter().chain(held), part.limit), first_seq)
            }
            None => {
                // A run that ends where memory begins.
                let run = records().rev().zip((1..end).rev()).take_while(|(record, seq)| record.seq == *seq);
                let read: Vec<_> = run.map(|(record, _)| self.stream.publication(record, effects.now)).collect();
                let lowest = read.last().map_or(end, |lowest| lowest.seq);
                let mut messages = fill(part.messages.iter().rev().chain(&read), part.limit);
                messages.reverse();
                // Below a number that is missing nothing counts as held.
                let has_hole = read.len() < records().count() || (read.is_empty() && first_seq < end);
                let lowest = if read.is_empty() { part.first_seq } else { lowest };
                (messages, if has_hole { lowest } else { first_seq })
            }
        };
        let answer = Answer::History { head: part.head, first_seq, messages };
        part.asker.answer(&self.stream.name, answer, effects);
    }

    fn join_with_page(
        &mut self,
        mut join: Join,
        mut older: Vec<Arc<Publication>>,
        page: RecordPage,
        may_wait: bool,
        effects: &mut OwnerEffects<'_>,
    ) {
        let known = older.len();
        let from = older.last().map(|last| last.seq).or(join.recover.map(|recover| recover.seq)).unwrap_or(0);
        let run = page.records.iter().zip(from + 1..).take_while(|(record, seq)| record.seq == *seq);
        older.extend(run.map(|(record, _)| self.stream.publication(record, effects.now)));
        if older.len() == known {
            // What it missed is gone.
            join.recover = None;
        }
        self.join(join, older, may_wait, effects);
    }
}
