//! One core's turn, exactly as the engine's contract says: inputs in any order that keeps each source's own, then the
//! output carried out (sends, shutdowns, closes), then the staged hops into the lanes.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};

use roomring::base::ids::CoreId;
use roomring::base::limits::{
    BACKLOG_BYTES, HEAD_BYTES_MAX, HISTORY_ENTRY_BYTES, JOINED_BYTES_MAX, LANE_HOPS_MAX, OUTBOX_ITEM_BYTES,
    PAGE_OUTBOX_DIVISOR, REPLAYED_BYTES, ROOM_BYTES, SEND_PART_BYTES_MAX,
};
use roomring::engine::input::Input;
use roomring::engine::output::Output;
use roomring::engine::settings::{KeepingMode, NumberingMode};

use super::super::link::CoreAt;
use super::super::node::{Batch, FromSocket};
use super::super::profile::Mode;
use super::{Event, Part, World};

/// Where an input comes from.
#[derive(Clone, Copy)]
enum Source {
    Socket(u32),
    Lane(usize),
    Link,
    Store,
    Tick,
    Drain,
}

/// Most inputs of one turn.
const INPUTS_MAX: u64 = 200;

impl World {
    /// Schedules a turn of a core that has something to do.
    pub(super) fn wake(&mut self, at: CoreAt) {
        let delay_us = self.schedule.below(100);
        let core = &mut self.nodes[at.node].cores[at.core];
        if core.turn_at_us.is_none() {
            let time_us = (self.now_us + delay_us).max(core.stalled_until_us);
            core.turn_at_us = Some(time_us);
            self.at(time_us, Event::Turn(at));
        }
    }

    pub(super) fn tick(&mut self, at: CoreAt) {
        if !self.lives(at) {
            return;
        }
        let core = &mut self.nodes[at.node].cores[at.core];
        if core.tick_at_us == Some(self.now_us) {
            core.tick_at_us = None;
            core.tick = true;
            self.wake(at);
        }
    }

    pub(super) fn turn(&mut self, at: CoreAt) {
        if !self.lives(at) {
            return;
        }
        let core = &mut self.nodes[at.node].cores[at.core];
        if core.stalled_until_us > self.now_us {
            let time_us = core.stalled_until_us;
            core.turn_at_us = Some(time_us);
            return self.at(time_us, Event::Turn(at));
        }
        core.turn_at_us = None;
        let ticked = core.tick;
        let mut output = std::mem::take(&mut core.output);
        self.handle_inputs(at, &mut output);
        self.ask_something(at, &mut output);
        let node = &mut self.nodes[at.node];
        let now = node.now(self.now_us);
        let more = node.cores[at.core].engine.finish_turn(now, &mut output);
        self.carry_out(at, &mut output);
        self.nodes[at.node].cores[at.core].output = output;
        self.send_hops(at);
        self.check_memory(at);
        self.check_connections(at);
        self.schedule_tick(at, ticked);
        if more || self.nodes[at.node].cores[at.core].is_ready(self.now_us) {
            self.wake(at);
        }
    }

    fn handle_inputs(&mut self, at: CoreAt, output: &mut Output) {
        let core = &self.nodes[at.node].cores[at.core];
        let mut sources: Vec<Source> = core.sockets.keys().map(|slot| Source::Socket(*slot)).collect();
        sources.extend((0..core.lanes.len()).map(Source::Lane));
        sources.extend([Source::Link, Source::Store]);
        sources.extend(core.tick.then_some(Source::Tick));
        sources.extend(core.drain.map(|_| Source::Drain));
        for _ in 0..self.schedule.range(1, INPUTS_MAX) {
            while !sources.is_empty() {
                let index = self.schedule.index(sources.len());
                if self.handle_one(at, sources[index], output) {
                    break;
                }
                sources.swap_remove(index);
            }
        }
    }

    /// Hands one input of a source to the engine; whether there was one.
    fn handle_one(&mut self, at: CoreAt, source: Source, output: &mut Output) -> bool {
        let now_us = self.now_us;
        let node = &mut self.nodes[at.node];
        let now = node.now(now_us);
        let core = &mut node.cores[at.core];
        let closes = output.closes.len();
        match source {
            Source::Socket(slot) => {
                if !core.engine.takes_input() {
                    return false;
                }
                let Some(queue) = core.sockets.get_mut(&slot) else { return false };
                let Some(input) = queue.pop_front() else { return false };
                if queue.is_empty() {
                    core.sockets.remove(&slot);
                }
                let disconnected = matches!(input, FromSocket::Disconnected);
                match input {
                    FromSocket::Accepted => {
                        core.engine.handle(now, Input::Accepted { slot, peer: IpAddr::V4(Ipv4Addr::LOCALHOST) }, output)
                    }
                    FromSocket::Bytes(mut bytes) => {
                        core.engine.handle(now, Input::Received { slot, bytes: &mut bytes }, output);
                    }
                    FromSocket::Sent => core.engine.handle(now, Input::Sent { slot }, output),
                    FromSocket::Ended => core.engine.handle(now, Input::Ended { slot }, output),
                    FromSocket::Disconnected => core.engine.handle(now, Input::Disconnected { slot }, output),
                }
                let closed = output.closes[closes..].contains(&slot);
                self.judge.check(closed || !disconnected, || format!("{at:?}: slot {slot} stays after Disconnected"));
            }
            Source::Lane(from) => {
                if !core.engine.takes_hops() {
                    return false;
                }
                let lane = &mut core.lanes[from];
                let Some(batch) = lane.pop_front_if(|batch| batch.ready_us <= now_us) else { return false };
                let mut hops = batch.hops;
                core.engine.handle(now, Input::Hops { from: CoreId(from as u16), hops: &mut hops }, output);
                if !hops.is_empty() {
                    let (ready_us, left) = (batch.ready_us, core.engine.takes_hops());
                    core.lanes[from].push_front(Batch { ready_us, hops });
                    self.judge.check(!left, || format!("{at:?}: hops are left over"));
                }
            }
            Source::Link => {
                let Some(event) = core.link.pop_front() else { return false };
                core.engine.handle(now, Input::Link(event), output);
            }
            Source::Store => {
                let Some(event) = core.store.pop_front() else { return false };
                core.engine.handle(now, Input::Store(event), output);
            }
            Source::Tick => {
                if !std::mem::take(&mut core.tick) {
                    return false;
                }
                core.engine.handle(now, Input::Tick, output);
            }
            Source::Drain => {
                let Some(window_ms) = core.drain.take() else { return false };
                core.engine.handle(now, Input::Drain { window_ms, hands_over: false }, output);
            }
        }
        // io never mentions a slot again once the engine has given it back.
        let core = &mut self.nodes[at.node].cores[at.core];
        for slot in &output.closes[closes..] {
            core.sockets.remove(slot);
        }
        true
    }

    fn carry_out(&mut self, at: CoreAt, output: &mut Output) {
        for send in output.sends.drain(..) {
            self.digest(u64::from(send.slot) << 32 | send.bytes.len() as u64);
            let Some(conn) = self.conn_in(at, send.slot) else {
                return self.judge.fail(|| format!("{at:?}: a send for slot {}, which holds no socket", send.slot));
            };
            let socket = &self.sockets[conn];
            let ended = socket.server_fin || socket.server_said_last;
            let allowed = socket.sending.is_none() && !ended && !send.bytes.is_empty();
            self.judge.check(allowed, || format!("{at:?}: a send for slot {} out of turn", send.slot));
            let bounded = send.bytes.len() <= SEND_PART_BYTES_MAX;
            self.judge.check(bounded, || format!("{at:?}: a send of {} bytes", send.bytes.len()));
            let spoilt = self.cage.as_mut().and_then(|cage| cage.spoil_frames(&send.bytes));
            self.sockets[conn].server_said_last = send.is_last;
            self.sockets[conn].sending = Some((spoilt.map_or(send.bytes, Into::into), 0));
            self.pump(conn);
        }
        for slot in output.shutdowns.drain(..) {
            self.digest(u64::from(slot) | 1 << 40);
            let Some(conn) = self.conn_in(at, slot) else {
                return self.judge.fail(|| format!("{at:?}: a shutdown of slot {slot}, which holds no socket"));
            };
            self.sockets[conn].server_fin = true;
            self.schedule_read(conn);
        }
        for slot in output.closes.drain(..) {
            self.digest(u64::from(slot) | 1 << 41);
            let Some(conn) = self.conn_in(at, slot) else {
                return self.judge.fail(|| format!("{at:?}: slot {slot} is closed, which holds no socket"));
            };
            self.nodes[at.node].cores[at.core].slots[slot as usize] = None;
            self.nodes[at.node].cores[at.core].sockets.remove(&slot);
            self.close_by_server(conn);
        }
        for request in output.link.drain(..) {
            self.judge.note(|| format!("{at:?} -> {request:?}"));
            self.judge.check(self.profile.settings.numbering == NumberingMode::Link, || {
                format!("{request:?} without a link")
            });
            let (ready_us, queue) = self.link.ask(self.now_us, at, request);
            self.at(ready_us, Event::LinkWork(at.node, queue));
        }
        for request in output.store.drain(..) {
            self.judge.note(|| format!("{at:?} -> {request:?}"));
            self.judge
                .check(self.profile.settings.keeping != KeepingMode::None, || format!("{request:?} without a store"));
            let ready_us = match self.profile.mode {
                Mode::LinkedKept => self.database.ask(self.now_us, at, request),
                _ => self.nodes[at.node].store.ask(self.now_us, at, request),
            };
            self.at(ready_us, Event::StoreWork(at));
        }
        self.hear_answers(at, output);
        output.ended.clear();
        output.refused.clear();
        output.spans.clear();
    }

    fn conn_in(&self, at: CoreAt, slot: u32) -> Option<usize> {
        self.nodes[at.node].cores[at.core].slots.get(slot as usize).copied().flatten()
    }

    /// Moves what is staged into the lanes, as far as they take it.
    fn send_hops(&mut self, at: CoreAt) {
        let faults = &self.profile.faults;
        let (delay_us, batches_max) = match self.part {
            Part::Chaos => (faults.lane_delay_us, faults.lane_batches),
            Part::Settle | Part::Goodbye => (0, 256),
        };
        for to in (0..usize::from(self.profile.cores)).filter(|to| *to != at.core) {
            let cores = &mut self.nodes[at.node].cores;
            let to_id = CoreId(to as u16);
            let mut hops = cores[at.core].engine.take_staged(to_id, Vec::new());
            if hops.is_empty() {
                continue;
            }
            let depth = hops.len();
            self.judge.check(depth <= 2 * LANE_HOPS_MAX, || format!("{at:?}: {depth} hops are staged for core {to}"));
            if cores[to].batches() >= batches_max {
                let rest = cores[at.core].engine.put_back(to_id, hops);
                self.judge.check(rest.is_empty(), || format!("{at:?}: put_back keeps something"));
                let after_us = self.lanes.range(50, 2_000);
                self.later(after_us, Event::Lane(at));
                continue;
            }
            if let Some(cage) = &mut self.cage {
                cage.spoil_hops(&mut hops, &self.rooms);
            }
            let delay_us = self.lanes.below(delay_us + 1);
            let lane: &mut VecDeque<Batch> = &mut self.nodes[at.node].cores[to].lanes[at.core];
            let ready_us = lane.back().map_or(0, |batch| batch.ready_us).max(self.now_us + delay_us);
            self.judge.note(|| format!("{at:?} -> core {to}: {} hops {}", hops.len(), brief(&hops)));
            lane.push_back(Batch { ready_us, hops });
            self.at(ready_us, Event::Lane(CoreAt { core: to, ..at }));
        }
    }

    /// What a core holds is bounded by its connections' outboxes and partial messages, and its rooms' histories and keys.
    fn check_memory(&mut self, at: CoreAt) {
        if self.profile.mode != Mode::Memory {
            return;
        }
        let settings = &self.profile.settings;
        let core = &self.nodes[at.node].cores[at.core];
        let sockets = core.slots.iter().flatten().count();
        let frame = self.profile.frame_bytes_max();
        let pages = settings.outbox_bytes / PAGE_OUTBOX_DIVISOR + JOINED_BYTES_MAX;
        let rooms_of_each = 2 * self.rooms.len() * (BACKLOG_BYTES + 8 * 1_000);
        let outbox = settings.outbox_bytes + pages + rooms_of_each + 2 * frame;
        let connections = sockets * (outbox + HEAD_BYTES_MAX + settings.max_message_bytes);
        let room = |name: &String| {
            let count = settings.room(name).history_size;
            ROOM_BYTES + count * (2 * frame + HISTORY_ENTRY_BYTES)
        };
        let rooms: usize = self.rooms.iter().map(room).sum();
        // Whatever was published may still wait for somebody who reads on, in each form, by itself and merged.
        let waiting = self.judge.seen.publishes as usize * (6 * frame + 2 * OUTBOX_ITEM_BYTES + REPLAYED_BYTES);
        // Each publish may leave a key, each client a user present.
        let names = self.judge.seen.publishes as usize * 400 + self.clients.len() * self.rooms.len() * 400;
        let (held, max) = (core.counters.memory_charged.get() as usize, connections + rooms + waiting + names);
        self.judge.check(held <= max, || format!("{at:?} holds {held} bytes for {sockets} sockets, at most {max}"));
    }

    /// All cores of a machine together hold at most as many WebSockets as it may.
    fn check_connections(&mut self, at: CoreAt) {
        let cores = &self.nodes[at.node].cores;
        let open: u64 = cores.iter().map(|core| core.counters.connections.get()).sum();
        let most = u64::from(self.profile.settings.max_connections);
        self.judge.check(open <= most, || format!("node {} holds {open} connections, at most {most}", at.node));
    }

    fn schedule_tick(&mut self, at: CoreAt, ticked: bool) {
        let late_us = if self.part == Part::Chaos { self.profile.faults.tick_late_us } else { 0 };
        let node = &mut self.nodes[at.node];
        let now = node.now(self.now_us);
        let core = &mut node.cores[at.core];
        let Some(wanted_us) = core.engine.next_tick_us(now) else {
            core.tick_at_us = None;
            return;
        };
        // A tick that asks for the next one at once makes a core spin.
        self.spins = if ticked && !core.tick && wanted_us <= now.mono_us { self.spins + 1 } else { 0 };
        let spins = self.spins;
        self.judge.check(spins < 3, || format!("{at:?}: a tick right after a tick, at {wanted_us}"));
        let due_us = (node.started_us + wanted_us).max(self.now_us);
        if core.tick || core.tick_at_us.is_some_and(|tick_us| tick_us <= due_us + late_us) {
            return;
        }
        let time_us = due_us + self.schedule.below(late_us + 1);
        core.tick_at_us = Some(time_us);
        self.at(time_us, Event::Tick(at));
    }
}

/// A batch in few words.
fn brief(hops: &[roomring::engine::hop::Hop]) -> String {
    let names: Vec<String> = hops
        .iter()
        .take(6)
        .map(|hop| format!("{hop:?}").split(['{', ' ']).next().unwrap_or_default().to_owned())
        .collect();
    names.join(" ")
}
