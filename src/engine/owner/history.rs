//! The numbered publications that one room still holds: a run without holes that ends at the room's head. Bounded by
//! count and age here and by bytes through the core's budget. Never encodes, never sends.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::ids::Seq;
use crate::base::limits::HISTORY_ENTRY_BYTES;
use crate::wire::publication::Publication;

#[derive(Debug)]
struct Entry {
    publication: Arc<Publication>,
    /// Monotonic milliseconds.
    expires_ms: u64,
}

/// How much one page may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageLimit {
    pub count: usize,
    pub bytes: usize,
}

/// The run of held publications and the head it ends at, which is kept when nothing is held.
#[derive(Debug)]
pub(super) struct History {
    head: Seq,
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Entries that have been held and are not any more, over the room's whole life: with it each entry has a number of
    /// its own that no later entry gets, whatever happens to seqs.
    dropped: u64,
}

impl History {
    /// Nothing held.
    pub fn new(head: Seq) -> Self {
        Self { head, entries: VecDeque::new(), bytes: 0, dropped: 0 }
    }

    /// The newest number given.
    pub fn head(&self) -> Seq {
        self.head
    }

    /// The oldest held; head + 1 when none is.
    pub fn first_seq(&self) -> Seq {
        self.head + 1 - self.entries.len() as u64
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes for the budget.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The numbers (not seqs) of the entries held, for [`super::retention`].
    pub fn numbers(&self) -> std::ops::Range<u64> {
        self.dropped..self.dropped + self.entries.len() as u64
    }

    /// Takes the publication after the head. Past `count_max` the oldest goes.
    pub fn append(&mut self, publication: Arc<Publication>, expires_ms: u64, count_max: usize) {
        assert_eq!(publication.seq, self.head + 1, "a room's numbering has no holes");
        self.head += 1;
        if count_max == 0 {
            return;
        }
        while self.entries.len() >= count_max {
            self.drop_oldest();
        }
        self.bytes += entry_bytes(&publication);
        self.entries.push_back(Entry { publication, expires_ms });
    }

    /// Frees what has expired.
    pub fn expire(&mut self, now_ms: u64) {
        while self.entries.front().is_some_and(|entry| entry.expires_ms <= now_ms) {
            self.drop_oldest();
        }
    }

    /// When the oldest expires, monotonic milliseconds.
    pub fn next_expiry_ms(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.expires_ms)
    }

    /// Lets the oldest go; nothing when none is held.
    pub fn drop_oldest(&mut self) {
        let Some(entry) = self.entries.pop_front() else { return };
        self.bytes -= entry_bytes(&entry.publication);
        self.dropped += 1;
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        } else if self.entries.capacity() > 64 && self.entries.len() * 8 < self.entries.capacity() {
            self.entries.shrink_to(self.entries.len() * 2);
        }
    }

    /// Lets all go and goes on after `head`: another numbering, or numbers that are lost.
    pub fn reset(&mut self, head: Seq) {
        self.dropped += self.entries.len() as u64;
        self.entries = VecDeque::new();
        self.bytes = 0;
        self.head = head;
    }

    /// One that is held.
    pub fn get(&self, seq: Seq) -> Option<&Arc<Publication>> {
        let index = seq.checked_sub(self.first_seq())?;
        self.entries.get(usize::try_from(index).ok()?).map(|entry| &entry.publication)
    }

    /// Everything above `seq`, if all of it is held and no more than so many.
    pub fn since(&self, seq: Seq, count_max: usize) -> Option<Vec<Arc<Publication>>> {
        let missed = self.head.checked_sub(seq)?;
        let is_held = seq + 1 >= self.first_seq() && missed <= count_max as u64;
        is_held.then(|| self.from(seq + 1).cloned().collect())
    }

    /// The newest, at most so many, oldest first.
    pub fn newest(&self, count: usize) -> Vec<Arc<Publication>> {
        let first = self.entries.len().saturating_sub(count);
        self.entries.range(first..).map(|entry| Arc::clone(&entry.publication)).collect()
    }

    /// The oldest above `after` and below `before`, oldest first. Holds at least one if there is one, whatever its bytes,
    /// so that a reader always gets further.
    pub fn page_after(&self, after: Seq, before: Option<Seq>, limit: PageLimit) -> Vec<Arc<Publication>> {
        let range = self.from(after.saturating_add(1)).take_while(|publication| below(publication, before));
        fill(range, limit)
    }

    /// The newest below `before` (of all when it is `None`), oldest first. Holds at least one if there is one.
    pub fn page_before(&self, before: Option<Seq>, limit: PageLimit) -> Vec<Arc<Publication>> {
        let end = before.map_or(self.entries.len(), |before| {
            let index = usize::try_from(before.saturating_sub(self.first_seq())).unwrap_or(usize::MAX);
            index.min(self.entries.len())
        });
        let mut page = fill(self.entries.range(..end).rev().map(|entry| &entry.publication), limit);
        page.reverse();
        page
    }

    /// Messages per 1,000 seconds at `now_ms` (Unix), of the last `window_ms` as far as they are held: of what is held
    /// no longer than that, those that are still there tell.
    pub fn rate_milli(&self, now_ms: u64, window_ms: u64) -> u64 {
        let since = now_ms.saturating_sub(window_ms);
        let first = self.entries.partition_point(|entry| entry.publication.at <= since);
        let count = (self.entries.len() - first) as u64;
        // With all of the window held its length counts; else the time since the oldest that is.
        let began = if first > 0 || self.dropped == 0 { since } else { self.entries.front().map_or(since, at) };
        count * 1_000_000 / now_ms.saturating_sub(began).clamp(1_000, window_ms)
    }

    fn from(&self, seq: Seq) -> impl Iterator<Item = &Arc<Publication>> {
        let index = usize::try_from(seq.saturating_sub(self.first_seq())).unwrap_or(usize::MAX);
        self.entries.range(index.min(self.entries.len())..).map(|entry| &entry.publication)
    }
}

fn entry_bytes(publication: &Publication) -> usize {
    publication.bytes() + HISTORY_ENTRY_BYTES
}

fn at(entry: &Entry) -> u64 {
    entry.publication.at
}

fn below(publication: &Publication, before: Option<Seq>) -> bool {
    before.is_none_or(|before| publication.seq < before)
}

/// As many as the limit allows, and at least one if there is one.
pub(super) fn fill<'a>(
    publications: impl Iterator<Item = &'a Arc<Publication>>,
    limit: PageLimit,
) -> Vec<Arc<Publication>> {
    let mut bytes = 0;
    let mut page: Vec<Arc<Publication>> = Vec::new();
    for publication in publications.take(limit.count) {
        bytes += publication.bytes();
        if bytes > limit.bytes && !page.is_empty() {
            break;
        }
        page.push(Arc::clone(publication));
    }
    page
}

const _: () = assert!(
    HISTORY_ENTRY_BYTES >= size_of::<Publication>() + 16 + 2 * size_of::<Entry>() + 24,
    "an entry is charged for what it takes"
);

#[cfg(test)]
mod tests;
