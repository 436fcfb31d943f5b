//! Pages of a room's history that memory does not reach: they wait for the store, or for the link where no store keeps the
//! room. A `history` goes on from where memory begins; a join that recovers is done once everything it missed is there.
//! Bounded in number, charged, and refused when the answer takes too long. Decides nothing about membership.

use std::sync::Arc;

use super::OwnerEffects;
use super::answer::{Asker, refuse_join};
use super::history::{PageLimit, fill};
use super::membership::Join;
use super::room::reading::HistoryRange;
use super::room::{Keeping, Numbering, Room};
use crate::base::ids::{ConnId, Epoch, Position, Seq};
use crate::base::limits::{
    ASK_AGAIN_MS, HISTORY_ENTRY_BYTES, PAGE_RECORDS_MAX, PAGE_TIMEOUT_MS, PAGES_PER_ROOM_MAX, WAITING_BYTES,
};
use crate::base::time::Now;
use crate::engine::link_port::LinkRequest;
use crate::engine::record::{PageRequest, Record, RecordPage};
use crate::engine::store_port::StoreRequest;
use crate::wire::protocol::{Answer, Recover, Refusal};
use crate::wire::publication::Publication;

/// What a room has with whoever keeps more of its history than memory does.
#[derive(Debug)]
pub(super) struct Pages {
    next_token: u64,
    /// The lowest number that the keeper held when it last said so, and of which numbering.
    floor: Option<Position>,
    waiting: Vec<WaitingPage>,
    bytes: usize,
}

/// A page that is asked and not answered.
#[derive(Debug)]
struct WaitingPage {
    request: PageRequest,
    purpose: Purpose,
    /// Monotonic milliseconds.
    since_ms: u64,
    /// When it was asked last, monotonic milliseconds.
    asked_ms: u64,
}

/// What a page is for.
#[derive(Debug)]
enum Purpose {
    History(HistoryPart),
    /// `older` is what the join has missed, as far as it has been read.
    Join {
        join: Join,
        older: Vec<Arc<Publication>>,
    },
}

/// A page of history as far as memory had it.
#[derive(Debug)]
pub(super) struct HistoryPart {
    pub asker: Asker,
    pub range: HistoryRange,
    pub limit: PageLimit,
    pub head: Position,
    /// Where memory began.
    pub first_seq: Seq,
    /// In order; the last part of the page.
    pub messages: Vec<Arc<Publication>>,
}

impl HistoryPart {
    /// The number below which the rest is.
    fn end(&self) -> Seq {
        self.range.before.map_or(self.first_seq, |before| before.min(self.first_seq))
    }

    /// Whether the page needs nothing below memory, of which the keeper holds what is from `floor` on.
    fn is_whole(&self, floor: Seq) -> bool {
        let end = self.end();
        let low = self.range.after.map_or(floor, |after| floor.max(after.saturating_add(1)));
        if low >= end {
            return true;
        }
        let bytes: usize = self.messages.iter().map(|publication| publication.bytes()).sum();
        let is_full = self.messages.len() >= self.limit.count || bytes >= self.limit.bytes;
        let begins_later = self.messages.first().is_some_and(|first| first.seq > self.first_seq);
        self.range.after.is_none() && (is_full || begins_later)
    }
}

impl Purpose {
    fn conn(&self) -> Option<ConnId> {
        match self {
            Purpose::History(part) => part.asker.conn(),
            Purpose::Join { join, .. } => Some(join.member.conn),
        }
    }

    fn bytes(&self) -> usize {
        let (Purpose::History(HistoryPart { messages, .. }) | Purpose::Join { older: messages, .. }) = self;
        messages.iter().map(|publication| publication.bytes() + HISTORY_ENTRY_BYTES).sum::<usize>() + WAITING_BYTES
    }
}

impl WaitingPage {
    fn due_ms(&self) -> u64 {
        (self.asked_ms + ASK_AGAIN_MS).min(self.since_ms + PAGE_TIMEOUT_MS)
    }
}

impl Pages {
    pub fn new() -> Self {
        Self { next_token: 0, floor: None, waiting: Vec::new(), bytes: 0 }
    }

    /// The first token of a room's pages: no other room of the core, and no earlier one of the same name, has had it.
    pub fn number_from(&mut self, token: u64) {
        self.next_token = token;
    }

    /// Whether no page is waited for.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Bytes for the budget.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// When a page must be asked again or given up, monotonic milliseconds.
    pub fn due_ms(&self) -> Option<u64> {
        self.waiting.iter().map(WaitingPage::due_ms).min()
    }

    /// The keeper has told the lowest number that it holds.
    pub fn set_floor(&mut self, epoch: Epoch, seq: Seq) {
        self.floor = Some(Position { epoch, seq });
    }

    /// The lowest number that the keeper may hold.
    pub fn floor(&self, epoch: Epoch) -> Seq {
        self.floor.filter(|floor| floor.epoch == epoch).map_or(1, |floor| floor.seq)
    }

    /// A connection whose join waits here went away or came back; whether there is one.
    pub fn set_away(&mut self, conn: ConnId, now_away: bool) -> bool {
        let joins = self.waiting.iter_mut().filter_map(|waiting| match &mut waiting.purpose {
            Purpose::Join { join, .. } if join.member.conn == conn && !join.again => Some(join),
            _ => None,
        });
        joins.map(|join| join.away = now_away).count() > 0
    }

    /// A connection has gone: its page is not wanted any more.
    pub fn forget(&mut self, conn: ConnId) {
        self.waiting.retain(|waiting| waiting.purpose.conn() != Some(conn));
        self.bytes = self.waiting.iter().map(|waiting| waiting.purpose.bytes()).sum();
    }

    fn add(&mut self, request: PageRequest, purpose: Purpose, now: Now) {
        let now_ms = now.mono_ms();
        self.bytes += purpose.bytes();
        self.waiting.push(WaitingPage { request, purpose, since_ms: now_ms, asked_ms: now_ms });
    }

    fn take(&mut self, token: u64) -> Option<WaitingPage> {
        let at = self.waiting.iter().position(|waiting| waiting.request.token == token)?;
        let waiting = self.waiting.remove(at);
        self.bytes -= waiting.purpose.bytes();
        Some(waiting)
    }

    /// The page that has waited longest, if that is too long.
    fn take_late(&mut self, now: Now) -> Option<WaitingPage> {
        let is_late = |waiting: &&WaitingPage| waiting.since_ms + PAGE_TIMEOUT_MS <= now.mono_ms();
        let token = self.waiting.iter().find(is_late)?.request.token;
        self.take(token)
    }
}

impl Room {
    /// Answers a page of history, or lets it wait for what memory does not hold. `may_wait`: the core has memory for it.
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

    /// Where a join that recovers goes on reading, if memory does not reach back so far and the keeper may. `older` has been
    /// read already.
    pub(super) fn missing_from(&self, recover: Option<Recover>, older: &[Arc<Publication>]) -> Option<Seq> {
        let (stream, recover) = (&self.stream, recover?);
        let pages = self.pages.as_ref().filter(|_| stream.settings.history_size > 0)?;
        let missed = stream.history.head().checked_sub(recover.seq)?;
        let is_own = recover.epoch.is_none_or(|epoch| epoch == stream.epoch);
        let from = older.last().map_or(recover.seq, |last| last.seq);
        let is_missing = from + 1 < stream.history.first_seq() && pages.floor(stream.epoch) <= from + 1;
        (is_own && is_missing && missed <= stream.settings.recovery_max as u64).then_some(from)
    }

    /// Lets a join wait for what is above `from` and below memory.
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
            self.hold_for_page(conn);
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

    /// Asks again for pages that were not answered, and gives up those that have waited too long.
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
            self.release_from_page(conn);
        }
        match purpose {
            Purpose::History(part) => part.asker.refuse(&self.stream.name, refusal, effects),
            Purpose::Join { join, .. } => {
                refuse_join(&self.stream.name, (join.member.conn, join.reply), refusal, effects);
            }
        }
    }

    /// The keeper has answered a page. `may_wait`: the core has memory for what was read.
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
            self.release_from_page(conn);
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

    /// Lets go of what a room does not show any more, though the keeper has it still.
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
