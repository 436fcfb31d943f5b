//! Bursts within the limits, and recoveries of any size: a client that reads as fast as it can receives everything.

use std::io::Write;
use std::thread;

use roomring::wire::client::client_frame;
use roomring::wire::frame::Opcode;
use serde_json::{Value, json};

use crate::client::{Arrived, Client};
use crate::server::{Server, eventually};

const READERS: usize = 3;

fn publish(data_bytes: usize) -> Vec<u8> {
    let publish = json!({"type": "publish", "room": "lobby", "data": "x".repeat(data_bytes)}).to_string();
    client_frame(Opcode::Text, publish.as_bytes(), [1, 2, 3, 4])
}

/// Reads to the last of the room's messages. Fails at a gap, a hole, a duplicate, or an end.
fn read_all(mut client: Client, count: u64) -> Client {
    for seq in 1..=count {
        let next = loop {
            match client.next() {
                Arrived::Ping(_) => {}
                Arrived::Json(push) if push["type"] == "status" => {}
                other => break other,
            }
        };
        let Arrived::Json(push) = next else { panic!("{next:?} in place of message {seq}") };
        assert_eq!((&push["type"], &push["seq"]), (&json!("message"), &json!(seq)), "of {count}");
    }
    client
}

/// Several publishers send many publishes each, in one write.
fn burst(publishers: usize, count: usize, data_bytes: usize, policy: &str, outbox: &str) -> Server {
    let policy = format!("rooms.slow_policy={policy}");
    let outbox = format!("limits.outbox_bytes={outbox}");
    let rates = ["limits.message_rate=0", "limits.command_rate=0", "limits.message_rate_per_user=0"];
    let settings: Vec<&str> = ["server.cores=2", &policy, &outbox].into_iter().chain(rates).collect();
    let server = Server::start(&settings);
    let member = |name: String| {
        let mut client = Client::connect(&server, &name);
        client.join("lobby");
        client
    };
    let readers: Vec<Client> = (0..READERS).map(|at| member(format!("reader-{at}"))).collect();
    let mut publishers: Vec<Client> = (0..publishers).map(|at| member(format!("publisher-{at}"))).collect();
    let members = (READERS + publishers.len()) as u64;
    eventually("all are members", || (server.stat("members") == members).then_some(()));
    let total = (publishers.len() * count) as u64;
    let readers: Vec<_> = readers.into_iter().map(|reader| thread::spawn(move || read_all(reader, total))).collect();
    let bytes = publish(data_bytes).repeat(count);
    for publisher in &mut publishers {
        let mut stream = publisher.stream().try_clone().expect("a socket can be cloned");
        let bytes = bytes.clone();
        thread::spawn(move || stream.write_all(&bytes).expect("the server reads"));
    }
    let publishers: Vec<_> =
        publishers.into_iter().map(|publisher| thread::spawn(move || read_all(publisher, total))).collect();
    for client in readers.into_iter().chain(publishers) {
        client.join().expect("it gets everything").close();
    }
    assert_eq!(server.metric("roomring_closed_slow_total", ""), 0.0);
    assert_eq!(server.metric("roomring_dropped_slow_total", ""), 0.0);
    server
}

#[test]
fn sixty_large_messages_in_one_write_reach_everyone() {
    burst(1, 60, 60_000, "disconnect", "128KiB");
    burst(1, 60, 60_000, "skip", "1MiB");
}

#[test]
fn ten_thousand_small_messages_in_one_write_reach_everyone() {
    burst(1, 10_000, 100, "disconnect", "1MiB");
    burst(1, 10_000, 100, "latest", "128KiB");
}

#[test]
fn twenty_members_who_speak_at_once_reach_everyone() {
    burst(20, 1, 60_000, "disconnect", "128KiB");
}

/// What a `joined` and what follows it bring, in order.
fn recovered(client: &mut Client, joined: &Value) -> Vec<u64> {
    let inside = joined["messages"].as_array().expect("messages").iter();
    let mut seqs: Vec<u64> = inside.map(|message| message["seq"].as_u64().expect("a seq")).collect();
    let remaining = joined["remaining"].as_u64().unwrap_or(0) as usize;
    seqs.extend(client.messages("lobby", remaining).iter().map(|message| message["seq"].as_u64().expect("a seq")));
    seqs
}

#[test]
fn everything_missed_is_recovered_whatever_its_size() {
    for (count, data_bytes) in [(900, 1_024), (12, 60_000)] {
        let server = burst(1, count, data_bytes, "disconnect", "1MiB");
        for subprotocol in [None, Some("roomring.v1.binary")] {
            let path = "/ws?user=back&room=lobby&last_received_seq=0";
            let mut client = Client::open(server.listen, path, subprotocol);
            if subprotocol.is_none() {
                let joined = client.expect("joined");
                assert_eq!(joined["recovered"], true);
                assert_eq!(recovered(&mut client, &joined), (1..=count as u64).collect::<Vec<_>>());
                continue;
            }
            let joined = client.op(129);
            assert_eq!((joined[16], &joined[17..21]), (1, &(count as u32).to_le_bytes()[..]));
            for seq in 1..=count as u64 {
                assert_eq!(client.op(131)[..8], seq.to_le_bytes());
            }
        }
    }
}

#[test]
fn a_query_for_128_rooms_is_answered_whole() {
    let server = Server::start(&["server.cores=2", "limits.message_rate=0", "limits.message_rate_per_user=0"]);
    let query: String = (0..128).map(|room| format!("&room=r{room}")).collect();
    let mut publisher = Client::connect_at(&server, &format!("/ws?user=publisher{query}"));
    for room in 0..128 {
        for number in 0..50 {
            let data = format!("{number:<400}");
            publisher.send(&json!({"type": "publish", "room": format!("r{room}"), "data": data, "echo": false}));
        }
        publisher.publish(&format!("r{room}"), json!("last"));
    }
    let mut client = Client::connect_at(&server, &format!("/ws?user=reader{query}"));
    let mut seqs = vec![Vec::new(); 128];
    let room_of = |push: &Value| push["room"].as_str().expect("a room")[1..].parse::<usize>().expect("a number");
    while seqs.iter().map(Vec::len).sum::<usize>() < 128 * 50 {
        let push = client.json_where("a push of a room", |push| push["type"] == "joined" || push["type"] == "message");
        let inside = push["messages"].as_array().into_iter().flatten();
        let own = inside.chain((push["type"] == "message").then_some(&push));
        seqs[room_of(&push)].extend(own.map(|message| message["seq"].as_u64().expect("a seq")));
    }
    for (room, seqs) in seqs.iter().enumerate() {
        assert_eq!(*seqs, (2..=51).collect::<Vec<_>>(), "room {room}");
    }
}
