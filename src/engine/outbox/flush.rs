//! From queues to sends: one for each connection with something to say, made once for all that wait for the same frames.
//! Queues nothing.

use bytes::{BufMut, Bytes, BytesMut};

use super::{GAP_BIT, GAP_BYTES, NONE, Node, Outboxes};
use crate::base::counters::CoreCounters;
use crate::base::ids::{RoomName, Seq};
use crate::base::limits::{SEND_BYTES_MAX, SEND_FRAMES_MAX, SENDS_PER_TURN_MAX};
use crate::engine::budget::Budget;
use crate::engine::output::Send;

/// The last merged send of this flush: members of one room usually wait for the same frames, so it is made once.
#[derive(Debug, Default)]
pub(super) struct Merged {
    items: Vec<u32>,
    bytes: Bytes,
    messages: u32,
}

/// What a flush says of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Flushed {
    /// Which.
    pub slot: u32,
    /// WebSocket messages handed out.
    pub messages: u32,
    /// Bytes handed out.
    pub bytes: u32,
}

impl Outboxes {
    /// Hands out one send for every connection with something queued and nothing in flight, up to
    /// [`SENDS_PER_TURN_MAX`] of them ([`Outboxes::has_dirty`] tells whether more wait). `encode_gap` makes the finished
    /// frame of a gap for a connection; `flushed` hears of each send.
    pub fn flush(
        &mut self,
        sends: &mut Vec<Send>,
        budget: &mut Budget,
        counters: &CoreCounters,
        encode_gap: &mut dyn FnMut(u32, &RoomName, Seq, Seq) -> Bytes,
        flushed: &mut dyn FnMut(Flushed),
    ) {
        self.merged.items.clear();
        let mut dirty = std::mem::take(&mut self.dirty);
        let count = dirty.len().min(SENDS_PER_TURN_MAX);
        for slot in dirty.drain(..count) {
            let outbox = self.outboxes.at_mut(slot);
            outbox.dirty = false;
            if outbox.sending > 0 || outbox.head == NONE {
                continue;
            }
            let (bytes, messages) = self.take_send(slot, budget, encode_gap);
            let len = bytes.len() as u32;
            self.outboxes.at_mut(slot).sending = len;
            counters.messages_sent.add(u64::from(messages));
            counters.bytes_sent.add(u64::from(len));
            flushed(Flushed { slot, messages, bytes: len });
            sends.push(Send { slot, bytes, is_last: false });
        }
        if dirty.is_empty() && dirty.capacity() > 4 * SENDS_PER_TURN_MAX {
            dirty = Vec::new();
        }
        self.dirty = dirty;
    }

    /// Takes the front of a queue as one send. The outbox's bytes stay charged until [`Outboxes::sent`].
    fn take_send(
        &mut self,
        slot: u32,
        budget: &mut Budget,
        encode_gap: &mut dyn FnMut(u32, &RoomName, Seq, Seq) -> Bytes,
    ) -> (Bytes, u32) {
        let head = self.outboxes.at(slot).head;
        let first = self.nodes[head as usize];
        if first.next == NONE && first.item & GAP_BIT == 0 {
            self.pop(slot);
            return self.take_reference(first.item, budget);
        }
        let (count, total, gaps) = self.measure_send(head);
        if count == 1 && gaps == 0 {
            self.pop(slot);
            return self.take_reference(first.item, budget);
        }
        if gaps == 0 && self.is_merged(head, count) {
            for _ in 0..count {
                let item = self.pop(slot);
                self.drop_reference(item, budget);
            }
            return (self.merged.bytes.clone(), self.merged.messages);
        }
        let mut buffer = BytesMut::with_capacity(total);
        let (mut messages, mut charged) = (0, 0);
        self.merged.items.clear();
        for _ in 0..count {
            let item = self.pop(slot);
            if item & GAP_BIT == 0 {
                let frame = self.frame(item);
                buffer.put_slice(&frame.bytes);
                charged += frame.bytes.len();
                messages += frame.messages;
                self.drop_reference(item, budget);
                self.merged.items.push(item);
            } else {
                let gap = self.remove_gap(item & !GAP_BIT);
                buffer.put_slice(&encode_gap(slot, &gap.room, gap.from, gap.to));
                charged += GAP_BYTES;
                messages += 1;
            }
        }
        let bytes = buffer.freeze();
        // A gap is charged by an estimate while queued; from here on what counts is what is in flight.
        let outbox = self.outboxes.at_mut(slot);
        outbox.bytes = outbox.bytes - charged as u32 + bytes.len() as u32;
        if gaps > 0 {
            self.merged.items.clear();
        }
        self.merged.bytes = bytes.clone();
        self.merged.messages = messages;
        (bytes, messages)
    }

    /// How many items from `node` on go in one send, their bytes, and how many are gaps.
    fn measure_send(&self, mut node: u32) -> (usize, usize, usize) {
        let (mut count, mut total, mut gaps) = (0, 0, 0);
        while node != NONE && count < SEND_FRAMES_MAX {
            let Node { item, next } = self.nodes[node as usize];
            let is_gap = item & GAP_BIT != 0;
            let len = if is_gap { GAP_BYTES } else { self.frame(item).bytes.len() };
            if count > 0 && total + len > SEND_BYTES_MAX {
                break;
            }
            total += len;
            count += 1;
            gaps += usize::from(is_gap);
            node = next;
        }
        (count, total, gaps)
    }

    /// Whether the first `count` items from `node` on are those of the last merged send.
    fn is_merged(&self, mut node: u32, count: usize) -> bool {
        self.merged.items.len() == count
            && self.merged.items.iter().all(|item| {
                let Node { item: mine, next } = self.nodes[node as usize];
                node = next;
                mine == *item
            })
    }
}
