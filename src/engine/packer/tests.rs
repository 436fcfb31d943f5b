//! Compression through a whole engine: the bytes that each connection receives, and how often they are compressed.

use std::sync::Arc;

use crate::base::counters::CoreCounters;
use crate::base::ids::CoreId;
use crate::base::time::Now;
use crate::engine::Engine;
use crate::engine::input::Input;
use crate::engine::output::Output;
use crate::engine::settings::{Compression, Settings};
use crate::wire::client::{
    ServerDecoder, append_client_frame, append_compressed_client_frame, client_fragment, client_frame,
};
use crate::wire::deflate::{Compressor, Inflater, Window};
use crate::wire::frame::Opcode;

const KEY: [u8; 4] = [9, 8, 7, 6];
const MAX: usize = 1 << 20;

/// The messages sent to a connection: each frame's first byte and its inflated payload.
type SentMessages = Vec<(u8, String)>;

struct OneEngine {
    engine: Engine,
    output: Output,
    counters: Arc<CoreCounters>,
    now: Now,
}

impl OneEngine {
    fn new(compression: Option<Compression>) -> Self {
        let settings = Settings { cores: 1, compression, echo_path: "/echo".to_owned(), ..Settings::for_tests() };
        let counters = Arc::new(CoreCounters::default());
        let engine = Engine::new(Arc::new(settings), CoreId(0), 1, counters.clone());
        let now = Now { mono_us: 1_000_000, unix_ms: 1_700_000_000_000 };
        Self { engine, output: Output::default(), counters, now }
    }

    fn enabled() -> Self {
        Self::new(Some(Compression { min_bytes: 200, level: 6 }))
    }

    fn receive(&mut self, slot: u32, bytes: &[u8]) {
        let input = Input::Received { slot, bytes: &mut bytes.to_vec() };
        self.engine.handle(self.now, input, &mut self.output);
    }

    /// Opens a connection at a path and returns the `Sec-WebSocket-Extensions` of the response.
    fn open(&mut self, slot: u32, path: &str, more: &str) -> Option<String> {
        self.engine.handle(
            self.now,
            Input::Accepted { slot, peer: std::net::IpAddr::from([192, 0, 2, 1]) },
            &mut self.output,
        );
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        );
        self.receive(slot, head.as_bytes());
        let answer = self.turn(slot);
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert!(text.starts_with("HTTP/1.1 101 "), "{text}");
        let mut lines = text.lines().take_while(|line| !line.is_empty());
        lines.find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: ")).map(str::to_owned)
    }

    /// Ends the turn and returns the bytes sent to one connection.
    fn turn(&mut self, slot: u32) -> Vec<u8> {
        self.turn_of_all().into_iter().filter(|(its, _)| *its == slot).flat_map(|(_, bytes)| bytes).collect()
    }

    fn turn_of_all(&mut self) -> Vec<(u32, Vec<u8>)> {
        self.engine.finish_turn(self.now, &mut self.output);
        let sends = std::mem::take(&mut self.output.sends);
        for send in &sends {
            self.engine.handle(self.now, Input::Sent { slot: send.slot }, &mut self.output);
        }
        sends.into_iter().map(|send| (send.slot, send.bytes.to_vec())).collect()
    }

    fn compressed(&self) -> u64 {
        self.counters.compressed_messages.get()
    }
}

fn heard(bytes: &[u8]) -> SentMessages {
    let mut decoder = ServerDecoder::default();
    let mut inflater = Inflater::default();
    let mut rest = bytes;
    let mut heard = Vec::new();
    while !rest.is_empty() {
        let first = rest[0];
        let (used, message) = decoder.next_inflated(rest, MAX, &mut inflater).expect("legal");
        rest = &rest[used..];
        let message = message.expect("whole frames");
        heard.push((first, String::from_utf8_lossy(message.payload).into_owned()));
    }
    heard
}

fn publish(room: &str, data: &str) -> Vec<u8> {
    let text = format!(r#"{{"type":"publish","room":"{room}","data":"{data}"}}"#);
    client_frame(Opcode::Text, text.as_bytes(), KEY)
}

const DEFLATE: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
const DEFLATE_12: &str = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=12\r\n";
const BINARY: &str = "Sec-WebSocket-Protocol: roomring.v1.binary\r\n";

#[test]
fn compression_is_negotiated_only_if_enabled_and_offered() {
    let mut world = OneEngine::new(None);
    assert_eq!(world.open(0, "/ws", DEFLATE), None);
    let mut world = OneEngine::enabled();
    assert_eq!(world.open(0, "/ws", ""), None);
    let plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    assert_eq!(world.open(1, "/ws", DEFLATE).as_deref(), Some(plain));
    assert_eq!(world.open(2, "/echo", DEFLATE_12), Some(format!("{plain}; server_max_window_bits=12")));
    assert_eq!(world.open(3, "/ws", &DEFLATE_12.replace("12", "8")), None);
}

#[test]
fn a_broadcast_is_compressed_once_for_each_reading() {
    let mut world = OneEngine::enabled();
    let readers = [
        (0, String::new()),
        (1, BINARY.to_owned()),
        (2, DEFLATE.to_owned()),
        (3, DEFLATE.to_owned()),
        (4, DEFLATE_12.to_owned()),
        (5, format!("{DEFLATE}{BINARY}")),
        (6, format!("{DEFLATE}{BINARY}")),
    ];
    for (slot, more) in &readers {
        world.open(*slot, "/ws?room=a", more);
    }
    world.turn_of_all();
    let before = world.compressed();
    let data = "well, well, ".repeat(50);
    world.receive(0, &publish("a", &data));
    let sends = world.turn_of_all();
    assert_eq!(sends.len(), readers.len());
    for (slot, bytes) in &sends {
        let messages = heard(bytes);
        assert_eq!(messages.len(), 1, "{messages:?}");
        let (first, message) = &messages[0];
        assert!(message.contains(&data), "{message}");
        let opcode = if [1, 5, 6].contains(slot) { 2 } else { 1 };
        let compressed = if *slot < 2 { 0 } else { 0x40 };
        assert_eq!(*first, 0x80 | compressed | opcode, "slot {slot}");
        assert_eq!(bytes.len() < 200, compressed > 0, "slot {slot}: {} bytes", bytes.len());
    }
    assert_eq!(sends[2].1, sends[3].1, "the same bytes");
    assert_eq!(world.compressed() - before, 3, "JSON for two windows and binary for one");
    assert!(world.counters.compressed_bytes_after.get() < world.counters.compressed_bytes_before.get() / 4);

    // Below the threshold every client gets the plain frame. So do clients whose frame does not get smaller.
    world.receive(0, &publish("a", "short"));
    let sends = world.turn_of_all();
    assert!(sends.iter().all(|(_, bytes)| heard(bytes)[0].0 & 0x40 == 0), "{sends:?}");
    assert_eq!(world.compressed() - before, 3);
    let command = [&3_u32.to_le_bytes()[..], &1_u16.to_le_bytes(), b"a", &noise(400)].concat();
    world.receive(1, &client_frame(Opcode::Binary, &command, KEY));
    for (slot, bytes) in world.turn_of_all() {
        let compressed = heard(&bytes).iter().any(|(first, _)| first & 0x40 != 0);
        assert_eq!(compressed, [2, 3, 4].contains(&slot), "base64 gets smaller, noise does not: slot {slot}");
    }
    assert_eq!(world.compressed() - before, 5);
    // Nothing is compressed for a reading without members.
    for slot in 2..=6 {
        world.engine.handle(world.now, Input::Disconnected { slot }, &mut world.output);
    }
    world.receive(0, &publish("a", &data));
    assert_eq!(world.turn_of_all().len(), 2);
    assert_eq!(world.compressed() - before, 5);
}

/// Incompressible bytes.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn several_publications_of_a_turn_go_in_one_send_each_compressed_or_not() {
    let mut world = OneEngine::enabled();
    world.open(0, "/ws?room=a", DEFLATE);
    world.turn_of_all();
    let (long, short) = ("x".repeat(500), "y");
    let burst = [publish("a", &long), publish("a", short), publish("a", &long)].concat();
    world.receive(0, &burst);
    let messages = heard(&world.turn(0));
    let firsts: Vec<u8> = messages.iter().map(|(first, _)| *first).collect();
    assert_eq!(firsts, [0xc1, 0x81, 0xc1]);
    assert!(messages[0].1.contains(r#""seq":1,"#) && messages[2].1.contains(r#""seq":3,"#), "{messages:?}");
    assert_eq!(world.counters.messages_sent.get(), 5, "the welcome, the joined and the three");
}

#[test]
fn replies_and_echoes_above_the_threshold_are_compressed() {
    let mut world = OneEngine::enabled();
    world.open(0, "/ws?room=a", DEFLATE);
    world.turn_of_all();
    for _ in 0..5 {
        world.receive(0, &publish("a", &"z".repeat(100)));
    }
    world.turn_of_all();
    world.receive(0, &client_frame(Opcode::Text, br#"{"type":"history","room":"a","id":1}"#, KEY));
    let bytes = world.turn(0);
    let page = &heard(&bytes)[0];
    assert_eq!(page.0, 0xc1);
    assert!(page.1.starts_with(r#"{"type":"history","id":1"#) && bytes.len() < page.1.len() / 2, "{page:?}");

    world.open(1, "/echo", DEFLATE);
    let text = "echo ".repeat(100);
    world.receive(1, &client_frame(Opcode::Text, text.as_bytes(), KEY));
    assert_eq!(heard(&world.turn(1)), [(0xc1, text)]);
    world.receive(1, &client_frame(Opcode::Text, b"short", KEY));
    assert_eq!(heard(&world.turn(1)), [(0x81, "short".to_owned())]);
}

#[test]
fn compressed_messages_are_accepted_whole_and_in_fragments_if_negotiated() {
    let mut world = OneEngine::enabled();
    world.open(0, "/echo", DEFLATE);
    let text = "grüße ".repeat(60);
    let mut compressor = Compressor::new(6);
    let compressed = compressor.compress(Window::Bits15, text.as_bytes()).expect("smaller").to_vec();
    let mut stream = Vec::new();
    append_compressed_client_frame(&mut stream, Opcode::Text, &compressed, KEY);
    append_compressed_client_frame(&mut stream, Opcode::Binary, &compressed, KEY);
    append_client_frame(&mut stream, Opcode::Text, b"plain", KEY);
    let (begin, end) = compressed.split_at(10);
    let mut fragment = client_fragment(Opcode::Text, begin, KEY);
    fragment[0] |= 0x40;
    stream.extend(fragment);
    append_client_frame(&mut stream, Opcode::Ping, b"between", KEY);
    append_client_frame(&mut stream, Opcode::Continuation, end, KEY);
    let expected = [&text, &text, "plain", "between", &text];
    world.receive(0, &stream);
    let whole: Vec<String> = heard(&world.turn(0)).into_iter().map(|(_, message)| message).collect();
    assert_eq!(whole, expected);
    stream.iter().for_each(|byte| world.receive(0, &[*byte]));
    let by_bytes: Vec<String> = heard(&world.turn(0)).into_iter().map(|(_, message)| message).collect();
    assert_eq!(by_bytes, expected);
    assert_eq!(world.counters.messages_received.get(), 8);
    world.engine.handle(world.now, Input::Disconnected { slot: 0 }, &mut world.output);
    world.turn_of_all();
    assert_eq!(world.counters.memory_charged.get(), 0);
}

#[test]
fn invalid_compressed_frames_close_the_connection() {
    let mut compressor = Compressor::new(9);
    let mut framed = |first: u8, payload: &[u8]| {
        let payload = compressor.compress(Window::Bits15, payload).map_or(payload.to_vec(), <[u8]>::to_vec);
        let mut frame = client_frame(Opcode::Binary, &payload, KEY);
        frame[0] = first;
        frame
    };
    let cases = [
        ("a compressed ping", framed(0xc9, b"x"), 1002),
        ("a compressed continuation", [framed(0x01, b"a"), framed(0xc0, b"b")].concat(), 1002),
        ("another reserved bit", framed(0xe1, b"x"), 1002),
        ("the second reserved bit alone", framed(0xa1, b"x"), 1002),
        ("garbage", framed(0xc1, b"\xff\xff\xff"), 1007),
        ("text that is not UTF-8", framed(0xc1, &[0xff; 400]), 1007),
        ("a bomb", framed(0xc2, &vec![0; 100_000]), 1009),
        ("a message over the limit as it is", client_frame(Opcode::Binary, &[7; 65_537], KEY), 1009),
    ];
    for (what, bytes, code) in cases {
        let mut world = OneEngine::enabled();
        world.open(0, "/ws", DEFLATE);
        world.receive(0, &bytes);
        let sent = heard_close(&world.turn(0));
        assert_eq!(sent, Some(code), "{what}");
        assert_eq!(world.counters.closed_protocol.get(), 1);
    }
    let mut world = OneEngine::enabled();
    world.open(0, "/ws", "");
    world.receive(0, &framed(0xc1, &[b'x'; 400]));
    assert_eq!(heard_close(&world.turn(0)), Some(1002), "not negotiated");
}

fn heard_close(bytes: &[u8]) -> Option<u16> {
    let mut decoder = ServerDecoder::default();
    let mut rest = bytes;
    loop {
        let (used, message) = decoder.next(rest, MAX).expect("legal");
        rest = &rest[used..];
        match message {
            Some(message) if message.opcode == Opcode::Close => {
                return message.payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code));
            }
            Some(_) => {}
            None => return None,
        }
    }
}
