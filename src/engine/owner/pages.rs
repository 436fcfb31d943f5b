//! Pages of a room's history that memory does not reach: they wait for the store, or for the link where no store keeps the
//! room. Bounded in number and charged. `paging` asks for them and answers with them.

use std::sync::Arc;

use super::answer::Asker;
use super::history::PageLimit;
use super::join::Join;
use crate::base::ids::{ConnId, Epoch, Position, Seq, UserName};
use crate::base::limits::{ASK_AGAIN_MS, HISTORY_ENTRY_BYTES, PAGE_TIMEOUT_MS, WAITING_BYTES};
use crate::base::time::Now;
use crate::engine::record::PageRequest;
use crate::wire::publication::Publication;

/// The pages of one room that the store or the link (the keeper) must read.
#[derive(Debug)]
pub(super) struct Pages {
    pub next_token: u64,
    /// The lowest seq that the keeper held according to its last answer, with its epoch.
    floor: Option<Position>,
    pub waiting: Vec<WaitingPage>,
    bytes: usize,
}

/// A page that was requested and not answered.
#[derive(Debug)]
pub(super) struct WaitingPage {
    pub request: PageRequest,
    pub purpose: Purpose,
    /// Time of the first request, monotonic milliseconds.
    since_ms: u64,
    /// Time of the last request, monotonic milliseconds.
    pub asked_ms: u64,
}

/// What a page is for.
#[derive(Debug)]
pub(super) enum Purpose {
    History(HistoryPart),
    /// `older`: the missed messages read so far.
    Join {
        join: Join,
        older: Vec<Arc<Publication>>,
    },
}

/// Which messages a page of history holds: the oldest above `after`, or the newest below `before`, at most `limit`.
#[derive(Clone, Copy, Debug)]
pub(super) struct HistoryRange {
    pub after: Option<Seq>,
    pub before: Option<Seq>,
    pub limit: u32,
}

/// The part of a page of history that memory holds.
#[derive(Debug)]
pub(super) struct HistoryPart {
    pub asker: Asker,
    pub range: HistoryRange,
    pub limit: PageLimit,
    pub head: Position,
    /// The oldest seq in memory.
    pub first_seq: Seq,
    /// In order; the last part of the page.
    pub messages: Vec<Arc<Publication>>,
}

impl HistoryPart {
    /// The seq below which the rest of the page lies.
    pub fn end(&self) -> Seq {
        self.range.before.map_or(self.first_seq, |before| before.min(self.first_seq))
    }

    /// Whether memory holds the whole page, if the keeper holds everything from `floor` on.
    pub fn is_whole(&self, floor: Seq) -> bool {
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
    pub fn conn(&self) -> Option<ConnId> {
        match self {
            Purpose::History(part) => part.asker.conn(),
            Purpose::Join { join, .. } => Some(join.member.conn),
        }
    }

    pub fn bytes(&self) -> usize {
        let (Purpose::History(HistoryPart { messages, .. }) | Purpose::Join { older: messages, .. }) = self;
        messages.iter().map(|publication| publication.bytes() + HISTORY_ENTRY_BYTES).sum::<usize>() + WAITING_BYTES
    }
}

impl WaitingPage {
    pub fn due_ms(&self) -> u64 {
        (self.asked_ms + ASK_AGAIN_MS).min(self.since_ms + PAGE_TIMEOUT_MS)
    }
}

impl Pages {
    pub fn new() -> Self {
        Self { next_token: 0, floor: None, waiting: Vec::new(), bytes: 0 }
    }

    /// Sets the first token of a room's pages. No other room of the core, nor an earlier one of this name, has used it.
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

    /// Notes the lowest seq that the keeper holds.
    pub fn set_floor(&mut self, epoch: Epoch, seq: Seq) {
        self.floor = Some(Position { epoch, seq });
    }

    /// The lowest seq that the keeper may hold.
    pub fn floor(&self, epoch: Epoch) -> Seq {
        self.floor.filter(|floor| floor.epoch == epoch).map_or(1, |floor| floor.seq)
    }

    /// Sets the status of a connection whose join waits here. Returns whether there is one.
    pub fn set_away(&mut self, conn: ConnId, now_away: bool) -> bool {
        let joins = self.waiting.iter_mut().filter_map(|waiting| match &mut waiting.purpose {
            Purpose::Join { join, .. } if join.member.conn == conn && !join.again => Some(join),
            _ => None,
        });
        joins.map(|join| join.away = now_away).count() > 0
    }

    /// Takes the joins of a user that wait here.
    pub fn take_joins_of(&mut self, user: &UserName) -> Vec<Join> {
        let is_own = |waiting: &mut WaitingPage| matches!(&waiting.purpose, Purpose::Join { join, .. } if join.member.user == *user);
        let taken: Vec<WaitingPage> = self.waiting.extract_if(.., is_own).collect();
        self.bytes -= taken.iter().map(|waiting| waiting.purpose.bytes()).sum::<usize>();
        let joins = taken.into_iter().filter_map(|waiting| match waiting.purpose {
            Purpose::Join { join, .. } => Some(join),
            Purpose::History(_) => None,
        });
        joins.collect()
    }

    /// Drops the page of a connection that has ended.
    pub fn forget(&mut self, conn: ConnId) {
        self.waiting.retain(|waiting| waiting.purpose.conn() != Some(conn));
        self.bytes = self.waiting.iter().map(|waiting| waiting.purpose.bytes()).sum();
    }

    pub fn add(&mut self, request: PageRequest, purpose: Purpose, now: Now) {
        let now_ms = now.mono_ms();
        self.bytes += purpose.bytes();
        self.waiting.push(WaitingPage { request, purpose, since_ms: now_ms, asked_ms: now_ms });
    }

    pub fn take(&mut self, token: u64) -> Option<WaitingPage> {
        let at = self.waiting.iter().position(|waiting| waiting.request.token == token)?;
        let waiting = self.waiting.remove(at);
        self.bytes -= waiting.purpose.bytes();
        Some(waiting)
    }

    /// Takes a page that has waited too long.
    pub fn take_late(&mut self, now: Now) -> Option<WaitingPage> {
        let is_late = |waiting: &&WaitingPage| waiting.since_ms + PAGE_TIMEOUT_MS <= now.mono_ms();
        let token = self.waiting.iter().find(is_late)?.request.token;
        self.take(token)
    }
}
