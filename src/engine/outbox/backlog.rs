//! Backlogs of slow readers. Beside the queue, which keeps its order and drops nothing, a connection has a backlog for
//! each room whose messages exceed the queue. Everything that the room sends to the connection then goes through that
//! backlog, which keeps the room's order. Rooms take turns as the connection reads. So the policies that drop a room's
//! oldest messages, or all but the newest, never search for them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;

use foldhash::fast::FixedState;

use super::items::{Gap, Item, Items};
use super::outgoing::Role;
use super::queue::Queues;
use crate::base::ids::{RoomName, Seq};
use crate::base::limits::OUTBOX_PLACE_BYTES;
use crate::engine::budget::Budget;
use crate::engine::settings::SlowPolicy;

/// One room's backlog for one connection.
#[derive(Debug)]
pub(super) struct Backlog {
    pub policy: SlowPolicy,
    /// Dropped before the first item: to be told before it.
    pub gap: Option<(Seq, Seq)>,
    pub items: VecDeque<u32>,
    /// How many of them may be dropped.
    pub droppable: u32,
}

/// Everything queued for one connection beside its queue.
#[derive(Debug, Default)]
pub(super) struct Lag {
    pub rooms: BTreeMap<RoomName, Backlog>,
    /// The room that had the last turn.
    pub turn: Option<RoomName>,
    /// What everything here counts for.
    pub bytes: usize,
    /// The part of it that rooms may drop.
    pub droppable: usize,
    /// Goes out after everything else.
    pub last: Vec<u32>,
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

impl Backlog {
    /// Whether the room's policy may drop it: its messages, not what it answers.
    pub fn may_drop(&self, items: &Items, item: u32) -> bool {
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

/// The room whose turn it is: the one after the room that had the last.
pub(super) fn next_turn<'a>(
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

/// Queues the gap before what is left of a room, if there is one.
pub(super) fn tell_gap(
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

/// Drops an item, or the first message of a replay, into the gap before it. Returns how many messages, and whether
/// nothing is left of it.
pub(super) fn drop_one(items: &mut Items, item: u32, gap: &mut Option<(Seq, Seq)>, budget: &mut Budget) -> (u64, bool) {
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
