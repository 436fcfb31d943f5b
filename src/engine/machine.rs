//! For tests: the engines of one machine, run by hand.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::Engine;
use super::call::{Call, CallAnswer};
use super::hop::Hop;
use super::input::Input;
use super::kept::KeptAsk;
use super::output::Output;
use super::placement::owner_of;
use super::settings::{RoomSettings, Settings};
use super::store_port::StoreRequest;
use crate::base::counters::CoreCounters;
use crate::base::ids::{CoreId, RoomName, UserName};
use crate::base::time::Now;
use crate::wire::client::client_frame;
use crate::wire::frame::Opcode;
use crate::wire::protocol::Ask;

/// The engines of one machine, with lanes that deliver at once and sockets that take everything, unless a test stops
/// them.
pub struct Machine {
    pub engines: Vec<Engine>,
    pub now: Now,
    /// Lanes (from, to) that take nothing.
    pub held_lanes: BTreeSet<(u16, u16)>,
    /// Sockets (core, slot) that take one send only.
    pub held_sockets: BTreeSet<(u16, u32)>,
    /// Connections that were closed, by core and slot.
    pub closed: BTreeSet<(u16, u32)>,
    pub outputs: Vec<Output>,
    /// Everything that was sent to a slot of a core, as text.
    pub heard: HashMap<(u16, u32), String>,
    pub answers: BTreeMap<u64, CallAnswer>,
    /// What the store was asked about rooms.
    pub store: Vec<StoreRequest>,
    /// What it was asked beside rooms, by token.
    pub asks: Vec<(u64, KeptAsk)>,
    /// Hops that a core has not taken, by receiver and sender.
    arrived: BTreeMap<(u16, u16), Vec<Hop>>,
    next_token: u64,
}

impl Machine {
    pub fn new(cores: u16) -> Self {
        Self::with(cores, |_, _| {})
    }

    pub fn with(cores: u16, change: impl FnOnce(&mut Settings, &mut RoomSettings)) -> Self {
        let mut settings =
            Settings { cores, max_connections: 100_000, max_connections_per_core: 100_000, ..Settings::for_tests() };
        let mut rooms = RoomSettings::clone(&settings.rooms);
        change(&mut settings, &mut rooms);
        settings.rooms = Arc::new(rooms);
        let settings = Arc::new(settings);
        let engine = |core| Engine::new(settings.clone(), CoreId(core), 5, Arc::new(CoreCounters::default()));
        Self {
            engines: (0..cores).map(engine).collect(),
            now: Now { mono_us: 1_000_000, unix_ms: 1_700_000_000_000 },
            outputs: (0..cores).map(|_| Output::default()).collect(),
            held_lanes: BTreeSet::new(),
            held_sockets: BTreeSet::new(),
            closed: BTreeSet::new(),
            heard: HashMap::new(),
            answers: BTreeMap::new(),
            store: Vec::new(),
            asks: Vec::new(),
            arrived: BTreeMap::new(),
            next_token: 100,
        }
    }

    pub fn handle(&mut self, core: u16, input: Input<'_>) {
        let at = usize::from(core);
        self.engines[at].handle(self.now, input, &mut self.outputs[at]);
    }

    /// Runs turns and lanes until nothing is left to do.
    pub fn settle(&mut self) {
        loop {
            let mut worked = false;
            for core in 0..self.engines.len() as u16 {
                worked |= self.turn(core);
            }
            if !worked {
                return;
            }
        }
    }

    fn turn(&mut self, core: u16) -> bool {
        let at = usize::from(core);
        let mut worked = self.take_arrived(core);
        worked |= self.engines[at].finish_turn(self.now, &mut self.outputs[at]);
        for (token, answer) in std::mem::take(&mut self.outputs[at].answers) {
            assert!(self.answers.insert(token, answer).is_none(), "a call is answered once");
        }
        for request in self.outputs[at].store.drain(..) {
            match request {
                StoreRequest::Ask { token, ask } => self.asks.push((token, ask)),
                request => self.store.push(request),
            }
        }
        self.closed.extend(self.outputs[at].closes.drain(..).map(|slot| (core, slot)));
        for send in std::mem::take(&mut self.outputs[at].sends) {
            worked = true;
            let heard = self.heard.entry((core, send.slot)).or_default();
            heard.push_str(&String::from_utf8_lossy(&send.bytes));
            if !self.held_sockets.contains(&(core, send.slot)) {
                self.handle(core, Input::Sent { slot: send.slot });
            }
        }
        for to in (0..self.engines.len() as u16).filter(|to| *to != core) {
            let mut hops = self.engines[at].take_staged(CoreId(to), Vec::new());
            if self.held_lanes.contains(&(core, to)) {
                self.engines[at].put_back(CoreId(to), hops);
            } else if !hops.is_empty() {
                worked = true;
                self.arrived.entry((to, core)).or_default().append(&mut hops);
            }
        }
        worked
    }

    /// A core takes as many hops as its turn allows; the rest stays for the next turn.
    fn take_arrived(&mut self, core: u16) -> bool {
        let mut worked = false;
        for from in 0..self.engines.len() as u16 {
            let Some(mut hops) = self.arrived.remove(&(core, from)) else { continue };
            worked = true;
            self.handle(core, Input::Hops { from: CoreId(from), hops: &mut hops });
            if !hops.is_empty() {
                self.arrived.insert((core, from), hops);
            }
        }
        worked
    }

    pub fn connect(&mut self, core: u16, slot: u32, user: &str, rooms: &[&str]) {
        let rooms: String = rooms.iter().map(|room| format!("&room={room}")).collect();
        let head = format!(
            "GET /ws?user={user}{rooms} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        self.handle(core, Input::Accepted { slot, peer: std::net::IpAddr::from([192, 0, 2, 1]) });
        self.handle(core, Input::Received { slot, bytes: &mut head.into_bytes() });
    }

    /// Lets a socket take everything again.
    pub fn let_socket_go(&mut self, core: u16, slot: u32) {
        self.held_sockets.remove(&(core, slot));
        self.handle(core, Input::Sent { slot });
        self.settle();
    }

    /// Sends several commands in one segment.
    pub fn segment(&mut self, core: u16, slot: u32, commands: &[String]) {
        let frame = |command: &String| client_frame(Opcode::Text, command.as_bytes(), [1, 2, 3, 4]);
        let mut bytes: Vec<u8> = commands.iter().flat_map(frame).collect();
        self.handle(core, Input::Received { slot, bytes: &mut bytes });
    }

    pub fn command(&mut self, core: u16, slot: u32, command: &str) {
        let mut frame = client_frame(Opcode::Text, command.as_bytes(), [1, 2, 3, 4]);
        self.handle(core, Input::Received { slot, bytes: &mut frame });
    }

    /// Takes everything sent to a slot since the last call.
    pub fn heard(&mut self, core: u16, slot: u32) -> String {
        self.heard.remove(&(core, slot)).unwrap_or_default()
    }

    pub fn ask(&mut self, core: u16, call: Call) -> u64 {
        let token = self.next_token;
        self.next_token += 1;
        self.handle(core, Input::Call { token, call });
        token
    }

    /// The answer to a call that is answered in its own turn.
    pub fn call(&mut self, core: u16, call: Call) -> CallAnswer {
        let token = self.ask(core, call);
        self.settle();
        self.answers.remove(&token).expect("answered in its own turn")
    }

    pub fn ask_room(&mut self, room: &str, ask: Ask) -> u64 {
        self.ask_room_as("server", room, ask)
    }

    fn ask_room_as(&mut self, from: &str, room: &str, ask: Ask) -> u64 {
        let owner = owner_of(room, self.engines.len() as u16);
        let (room, from) = (RoomName::new(room).expect("valid"), UserName::new(from).expect("valid"));
        self.ask(owner.0, Call::Room { room, from, ask })
    }

    pub fn call_room(&mut self, room: &str, ask: Ask) -> CallAnswer {
        self.call_room_as("server", room, ask)
    }

    pub fn call_room_as(&mut self, from: &str, room: &str, ask: Ask) -> CallAnswer {
        let token = self.ask_room_as(from, room, ask);
        self.settle();
        self.answers.remove(&token).expect("answered in its own turn")
    }

    /// Advances time, tick by tick.
    pub fn pass(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(100) {
            self.now.mono_us += 100_000;
            self.now.unix_ms += 100;
            for core in 0..self.engines.len() as u16 {
                self.handle(core, Input::Tick);
            }
            self.settle();
        }
    }
}
