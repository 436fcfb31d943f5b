//! The queues of all connections of a core: for each a chain of 8-byte places in one arena, in the order in which what
//! they refer to goes out. Knows what an item counts for, not what it is.

use super::NONE;
use crate::base::limits::{OUTBOX_ARENA_KEPT, OUTBOX_PLACE_BYTES};
use crate::engine::budget::Budget;
use crate::engine::table::Table;

/// Stands in the list of outboxes to flush.
pub(super) const DIRTY: u8 = 1;
/// Has a backlog.
pub(super) const LAGS: u8 = 1 << 1;
/// The frame under way is sent in parts, and more of them follow.
pub(super) const PARTED: u8 = 1 << 2;
/// Ends: what is under way goes with its socket.
pub(super) const ENDING: u8 = 1 << 3;

#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub item: u32,
    pub next: u32,
}

/// One connection's queue.
#[derive(Debug)]
pub(super) struct Outbox {
    pub head: u32,
    pub tail: u32,
    /// What is queued and what is under way count for.
    pub bytes: u32,
    /// The item under way: handed to the kernel and not yet taken whole.
    pub sending: u32,
    /// The tick in which it was handed out.
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

#[derive(Debug)]
pub(super) struct Queues {
    outboxes: Table<Outbox>,
    places: Vec<Place>,
    free: u32,
    used: usize,
    /// Outboxes to flush.
    pub dirty: Vec<u32>,
}

impl Queues {
    pub fn new() -> Self {
        Self { outboxes: Table::new(), places: Vec::new(), free: NONE, used: 0, dirty: Vec::new() }
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

    pub fn place(&self, place: u32) -> Place {
        self.places[place as usize]
    }

    /// Puts an item behind the others, for which its place is charged already.
    #[inline]
    pub fn append(&mut self, slot: u32, item: u32, cost: usize) {
        let place = self.new_place(item);
        let outbox = self.outboxes.at_mut(slot);
        if outbox.head == NONE {
            outbox.head = place;
        } else {
            self.places[outbox.tail as usize].next = place;
        }
        outbox.tail = place;
        outbox.bytes += cost as u32;
        if outbox.flags & DIRTY == 0 && outbox.sending == NONE {
            outbox.flags |= DIRTY;
            self.dirty.push(slot);
        }
    }

    /// There is something to send, unless something is under way.
    pub fn note_dirty(&mut self, slot: u32) {
        let outbox = self.outboxes.at_mut(slot);
        if !outbox.has(DIRTY) {
            outbox.flags |= DIRTY;
            self.dirty.push(slot);
        }
    }

    /// Takes the first item out. What it counts for is left to the caller.
    pub fn pop(&mut self, slot: u32, budget: &mut Budget) -> u32 {
        let outbox = self.outboxes.at_mut(slot);
        let place = outbox.head;
        let Place { item, next } = self.places[place as usize];
        outbox.head = next;
        if next == NONE {
            outbox.tail = NONE;
        }
        self.free_place(place, budget);
        item
    }

    fn new_place(&mut self, item: u32) -> u32 {
        let place = Place { item, next: NONE };
        self.used += 1;
        if self.free == NONE {
            self.places.push(place);
            return (self.places.len() - 1) as u32;
        }
        let index = self.free;
        self.free = self.places[index as usize].next;
        self.places[index as usize] = place;
        index
    }

    fn free_place(&mut self, place: u32, budget: &mut Budget) {
        budget.release(OUTBOX_PLACE_BYTES);
        self.used -= 1;
        self.places[place as usize].next = self.free;
        self.free = place;
    }

    /// Whether far more memory is held than is in use.
    pub fn is_sparse(&self) -> bool {
        self.places.capacity() > OUTBOX_ARENA_KEPT && self.used * 4 < self.places.capacity()
    }

    /// Gives memory back. Items are where `moved` says.
    pub fn compact(&mut self, moved: &[u32]) {
        let mut kept: Vec<Place> = Vec::with_capacity(self.used);
        for outbox in self.outboxes.iter_mut() {
            if outbox.sending != NONE {
                outbox.sending = moved[outbox.sending as usize];
            }
            let mut place = outbox.head;
            if place != NONE {
                outbox.head = kept.len() as u32;
            }
            while place != NONE {
                let Place { item, next } = self.places[place as usize];
                outbox.tail = kept.len() as u32;
                let next_kept = if next == NONE { NONE } else { outbox.tail + 1 };
                kept.push(Place { item: moved[item as usize], next: next_kept });
                place = next;
            }
        }
        (self.places, self.free) = (kept, NONE);
    }
}

const _: () = assert!(size_of::<Outbox>() <= 20, "an outbox is paid for by every idle connection");
