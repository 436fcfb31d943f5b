//! Thousands of members that read nothing, in busy rooms of every policy. They cost the server little memory; those
//! whose room drops nothing are closed; new clients are admitted throughout; clients that read receive everything.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::client::Client;
use crate::http;
use crate::server::{PATIENCE, Server, allow_descriptors, eventually};

/// As many as fit beside other tests under a limit of 20,000 descriptors.
const STALLED: usize = 5_000;
const THREADS: usize = 8;
const ROOMS: [&str; 3] = ["disconnect:a", "skip:a", "latest:a"];
const BUDGET_MIB: u64 = 64;
/// Of each message: several times what an outbox holds in all rounds.
const DATA_BYTES: usize = 15 * 1024;
const ROUNDS: u64 = 80;

/// A member with a small receive buffer. Its answer stays unread too.
fn stalled_member(listen: SocketAddr, index: usize) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("it can be set");
    socket.connect_timeout(&listen.into(), PATIENCE).expect("the server accepts");
    let mut stream = TcpStream::from(socket);
    let path = format!("/ws?user=stalled-{index}&room={}", ROOMS[index % ROOMS.len()]);
    stream.write_all(http::upgrade_head(listen, &path, "").as_bytes()).expect("the server reads");
    stream
}

fn stall_all(server: &Server) -> Vec<TcpStream> {
    let listen = server.listen;
    let share = |thread: usize| move || (thread..STALLED).step_by(THREADS).map(|i| stalled_member(listen, i)).collect();
    let threads: Vec<_> = (0..THREADS).map(|thread| thread::spawn(share(thread))).collect();
    threads.into_iter().flat_map(|thread| -> Vec<TcpStream> { thread.join().expect("all connect") }).collect()
}

/// What a newcomer is answered.
fn newcomer(server: &Server) -> u16 {
    let mut stream = http::open(server.listen);
    stream.write_all(http::upgrade_head(server.listen, "/ws?user=newcomer", "").as_bytes()).expect("the server reads");
    let head = http::read_head(&mut stream);
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("there is a status")
}

fn rss_mib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it is there");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("the kernel tells");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number of KiB");
    kib / 1_024
}

/// A message in each room, heard by both who read there. Gives the longest time it took.
fn speak(members: &mut [(Client, Client)], seq: u64, data: &str) -> Duration {
    let mut slowest = Duration::ZERO;
    for ((one, other), room) in members.iter_mut().zip(ROOMS) {
        let started = Instant::now();
        assert_eq!(one.publish(room, json!(data)), seq);
        for client in [one, other] {
            assert_eq!(client.messages(room, 1)[0]["seq"], seq, "{room}");
            assert!(!client.has_kept("gap"), "{room}");
        }
        slowest = slowest.max(started.elapsed());
    }
    slowest
}

#[test]
fn thousands_of_stalled_readers_cost_neither_memory_nor_anyone_else() {
    allow_descriptors(STALLED + 4_000);
    let classes = ROOMS.map(|room| {
        let (policy, _) = room.split_once(':').expect("rooms are named after their policy");
        format!("{{pattern=\"{policy}:*\",slow_policy=\"{policy}\"}}")
    });
    let server = Server::start(&[
        "server.cores=2",
        "limits.outbox_bytes=256KiB",
        "limits.socket_send_bytes=16KiB",
        &format!("limits.memory_budget={BUDGET_MIB}MiB"),
        "rooms.presence=false",
        "rooms.history_size=10",
        "log.level=warn",
        &format!("rooms.class=[{}]", classes.join(",")),
    ]);
    let mut members: Vec<(Client, Client)> = Vec::new();
    for room in ROOMS {
        let pair = ["one", "other"].map(|name| {
            let mut client = Client::connect(&server, &format!("{name}-{room}"));
            client.join(room);
            client
        });
        members.push(pair.into());
    }
    let stalled = stall_all(&server);
    eventually("all are members", || (server.stat("members") == (STALLED + 6) as u64).then_some(()));
    let rss_before = rss_mib(&server);

    let data = "x".repeat(DATA_BYTES);
    let (mut slowest, mut charged, mut rss) = (Duration::ZERO, 0, 0);
    let mut seq = 0;
    while seq < ROUNDS {
        seq += 1;
        slowest = slowest.max(speak(&mut members, seq, &data));
        assert_eq!(newcomer(&server), 101, "round {seq}");
        charged = charged.max(server.metric("roomring_memory_charged", "") as u64 >> 20);
        rss = rss.max(rss_mib(&server));
    }
    let count = |name: &str| server.metric(name, "");
    let in_first = STALLED.div_ceil(ROOMS.len()) as f64;
    eventually("those whose room drops nothing are closed", || {
        (count("roomring_closed_slow_total") == in_first).then_some(())
    });
    eventually("the other rooms drop what the stalled have not taken", || {
        seq += 1;
        speak(&mut members, seq, &data);
        (count("roomring_dropped_slow_total") > 0.0).then_some(())
    });
    let (shed, dropped) = (count("roomring_closed_overloaded_total"), count("roomring_dropped_slow_total"));
    println!(
        "{seq} rounds, slowest {slowest:?}; {charged} MiB charged and {rss_before} -> {rss} MiB resident at most; \
         {shed} shed, {dropped} messages dropped"
    );
    assert!(slowest < Duration::from_secs(10), "a healthy member waited {slowest:?}");
    assert!(shed == 0.0 && dropped > 0.0, "{shed} shed, {dropped} dropped");
    assert!(charged < BUDGET_MIB, "{charged} MiB were charged");
    assert!(rss < rss_before + BUDGET_MIB, "{rss} MiB are resident after {rss_before}");

    // The others are there still.
    for _ in 0..10 {
        seq += 1;
        speak(&mut members, seq, "on");
    }
    drop(stalled);
    for (one, other) in members {
        one.close();
        other.close();
    }
    server.wait_until_empty();
    let log = server.stderr.get();
    assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
}
