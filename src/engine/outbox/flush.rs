//! From queues to sends: one send for each connection with queued frames, merged once for all connections with the same
//! frames. Queues nothing new.

use bytes::{BufMut, Bytes, BytesMut};

use super::items::{Item, NONE};
use super::outboxes::Outboxes;
use super::outgoing::{Outgoing, Role};
use super::queue::{Begun, DIRTY, PARTED, QueuePlace};
use crate::base::counters::CoreCounters;
use crate::base::ids::{RoomName, Seq};
use crate::base::limits::{
    OUTBOX_PLACE_BYTES, SEND_BYTES_MAX, SEND_FRAMES_MAX, SEND_PART_BYTES_MAX, SENDS_PER_TURN_MAX,
};
use crate::engine::budget::Budget;
use crate::engine::output::Send;
use crate::wire::publication::Publication;

/// Encodes items that are not frames yet, in the form of the connection that they are queued for.
pub trait Encoder {
    /// A `gap`.
    fn gap(&mut self, slot: u32, room: &RoomName, from: Seq, to: Seq) -> Bytes;
    /// A room's message.
    fn message(&mut self, slot: u32, room: &RoomName, message: &Publication) -> Bytes;
}

/// What a flush says of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Flushed {
    /// The connection.
    pub slot: u32,
    /// WebSocket messages handed out.
    pub messages: u32,
    /// Bytes handed out.
    pub bytes: u32,
}

impl Outboxes {
    /// Makes one send for each connection with queued frames and no send in flight, up to [`SENDS_PER_TURN_MAX`]
    /// ([`Outboxes::has_dirty`] tells whether there are more). Calls `flushed` for each send.
    pub fn flush(
        &mut self,
        sends: &mut Vec<Send>,
        budget: &mut Budget,
        counters: &CoreCounters,
        encoder: &mut impl Encoder,
        flushed: &mut dyn FnMut(Flushed),
    ) {
        self.merged.items.clear();
        let mut places = 0;
        let mut dirty = std::mem::take(&mut self.queues.dirty);
        let count = dirty.len().min(SENDS_PER_TURN_MAX);
        for slot in dirty.drain(..count) {
            let (bytes, messages) = match self.queues.begin(slot, self.tick) {
                Begun::Only(item) if matches!(self.items.get(item), Item::Frame(_)) => {
                    places += 1;
                    self.take_bytes(slot, item)
                }
                Begun::Nothing => continue,
                Begun::Only(gap) => {
                    // A single gap takes the same path as a gap among others.
                    self.queues.put_back(slot, gap);
                    self.begin_merged(slot, &mut places, budget, encoder)
                }
                Begun::Several => self.begin_merged(slot, &mut places, budget, encoder),
                Begun::Odd => match self.begin_odd(slot, &mut places, budget, encoder) {
                    Some(begun) => begun,
                    None => continue,
                },
            };
            let len = bytes.len() as u32;
            counters.messages_sent.add(u64::from(messages));
            counters.bytes_sent.add(u64::from(len));
            flushed(Flushed { slot, messages, bytes: len });
            sends.push(Send { slot, bytes, is_last: false });
        }
        budget.release(places * OUTBOX_PLACE_BYTES);
        if dirty.is_empty() && dirty.capacity() > 4 * SENDS_PER_TURN_MAX {
            dirty = Vec::new();
        }
        self.queues.dirty = dirty;
    }

    /// The bytes of a frame about to be sent, or its first part, and its number of messages. The last reference takes
    /// the bytes without counting.
    fn take_bytes(&mut self, slot: u32, frame: u32) -> (Bytes, u32) {
        let may_merge = frame == self.merged.frame && !self.merged.items.is_empty();
        let frame = self.items.frame_mut(frame);
        let messages = frame.messages;
        let is_last = frame.references == 1 && !may_merge;
        let mut bytes = if is_last { std::mem::take(&mut frame.bytes) } else { frame.bytes.clone() };
        if bytes.len() > SEND_PART_BYTES_MAX {
            let part = bytes.split_to(SEND_PART_BYTES_MAX);
            self.parts.insert(slot, bytes);
            self.queues.at_mut(slot).flags |= PARTED;
            return (part, messages);
        }
        (bytes, messages)
    }

    fn next_part(&mut self, slot: u32) -> Bytes {
        let rest = self.parts.get_mut(&slot).expect("a frame that is sent in parts has a rest");
        if rest.len() > SEND_PART_BYTES_MAX {
            return rest.split_to(SEND_PART_BYTES_MAX);
        }
        self.queues.at_mut(slot).flags &= !PARTED;
        self.parts.remove(&slot).expect("just seen")
    }

    /// Begins a send of several items, or of one that is not a frame yet.
    fn begin_merged(
        &mut self,
        slot: u32,
        places: &mut usize,
        budget: &mut Budget,
        encoder: &mut impl Encoder,
    ) -> (Bytes, u32) {
        let (frame, taken) = self.merge_send(slot, budget, encoder);
        *places += taken;
        self.queues.at_mut(slot).sending = frame;
        self.take_bytes(slot, frame)
    }

    /// Begins a send for a connection that has a backlog, or that receives a frame in parts. `None` if there is nothing
    /// to send now.
    fn begin_odd(
        &mut self,
        slot: u32,
        places: &mut usize,
        budget: &mut Budget,
        encoder: &mut impl Encoder,
    ) -> Option<(Bytes, u32)> {
        let outbox = self.queues.at_mut(slot);
        if outbox.has(PARTED) {
            outbox.flags &= !DIRTY;
            outbox.offered = self.tick;
            return Some((self.next_part(slot), 0));
        }
        if outbox.sending == NONE {
            self.refill(slot, encoder, budget);
        }
        let outbox = self.queues.at_mut(slot);
        outbox.flags &= !DIRTY;
        if outbox.sending != NONE || outbox.head == NONE {
            return None;
        }
        outbox.offered = self.tick;
        Some(self.begin_merged(slot, places, budget, encoder))
    }

    /// Merges the front of a queue into one frame. Returns the frame and its number of places. The frame counts in the
    /// outbox until [`Outboxes::sent`].
    /// [`Outboxes::sent`].
    fn merge_send(&mut self, slot: u32, budget: &mut Budget, encoder: &mut impl Encoder) -> (u32, usize) {
        let head = self.queues.at(slot).head;
        let (count, total, gaps) = self.measure_send(head);
        if count == 1 && gaps == 0 {
            return (self.queues.pop(slot), 1);
        }
        let mut cost = 0;
        if gaps == 0 && self.is_merged(head, count) {
            for _ in 0..count {
                let item = self.queues.pop(slot);
                cost += self.items.release_frame(item, budget);
            }
            let frame = self.merged.frame;
            self.items.frame_mut(frame).references += 1;
            self.recount(slot, cost, frame);
            return (frame, count);
        }
        let mut buffer = BytesMut::with_capacity(total);
        let mut messages = 0;
        let mut merged = std::mem::take(&mut self.merged.items);
        merged.clear();
        for _ in 0..count {
            let item = self.queues.pop(slot);
            cost += self.items.cost(item);
            match self.items.get(item) {
                Item::Frame(frame) => {
                    buffer.put_slice(&frame.bytes);
                    messages += frame.messages;
                    merged.push(item);
                }
                Item::Gap(gap) => {
                    buffer.put_slice(&encoder.gap(slot, &gap.room, gap.from, gap.to));
                    messages += 1;
                }
                Item::Replay(_) => unreachable!("replays wait in backlogs"),
            }
            self.items.release(item, budget);
        }
        let outgoing = Outgoing { bytes: buffer.freeze(), messages, role: Role::Other };
        let frame = self.items.add_frame(outgoing, budget);
        self.recount(slot, cost, frame);
        if gaps > 0 {
            merged.clear();
        }
        self.merged.items = merged;
        self.merged.frame = frame;
        (frame, count)
    }

    /// Moves the bytes counted for items in an outbox to the frame that they were merged into.
    fn recount(&mut self, slot: u32, cost: usize, frame: u32) {
        let merged = self.items.cost(frame);
        let outbox = self.queues.at_mut(slot);
        outbox.bytes = outbox.bytes - cost as u32 + merged as u32;
    }

    /// The number of items that go in one send, starting at `place`, their bytes, and the number of gaps among them.
    fn measure_send(&self, mut place: u32) -> (usize, usize, usize) {
        let (mut count, mut total, mut gaps) = (0, 0, 0);
        while place != NONE && count < SEND_FRAMES_MAX {
            let QueuePlace { item, next } = self.queues.place(place);
            let (len, is_gap) = match self.items.get(item) {
                Item::Frame(frame) => (frame.len as usize, false),
                Item::Gap(_) | Item::Replay(_) => (GAP_BYTES_USUAL, true),
            };
            if count > 0 && total + len > SEND_BYTES_MAX {
                break;
            }
            total += len;
            count += 1;
            gaps += usize::from(is_gap);
            place = next;
        }
        (count, total, gaps)
    }

    /// Whether the first `count` items from `place` on are those of the last merged send.
    fn is_merged(&self, mut place: u32, count: usize) -> bool {
        self.merged.items.len() == count
            && self.merged.items.iter().all(|item| {
                let QueuePlace { item: mine, next } = self.queues.place(place);
                place = next;
                mine == *item
            })
    }
}

/// Approximate bytes of an encoded gap.
const GAP_BYTES_USUAL: usize = 64;
