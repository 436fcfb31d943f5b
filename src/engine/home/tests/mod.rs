//! The opening and the end of connections, by the inputs and outputs of an engine.

mod accounts;
mod addresses;
mod chat;
mod crowd;
mod dialects;
mod ends;
mod flow;
mod greeting;
mod lanes;
mod limits;
mod machine;
mod members;
mod memory;
mod opening;
mod presence;
mod refusing;
mod resuming;
mod tokens;
mod traces;
mod verification;

use std::net::IpAddr;
use std::sync::Arc;

use super::super::Engine;
use crate::base::counters::CoreCounters;
use crate::base::ids::CoreId;
use crate::base::limits::{
    CLOSE_TIMEOUT_MS, HALF_OPEN_MAX, HAND_OVER_MS, HEAD_BYTES_MAX, HEAD_TIMEOUT_MS, HEADS_BYTES_MAX, SLOW_AFTER_MS,
    TICK_MS,
};
use crate::base::time::Now;
use crate::engine::input::Input;
use crate::engine::output::{Output, Send};
use crate::engine::session::Phase;
use crate::engine::settings::{Settings, SlowPolicy};
use crate::wire::client::client_frame;
use crate::wire::frame::Opcode;

const HEAD: &str = "GET /ws?user=ann HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A socket from 192.0.2.1.
fn accepted(slot: u32) -> Input<'static> {
    Input::Accepted { slot, peer: IpAddr::from([192, 0, 2, 1]) }
}

struct One {
    engine: Engine,
    output: Output,
    now: Now,
    counters: Arc<CoreCounters>,
}

impl One {
    fn new() -> One {
        One::with(Settings { cores: 1, ..Settings::for_tests() })
    }

    fn with(settings: Settings) -> One {
        let counters = Arc::new(CoreCounters::default());
        let engine = Engine::new(Arc::new(settings), CoreId(0), 1, counters.clone());
        let now = Now { mono_us: 1_000_000, unix_ms: 1_700_000_000_000 };
        One { engine, output: Output::default(), now, counters }
    }

    fn handle(&mut self, input: Input<'_>) {
        self.engine.handle(self.now, input, &mut self.output);
    }

    fn receive(&mut self, slot: u32, bytes: &[u8]) {
        self.handle(Input::Received { slot, bytes: &mut bytes.to_vec() });
    }

    /// The sends of a turn; the kernel takes them at once.
    fn turn(&mut self) -> Vec<Send> {
        self.engine.finish_turn(self.now, &mut self.output);
        let sends = std::mem::take(&mut self.output.sends);
        for send in &sends {
            self.handle(Input::Sent { slot: send.slot });
        }
        sends
    }

    fn pass_slowly(&mut self, ms: u64) {
        (0..ms / TICK_MS).for_each(|_| self.pass(TICK_MS));
    }

    fn pass(&mut self, ms: u64) {
        self.now.mono_us += ms * 1_000;
        self.handle(Input::Tick);
    }
}

impl Engine {
    /// Addresses and users that are remembered.
    fn counted(&self) -> usize {
        self.limiter.entries() + self.users.entries()
    }
}

#[test]
fn the_answer_to_a_close_is_the_last_send() {
    let mut one = One::new();
    one.handle(accepted(0));
    one.receive(0, HEAD.as_bytes());
    let opening = one.turn();
    assert!(opening.len() == 1 && !opening[0].is_last, "the connection stays open: {opening:?}");
    let mut closing = client_frame(Opcode::Ping, b"still here", [1, 2, 3, 4]);
    closing.extend(client_frame(Opcode::Close, &1000_u16.to_be_bytes(), [1, 2, 3, 4]));
    one.receive(0, &closing);
    let sends = one.turn();
    assert!(sends.len() == 1 && sends[0].is_last, "pong and close in one: {sends:?}");
    assert_eq!(sends[0].bytes[sends[0].bytes.len() - 4..], [0x88, 2, 0x03, 0xe8]);
    assert_eq!(one.output.closes, [0]);
}

#[test]
fn a_room_that_a_query_names_twice_is_joined_once() {
    let mut one = One::new();
    one.handle(accepted(0));
    one.receive(0, HEAD.replace("user=ann", "user=ann&room=a&room=b&room=a").as_bytes());
    let text: String = one.turn().iter().map(|send| String::from_utf8_lossy(&send.bytes).into_owned()).collect();
    assert_eq!(text.matches(r#""type":"joined""#).count(), 2, "{text}");
}

#[test]
fn heads_in_parts_are_kept_as_long_as_they_may_come() {
    let mut one = One::new();
    let (begin, end) = HEAD.split_at(40);
    for slot in 0..2 {
        one.handle(accepted(slot));
        one.receive(slot, begin.as_bytes());
    }
    assert!(one.turn().is_empty());
    one.receive(1, end.as_bytes());
    let sends = one.turn();
    assert!(sends.len() == 1 && sends[0].slot == 1 && sends[0].bytes.starts_with(b"HTTP/1.1 101"), "{sends:?}");
    // The deadline of a head that came is let go of by the next connection, that of one that has not come stays.
    one.handle(accepted(2));
    assert_eq!(one.engine.home.lobby.awaited().len(), 3, "slot 0 still waits before it");
    one.handle(Input::Disconnected { slot: 0 });
    one.handle(accepted(3));
    assert_eq!(one.engine.home.lobby.awaited(), [2, 3]);
    one.pass(HEAD_TIMEOUT_MS + TICK_MS);
    one.turn();
    assert_eq!(one.output.closes, [0, 2, 3]);
}

#[test]
fn messages_that_may_be_skipped_make_room_for_replies() {
    let mut settings = Settings { cores: 1, outbox_bytes: 16 * 1024, ..Settings::for_tests() };
    Arc::make_mut(&mut settings.rooms).slow_policy = SlowPolicy::Skip;
    let mut one = One::with(settings);
    one.handle(accepted(0));
    one.receive(0, HEAD.replace("user=ann", "user=ann&room=a").as_bytes());
    one.turn();
    // A send that the kernel does not take: everything after it waits in the outbox.
    one.receive(0, &client_frame(Opcode::Ping, b"", [1, 2, 3, 4]));
    one.engine.finish_turn(one.now, &mut one.output);
    assert_eq!(one.output.sends.drain(..).count(), 1);
    // It has had its time.
    one.pass_slowly(SLOW_AFTER_MS + 2 * TICK_MS);
    for id in 0..30 {
        let text = format!(r#"{{"type":"publish","room":"a","id":{id},"data":"{}"}}"#, "x".repeat(1_000));
        one.receive(0, &client_frame(Opcode::Text, text.as_bytes(), [1, 2, 3, 4]));
        one.engine.finish_turn(one.now, &mut one.output);
    }
    one.handle(Input::Sent { slot: 0 });
    let mut text = Vec::new();
    loop {
        let sends = one.turn();
        if sends.is_empty() {
            break;
        }
        sends.iter().for_each(|send| text.extend_from_slice(&send.bytes));
    }
    assert!(one.output.closes.is_empty() && one.output.ended.is_empty(), "a room that skips closes nobody");
    let text = String::from_utf8_lossy(&text);
    assert_eq!(text.matches(r#""type":"published""#).count(), 30, "{text}");
    assert!(text.contains(r#""type":"gap""#) && text.contains(r#""seq":30,"#), "{text}");
}

#[test]
fn the_oldest_socket_without_a_request_makes_way() {
    let mut one =
        One::with(Settings { cores: 1, sockets_max: u32::MAX, max_connections_per_core: 100, ..Settings::for_tests() });
    for slot in 0..HALF_OPEN_MAX {
        one.handle(accepted(slot));
    }
    assert!(one.output.closes.is_empty());
    one.receive(1, HEAD.as_bytes());
    one.handle(accepted(HALF_OPEN_MAX));
    assert!(one.output.closes.is_empty(), "a WebSocket is none of them");
    one.handle(accepted(HALF_OPEN_MAX + 1));
    one.handle(accepted(HALF_OPEN_MAX + 2));
    assert_eq!(one.output.closes, [0, 2], "in the order in which they came, and no WebSocket");
    assert_eq!((one.counters.refused_crowded.get(), one.counters.upgrading.get()), (2, u64::from(HALF_OPEN_MAX)));
    assert_eq!(one.output.refused.len(), 2);
    // The newest is served.
    one.receive(HALF_OPEN_MAX + 2, HEAD.as_bytes());
    assert_eq!(one.counters.connections.get(), 2);
}

#[test]
fn the_last_slots_stay_free_for_whoever_comes() {
    let mut one =
        One::with(Settings { cores: 1, sockets_max: 30, max_connections_per_core: 20, ..Settings::for_tests() });
    for slot in 0..15 {
        one.handle(accepted(slot));
        one.receive(slot, HEAD.as_bytes());
    }
    for slot in 15..25 {
        one.handle(accepted(slot));
    }
    assert!(one.output.closes.is_empty());
    one.handle(accepted(25));
    assert_eq!(one.output.closes, [15]);
    // Where no head is awaited, the socket that was told to go first is closed.
    for slot in 16..26 {
        one.receive(slot, b"GET /nowhere HTTP/1.1\r\n\r\n");
    }
    one.turn();
    one.output.closes.clear();
    one.handle(accepted(15));
    one.receive(15, b"GET /nowhere HTTP/1.1\r\n\r\n");
    assert_eq!(one.output.closes.len(), 1, "{:?}", one.output.closes);
    assert_eq!(one.output.closes, [16], "who was told first");
    assert_eq!(one.counters.connections.get(), 15, "no WebSocket makes way");
}

#[test]
fn parts_of_heads_are_bounded_together() {
    let mut one = One::new();
    let part = [b"GET /ws HTTP/1.1\r\nX: ".as_slice(), &[b'x'; HEAD_BYTES_MAX - 100]].concat();
    let fit = (HEADS_BYTES_MAX / part.len()) as u32;
    for slot in 0..fit {
        one.handle(accepted(slot));
        one.receive(slot, &part);
    }
    assert!(one.output.closes.is_empty());
    one.handle(accepted(fit));
    one.receive(fit, &part);
    assert_eq!(one.output.closes, [0]);
    for slot in 1..=fit {
        one.handle(Input::Disconnected { slot });
    }
    assert_eq!((one.engine.home.lobby.heads.bytes(), one.engine.budget.used()), (0, 0));
}

#[test]
fn a_drain_that_hands_over_refuses_nobody() {
    let mut one = One::new();
    for slot in 0..3 {
        one.handle(accepted(slot));
    }
    one.receive(0, HEAD.as_bytes());
    one.turn();
    one.handle(Input::Drain { window_ms: 0, hands_over: true });
    one.pass(TICK_MS);
    assert_eq!(one.engine.open_slots(), 3, "those that have connected may still ask");
    one.receive(1, HEAD.as_bytes());
    let sends = one.turn();
    let opening = sends.iter().find(|send| send.slot == 1).expect("an answer");
    assert!(opening.bytes.starts_with(b"HTTP/1.1 101"), "{opening:?}");
    one.pass(TICK_MS);
    let sends = one.turn();
    let told = sends.iter().find(|send| send.slot == 1).expect("a word");
    assert!(String::from_utf8_lossy(&told.bytes).contains("\"reconnect\""), "{told:?}");
    one.pass(HAND_OVER_MS);
    assert_eq!(one.engine.open_slots(), 2, "nobody waits for a head that does not come");
    one.pass(CLOSE_TIMEOUT_MS);
    assert_eq!(one.engine.open_slots(), 0);
}

#[test]
fn an_address_is_known_until_the_connection_ends() {
    let mut one = One::new();
    one.handle(accepted(0));
    assert_eq!(one.engine.home.address(0), IpAddr::from([192, 0, 2, 1]));
    one.handle(Input::Peer { slot: 0, peer: IpAddr::from([203, 0, 113, 9]) });
    one.receive(0, HEAD.as_bytes());
    assert_eq!(one.engine.home.address(0), IpAddr::from([203, 0, 113, 9]));
    one.handle(Input::Disconnected { slot: 0 });
    assert_eq!(one.output.ended[0].peer, IpAddr::from([203, 0, 113, 9]));
    assert_eq!(one.engine.home.address(0), IpAddr::from([0, 0, 0, 0]));
}
