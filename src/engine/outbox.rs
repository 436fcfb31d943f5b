//! What waits for each connection of a core: references to shared frames, in order, bounded in bytes.
//!
//! A queued frame stands once in a table with a plain count of references, however many connections it waits for; a
//! connection's queue is a chain of 8-byte nodes in one arena. So a delivery allocates nothing, an idle connection
//! holds no queue memory, and the count needs no atomic. Decides nothing about connections: a full outbox is reported.

mod flush;
#[cfg(test)]
mod tests;

use bytes::Bytes;

use super::budget::Budget;
use super::table::Table;
use crate::base::ids::{RoomName, Seq};
use crate::base::limits::STALLED_OUTBOX_DIVISOR;

pub use self::flush::Flushed;
use self::flush::Merged;

/// What a queued `gap` is charged with.
const GAP_BYTES: usize = 64;

/// Marks the end of a chain and an empty place.
const NONE: u32 = u32::MAX;

/// Tells a node's item that is a gap from one that is a frame.
const GAP_BIT: u32 = 1 << 31;

/// What a frame is to its room: decides what the policies `skip` and `latest` may do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The answer to the opening handshake: whatever else is dropped, the connection starts with it.
    Opening,
    /// Belongs to no room's stream: a reply, a control frame, a status. Never dropped once queued.
    Other,
    /// A room's stream starts anew here (`joined`): a gap must not reach across it.
    Start {
        /// The room's stream on this core ([`Audience::stream`](super::audience::Audience::stream)).
        stream: u32,
    },
    /// A room's numbered messages, one or a run.
    Messages {
        /// The room's stream on this core ([`Audience::stream`](super::audience::Audience::stream)).
        stream: u32,
        /// The number of the first.
        from: Seq,
        /// The number of the last.
        to: Seq,
    },
}

#[derive(Debug)]
struct Frame {
    bytes: Bytes,
    /// Queues it stands in.
    references: u32,
    /// WebSocket messages in `bytes`.
    messages: u32,
    role: Role,
}

#[derive(Debug)]
struct Gap {
    stream: u32,
    room: RoomName,
    from: Seq,
    to: Seq,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    item: u32,
    next: u32,
}

/// One connection's queue.
#[derive(Debug)]
struct Outbox {
    head: u32,
    tail: u32,
    /// Queued and in flight.
    bytes: u32,
    /// In flight: handed to the kernel and not yet taken whole. 0: none.
    sending: u32,
    /// Stands in the list of outboxes to flush.
    dirty: bool,
}

impl Default for Outbox {
    fn default() -> Self {
        Self { head: NONE, tail: NONE, bytes: 0, sending: 0, dirty: false }
    }
}

/// A frame to be queued.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Finished server frames.
    pub bytes: Bytes,
    /// How many messages they are; control frames do not count.
    pub messages: u32,
    /// What it is to its room.
    pub role: Role,
}

impl Outgoing {
    /// A room's message by itself.
    #[must_use]
    pub fn message(stream: u32, seq: Seq, bytes: Bytes) -> Self {
        Self { bytes, messages: 1, role: Role::Messages { stream, from: seq, to: seq } }
    }
}

/// All outboxes of a core.
#[derive(Debug)]
pub struct Outboxes {
    outboxes: Table<Outbox>,
    nodes: Vec<Node>,
    free_nodes: u32,
    frames: Vec<Option<Frame>>,
    free_frames: Vec<u32>,
    gaps: Vec<Option<Gap>>,
    free_gaps: Vec<u32>,
    dirty: Vec<u32>,
    merged: Merged,
    bytes_max: usize,
    /// What may wait for a connection that has not taken what it was sent.
    stalled_bytes_max: usize,
}

impl Outboxes {
    /// No connections; each may have `bytes_max` waiting.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            outboxes: Table::new(),
            nodes: Vec::new(),
            free_nodes: NONE,
            frames: Vec::new(),
            free_frames: Vec::new(),
            gaps: Vec::new(),
            free_gaps: Vec::new(),
            dirty: Vec::new(),
            merged: Merged::default(),
            bytes_max,
            stalled_bytes_max: bytes_max,
        }
    }

    /// Another bound, for what is queued from now on.
    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        (self.bytes_max, self.stalled_bytes_max) = (bytes_max, bytes_max);
    }

    /// While memory is short, connections that have not taken what they were sent are given a part of the bound only.
    pub fn set_short_of_memory(&mut self, is_short: bool) {
        self.stalled_bytes_max = if is_short { self.bytes_max / STALLED_OUTBOX_DIVISOR } else { self.bytes_max };
    }

    /// Makes sure that the slot has an outbox.
    pub fn reach(&mut self, slot: u32) {
        self.outboxes.reach(slot);
    }

    /// Bytes that wait for a connection, in flight included.
    #[must_use]
    pub fn bytes(&self, slot: u32) -> usize {
        self.outboxes.at(slot).bytes as usize
    }

    /// Whether nothing waits for a connection and nothing is in flight.
    #[must_use]
    pub fn is_empty(&self, slot: u32) -> bool {
        let outbox = self.outboxes.at(slot);
        outbox.head == NONE && outbox.sending == 0
    }

    /// Whether a send is under way.
    #[must_use]
    pub fn is_sending(&self, slot: u32) -> bool {
        self.outboxes.at(slot).sending > 0
    }

    /// Whether something waits for a connection that is not in flight yet.
    #[must_use]
    pub fn has_queued(&self, slot: u32) -> bool {
        self.outboxes.at(slot).head != NONE
    }

    /// Whether `bytes` more would be over the bound. A connection for which nothing waits takes any one frame.
    #[must_use]
    pub fn is_full_for(&self, slot: u32, bytes: usize) -> bool {
        let outbox = self.outboxes.at(slot);
        let waiting = outbox.bytes as usize;
        let max = if outbox.sending > 0 { self.stalled_bytes_max } else { self.bytes_max };
        waiting > 0 && waiting + bytes > max
    }

    /// Queues a frame for one connection; nothing is checked but what `u32` holds.
    pub fn push(&mut self, slot: u32, outgoing: Outgoing, budget: &mut Budget) {
        let len = outgoing.bytes.len();
        let frame = self.add_frame(outgoing, budget);
        self.frame_mut(frame).references = 1;
        self.append(slot, frame, len);
    }

    /// Queues one frame for many connections but `except`. Those that are full are added to `full` instead.
    /// Returns for how many it was queued, and the frame's index (valid while it is queued somewhere).
    pub fn push_all(
        &mut self,
        slots: &[u32],
        except: Option<u32>,
        outgoing: Outgoing,
        full: &mut Vec<u32>,
        budget: &mut Budget,
    ) -> u32 {
        let len = outgoing.bytes.len();
        let frame = self.add_frame(outgoing, budget);
        let mut queued = 0;
        for &slot in slots {
            if Some(slot) == except {
                continue;
            }
            if self.is_full_for(slot, len) {
                full.push(slot);
            } else {
                self.append(slot, frame, len);
                queued += 1;
            }
        }
        self.frame_mut(frame).references = queued;
        if queued == 0 {
            self.remove_frame(frame, budget);
        }
        queued
    }

    /// Queues a `gap` for one connection, whatever waits: there is at most one for each room and stretch.
    pub fn push_gap(&mut self, slot: u32, stream: u32, room: &RoomName, from: Seq, to: Seq) {
        let item = self.add_gap(Gap { stream, room: room.clone(), from, to });
        self.append(slot, item, GAP_BYTES);
    }

    /// Makes room for message `seq` of `stream` by dropping that room's oldest queued messages (all of them if
    /// `latest`), each run told by one gap in its place; then queues the message, or notes it as missing too if the
    /// room's messages were not what filled the outbox. Returns how many messages were dropped.
    pub fn push_dropping(
        &mut self,
        slot: u32,
        (stream, room, seq): (u32, &RoomName, Seq),
        bytes: Bytes,
        latest: bool,
        budget: &mut Budget,
    ) -> u64 {
        let len = bytes.len();
        let target = self.kept_by(latest, len);
        let (mut dropped, last_gap) = self.drop_messages(slot, stream, room, target, budget);
        if self.is_full_for(slot, len) {
            dropped += 1;
            match last_gap {
                Some(gap) => self.gap_mut(gap).to = seq,
                None => self.push_gap(slot, stream, room, seq, seq),
            }
        } else {
            self.push(slot, Outgoing::message(stream, seq, bytes), budget);
        }
        dropped
    }

    /// Makes room for `bytes` of another kind by dropping a room's oldest queued messages (all of them if `latest`), each
    /// run told by one gap in its place. Returns how many messages were dropped.
    pub fn make_room(
        &mut self,
        slot: u32,
        (stream, room): (u32, &RoomName),
        bytes: usize,
        latest: bool,
        budget: &mut Budget,
    ) -> u64 {
        self.drop_messages(slot, stream, room, self.kept_by(latest, bytes), budget).0
    }

    /// Bytes that may stay queued when room for `bytes` is made. A quarter is freed at once, so that a stuck reader costs
    /// a walk of its queue only every so many messages.
    fn kept_by(&self, latest: bool, bytes: usize) -> usize {
        if latest { 0 } else { (self.bytes_max - self.bytes_max / 4).saturating_sub(bytes) }
    }

    /// Drops queued messages of `stream`, oldest first, while more than `target` bytes wait. Returns how many, and
    /// the gap that ends the room's queued stream, if it now ends in one.
    fn drop_messages(
        &mut self,
        slot: u32,
        stream: u32,
        room: &RoomName,
        target: usize,
        budget: &mut Budget,
    ) -> (u64, Option<u32>) {
        let (mut dropped, mut gap, mut previous) = (0, None, NONE);
        let mut node = self.outboxes.at(slot).head;
        while node != NONE {
            let Node { item, next } = self.nodes[node as usize];
            let (seqs, is_start, bytes) = self.stream_item(item, stream);
            let enough = self.outboxes.at(slot).bytes as usize <= target;
            match (seqs, gap) {
                (None, _) if is_start => gap = None,
                (None, _) => {}
                // What is kept ends the run: a later gap stands behind it.
                (Some(_), _) if enough && item & GAP_BIT == 0 => gap = None,
                (Some(_), None) if item & GAP_BIT != 0 => gap = Some(item & !GAP_BIT),
                (Some((from, to)), None) => {
                    self.release(item, budget);
                    let new = self.add_gap(Gap { stream, room: room.clone(), from, to });
                    self.nodes[node as usize].item = new;
                    gap = Some(new & !GAP_BIT);
                    self.uncharge(slot, bytes);
                    self.outboxes.at_mut(slot).bytes += GAP_BYTES as u32;
                    dropped += to + 1 - from;
                }
                (Some((from, to)), Some(open)) => {
                    dropped += if item & GAP_BIT == 0 { to + 1 - from } else { 0 };
                    self.release(item, budget);
                    self.gap_mut(open).to = to;
                    self.uncharge(slot, bytes);
                    self.unlink(slot, previous, node);
                    node = next;
                    continue;
                }
            }
            previous = node;
            node = next;
        }
        (dropped, gap)
    }

    /// What a queued item is to the stream of `stream`: the seqs it stands for, whether it starts the stream anew,
    /// and its bytes.
    fn stream_item(&self, item: u32, stream: u32) -> (Option<(Seq, Seq)>, bool, usize) {
        if item & GAP_BIT != 0 {
            let gap = self.gaps[(item & !GAP_BIT) as usize].as_ref().expect("a node refers to it");
            return ((gap.stream == stream).then_some((gap.from, gap.to)), false, GAP_BYTES);
        }
        let frame = self.frame(item);
        match frame.role {
            Role::Messages { stream: of, from, to } if of == stream => (Some((from, to)), false, frame.bytes.len()),
            Role::Start { stream: of } if of == stream => (None, true, frame.bytes.len()),
            _ => (None, false, frame.bytes.len()),
        }
    }

    /// The kernel has taken what was in flight. Returns whether nothing waits any more.
    pub fn sent(&mut self, slot: u32) -> bool {
        let outbox = self.outboxes.at_mut(slot);
        outbox.bytes -= outbox.sending;
        outbox.sending = 0;
        if outbox.head == NONE {
            return true;
        }
        if !outbox.dirty {
            outbox.dirty = true;
            self.dirty.push(slot);
        }
        false
    }

    /// Drops what is queued for a connection and not in flight, but an answer to the opening handshake.
    pub fn drop_queued(&mut self, slot: u32, budget: &mut Budget) {
        let head = self.outboxes.at(slot).head;
        if head == NONE {
            return;
        }
        let Node { item, next } = self.nodes[head as usize];
        if item & GAP_BIT != 0 || self.frame(item).role != Role::Opening {
            self.drop_chain(head, budget);
            let outbox = self.outboxes.at_mut(slot);
            (outbox.head, outbox.tail, outbox.bytes) = (NONE, NONE, outbox.sending);
            return;
        }
        let opening_bytes = self.frame(item).bytes.len() as u32;
        self.drop_chain(next, budget);
        self.nodes[head as usize].next = NONE;
        let outbox = self.outboxes.at_mut(slot);
        (outbox.tail, outbox.bytes) = (head, outbox.sending + opening_bytes);
    }

    fn drop_chain(&mut self, mut node: u32, budget: &mut Budget) {
        while node != NONE {
            let Node { item, next } = self.nodes[node as usize];
            self.release(item, budget);
            self.free_node(node);
            node = next;
        }
    }

    /// Forgets a connection: drops what is queued and no longer expects [`Outboxes::sent`].
    pub fn clear(&mut self, slot: u32, budget: &mut Budget) {
        self.drop_chain(self.outboxes.at(slot).head, budget);
        let outbox = self.outboxes.at_mut(slot);
        (outbox.head, outbox.tail, outbox.bytes, outbox.sending) = (NONE, NONE, 0, 0);
    }

    /// Whether any outbox has something to hand out.
    #[must_use]
    pub fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    fn append(&mut self, slot: u32, item: u32, len: usize) {
        let node = self.new_node(item);
        let outbox = self.outboxes.at_mut(slot);
        if outbox.head == NONE {
            outbox.head = node;
        } else {
            self.nodes[outbox.tail as usize].next = node;
        }
        outbox.tail = node;
        outbox.bytes += len as u32;
        if !outbox.dirty && outbox.sending == 0 {
            outbox.dirty = true;
            self.dirty.push(slot);
        }
    }

    fn pop(&mut self, slot: u32) -> u32 {
        let outbox = self.outboxes.at_mut(slot);
        let node = outbox.head;
        let Node { item, next } = self.nodes[node as usize];
        outbox.head = next;
        if next == NONE {
            outbox.tail = NONE;
        }
        self.free_node(node);
        item
    }

    fn unlink(&mut self, slot: u32, previous: u32, node: u32) {
        let next = self.nodes[node as usize].next;
        let outbox = self.outboxes.at_mut(slot);
        if previous == NONE {
            outbox.head = next;
        } else {
            self.nodes[previous as usize].next = next;
        }
        if next == NONE {
            outbox.tail = previous;
        }
        self.free_node(node);
    }

    fn uncharge(&mut self, slot: u32, bytes: usize) {
        self.outboxes.at_mut(slot).bytes -= bytes as u32;
    }

    fn new_node(&mut self, item: u32) -> u32 {
        let node = Node { item, next: NONE };
        if self.free_nodes == NONE {
            self.nodes.push(node);
            return (self.nodes.len() - 1) as u32;
        }
        let index = self.free_nodes;
        self.free_nodes = self.nodes[index as usize].next;
        self.nodes[index as usize] = node;
        index
    }

    fn free_node(&mut self, node: u32) {
        self.nodes[node as usize].next = self.free_nodes;
        self.free_nodes = node;
    }

    fn add_gap(&mut self, gap: Gap) -> u32 {
        if let Some(index) = self.free_gaps.pop() {
            self.gaps[index as usize] = Some(gap);
            return index | GAP_BIT;
        }
        self.gaps.push(Some(gap));
        (self.gaps.len() - 1) as u32 | GAP_BIT
    }

    fn gap_mut(&mut self, index: u32) -> &mut Gap {
        self.gaps[index as usize].as_mut().expect("a node refers to it")
    }

    fn remove_gap(&mut self, index: u32) -> Gap {
        self.free_gaps.push(index);
        self.gaps[index as usize].take().expect("removed once")
    }

    fn add_frame(&mut self, outgoing: Outgoing, budget: &mut Budget) -> u32 {
        budget.charge(outgoing.bytes.len());
        let Outgoing { bytes, messages, role } = outgoing;
        let frame = Some(Frame { bytes, references: 0, messages, role });
        if let Some(index) = self.free_frames.pop() {
            self.frames[index as usize] = frame;
            return index;
        }
        self.frames.push(frame);
        (self.frames.len() - 1) as u32
    }

    fn frame(&self, index: u32) -> &Frame {
        self.frames[index as usize].as_ref().expect("a node or its maker refers to it")
    }

    fn frame_mut(&mut self, index: u32) -> &mut Frame {
        self.frames[index as usize].as_mut().expect("a node or its maker refers to it")
    }

    fn remove_frame(&mut self, index: u32, budget: &mut Budget) -> Frame {
        let frame = self.frames[index as usize].take().expect("removed once");
        budget.release(frame.bytes.len());
        self.free_frames.push(index);
        frame
    }

    fn drop_reference(&mut self, index: u32, budget: &mut Budget) {
        let frame = self.frame_mut(index);
        frame.references -= 1;
        if frame.references == 0 {
            self.remove_frame(index, budget);
        }
    }

    /// Gives up one reference for the frame's bytes; the last one takes them without counting.
    fn take_reference(&mut self, index: u32, budget: &mut Budget) -> (Bytes, u32) {
        let frame = self.frame_mut(index);
        if frame.references > 1 {
            frame.references -= 1;
            return (frame.bytes.clone(), frame.messages);
        }
        let frame = self.remove_frame(index, budget);
        (frame.bytes, frame.messages)
    }

    fn release(&mut self, item: u32, budget: &mut Budget) {
        if item & GAP_BIT == 0 {
            self.drop_reference(item, budget);
        } else {
            self.remove_gap(item & !GAP_BIT);
        }
    }
}
