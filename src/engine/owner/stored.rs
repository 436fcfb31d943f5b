//! A room whose publications are kept by the store of this machine: numbered here, delivered and acknowledged once they
//! are committed. What a restart would not find is shown to nobody.
//!
//! After a failure the room asks the store where it stands before it numbers on. The store answers in order, so whatever
//! it still says about the publishes that failed comes before that answer, and nothing of it is taken for a later publish
//! with the same number. Until then publishes are refused; everything else goes on.

use std::collections::VecDeque;

use super::OwnerEffects;
use super::answer::{Asker, Refusal};
use super::publish::{Arrival, Publish};
use super::room::{Authority, Room};
use crate::base::ids::{ConnId, Epoch, Seq};
use crate::base::limits::{KEY_WINDOW_MS, PENDING_PER_ROOM_MAX, WAITING_BYTES};
use crate::base::time::Now;
use crate::engine::input::{KeptKey, Record, Stretch};
use crate::engine::output::StoreRequest;
use crate::engine::random::TableKeys;

/// A publish that the store has been given.
#[derive(Debug)]
struct Pending {
    record: Record,
    asker: Asker,
    except: Option<ConnId>,
    arrival: Arrival,
    /// Publishes of the same key since: their outcome is this one's.
    duplicates: Vec<Asker>,
}

/// The store failed: its head is asked for before anything is numbered again.
#[derive(Debug)]
struct Doubt {
    asked_ms: u64,
    retry_after_ms: u64,
    count: usize,
}

/// What a room has with the store.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// Numbered from head + 1, in order.
    pending: VecDeque<Pending>,
    /// Publishes in `pending`, duplicates too.
    waiting: usize,
    bytes: usize,
    doubt: Option<Doubt>,
}

impl Stored {
    /// Whether no publish waits.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Bytes for the budget.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the store was asked for its head, if its answer is still out.
    pub fn asked_ms(&self) -> Option<u64> {
        self.doubt.as_ref().map(|doubt| doubt.asked_ms)
    }

    /// The number of the last publish that waits and is this connection's, or stands for one of its own.
    pub fn last_of(&self, conn: ConnId) -> Option<Seq> {
        let is_own = |asker: &Asker| asker.conn() == Some(conn);
        let own =
            self.pending.iter().rev().find(|pending| is_own(&pending.asker) || pending.duplicates.iter().any(is_own));
        own.map(|pending| pending.record.seq)
    }

    /// Whether the publish with this number waits.
    pub fn is_pending(&self, seq: Seq) -> bool {
        self.pending.front().is_some_and(|first| first.record.seq <= seq)
            && self.pending.back().is_some_and(|last| seq <= last.record.seq)
    }

    fn push(&mut self, pending: Pending) {
        self.bytes += WAITING_BYTES + pending.record.data.len();
        self.waiting += 1;
        self.pending.push_back(pending);
    }

    fn push_duplicate(&mut self, index: usize, asker: Asker) {
        self.bytes += WAITING_BYTES;
        self.waiting += 1;
        self.pending[index].duplicates.push(asker);
    }

    fn pop(&mut self, oldest: bool) -> Option<Pending> {
        let pending = if oldest { self.pending.pop_front() } else { self.pending.pop_back() }?;
        let duplicates = pending.duplicates.len();
        self.bytes -= WAITING_BYTES * (1 + duplicates) + pending.record.data.len();
        self.waiting -= 1 + duplicates;
        if self.pending.is_empty() {
            self.pending = VecDeque::new();
        }
        Some(pending)
    }
}

impl Room {
    fn stored(&mut self) -> Option<&mut Stored> {
        match &mut self.authority {
            Authority::Store(stored) => Some(stored),
            Authority::Memory | Authority::Link(_) => None,
        }
    }

    /// Numbers a publish and gives it to the store. `may_wait`: the core has memory for it.
    pub fn publish_stored(
        &mut self,
        now: Now,
        publish: Publish,
        may_wait: bool,
        table_keys: &mut TableKeys,
        effects: &mut OwnerEffects<'_>,
    ) {
        let (asker, except, arrival) = (publish.asker, publish.except(), publish.arrival());
        let (head, known) = (self.history.head(), self.find_key(now, &publish));
        if let Some(seq) = known.filter(|seq| *seq <= head) {
            asker.published(&self.name, (self.epoch, Some(seq)), true, effects);
            return;
        }
        let Some(stored) = self.stored() else { return };
        if let Some(doubt) = &stored.doubt {
            let refusal = Refusal::unavailable(doubt.retry_after_ms);
            asker.refuse(&self.name, refusal, effects);
            return;
        }
        if stored.waiting >= PENDING_PER_ROOM_MAX || !may_wait {
            asker.refuse(&self.name, Refusal::OVERLOADED, effects);
            return;
        }
        let seq = head + 1 + stored.pending.len() as u64;
        if let Some(first) = known {
            stored.push_duplicate((first - head - 1) as usize, asker);
            return;
        }
        let record = self.record(now, publish, seq);
        self.remember_key(&record.from, record.key.as_deref(), seq, now.mono_ms() + KEY_WINDOW_MS, table_keys);
        effects.store.push(StoreRequest::Append { room: self.name.clone(), epoch: self.epoch, record: record.clone() });
        if let Some(stored) = self.stored() {
            stored.push(Pending { record, asker, except, arrival, duplicates: Vec::new() });
        }
    }

    /// The store has opened the room.
    pub fn open_from_store(&mut self, now: Now, stretch: &Stretch, keys: &[KeptKey], table_keys: &mut TableKeys) {
        self.fill(now, stretch);
        self.remember_kept(now, keys, table_keys);
    }

    /// The store tells what it holds: the answer to the question after a failure, or one that nobody waits for.
    pub fn handle_loaded(
        &mut self,
        now: Now,
        stretch: &Stretch,
        keys: &[KeptKey],
        table_keys: &mut TableKeys,
        effects: &mut OwnerEffects<'_>,
    ) {
        let Some(doubt) = self.stored().and_then(|stored| stored.doubt.take()) else { return };
        let Some(head) = stretch.head else {
            self.refuse_from(0, doubt.retry_after_ms, effects);
            return;
        };
        if head.epoch != self.epoch {
            self.refuse_from(0, doubt.retry_after_ms, effects);
            self.renumber(now, stretch, effects);
            self.keys = None;
            self.remember_kept(now, keys, table_keys);
            return;
        }
        self.commit(now, head.seq, effects);
        self.refuse_from(head.seq + 1, doubt.retry_after_ms, effects);
        // A publish that failed as far as the store could tell, and is there all the same.
        let own_head = self.history.head();
        let found = stretch.records.iter().filter(|record| record.seq > own_head);
        for record in found {
            if record.seq > self.history.head() + 1 {
                self.skip_to(record.seq - 1, effects);
            }
            self.remember_key(
                &record.from,
                record.key.as_deref(),
                record.seq,
                now.mono_ms() + KEY_WINDOW_MS,
                table_keys,
            );
            self.accept(now, record, None, Arrival::now(now), effects);
        }
        if head.seq > self.history.head() {
            self.skip_to(head.seq, effects);
        }
    }

    /// Everything up to `seq` is on disk.
    pub fn handle_committed(&mut self, now: Now, epoch: Epoch, seq: Seq, effects: &mut OwnerEffects<'_>) {
        if epoch == self.epoch {
            self.commit(now, seq, effects);
        }
    }

    /// Nothing from `seq` on that is not committed has happened.
    pub fn handle_failed(
        &mut self,
        now: Now,
        epoch: Epoch,
        seq: Seq,
        retry_after_ms: u64,
        effects: &mut OwnerEffects<'_>,
    ) {
        if epoch != self.epoch {
            return;
        }
        let failed = self.refuse_from(seq, retry_after_ms, effects);
        let count = self.settings.history_size;
        let Some(stored) = self.stored().filter(|_| failed > 0) else { return };
        if stored.doubt.is_none() {
            stored.doubt = Some(Doubt { asked_ms: now.mono_ms(), retry_after_ms, count: count.max(failed) });
            self.ask_store(now, effects);
        }
    }

    /// Asks the store (again) for what it holds.
    pub fn ask_store(&mut self, now: Now, effects: &mut OwnerEffects<'_>) {
        let mut count = self.settings.history_size;
        if let Some(opening) = &mut self.opening {
            opening.asked_ms = now.mono_ms();
        } else if let Some(doubt) = self.stored().and_then(|stored| stored.doubt.as_mut()) {
            doubt.asked_ms = now.mono_ms();
            count = doubt.count;
        }
        let (room, epoch, keys_since) = (self.name.clone(), self.epoch, now.unix_ms.saturating_sub(KEY_WINDOW_MS));
        effects.store.push(StoreRequest::Load { room, count, keys_since, epoch });
    }

    fn commit(&mut self, now: Now, seq: Seq, effects: &mut OwnerEffects<'_>) {
        while self.history.head() < seq {
            let Some(pending) = self.stored().and_then(|stored| stored.pop(true)) else { return };
            self.accept(now, &pending.record, pending.except, pending.arrival, effects);
            let position = (self.epoch, Some(pending.record.seq));
            pending.asker.published(&self.name, position, false, effects);
            for duplicate in pending.duplicates {
                duplicate.published(&self.name, position, true, effects);
            }
        }
    }

    /// Refuses the publishes that wait with this seq or a later one, oldest first; how many there were.
    fn refuse_from(&mut self, seq: Seq, retry_after_ms: u64, effects: &mut OwnerEffects<'_>) -> usize {
        let mut failed = Vec::new();
        while let Some(stored) = self.stored() {
            if stored.pending.back().is_none_or(|last| last.record.seq < seq) {
                break;
            }
            failed.extend(stored.pop(false));
        }
        for pending in failed.iter().rev() {
            self.forget_key(&pending.record.from, pending.record.key.as_deref());
            for asker in std::iter::once(&pending.asker).chain(&pending.duplicates) {
                asker.refuse(&self.name, Refusal::unavailable(retry_after_ms), effects);
            }
        }
        failed.len()
    }

    fn remember_kept(&mut self, now: Now, keys: &[KeptKey], table_keys: &mut TableKeys) {
        for KeptKey { from, key, seq, at } in keys {
            let age_ms = now.unix_ms.saturating_sub(*at);
            if age_ms < KEY_WINDOW_MS {
                self.remember_key(from, Some(key), *seq, now.mono_ms() + KEY_WINDOW_MS - age_ms, table_keys);
            }
        }
    }
}
