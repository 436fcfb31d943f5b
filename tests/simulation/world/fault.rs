//! Faults of the machines themselves: stalls, crashes, drains, clocks that jump, the link cut off, without its data, or
//! failed over to less of it.

use roomring::base::ids::RoomName;
use roomring::base::limits::CLOSE_TIMEOUT_MS;
use roomring::engine::link_port::LinkEvent;

use super::super::canary::Canary;
use super::super::link::{CoreAt, Link};
use super::super::node::Standing;
use super::super::profile::Mode;
use super::{Event, Part, World};

/// Time between two chances of a fault.
const STEP_US: u64 = 100_000;

/// Part of the fault steps in which a node that drains is not waited for.
const HASTE: f64 = 0.02;

/// The same where that is to do harm.
const HASTE_FALSE: f64 = 0.5;

/// How long a life that has ended is still taken for alive by the others.
const LEASE_US: u64 = 2_000_000;

impl World {
    pub(super) fn fault(&mut self) {
        self.later(STEP_US, Event::Fault);
        if self.judge.is_tracing() && self.now_us % 1_000_000 < STEP_US {
            self.note_gauges();
        }
        self.look_at_drains();
        self.look_at_vanished();
        if self.part != Part::Chaos {
            return;
        }
        let faults = self.profile.faults.clone();
        let node = self.faults.index(self.nodes.len());
        if self.faults.chance(faults.stall) && self.nodes[node].standing == Standing::Up {
            let core = self.faults.index(usize::from(self.profile.cores));
            let until_us = self.now_us + self.faults.below(faults.stall_us);
            self.judge.note(|| format!("node {node} core {core} stalls until {until_us}"));
            self.nodes[node].cores[core].stalled_until_us = until_us;
        }
        if self.faults.chance(faults.crash) && self.nodes[node].standing != Standing::Down {
            self.judge.note(|| format!("node {node} crashes"));
            self.stop_node(node, false);
        }
        if self.faults.chance(faults.drain) && self.nodes[node].standing == Standing::Up {
            let window_ms = self.faults.below(1_500);
            self.judge.note(|| format!("node {node} drains over {window_ms} ms"));
            self.nodes[node].standing = Standing::Draining;
            self.nodes[node].drained_by_us = self.now_us + (window_ms + 2 * CLOSE_TIMEOUT_MS + 8_000) * 1_000;
            for core in 0..self.nodes[node].cores.len() {
                self.nodes[node].cores[core].drain = Some(window_ms);
                let at = self.core_at(node, core);
                self.wake(at);
            }
        }
        if self.faults.chance(faults.wall_jump) {
            let jump_ms = self.faults.below(20_000) as i64 - 10_000;
            self.judge.note(|| format!("node {node}: the wall clock jumps by {jump_ms} ms"));
            self.nodes[node].wall_offset_ms += jump_ms;
        }
        if self.faults.chance(faults.link_cut) && !self.link.is_cut(node) {
            let for_us = self.faults.wait(1_500_000);
            self.cut_link(node, for_us);
        }
        if self.faults.chance(faults.link_forget) {
            self.judge.note(|| "the link restarts without its data".to_owned());
            self.judge.numbering_lost = true;
            self.link.forget();
            self.cut_all();
        }
        if faults.link_rollback > 0.0 && self.faults.chance(faults.link_rollback) {
            let alive: Vec<CoreAt> = (0..self.nodes.len())
                .flat_map(|node| (0..self.nodes[node].cores.len()).map(move |core| (node, core)))
                .map(|(node, core)| self.core_at(node, core))
                .collect();
            let lost = self.link.fail_over(alive);
            self.note_lost(&lost);
            let done = self.link.number_again();
            self.link_done(done);
            self.cut_all();
        }
        let is_rife = self.is_linked() && self.link.holds_records();
        if let Some(cage) = self.cage.as_mut().filter(|_| is_rife) {
            self.link.forgets_key |= cage.sings(Canary::ForgottenKey);
            if cage.sings(Canary::HiddenRollback) {
                let lost = self.link.lose_newest();
                self.note_lost(&lost);
            }
        }
    }

    /// Rooms have lost the newest of their records at the link.
    fn note_lost(&mut self, lost: &[(RoomName, u64, u64)]) {
        self.judge.note(|| format!("the link has lost what is newer than {lost:x?}"));
        self.judge.numbering_lost = true;
        for (room, epoch, head) in lost {
            if let Some(room) = self.room_index(room) {
                self.judge.lost(room, *epoch, *head);
            }
        }
    }

    /// The link is gone for a while, for all nodes.
    fn cut_all(&mut self) {
        for node in 0..self.nodes.len() {
            if !self.link.is_cut(node) {
                let for_us = self.faults.below(300_000);
                self.cut_link(node, for_us);
            }
        }
    }

    /// The lease of a life that has ended runs out: the other nodes hear of it.
    pub(super) fn end_lease(&mut self, node: usize, life: u32) {
        if self.link.is_present(node, life) && self.cage.as_mut().is_some_and(|cage| cage.sings(Canary::EndlessLease)) {
            return;
        }
        let done = self.link.end_lease(node, life);
        self.link_done(done);
        for other in 0..self.nodes.len() {
            for core in 0..self.nodes[other].cores.len() {
                if !self.link.is_cut(other) {
                    let (at, delay_us) = (self.core_at(other, core), self.faults.below(5_000));
                    self.link_says(delay_us, at, Link::life_ended(node, life));
                }
            }
        }
    }

    /// What every core holds, for the trace.
    fn note_gauges(&mut self) {
        for (node, state) in self.nodes.iter().enumerate() {
            for (index, core) in state.cores.iter().enumerate() {
                let counters = &core.counters;
                let gauges = [&counters.connections, &counters.members, &counters.rooms_held, &counters.memory_charged];
                let [connections, members, rooms, memory] = gauges.map(|gauge| gauge.get());
                self.judge.note(|| {
                    format!("node {node} core {index}: {connections} connections, {members} members, {rooms} rooms, {memory} B")
                });
            }
        }
    }

    fn cut_link(&mut self, node: usize, for_us: u64) {
        self.judge.note(|| format!("node {node} is cut from the link for {for_us} us"));
        for (after_us, at, event) in self.link.cut(node) {
            self.link_says(after_us, at, event);
        }
        self.later(for_us, Event::Restore(node));
    }

    pub(super) fn restore(&mut self, node: usize) {
        if !self.link.is_cut(node) {
            return;
        }
        self.judge.note(|| format!("node {node} reaches the link again"));
        for queue in self.link.restore(node) {
            self.later(0, Event::LinkWork(node, queue));
        }
        for core in 0..self.nodes[node].cores.len() {
            let at = self.core_at(node, core);
            let delay_us = self.faults.below(5_000);
            let round = self.link.era();
            self.link_says(delay_us, at, LinkEvent::Restored { round });
        }
    }

    pub(super) fn start_node(&mut self, node: usize) {
        if self.nodes[node].standing != Standing::Down {
            return;
        }
        self.judge.note(|| format!("node {node} starts"));
        self.nodes[node].start(&self.profile, node, self.now_us);
        if matches!(self.profile.mode, Mode::Durable | Mode::Behind) {
            let now = self.nodes[node].now(self.now_us);
            let done = self.nodes[node].store.start(now, self.now_us);
            self.store_done(node, done);
        }
    }

    /// A node ends at once: a crash, or the end of a drain. What is on disk stays; engines, lanes and sockets go.
    pub(super) fn stop_node(&mut self, node: usize, in_order: bool) {
        if self.profile.mode == Mode::Memory {
            self.judge.numbering_lost = true;
        }
        self.nodes[node].standing = Standing::Down;
        let now = self.nodes[node].now(self.now_us);
        let is_settled = self.nodes[node].cores.iter().all(|core| core.engine.is_settled());
        let store = &mut self.nodes[node].store;
        let done = match (self.profile.mode, in_order) {
            (Mode::LinkedKept, _) => self.database.end_life(node),
            (_, true) => store.stop(now, self.now_us, is_settled),
            (_, false) => store.crash(now, self.now_us),
        };
        self.store_done(node, done);
        if in_order {
            self.check_all_kept(node);
        }
        self.link.end_life(node);
        if self.is_linked() {
            let life = self.nodes[node].life;
            self.later(LEASE_US, Event::LeaseEnds(node, life));
        }
        let slots: Vec<usize> =
            self.nodes[node].cores.iter().flat_map(|core| core.slots.iter().copied().flatten()).collect();
        self.nodes[node].cores.clear();
        for conn in slots {
            self.cut_by_crash(conn);
        }
        let down_us = 10_000 + self.faults.below(600_000);
        self.later(down_us, Event::Start(node));
    }

    /// A node that has ended in order has lost nothing that it showed, or its log does not say so.
    fn check_all_kept(&mut self, node: usize) {
        let store = &self.nodes[node].store;
        for (index, room) in self.rooms.iter().enumerate().filter(|(_, room)| store.vouches_for(room)) {
            let Some((epoch, head)) = store.head(room) else { continue };
            let seen = self.judge.head(index, epoch);
            self.judge.check(seen <= head, || format!("{room} is kept up to {head}, and {seen} was shown"));
        }
    }

    /// A node whose connections are all told and gone ends and starts again.
    fn look_at_drains(&mut self) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].standing != Standing::Draining {
                continue;
            }
            let open: usize = self.nodes[node].cores.iter().map(|core| core.engine.open_slots()).sum();
            let late = self.now_us > self.nodes[node].drained_by_us;
            self.judge.check(!late || open == 0, || format!("node {node} drains and still has {open} connections"));
            let is_settled = self.nodes[node].cores.iter().all(|core| core.engine.is_settled());
            self.judge.check(!late || is_settled, || format!("node {node} drains and does not settle"));
            let is_false = self.cage.as_ref().is_some_and(|cage| cage.canary() == Canary::FalseEnd);
            if self.part == Part::Chaos && self.faults.chance(if is_false { HASTE_FALSE } else { HASTE }) {
                self.judge.note(|| format!("node {node} is not waited for"));
                self.stop_node(node, true);
                continue;
            }
            if open == 0 && is_settled && self.nodes[node].cores.iter().all(|core| core.drain.is_none()) {
                self.judge.note(|| format!("node {node} is drained"));
                self.stop_node(node, true);
            }
        }
    }

    /// A client that vanished is noticed, and its slot given back, after the heartbeat's and the handshakes' limits; one that
    /// has ended its stream keeps its slot no longer than an answer may take.
    fn look_at_vanished(&mut self) {
        let settings = &self.profile.settings;
        let limit_ms =
            10_000 + settings.heartbeat_timeout_ms + settings.heartbeat_interval_ms + 2 * CLOSE_TIMEOUT_MS + 1_000;
        let limit_us = limit_ms * 1_000 + 3 * self.profile.faults.stall_us + 3 * self.profile.faults.tick_late_us;
        for (conn, socket) in self.sockets.iter().enumerate() {
            let gone_us = socket.vanished_us.or(socket.told_ended_us).filter(|_| socket.slot.is_some());
            if gone_us.is_some_and(|gone_us| self.now_us > gone_us + limit_us) {
                self.judge.fail(|| format!("connection {conn} left long ago and still holds {:?}", socket.slot));
            }
        }
    }
}
