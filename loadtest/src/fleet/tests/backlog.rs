//! A fleet against a server with more bytes for a client than sockets hold.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::mpsc;

use roomring::wire::frame::server_frame;
use roomring::wire::handshake::{Head, HttpRequest, accept_response, parse_head};

use super::super::receive::READS_MAX;
use super::super::*;

const FRAMES: usize = 2_000;
const FRAME_BYTES: usize = 4_096;

/// Counts the messages of its only client, which stalls as soon as it is open.
#[derive(Default)]
struct SlowBehavior {
    open: bool,
    messages: usize,
}

impl Behavior for SlowBehavior {
    fn request(&mut self, _client: u32) -> OpeningRequest {
        OpeningRequest { target: 0, path: "/ws".into(), subprotocol: None, receive_bytes: Some(4 * 1024) }
    }

    fn opened(&mut self, fleet: &mut Fleet, client: u32, _now: u64) {
        self.open = true;
        fleet.stall(client);
    }

    fn message(&mut self, _fleet: &mut Fleet, _client: u32, message: &[u8], _now: u64) {
        self.messages += usize::from(message.len() == FRAME_BYTES);
    }

    fn ended(&mut self, _fleet: &mut Fleet, _client: u32, ended: ConnectionEnd, _now: u64) {
        panic!("{ended:?}");
    }

    fn failed(&mut self, fleet: &mut Fleet, _client: u32, _now: u64) {
        panic!("{:?}", fleet.last_failure);
    }

    fn due(&mut self, _fleet: &mut Fleet, _now: u64) {}

    fn turn_ended(&mut self, _fleet: &mut Fleet, _now: u64) {}
}

/// Sends all frames to one client, and reports when its socket is full.
fn serve(listener: &TcpListener, full: &mpsc::Sender<()>) -> std::io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    let (mut head, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        let count = stream.read(&mut buffer)?;
        head.extend_from_slice(&buffer[..count]);
        if let Head::Complete { request: HttpRequest::Upgrade(upgrade), .. } = parse_head(&head) {
            stream.write_all(&accept_response(&upgrade))?;
            break;
        }
    }
    let frames = server_frame(Opcode::Binary, &[0; FRAME_BYTES]).repeat(FRAMES);
    let mut rest = &frames[..];
    stream.set_nonblocking(true)?;
    loop {
        match stream.write(rest) {
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    // Fails only if the test has failed.
    let _ = full.send(());
    stream.set_nonblocking(false)?;
    stream.write_all(rest)?;
    // Stays open until the client has left.
    stream.read(&mut buffer).map(|_| ())
}

#[test]
fn a_client_with_much_to_read_does_not_block_the_turn() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let target = Target { address, host: address.to_string(), path: "/ws".into(), secure: false };
    let (full_in, full) = mpsc::channel();
    std::thread::spawn(move || serve(&listener, &full_in));
    let settings = FleetSettings {
        targets: vec![target],
        clients: 1,
        shard: 0,
        sources: 1,
        connecting_max: 1,
        seed: 1,
        edge: FleetEdge::default(),
    };
    let mut fleet = Fleet::new(settings).expect("epoll");
    let mut slow = SlowBehavior::default();
    fleet.connect(0);
    while !slow.open {
        fleet.turn(&mut slow).expect("epoll");
    }
    full.recv().expect("more than the sockets hold");
    fleet.resume(0);
    let before = fleet.counters.receives;
    fleet.turn(&mut slow).expect("epoll");
    assert!(fleet.counters.receives - before <= READS_MAX as u64 * 2, "by its event, and by the resume");
    while slow.messages < FRAMES {
        fleet.turn(&mut slow).expect("epoll");
    }
    assert!(fleet.counters.receives - before > READS_MAX as u64 * 4, "it took many turns");
}
