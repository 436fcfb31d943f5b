//! Owns the lanes between cores: one bounded channel into each core, which carries batches of hops in the order of
//! sending. Never waits: hops that a full lane does not take go back to the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::wake::Wake;
use crate::base::counters::CoreCounters;
use crate::base::ids::CoreId;
use crate::base::limits::LANE_BATCHES_MAX;
use crate::engine::hop::Hop;

/// Limits on emptied vectors kept for the next batches: their number, their total bytes, and the size of one.
const SPARE_MAX: usize = 64;
const SPARE_BYTES_MAX: usize = 2 * 1024 * 1024;
const SPARE_HOPS_MAX: usize = 1024;

/// Hops that one core staged for another in one turn.
#[derive(Debug)]
pub struct Batch {
    /// The sending core.
    pub from: CoreId,
    /// The hops, in order.
    pub hops: Vec<Hop>,
    /// Memory of the hops, in bytes.
    bytes: usize,
}

/// Source of staged hops, to which they return when a lane is full: see `Engine::take_staged` and `Engine::put_back`.
pub trait Staged {
    /// Takes all hops staged for `to`; `empty` replaces them.
    fn take_staged(&mut self, to: CoreId, empty: Vec<Hop>) -> Vec<Hop>;
    /// Stages hops again that the lane did not take. Returns the vector that they replace.
    fn put_back(&mut self, to: CoreId, staged: Vec<Hop>) -> Vec<Hop>;
    /// Bytes of the hops staged for `to`.
    fn staged_bytes(&self, to: CoreId) -> usize;
    /// Reports the bytes in the channel to `to`.
    fn set_queued_bytes(&mut self, to: CoreId, bytes: usize);
}

/// One core's ends of the lanes.
#[derive(Debug)]
pub struct Lanes {
    core: CoreId,
    /// Channel into each core, and its wake-up. The entry of this core is unused.
    out: Vec<(Sender<Batch>, Arc<Wake>)>,
    into: Receiver<Batch>,
    spare: Vec<Vec<Hop>>,
    /// Bytes of the spare vectors.
    spare_bytes: usize,
    /// Bytes in the channels, by sending and receiving core.
    queued: Arc<[AtomicUsize]>,
    /// Cores that have not called [`Lanes::leave`].
    staying: Arc<AtomicUsize>,
}

impl Lanes {
    /// Creates the lanes between all cores. `wakes` holds the wake-up of each core, in order.
    #[must_use]
    pub fn mesh(wakes: &[Arc<Wake>]) -> Vec<Lanes> {
        let (senders, receivers): (Vec<_>, Vec<_>) = wakes.iter().map(|_| bounded(LANE_BATCHES_MAX)).unzip();
        let out: Vec<_> = senders.into_iter().zip(wakes.iter().cloned()).collect();
        let staying = Arc::new(AtomicUsize::new(wakes.len()));
        let queued: Arc<[AtomicUsize]> = (0..wakes.len() * wakes.len()).map(|_| AtomicUsize::new(0)).collect();
        let lanes = receivers.into_iter().enumerate().map(|(index, into)| Lanes {
            core: CoreId(index as u16),
            out: out.clone(),
            into,
            spare: Vec::new(),
            spare_bytes: 0,
            queued: queued.clone(),
            staying: staying.clone(),
        });
        lanes.collect()
    }

    /// This core.
    #[must_use]
    pub fn core(&self) -> CoreId {
        self.core
    }

    /// Whether no batch waits for this core.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.into.is_empty()
    }

    /// Takes the next batch for this core. [`Lanes::recycle`] takes back its vector.
    #[must_use]
    pub fn try_take(&mut self) -> Option<Batch> {
        let batch = self.into.try_recv().ok()?;
        self.queued(batch.from, self.core).fetch_sub(batch.bytes, Ordering::Relaxed);
        Some(batch)
    }

    /// Bytes in the channel from one core to another.
    fn queued(&self, from: CoreId, to: CoreId) -> &AtomicUsize {
        &self.queued[from.index() * self.out.len() + to.index()]
    }

    /// Bytes sent by this core and not yet taken by the others.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        let row = self.core.index() * self.out.len();
        let queued = &self.queued[row..row + self.out.len()];
        queued.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum()
    }

    /// Keeps an emptied vector for a later batch.
    pub fn recycle(&mut self, mut empty: Vec<Hop>) {
        empty.clear();
        let bytes = empty.capacity() * size_of::<Hop>();
        let has_room = self.spare.len() < SPARE_MAX && self.spare_bytes + bytes <= SPARE_BYTES_MAX;
        if has_room && bytes > 0 && empty.capacity() <= SPARE_HOPS_MAX {
            self.spare_bytes += bytes;
            self.spare.push(empty);
        }
    }

    /// Sends the staged hops of all other cores and wakes sleeping cores. Returns how many hops full lanes did not
    /// take: they are staged again, so call this again soon.
    pub fn flush(&mut self, staged: &mut impl Staged, counters: &CoreCounters) -> usize {
        let mut left = 0;
        for index in 0..self.out.len() {
            let to = CoreId(index as u16);
            if to == self.core {
                continue;
            }
            let empty = self.spare.pop().unwrap_or_default();
            self.spare_bytes -= empty.capacity() * size_of::<Hop>();
            let bytes = staged.staged_bytes(to);
            let hops = staged.take_staged(to, empty);
            staged.set_queued_bytes(to, self.queued(self.core, to).load(Ordering::Relaxed));
            if hops.is_empty() {
                self.recycle(hops);
                continue;
            }
            let count = hops.len();
            // Counted before the other core can take it.
            self.queued(self.core, to).fetch_add(bytes, Ordering::Relaxed);
            let (sender, wake) = &self.out[index];
            let sent = sender.try_send(Batch { from: self.core, hops, bytes });
            if sent.is_err() {
                self.queued(self.core, to).fetch_sub(bytes, Ordering::Relaxed);
            }
            match sent {
                Ok(()) => {
                    counters.hops.add(count as u64);
                    counters.hop_batches.add(1);
                    counters.wakes.add(u64::from(wake.wake()));
                }
                Err(TrySendError::Full(batch)) => {
                    left += count;
                    let empty = staged.put_back(to, batch.hops);
                    self.recycle(empty);
                }
                // The core has ended, which happens only during shutdown.
                Err(TrySendError::Disconnected(batch)) => self.recycle(batch.hops),
            }
        }
        left
    }

    /// Declares that this core has no connections left and only answers the others from now on. Called once.
    pub fn leave(&mut self) {
        // The last core wakes the others.
        if self.staying.fetch_sub(1, Ordering::SeqCst) == 1 {
            for (_, wake) in &self.out {
                wake.wake();
            }
        }
    }

    /// Whether every core has left.
    #[must_use]
    pub fn have_all_left(&self) -> bool {
        self.staying.load(Ordering::SeqCst) == 0
    }
}

#[cfg(test)]
mod tests;
