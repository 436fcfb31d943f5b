//! The store's side of a room: publications given to the store and not yet committed.
//!
//! Where publishers wait for the commit ([`KeepingMode::Commit`]), a publication that this machine numbers is delivered
//! and acknowledged once it is committed: nothing is shown that a restart would not find. Written behind
//! ([`KeepingMode::Behind`]), it is delivered and acknowledged at once, and given to the store again until it is
//! committed. A publication that the link has numbered has been delivered in either case; a commit is what its publisher
//! waits for, if anything.
//!
//! After a failure a room that numbers by itself asks the store where it stands before it goes on. The store answers in
//! order about appends, so whatever it still says about the publishes that failed comes before that answer, and nothing of it is
//! taken for a later publish with the same number. An answer to a load of an earlier attempt, which may be late, is not taken
//! for the one to this. Publishes that would wait for a commit are refused until then.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::OwnerEffects;
use super::answer::Asker;
use super::stream::{Arrival, Stream};
use crate::base::ids::{ConnId, Epoch, Position, Seq};
use crate::base::limits::{ASK_AGAIN_MS, KEY_WINDOW_MS, PENDING_PER_ROOM_MAX, WAITING_BYTES};
use crate::engine::record::{Record, Stretch};
use crate::engine::settings::KeepingMode;
use crate::engine::store_port::{KeptKey, StoreRequest};
use crate::wire::protocol::Refusal;

/// A publisher who waits for a commit, and whether its key was known.
type Waiter = (Asker, bool);

/// A publication that the store has been given and has not committed.
#[derive(Debug)]
pub(super) struct Uncommitted {
    pub epoch: Epoch,
    pub record: Record,
    pub except: Option<ConnId>,
    pub arrival: Arrival,
    pub waiters: SmallVec<[Waiter; 1]>,
    /// Members have received it, so its number cannot be reused.
    pub is_shown: bool,
}

/// The store failed: it is asked again before it is relied on.
#[derive(Debug)]
struct Doubt {
    /// Time of the last request or failure, monotonic milliseconds.
    since_ms: u64,
    retry_after_ms: u64,
    /// Number of records wanted in the answer.
    count: usize,
    /// The store has been asked, and has not answered.
    is_asked: bool,
}

/// A publication in an answer of the store, with the attempt in which the store received it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Appended {
    pub attempt: u64,
    pub epoch: Epoch,
    pub seq: Seq,
}

/// The publications of one room that the store has not committed.
#[derive(Debug)]
pub(super) struct Stored {
    mode: KeepingMode,
    /// The room assigns its own seqs. Otherwise the link does, and several machines write rows of one room.
    is_numbered_here: bool,
    /// In the order in which the store received them.
    uncommitted: VecDeque<Uncommitted>,
    /// Publishers with a known key whose first publication has not come from the link yet.
    parked: Vec<(Position, Asker)>,
    /// Waiters beyond the first of each publication.
    joined: usize,
    bytes: usize,
    doubt: Option<Doubt>,
    /// Incremented by each failure.
    attempt: u64,
}

/// The publishers answered by an event of the store (`None`: a call), with the position in the answer.
pub(super) type Answered = SmallVec<[(Option<ConnId>, Option<Position>); 2]>;

impl Stored {
    pub fn new(mode: KeepingMode, is_numbered_here: bool) -> Self {
        Self {
            mode,
            is_numbered_here,
            uncommitted: VecDeque::new(),
            parked: Vec::new(),
            joined: 0,
            bytes: 0,
            doubt: None,
            attempt: 0,
        }
    }

    /// Sets the first attempt of a room. No other room of the core, nor an earlier one of this name, has used it.
    pub fn number_from(&mut self, attempt: u64) {
        self.attempt = attempt;
    }

    /// The attempt in which the store is asked now.
    pub fn attempt(&self) -> u64 {
        self.attempt
    }

    /// Whether publishers wait for the commit.
    pub fn delays_answers(&self) -> bool {
        self.mode == KeepingMode::Commit
    }

    /// Whether every publication is committed, and nobody waits.
    pub fn is_empty(&self) -> bool {
        self.uncommitted.is_empty() && self.parked.is_empty()
    }

    /// Bytes for the budget.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the store must be asked again, monotonic milliseconds.
    pub fn due_ms(&self) -> Option<u64> {
        let doubt = self.doubt.as_ref()?;
        let patience_ms = if doubt.is_asked { ASK_AGAIN_MS } else { doubt.retry_after_ms.max(1) };
        Some(doubt.since_ms + patience_ms)
    }

    /// Why the store cannot accept a publish now; `None`: it can. `may_wait`: the core has memory for it.
    pub fn refusal(&self, may_wait: bool) -> Option<Refusal> {
        let is_full = self.uncommitted.len() + self.joined >= PENDING_PER_ROOM_MAX;
        match &self.doubt {
            Some(doubt) if is_full || self.delays_answers() => Some(Refusal::unavailable(doubt.retry_after_ms)),
            _ => (is_full || !may_wait).then_some(Refusal::OVERLOADED),
        }
    }

    /// Takes everybody who waits for a commit.
    pub fn take_waiters(&mut self) -> impl Iterator<Item = Asker> + use<> {
        let uncommitted = std::mem::take(&mut self.uncommitted).into_iter().flat_map(|uncommitted| uncommitted.waiters);
        let parked = std::mem::take(&mut self.parked).into_iter().map(|(_, asker)| asker);
        uncommitted.map(|(asker, _)| asker).chain(parked)
    }

    /// The seq of the connection's last waiting publish, or of one with the same key.
    pub fn last_of(&self, conn: ConnId) -> Option<Seq> {
        let is_own = |(asker, _): &Waiter| asker.conn() == Some(conn);
        let own = self.uncommitted.iter().rev().find(|uncommitted| uncommitted.waiters.iter().any(is_own));
        own.map(|uncommitted| uncommitted.record.seq)
    }

    /// Whether the publish with this seq waits.
    pub fn is_uncommitted(&self, seq: Seq) -> bool {
        self.uncommitted.front().is_some_and(|first| first.record.seq <= seq)
            && self.uncommitted.back().is_some_and(|last| seq <= last.record.seq)
    }

    /// The seq of the next publication in a room that assigns its own seqs and has the head `head`.
    pub fn next_seq(&self, head: Seq) -> Seq {
        self.uncommitted.back().map_or(head, |last| last.record.seq.max(head)) + 1
    }

    /// Sends a publication to the store; after a failure, together with the others that must be sent again.
    pub fn append(&mut self, stream: &Stream, uncommitted: Uncommitted, effects: &mut OwnerEffects<'_>) {
        if self.doubt.is_none() {
            effects.store.push(uncommitted.request(stream, self.attempt));
        }
        self.bytes += uncommitted.bytes();
        self.uncommitted.push_back(uncommitted);
    }

    /// Lets a publisher wait for the outcome of an earlier publish with the same key, if that waits here.
    pub fn join(&mut self, first: Position, waiter: Option<Asker>) -> bool {
        let is_first =
            |uncommitted: &&mut Uncommitted| (uncommitted.epoch, uncommitted.record.seq) == (first.epoch, first.seq);
        let Some(first) = self.uncommitted.iter_mut().find(is_first) else { return false };
        if let Some(asker) = waiter {
            if !first.waiters.is_empty() {
                self.bytes += WAITING_BYTES;
                self.joined += 1;
            }
            first.waiters.push((asker, true));
        }
        true
    }

    /// Lets a publisher wait until the publish that was first with its key has come from the link. The link's count of
    /// publishes bounds and charges these.
    pub fn park(&mut self, first: Position, asker: Asker) {
        self.parked.push((first, asker));
    }

    /// Takes those that need not wait any longer in a room with this head.
    pub fn take_parked(&mut self, head: Position) -> Vec<(Position, Asker)> {
        if self.parked.is_empty() {
            return Vec::new();
        }
        let waits = |first: &Position| first.epoch == head.epoch && first.seq > head.seq;
        let (waiting, taken) = std::mem::take(&mut self.parked).into_iter().partition(|(first, _)| waits(first));
        self.parked = waiting;
        taken
    }

    /// The store has committed everything up to this publication.
    pub fn handle_committed(
        &mut self,
        stream: &mut Stream,
        Appended { attempt, epoch, seq }: Appended,
        effects: &mut OwnerEffects<'_>,
    ) -> Answered {
        let is_reached = |uncommitted: &Uncommitted| match self.is_numbered_here {
            true => epoch == stream.epoch && uncommitted.record.seq <= seq,
            false => (attempt, uncommitted.epoch, uncommitted.record.seq) == (self.attempt, epoch, seq),
        };
        let count = self.uncommitted.iter().rposition(is_reached).map_or(0, |last| last + 1);
        self.commit(stream, count, effects)
    }

    /// Delivers and acknowledges the oldest `count`.
    fn commit(&mut self, stream: &mut Stream, count: usize, effects: &mut OwnerEffects<'_>) -> Answered {
        let mut answered = Answered::new();
        for _ in 0..count {
            let Some(committed) = self.remove(0) else { break };
            if !committed.is_shown {
                stream.accept(&committed.record, committed.except, committed.arrival, effects);
            }
            let position = Position { epoch: committed.epoch, seq: committed.record.seq };
            for (asker, is_duplicate) in committed.waiters {
                asker.published(&stream.name, position, is_duplicate, effects);
                answered.push((asker.conn(), Some(position)));
            }
        }
        answered
    }

    /// The append of this publication failed, and so did all later uncommitted ones.
    pub fn handle_failed(
        &mut self,
        stream: &mut Stream,
        Appended { attempt, epoch, seq }: Appended,
        retry_after_ms: u64,
        effects: &mut OwnerEffects<'_>,
    ) -> Answered {
        let has_failed = |uncommitted: &Uncommitted| match self.is_numbered_here {
            true => epoch == stream.epoch && uncommitted.record.seq >= seq,
            false => (attempt, uncommitted.epoch, uncommitted.record.seq) == (self.attempt, epoch, seq),
        };
        let Some(first) = self.uncommitted.iter().position(has_failed).or_else(|| self.first_in_doubt(attempt)) else {
            return Answered::new();
        };
        let failed = self.uncommitted.len() - first;
        let answered = self.refuse_from(stream, first, retry_after_ms, effects);
        if self.doubt.is_none() {
            self.attempt += 1;
            let count = stream.settings.history_size.max(failed);
            self.doubt = Some(Doubt { since_ms: effects.now.mono_ms(), retry_after_ms, count, is_asked: false });
            // What has been shown is given again after the answer: not before the store can take it, so that the two do not
            // go round at full speed while it fails.
            if self.is_numbered_here && self.uncommitted.len() == first {
                self.ask(stream, effects);
            }
        }
        answered
    }

    /// What may have failed when the failure names a row that exists already (its duplicate failed).
    fn first_in_doubt(&self, attempt: u64) -> Option<usize> {
        (!self.is_numbered_here && attempt == self.attempt).then_some(0)
    }

    /// Refuses the publishers who wait for the publications from the index `first` on, oldest first. What has been shown
    /// stays, to be given to the store again; the numbers of the others are taken back.
    fn refuse_from(
        &mut self,
        stream: &mut Stream,
        first: usize,
        retry_after_ms: u64,
        effects: &mut OwnerEffects<'_>,
    ) -> Answered {
        let mut answered = Answered::new();
        let mut kept = VecDeque::new();
        while self.uncommitted.len() > first {
            let Some(mut failed) = self.remove(first) else { break };
            for (asker, _) in failed.waiters.drain(..) {
                asker.refuse(&stream.name, Refusal::unavailable(retry_after_ms), effects);
                answered.push((asker.conn(), None));
            }
            if failed.is_shown {
                self.bytes += failed.bytes();
                kept.push_back(failed);
            } else {
                stream.forget_key(&failed.record.from, failed.record.key.as_deref());
            }
        }
        self.uncommitted.append(&mut kept);
        answered
    }

    fn remove(&mut self, index: usize) -> Option<Uncommitted> {
        let uncommitted = self.uncommitted.remove(index)?;
        self.bytes -= uncommitted.bytes();
        self.joined -= uncommitted.waiters.len().saturating_sub(1);
        if self.uncommitted.is_empty() {
            self.uncommitted = VecDeque::new();
        }
        Some(uncommitted)
    }

    /// Handles what the store holds: the answer to the load after a failure, or an answer that nobody waits for.
    pub fn handle_loaded(
        &mut self,
        stream: &mut Stream,
        stretch: &Stretch,
        keys: &[KeptKey],
        effects: &mut OwnerEffects<'_>,
    ) {
        let Some(doubt) = self.doubt.take() else { return };
        let Some(head) = stretch.head else {
            self.refuse_from(stream, 0, doubt.retry_after_ms, effects);
            return self.append_again(stream, effects);
        };
        if head.epoch != stream.epoch {
            self.refuse_from(stream, 0, doubt.retry_after_ms, effects);
            (self.uncommitted, self.bytes) = (VecDeque::new(), 0);
            stream.renumber(stretch, effects);
            stream.keys = None;
            remember_kept(stream, keys, effects);
            return;
        }
        let count = self.uncommitted.partition_point(|uncommitted| uncommitted.record.seq <= head.seq);
        self.commit(stream, count, effects);
        self.refuse_from(stream, 0, doubt.retry_after_ms, effects);
        take_over(stream, stretch, effects);
        self.append_again(stream, effects);
    }

    /// Repeats the load after a failure, or sends uncommitted publications again, if it is time.
    pub fn ask_again(&mut self, stream: &Stream, effects: &mut OwnerEffects<'_>) {
        if self.due_ms().is_none_or(|due_ms| due_ms > effects.now.mono_ms()) {
            return;
        }
        if self.is_numbered_here {
            self.ask(stream, effects);
        } else {
            self.doubt = None;
            self.append_again(stream, effects);
        }
    }

    fn ask(&mut self, stream: &Stream, effects: &mut OwnerEffects<'_>) {
        let Some(doubt) = &mut self.doubt else { return };
        (doubt.since_ms, doubt.is_asked) = (effects.now.mono_ms(), true);
        let count = doubt.count;
        ask_to_load(stream, self.attempt, count, effects);
    }

    /// Sends uncommitted publications again.
    fn append_again(&mut self, stream: &Stream, effects: &mut OwnerEffects<'_>) {
        effects.store.extend(self.uncommitted.iter().map(|uncommitted| uncommitted.request(stream, self.attempt)));
    }
}

impl Uncommitted {
    fn request(&self, stream: &Stream, attempt: u64) -> StoreRequest {
        StoreRequest::Append { attempt, room: stream.name.clone(), epoch: self.epoch, record: self.record.clone() }
    }

    fn bytes(&self) -> usize {
        WAITING_BYTES * self.waiters.len().max(1) + self.record.data.len()
    }
}

/// Takes over publications that the store reported as failed and holds after all.
fn take_over(stream: &mut Stream, stretch: &Stretch, effects: &mut OwnerEffects<'_>) {
    let own_head = stream.history.head();
    for record in stretch.records.iter().filter(|record| record.seq > own_head) {
        if record.seq > stream.history.head() + 1 {
            stream.skip_to(record.seq - 1, effects);
        }
        stream.remember_key(record, effects);
        stream.accept(record, None, Arrival::now(effects.now), effects);
    }
    if let Some(head) = stretch.head.filter(|head| head.seq > stream.history.head()) {
        stream.skip_to(head.seq, effects);
    }
}

/// Opens a room with what the store holds.
pub(super) fn open(stream: &mut Stream, stretch: &Stretch, keys: &[KeptKey], effects: &mut OwnerEffects<'_>) {
    stream.fill(stretch, effects.now);
    remember_kept(stream, keys, effects);
}

/// Asks the store for its newest `count` records of a room, and the keys of the idempotency window.
pub(super) fn ask_to_load(stream: &Stream, attempt: u64, count: usize, effects: &mut OwnerEffects<'_>) {
    let keys_since = effects.now.unix_ms.saturating_sub(KEY_WINDOW_MS);
    let (room, epoch) = (stream.name.clone(), stream.epoch);
    effects.store.push(StoreRequest::Load { attempt, room, count, keys_since, epoch });
}

fn remember_kept(stream: &mut Stream, keys: &[KeptKey], effects: &mut OwnerEffects<'_>) {
    for KeptKey { from, key, seq, at } in keys {
        let age_ms = effects.now.unix_ms.saturating_sub(*at);
        if age_ms < KEY_WINDOW_MS {
            let expires_ms = effects.now.mono_ms() + KEY_WINDOW_MS - age_ms;
            stream.remember_key_until(from, key, *seq, expires_ms, effects);
        }
    }
}
