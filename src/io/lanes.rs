//! The lanes between cores: one bounded channel into each core, through which batches of hops travel. Never waits: what
//! a full lane does not take goes back to the engine. Order within a lane is the order of sending.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::wake::Wake;
use crate::base::counters::CoreCounters;
use crate::base::ids::CoreId;
use crate::base::limits::LANE_BATCHES_MAX;
use crate::engine::hop::Hop;

/// Emptied vectors kept for the next batches, their bytes together, and the largest that is kept.
const SPARE_MAX: usize = 64;
const SPARE_BYTES_MAX: usize = 2 * 1024 * 1024;
const SPARE_HOPS_MAX: usize = 1024;

/// The hops that one core has staged for another in one turn.
#[derive(Debug)]
pub struct Batch {
    /// Who sends them.
    pub from: CoreId,
    /// In order.
    pub hops: Vec<Hop>,
    /// Bytes that they take.
    bytes: usize,
}

/// Where staged hops come from, and go back to when a lane is full: see `Engine::take_staged` and `Engine::put_back`.
pub trait Staged {
    /// Everything staged for `to`, leaving `empty` to stage into.
    fn take_staged(&mut self, to: CoreId, empty: Vec<Hop>) -> Vec<Hop>;
    /// Stages again what was not taken; gives back the vector that was left.
    fn put_back(&mut self, to: CoreId, staged: Vec<Hop>) -> Vec<Hop>;
    /// Bytes of what is staged for `to`.
    fn staged_bytes(&self, to: CoreId) -> usize;
    /// So many bytes wait in the channel to `to`.
    fn set_queued_bytes(&mut self, to: CoreId, bytes: usize);
}

/// One core's ends of the lanes.
#[derive(Debug)]
pub struct Lanes {
    core: CoreId,
    /// Into each core, with what wakes it; its own is not used.
    out: Vec<(Sender<Batch>, Arc<Wake>)>,
    into: Receiver<Batch>,
    spare: Vec<Vec<Hop>>,
    /// Bytes of the spare vectors.
    spare_bytes: usize,
    /// Bytes in the channels, by sending and receiving core.
    queued: Arc<[AtomicUsize]>,
    /// Cores that have not left.
    staying: Arc<AtomicUsize>,
}

impl Lanes {
    /// The lanes between the cores that `wakes` wake, in order.
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

    /// The core whose ends these are.
    #[must_use]
    pub fn core(&self) -> CoreId {
        self.core
    }

    /// Whether no batch waits for this core.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.into.is_empty()
    }

    /// The next batch for this core. Its vector comes back by [`Lanes::recycle`].
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

    /// Bytes that this core has sent and other cores have not taken.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        let row = self.core.index() * self.out.len();
        let queued = &self.queued[row..row + self.out.len()];
        queued.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum()
    }

    /// Takes back an emptied vector for a later batch.
    pub fn recycle(&mut self, mut empty: Vec<Hop>) {
        empty.clear();
        let bytes = empty.capacity() * size_of::<Hop>();
        let has_room = self.spare.len() < SPARE_MAX && self.spare_bytes + bytes <= SPARE_BYTES_MAX;
        if has_room && bytes > 0 && empty.capacity() <= SPARE_HOPS_MAX {
            self.spare_bytes += bytes;
            self.spare.push(empty);
        }
    }

    /// Sends what is staged for the other cores and wakes those that sleep. How many hops full lanes did not take: they
    /// are staged again, and this is to be called again soon.
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
            // Counted before the other core can have taken it.
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
                // That core has ended, which happens only while all of them are ending.
                Err(TrySendError::Disconnected(batch)) => self.recycle(batch.hops),
            }
        }
        left
    }

    /// This core has no connections left and asks for no more than to answer the others. Called once.
    pub fn leave(&mut self) {
        // The last one tells the others, who may be asleep.
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
