//! The queues of all connections of a core: for each a chain of 8-byte places in one arena, in the order of sending.
//! Knows how many bytes an item counts for, not what it is.

use super::items::{Items, NONE};
use crate::base::limits::OUTBOX_ARENA_KEPT;
use crate::engine::budget::Budget;
use crate::engine::table::Table;

/// In the list of outboxes to flush.
pub(super) const DIRTY: u8 = 1;
/// Has a backlog.
pub(super) const LAGS: u8 = 1 << 1;
/// The frame in flight is sent in parts, and more parts follow.
pub(super) const PARTED: u8 = 1 << 2;
/// Ending: what is in flight ends with its socket.
pub(super) const ENDING: u8 = 1 << 3;

#[derive(Clone, Copy, Debug)]
pub(super) struct QueuePlace {
    pub item: u32,
    pub next: u32,
}

/// One connection's queue.
#[derive(Debug)]
pub(super) struct Outbox {
    pub head: u32,
    pub tail: u32,
    /// Bytes counted for queued items and the item in flight.
    pub bytes: u32,
    /// The item in flight: given to the kernel and not taken completely.
    pub sending: u32,
    /// The tick in which it was given to the kernel.
    pub offered: u16,
    pub flags: u8,
}

impl Default for Outbox {
    fn default() -> Self {
        Self { head: NONE, tail: NONE, bytes: 0, sending: NONE, offered: 0, flags: 0 }
    }
}

impl Outbox {
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// The places of all queues. Free places have their own chain.
#[derive(Debug)]
struct QueuePlaces {
    places: Vec<QueuePlace>,
    free: u32,
    used: usize,
}

impl QueuePlaces {
    #[inline]
    fn add(&mut self, item: u32) -> u32 {
        let place = QueuePlace { item, next: NONE };
        self.used += 1;
        if self.free == NONE {
            self.places.push(place);
            return (self.places.len() - 1) as u32;
        }
        let index = self.free;
        self.free = std::mem::replace(&mut self.places[index as usize], place).next;
        index
    }

    /// Frees a place. Returns its item and the place behind it.
    #[inline]
    fn remove(&mut self, place: u32) -> (u32, u32) {
        self.used -= 1;
        let freed = QueuePlace { item: NONE, next: self.free };
        self.free = place;
        let QueuePlace { item, next } = std::mem::replace(&mut self.places[place as usize], freed);
        (item, next)
    }
}

/// Appends an item to a queue. Returns whether the queue must be added to those to flush.
#[inline]
fn append(outbox: &mut Outbox, places: &mut QueuePlaces, item: u32, cost: usize) -> bool {
    let place = places.add(item);
    if outbox.head == NONE {
        outbox.head = place;
    } else {
        places.places[outbox.tail as usize].next = place;
    }
    outbox.tail = place;
    outbox.bytes += cost as u32;
    let is_new = outbox.flags & DIRTY == 0 && outbox.sending == NONE;
    outbox.flags |= if is_new { DIRTY } else { 0 };
    is_new
}

/// How a send begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    /// There is nothing to send, or a send is in flight.
    Nothing,
    /// The only item is in flight.
    Only(u32),
    /// Several items are queued.
    Several,
    /// There is a backlog, or the rest of a frame sent in parts.
    Odd,
}

#[derive(Debug)]
pub(super) struct Queues {
    outboxes: Table<Outbox>,
    places: QueuePlaces,
    /// Outboxes to flush.
    pub dirty: Vec<u32>,
}

impl Queues {
    pub fn new() -> Self {
        let places = QueuePlaces { places: Vec::new(), free: NONE, used: 0 };
        Self { outboxes: Table::new(), places, dirty: Vec::new() }
    }

    pub fn reach(&mut self, slot: u32) {
        self.outboxes.reach(slot);
    }

    #[inline]
    pub fn at(&self, slot: u32) -> &Outbox {
        self.outboxes.at(slot)
    }

    #[inline]
    pub fn at_mut(&mut self, slot: u32) -> &mut Outbox {
        self.outboxes.at_mut(slot)
    }

    pub fn place(&self, place: u32) -> QueuePlace {
        self.places.places[place as usize]
    }

    /// Appends an item whose place is already charged, if the queue takes it: if there is no backlog, and the queue is
    /// empty or stays within `bytes_max`.
    #[inline]
    pub fn try_append(&mut self, slot: u32, item: u32, cost: usize, bytes_max: usize) -> bool {
        let outbox = self.outboxes.at_mut(slot);
        let fits = outbox.bytes == 0 || outbox.bytes as usize + cost <= bytes_max;
        if !fits || outbox.has(LAGS) {
            return false;
        }
        if append(outbox, &mut self.places, item, cost) {
            self.dirty.push(slot);
        }
        true
    }

    /// Appends an item whose place is already charged.
    pub fn append(&mut self, slot: u32, item: u32, cost: usize) {
        if append(self.outboxes.at_mut(slot), &mut self.places, item, cost) {
            self.dirty.push(slot);
        }
    }

    /// There is something to send, unless a send is in flight.
    pub fn note_dirty(&mut self, slot: u32) {
        let outbox = self.outboxes.at_mut(slot);
        if !outbox.has(DIRTY) {
            outbox.flags |= DIRTY;
            self.dirty.push(slot);
        }
    }

    /// Removes the first item. The caller releases its bytes and the charge of its place.
    #[inline]
    pub fn pop(&mut self, slot: u32) -> u32 {
        let outbox = self.outboxes.at_mut(slot);
        let (item, next) = self.places.remove(outbox.head);
        outbox.head = next;
        if next == NONE {
            outbox.tail = NONE;
        }
        item
    }

    /// Begins a send of the first item, for a queue without a backlog or a frame in parts. If it is the only item, it
    /// is in flight from now on.
    #[inline]
    pub fn begin(&mut self, slot: u32, tick: u16) -> Begun {
        let outbox = self.outboxes.at_mut(slot);
        if outbox.has(LAGS | PARTED) {
            return Begun::Odd;
        }
        outbox.flags &= !DIRTY;
        if outbox.sending != NONE || outbox.head == NONE {
            return Begun::Nothing;
        }
        outbox.offered = tick;
        if outbox.head != outbox.tail {
            return Begun::Several;
        }
        let (item, _) = self.places.remove(outbox.head);
        (outbox.head, outbox.tail, outbox.sending) = (NONE, NONE, item);
        Begun::Only(item)
    }

    /// Undoes the beginning of a send of an only item.
    pub fn put_back(&mut self, slot: u32, item: u32) {
        let outbox = self.outboxes.at_mut(slot);
        let place = self.places.add(item);
        (outbox.head, outbox.tail, outbox.sending) = (place, place, NONE);
    }

    /// The send in flight was taken. Returns whether nothing is left to do: nothing is queued, and there is no backlog
    /// and no frame in parts.
    #[inline]
    pub fn end(&mut self, slot: u32, items: &mut Items, budget: &mut Budget) -> Option<bool> {
        let outbox = self.outboxes.at_mut(slot);
        if outbox.has(LAGS | PARTED | ENDING) || outbox.sending == NONE {
            return None;
        }
        let sending = std::mem::replace(&mut outbox.sending, NONE);
        outbox.bytes -= items.release_frame(sending, budget) as u32;
        let is_empty = outbox.head == NONE;
        if !is_empty && !outbox.has(DIRTY) {
            outbox.flags |= DIRTY;
            self.dirty.push(slot);
        }
        Some(is_empty)
    }

    /// Whether far more memory is held than is in use.
    pub fn is_sparse(&self) -> bool {
        let QueuePlaces { places, used, .. } = &self.places;
        places.capacity() > OUTBOX_ARENA_KEPT && used * 4 < places.capacity()
    }

    /// Frees memory. `moved` has the new places of items.
    pub fn compact(&mut self, moved: &[u32]) {
        let mut kept: Vec<QueuePlace> = Vec::with_capacity(self.places.used);
        for outbox in self.outboxes.iter_mut() {
            if outbox.sending != NONE {
                outbox.sending = moved[outbox.sending as usize];
            }
            let mut place = outbox.head;
            if place != NONE {
                outbox.head = kept.len() as u32;
            }
            while place != NONE {
                let QueuePlace { item, next } = self.places.places[place as usize];
                outbox.tail = kept.len() as u32;
                let next_kept = if next == NONE { NONE } else { outbox.tail + 1 };
                kept.push(QueuePlace { item: moved[item as usize], next: next_kept });
                place = next;
            }
        }
        (self.places.places, self.places.free) = (kept, NONE);
    }
}

const _: () = assert!(size_of::<Outbox>() <= 20, "an outbox is paid for by every idle connection");
