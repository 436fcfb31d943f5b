//! Engines with members in rooms and no sockets: what the kernel would do is done at once and for nothing, so that what
//! remains is the engines' own cost, and that of the lanes between them. Shared by the benches and by the test that
//! counts allocations.
#![allow(dead_code, reason = "each of those that share this file uses a part of it")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use roomring::base::counters::CoreCounters;
use roomring::base::time::Now;
use roomring::engine::Engine;
use roomring::engine::hosts::AllowedHosts;
use roomring::engine::input::Input;
use roomring::engine::output::Output;
use roomring::engine::placement::owner_of;
use roomring::engine::settings::Limits;
use roomring::engine::settings::{CreationPolicy, KeepingMode, NumberingMode, RoomSettings, Settings, SlowPolicy};
use roomring::engine::trusted::Trusted;
use roomring::io::lanes::Lanes;
use roomring::io::wake::Wake;
use roomring::wire::client::client_frame;
use roomring::wire::frame::Opcode;
use roomring::wire::handshake::ForwardedHeader;

/// What a rig is made of.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Cores, one after another on this thread. The first one owns every room.
    pub cores: u16,
    /// Rooms.
    pub rooms: u32,
    /// Members of each, all cores together.
    pub members: u32,
    /// How many of them are connected to the last core; the others are to the first.
    pub away: u32,
    /// Bytes of data in a publish.
    pub payload: usize,
    /// Messages that a room holds.
    pub history: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Shape { cores: 1, rooms: 1, members: 1, away: 0, payload: 128, history: 100 }
    }
}

/// Engines, and their connections.
pub struct Rig {
    cores: Vec<Core>,
    now: Now,
    /// Where each connection is.
    places: Vec<Place>,
    names: Vec<String>,
    /// The numbers of the core that owns the rooms.
    pub counters: Arc<CoreCounters>,
    publish: Vec<u8>,
    /// The copy of a frame that is unmasked in place.
    scratch: Vec<u8>,
}

struct Core {
    engine: Engine,
    output: Output,
    lanes: Lanes,
    counters: Arc<CoreCounters>,
}

#[derive(Clone, Copy)]
struct Place {
    core: usize,
    slot: u32,
}

impl Rig {
    /// One core, `rooms` rooms of `members` connections each; publishes carry `payload` bytes of data.
    pub fn new(rooms: u32, members: u32, payload: usize) -> Rig {
        Rig::of(Shape { rooms, members, payload, ..Shape::default() })
    }

    /// Of this shape. Connections are numbered room by room, those of the first core first.
    pub fn of(shape: Shape) -> Rig {
        let settings = Arc::new(settings(&shape));
        let wakes: Vec<_> = (0..shape.cores).map(|_| Arc::new(Wake::new().expect("an eventfd"))).collect();
        let core = |lanes: Lanes| {
            let counters = Arc::new(CoreCounters::default());
            let engine = Engine::new(settings.clone(), lanes.core(), 1, counters.clone());
            Core { engine, output: Output::default(), lanes, counters }
        };
        let cores: Vec<Core> = Lanes::mesh(&wakes).into_iter().map(core).collect();
        let owned = (0..).map(|index: u32| format!("room-{index}")).filter(|name| owner_of(name, shape.cores).0 == 0);
        let mut rig = Rig {
            now: Now { mono_us: 1_000_000, unix_ms: 1_700_000_000_000 },
            places: Vec::new(),
            names: owned.take(shape.rooms as usize).collect(),
            counters: cores[0].counters.clone(),
            publish: Vec::new(),
            scratch: Vec::new(),
            cores,
        };
        for room in 0..shape.rooms {
            for member in 0..shape.members {
                let away = member >= shape.members - shape.away;
                rig.connect(room, if away { usize::from(shape.cores) - 1 } else { 0 });
            }
        }
        rig.set_payload(0, shape.payload);
        rig
    }

    fn connect(&mut self, room: u32, core: usize) {
        let (number, name) = (self.places.len(), &self.names[room as usize]);
        let head = format!(
            "GET /ws?user=u{number}&room={name} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let slot = self.places.iter().filter(|place| place.core == core).count() as u32;
        self.places.push(Place { core, slot });
        let Core { engine, output, .. } = &mut self.cores[core];
        engine.handle(self.now, Input::Accepted { slot, peer: IpAddr::V4(Ipv4Addr::LOCALHOST) }, output);
        self.receive(number as u32, head.as_bytes());
        self.finish(&mut |_, _| {});
    }

    /// What [`Rig::publish`] sends from now on: `payload` bytes of data to a room.
    pub fn set_payload(&mut self, room: u32, payload: usize) {
        let (name, data) = (&self.names[room as usize], "x".repeat(payload.saturating_sub(2)));
        self.publish = text_frame(&format!(r#"{{"type":"publish","room":"{name}","data":"{data}"}}"#));
    }

    /// `count` publishes of one connection in one turn, delivered and taken by the kernel. Returns bytes sent.
    pub fn publish(&mut self, connection: u32, count: u32) -> usize {
        let publish = std::mem::take(&mut self.publish);
        for _ in 0..count {
            self.receive(connection, &publish);
        }
        self.publish = publish;
        self.finish(&mut |_, _| {})
    }

    /// Deliveries of all cores so far.
    pub fn deliveries(&self) -> u64 {
        self.cores.iter().map(|core| core.counters.deliveries.get()).sum()
    }

    /// One command of one connection, answered and taken by the kernel. Returns bytes sent.
    pub fn command(&mut self, connection: u32, frame: &[u8]) -> usize {
        self.receive(connection, frame);
        self.finish(&mut |_, _| {})
    }

    /// What a connection of the first core gets for a command.
    pub fn ask(&mut self, connection: u32, frame: &[u8]) -> Vec<u8> {
        let mut got = Vec::new();
        let slot = self.places[connection as usize].slot;
        self.receive(connection, frame);
        self.finish(&mut |to, bytes| {
            if to == slot {
                got.extend_from_slice(bytes);
            }
        });
        got
    }

    fn receive(&mut self, connection: u32, bytes: &[u8]) {
        self.scratch.clear();
        self.scratch.extend_from_slice(bytes);
        let Place { core, slot } = self.places[connection as usize];
        let Core { engine, output, .. } = &mut self.cores[core];
        engine.handle(self.now, Input::Received { slot, bytes: &mut self.scratch }, output);
    }

    /// Turns of all cores, until no core has hops to take and the kernel has taken all there is to send. `taken` sees
    /// each send, with its slot. Returns bytes.
    fn finish(&mut self, taken: &mut dyn FnMut(u32, &[u8])) -> usize {
        let mut bytes = 0;
        loop {
            let mut sends = 0;
            for core in &mut self.cores {
                let (sent, count) = core.turn(self.now, taken);
                bytes += sent;
                sends += count;
            }
            if sends == 0 && self.cores.iter().all(|core| core.lanes.is_empty()) {
                return bytes;
            }
        }
    }
}

impl Core {
    /// One turn, and the kernel's part of it. Returns bytes and sends.
    fn turn(&mut self, now: Now, taken: &mut dyn FnMut(u32, &[u8])) -> (usize, usize) {
        while let Some(mut batch) = self.lanes.try_take() {
            let input = Input::Hops { from: batch.from, hops: &mut batch.hops };
            self.engine.handle(now, input, &mut self.output);
            assert!(batch.hops.is_empty(), "a turn takes all that these publish");
            self.lanes.recycle(batch.hops);
        }
        self.engine.finish_turn(now, &mut self.output);
        assert!(self.output.closes.is_empty(), "no connection may end");
        let mut sends = std::mem::take(&mut self.output.sends);
        let (mut bytes, count) = (0, sends.len());
        for send in sends.drain(..) {
            bytes += send.bytes.len();
            taken(send.slot, &send.bytes);
            drop(send.bytes);
            self.engine.handle(now, Input::Sent { slot: send.slot }, &mut self.output);
        }
        self.output.sends = sends;
        assert_eq!(
            self.lanes.flush(&mut self.engine, &self.counters),
            0,
            "a lane that is emptied each turn is never full"
        );
        (bytes, count)
    }
}

/// A text message as a client sends it.
pub fn text_frame(text: &str) -> Vec<u8> {
    client_frame(Opcode::Text, text.as_bytes(), [7, 1, 9, 3])
}

/// Settings without limits that a benchmark would meet.
pub fn settings(shape: &Shape) -> Settings {
    let rooms = RoomSettings {
        history_size: shape.history,
        history_ttl_ms: 86_400_000,
        numbering_ttl_ms: 86_400_000,
        history_on_join: 0,
        history_on_join_max: 300,
        recovery_max: 1_000,
        slow_policy: SlowPolicy::Disconnect,
        presence: false,
        presence_names_max: 1_000,
        presence_grace_ms: 2_000,
        room_message_rate: None,
        create: CreationPolicy::Anyone,
    };
    Settings {
        node: "bench".to_owned(),
        cores: shape.cores,
        max_connections: 1_000_000,
        max_connections_per_core: 1_000_000,
        sockets_max: u32::MAX,
        warm_connections: 0,
        max_message_bytes: 1 << 20,
        echo_path: String::new(),
        allowed_origins: Vec::new(),
        allowed_hosts: AllowedHosts::any(),
        forwarded_header: ForwardedHeader::default(),
        trusted_proxies: Trusted::default(),
        outbox_bytes: 4 << 20,
        rooms_per_connection: 128,
        limits: Limits::default(),
        memory_budget_bytes: 1 << 40,
        io_bytes_per_connection: 0,
        heartbeat_interval_ms: 25_000,
        heartbeat_timeout_ms: 60_000,
        compression: None,
        rooms: Arc::new(rooms),
        classes: Vec::new(),
        dialects: &roomring::wire::dialect::DIALECTS,
        trace_sample: 0,
        numbering: NumberingMode::Own,
        keeping: KeepingMode::None,
        rooms_are_administered: false,
        accounts: None,
    }
}
