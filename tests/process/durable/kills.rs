//! kill -9 under load, with an account of what was acknowledged that is kept outside of the server.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{DataDirectory, data_of, join_from, kill, stop};
use crate::client::{Arrived, Client};
use crate::server::Server;

const ROUNDS: u64 = 100;
const ROOMS: [&str; 3] = ["one", "two", "three"];
const PUBLISHERS: usize = 6;

/// Everything that clients were told, by room and position: the data.
#[derive(Default)]
struct Account {
    /// What `published` said.
    acknowledged: BTreeMap<(String, String, u64), Value>,
    /// What members received.
    seen: BTreeMap<(String, String, u64), Value>,
}

/// Publishes to one room without waiting, and enters what it hears, until the connection ends.
fn publish(server: &Server, publisher: usize, round: u64, account: Arc<Mutex<Account>>) -> thread::JoinHandle<()> {
    let mut client = Client::connect(server, &format!("user{publisher}"));
    let room = ROOMS[publisher % ROOMS.len()];
    let epoch = client.join(room)["epoch"].as_str().expect("an epoch").to_owned();
    thread::spawn(move || {
        let (mut sent, mut ended) = (0, false);
        while !ended {
            for _ in 0..8 {
                sent += 1;
                let data = json!([publisher, round, sent]);
                ended |= !client.try_send(&json!({"type": "publish", "room": room, "data": data, "id": sent}));
            }
            let mut account = account.lock().expect("no publisher panics");
            let until = Instant::now() + Duration::from_millis(5);
            while let Some(arrived) = client.read(until) {
                match arrived {
                    Arrived::Json(reply) if reply["type"] == "published" => {
                        let place = (room.to_owned(), reply["epoch"].as_str().expect("an epoch").to_owned());
                        let at = (place.0, place.1, reply["seq"].as_u64().expect("a seq"));
                        account.acknowledged.insert(at, json!([publisher, round, reply["id"]]));
                    }
                    Arrived::Json(push) if push["type"] == "message" => {
                        let at = (room.to_owned(), epoch.clone(), push["seq"].as_u64().expect("a seq"));
                        let earlier = account.seen.insert(at.clone(), push["data"].clone());
                        assert!(earlier.is_none_or(|earlier| earlier == push["data"]), "{at:?} has two contents");
                    }
                    Arrived::End | Arrived::Close(_) => ended = true,
                    _ => {}
                }
                if ended {
                    break;
                }
            }
        }
    })
}

/// Reads a whole room: its epoch, and its messages from the first on.
fn read_room(server: &Server, room: &str) -> (String, Vec<Value>) {
    let mut reader = Client::connect(server, "reader");
    let joined = join_from(&mut reader, room, 0, &Value::Null);
    let epoch = joined["epoch"].as_str().expect("an epoch").to_owned();
    assert_eq!(joined["recovered"], true, "{room}: {joined}");
    let mut all = joined["messages"].as_array().expect("messages").clone();
    let remaining = joined["remaining"].as_u64().unwrap_or(0) as usize;
    all.extend(reader.messages(room, remaining));
    (epoch, all)
}

#[test]
fn a_hundred_kills_lose_nothing_that_was_acknowledged() {
    let data = DataDirectory::new("kills");
    let settings = ["rooms.history_size=1000000", "rooms.recovery_max=1000000", "limits.outbox_bytes=64MiB"];
    let account: Arc<Mutex<Account>> = Arc::default();
    let mut epochs: BTreeMap<String, String> = BTreeMap::new();
    for round in 0..ROUNDS {
        let server = data.start("store", &settings);
        let publishers: Vec<_> =
            (0..PUBLISHERS).map(|publisher| publish(&server, publisher, round, account.clone())).collect();
        // Anywhere in a group, and sometimes before the first.
        thread::sleep(Duration::from_millis(20 + (round * 37) % 90));
        kill(server);
        for publisher in publishers {
            publisher.join().expect("no content has changed");
        }
        // Each tenth round, everything so far is compared: all of it each time would make the test quadratic.
        if round % 10 != 9 {
            continue;
        }
        let server = data.start("store", &settings);
        let account = account.lock().expect("no publisher panics");
        for room in ROOMS {
            let (epoch, messages) = read_room(&server, room);
            let known = epochs.entry(room.to_owned()).or_insert_with(|| epoch.clone());
            assert_eq!(known, &epoch, "{room} keeps its epoch");
            for (index, message) in messages.iter().enumerate() {
                assert_eq!(message["seq"], index as u64 + 1, "{room} has no hole");
                let at = (room.to_owned(), epoch.clone(), index as u64 + 1);
                for told in [account.acknowledged.get(&at), account.seen.get(&at)].into_iter().flatten() {
                    assert_eq!(told, &message["data"], "{at:?} is what was told");
                }
            }
            let told = account.acknowledged.keys().filter(|at| at.0 == room).map(|at| at.2).max();
            assert!(told.is_none_or(|last| last <= messages.len() as u64), "{room} lacks what was acknowledged");
        }
        stop(server);
    }
    let account = account.lock().expect("no publisher panics");
    assert!(account.acknowledged.len() as u64 > ROUNDS * 10, "{} were acknowledged", account.acknowledged.len());
}

#[test]
fn a_kill_with_write_behind_keeps_the_records_under_a_new_epoch() {
    let data = DataDirectory::new("kill-behind");
    let server = data.start("memory", &[]);
    let mut alice = Client::connect(&server, "alice");
    let before = alice.join("lobby");
    alice.join("other");
    for index in 1..=5 {
        alice.publish("lobby", json!(index));
    }
    // What a clean stop has written is under its old epoch after the next start.
    stop(server);
    let server = data.start("memory", &[]);
    let mut alice = Client::connect(&server, "alice");
    assert_eq!(alice.join("lobby")["epoch"], before["epoch"]);
    alice.publish("lobby", json!(6));
    kill(server);

    let server = data.start("memory", &[]);
    let mut alice = Client::connect(&server, "alice");
    let after = join_from(&mut alice, "lobby", 5, &before["epoch"]);
    assert_eq!(after["recovered"], false, "{after}");
    assert_ne!(after["epoch"], before["epoch"], "no position is given twice");
    let kept = data_of(&after);
    assert_eq!(kept[..5], [1, 2, 3, 4, 5].map(|index| json!(index)), "{after}");
    let untouched = alice.join("other");
    assert_eq!(untouched["seq"], 0);
}

#[test]
fn what_was_never_heard_of_is_no_gap_to_a_member_that_comes_back() {
    let data = DataDirectory::new("back");
    let server = data.start("store", &[]);
    let mut bob = Client::connect(&server, "bob");
    let joined = bob.join("lobby");
    let is_over = Arc::new(AtomicBool::new(false));
    let mut alice = Client::connect(&server, "alice");
    alice.join("lobby");
    let over = is_over.clone();
    let publisher = thread::spawn(move || {
        let mut sent = 0_u64;
        while !over.load(Ordering::Relaxed)
            && alice.try_send(&json!({"type": "publish", "room": "lobby", "data": sent}))
        {
            sent += 1;
            if sent.is_multiple_of(50) {
                thread::sleep(Duration::from_millis(1));
            }
        }
    });
    let last = bob.messages("lobby", 200).last().map(|message| message["seq"].as_u64().expect("a seq"));
    kill(server);
    is_over.store(true, Ordering::Relaxed);
    publisher.join().expect("no panic");
    let mut last = last.expect("200 messages");
    // What is still in the socket was delivered too.
    while let Some(arrived) = bob.read(Instant::now() + Duration::from_secs(5)) {
        match arrived {
            Arrived::Json(message) if message["type"] == "message" => {
                assert_eq!(message["seq"], last + 1);
                last += 1;
            }
            _ => break,
        }
    }
    let server = data.start("store", &[]);
    let mut bob = Client::connect(&server, "bob");
    let again = join_from(&mut bob, "lobby", last, &joined["epoch"]);
    assert_eq!(again["recovered"], true, "a member has seen {last}, so it is kept: {again}");
}
