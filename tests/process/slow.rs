//! Members that do not read (PROTOCOL section 4.6): `gap` pushes are exact, and other members are not affected.

use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::client::Client;
use crate::http;
use crate::server::{PATIENCE, Server, eventually};

/// Data of about this many bytes, so that a few hundred messages fill every buffer of the kernel between the two ends.
const DATA_BYTES: usize = 32 * 1024;
/// Enough of them to fill the server's socket and its outbox many times over.
const MESSAGES: u64 = 400;

/// A member whose receive buffer is small, so that it stalls early. Nothing behind the head has been read.
fn stalled_member(server: &Server, room: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("it can be set");
    socket.connect(&server.listen.into()).expect("the server accepts");
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let head = http::upgrade_head(server.listen, &format!("/ws?user=stalled&room={room}"), "");
    std::io::Write::write_all(&mut stream, head.as_bytes()).expect("the server reads");
    assert!(http::read_head(&mut stream).starts_with("HTTP/1.1 101 "));
    stream
}

/// Publishes one after the other, each when the one before has come back to a healthy member.
fn publish_all(publisher: &mut Client, healthy: &mut Client, room: &str) {
    let data = "x".repeat(DATA_BYTES);
    for seq in 1..=MESSAGES {
        assert_eq!(publisher.publish(room, json!(data)), seq);
        assert_eq!(publisher.messages(room, 1)[0]["seq"], seq);
        assert_eq!(healthy.messages(room, 1)[0]["seq"], seq);
    }
}

fn start(policy: &str) -> Server {
    let policy = format!("rooms.slow_policy={policy}");
    Server::start(&["limits.outbox_bytes=128KiB", "rooms.presence=false", "rooms.history_size=10", &policy])
}

#[test]
fn a_slow_member_is_disconnected_and_nobody_else_is() {
    let server = start("disconnect");
    let mut publisher = Client::connect(&server, "publisher");
    let mut healthy = Client::connect(&server, "healthy");
    publisher.join("lobby");
    healthy.join("lobby");
    let mut stalled = stalled_member(&server, "lobby");
    eventually("the stalled one is a member", || (server.stat("members") == 3).then_some(()));
    publish_all(&mut publisher, &mut healthy, "lobby");
    eventually("the stalled one is closed", || (server.metric("roomring_closed_slow_total", "") == 1.0).then_some(()));
    eventually("it is no member", || (server.stat("members") == 2).then_some(()));
    // It reads at last: what the kernel still had, in order, and the reason, where there was room for it.
    let frames = http::server_frames(&http::read_to_end(&mut stalled));
    if let Some((_, payload)) = frames.iter().find(|(first, _)| *first == 0x88) {
        assert_eq!(u16::from_be_bytes([payload[0], payload[1]]), 4413);
    }
    assert!(frames.len() < MESSAGES as usize, "it cannot have been given everything");
}

#[test]
fn a_member_that_is_only_a_little_slow_learns_why_it_is_closed() {
    let server = start("disconnect");
    let mut publisher = Client::connect(&server, "publisher");
    publisher.join("lobby");
    let mut stalled = stalled_member(&server, "lobby");
    eventually("the stalled one is a member", || (server.stat("members") == 2).then_some(()));
    let data = "x".repeat(DATA_BYTES);
    while server.metric("roomring_closed_slow_total", "") == 0.0 {
        publisher.publish("lobby", json!(data));
        publisher.messages("lobby", 1);
    }
    assert_eq!(http::close_code(&mut stalled), 4413);
}

/// Reads as the stalled member what it is given up to `last`, and gives how many messages came and how many are
/// covered by gaps. Fails if anything is missing without a gap, comes twice, or out of order.
fn account(stalled: &mut TcpStream, last: u64) -> (u64, u64) {
    let mut received = Vec::new();
    let mut buffer = vec![0; 256 * 1024];
    let (mut next, mut came, mut told) = (1, 0, 0);
    while next <= last {
        let count = std::io::Read::read(stalled, &mut buffer).expect("the server goes on");
        assert!(count > 0, "the connection ended before message {last}");
        received.extend_from_slice(&buffer[..count]);
        let mut used = 0;
        for (_, payload) in http::server_frames(&received) {
            used += payload.len()
                + if payload.len() < 126 {
                    2
                } else if payload.len() < 65_536 {
                    4
                } else {
                    10
                };
            let Ok(push) = serde_json::from_slice::<Value>(&payload) else { continue };
            if push["type"] == "message" {
                assert_eq!(push["seq"], next, "no hole without a gap, nothing twice");
                next += 1;
                came += 1;
            } else if push["type"] == "gap" {
                assert_eq!(push["from"], next, "{push}");
                let to = push["to"].as_u64().expect("a gap ends");
                assert!(to >= next, "{push}");
                told += to + 1 - next;
                next = to + 1;
            }
        }
        received.drain(..used);
    }
    (came, told)
}

fn check_policy(policy: &str) {
    let server = start(policy);
    let mut publisher = Client::connect(&server, "publisher");
    let mut healthy = Client::connect(&server, "healthy");
    publisher.join("lobby");
    healthy.join("lobby");
    let mut stalled = stalled_member(&server, "lobby");
    eventually("the stalled one is a member", || (server.stat("members") == 3).then_some(()));
    publish_all(&mut publisher, &mut healthy, "lobby");
    eventually("the stalled one is found slow", || {
        (server.metric("roomring_dropped_slow_total", "") > 0.0).then_some(())
    });
    // That it is given this one shows that it is a member still.
    publisher.publish("lobby", json!("last"));
    let (came, told) = account(&mut stalled, MESSAGES + 1);
    assert_eq!(came + told, MESSAGES + 1);
    assert!(told > 0, "{policy}: nothing was dropped: {came}");
    eventually("the drops are counted", || {
        (server.metric("roomring_dropped_slow_total", "") == told as f64).then_some(())
    });
    assert!(!healthy.has_kept("gap") && !publisher.has_kept("gap"));
    assert_eq!(server.stat("connections"), 3);
}

#[test]
fn skip_drops_the_oldest_and_tells_the_gap() {
    check_policy("skip");
}

#[test]
fn latest_keeps_the_newest_and_tells_the_gap() {
    check_policy("latest");
}

#[test]
fn a_hundred_stalled_readers_do_not_slow_the_others() {
    let server = start("disconnect");
    let mut publisher = Client::connect(&server, "publisher");
    let mut healthy = Client::connect(&server, "healthy");
    publisher.join("lobby");
    healthy.join("lobby");
    let stalled: Vec<TcpStream> = (0..100).map(|_| stalled_member(&server, "lobby")).collect();
    eventually("they are members", || (server.stat("members") == 102).then_some(()));
    let data = "x".repeat(DATA_BYTES);
    let mut slowest = Duration::ZERO;
    for _ in 0..100 {
        let started = std::time::Instant::now();
        publisher.publish("lobby", json!(data));
        healthy.messages("lobby", 1);
        publisher.messages("lobby", 1);
        slowest = slowest.max(started.elapsed());
    }
    assert!(slowest < Duration::from_secs(5), "a healthy member waited {slowest:?}");
    drop(stalled);
    publisher.close();
    healthy.close();
    server.wait_until_empty();
}

#[test]
fn a_memory_budget_used_up_costs_the_worst_laggard_its_place() {
    let server = Server::start(&[
        "limits.memory_budget=16MiB",
        "limits.outbox_bytes=64MiB",
        "rooms.presence=false",
        "rooms.history_size=10",
    ]);
    let mut publisher = Client::connect(&server, "publisher");
    publisher.join("lobby");
    let mut stalled = stalled_member(&server, "lobby");
    eventually("the stalled one is a member", || (server.stat("members") == 2).then_some(()));
    // Larger than a receive buffer: the publisher, too, holds parts of a message now and then.
    let data = "x".repeat(3 * 1024);
    let mut published = 0;
    while server.metric("roomring_closed_overloaded_total", "") == 0.0 {
        assert!(published < 20_000, "sixty megabytes wait for one reader");
        for _ in 0..500 {
            publisher.publish("lobby", json!(data));
            publisher.messages("lobby", 1);
            published += 1;
        }
    }
    let frames = http::server_frames(&http::read_to_end(&mut stalled));
    let reconnect = frames.iter().find_map(|(_, payload)| {
        serde_json::from_slice(payload).ok().filter(|push: &Value| push["type"] == "reconnect")
    });
    let reconnect = reconnect.expect("it is told when to come back");
    assert_eq!(reconnect["reason"], "overloaded");
    assert!(reconnect["after_ms"].is_u64(), "{reconnect}");
    let (_, close) = frames.iter().find(|(first, _)| *first == 0x88).expect("it is told why");
    assert_eq!(u16::from_be_bytes([close[0], close[1]]), 1013);
    assert_eq!(server.stat("connections"), 1, "nobody else had to go");
    publisher.publish("lobby", json!("on"));
}

/// Bytes of messages that a stalled member is given before the first gap: what was in the kernel and in its outbox.
fn held_for_a_stalled_member(socket_send_bytes: &str) -> usize {
    let bound = format!("limits.socket_send_bytes={socket_send_bytes}");
    let settings = ["limits.outbox_bytes=128KiB", "rooms.presence=false", "rooms.slow_policy=skip", &bound];
    let server = Server::start(&settings);
    let mut publisher = Client::connect(&server, "publisher");
    publisher.join("lobby");
    let mut stalled = stalled_member(&server, "lobby");
    eventually("the stalled one is a member", || (server.stat("members") == 2).then_some(()));
    let data = "x".repeat(DATA_BYTES);
    for _ in 0..MESSAGES {
        publisher.publish("lobby", json!(data));
        publisher.messages("lobby", 1);
    }
    eventually("the stalled one is found slow", || {
        (server.metric("roomring_dropped_slow_total", "") > 0.0).then_some(())
    });
    let mut received = Vec::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let frames = http::server_frames(&received);
        let is_gap = |(_, payload): &(u8, Vec<u8>)| payload.starts_with(br#"{"type":"gap""#);
        if let Some(at) = frames.iter().position(is_gap) {
            return frames[..at].iter().map(|(_, payload)| payload.len()).sum();
        }
        let count = std::io::Read::read(&mut stalled, &mut buffer).expect("the server goes on");
        assert!(count > 0, "the connection ended before a gap");
        received.extend_from_slice(&buffer[..count]);
    }
}

#[test]
fn the_kernel_holds_little_for_a_stalled_member() {
    // The outbox, the kernel's part, a message at each border, and what the client's own small buffer takes.
    let held = held_for_a_stalled_member("64KiB");
    assert!(held < 512 * 1024, "{held} bytes wait for one member");
}
