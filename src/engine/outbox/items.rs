//! The arena of queued items: finished frames, each once however many queues refer to it; gaps; and replays. Charges
//! the budget for each. Knows no connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::vec;

use bytes::Bytes;
use foldhash::fast::FixedState;

use super::outgoing::{Outgoing, Role};
use crate::base::ids::{RoomName, Seq};
use crate::base::limits::{
    LARGE_FRAME_BYTES, OUTBOX_ARENA_KEPT, OUTBOX_ITEM_BYTES, OUTBOX_PLACE_BYTES, REPLAYED_BYTES,
};
use crate::engine::budget::Budget;
use crate::engine::table;
use crate::wire::publication::Publication;

/// Marks the end of a chain and an empty place.
pub(super) const NONE: u32 = u32::MAX;

/// What a waiting `gap` counts for in an outbox.
const GAP_BYTES: usize = 64;

#[derive(Debug)]
pub(super) struct Frame {
    /// Empty once the last reference is in flight: the send then has the bytes.
    pub bytes: Bytes,
    pub len: u32,
    /// References to it, queued or in flight.
    pub references: u32,
    /// WebSocket messages in `bytes`.
    pub messages: u32,
    pub role: Role,
}

#[derive(Debug)]
pub(super) struct Gap {
    pub room: RoomName,
    pub from: Seq,
    pub to: Seq,
}

/// Publications that one connection receives as it reads. Their frames are looked up, or encoded, only when they are
/// sent.
#[derive(Debug)]
pub(super) struct Replay {
    pub messages: vec::IntoIter<Arc<Publication>>,
    /// Bytes of the publications left.
    bytes: usize,
    places: usize,
}

#[derive(Debug)]
pub(super) enum Item {
    Frame(Frame),
    Gap(Gap),
    Replay(Replay),
}

/// All queued items of a core.
#[derive(Debug, Default)]
pub(super) struct Items {
    items: Vec<Option<Item>>,
    free: Vec<u32>,
    /// Number of replays that hold each publication, by its address. A publication is charged once.
    replayed: HashMap<usize, u32, FixedState>,
}

/// Memory of a frame with this many bytes. Large blocks, such as pages of history, differ in size, so freed ones leave
/// holes that others do not fill.
const fn held(len: usize) -> usize {
    if len > LARGE_FRAME_BYTES { len + len / 2 } else { len }
}

impl Items {
    /// Adds a finished frame with one reference.
    pub fn add_frame(&mut self, outgoing: Outgoing, budget: &mut Budget) -> u32 {
        let Outgoing { bytes, messages, role } = outgoing;
        let len = u32::try_from(bytes.len()).expect("a send has fewer bytes");
        budget.charge(held(bytes.len()));
        self.add(Item::Frame(Frame { bytes, len, references: 1, messages, role }), budget)
    }

    pub fn add_gap(&mut self, gap: Gap, budget: &mut Budget) -> u32 {
        self.add(Item::Gap(gap), budget)
    }

    /// Takes publications to replay, at least one.
    pub fn add_replay(&mut self, messages: Vec<Arc<Publication>>, budget: &mut Budget) -> u32 {
        let bytes = messages.iter().map(|message| message.bytes()).sum();
        let places = messages.capacity();
        budget.charge(places * OUTBOX_PLACE_BYTES);
        for message in &messages {
            let count = self.replayed.entry(Arc::as_ptr(message).addr()).or_default();
            if *count == 0 {
                budget.charge(message.bytes() + REPLAYED_BYTES);
            }
            *count += 1;
        }
        self.add(Item::Replay(Replay { messages: messages.into_iter(), bytes, places }), budget)
    }

    /// The next publication of a replay.
    pub fn next_replayed(&mut self, item: u32, budget: &mut Budget) -> Option<Arc<Publication>> {
        let Item::Replay(replay) = self.get_mut(item) else { return None };
        let message = replay.messages.next()?;
        replay.bytes -= message.bytes();
        self.let_go_of(&message, budget);
        Some(message)
    }

    /// Whether nothing is left of a replay.
    pub fn is_replayed(&self, item: u32) -> bool {
        matches!(self.get(item), Item::Replay(replay) if replay.messages.len() == 0)
    }

    /// Whether it is a replay with more than one publication left.
    pub fn is_run_of_replayed(&self, item: u32) -> bool {
        matches!(self.get(item), Item::Replay(replay) if replay.messages.len() > 1)
    }

    fn let_go_of(&mut self, message: &Arc<Publication>, budget: &mut Budget) {
        let count = self.replayed.get_mut(&Arc::as_ptr(message).addr()).expect("counted when it was added");
        *count -= 1;
        if *count == 0 {
            self.replayed.remove(&Arc::as_ptr(message).addr());
            budget.release(message.bytes() + REPLAYED_BYTES);
            table::shrink(&mut self.replayed);
        }
    }

    fn add(&mut self, item: Item, budget: &mut Budget) -> u32 {
        budget.charge(OUTBOX_ITEM_BYTES);
        if let Some(index) = self.free.pop() {
            self.items[index as usize] = Some(item);
            return index;
        }
        self.items.push(Some(item));
        (self.items.len() - 1) as u32
    }

    #[inline]
    pub fn get(&self, item: u32) -> &Item {
        self.items[item as usize].as_ref().expect("a place refers to it")
    }

    #[inline]
    pub fn get_mut(&mut self, item: u32) -> &mut Item {
        self.items[item as usize].as_mut().expect("a place refers to it")
    }

    #[inline]
    pub fn frame(&self, item: u32) -> &Frame {
        let Item::Frame(frame) = self.get(item) else { unreachable!("the caller knows it for a frame") };
        frame
    }

    #[inline]
    pub fn frame_mut(&mut self, item: u32) -> &mut Frame {
        let Item::Frame(frame) = self.get_mut(item) else { unreachable!("the caller knows it for a frame") };
        frame
    }

    /// Bytes counted for it in an outbox.
    pub fn cost(&self, item: u32) -> usize {
        match self.get(item) {
            Item::Frame(frame) => frame.len as usize + OUTBOX_ITEM_BYTES,
            Item::Gap(_) => GAP_BYTES + OUTBOX_ITEM_BYTES,
            Item::Replay(replay) => replay.bytes + OUTBOX_ITEM_BYTES,
        }
    }

    /// Removes one reference to a frame. Returns the bytes counted for it.
    #[inline]
    pub fn release_frame(&mut self, item: u32, budget: &mut Budget) -> usize {
        let frame = self.frame_mut(item);
        let cost = frame.len as usize + OUTBOX_ITEM_BYTES;
        frame.references -= 1;
        if frame.references == 0 {
            self.take(item, budget);
        }
        cost
    }

    /// Removes one reference to an item.
    pub fn release(&mut self, item: u32, budget: &mut Budget) {
        if let Item::Frame(frame) = self.get_mut(item) {
            frame.references -= 1;
            if frame.references > 0 {
                return;
            }
        }
        self.take(item, budget);
    }

    /// Removes an item without references.
    pub fn take(&mut self, item: u32, budget: &mut Budget) -> Item {
        let mut taken = self.items[item as usize].take().expect("taken once");
        self.free.push(item);
        budget.release(OUTBOX_ITEM_BYTES);
        match &mut taken {
            Item::Frame(frame) => budget.release(held(frame.len as usize)),
            Item::Gap(_) => {}
            Item::Replay(replay) => {
                budget.release(replay.places * OUTBOX_PLACE_BYTES);
                for message in replay.messages.by_ref() {
                    self.let_go_of(&message, budget);
                }
            }
        }
        taken
    }

    /// Whether far more memory is held than is in use.
    pub fn is_sparse(&self) -> bool {
        let used = self.items.len() - self.free.len();
        self.items.capacity() > OUTBOX_ARENA_KEPT && used * 4 < self.items.capacity()
    }

    /// Frees memory. Returns the new place of each item by its old one.
    pub fn compact(&mut self) -> Vec<u32> {
        let mut kept = Vec::with_capacity(self.items.len() - self.free.len());
        let moved = self.items.drain(..).map(|item| {
            let Some(item) = item else { return NONE };
            kept.push(Some(item));
            (kept.len() - 1) as u32
        });
        let moved = moved.collect();
        (self.items, self.free) = (kept, Vec::new());
        moved
    }

    /// Items in use.
    #[cfg(test)]
    pub fn used(&self) -> usize {
        self.items.len() - self.free.len()
    }
}

const _: () = assert!(size_of::<Option<Item>>() <= 64, "every frame that waits is one");
