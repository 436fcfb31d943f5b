//! Backlogs of slow readers. Beside the queue, which keeps its order and drops nothing, a connection has a backlog for
//! each room whose messages exceed the queue. Everything that the room sends to the connection then goes through that
//! backlog, which keeps the room's order. Rooms take turns as the connection reads. So the policies that drop a room's
//! oldest messages, or all but the newest, never search for them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::items::{Gap, Item, Items};
use super::queue::{DIRTY, LAGS, Queues};
use super::{Encoder, NONE, Outboxes, Outgoing, Role};
use crate::base::ids::{RoomName, Seq};
use crate::base::limits::{BACKLOG_BYTES, OUTBOX_PLACE_BYTES, SEND_BYTES_MAX, SEND_FRAMES_MAX};
use crate::engine::budget::Budget;
use crate::engine::settings::SlowPolicy;
use crate::engine::table;
use crate::wire::publication::Publication;

/// One room's backlog for one connection.
#[derive(Debug)]
struct Backlog {
    policy: SlowPolicy,
    /// Seqs dropped before the first item. A `gap` for them goes out before it.
    gap: Option<(Seq, Seq)>,
    items: VecDeque<u32>,
    /// Number of items that may be dropped.
    droppable: u32,
}

/// Everything queued for one connection beside its queue.
#[derive(Debug, Default)]
pub(super) struct Lag {
    rooms: BTreeMap<RoomName, Backlog>,
    /// The room that had the last turn.
    turn: Option<RoomName>,
    /// Bytes counted for everything here.
    bytes: usize,
    /// Bytes of it that policies may drop.
    droppable: usize,
    /// The last frame: goes out after everything else.
    last: Vec<u32>,
}

/// The backlogs of a core, for connections that have one.
pub(super) type Lags = HashMap<u32, Box<Lag>, FixedState>;

/// A room, as backlogs need it.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The room's name.
    pub room: &'a RoomName,
    /// The policy for a full outbox.
    pub policy: SlowPolicy,
}

/// The outcome of a drop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relief {
    /// Messages dropped.
    pub dropped: u64,
    /// Nothing more may be dropped, but the outbox still exceeds its bound.
    pub is_over: bool,
}

impl Outboxes {
    /// Puts a frame from [`Outboxes::add`] into a room's backlog.
    pub fn hold(&mut self, slot: u32, source: Source<'_>, frame: u32, budget: &mut Budget) {
        self.items.frame_mut(frame).references += 1;
        self.hold_item(slot, source, frame, budget);
    }

    /// Puts publications, if there are any, into a room's backlog. They go out as single messages.
    pub fn replay(&mut self, slot: u32, source: Source<'_>, messages: Vec<Arc<Publication>>, budget: &mut Budget) {
        if !messages.is_empty() {
            let item = self.items.add_replay(messages, budget);
            self.hold_item(slot, source, item, budget);
        }
    }

    /// Whether a room has a backlog. If so, everything the room sends must go through it.
    #[must_use]
    pub fn is_behind(&self, slot: u32, room: &str) -> bool {
        self.queues.at(slot).has(LAGS) && self.lags.get(&slot).is_some_and(|lag| lag.rooms.contains_key(room))
    }

    pub(super) fn hold_item(&mut self, slot: u32, source: Source<'_>, item: u32, budget: &mut Budget) {
        let cost = self.items.cost(item);
        let lag = self.lags.entry(slot).or_insert_with(|| {
            budget.charge(BACKLOG_BYTES);
            Box::default()
        });
        if !lag.rooms.contains_key(source.room) {
            budget.charge(BACKLOG_BYTES);
            let backlog = Backlog { policy: source.policy, gap: None, items: VecDeque::new(), droppable: 0 };
            lag.rooms.insert(source.room.clone(), backlog);
        }
        let backlog = lag.rooms.get_mut(source.room).expect("there now");
        budget.charge(OUTBOX_PLACE_BYTES);
        backlog.items.push_back(item);
        lag.bytes += cost;
        if backlog.may_drop(&self.items, item) {
            backlog.droppable += 1;
            lag.droppable += cost;
        }
        let outbox = self.queues.at_mut(slot);
        outbox.flags |= LAGS;
        if outbox.sending == NONE && !outbox.has(DIRTY) {
            self.queues.note_dirty(slot);
        }
    }

    /// Bytes in a connection's backlogs.
    pub(super) fn lag_bytes(&self, slot: u32) -> usize {
        if self.queues.at(slot).has(LAGS) { self.lags.get(&slot).map_or(0, |lag| lag.bytes) } else { 0 }
    }

    /// Connections whose outbox exceeds its bound and whose send has been in flight for too long.
    pub fn find_slow(&self, near_budget: bool, slow: &mut Vec<u32>) {
        slow.extend(self.lags.keys().copied().filter(|slot| self.is_slow(*slot, near_budget)));
        slow.sort_unstable();
    }

    /// Drops from a slow connection's outbox what this room's policy allows; if that is nothing, what the policies of
    /// the other rooms allow.
    pub fn relieve(&mut self, slot: u32, source: Source<'_>, budget: &mut Budget) -> Relief {
        if source.policy == SlowPolicy::Disconnect {
            return self.relieve_all(slot, budget);
        }
        let dropped = self.drop_some(slot, source.room, budget);
        Relief { dropped, is_over: self.bytes(slot) > self.bytes_max }
    }

    /// Drops from a slow connection's outbox what the policies of all rooms allow, as far as necessary.
    pub fn relieve_all(&mut self, slot: u32, budget: &mut Budget) -> Relief {
        let mut dropped = 0;
        if let Some(lag) = self.lags.get(&slot).filter(|lag| lag.droppable > 0) {
            let may_drop = |(_, backlog): &(&RoomName, &Backlog)| backlog.policy != SlowPolicy::Disconnect;
            let rooms: Vec<RoomName> = lag.rooms.iter().filter(may_drop).map(|(room, _)| room.clone()).collect();
            for room in rooms {
                dropped += self.drop_some(slot, &room, budget);
            }
        }
        Relief { dropped, is_over: self.bytes(slot) > self.bytes_max }
    }

    /// A room in the connection's backlog whose policy drops nothing.
    #[must_use]
    pub fn undroppable(&self, slot: u32) -> Option<RoomName> {
        let lag = self.lags.get(&slot)?;
        let found = lag.rooms.iter().find(|(_, backlog)| backlog.policy == SlowPolicy::Disconnect);
        found.map(|(room, _)| room.clone())
    }

    /// Drops what a room's policy allows while the outbox exceeds its bound. Returns the number of messages dropped.
    fn drop_some(&mut self, slot: u32, room: &RoomName, budget: &mut Budget) -> u64 {
        let Self { queues, items, lags, bytes_max, .. } = self;
        let Some(lag) = lags.get_mut(&slot) else { return 0 };
        let Lag { rooms, bytes, droppable, .. } = &mut **lag;
        let Some(backlog) = rooms.get_mut(room) else { return 0 };
        let mut dropped = 0;
        while queues.at(slot).bytes as usize + *bytes > *bytes_max
            && let Some(&item) = backlog.items.front()
        {
            let kept = u32::from(backlog.policy == SlowPolicy::Latest && !items.is_run_of_replayed(item));
            if backlog.droppable <= kept {
                break;
            }
            let cost = items.cost(item);
            if !backlog.may_drop(items, item) {
                // A reply, or the start of a new numbering: gaps before it must be reported before it.
                tell_gap(backlog, room, slot, queues, items, budget);
                backlog.items.pop_front();
                *bytes -= cost;
                queues.append(slot, item, cost);
                continue;
            }
            *droppable -= cost;
            *bytes -= cost;
            let (missed, is_last) = drop_one(items, item, &mut backlog.gap, budget);
            dropped += missed;
            if is_last {
                backlog.items.pop_front();
                backlog.droppable -= 1;
                budget.release(OUTBOX_PLACE_BYTES);
            } else {
                let left = items.cost(item);
                *droppable += left;
                *bytes += left;
            }
        }
        dropped
    }

    /// Moves items from the rooms' backlogs into the queue of a connection that takes them, up to one send.
    pub(super) fn refill(&mut self, slot: u32, encoder: &mut impl Encoder, budget: &mut Budget) {
        let Self { queues, items, lags, merged, .. } = self;
        let Some(lag) = lags.get_mut(&slot) else { return };
        let mut count = 0;
        let mut has_room = |queues: &Queues| {
            count += 1;
            let outbox = queues.at(slot);
            outbox.head == NONE || ((outbox.bytes as usize) < SEND_BYTES_MAX && count <= SEND_FRAMES_MAX)
        };
        while has_room(queues)
            && let Some((room, backlog)) = next_turn(&mut lag.rooms, lag.turn.as_ref())
        {
            let room = room.clone();
            tell_gap(backlog, &room, slot, queues, items, budget);
            while let Some(&item) = backlog.items.front() {
                let cost = items.cost(item);
                let may_drop = backlog.may_drop(items, item);
                lag.bytes -= cost;
                lag.droppable -= if may_drop { cost } else { 0 };
                if let Item::Replay(_) = items.get(item) {
                    let next = items.next_replayed(item, budget);
                    if let Some(message) = next {
                        let bytes = encoder.message(slot, &room, &message);
                        let role = Role::Messages { from: message.seq };
                        // See `Outboxes::add`.
                        merged.items.clear();
                        let frame = items.add_frame(Outgoing { bytes, messages: 1, role }, budget);
                        budget.charge(OUTBOX_PLACE_BYTES);
                        queues.append(slot, frame, items.cost(frame));
                    }
                    if items.is_replayed(item) {
                        items.release(item, budget);
                        budget.release(OUTBOX_PLACE_BYTES);
                        backlog.items.pop_front();
                        backlog.droppable -= u32::from(may_drop);
                    } else {
                        let left = items.cost(item);
                        lag.bytes += left;
                        lag.droppable += if may_drop { left } else { 0 };
                    }
                } else {
                    backlog.items.pop_front();
                    backlog.droppable -= u32::from(may_drop);
                    queues.append(slot, item, cost);
                }
                if !has_room(queues) {
                    break;
                }
            }
            if backlog.items.is_empty() {
                lag.rooms.remove(&room);
                budget.release(BACKLOG_BYTES);
            }
            lag.turn = Some(room);
        }
        if lag.rooms.is_empty() {
            for item in std::mem::take(&mut lag.last) {
                queues.append(slot, item, items.cost(item));
            }
            self.forget_lag(slot, budget);
        }
    }

    /// Queues a frame that goes out after everything else.
    pub fn push_last(&mut self, slot: u32, outgoing: Outgoing, budget: &mut Budget) {
        let Some(lag) = self.lags.get_mut(&slot) else { return self.push(slot, outgoing, budget) };
        budget.charge(OUTBOX_PLACE_BYTES);
        let item = self.items.add_frame(outgoing, budget);
        lag.last.push(item);
    }

    /// Drops a connection's backlogs.
    pub fn drop_backlog(&mut self, slot: u32, budget: &mut Budget) {
        let Some(lag) = self.lags.get_mut(&slot) else { return };
        let rooms = std::mem::take(&mut lag.rooms);
        budget.release(rooms.len() * BACKLOG_BYTES);
        let last = std::mem::take(&mut lag.last);
        for item in rooms.into_values().flat_map(|backlog| backlog.items).chain(last) {
            self.items.release(item, budget);
            budget.release(OUTBOX_PLACE_BYTES);
        }
        self.forget_lag(slot, budget);
    }

    fn forget_lag(&mut self, slot: u32, budget: &mut Budget) {
        self.lags.remove(&slot);
        budget.release(BACKLOG_BYTES);
        self.queues.at_mut(slot).flags &= !LAGS;
        table::shrink(&mut self.lags);
    }
}

impl Backlog {
    /// Whether the room's policy may drop it: messages may be dropped, replies may not.
    fn may_drop(&self, items: &Items, item: u32) -> bool {
        let is_kept = matches!(items.get(item), Item::Frame(frame) if !frame.role.is_message());
        self.policy != SlowPolicy::Disconnect && !is_kept
    }
}

impl Lag {
    /// Items have moved; `moved` has their new places.
    pub fn renumber(&mut self, moved: &[u32]) {
        let waiting = self.rooms.values_mut().flat_map(|backlog| backlog.items.iter_mut());
        for item in waiting.chain(&mut self.last) {
            *item = moved[*item as usize];
        }
    }
}

/// The room whose turn it is: the one after the room that had the last turn.
fn next_turn<'a>(
    rooms: &'a mut BTreeMap<RoomName, Backlog>,
    last: Option<&RoomName>,
) -> Option<(&'a RoomName, &'a mut Backlog)> {
    let after = last.map_or(Bound::Unbounded, Bound::Excluded);
    let from = match rooms.range::<RoomName, _>((after, Bound::Unbounded)).next() {
        Some((room, _)) => room.clone(),
        None => rooms.keys().next()?.clone(),
    };
    rooms.range_mut::<RoomName, _>(from..).next()
}

/// Queues the gap before the rest of a room's backlog, if there is one.
fn tell_gap(
    backlog: &mut Backlog,
    room: &RoomName,
    slot: u32,
    queues: &mut Queues,
    items: &mut Items,
    budget: &mut Budget,
) {
    if let Some((from, to)) = backlog.gap.take() {
        let gap = items.add_gap(Gap { room: room.clone(), from, to }, budget);
        budget.charge(OUTBOX_PLACE_BYTES);
        queues.append(slot, gap, items.cost(gap));
    }
}

/// Drops an item, or the first message of a replay, and adds it to the gap before it. Returns the number of messages,
/// and whether nothing is left of the item.
fn drop_one(items: &mut Items, item: u32, gap: &mut Option<(Seq, Seq)>, budget: &mut Budget) -> (u64, bool) {
    let mut miss = |from: Seq, to: Seq| *gap = Some((gap.map_or(from, |(from, _)| from), to));
    match items.get(item) {
        Item::Replay(_) => {
            if let Some(message) = items.next_replayed(item, budget) {
                miss(message.seq, message.seq);
            }
            let is_over = items.is_replayed(item);
            if is_over {
                items.release(item, budget);
            }
            (1, is_over)
        }
        Item::Gap(told) => {
            miss(told.from, told.to);
            items.release(item, budget);
            (0, true)
        }
        Item::Frame(frame) => {
            let messages = u64::from(frame.messages);
            if let Role::Messages { from } = frame.role {
                miss(from, from + messages - 1);
            }
            items.release(item, budget);
            (messages, true)
        }
    }
}
