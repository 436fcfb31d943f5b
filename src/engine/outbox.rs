//! The queues of all connections of a core: references to shared frames, in order.
//!
//! An arena holds each queued frame once, with a plain count of references, however many connections it is queued for.
//! A connection's queue is a chain of 8-byte places in another arena. So a delivery allocates nothing, an idle
//! connection has no queue memory, and the count needs no atomic. A queue is bounded. What rooms send beyond the bound
//! goes to the connection's `backlog`, which refills the queue as the connection reads. The policy of a room drops
//! messages from the backlog only.
//!
//! An outbox has a bound, but exceeding it does not make a connection slow: a connection that keeps reading receives a
//! whole burst. A connection is **slow** when its outbox exceeds the bound and the kernel has not taken the send in
//! flight for [`SLOW_AFTER_MS`]. The time is counted in ticks, so a stalled core counts none. Queued bytes are charged
//! to the budget until the kernel has taken them, shared frames once. When the budget is nearly used up, the time is
//! far shorter. Decides nothing about connections: reports slow ones, and drops what the caller tells it to.

mod backlog;
mod flush;
mod items;
mod queue;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use bytes::Bytes;
use foldhash::fast::FixedState;

use super::budget::Budget;
use crate::base::ids::Seq;
use crate::base::limits::{
    OUTBOX_PLACE_BYTES, QUEUE_BYTES_MAX, QUEUE_OUTBOX_DIVISOR, SEND_PART_BYTES_MAX, SLOW_AFTER_MS,
    SLOW_BYTES_PER_SECOND, SLOW_NEAR_BUDGET_MS, TICK_MS,
};

use self::backlog::Lags;
pub use self::backlog::{Relief, Source};
use self::flush::Merged;
pub use self::flush::{Encoder, Flushed};
use self::items::{Gap, Item, Items};
use self::queue::{ENDING, LAGS, PARTED, Queues};

/// Marks the end of a chain and an empty place.
const NONE: u32 = u32::MAX;

/// The role of a frame in its room: whether the policies `skip` and `latest` may drop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The answer to the opening handshake. Never dropped, since the connection starts with it.
    Opening,
    /// Never dropped once queued: a reply, a control frame, a status, `joined`.
    Other,
    /// An ephemeral message. No `gap` reports it when it is dropped.
    Loose,
    /// Numbered messages of a room, one or a run.
    Messages {
        /// The seq of the first.
        from: Seq,
    },
}

impl Role {
    const fn is_message(self) -> bool {
        matches!(self, Role::Loose | Role::Messages { .. })
    }
}

/// A frame to be queued.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Finished server frames.
    pub bytes: Bytes,
    /// Number of messages in it. Control frames do not count.
    pub messages: u32,
    /// Its role in its room.
    pub role: Role,
}

impl Outgoing {
    /// Messages of a room, the first with seq `from`.
    #[must_use]
    pub fn messages(from: Seq, messages: u32, bytes: Bytes) -> Self {
        Self { bytes, messages, role: Role::Messages { from } }
    }
}

/// All outboxes of a core.
#[derive(Debug)]
pub struct Outboxes {
    queues: Queues,
    items: Items,
    lags: Lags,
    /// The rest of frames sent in parts, by slot.
    parts: HashMap<u32, Bytes, FixedState>,
    merged: Merged,
    bytes_max: usize,
    queue_bytes_max: usize,
    /// Ticks so far.
    tick: u16,
    /// Bytes in flight to connections that are ending.
    ending_bytes: usize,
}

impl Outboxes {
    /// No connections. A connection that reads on may exceed `bytes_max`.
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

    /// Sets the bound for later frames.
    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
        self.queue_bytes_max = queue_bytes_max(bytes_max);
    }

    /// Creates the slot's outbox if there is none.
    pub fn reach(&mut self, slot: u32) {
        self.queues.reach(slot);
    }

    /// Time has passed. Frees the memory that a crowd needed.
    pub fn tick(&mut self) {
        self.tick = self.tick.wrapping_add(1);
        if self.queues.is_sparse() || self.items.is_sparse() {
            self.merged = Merged::default();
            let moved = self.items.compact();
            self.queues.compact(&moved);
            self.lags.values_mut().for_each(|lag| lag.renumber(&moved));
        }
    }

    /// Bytes queued for a connection, including those in flight.
    #[must_use]
    pub fn bytes(&self, slot: u32) -> usize {
        self.queues.at(slot).bytes as usize + self.lag_bytes(slot)
    }

    /// Bytes charged for sends in flight to connections that are ending.
    #[must_use]
    pub fn ending_bytes(&self) -> usize {
        self.ending_bytes
    }

    /// Bytes in flight to a connection.
    #[must_use]
    pub fn bytes_under_way(&self, slot: u32) -> usize {
        let sending = self.queues.at(slot).sending;
        if sending == NONE { 0 } else { self.items.cost(sending) }
    }

    /// Whether a send is in flight.
    #[must_use]
    pub fn is_sending(&self, slot: u32) -> bool {
        self.queues.at(slot).sending != NONE
    }

    /// Whether nothing is queued and nothing is in flight.
    #[must_use]
    pub fn is_empty(&self, slot: u32) -> bool {
        self.queues.at(slot).sending == NONE && !self.has_queued(slot)
    }

    /// Whether something is queued that is not in flight yet.
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

    /// Whether `bytes` more would exceed the bound. An empty outbox takes any one frame.
    #[must_use]
    pub fn is_full_for(&self, slot: u32, bytes: usize) -> bool {
        let waiting = self.bytes(slot);
        waiting > 0 && waiting + bytes > self.bytes_max
    }

    /// Whether an outbox exceeds its bound and the kernel has not taken its send in time.
    #[must_use]
    pub fn is_slow(&self, slot: u32, near_budget: bool) -> bool {
        self.bytes(slot) > self.bytes_max && self.is_stale(slot, near_budget)
    }

    /// Whether the send has been in flight for too long.
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
        // Part of the tick in which the send was made had already passed.
        u64::from(self.tick.wrapping_sub(outbox.offered)) > patience_ms.div_ceil(TICK_MS)
    }

    /// Adds a frame to be queued for many connections. [`Outboxes::release`] lets go of it.
    pub fn add(&mut self, outgoing: Outgoing, budget: &mut Budget) -> u32 {
        // A new frame may reuse the place of one that was merged: the merged send is not valid for it.
        self.merged.items.clear();
        self.items.add_frame(outgoing, budget)
    }

    /// Lets go of a frame.
    pub fn release(&mut self, frame: u32, budget: &mut Budget) {
        self.items.release(frame, budget);
    }

    /// Queues a frame for one connection. Checks no bound except that the sizes fit `u32`.
    pub fn push(&mut self, slot: u32, outgoing: Outgoing, budget: &mut Budget) {
        let frame = self.add(outgoing, budget);
        budget.charge(OUTBOX_PLACE_BYTES);
        self.queues.append(slot, frame, self.items.cost(frame));
    }

    /// Queues a frame from [`Outboxes::add`] for one connection, likewise.
    pub fn push_frame(&mut self, slot: u32, frame: u32, budget: &mut Budget) {
        self.items.frame_mut(frame).references += 1;
        budget.charge(OUTBOX_PLACE_BYTES);
        self.queues.append(slot, frame, self.items.cost(frame));
    }

    /// Queues a frame from [`Outboxes::add`] for many connections, except `except`. Adds those whose queue is full to
    /// `behind` instead. Returns the number of connections it was queued for.
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

    /// Queues a `gap` for one connection, whatever its queue holds: there is at most one for each room and stretch.
    pub fn push_gap(&mut self, slot: u32, source: Source<'_>, (from, to): (Seq, Seq), budget: &mut Budget) {
        let gap = self.items.add_gap(Gap { room: source.room.clone(), from, to }, budget);
        if self.is_behind(slot, source.room) {
            return self.hold_item(slot, source, gap, budget);
        }
        budget.charge(OUTBOX_PLACE_BYTES);
        self.queues.append(slot, gap, self.items.cost(gap));
    }

    /// The kernel has taken the send in flight. Returns whether nothing is queued any more.
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

    /// The connection is ending: drops what is queued and not in flight, except an answer to the opening handshake.
    pub fn drop_queued(&mut self, slot: u32, budget: &mut Budget) {
        self.drop_backlog(slot, budget);
        let head = self.queues.at(slot).head;
        let opening = (head != NONE)
            .then(|| self.queues.place(head).item)
            .filter(|item| matches!(self.items.get(*item), Item::Frame(frame) if frame.role == Role::Opening));
        if opening.is_some() {
            self.queues.pop(slot);
            budget.release(OUTBOX_PLACE_BYTES);
        }
        self.drop_chain(slot, budget);
        let cost = self.bytes_under_way(slot);
        let outbox = self.queues.at_mut(slot);
        outbox.bytes = cost as u32;
        if outbox.sending != NONE && !outbox.has(ENDING) {
            outbox.flags |= ENDING;
            self.ending_bytes += cost;
        }
        if let Some(item) = opening {
            budget.charge(OUTBOX_PLACE_BYTES);
            self.queues.append(slot, item, self.items.cost(item));
        }
    }

    fn drop_chain(&mut self, slot: u32, budget: &mut Budget) {
        while self.queues.at(slot).head != NONE {
            let item = self.queues.pop(slot);
            self.items.release(item, budget);
            budget.release(OUTBOX_PLACE_BYTES);
        }
    }

    /// Forgets a connection: drops what is queued, and expects no more [`Outboxes::sent`].
    pub fn clear(&mut self, slot: u32, budget: &mut Budget) {
        self.drop_backlog(slot, budget);
        self.drop_chain(slot, budget);
        self.let_go_of_sending(slot, budget);
        self.parts.remove(&slot);
        let outbox = self.queues.at_mut(slot);
        (outbox.bytes, outbox.flags) = (0, outbox.flags & queue::DIRTY);
    }

    /// Whether any outbox has something to send.
    #[must_use]
    pub fn has_dirty(&self) -> bool {
        !self.queues.dirty.is_empty()
    }
}

/// The part of an outbox that is its queue.
fn queue_bytes_max(bytes_max: usize) -> usize {
    (bytes_max / QUEUE_OUTBOX_DIVISOR).min(QUEUE_BYTES_MAX)
}
