//! Several cores in one process: rooms whose owner is another core than their members' homes.

use std::time::Duration;

use serde_json::json;

use crate::client::Client;
use crate::http;
use crate::server::Server;

/// Rooms enough that every core owns some.
const ROOMS: usize = 40;

fn converse_across(server: &Server) {
    let users = 12;
    let mut clients: Vec<Client> = (0..users).map(|index| Client::connect(server, &format!("user{index}"))).collect();
    for client in &mut clients {
        for room in 0..ROOMS {
            client.join(&format!("room{room}"));
        }
    }
    for (index, client) in clients.iter_mut().enumerate() {
        for room in 0..ROOMS {
            client.send(&json!({"type": "publish", "room": format!("room{room}"), "data": index}));
        }
    }
    let first: Vec<_> = (0..ROOMS).map(|room| clients[0].messages(&format!("room{room}"), users)).collect();
    for (room, messages) in first.iter().enumerate() {
        for (position, message) in messages.iter().enumerate() {
            assert_eq!(message["seq"], position + 1, "room{room}");
        }
    }
    for client in &mut clients[1..] {
        for (room, messages) in first.iter().enumerate() {
            assert_eq!(
                &client.messages(&format!("room{room}"), users),
                messages,
                "all see the same order in room{room}"
            );
        }
    }
    let stats = server.stats();
    assert_eq!(stats["rooms"], ROOMS);
    assert_eq!(stats["members"], ROOMS * users);
    let owners = stats["cores"].as_array().expect("a list").iter().filter(|core| core["rooms"].as_u64() > Some(0));
    assert_eq!(owners.count(), server.cores, "every core owns rooms: {stats}");
    assert!(server.metric("roomring_hops_total", "") > 0.0);
}

#[test]
fn two_cores_share_the_rooms() {
    let server = Server::start(&["server.cores=2"]);
    assert_eq!(server.cores, 2);
    converse_across(&server);
    server.wait_until_empty();
}

#[test]
fn more_cores_than_cpus_serve_unpinned() {
    let server = Server::start(&["server.cores=4", "server.pin=false"]);
    assert_eq!(server.cores, 4);
    converse_across(&server);
    server.wait_until_empty();
}

#[test]
fn one_core_pinned_serves() {
    let server = Server::start(&["server.cores=1", "server.pin=true"]);
    assert_eq!(server.cores, 1);
    let mut alice = Client::connect(&server, "alice");
    alice.join("lobby");
    assert_eq!(alice.publish("lobby", json!(1)), 1);
}

#[test]
fn a_core_without_connections_is_woken_for_its_rooms() {
    let server = Server::start(&["server.cores=4", "rooms.presence=false"]);
    let mut alone = Client::connect(&server, "alone");
    for room in 0..ROOMS {
        // Long enough for the other cores, which have nothing else to do, to fall asleep as deeply as they can.
        std::thread::sleep(Duration::from_millis(25));
        alone.join(&format!("room{room}"));
        assert_eq!(alone.publish(&format!("room{room}"), json!(room)), 1);
    }
    assert!(server.metric("roomring_wakes_total", "") > 0.0);
}

#[test]
fn recovery_and_live_messages_meet_without_a_hole_across_cores() {
    let server = Server::start(&["server.cores=3"]);
    let mut publisher = Client::connect(&server, "publisher");
    publisher.join("lobby");
    for round in 0..30_u64 {
        // The joins of this round race with its publishes.
        let mut joiners: Vec<Client> =
            (0..4).map(|index| Client::connect(&server, &format!("joiner{index}"))).collect();
        let base = round * 20;
        for index in 0..20 {
            publisher.send(&json!({"type": "publish", "room": "lobby", "data": index}));
            if index % 5 == 0 {
                joiners[index / 5].send(&json!({"type": "join", "room": "lobby", "last_received_seq": base, "id": 9}));
            }
        }
        for joiner in &mut joiners {
            let joined = joiner.json_where("the reply", |message| message["id"] == 9);
            assert_eq!(joined["recovered"], true, "{joined}");
            let mut seqs: Vec<u64> = joined["messages"]
                .as_array()
                .expect("a list")
                .iter()
                .filter_map(|message| message["seq"].as_u64())
                .collect();
            let live = (base + 20 - joined["seq"].as_u64().expect("a head")) as usize;
            seqs.extend(joiner.messages("lobby", live).iter().filter_map(|message| message["seq"].as_u64()));
            assert_eq!(seqs, (base + 1..=base + 20).collect::<Vec<_>>(), "round {round}");
        }
        publisher.messages("lobby", 20);
    }
}

#[test]
fn the_echo_path_answers_with_the_same_message() {
    let server = Server::start(&["server.echo_path=/", "server.max_message_bytes=1MiB", "limits.outbox_bytes=2MiB"]);
    let mut stream = http::open_websocket(server.listen, "/");
    let long = vec![b'x'; 300_000];
    for (first, payload) in [(0x81, b"hello".as_slice()), (0x82, &[0, 255, 1]), (0x81, b""), (0x82, &long)] {
        std::io::Write::write_all(&mut stream, &http::client_frame(first, payload)).expect("the server reads");
        let (its_first, its_payload) = read_frame(&mut stream);
        assert_eq!((its_first, its_payload.len()), (first, payload.len()));
        assert!(its_payload == payload);
    }
    Client::connect(&server, "alice").join("lobby");
}

/// The next frame, whole.
fn read_frame(stream: &mut std::net::TcpStream) -> (u8, Vec<u8>) {
    let mut received = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if let Some(frame) = http::server_frames(&received).pop() {
            return frame;
        }
        let count = std::io::Read::read(stream, &mut buffer).expect("the server goes on");
        assert!(count > 0, "the connection ended");
        received.extend_from_slice(&buffer[..count]);
    }
}
