//! Sockets and clients: bytes cut anywhere and late in both directions, slots handed out as the kernel does, ends of
//! every kind.

use super::super::client::{self, Context, Effect, Role};
use super::super::node::{FromSocket, Standing, UNIX_MS};
use super::super::socket::{Socket, Up};
use super::{Event, Part, World};

/// Borrows what a client is given.
macro_rules! context {
    ($world:ident) => {
        &mut Context {
            unix_ms: UNIX_MS + $world.now_us / 1_000,
            judge: &mut $world.judge,
            profile: &$world.profile,
            rooms: &$world.rooms,
            now_us: $world.now_us,
            settling: $world.part != Part::Chaos,
        }
    };
}
pub(super) use context;

/// Longest way of bytes through the network.
const DELAY_US: u64 = 400;

impl World {
    /// One step of a client, and the time of its next one.
    pub(super) fn step(&mut self, index: usize) {
        let mean_us = if self.part == Part::Chaos { self.profile.habits.step_us } else { 200_000 };
        let role = self.clients[index].role();
        if self.part == Part::Goodbye || role == Role::Auditor {
            return;
        }
        let next_us = 1 + self.schedule.wait(mean_us);
        self.later(next_us, Event::Step(index));
        if let Some(session) = &self.clients[index].session {
            let conn = session.conn;
            let effects = client::step(&mut self.clients[index], context!(self));
            self.apply(conn, effects);
        } else if self.network.chance(0.7) && !self.auditing {
            let up: Vec<usize> =
                (0..self.nodes.len()).filter(|node| self.nodes[*node].standing != Standing::Down).collect();
            if !up.is_empty() {
                let node = *self.network.pick(&up);
                self.connect(index, node);
            }
        }
    }

    /// A client connects to a node; which core accepts is the kernel's choice.
    pub(super) fn connect(&mut self, index: usize, node: usize) {
        let conn = self.sockets.len();
        let core = self.network.index(usize::from(self.profile.cores));
        let socket = Socket::new(index, node, core, self.profile.kernel_bytes, self.now_us);
        self.sockets.push(socket);
        self.judge.note(|| format!("connection {conn}: client {index} connects to node {node} core {core}"));
        let effects = self.clients[index].connect(conn, context!(self));
        let accept_us = self.now_us + 1 + self.network.below(DELAY_US);
        self.sockets[conn].up_after_us = accept_us + 1;
        self.at(accept_us, Event::Accept(conn));
        self.apply(conn, effects);
    }

    pub(super) fn accept(&mut self, conn: usize) {
        let socket = &self.sockets[conn];
        let (node, core, client) = (socket.node, socket.core, socket.client);
        if self.nodes[node].standing == Standing::Down || self.nodes[node].cores.is_empty() {
            self.judge.note(|| format!("connection {conn} is refused by the kernel"));
            self.sockets[conn].server_closed = true;
            self.sockets[conn].client_gone = true;
            if self.session_conn(client) == Some(conn) {
                self.clients[client].forget_session();
            }
            return;
        }
        let slot = self.nodes[node].cores[core].take_slot(conn);
        self.judge.note(|| format!("connection {conn} takes slot {slot} of node {node} core {core}"));
        self.sockets[conn].slot = Some(slot);
        self.hear_socket(conn, FromSocket::Accepted);
    }

    fn session_conn(&self, client: usize) -> Option<usize> {
        self.clients[client].session.as_ref().map(|session| session.conn)
    }

    /// Puts an input of a socket before its engine.
    fn hear_socket(&mut self, conn: usize, input: FromSocket) {
        let socket = &self.sockets[conn];
        let Some(slot) = socket.slot else { return };
        let at = self.core_at(socket.node, socket.core);
        self.nodes[at.node].cores[at.core].sockets.entry(slot).or_default().push_back(input);
        self.wake(at);
    }

    /// Does what a client wants done with its socket.
    pub(super) fn apply(&mut self, conn: usize, effects: Vec<Effect>) {
        if let Some(session) = self.clients[self.sockets[conn].client].session.as_mut() {
            for said in session.take_said() {
                self.judge.note(|| said);
            }
        }
        for effect in effects {
            let note = match &effect {
                Effect::Write(bytes) => format!("writes {} bytes", bytes.len()),
                other => format!("{other:?}"),
            };
            self.judge.note(|| format!("connection {conn} {note}"));
            let client = self.sockets[conn].client;
            match effect {
                Effect::Write(bytes) => self.write(conn, &bytes),
                Effect::Fin => self.send_up(conn, Up::End),
                Effect::Reset => {
                    let lost = self.network.index(self.sockets[conn].up.len() + 1);
                    let kept = self.sockets[conn].up.len() - lost;
                    self.sockets[conn].up.truncate(kept);
                    self.send_up(conn, Up::Reset);
                    self.sockets[conn].cut = true;
                    self.sockets[conn].client_gone = true;
                    self.clients[client].forget_session();
                }
                Effect::Vanish => {
                    self.sockets[conn].client_gone = true;
                    self.sockets[conn].vanished_us = Some(self.now_us);
                    self.clients[client].forget_session();
                }
                Effect::Stick(for_us) => {
                    let until_us = self.now_us.saturating_add(for_us);
                    self.sockets[conn].stuck_until_us = until_us;
                    if until_us != u64::MAX {
                        self.at(until_us, Event::Read(conn));
                    }
                }
            }
        }
    }

    /// Bytes set out for the server: whole, in pieces, or one by one.
    fn write(&mut self, conn: usize, bytes: &[u8]) {
        let faults = &self.profile.faults;
        let piece_max = if bytes.len() < 3_000 && self.network.chance(faults.dribble) {
            1
        } else if self.network.chance(faults.split) {
            1 + self.network.below(bytes.len() as u64 + 1)
        } else {
            u64::MAX
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            let len = self.network.range(1, piece_max.max(1)).min(rest.len() as u64) as usize;
            let len = if piece_max == u64::MAX { rest.len() } else { len };
            let (piece, after) = rest.split_at(len);
            rest = after;
            self.send_up(conn, Up::Bytes(piece.to_vec()));
        }
    }

    fn send_up(&mut self, conn: usize, up: Up) {
        let delay_us = self.network.below(DELAY_US);
        let socket = &mut self.sockets[conn];
        let time_us = (self.now_us + delay_us).max(socket.up_after_us);
        socket.up_after_us = time_us;
        socket.up.push_back((time_us, up));
        self.at(time_us, Event::Arrive(conn));
    }

    pub(super) fn arrive(&mut self, conn: usize) {
        let now_us = self.now_us;
        let socket = &mut self.sockets[conn];
        // A reset takes back what is under way: then there is an event without anything to arrive.
        let Some((_, up)) = socket.up.pop_front_if(|(time_us, _)| *time_us <= now_us) else { return };
        if socket.slot.is_none() || socket.told_disconnected {
            return;
        }
        match up {
            Up::Bytes(bytes) => self.hear_socket(conn, FromSocket::Bytes(bytes)),
            Up::End => {
                if socket.told_ended_us.replace(now_us).is_none() {
                    self.hear_socket(conn, FromSocket::Ended);
                }
            }
            Up::Reset => {
                socket.told_disconnected = true;
                self.hear_socket(conn, FromSocket::Disconnected);
            }
        }
    }

    /// Moves bytes of the send that is out towards the reader.
    pub(super) fn pump(&mut self, conn: usize) {
        if self.sockets[conn].fill() {
            self.hear_socket(conn, FromSocket::Sent);
        }
        self.schedule_read(conn);
    }

    pub(super) fn schedule_read(&mut self, conn: usize) {
        let socket = &mut self.sockets[conn];
        if socket.can_read(self.now_us) && !socket.reading {
            socket.reading = true;
            let delay_us = 1 + self.network.below(DELAY_US);
            self.later(delay_us, Event::Read(conn));
        }
    }

    pub(super) fn read(&mut self, conn: usize) {
        self.sockets[conn].reading = false;
        if !self.sockets[conn].can_read(self.now_us) {
            return;
        }
        let index = self.sockets[conn].client;
        let count = if self.network.chance(self.profile.faults.split) {
            self.network.range(1, 2_000) as usize
        } else {
            usize::MAX
        };
        let bytes = self.sockets[conn].take(count);
        if self.session_conn(index) != Some(conn) {
            return;
        }
        if !bytes.is_empty() {
            let effects = self.clients[index].read(&bytes, context!(self));
            self.apply(conn, effects);
        }
        self.pump(conn);
        if self.sockets[conn].is_at_end() && self.session_conn(index) == Some(conn) {
            self.judge.note(|| format!("connection {conn} reads the end"));
            let excused = self.sockets[conn].cut;
            self.clients[index].read_end(excused, context!(self));
            self.send_up(conn, Up::End);
            self.sockets[conn].client_gone = true;
        }
    }

    /// The engine has closed a connection: what the kernel has is still read, but a close over unread bytes resets.
    pub(super) fn close_by_server(&mut self, conn: usize) {
        self.judge.note(|| format!("connection {conn} is closed by the server"));
        let part = self.network.next();
        let resets = self.network.chance(0.5);
        let socket = &mut self.sockets[conn];
        if let Some((bytes, taken)) = socket.sending.take() {
            let rest = &bytes[taken..];
            let more = part as usize % (rest.len() + 1);
            socket.buffer.extend(&rest[..more]);
            socket.cut |= more < rest.len();
        }
        if resets && socket.up.iter().any(|(_, up)| matches!(up, Up::Bytes(_))) {
            socket.cut = true;
            let left = socket.buffer.len();
            socket.buffer.truncate(part as usize % (left + 1));
        }
        socket.server_closed = true;
        socket.slot = None;
        self.schedule_read(conn);
    }

    /// A connection ends because its node does.
    pub(super) fn cut_by_crash(&mut self, conn: usize) {
        self.close_by_server(conn);
        self.sockets[conn].cut = true;
        self.sockets[conn].told_disconnected = true;
        self.schedule_read(conn);
    }
}
