//! Everything that clients make an engine hold is charged to its memory budget at its real size: compares the constants
//! of `base::limits` with an allocator's count.

#[path = "../benches/support/mod.rs"]
mod support;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use roomring::base::counters::CoreCounters;
use roomring::base::ids::CoreId;
use roomring::base::time::Now;
use roomring::engine::Engine;
use roomring::engine::input::Input;
use roomring::engine::output::Output;
use roomring::engine::rates::Rate;
use roomring::engine::settings::Settings;
use support::{Shape, text_frame};

/// Maximum bytes held for each 100 bytes charged. Tables that have just doubled are half empty.
const HELD_PERCENT_MAX: i64 = 100;
/// Minimum: too high a charge would refuse clients without need.
const HELD_PERCENT_MIN: i64 = 35;

/// One engine. The kernel takes its sends at once.
struct One {
    engine: Engine,
    output: Output,
    now: Now,
    counters: Arc<CoreCounters>,
}

impl One {
    fn new(change: impl FnOnce(&mut Settings)) -> One {
        let mut settings = support::settings(&Shape::default());
        let mut rooms = (*settings.rooms).clone();
        rooms.presence = true;
        settings.rooms = Arc::new(rooms);
        change(&mut settings);
        let counters = Arc::new(CoreCounters::default());
        let engine = Engine::new(Arc::new(settings), CoreId(0), 1, counters.clone());
        let now = Now { mono_us: 1_000_000, unix_ms: 1_700_000_000_000 };
        One { engine, output: Output::default(), now, counters }
    }

    fn handle(&mut self, input: Input<'_>) {
        self.engine.handle(self.now, input, &mut self.output);
    }

    fn turn(&mut self) {
        loop {
            self.engine.finish_turn(self.now, &mut self.output);
            let sends = std::mem::take(&mut self.output.sends);
            if sends.is_empty() {
                break;
            }
            for send in sends {
                self.handle(Input::Sent { slot: send.slot });
            }
        }
        // Takes the rest of the output, as the floors above do.
        self.output = Output::default();
    }

    fn connect(&mut self, slot: u32, user: &str) {
        let peer = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + slot));
        self.handle(Input::Accepted { slot, peer });
        let head = format!(
            "GET /ws?user={user} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        self.handle(Input::Received { slot, bytes: &mut head.into_bytes() });
        self.turn();
    }

    fn say(&mut self, slot: u32, command: &str) {
        self.handle(Input::Received { slot, bytes: &mut text_frame(command) });
        self.turn();
    }

    fn join(&mut self, slot: u32, room: &str) {
        self.say(slot, &format!(r#"{{"type":"join","room":"{room}"}}"#));
    }

    /// Advances time, with every tick that is due.
    fn pass(&mut self, ms: u64) {
        let end_us = self.now.mono_us + ms * 1_000;
        while let Some(due_us) = self.engine.next_tick_us(self.now).filter(|due_us| *due_us <= end_us) {
            self.now.mono_us = due_us.max(self.now.mono_us + 1);
            self.handle(Input::Tick);
            self.turn();
        }
        self.now.mono_us = end_us;
    }

    fn charged(&self) -> i64 {
        self.counters.memory_charged.get() as i64
    }

    fn refused(&self) -> u64 {
        self.counters.refused.get() + self.counters.errors.get()
    }

    /// Performs an action, and compares the bytes that it added with the bytes charged.
    #[track_caller]
    fn hold(&mut self, what: &str, mut act: impl FnMut(&mut One)) {
        let before = self.charged();
        let counted = allocation_counter::measure(|| act(self));
        let (held, charged) = (counted.bytes_current, self.charged() - before);
        println!("{what}: {held} bytes held, {charged} charged, {} %", held * 100 / charged.max(1));
        assert_eq!(self.refused(), 0, "{what}: all is taken in");
        assert!(held * 100 <= charged * HELD_PERCENT_MAX, "{what}: {held} bytes are held and {charged} charged");
        assert!(held * 100 >= charged * HELD_PERCENT_MIN, "{what}: {held} bytes are held and {charged} charged");
    }
}

#[test]
fn idle_connections() {
    let mut one = One::new(|_| {});
    one.hold("4,096 connections", |one| (0..4_096).for_each(|slot| one.connect(slot, &format!("user{slot}"))));
    let long = "u".repeat(120);
    one.hold("with long names", |one| (4_096..8_192).for_each(|slot| one.connect(slot, &format!("{long}{slot}"))));
}

#[test]
fn connections_counted_for_addresses_and_users() {
    let mut one = One::new(|settings| {
        settings.limits.connections_per_user = 16;
        settings.limits.connections_per_ip = 16;
        settings.limits.connect_rate_per_ip = Rate::new(50, 1_000);
    });
    one.hold("4,096 connections", |one| (0..4_096).for_each(|slot| one.connect(slot, &format!("user{slot}"))));
}

#[test]
fn rooms_of_their_own() {
    let mut one = One::new(|_| {});
    (0..300).for_each(|slot| one.connect(slot, &format!("user{slot}")));
    one.hold("300 x 128 rooms", |one| {
        for slot in 0..300 {
            (0..128).for_each(|room| one.join(slot, &format!("room-{slot}-{room}")));
        }
        // Presence news has been sent to the members.
        one.pass(1_000);
    });
}

#[test]
fn rooms_with_long_names_and_no_presence() {
    let mut one = One::new(|settings| Arc::make_mut(&mut settings.rooms).presence = false);
    (0..100).for_each(|slot| one.connect(slot, &format!("user{slot}")));
    let long = "r".repeat(110);
    one.hold("100 x 128 rooms", |one| {
        for slot in 0..100 {
            (0..128).for_each(|room| one.join(slot, &format!("{long}-{slot}-{room}")));
        }
    });
}

#[test]
fn members_of_shared_rooms() {
    let mut one = One::new(|_| {});
    (0..600).for_each(|slot| one.connect(slot, &format!("user{slot}")));
    one.hold("600 members of each of 100 rooms", |one| {
        for slot in 0..600 {
            (0..100).for_each(|room| one.join(slot, &format!("room-{room}")));
        }
        one.pass(1_000);
    });
}

#[test]
fn one_user_on_many_connections() {
    let mut one = One::new(|_| {});
    (0..5_000).for_each(|slot| one.connect(slot, "ann"));
    one.hold("5,000 connections of a user in a room", |one| {
        (0..5_000).for_each(|slot| one.join(slot, "lobby"));
        one.pass(1_000);
    });
}

#[test]
fn numberings_of_idle_rooms() {
    let mut one = One::new(|settings| Arc::make_mut(&mut settings.rooms).presence_grace_ms = 0);
    one.connect(0, "ann");
    one.hold("20,000 numberings", |one| {
        for room in 0..20_000 {
            one.join(0, &format!("room-{room}"));
            one.say(0, &format!(r#"{{"type":"leave","room":"room-{room}"}}"#));
        }
        one.pass(1_000);
    });
    assert_eq!(one.counters.rooms_held.get(), 0);
}

#[test]
fn histories_and_keys() {
    let mut one = One::new(|settings| Arc::make_mut(&mut settings.rooms).history_size = 100_000);
    one.connect(0, "ann");
    for room in ["plain", "keyed"] {
        one.join(0, room);
    }
    one.hold("20,000 messages", |one| {
        (0..20_000).for_each(|_| one.say(0, r#"{"type":"publish","room":"plain","data":"hello"}"#));
    });
    one.hold("20,000 messages with keys", |one| {
        for key in 0..20_000 {
            one.say(0, &format!(r#"{{"type":"publish","room":"keyed","key":"{key}","data":"hello"}}"#));
        }
    });
}

#[test]
fn what_was_charged_is_given_back_and_freed() {
    let mut one = One::new(|settings| {
        let rooms = Arc::make_mut(&mut settings.rooms);
        (rooms.numbering_ttl_ms, rooms.presence_grace_ms, rooms.history_ttl_ms) = (1_000, 0, 1_000);
        settings.limits.command_rate = Rate::new(1_000_000, 1_000);
        settings.limits.message_rate_per_user = Rate::new(200, 10_000);
        settings.limits.connections_per_user = 16;
    });
    let crowd = |one: &mut One| {
        for slot in 0..2_000 {
            one.connect(slot, &format!("user{slot}"));
            (0..32).for_each(|room| one.join(slot, &format!("room-{slot}-{room}")));
            one.say(slot, &format!(r#"{{"type":"publish","room":"room-{slot}-0","data":"hello"}}"#));
        }
        one.pass(1_000);
        let full = one.charged();
        (0..2_000).for_each(|slot| one.handle(Input::Disconnected { slot }));
        one.turn();
        one.pass(60_000);
        one.turn();
        assert_eq!(one.charged(), 0);
        full
    };
    let mut full = 0;
    let counted = allocation_counter::measure(|| full = crowd(&mut one));
    println!("{full} bytes were charged, {} are held after all have gone", counted.bytes_current);
    assert!(counted.bytes_current * 20 < full, "{} of {full} bytes are still held", counted.bytes_current);
}
