//! A fleet that offers permessage-deflate, against a server that agrees and one that declines.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use roomring::wire::deflate::{Compressor, Inflater, Window};
use roomring::wire::frame::{Opcode, close_frame, server_frame};
use roomring::wire::handshake::{Head, HttpRequest, accept_response, parse_head};

use super::super::address::Target;
use super::super::handshake::OpeningRequest;
use super::super::{Behavior, ConnectionEnd, Fleet, FleetEdge, FleetSettings};
use crate::measure::counters::Counters;

const MAX: usize = 1 << 20;

/// The message that server and client send.
fn chat() -> Vec<u8> {
    br#"{"type":"message","room":"lobby","text":"the same words again and again"}"#.repeat(7)
}

/// Input of the server: the head of the upgrade, and first byte and unmasked payload of a message.
type Got = (Vec<u8>, u8, Vec<u8>);

/// Sends a compressed message and a small one, receives a message, and closes.
fn serve(agrees: bool) -> (Target, JoinHandle<Got>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the client comes");
        let (mut head, mut buffer) = (Vec::new(), [0; 4_096]);
        let upgrade = loop {
            let count = stream.read(&mut buffer).expect("a request");
            head.extend_from_slice(&buffer[..count]);
            if let Head::Complete { request: HttpRequest::Upgrade(upgrade), .. } = parse_head(&head) {
                break upgrade;
            }
        };
        let mut answer = accept_response(&upgrade).to_vec();
        let frame = server_frame(Opcode::Text, &chat());
        if agrees {
            answer.truncate(answer.len() - 2);
            answer
                .extend_from_slice(b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n\r\n");
            let deflated = Compressor::new(1).compress_frames(Window::Bits15, &frame, 0, MAX).expect("smaller");
            answer.extend(deflated.frames);
        } else {
            answer.extend(frame);
        }
        answer.extend(server_frame(Opcode::Text, b"small"));
        stream.write_all(&answer).expect("it reads");
        let (first, payload) = masked_frame(&mut stream);
        stream.write_all(&close_frame(1000, "")).expect("it reads");
        // Until the client has left.
        let _ = stream.read_to_end(&mut Vec::new());
        (head, first, payload)
    });
    (Target { address, host: address.to_string(), path: "/".into(), secure: false }, server)
}

/// Reads one frame of a client: its first byte, and its payload unmasked.
fn masked_frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut header = [0; 2];
    stream.read_exact(&mut header).expect("a frame");
    let length = match header[1] & 0x7f {
        126 => {
            let mut length = [0; 2];
            stream.read_exact(&mut length).expect("its length");
            usize::from(u16::from_be_bytes(length))
        }
        short => usize::from(short),
    };
    let (mut mask, mut payload) = ([0; 4], vec![0; length]);
    stream.read_exact(&mut mask).expect("its mask");
    stream.read_exact(&mut payload).expect("its payload");
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    (header[0], payload)
}

#[derive(Default)]
struct CompressedRecorder {
    messages: Vec<Vec<u8>>,
    ended: bool,
}

impl Behavior for CompressedRecorder {
    fn request(&mut self, _client: u32) -> OpeningRequest {
        OpeningRequest { target: 0, path: "/".into(), subprotocol: None, receive_bytes: None }
    }

    fn opened(&mut self, fleet: &mut Fleet, client: u32, _now: u64) {
        fleet.queue(client, Opcode::Text, &chat());
    }

    fn message(&mut self, _fleet: &mut Fleet, _client: u32, message: &[u8], _now: u64) {
        self.messages.push(message.to_vec());
    }

    fn ended(&mut self, _fleet: &mut Fleet, _client: u32, _ended: ConnectionEnd, _now: u64) {
        self.ended = true;
    }

    fn failed(&mut self, fleet: &mut Fleet, _client: u32, _now: u64) {
        panic!("{:?}", fleet.last_failure);
    }

    fn due(&mut self, _fleet: &mut Fleet, _now: u64) {}

    fn turn_ended(&mut self, _fleet: &mut Fleet, _now: u64) {}
}

/// The fleet's counters, and the input of the server.
fn run(agrees: bool) -> (Counters, Got) {
    let (target, server) = serve(agrees);
    let edge = FleetEdge { deflate: true, ..FleetEdge::default() };
    let targets = vec![target];
    let settings = FleetSettings { targets, clients: 1, shard: 0, sources: 1, connecting_max: 1, seed: 1, edge };
    let mut fleet = Fleet::new(settings).expect("a fleet");
    let mut recorder = CompressedRecorder::default();
    fleet.connect(0);
    while !recorder.ended {
        fleet.turn(&mut recorder).expect("epoll");
    }
    assert_eq!(recorder.messages, [chat(), b"small".to_vec()], "inflated");
    (fleet.counters, server.join().expect("served"))
}

#[test]
fn messages_are_compressed_both_ways_where_both_agree() {
    let (counters, (head, first, payload)) = run(true);
    assert!(String::from_utf8_lossy(&head).contains("Extensions: permessage-deflate;"));
    assert_eq!((counters.compressed, counters.inflated_bytes), (1, chat().len() as u64));
    assert!(counters.bytes_received < chat().len() as u64, "{counters:?}");
    assert_eq!(first, 0xc1, "a compressed text message");
    assert_eq!(Inflater::default().inflate(&payload, MAX), Ok(&chat()[..]));
}

#[test]
fn nothing_is_compressed_where_the_server_declines() {
    let (counters, (_, first, payload)) = run(false);
    assert_eq!((counters.compressed, counters.inflated_bytes), (0, 0));
    assert_eq!((first, payload), (0x81, chat()));
}
