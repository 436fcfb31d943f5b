//! An engine with members in rooms and no sockets: what the kernel would do is done at once and for nothing, so that
//! what remains is the engine's own cost. Shared by the benches and by the test that counts allocations.

use std::sync::Arc;

use roomring::base::counters::CoreCounters;
use roomring::base::ids::CoreId;
use roomring::base::time::Now;
use roomring::engine::Engine;
use roomring::engine::input::Input;
use roomring::engine::output::Output;
use roomring::engine::settings::{RoomSettings, Settings, SlowPolicy};
use roomring::wire::client::client_frame;
use roomring::wire::frame::Opcode;

/// An engine that owns all rooms and holds all connections.
pub struct Rig {
    engine: Engine,
    output: Output,
    now: Now,
    /// The engine's numbers. Read by the test, not by the benches.
    #[allow(dead_code, reason = "one of the two that share this file does not read it")]
    pub counters: Arc<CoreCounters>,
    /// A publish as a client sends it, and the copy that is unmasked in place.
    publish: (Vec<u8>, Vec<u8>),
}

impl Rig {
    /// `rooms` rooms of `members` connections each; publishes carry `payload` bytes of data.
    pub fn new(rooms: u32, members: u32, payload: usize) -> Rig {
        let counters = Arc::new(CoreCounters::default());
        let now = Now { mono_us: 1_000_000, unix_ms: 1_700_000_000_000 };
        let engine = Engine::new(Arc::new(settings()), CoreId(0), 1, counters.clone());
        let publish = (Vec::new(), Vec::new());
        let mut rig = Rig { engine, output: Output::default(), now, counters, publish };
        for slot in 0..rooms * members {
            let room = slot / members;
            rig.engine.handle(rig.now, Input::Accepted { slot }, &mut rig.output);
            let head = format!(
                "GET /ws?user=u{slot}&room=room-{room} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            );
            rig.receive(slot, &mut head.into_bytes());
            rig.finish();
        }
        rig.set_payload(0, payload);
        rig
    }

    /// What [`Rig::publish`] sends from now on: `payload` bytes of data to a room.
    pub fn set_payload(&mut self, room: u32, payload: usize) {
        let data = "x".repeat(payload.saturating_sub(2));
        let text = format!(r#"{{"type":"publish","room":"room-{room}","data":"{data}"}}"#);
        let frame = client_frame(Opcode::Text, text.as_bytes(), [7, 1, 9, 3]);
        self.publish = (frame.clone(), frame);
    }

    /// `count` publishes of one connection in one turn, delivered and taken by the kernel. Returns bytes sent.
    pub fn publish(&mut self, slot: u32, count: u32) -> usize {
        for _ in 0..count {
            let (frame, mut scratch) = std::mem::take(&mut self.publish);
            scratch.copy_from_slice(&frame);
            self.receive(slot, &mut scratch);
            self.publish = (frame, scratch);
        }
        self.finish()
    }

    fn receive(&mut self, slot: u32, bytes: &mut [u8]) {
        self.engine.handle(self.now, Input::Received { slot, bytes }, &mut self.output);
    }

    /// Ends the turn and lets the kernel take everything, until nothing waits.
    fn finish(&mut self) -> usize {
        let mut bytes = 0;
        loop {
            self.engine.finish_turn(self.now, &mut self.output);
            assert!(self.output.closes.is_empty(), "no connection may end");
            let mut sends = std::mem::take(&mut self.output.sends);
            if sends.is_empty() {
                self.output.sends = sends;
                return bytes;
            }
            for send in sends.drain(..) {
                bytes += send.bytes.len();
                drop(send.bytes);
                self.engine.handle(self.now, Input::Sent { slot: send.slot }, &mut self.output);
            }
            self.output.sends = sends;
        }
    }
}

fn settings() -> Settings {
    let rooms = RoomSettings {
        history_count_max: 100,
        history_ttl_ms: 86_400_000,
        history_on_join: 0,
        history_on_join_max: 300,
        recovery_max: 1_000,
        slow_policy: SlowPolicy::Disconnect,
        presence: false,
        presence_grace_ms: 2_000,
    };
    Settings {
        node: "bench".to_owned(),
        cores: 1,
        connections_max: 1_000_000,
        warm_connections: 0,
        message_bytes_max: 1 << 20,
        echo_path: String::new(),
        allowed_origins: Vec::new(),
        outbox_bytes_max: 1 << 20,
        rooms_per_connection_max: 128,
        memory_bytes_max: 1 << 40,
        heartbeat_ms: 25_000,
        heartbeat_timeout_ms: 60_000,
        rooms: Arc::new(rooms),
        classes: Vec::new(),
        linked: false,
        durable: false,
    }
}
