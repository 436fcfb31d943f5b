//! Keeps what rooms say to connections that lag in backlogs, drops of it what the slow policies let go of, and refills the
//! queues from it. Never drops what is queued.

use std::collections::VecDeque;
use std::sync::Arc;

use super::backlog::{Backlog, Lag, Relief, Source, drop_one, next_turn, tell_gap};
use super::flush::Encoder;
use super::items::{Item, NONE};
use super::outboxes::Outboxes;
use super::outgoing::{Outgoing, Role};
use super::queue::{DIRTY, LAGS, Queues};
use crate::base::ids::RoomName;
use crate::base::limits::{BACKLOG_BYTES, OUTBOX_PLACE_BYTES, SEND_BYTES_MAX, SEND_FRAMES_MAX};
use crate::engine::budget::Budget;
use crate::engine::settings::SlowPolicy;
use crate::engine::table;
use crate::wire::publication::Publication;

impl Outboxes {
    /// Puts a frame made by [`Outboxes::add`] into a room's backlog.
    pub fn hold(&mut self, slot: u32, source: Source<'_>, frame: u32, budget: &mut Budget) {
        self.items.frame_mut(frame).references += 1;
        self.hold_item(slot, source, frame, budget);
    }

    /// Puts publications, if there are any, into a room's backlog: they follow as messages of their own.
    pub fn replay(&mut self, slot: u32, source: Source<'_>, messages: Vec<Arc<Publication>>, budget: &mut Budget) {
        if !messages.is_empty() {
            let item = self.items.add_replay(messages, budget);
            self.hold_item(slot, source, item, budget);
        }
    }

    /// Whether something of a room waits in its backlog: then all that the room says has to.
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

    /// Bytes of what waits for a connection beside its queue.
    pub(super) fn lag_bytes(&self, slot: u32) -> usize {
        if self.queues.at(slot).has(LAGS) { self.lags.get(&slot).map_or(0, |lag| lag.bytes) } else { 0 }
    }

    /// Connections whose outbox is over its bound and who have not taken what they were offered.
    pub fn find_slow(&self, near_budget: bool, slow: &mut Vec<u32>) {
        slow.extend(self.lags.keys().copied().filter(|slot| self.is_slow(*slot, near_budget)));
        slow.sort_unstable();
    }

    /// Drops of a slow connection's outbox what the policy of this room lets go of; where that is nothing, what those of
    /// the other rooms do.
    pub fn relieve(&mut self, slot: u32, source: Source<'_>, budget: &mut Budget) -> Relief {
        if source.policy == SlowPolicy::Disconnect {
            return self.relieve_all(slot, budget);
        }
        let dropped = self.drop_some(slot, source.room, budget);
        Relief { dropped, is_over: self.bytes(slot) > self.bytes_max }
    }

    /// Drops of a slow connection's outbox what may be dropped of any room, as far as it must be.
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

    /// The room of a connection's backlog that drops nothing.
    #[must_use]
    pub fn undroppable(&self, slot: u32) -> Option<RoomName> {
        let lag = self.lags.get(&slot)?;
        let found = lag.rooms.iter().find(|(_, backlog)| backlog.policy == SlowPolicy::Disconnect);
        found.map(|(room, _)| room.clone())
    }

    /// Drops of a room what its policy says while the outbox is over its bound. Returns how many messages.
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
                // A reply, or the room's stream begins anew: what was dropped before it is told before it.
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

    /// Moves what rooms have waiting into the queue of a connection that takes it, as much as goes in one send.
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

    /// Queues what goes out after everything else that waits.
    pub fn push_last(&mut self, slot: u32, outgoing: Outgoing, budget: &mut Budget) {
        let Some(lag) = self.lags.get_mut(&slot) else { return self.push(slot, outgoing, budget) };
        budget.charge(OUTBOX_PLACE_BYTES);
        let item = self.items.add_frame(outgoing, budget);
        lag.last.push(item);
    }

    /// Drops what waits for a connection beside its queue.
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
