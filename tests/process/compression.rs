//! permessage-deflate (RFC 7692) on the real server: negotiation, which clients get compressed messages, how often each
//! message is compressed, and the cost of hostile messages. The clients here inflate with zlib, independently of the
//! server's code.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::client::Client;
use crate::http::{self, client_frame, close_code};
use crate::server::Server;

const ENABLED: &str = "compression.enabled=true";
const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const BINARY: &str = "Sec-WebSocket-Protocol: roomring.v1.binary\r\n";

/// Opens a WebSocket with an offer and gives the answer's `Sec-WebSocket-Extensions`.
fn offer(server: &Server, path: &str, more: &str) -> (TcpStream, Option<String>) {
    let mut stream = http::open(server.listen);
    stream.write_all(http::upgrade_head(server.listen, path, more).as_bytes()).expect("the server reads");
    let answer = http::parse(http::read_head(&mut stream).as_bytes());
    assert_eq!(answer.status, 101, "{answer:?}");
    let extensions = answer.field("Sec-WebSocket-Extensions").map(str::to_owned);
    (stream, extensions)
}

/// A client that takes compressed messages.
struct Reader {
    stream: TcpStream,
    received: Vec<u8>,
}

/// A message as it came.
#[derive(Debug)]
struct Got {
    compressed: bool,
    /// Bytes of its payload on the wire.
    wire_bytes: usize,
    payload: Vec<u8>,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap_or_else(|error| panic!("JSON ({error}): {self:?}"))
    }
}

impl Reader {
    /// Past the welcome.
    fn connect(server: &Server, user: &str, parameters: &str, more: &str) -> Self {
        let offered = format!("Sec-WebSocket-Extensions: permessage-deflate{parameters}\r\n{more}");
        let (stream, agreed) = offer(server, &format!("/ws?user={user}"), &offered);
        assert!(agreed.is_some_and(|agreed| agreed.starts_with(AGREED)));
        let mut reader = Self { stream, received: Vec::new() };
        reader.wait_for(|payload| payload.windows(9).any(|part| part == b"\"welcome\""));
        reader
    }

    fn send(&mut self, command: &Value) {
        self.stream.write_all(&client_frame(0x81, command.to_string().as_bytes())).expect("the server reads");
    }

    /// The same, compressed.
    fn send_compressed(&mut self, command: &Value) {
        let frame = client_frame(0xc1, &deflated(command.to_string().as_bytes()));
        self.stream.write_all(&frame).expect("the server reads");
    }

    /// The next message whose payload fits.
    fn wait_for(&mut self, fits: impl Fn(&[u8]) -> bool) -> Got {
        let mut buffer = [0; 16 * 1024];
        loop {
            while let Some((first, raw)) = self.take_frame() {
                let payload = if first & 0x40 == 0 { raw.clone() } else { inflated(&raw) };
                assert!(first & 0x40 == 0 || first & 0x0f < 3, "a compressed control frame");
                if first & 0x0f < 3 && fits(&payload) {
                    return Got { compressed: first & 0x40 != 0, wire_bytes: raw.len(), payload };
                }
            }
            let count = self.stream.read(&mut buffer).expect("the server goes on");
            assert!(count > 0, "the connection ended");
            self.received.extend_from_slice(&buffer[..count]);
        }
    }

    fn wait_for_text(&mut self, part: &str) -> Got {
        self.wait_for(|payload| payload.windows(part.len()).any(|window| window == part.as_bytes()))
    }

    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let frame = http::server_frames(&self.received).into_iter().next()?;
        let header = match frame.1.len() {
            0..=125 => 2,
            126..=0xffff => 4,
            _ => 10,
        };
        self.received.drain(..header + frame.1.len());
        Some(frame)
    }

    fn join(&mut self, room: &str) -> Got {
        self.send(&json!({"type": "join", "room": room, "id": 1}));
        self.wait_for_text("\"joined\"")
    }
}

fn inflated(payload: &[u8]) -> Vec<u8> {
    let input = [payload, &[0, 0, 0xff, 0xff]].concat();
    let mut output = vec![0; 1_100 * input.len()];
    let mut stream = zlib_rs::Inflate::new(false, 15);
    let status = stream.decompress(&input, &mut output, zlib_rs::InflateFlush::SyncFlush);
    assert_eq!((status, stream.total_in()), (Ok(zlib_rs::Status::Ok), input.len() as u64), "{payload:02x?}");
    output.truncate(stream.total_out() as usize);
    output
}

fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut stream = zlib_rs::Deflate::new(9, false, 15);
    let mut output = vec![0; payload.len() + 64];
    stream.compress(payload, &mut output, zlib_rs::DeflateFlush::SyncFlush).expect("there is room");
    output.truncate(stream.total_out() as usize - 4);
    output
}

fn compressed_messages(server: &Server) -> u64 {
    server.metric("roomring_compressed_messages_total", "") as u64
}

#[test]
fn it_is_off_unless_configured() {
    let server = Server::start(&["server.echo_path=/echo"]);
    for path in ["/ws", "/echo"] {
        let (_, agreed) = offer(&server, path, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
        assert_eq!(agreed, None);
    }
}

#[test]
fn offers_are_answered_header_by_header() {
    let server = Server::start(&[ENABLED, "server.echo_path=/echo"]);
    let field = |offer: &str| format!("Sec-WebSocket-Extensions: {offer}\r\n");
    let windowed = |bits: u8| Some(format!("{AGREED}; server_max_window_bits={bits}"));
    let plain = Some(AGREED.to_owned());
    let cases = [
        (String::new(), None),
        (field("permessage-deflate"), plain.clone()),
        (field("permessage-deflate; client_max_window_bits"), plain.clone()),
        (field("permessage-deflate; client_max_window_bits=\"10\"; server_no_context_takeover"), plain.clone()),
        (field("permessage-deflate; server_max_window_bits=15"), windowed(15)),
        (field("permessage-deflate; server_max_window_bits=13"), windowed(12)),
        (field("permessage-deflate; server_max_window_bits=11"), None),
        (field("permessage-deflate; server_max_window_bits=9, permessage-deflate"), plain.clone()),
        (field("permessage-deflate; server_max_window_bits=8"), None),
        (field("permessage-deflate; server_max_window_bits=8, permessage-deflate"), plain.clone()),
        (field("permessage-deflate; server_max_window_bits=08"), None),
        (field("permessage-deflate; x"), None),
        (field("permessage-deflate; server_no_context_takeover; server_no_context_takeover"), None),
        (field("permessage-bzip2"), None),
        (field("permessage-bzip2") + &field("permessage-deflate"), plain),
    ];
    for (offered, answer) in cases {
        for path in ["/ws", "/echo"] {
            assert_eq!(offer(&server, path, &offered).1, answer, "{path} {offered:?}");
            assert_eq!(offer(&server, path, &(BINARY.to_owned() + &offered)).1, answer, "{path} {offered:?}");
        }
    }
    let malformed = http::upgrade_head(server.listen, "/ws", &field("permessage-deflate; ="));
    assert_eq!(http::exchange(server.listen, malformed.as_bytes()).status, 400);
}

#[test]
fn a_broadcast_to_mixed_members_is_compressed_once_for_each_way_it_is_read() {
    let server = Server::start(&[ENABLED, "compression.min_bytes=500", "rooms.presence=false"]);
    let mut alice = Client::connect(&server, "alice");
    alice.join("lobby");
    let mut json: Vec<Reader> = (0..3).map(|_| Reader::connect(&server, "bob", "", "")).collect();
    json.push(Reader::connect(&server, "carol", "; server_max_window_bits=14", ""));
    let mut binary: Vec<Reader> = (0..2).map(|_| Reader::connect(&server, "dave", "", BINARY)).collect();
    json.iter_mut().chain(&mut binary).for_each(|reader| drop(reader.join("lobby")));

    let before = compressed_messages(&server);
    let long = "all work and no play ".repeat(100);
    assert_eq!(alice.publish("lobby", json!(long)), 1);
    assert_eq!(alice.messages("lobby", 1)[0]["data"], long);
    for reader in &mut json {
        let got = reader.wait_for_text("\"message\"");
        assert!(got.compressed && got.wire_bytes < 400, "{got:?}");
        assert_eq!((&got.json()["data"], &got.json()["seq"]), (&json!(long), &json!(1)));
    }
    for reader in &mut binary {
        let got = reader.wait_for(|payload| payload.starts_with(&131_u32.to_le_bytes()));
        assert!(got.compressed && got.wire_bytes < 400, "{got:?}");
        assert!(got.payload.ends_with(format!("\"{long}\"").as_bytes()));
    }
    assert_eq!(compressed_messages(&server) - before, 3, "two windows of JSON, one of binary, for six members");
    let bytes = |name: &str| server.metric(&format!("roomring_compressed_bytes_{name}_total"), "");
    assert!(bytes("before") > 3.0 * 2_000.0 && bytes("after") < bytes("before") / 4.0);

    // Below the threshold it stays as it is, and compressed commands are taken.
    json[0].send_compressed(&json!({"type": "publish", "room": "lobby", "id": 2, "data": "short ".repeat(20)}));
    for reader in &mut json {
        let got = reader.wait_for_text("\"seq\":2,\"from\":\"bob\"");
        assert!(!got.compressed, "{got:?}");
    }
    assert_eq!(compressed_messages(&server) - before, 3);

    // A burst is delivered in order, whatever of it is compressed.
    for at in 0..40 {
        let words = if at % 3 == 0 { "long ".repeat(200) } else { "x".to_owned() };
        alice.send(&json!({"type": "publish", "room": "lobby", "data": [at, words]}));
    }
    for reader in &mut json {
        for at in 0..40 {
            let got = reader.wait_for_text("\"message\"");
            assert_eq!((&got.json()["seq"], &got.json()["data"][0]), (&json!(3 + at), &json!(at)));
            assert_eq!(got.compressed, at % 3 == 0);
        }
    }
}

#[test]
fn members_on_several_cores_share_one_compression() {
    let server = Server::start(&[ENABLED, "server.cores=3", "rooms.presence=false"]);
    let mut readers: Vec<Reader> = (0..24).map(|_| Reader::connect(&server, "bob", "", "")).collect();
    readers.iter_mut().for_each(|reader| drop(reader.join("lobby")));
    let before = compressed_messages(&server);
    for at in 0..10 {
        let data = format!("{at} {}", "again and again ".repeat(60));
        readers[at].send(&json!({"type": "publish", "room": "lobby", "data": data}));
        for reader in &mut readers {
            let got = reader.wait_for_text("\"message\"");
            assert!(got.compressed);
            assert_eq!(got.json()["data"], data);
        }
    }
    assert_eq!(compressed_messages(&server) - before, 10);
}

#[test]
fn replies_are_compressed_and_history_is_whole_for_everyone() {
    let server = Server::start(&[ENABLED, "rooms.presence=false"]);
    let mut alice = Reader::connect(&server, "alice", "", "");
    alice.join("lobby");
    for at in 0..20 {
        alice.send(&json!({"type": "publish", "room": "lobby", "data": format!("{at} {}", "word ".repeat(150))}));
    }
    alice.wait_for_text("\"seq\":20,");
    alice.send(&json!({"type": "history", "room": "lobby", "id": 7}));
    let page = alice.wait_for_text("\"history\"");
    assert!(page.compressed && page.wire_bytes < page.payload.len() / 4, "{} bytes", page.wire_bytes);
    assert_eq!(page.json()["messages"].as_array().map(Vec::len), Some(20));
    let joined = Reader::connect(&server, "bob", "; server_max_window_bits=12", "").join("lobby");
    assert!(joined.compressed);
    assert_eq!(joined.json()["messages"], page.json()["messages"]);
    let mut plain = Client::connect(&server, "carol");
    assert_eq!(plain.join("lobby")["messages"], page.json()["messages"]);
    let mut binary = Reader::connect(&server, "dave", "", BINARY);
    binary.stream.write_all(&client_frame(0x82, b"\x01\0\0\0lobby")).expect("the server reads");
    for at in 0..20 {
        let got = binary.wait_for(|payload| payload.starts_with(&131_u32.to_le_bytes()));
        assert!(got.compressed && got.payload[4..12] == (at + 1_u64).to_le_bytes());
    }
    drop((alice, plain, binary));
    server.wait_until_empty();
}

/// Opens, sends raw bytes and gives the close code that answers them.
fn code_for(server: &Server, bytes: &[u8]) -> u16 {
    let (mut stream, agreed) = offer(server, "/ws", "Sec-WebSocket-Extensions: permessage-deflate\r\n");
    assert!(agreed.is_some());
    // The server may close before it has read everything.
    let _ = stream.write_all(bytes);
    close_code(&mut stream)
}

#[test]
fn a_message_within_the_limit_may_be_larger_when_it_is_compressed() {
    let server = Server::start(&[ENABLED]);
    let command = |bytes: usize| {
        let frame = r#"{"type":"ping","id":7,"noise":""}"#;
        frame.replace("\"\"", &format!("\"{}\"", "x".repeat(bytes - frame.len())))
    };
    // Blocks of what could not be compressed, as deflate writes them (RFC 1951 section 3.2.4).
    let stored = |text: &str| -> Vec<u8> {
        let mut payload = Vec::new();
        for chunk in text.as_bytes().chunks(500) {
            let length = u16::try_from(chunk.len()).expect("at most 500");
            payload.extend([&[0][..], &length.to_le_bytes(), &(!length).to_le_bytes(), chunk].concat());
        }
        payload.push(0);
        payload
    };
    let most = stored(&command(65_536));
    assert!(most.len() > 66_000, "{} bytes", most.len());
    let mut alice = Reader::connect(&server, "alice", "", "");
    alice.stream.write_all(&client_frame(0xc1, &most)).expect("the server reads");
    assert_eq!(alice.wait_for_text("\"pong\"").json()["id"], 7);
    assert_eq!(code_for(&server, &client_frame(0xc1, &stored(&command(65_537)))), 1009, "not one byte more");
}

#[test]
fn bombs_and_broken_messages_cost_their_sender_the_connection() {
    let server = Server::start(&[ENABLED]);
    let resident = || server.metric("roomring_process_resident_memory_bytes", "");
    let cut_short = deflated(&b"cut short ".repeat(100));
    let cases = [
        ("a bomb", client_frame(0xc2, &deflated(&vec![0; 70_000])), 1009),
        ("not deflate", client_frame(0xc1, b"\xff\xff\xff"), 1007),
        ("cut short", client_frame(0xc1, &cut_short[..cut_short.len() - 3]), 1007),
        ("not UTF-8", client_frame(0xc1, &deflated(&[0xff; 100])), 1007),
        ("a compressed ping", client_frame(0xc9, b"x"), 1002),
        ("a mark in the middle", [client_frame(0x01, b"a"), client_frame(0xc0, b"b")].concat(), 1002),
        ("another reserved bit", client_frame(0xa1, b"a"), 1002),
        ("too large before inflating", client_frame(0xc2, &[7; 65_537]), 1009),
        ("larger than deflate makes any message", client_frame(0xc2, &[0; 80_000]), 1009),
        ("blocks marked as the last", client_frame(0xc2, &b"\x03\x00".repeat(32_700)), 1007),
        ("empty blocks", client_frame(0xc2, &[0x02, 0x08, 0x20, 0x80, 0x00].repeat(13_000)), 1009),
    ];
    for (what, bytes, code) in &cases {
        assert_eq!(code_for(&server, bytes), *code, "{what}");
    }
    let mut alice = Client::connect(&server, "alice");
    let bomb = client_frame(0xc2, &deflated(&vec![0; 50 << 20]));
    assert!(bomb.len() < 65_536, "{} bytes", bomb.len());
    let before = resident();
    for _ in 0..30 {
        assert_eq!(code_for(&server, &bomb), 1009);
    }
    let grown = resident() - before;
    assert!(grown < 16e6, "{grown} bytes more for bombs of 50 MiB");
    alice.join("lobby");
    alice.publish("lobby", json!("everyone else goes on"));
    drop(alice);
    server.wait_until_empty();
}
