//! What a clean stop and a restart keep.

use serde_json::json;

use super::{DataDirectory, data_of, join_from, stop};
use crate::client::Client;
use crate::http;
use crate::server::{eventually, finish};

#[test]
fn a_clean_stop_keeps_everything_and_clients_recover() {
    for durability in ["memory", "store"] {
        let data = DataDirectory::new(&format!("restart-{durability}"));
        let server = data.start(durability, &["server.cores=2"]);
        let mut alice = Client::connect(&server, "alice");
        let joined = alice.join("lobby");
        for index in 1..=20 {
            assert_eq!(alice.publish("lobby", json!(index)), index);
        }
        let keyed = alice.request(json!({"type": "publish", "room": "lobby", "data": "once", "key": "k"}));
        assert_eq!(keyed["seq"], 21);
        stop(server);

        let server = data.start(durability, &["server.cores=1"]);
        let mut alice = Client::connect(&server, "alice");
        let again = join_from(&mut alice, "lobby", 18, &joined["epoch"]);
        assert_eq!((&again["recovered"], &again["epoch"], &again["seq"]), (&json!(true), &joined["epoch"], &json!(21)));
        assert_eq!(data_of(&again), [json!(19), json!(20), json!("once")]);
        let twice = alice.request(json!({"type": "publish", "room": "lobby", "data": "twice", "key": "k"}));
        assert_eq!((&twice["seq"], &twice["duplicate"]), (&json!(21), &json!(true)), "keys outlive a restart");
        assert_eq!(alice.publish("lobby", json!("next")), 22);
        stop(server);
    }
}

#[test]
fn history_and_recovery_go_on_where_memory_ends() {
    let data = DataDirectory::new("pages");
    let settings = ["rooms.history_size=2000", "rooms.recovery_max=2000", "limits.message_rate=0"];
    let server = data.start("memory", &settings);
    let mut alice = Client::connect(&server, "alice");
    let joined = alice.join("long");
    for index in 1..=1_500 {
        alice.send(&json!({"type": "publish", "room": "long", "data": index, "echo": false, "id": index}));
    }
    for index in 1..=1_500 {
        alice.json_where("published", |reply| reply["id"] == index && reply["type"] == "published");
    }
    stop(server);

    let server = data.start("memory", &settings);
    let mut bob = Client::connect(&server, "bob");
    let again = join_from(&mut bob, "long", 3, &joined["epoch"]);
    assert_eq!((&again["recovered"], &again["seq"]), (&json!(true), &json!(1_500)));
    let mut got = data_of(&again);
    let remaining = again["remaining"].as_u64().unwrap_or(0) as usize;
    got.extend(bob.messages("long", remaining).iter().map(|message| message["data"].clone()));
    assert_eq!(got, (4..=1_500).map(|index| json!(index)).collect::<Vec<_>>());
    let mut before = 1_501;
    let mut all = Vec::new();
    while before > 1 {
        let page = bob.request(json!({"type": "history", "room": "long", "before": before, "limit": 300}));
        let messages = page["messages"].as_array().expect("messages").clone();
        assert!(!messages.is_empty(), "{before} of {page}");
        before = messages[0]["seq"].as_u64().expect("a seq");
        all.splice(0..0, messages.iter().map(|message| message["data"].as_u64().expect("a number")));
    }
    assert_eq!(all, (1..=1_500).collect::<Vec<u64>>());
}

#[test]
fn a_room_that_nobody_uses_leaves_memory_and_comes_back() {
    let data = DataDirectory::new("idle");
    let server = data.start("memory", &[]);
    let mut alice = Client::connect(&server, "alice");
    let epoch = alice.join("once")["epoch"].clone();
    alice.publish("once", json!("kept"));
    alice.request(json!({"type": "leave", "room": "once"}));
    eventually("the room leaves memory", || (server.metric("roomring_rooms_held", "") == 0.0).then_some(()));
    let again = alice.join("once");
    assert_eq!((&again["epoch"], &again["seq"], data_of(&again)), (&epoch, &json!(1), vec![json!("kept")]));
}

#[test]
fn a_data_directory_serves_one_server() {
    let data = DataDirectory::new("lock");
    let server = data.start("store", &[]);
    let mut second = crate::server::program();
    second.args(["--set", "server.listen=127.0.0.1:0", "--set", "control.listen=127.0.0.1:0"]);
    second.args(["--set", &format!("store.path={}", data.path().display())]);
    let refused = finish(second);
    assert_eq!((refused.code, refused.stderr.lines().count()), (1, 1), "{refused:?}");
    assert!(refused.stderr.contains(&data.path().display().to_string()), "{refused:?}");
    assert!(refused.stderr.contains(&server.pid().to_string()), "it says who uses it: {refused:?}");
    drop(server);
    let after_a_kill = data.start("store", &[]);
    assert_eq!(http::get(after_a_kill.control, "/ready").status, 200);
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let data = DataDirectory::new("blocked");
    std::fs::write(data.path(), "a file").expect("scratch can be written");
    let mut command = crate::server::program();
    command.args(["--set", "server.listen=127.0.0.1:0", "--set", "control.listen=127.0.0.1:0"]);
    command.args(["--set", &format!("store.path={}", data.path().display())]);
    let refused = finish(command);
    assert_eq!((refused.code, refused.stderr.lines().count()), (1, 1), "{refused:?}");
    for part in ["store.path", &*data.path().display().to_string()] {
        assert!(refused.stderr.contains(part), "{part}: {refused:?}");
    }
    let _ = std::fs::remove_file(data.path());
}
