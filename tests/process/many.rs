//! Many clients: no state is left after they have gone, however they went.

use std::io::Write;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::client::Client;
use crate::http;
use crate::random::Random;
use crate::server::{Server, allow_descriptors, eventually};

const ROOM_SIZE: usize = 20;

#[test]
fn two_thousand_members_publish_and_leave_nothing() {
    const CLIENTS: usize = 2_000;
    allow_descriptors(4_096);
    let server = Server::start(&["server.cores=2", "rooms.presence=false"]);
    let mut clients: Vec<Client> = (0..CLIENTS)
        .map(|index| {
            let room = index / ROOM_SIZE;
            Client::open(server.listen, &format!("/ws?user=user{index}&room=room{room}"), None)
        })
        .collect();
    eventually("all are members", || (server.stat("members") == CLIENTS as u64).then_some(()));
    assert_eq!(server.stat("connections"), CLIENTS as u64);
    assert_eq!(server.stat("rooms"), (CLIENTS / ROOM_SIZE) as u64);
    for (index, client) in clients.iter_mut().enumerate() {
        client.send(&json!({"type": "publish", "room": format!("room{}", index / ROOM_SIZE), "data": index}));
    }
    for (index, client) in clients.iter_mut().enumerate() {
        let messages = client.messages(&format!("room{}", index / ROOM_SIZE), ROOM_SIZE);
        for (position, message) in messages.iter().enumerate() {
            assert_eq!(message["seq"], position + 1, "client {index}");
        }
    }
    assert_eq!(server.stat("broadcasts"), CLIENTS as u64);
    assert_eq!(server.stat("deliveries"), (CLIENTS * ROOM_SIZE) as u64);
    for (index, client) in clients.into_iter().enumerate() {
        if index % 2 == 0 { drop(client) } else { client.reset() }
    }
    server.wait_until_empty();
    assert_eq!(server.metric("roomring_closed_total", ""), CLIENTS as f64);
}

/// One short life: joins some rooms, says something, and vanishes in one of the ways clients do.
fn live(server: &Server, choices: &mut Random, index: u64) {
    let room = format!("room{}", choices.below(40));
    let user = format!("user{}", choices.below(300));
    if choices.below(10) == 0 {
        let mut torn = http::open(server.listen);
        let head = http::upgrade_head(server.listen, &format!("/ws?user={user}&room={room}"), "");
        let _ = torn.write_all(&head.as_bytes()[..choices.below(head.len())]);
        return;
    }
    let mut client = Client::connect(server, &user);
    let from = choices.below(30);
    client.send(&json!({"type": "join", "room": room, "last_received_seq": from}));
    for _ in 0..choices.below(6) {
        let other = format!("room{}", choices.below(40));
        client.try_send(&match choices.below(6) {
            0 => json!({"type": "join", "room": other}),
            1 => json!({"type": "leave", "room": room}),
            2 => json!({"type": "status", "status": "away"}),
            3 => json!({"type": "publish", "room": room, "data": index, "ephemeral": true}),
            _ => json!({"type": "publish", "room": room, "data": {"from": index}}),
        });
    }
    match choices.below(4) {
        0 => client.close(),
        1 => client.reset(),
        2 => drop(client),
        _ => {
            let _ = client.request(json!({"type": "ping"}));
            http::end(client.stream());
            let mut stream = client.stream().try_clone().expect("a descriptor is free");
            let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
            http::read_to_end(&mut stream);
        }
    }
}

#[test]
fn thousands_of_short_lives_leave_every_gauge_at_zero() {
    const THREADS: u64 = 8;
    const LIVES: u64 = 500;
    let server = Server::start(&[
        "server.cores=3",
        "rooms.presence_grace=50ms",
        "rooms.history_size=20",
        "rooms.history_ttl=2s",
        "rooms.numbering_ttl=2s",
        "heartbeat.interval=1s",
        "heartbeat.timeout=10s",
    ]);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let server = &server;
            scope.spawn(move || {
                let mut choices = Random(0x50a4 + thread);
                for life in 0..LIVES {
                    live(server, &mut choices, thread * LIVES + life);
                }
            });
        }
    });
    server.wait_until_empty();
    let metrics = http::get(server.control, "/metrics").body;
    assert!(!server.stderr.get().contains("panicked"), "{}", server.stderr.get());
    eventually("history has expired and nothing is charged to the memory budget", || {
        let left = ["roomring_rooms_held", "roomring_memory_charged"].map(|name| server.metric(name, ""));
        (left == [0.0; 2]).then_some(())
    });
    assert!(server.metric("roomring_accepted_total", "") >= (THREADS * LIVES) as f64, "{metrics}");
}
