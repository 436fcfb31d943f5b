//! Thousands of clients that connect and send nothing, or one byte at a time. New clients must still be served at once.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustls::version::TLS13;
use serde_json::json;

use crate::client::Client;
use crate::http;
use crate::server::{Server, allow_descriptors, eventually};
use crate::tls;

/// More than the server keeps before their upgrade, if it may have a hundred connections.
const HALF_OPEN: usize = 2_000;

#[test]
fn thousands_that_never_finish_their_request_keep_nobody_out() {
    allow_descriptors(HALF_OPEN + 1_000);
    let server = Server::start(&["server.max_connections=100", "log.format=text"]);
    let mut resident = Client::connect(&server, "resident");
    resident.join("lobby");
    let head = http::upgrade_head(server.listen, "/ws", "");
    let mut slow: Vec<TcpStream> = Vec::new();
    let mut slowest = Duration::ZERO;
    for index in 0..HALF_OPEN {
        let mut stream = http::open(server.listen);
        // Some send nothing.
        let said = if index % 3 == 0 { 0 } else { 1 + index % 60 };
        stream.write_all(&head.as_bytes()[..said]).expect("the server reads");
        slow.push(stream);
        if index % 200 == 199 {
            // Those still open send another byte.
            for (index, stream) in slow.iter_mut().enumerate() {
                let _ = stream.write(&head.as_bytes()[60 + index % 20..][..1]);
            }
            let began = Instant::now();
            let mut newcomer = Client::connect(&server, &format!("newcomer{index}"));
            newcomer.join("lobby");
            let seq = newcomer.publish("lobby", json!(index));
            assert_eq!(resident.messages("lobby", 1)[0]["seq"], seq);
            slowest = slowest.max(began.elapsed());
            newcomer.close();
        }
    }
    // Far below the ten seconds after which heads are given up.
    assert!(slowest < Duration::from_secs(5), "a newcomer waited {slowest:?}");
    let waiting = server.metric("roomring_upgrading", "");
    let made_way = server.metric("roomring_refused_crowded_total", "");
    assert!(made_way >= 1_000.0 && waiting + made_way <= HALF_OPEN as f64, "{made_way} made way, {waiting} wait");
    let lines = server.stderr.get().matches("cause=\"crowded\"").count();
    assert_eq!(lines, 1, "one line for one address: {}", server.stderr.get());
    drop(slow);
    resident.close();
    server.wait_until_empty();
    let charged = server.metric("roomring_memory_charged", "");
    assert!(charged < 16_384.0, "a history of ten messages, and no head: {charged}");
}

#[test]
fn first_messages_of_tls_that_never_end_keep_nobody_from_theirs() {
    const SOCKETS: usize = 1_500;
    allow_descriptors(SOCKETS + 1_000);
    let (server, _, der) = tls::start("crowd", &["server.cores=1"]);
    let config = tls::trusting(&der, &TLS13);
    // An open connection in the middle of a record, and a client in the middle of its first message.
    let mut open = tls::connect(&server, &config, "open");
    open.join("lobby");
    let mut words = Vec::new();
    let text = format!(r#"{{"type":"publish","room":"lobby","id":100,"data":"{}"}}"#, "x".repeat(10_000));
    let stream = tls::tls_of(&mut open);
    stream.conn.writer().write_all(&http::client_frame(0x81, text.as_bytes())).expect("it has room");
    stream.conn.write_tls(&mut words).expect("memory takes everything");
    stream.sock.write_all(&words[..9_000]).expect("the server reads");
    let hello = tls::hello(&config);
    let mut bystander = http::open(server.listen);
    bystander.write_all(&hello[..hello.len() / 2]).expect("the server reads");
    // The most that a first message may hold, but for its end: more than all of them may hold together.
    let part = [&[22, 3, 1, 0x40, 0, 1, 0, 0xea, 0x60][..], &[0; 0x3ffc]].concat();
    let next = [&[22, 3, 1, 0x40, 0][..], &[0; 0x4000]].concat();
    let mut crowd: Vec<TcpStream> = Vec::new();
    for _ in 0..SOCKETS {
        let mut stream = http::open(server.listen);
        // Some have been closed by then.
        let _ = stream.write_all(&part).and_then(|()| stream.write_all(&next)).and_then(|()| stream.write_all(&next));
        crowd.push(stream);
    }
    eventually("those who hold the most have gone", || {
        let charged = server.metric("roomring_memory_charged", "");
        assert!(charged < 40.0 * 1024.0 * 1024.0, "{charged}");
        (server.metric("roomring_tls_handshakes_failed_total", "") >= 500.0).then_some(())
    });
    tls::connect(&server, &config, "newcomer").close();
    tls::tls_of(&mut open).sock.write_all(&words[9_000..]).expect("the server reads");
    assert_eq!(open.messages("lobby", 1)[0]["data"], "x".repeat(10_000));
    bystander.write_all(&hello[hello.len() / 2..]).expect("the server reads");
    let mut answer = [0; 6];
    bystander.read_exact(&mut answer).expect("the server answers");
    assert_eq!((answer[0], answer[5]), (22, 2), "a handshake goes on with a ServerHello");
    drop((crowd, bystander));
    open.close();
    server.wait_until_empty();
}

/// Whether the server has ended a connection on which it says nothing.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).expect("it can be set");
    let read = stream.read(&mut [0; 16]);
    stream.set_nonblocking(false).expect("it can be set");
    match read {
        Ok(count) => count == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

#[test]
fn silent_sockets_over_the_rate_of_their_address_are_closed_at_once() {
    for cores in ["server.cores=1", "server.cores=2"] {
        let server = Server::start(&[cores, "limits.connect_rate_per_ip=10/h"]);
        let mut silent: Vec<TcpStream> = (0..130).map(|_| server.open_from(9)).collect();
        // Eight times the rate at once, and twice the rate that may wait to be told.
        let left = |silent: &mut [TcpStream]| {
            silent.iter_mut().filter_map(|stream| (!is_closed(stream)).then_some(())).count()
        };
        eventually("the others are closed", || (left(&mut silent) == 100).then_some(()));
        let head = http::upgrade_head(server.listen, "/ws", "");
        let mut statuses = Vec::new();
        for stream in silent.iter_mut().filter_map(|stream| (!is_closed(stream)).then_some(stream)) {
            stream.write_all(head.as_bytes()).expect("the server reads");
            statuses.push(http::read_head(stream)[9..12].to_owned());
        }
        let count = |status: &str| statuses.iter().filter(|its| *its == status).count();
        assert_eq!((count("101"), count("429")), (20, 80), "{statuses:?}");
        // Nobody else is concerned.
        let mut other = server.open_from(10);
        other.write_all(head.as_bytes()).expect("the server reads");
        assert!(http::read_head(&mut other).starts_with("HTTP/1.1 101 "));
        let refused = server.metric("roomring_refused_limit_total", "");
        assert_eq!(refused, 110.0, "80 with an answer, 30 without");
    }
}
