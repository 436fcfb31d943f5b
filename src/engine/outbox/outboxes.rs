//! Owns what waits for each connection of a core: takes frames, tells who is slow, and drops what it is told to. Decides
//! nothing about connections. Sends are made in `flush`; what a queue does not take is kept and dropped in `lagging`.

use std::collections::HashMap;

use bytes::Bytes;
use foldhash::fast::FixedState;
use smallvec::SmallVec;

use super::backlog::{Lags, Source};
use super::items::{Gap, Item, Items, NONE};
use super::outgoing::{Outgoing, Role};
use super::queue::{DIRTY, ENDING, LAGS, PARTED, Queues};
use crate::base::ids::Seq;
use crate::base::limits::{
    OUTBOX_PLACE_BYTES, QUEUE_BYTES_MAX, QUEUE_OUTBOX_DIVISOR, SEND_PART_BYTES_MAX, SLOW_AFTER_MS,
    SLOW_BYTES_PER_SECOND, SLOW_NEAR_BUDGET_MS, TICK_MS,
};
use crate::engine::budget::Budget;

/// The last merged send of this flush: members of one room usually wait for the same frames, so it is made once.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub items: Vec<u32>,
    /// What they were merged to.
    pub frame: u32,
}

/// All outboxes of a core.
#[derive(Debug)]
pub struct Outboxes {
    pub(super) queues: Queues,
    pub(super) items: Items,
    pub(super) lags: Lags,
    /// What is left of frames that are sent in parts, by slot.
    pub(super) parts: HashMap<u32, Bytes, FixedState>,
    pub(super) merged: Merged,
    pub(super) bytes_max: usize,
    queue_bytes_max: usize,
    /// Ticks so far.
    pub(super) tick: u16,
    /// What connections that end have under way counts for.
    ending_bytes: usize,
}

impl Outboxes {
    /// No connections; more than `bytes_max` waits only for those that read on.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            queues: Queues::new(),
            items: Items::default(),
            lags: Lags::default(),
            parts: HashMap::default(),
            merged: Merged::default(),
            bytes_max,
            queue_bytes_max: queue_bytes_max(bytes_max),
            tick: 0,
            ending_bytes: 0,
        }
    }

    /// Sets the bound for what is queued from now on.
    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
        self.queue_bytes_max = queue_bytes_max(bytes_max);
    }

    /// Makes sure that the slot has an outbox.
    pub fn reach(&mut self, slot: u32) {
        self.queues.reach(slot);
    }

    /// Time has passed. Frees memory that a burst of connections has needed.
    pub fn tick(&mut self) {
        self.tick = self.tick.wrapping_add(1);
        if self.queues.is_sparse() || self.items.is_sparse() {
            self.merged = Merged::default();
            let moved = self.items.compact();
            self.queues.compact(&moved);
            self.lags.values_mut().for_each(|lag| lag.renumber(&moved));
        }
    }

    /// Bytes of what waits for a connection, including what is being sent.
    #[must_use]
    pub fn bytes(&self, slot: u32) -> usize {
        self.queues.at(slot).bytes as usize + self.lag_bytes(slot)
    }

    /// Bytes charged for sends to connections that end.
    #[must_use]
    pub fn ending_bytes(&self) -> usize {
        self.ending_bytes
    }

    /// Bytes being sent to a connection.
    #[must_use]
    pub fn bytes_under_way(&self, slot: u32) -> usize {
        let sending = self.queues.at(slot).sending;
        if sending == NONE { 0 } else { self.items.cost(sending) }
    }

    /// Whether a send is under way.
    #[must_use]
    pub fn is_sending(&self, slot: u32) -> bool {
        self.queues.at(slot).sending != NONE
    }

    /// Whether nothing waits for a connection and nothing is under way.
    #[must_use]
    pub fn is_empty(&self, slot: u32) -> bool {
        self.queues.at(slot).sending == NONE && !self.has_queued(slot)
    }

    /// Whether something waits for a connection that is not under way yet.
    #[must_use]
    pub fn has_queued(&self, slot: u32) -> bool {
        let outbox = self.queues.at(slot);
        outbox.head != NONE || outbox.has(LAGS | PARTED)
    }

    /// Bytes that the queue takes before it is full.
    #[must_use]
    pub fn queue_room(&self, slot: u32) -> usize {
        let outbox = self.queues.at(slot);
        if outbox.has(LAGS) { 0 } else { self.queue_bytes_max.saturating_sub(outbox.bytes as usize) }
    }

    /// Whether `bytes` more would be over the bound. A connection for which nothing waits takes any one frame.
    #[must_use]
    pub fn is_full_for(&self, slot: u32, bytes: usize) -> bool {
        let waiting = self.bytes(slot);
        waiting > 0 && waiting + bytes > self.bytes_max
    }

    /// Whether an outbox is over its bound and the kernel has not taken in time what it was offered.
    #[must_use]
    pub fn is_slow(&self, slot: u32, near_budget: bool) -> bool {
        self.bytes(slot) > self.bytes_max && self.is_stale(slot, near_budget)
    }

    /// Whether what is under way has been so for too long.
    fn is_stale(&self, slot: u32, near_budget: bool) -> bool {
        let outbox = self.queues.at(slot);
        if outbox.sending == NONE {
            return false;
        }
        let patience_ms = if near_budget {
            SLOW_NEAR_BUDGET_MS
        } else {
            let bytes = (self.items.frame(outbox.sending).len as usize).min(SEND_PART_BYTES_MAX);
            SLOW_AFTER_MS + (bytes * 1_000 / SLOW_BYTES_PER_SECOND) as u64
        };
        // The tick in which it was offered has been going on for a while.
        u64::from(self.tick.wrapping_sub(outbox.offered)) > patience_ms.div_ceil(TICK_MS)
    }

    /// Takes a frame that is to wait for many. It is let go of by [`Outboxes::release`].
    pub fn add(&mut self, outgoing: Outgoing, budget: &mut Budget) -> u32 {
        // What is merged from frames that have gone must not be taken for what is made of new ones in their places.
        self.merged.items.clear();
        self.items.add_frame(outgoing, budget)
    }

    /// Lets go of a frame.
    pub fn release(&mut self, frame: u32, budget: &mut Budget) {
        self.items.release(frame, budget);
    }

    /// Queues a frame for one connection; nothing is checked but what `u32` holds.
    pub fn push(&mut self, slot: u32, outgoing: Outgoing, budget: &mut Budget) {
        let frame = self.add(outgoing, budget);
        budget.charge(OUTBOX_PLACE_BYTES);
        self.queues.append(slot, frame, self.items.cost(frame));
    }

    /// Queues a frame made by [`Outboxes::add`] for one connection likewise.
    pub fn push_frame(&mut self, slot: u32, frame: u32, budget: &mut Budget) {
        self.items.frame_mut(frame).references += 1;
        budget.charge(OUTBOX_PLACE_BYTES);
        self.queues.append(slot, frame, self.items.cost(frame));
    }

    /// Queues a frame made by [`Outboxes::add`] for many connections but `except`. Those whose queue does not take it are
    /// added to `behind` instead. Returns for how many it was queued.
    pub fn push_all(
        &mut self,
        slots: &[u32],
        except: Option<u32>,
        frame: u32,
        behind: &mut Vec<u32>,
        budget: &mut Budget,
    ) -> u32 {
        let cost = self.items.cost(frame);
        let mut queued = 0;
        for &slot in slots {
            if Some(slot) == except {
                continue;
            }
            if self.queues.try_append(slot, frame, cost, self.queue_bytes_max) {
                queued += 1;
            } else {
                behind.push(slot);
            }
        }
        self.items.frame_mut(frame).references += queued;
        budget.charge(queued as usize * OUTBOX_PLACE_BYTES);
        queued
    }

    /// Queues a `gap` for one connection, whatever waits: there is at most one for each room and stretch.
    pub fn push_gap(&mut self, slot: u32, source: Source<'_>, (from, to): (Seq, Seq), budget: &mut Budget) {
        let gap = self.items.add_gap(Gap { room: source.room.clone(), from, to }, budget);
        if self.is_behind(slot, source.room) {
            return self.hold_item(slot, source, gap, budget);
        }
        budget.charge(OUTBOX_PLACE_BYTES);
        self.queues.append(slot, gap, self.items.cost(gap));
    }

    /// The kernel has taken what was under way. Returns whether nothing waits any more.
    pub fn sent(&mut self, slot: u32, budget: &mut Budget) -> bool {
        if let Some(is_empty) = self.queues.end(slot, &mut self.items, budget) {
            return is_empty;
        }
        if !self.queues.at(slot).has(PARTED) {
            self.let_go_of_sending(slot, budget);
        }
        let has_queued = self.has_queued(slot);
        if has_queued {
            self.queues.note_dirty(slot);
        }
        !has_queued
    }

    fn let_go_of_sending(&mut self, slot: u32, budget: &mut Budget) {
        let outbox = self.queues.at_mut(slot);
        let sending = std::mem::replace(&mut outbox.sending, NONE);
        if sending == NONE {
            return;
        }
        let cost = self.items.cost(sending);
        outbox.bytes -= cost as u32;
        if outbox.has(ENDING) {
            outbox.flags &= !ENDING;
            self.ending_bytes -= cost;
        }
        self.items.release(sending, budget);
    }

    /// Drops the queue of a connection that ends, except its opening and what is being sent.
    pub fn drop_queued(&mut self, slot: u32, budget: &mut Budget) {
        self.drop_backlog(slot, budget);
        let mut opening: SmallVec<[u32; 2]> = SmallVec::new();
        while let Some(item) = self.opening_at_head(slot) {
            self.queues.pop(slot);
            budget.release(OUTBOX_PLACE_BYTES);
            opening.push(item);
        }
        self.drop_chain(slot, budget);
        let cost = self.bytes_under_way(slot);
        let outbox = self.queues.at_mut(slot);
        outbox.bytes = cost as u32;
        if outbox.sending != NONE && !outbox.has(ENDING) {
            outbox.flags |= ENDING;
            self.ending_bytes += cost;
        }
        for item in opening {
            budget.charge(OUTBOX_PLACE_BYTES);
            self.queues.append(slot, item, self.items.cost(item));
        }
    }

    /// The first frame of a queue, if it belongs to the opening.
    fn opening_at_head(&self, slot: u32) -> Option<u32> {
        let head = self.queues.at(slot).head;
        let item = (head != NONE).then(|| self.queues.place(head).item)?;
        matches!(self.items.get(item), Item::Frame(frame) if frame.role == Role::Opening).then_some(item)
    }

    fn drop_chain(&mut self, slot: u32, budget: &mut Budget) {
        while self.queues.at(slot).head != NONE {
            let item = self.queues.pop(slot);
            self.items.release(item, budget);
            budget.release(OUTBOX_PLACE_BYTES);
        }
    }

    /// Forgets a connection: drops what is queued and no longer expects [`Outboxes::sent`].
    pub fn clear(&mut self, slot: u32, budget: &mut Budget) {
        self.drop_backlog(slot, budget);
        self.drop_chain(slot, budget);
        self.let_go_of_sending(slot, budget);
        self.parts.remove(&slot);
        let outbox = self.queues.at_mut(slot);
        (outbox.bytes, outbox.flags) = (0, outbox.flags & DIRTY);
    }

    /// Whether any outbox has something to hand out.
    #[must_use]
    pub fn has_dirty(&self) -> bool {
        !self.queues.dirty.is_empty()
    }
}

/// The part of an outbox that is its queue.
fn queue_bytes_max(bytes_max: usize) -> usize {
    (bytes_max / QUEUE_OUTBOX_DIVISOR).min(QUEUE_BYTES_MAX)
}
