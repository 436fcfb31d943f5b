//! The numbered publications that one room holds: a run without holes that ends at the room's head. Bounded here by
//! count and age, and by bytes through the core's budget. Never encodes, never sends.

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

/// The bounds of one page.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageLimit {
    pub count: usize,
    pub bytes: usize,
}

/// The run of held publications, and its head, which is kept even if nothing is held.
#[derive(Debug)]
pub(super) struct History {
    head: Seq,
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Entries removed so far, over the room's whole life. It gives each entry a number that no later entry gets, even
    /// if seqs start again.
    dropped: u64,
}

impl History {
    /// Nothing held.
    pub fn new(head: Seq) -> Self {
        Self { head, entries: VecDeque::new(), bytes: 0, dropped: 0 }
    }

    /// The last seq.
    pub fn head(&self) -> Seq {
        self.head
    }

    /// The oldest seq held; head + 1 if none is.
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

    /// The numbers (not seqs) of the held entries, for [`super::retention`].
    pub fn numbers(&self) -> std::ops::Range<u64> {
        self.dropped..self.dropped + self.entries.len() as u64
    }

    /// Appends the publication after the head. If more than `count_max` are held, the oldest is dropped.
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

    /// Drops expired publications.
    pub fn expire(&mut self, now_ms: u64) {
        while self.entries.front().is_some_and(|entry| entry.expires_ms <= now_ms) {
            self.drop_oldest();
        }
    }

    /// When the oldest expires, monotonic milliseconds.
    pub fn next_expiry_ms(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.expires_ms)
    }

    /// Drops the oldest; no-op if none is held.
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

    /// Drops all, and continues after `head`: the numbering is new, or seqs are lost.
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

    /// Everything above `seq`, if all of it is held and there are at most `count_max`.
    pub fn since(&self, seq: Seq, count_max: usize) -> Option<Vec<Arc<Publication>>> {
        let missed = self.head.checked_sub(seq)?;
        let is_held = seq + 1 >= self.first_seq() && missed <= count_max as u64;
        is_held.then(|| self.from(seq + 1).cloned().collect())
    }

    /// The newest publications, at most `count`, oldest first.
    pub fn newest(&self, count: usize) -> Vec<Arc<Publication>> {
        let first = self.entries.len().saturating_sub(count);
        self.entries.range(first..).map(|entry| Arc::clone(&entry.publication)).collect()
    }

    /// The oldest publications above `after` and below `before`, oldest first. Returns at least one if there is one,
    /// whatever its size, so that a reader always makes progress.
    pub fn page_after(&self, after: Seq, before: Option<Seq>, limit: PageLimit) -> Vec<Arc<Publication>> {
        let range = self.from(after.saturating_add(1)).take_while(|publication| below(publication, before));
        fill(range, limit)
    }

    /// The newest publications below `before` (of all if `None`), oldest first. Returns at least one if there is one.
    pub fn page_before(&self, before: Option<Seq>, limit: PageLimit) -> Vec<Arc<Publication>> {
        let end = before.map_or(self.entries.len(), |before| {
            let index = usize::try_from(before.saturating_sub(self.first_seq())).unwrap_or(usize::MAX);
            index.min(self.entries.len())
        });
        let mut page = fill(self.entries.range(..end).rev().map(|entry| &entry.publication), limit);
        page.reverse();
        page
    }

    /// Messages per 1,000 seconds at `now_ms` (Unix), over the last `window_ms`. If history holds less than that, over
    /// the time that it covers.
    pub fn rate_milli(&self, now_ms: u64, window_ms: u64) -> u64 {
        let since = now_ms.saturating_sub(window_ms);
        let first = self.entries.partition_point(|entry| entry.publication.at <= since);
        let count = (self.entries.len() - first) as u64;
        // If the whole window is held, its length counts; else the time since the oldest message.
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
