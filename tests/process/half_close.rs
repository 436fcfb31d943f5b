//! Clients that end their stream right after a request (FIN, close_notify) still receive the whole answer (PROTOCOL
//! section 1): on the data address, with and without TLS, on the control address, and from whatever core the answer
//! comes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::json;
use socket2::{Domain, SockRef, Socket, Type};

use crate::client::Client;
use crate::http;
use crate::server::{PATIENCE, Server, eventually};
use crate::tls;

/// Number of attempts of each kind. All must be answered.
const TRIES: usize = 40;

/// Where a request is sent, and over what.
enum Way<'a> {
    Plain(SocketAddr),
    Tls(&'a Server, &'a std::sync::Arc<ClientConfig>),
}

impl Way<'_> {
    /// Sends `request` and the end of the stream, in one segment or right behind it; gives everything that is answered.
    fn ask(&self, request: &[u8], round: usize) -> Vec<u8> {
        match self {
            Way::Plain(address) => {
                let mut stream = http::open(*address);
                end_behind(&mut stream, round, |stream| stream.write_all(request));
                http::read_to_end(&mut stream)
            }
            Way::Tls(server, config) => {
                let StreamOwned { mut conn, mut sock } = if round.is_multiple_of(2) {
                    tls::handshake(server, config).expect("the handshake completes")
                } else {
                    tls::handshake_but_last_flight(server, config)
                };
                conn.writer().write_all(request).expect("it has room");
                // Some end the socket's stream only, some their TLS stream only.
                if round % 4 < 2 {
                    conn.send_close_notify();
                }
                let write = |sock: &mut TcpStream, conn: &mut ClientConnection| {
                    let mut bytes = Vec::new();
                    while conn.wants_write() {
                        conn.write_tls(&mut bytes)?;
                    }
                    sock.write_all(&bytes)
                };
                if round.is_multiple_of(4) {
                    write(&mut sock, &mut conn).expect("the server reads");
                } else {
                    end_behind(&mut sock, round, |sock| write(sock, &mut conn));
                }
                read_tls_to_end(&mut conn, &mut sock)
            }
        }
    }
}

/// Writes, then ends the stream: in the same segment in every other round.
fn end_behind(stream: &mut TcpStream, round: usize, write: impl FnOnce(&mut TcpStream) -> std::io::Result<()>) {
    let is_corked = !round.is_multiple_of(2);
    SockRef::from(&*stream).set_tcp_nodelay(!is_corked).expect("it can be set");
    SockRef::from(&*stream).set_tcp_cork(is_corked).expect("it can be set");
    write(stream).expect("the server reads");
    stream.shutdown(Shutdown::Write).expect("it is open");
}

/// The plaintext up to a close_notify; a stream that ends without one is an error.
fn read_tls_to_end(conn: &mut ClientConnection, sock: &mut TcpStream) -> Vec<u8> {
    let mut received = Vec::new();
    loop {
        match conn.reader().read_to_end(&mut received) {
            Ok(_) => return received,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("the stream is cut ({error}): {:?}", String::from_utf8_lossy(&received)),
        }
        conn.read_tls(sock).expect("the server answers");
        conn.process_new_packets().expect("the server speaks TLS");
    }
}

/// Asks [`TRIES`] times; each answer must hold what it should.
fn always(way: &Way<'_>, what: &str, request: &[u8], holds: impl Fn(&[u8]) -> bool) {
    for round in 0..TRIES {
        let answer = way.ask(request, round);
        assert!(holds(&answer), "{what}, round {round}: {:?}", String::from_utf8_lossy(&answer));
    }
}

/// The frames behind the head of a 101.
fn frames(answer: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n").expect("there is a head") + 4;
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{:?}", String::from_utf8_lossy(answer));
    http::server_frames(&answer[end..])
}

fn has_text(answer: &[u8], part: &str) -> bool {
    frames(answer).iter().any(|(first, payload)| *first == 0x81 && String::from_utf8_lossy(payload).contains(part))
}

fn closes_with(answer: &[u8], code: u16) -> bool {
    frames(answer).last().is_some_and(|(first, payload)| *first == 0x88 && payload.starts_with(&code.to_be_bytes()))
}

/// Everything that a client may ask for and then end its stream.
fn ask_everything(server: &Server, way: &Way<'_>) {
    let address = server.listen;
    let starts = |status: &'static str| move |answer: &[u8]| answer.starts_with(status.as_bytes());
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes();
    let upgrade = |path: &str, more: &str| http::upgrade_head(address, path, more).into_bytes();
    always(way, "health", &get("/health"), |answer| {
        answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(b"{\"status\":\"ok\"}")
    });
    always(way, "not found", &get("/nowhere"), starts("HTTP/1.1 404 "));
    always(way, "no upgrade", &get("/ws"), starts("HTTP/1.1 426 "));
    always(way, "origin", &upgrade("/ws", "Origin: http://evil.example\r\n"), starts("HTTP/1.1 403 "));
    // What follows waits for the cores that count: of an address, of the server, of a user.
    always(way, "over a limit", &upgrade("/ws?user=crowd", ""), starts("HTTP/1.1 429 "));
    always(way, "upgrade", &upgrade("/ws?user=guest", ""), |answer| has_text(answer, "\"welcome\""));
    let close = http::client_frame(0x88, &1000_u16.to_be_bytes());
    always(way, "close", &[upgrade("/ws?user=guest", ""), close].concat(), |answer| closes_with(answer, 1000));
    let bad = http::client_frame(0xff, b"");
    always(way, "nonsense", &[upgrade("/ws?user=guest", ""), bad].concat(), |answer| closes_with(answer, 1002));
    let ping = http::client_frame(0x81, br#"{"type":"ping","id":7}"#);
    always(way, "command", &[upgrade("/ws?user=guest", ""), ping].concat(), |answer| has_text(answer, "\"pong\""));
}

/// Limits that make an upgrade ask other cores, and a user who has as many connections as one may.
const LIMITS: [&str; 3] =
    ["limits.connect_rate=1000000/s", "limits.connections_per_ip=1000000", "limits.connections_per_user=3"];

fn crowd(server: &Server, connect: impl Fn(&str) -> Client) -> Vec<Client> {
    let crowd = (0..3).map(|_| connect("crowd")).collect();
    assert_eq!(server.stat("connections"), 3);
    crowd
}

#[test]
fn every_request_is_answered_before_the_socket_ends() {
    for cores in ["server.cores=1", "server.cores=2"] {
        let server = Server::start(&[&LIMITS[..], &[cores]].concat());
        let crowd = crowd(&server, |user| Client::connect(&server, user));
        ask_everything(&server, &Way::Plain(server.listen));
        drop(crowd);
        server.wait_until_empty();
    }
}

#[test]
fn every_request_under_tls_is_answered_before_the_stream_ends() {
    for (cores, version) in [("server.cores=1", &TLS13), ("server.cores=2", &TLS13), ("server.cores=2", &TLS12)] {
        let (server, _, der) = tls::start("half-close", &[&LIMITS[..], &[cores]].concat());
        let config = tls::trusting(&der, version);
        let crowd = crowd(&server, |user| tls::connect(&server, &config, user));
        ask_everything(&server, &Way::Tls(&server, &config));
        drop(crowd);
        server.wait_until_empty();
        eventually("every handshake is over", || (server.metric("roomring_tls_handshaking", "") == 0.0).then_some(()));
    }
}

#[test]
fn the_control_address_answers_before_it_ends_the_connection() {
    let server = Server::start(&["server.cores=2"]);
    let way = Way::Plain(server.control);
    for path in ["/health", "/ready", "/stats", "/metrics", "/api/rooms"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", server.control);
        always(&way, path, request.as_bytes(), |answer| answer.starts_with(b"HTTP/1.1 200 "));
    }
    let body = json!({"room": "lobby", "data": 1}).to_string();
    let head = format!(
        "POST /api/publish HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        server.control,
        body.len()
    );
    always(&way, "publish", [head, body].concat().as_bytes(), |answer| answer.starts_with(b"HTTP/1.1 200 "));
}

#[test]
fn a_connection_that_is_half_closed_gets_its_messages_and_leaves() {
    let server = Server::start(&["server.cores=2"]);
    for round in 0..TRIES {
        let mut stream = http::open_websocket(server.listen, "/ws?user=ann&room=lobby");
        http::read_frame_with(&mut stream, "joined");
        let pings: Vec<u8> = (0..50).flat_map(|_| http::client_frame(0x81, br#"{"type":"ping","id":7}"#)).collect();
        end_behind(&mut stream, round, |stream| stream.write_all(&pings));
        let received = http::read_to_end(&mut stream);
        let frames = http::server_frames(&received);
        let pongs = frames.iter().filter(|(_, payload)| String::from_utf8_lossy(payload).contains("\"pong\"")).count();
        assert_eq!(pongs, 50, "round {round}");
        assert!(frames.iter().all(|(first, _)| *first != 0x88), "a close frame that it could not answer: {frames:?}");
    }
    server.wait_until_empty();
    assert_eq!(server.metric("roomring_connections_closed_total", "cause=\"lost\""), TRIES as f64);
}

/// Sockets of the server whose clients have ended their streams, and which the server has not closed.
fn half_closed(server: &Server) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel tells");
    let port = format!(":{:04X}", server.listen.port());
    let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    fields.filter(|fields| fields[1].ends_with(&port) && fields[3] == "08").count()
}

#[test]
fn half_closed_clients_that_never_read_are_ended_in_time() {
    let server =
        Server::start(&["limits.outbox_bytes=4MiB", "server.max_message_bytes=1MiB", "limits.socket_send_bytes=64KiB"]);
    let mut publisher = Client::connect(&server, "publisher");
    publisher.join("lobby");
    for _ in 0..10 {
        publisher.publish("lobby", json!("x".repeat(900_000)));
    }
    let before = server.metric("roomring_memory_charged", "");
    let began = Instant::now();
    let mut stuck: Vec<TcpStream> = (0..10)
        .map(|round| {
            // What it asks for is more than the kernel takes for it.
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            socket.set_recv_buffer_size(4_096).expect("it can be set");
            socket.connect(&server.listen.into()).expect("the server accepts");
            let mut stream = TcpStream::from(socket);
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
            let head = http::upgrade_head(server.listen, "/ws?user=stuck&room=lobby", "");
            end_behind(&mut stream, round, |stream| stream.write_all(head.as_bytes()));
            stream
        })
        .collect();
    eventually("they have gone, but for the one that reads", || (server.stat("connections") == 1).then_some(()));
    eventually("the server ends their connections", || (half_closed(&server) == 0).then_some(()));
    assert!(server.metric("roomring_memory_charged", "") < before + 100_000.0);
    assert!(began.elapsed() < Duration::from_secs(5) + PATIENCE, "{:?}", began.elapsed());
    for stream in &mut stuck {
        let received = http::read_to_end(stream).len();
        assert!(received < 1_500_000, "{received} bytes: more was waiting for it");
    }
    publisher.close();
    server.wait_until_empty();
}
