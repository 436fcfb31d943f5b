//! The end of a run: faults stop, clients catch up, auditors compare what everybody has with where each room stands,
//! everybody leaves, and every counter is back at zero.

use std::collections::BTreeMap;

use roomring::base::limits::{CLOSE_TIMEOUT_MS, KEY_WINDOW_MS, POSITION_CHECK_MS, POSITION_JITTER_MS};

use super::super::client::{self, Client, Context, Effect, Finding, Role};
use super::super::node::{Standing, UNIX_MS};
use super::super::profile::Mode;
use super::super::view::Scene;
use super::network::context;
use super::{Part, World};

/// Long enough for the checks of positions, for questions asked again, and for silent peers to be noticed.
const SETTLE_US: u64 = 18_000_000;

/// The same with a link, whose rooms are compared more seldom.
const SETTLE_LINKED_US: u64 = (POSITION_CHECK_MS + POSITION_JITTER_MS) * 1_000 + SETTLE_US;

/// Auditors have this long, in steps.
const AUDIT_STEPS: usize = 120;
const AUDIT_STEP_US: u64 = 250_000;

/// By user: connections, and whether all of them say they are away.
type Present = BTreeMap<String, (u64, bool)>;

/// Who is there as an auditor found it, without auditors. Whoever has just gone is still there, without connections, for as
/// long as the grace lasts.
fn found_present(finding: &Finding) -> Present {
    let clients = finding.present.iter().flatten().filter(|user| !user.user.starts_with("auditor-"));
    let there = clients.filter(|user| user.connections > 0);
    there.map(|user| (user.user.clone(), (user.connections, user.status == "away"))).collect()
}

impl World {
    /// Faults stop; clients catch up; nobody waits for an answer any more.
    pub(super) fn settle(&mut self) {
        if self.is_over() {
            return;
        }
        self.judge.note(|| "faults stop".to_owned());
        self.part = Part::Settle;
        self.link.heal();
        for node in 0..self.nodes.len() {
            self.nodes[node].store.heal();
            self.database.heal();
            self.restore(node);
        }
        for conn in 0..self.sockets.len() {
            self.sockets[conn].stuck_until_us = 0;
            self.schedule_read(conn);
        }
        self.run_for(if self.is_linked() { SETTLE_LINKED_US } else { SETTLE_US });
        self.expect_no_calls();
        for client in &self.clients {
            let Some(session) = client.session.as_ref().filter(|session| session.is_open()) else { continue };
            let (conn, waiting) = (session.conn, session.outstanding());
            self.judge.check(waiting == 0, || {
                format!(
                    "connection {conn} still waits for {waiting} replies: {:?} {:?}",
                    session.asks, session.binary_asks
                )
            });
        }
    }

    /// An auditor for each room of each node joins, reads its history and who is there, and goes.
    pub(super) fn audit(&mut self) {
        if self.is_over() {
            return;
        }
        self.auditing = true;
        if self.profile.is_tight() {
            self.leave_all(true);
            self.run_for(2 * CLOSE_TIMEOUT_MS * 1_000);
        }
        let first = self.clients.len();
        let mut open: Vec<usize> = (0..self.nodes.len() * self.rooms.len()).map(|index| first + index).collect();
        for index in &open {
            self.clients.push(Client::new(*index, Role::Auditor, &self.profile));
        }
        for step in 0..AUDIT_STEPS {
            if open.is_empty() || self.is_over() {
                break;
            }
            for at in (0..open.len()).rev() {
                let (index, number) = (open[at], open[at] - first);
                let (node, room) = (number / self.rooms.len(), number % self.rooms.len());
                let finding = self.clients[index].findings[room].clone().filter(Finding::is_whole);
                if finding
                    .as_ref()
                    .is_some_and(|finding| step < AUDIT_STEPS / 2 && !self.is_settled(node, room, finding))
                {
                    self.clients[index].findings[room] = None;
                } else if let Some(finding) = finding {
                    self.compare(node, room, &finding);
                    open.swap_remove(at);
                    self.leave(index, 1);
                } else if let Some(session) = &self.clients[index].session {
                    let conn = session.conn;
                    let effects = client::audit(&mut self.clients[index], room, context!(self));
                    self.apply(conn, effects);
                } else if self.nodes[node].standing == Standing::Up {
                    self.connect(index, node);
                }
            }
            self.run_for(AUDIT_STEP_US);
        }
        let left = open.len();
        self.judge.check(left == 0, || format!("{left} auditors did not get through"));
        for node in 0..self.nodes.len() {
            if let Some(wrong) = self.nodes[node].store.compare() {
                self.judge.fail(|| format!("node {node}: {wrong}"));
            }
        }
    }

    /// Whether a node has caught up with the link. One whose members heard of nothing asks now and then; until then it
    /// may stand elsewhere, if another node has opened the room anew.
    fn is_settled(&self, node: usize, room: usize, finding: &Finding) -> bool {
        let has_caught_up = || self.link.head(&self.rooms[room]) == Some((finding.epoch, finding.head));
        let knows_all = || self.present(node, room).is_none_or(|present| present == found_present(finding));
        !self.is_linked() || (has_caught_up() && knows_all())
    }

    /// Who is in a room, as a node is to know it: their connections there, on all nodes where a link joins them, and whether
    /// all of those say they are away. `None` if that is not certain, or not tracked.
    fn present(&self, node: usize, room: usize) -> Option<Present> {
        let mut present = Present::new();
        for client in self.clients.iter().filter(|client| client.role() == Role::Random) {
            let Some(session) = client.session.as_ref().filter(|session| session.is_open()) else { continue };
            if !self.is_linked() && self.sockets[session.conn].node != node {
                continue;
            }
            let view = &session.views[room];
            if view.fading.is_some() || session.user.is_none() {
                return None;
            }
            if view.member {
                let user = session.user.as_deref().unwrap_or_default().to_owned();
                let (connections, away) = present.entry(user).or_insert((0, true));
                (*connections, *away) = (*connections + 1, *away && session.away);
            }
        }
        self.profile.settings.room(&self.rooms[room]).presence.then_some(present)
    }

    /// Holds a room as the auditor found it against what each client has.
    fn compare(&mut self, node: usize, room: usize, finding: &Finding) {
        let Finding { epoch, head, .. } = *finding;
        self.judge.note(|| format!("audit of node {node} room {room}: {finding:?}"));
        let name = &self.rooms[room];
        let kept = match self.profile.mode {
            Mode::Memory => None,
            Mode::Linked | Mode::LinkedKept => self.link.head(name),
            Mode::Durable | Mode::Behind => self.nodes[node].store.head(name),
        };
        self.judge.check(kept.is_none_or(|kept| kept == (epoch, head)), || {
            format!("room {room} stands at {kept:x?}, node {node} says {epoch:x} {head}")
        });
        let seen = self.judge.head(room, epoch);
        self.judge.check(seen <= head, || format!("room {room} of {epoch:016x} ends at {head}, {seen} was seen"));
        let epochs = self.judge.epochs(room);
        let rooms_forgotten = self.profile.mode == Mode::Memory;
        self.judge.check(epochs.len() < 2 || self.judge.numbering_lost || rooms_forgotten, || {
            format!("room {room} has several numberings: {epochs:x?}")
        });
        let unix_ms = self.unix_ms();
        for client in self.clients.iter_mut().filter(|client| client.role() == Role::Random) {
            let Some(session) = client.session.as_mut().filter(|session| session.is_open()) else { continue };
            let view = &mut session.views[room];
            if self.sockets[session.conn].node != node || !view.member || view.fading.is_some() {
                continue;
            }
            let scene = Scene { profile: &self.profile, conn: session.conn, room, unix_ms };
            view.on_audit(scene, epoch, head, &mut self.judge);
            view.crowd.on_audit(scene, finding.present.as_deref().unwrap_or_default(), &mut self.judge);
        }
        if let Some(present) = self.present(node, room) {
            let found = found_present(finding);
            self.judge.check(found == present, || {
                format!("node {node} room {room}: presence says {found:?}, there are {present:?}")
            });
        }
    }

    /// A client leaves: by a close frame, by the end of its stream, or by a reset.
    fn leave(&mut self, index: usize, how: u64) {
        let Some(session) = self.clients[index].session.as_mut() else { return };
        let conn = session.conn;
        let effects = match how {
            0 => session.goodbye(),
            1 => {
                session.leaving = true;
                session.ended = true;
                vec![Effect::Fin]
            }
            _ => vec![Effect::Reset],
        };
        self.apply(conn, effects);
    }

    fn leave_all(&mut self, half: bool) {
        for index in 0..self.clients.len() {
            let how = self.schedule.below(3);
            if !half || index % 2 == 0 {
                self.leave(index, how);
            }
        }
    }

    /// Everybody leaves; after the longest time that anything is kept, nothing is left.
    pub(super) fn say_goodbye(&mut self) {
        if self.is_over() {
            return;
        }
        self.judge.note(|| "everybody leaves".to_owned());
        self.part = Part::Goodbye;
        self.leave_all(false);
        let settings = &self.profile.settings;
        let kept = settings.classes.iter().map(|class| &class.settings).chain([&settings.rooms]);
        let kept_ms = kept
            .map(|rooms| rooms.history_ttl_ms + rooms.presence_grace_ms + rooms.numbering_ttl_ms)
            .max()
            .unwrap_or(0);
        let jump_ms = self.nodes.iter().map(|node| node.wall_offset_ms.unsigned_abs()).max().unwrap_or(0);
        self.run_for((kept_ms + KEY_WINDOW_MS + jump_ms + 20_000 + 2 * CLOSE_TIMEOUT_MS) * 1_000);
        self.judge.finish();
        for node in 0..self.nodes.len() {
            for core in 0..self.nodes[node].cores.len() {
                self.check_empty(node, core);
            }
        }
        let listeners = self.link.listeners();
        self.judge.check(listeners == 0 || !self.is_linked(), || format!("{listeners} rooms are still listened to"));
    }

    fn check_empty(&mut self, node: usize, index: usize) {
        let now = self.nodes[node].now(self.now_us);
        let core = &self.nodes[node].cores[index];
        let counters = &core.counters;
        let gauges = [
            ("connections", counters.connections.get()),
            ("upgrading", counters.upgrading.get()),
            ("rooms", counters.rooms.get()),
            ("rooms_held", counters.rooms_held.get()),
            ("members", counters.members.get()),
            ("lane_depth", counters.lane_depth.get()),
            ("memory_charged", counters.memory_charged.get()),
            ("open_slots", core.engine.open_slots() as u64),
            ("sockets", core.slots.iter().flatten().count() as u64),
            ("batches", core.batches() as u64),
        ];
        for (name, value) in gauges {
            self.judge.check(value == 0, || format!("node {node} core {index}: {name} ends at {value}"));
        }
        let next = core.engine.next_tick_us(now);
        self.judge.check(next.is_none(), || format!("node {node} core {index} waits for nothing and wants {next:?}"));
        let ends = counters.closed.get();
        let opened = counters.accepted.get();
        self.judge.check(ends <= opened, || format!("node {node} core {index}: {ends} ended of {opened} accepted"));
    }
}
