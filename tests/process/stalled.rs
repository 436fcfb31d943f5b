//! Thousands of members that read nothing, in busy rooms of every policy, and ask for more: the server stays within its memory, turns
//! newcomers away while it is used up and takes them again after, and whoever reads gets everything.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use roomring::wire::client::client_frame;
use roomring::wire::frame::Opcode;
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
/// Of each message.
const DATA_BYTES: usize = 15 * 1024;
/// So many more of the stalled ask for a page of history in each round, once there is one: each page is theirs alone.
const ASKING: usize = 200;
const ASKED_FROM: u64 = 10;
const ROUNDS_MIN: u64 = 40;
const ROUNDS_MAX: u64 = 400;

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

/// Asks for all that a room holds.
fn page_request(room: &str) -> Vec<u8> {
    let ask = json!({"type": "history", "id": 1, "room": room}).to_string();
    client_frame(Opcode::Text, ask.as_bytes(), [1, 2, 3, 4])
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
    let mut stalled = stall_all(&server);
    eventually("all are members", || (server.stat("members") == (STALLED + 6) as u64).then_some(()));
    let rss_before = rss_mib(&server);

    let data = "x".repeat(DATA_BYTES);
    let (mut turned_away, mut slowest, mut charged, mut rss) = (0, Duration::ZERO, 0, 0);
    let (mut seq, mut asked) = (0, 0);
    while seq < ROUNDS_MIN || turned_away == 0 {
        assert!(seq < ROUNDS_MAX, "nobody was turned away: {charged} MiB were charged at most");
        seq += 1;
        slowest = slowest.max(speak(&mut members, seq, &data));
        if seq >= ASKED_FROM {
            for _ in 0..ASKING {
                let index = asked % STALLED;
                // It may have been closed as a slow one.
                let _ = stalled[index].write_all(&page_request(ROOMS[index % ROOMS.len()]));
                asked += 1;
            }
        }
        match newcomer(&server) {
            101 => {}
            503 => turned_away += 1,
            other => panic!("a newcomer is answered {other}"),
        }
        charged = charged.max(server.metric("roomring_memory_charged", "") as u64 >> 20);
        rss = rss.max(rss_mib(&server));
    }
    let count = |name: &str| server.metric(name, "");
    let (slow, shed, dropped) = (
        count("roomring_closed_slow_total"),
        count("roomring_closed_overloaded_total"),
        count("roomring_dropped_slow_total"),
    );
    println!(
        "{seq} rounds, slowest {slowest:?}; {charged} MiB charged and {rss_before} -> {rss} MiB resident at most; \
         {turned_away} turned away, {slow} closed as slow, {shed} shed, {dropped} messages dropped"
    );
    assert!(slowest < Duration::from_secs(10), "a healthy member waited {slowest:?}");
    assert!(shed > 0.0 && shed + slow <= STALLED as f64, "{shed} shed, {slow} slow");
    // Each turn sheds some, and what is under way is charged to its end.
    assert!(charged < 3 * BUDGET_MIB, "{charged} MiB were charged");
    assert!(rss < rss_before + 2 * BUDGET_MIB, "{rss} MiB are resident after {rss_before}");

    // With the stalled ones there still: what they held is given back, and newcomers are welcome.
    eventually("a newcomer is let in", || (newcomer(&server) == 101).then_some(()));
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
