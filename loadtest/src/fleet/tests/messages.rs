//! Messages of a server, as a scenario gets them.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};

use roomring::wire::frame::{Opcode, close_frame, server_frame};
use roomring::wire::handshake::{Head, HttpRequest, accept_response, parse_head};

use super::super::address::Target;
use super::super::handshake::OpeningRequest;
use super::super::{Behavior, ConnectionEnd, Fleet, FleetEdge, FleetSettings};

/// Sends `messages` to the one client that comes, and closes.
fn serve(messages: &'static [&'static [u8]]) -> Target {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
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
        messages.iter().for_each(|message| answer.extend(server_frame(Opcode::Text, message)));
        answer.extend(close_frame(1000, ""));
        stream.write_all(&answer).expect("it reads");
        // Until the client has left.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    Target { address, host: address.to_string(), path: "/".into(), secure: false }
}

#[derive(Default)]
struct MessageRecorder {
    messages: Vec<Vec<u8>>,
    ended: bool,
}

impl Behavior for MessageRecorder {
    fn request(&mut self, _client: u32) -> OpeningRequest {
        OpeningRequest { target: 0, path: "/".into(), subprotocol: None, receive_bytes: None }
    }

    fn opened(&mut self, _fleet: &mut Fleet, _client: u32, _now: u64) {}

    fn message(&mut self, fleet: &mut Fleet, client: u32, message: &[u8], _now: u64) {
        self.messages.push(message.to_vec());
        if message == b"leave" {
            fleet.close(client);
        }
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

/// Messages that one client gets.
fn received(messages: &'static [&'static [u8]], lines: bool) -> Vec<Vec<u8>> {
    let targets = vec![serve(messages)];
    let settings = FleetSettings {
        targets,
        clients: 1,
        shard: 0,
        sources: 1,
        connecting_max: 1,
        seed: 1,
        edge: FleetEdge::default(),
    };
    let mut fleet = Fleet::new(settings).expect("a fleet");
    fleet.lines = lines;
    let mut recorder = MessageRecorder::default();
    fleet.connect(0);
    while !recorder.ended {
        fleet.turn(&mut recorder).expect("epoll");
    }
    recorder.messages
}

#[test]
fn messages_are_whole_unless_split_into_lines() {
    let sent: &[&[u8]] = &[b"one\n\ntwo\n", b"three"];
    assert_eq!(received(sent, false), sent);
    assert_eq!(received(sent, true), [&b"one"[..], b"two", b"three"]);
}

#[test]
fn no_line_follows_the_one_that_closes_the_connection() {
    assert_eq!(received(&[b"one\nleave\ntwo", b"three"], true), [&b"one"[..], b"leave"]);
}
