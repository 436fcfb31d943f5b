//! A fleet with TLS against an echo server with rustls.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;

use roomring::wire::frame::{Opcode, close_frame, server_frame};
use roomring::wire::handshake::{Head, HttpRequest, accept_response, parse_head};
use roomring::wire::message::{Decoder, Event};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::super::address::Target;
use super::super::handshake::OpeningRequest;
use super::super::{Behavior, ConnectionEnd, Departure, Fleet, FleetEdge, FleetSettings};

/// Sizes of messages: within a record, over several records, and over several reads.
const SIZES: [usize; 5] = [1, 200, 20_000, 300_000, 125];

/// A TLS echo server. Its threads end with the clients.
pub fn serve() -> Target {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("known versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .expect("a certificate and its key");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let (config, listener) = (Arc::new(config), TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let config = Arc::clone(&config);
            std::thread::spawn(move || {
                let session = ServerConnection::new(config).expect("a config that fits");
                // Clients may drop connections.
                let _ = echo(StreamOwned::new(session, stream));
            });
        }
    });
    Target { address, host: address.to_string(), path: "/echo".into(), secure: true }
}

fn echo(mut stream: StreamOwned<ServerConnection, TcpStream>) -> std::io::Result<()> {
    let (mut head, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    let upgrade = loop {
        let count = stream.read(&mut buffer)?;
        head.extend_from_slice(&buffer[..count]);
        match parse_head(&head) {
            Head::Complete { request: HttpRequest::Upgrade(upgrade), .. } => break upgrade,
            Head::Incomplete if count > 0 => {}
            _ => return Ok(()),
        }
    };
    stream.write_all(&accept_response(&upgrade))?;
    let mut decoder = Decoder::default();
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        let mut rest = &mut buffer[..count];
        loop {
            let input = std::mem::take(&mut rest);
            let decoded = decoder.next(input, 1 << 20).map_err(std::io::Error::other)?;
            let (used, mut answer) = (decoded.used, None);
            match decoded.event {
                Some(Event::Binary(message)) => answer = Some(server_frame(Opcode::Binary, message)),
                Some(Event::Text(message)) => answer = Some(server_frame(Opcode::Text, message.as_bytes())),
                Some(Event::Close(_)) => {
                    stream.write_all(&close_frame(1000, ""))?;
                    stream.conn.send_close_notify();
                    return stream.flush();
                }
                Some(_) => {}
                None => break,
            }
            if let Some(answer) = answer {
                stream.write_all(&answer)?;
            }
            rest = &mut input[used..];
        }
    }
}

/// Sends its messages, gets them back, leaves, and reconnects `lives` times.
struct SecureSender {
    lives: u32,
    leaving: Option<Departure>,
    got: Vec<usize>,
    failures: Vec<String>,
    gone: u32,
}

impl SecureSender {
    fn new(lives: u32, leaving: Option<Departure>) -> Self {
        SecureSender { lives, leaving, got: Vec::new(), failures: Vec::new(), gone: 0 }
    }

    fn again(&mut self, fleet: &mut Fleet, client: u32) {
        self.gone += 1;
        if self.gone < self.lives {
            fleet.connect(client);
        }
    }
}

impl Behavior for SecureSender {
    fn request(&mut self, _client: u32) -> OpeningRequest {
        OpeningRequest { target: 0, path: "/echo".into(), subprotocol: None, receive_bytes: None }
    }

    fn opened(&mut self, fleet: &mut Fleet, client: u32, _now: u64) {
        for (tag, size) in (0..).zip(SIZES) {
            fleet.queue(client, Opcode::Binary, &vec![tag; size]);
        }
    }

    fn message(&mut self, fleet: &mut Fleet, client: u32, message: &[u8], _now: u64) {
        let tag = self.got.len() % SIZES.len();
        assert!(message.iter().all(|byte| usize::from(*byte) == tag), "the same message");
        self.got.push(message.len());
        if tag + 1 < SIZES.len() {
            return;
        }
        match self.leaving {
            None => fleet.close(client),
            Some(leaving) => {
                fleet.vanish(client, leaving);
                self.again(fleet, client);
            }
        }
    }

    fn ended(&mut self, fleet: &mut Fleet, client: u32, ended: ConnectionEnd, _now: u64) {
        assert_eq!(ended, ConnectionEnd::Asked);
        self.again(fleet, client);
    }

    fn failed(&mut self, fleet: &mut Fleet, client: u32, _now: u64) {
        self.failures.extend(fleet.last_failure.take());
        self.again(fleet, client);
    }

    fn due(&mut self, _fleet: &mut Fleet, _now: u64) {}

    fn turn_ended(&mut self, _fleet: &mut Fleet, _now: u64) {}
}

fn run(target: Target, mut sender: SecureSender, tls_resume: bool) -> (Fleet, SecureSender) {
    let edge = FleetEdge { tls: true, tls_resume, ..FleetEdge::default() };
    let targets = vec![target];
    let settings = FleetSettings { targets, clients: 1, shard: 0, sources: 1, connecting_max: 1, seed: 1, edge };
    let mut fleet = Fleet::new(settings).expect("a fleet");
    fleet.connect(0);
    while sender.gone < sender.lives {
        fleet.turn(&mut sender).expect("epoll");
    }
    (fleet, sender)
}

#[test]
fn messages_of_all_sizes_come_back_whole() {
    let (fleet, sender) = run(serve(), SecureSender::new(2, None), false);
    assert_eq!(sender.got, [SIZES, SIZES].concat());
    assert_eq!((fleet.counters.tls_full, fleet.counters.tls_resumed), (2, 0));
    let payload = 2 * SIZES.iter().sum::<usize>() as u64;
    assert!(fleet.counters.bytes_received > payload && fleet.counters.bytes_sent > payload, "{:?}", fleet.counters);
    assert_eq!((fleet.counters.connect_failures, fleet.counters.wrong), (0, 0));
}

#[test]
fn sessions_are_resumed_after_a_close_and_after_a_loss() {
    for leaving in [None, Some(Departure::Fin), Some(Departure::MidFrame), Some(Departure::Reset)] {
        let (fleet, sender) = run(serve(), SecureSender::new(4, leaving), true);
        assert_eq!(sender.got.len(), 4 * SIZES.len());
        assert_eq!((fleet.counters.tls_full, fleet.counters.tls_resumed), (1, 3), "{leaving:?}");
    }
}

#[test]
fn a_server_without_tls_fails_the_handshake() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the client comes");
        let mut hello = [0; 5];
        stream.read_exact(&mut hello).expect("a record");
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("it reads");
        let mut rest = Vec::new();
        // Until the client has left.
        let _ = stream.read_to_end(&mut rest);
        hello
    });
    let target = Target { address, host: address.to_string(), path: "/".into(), secure: true };
    let (fleet, sender) = run(target, SecureSender::new(1, None), false);
    assert_eq!(fleet.counters.connect_failures, 1);
    assert!(sender.failures[0].starts_with("TLS: "), "{:?}", sender.failures);
    assert_eq!(server.join().expect("served")[0], 22, "a handshake record");
}
