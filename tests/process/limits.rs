//! The limits of connections, users, addresses, rooms and the whole server (OPERATIONS, [limits]). Rates are per hour,
//! so that nothing refills while a test runs, however slow the machine is.

use std::fs;
use std::io::Write;

use serde_json::{Value, json};

use crate::client::Client;
use crate::http;
use crate::server::{Server, eventually, program, scratch};

fn publish(client: &mut Client, room: &str) -> Value {
    client.request(json!({"type": "publish", "room": room, "data": "x"}))
}

/// The number of publishes that succeed; the others are refused for their rate.
fn published(client: &mut Client, room: &str, count: usize) -> usize {
    let replies: Vec<Value> = (0..count).map(|_| publish(client, room)).collect();
    for reply in replies.iter().filter(|reply| reply["type"] != "published") {
        assert_eq!((&reply["type"], &reply["code"]), (&json!("error"), &json!("rate_limited")), "{reply}");
        assert!(reply["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{reply}");
    }
    replies.iter().filter(|reply| reply["type"] == "published").count()
}

#[test]
fn a_connection_publishes_twice_its_rate_at_once_and_no_more() {
    let server = Server::start(&["limits.message_rate=5/h"]);
    let mut client = Client::connect(&server, "ann");
    client.join("a");
    assert_eq!(published(&mut client, "a", 15), 10);
    assert_eq!(client.request(json!({"type": "ping"}))["type"], "pong", "other commands go on");
    let mut other = Client::connect(&server, "ann");
    other.join("a");
    assert_eq!(published(&mut other, "a", 5), 5, "another connection has its own");
    assert_eq!(server.metric("roomring_rate_limited_total", "core=\"0\""), 5.0);
}

#[test]
fn every_command_counts_for_the_rate_of_commands() {
    let server = Server::start(&["limits.command_rate=3/h"]);
    let mut client = Client::connect(&server, "ann");
    for _ in 0..6 {
        assert_eq!(client.request(json!({"type": "ping"}))["type"], "pong");
    }
    client.refused(json!({"type": "ping"}), "rate_limited");
    client.refused(json!({"type": "join", "room": "a"}), "rate_limited");
}

#[test]
fn a_hundred_refusals_in_a_row_end_the_connection() {
    let server = Server::start(&["limits.message_rate=1/h"]);
    let mut client = Client::connect(&server, "ann");
    client.join("a");
    assert_eq!(published(&mut client, "a", 101), 2);
    client.refused(json!({"type": "publish", "room": "a", "data": 1}), "rate_limited");
    assert_eq!(client.close_code(), 4429);
    assert_eq!(server.metric("roomring_closed_rate_total", "core=\"0\""), 1.0);
}

#[test]
fn a_user_has_one_window_whatever_cores_the_connections_are_on() {
    let settings = ["server.cores=2", "limits.message_rate_per_user=20/h"];
    let server = Server::start(&settings);
    for user in ["ann", "bob", "eve"] {
        let mut clients: Vec<Client> = (0..6).map(|_| Client::connect(&server, user)).collect();
        for client in &mut clients {
            client.join(user);
        }
        let done: usize = (0..6).flat_map(|_| 0..6).map(|at| published(&mut clients[at], user, 1)).sum();
        assert_eq!(done, 20, "{user}");
    }
}

#[test]
fn a_room_carries_twice_its_rate_at_once_and_no_more() {
    let mut command = program();
    let file = scratch("limits").join("class.toml");
    let text =
        "[limits]\nconnections_per_user = 0\n[[rooms.class]]\npattern = \"news:*\"\nroom_message_rate = \"2/h\"\n";
    fs::write(&file, text).expect("the build's folder for tests can be written");
    command.arg("--config").arg(&file).args(["--set", "server.cores=2", "--set", "server.pin=false"]);
    let server = Server::spawn(command);
    let mut clients: Vec<Client> = (0..5).map(|at| Client::connect(&server, &format!("user-{at}"))).collect();
    let done: usize = clients
        .iter_mut()
        .map(|client| {
            client.join("news:1");
            client.join("chat");
            assert_eq!(published(client, "chat", 2), 2, "rooms of another class carry more");
            published(client, "news:1", 2)
        })
        .sum();
    assert_eq!(done, 4);
}

#[test]
fn connections_of_a_user_are_counted_over_the_cores_until_they_end() {
    let server = Server::start(&["server.cores=2", "limits.connections_per_user=3"]);
    let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(&server, "ann")).collect();
    let ask = |user: &str| {
        let head = http::upgrade_head(server.listen, &format!("/ws?user={user}"), "");
        http::exchange(server.listen, head.as_bytes())
    };
    for _ in 0..4 {
        let refused = ask("ann");
        assert_eq!((refused.status, &refused.json()["error"]), (429, &json!("limit_exceeded")), "{refused:?}");
        assert!(refused.field("Retry-After").is_some(), "{refused:?}");
    }
    clients.push(Client::connect(&server, "bob"));
    clients.remove(0).close();
    eventually("there is room for another", || (server.stat("connections") == 3).then_some(()));
    clients.push(Client::connect(&server, "ann"));
    clients.remove(0).reset();
    eventually("a reset counts too", || (server.stat("connections") == 3).then_some(()));
    clients.push(Client::connect(&server, "ann"));
    assert_eq!(ask("ann").status, 429);
}

#[test]
fn a_closed_connection_makes_way_for_the_next() {
    for cores in [1, 2, 4] {
        let limits = ["limits.connections_per_user=1", "limits.connections_per_ip=1"];
        let server = Server::start(&[&format!("server.cores={cores}"), "server.pin=false", limits[0], limits[1]]);
        for _ in 0..40 {
            Client::connect(&server, "ann").close();
        }
    }
}

#[test]
fn upgrades_over_the_rate_of_an_address_are_told_when_to_come_back() {
    let server = Server::start(&["server.cores=2", "limits.connect_rate_per_ip=3/h"]);
    let clients: Vec<Client> = (0..6).map(|at| Client::connect(&server, &format!("user-{at}"))).collect();
    let head = http::upgrade_head(server.listen, "/ws", "");
    let refused = http::exchange(server.listen, head.as_bytes());
    assert_eq!((refused.status, &refused.json()["error"]), (429, &json!("rate_limited")), "{refused:?}");
    let seconds: u64 = refused.field("Retry-After").and_then(|seconds| seconds.parse().ok()).expect("seconds");
    assert!((1_100..=1_200).contains(&seconds), "a third of an hour: {seconds}");
    assert_eq!(http::get(server.listen, "/health").status, 200, "only upgrades count");
    drop(clients);
}

#[test]
fn upgrades_over_the_rate_of_the_server_are_refused_and_connections_stay() {
    let server = Server::start(&["server.cores=2", "limits.connect_rate=2/h", "limits.connections_per_ip=10"]);
    let mut clients: Vec<Client> = (0..4).map(|at| Client::connect(&server, &format!("user-{at}"))).collect();
    let head = http::upgrade_head(server.listen, "/ws", "");
    for _ in 0..20 {
        assert_eq!(http::exchange(server.listen, head.as_bytes()).status, 429);
    }
    for client in &mut clients {
        assert_eq!(client.request(json!({"type": "ping"}))["type"], "pong");
    }
}

#[test]
fn connections_of_an_address_are_counted_until_they_end() {
    let server = Server::start(&["server.cores=2", "limits.connections_per_ip=4"]);
    let mut clients: Vec<Client> = (0..4).map(|at| Client::connect(&server, &format!("user-{at}"))).collect();
    let head = http::upgrade_head(server.listen, "/ws", "");
    let refused = http::exchange(server.listen, head.as_bytes());
    assert_eq!((refused.status, &refused.json()["error"]), (429, &json!("limit_exceeded")), "{refused:?}");
    clients.pop();
    eventually("the one that left is counted out", || (server.stat("connections") == 3).then_some(()));
    clients.push(Client::connect(&server, "late"));
}

#[test]
fn connections_without_a_message_are_closed_and_listeners_stay() {
    let server = Server::start(&["limits.idle_timeout=1s", "heartbeat.interval=200ms"]);
    let mut silent = Client::connect(&server, "silent");
    let mut speaker = Client::connect(&server, "speaker");
    let mut listener = Client::connect(&server, "listener");
    speaker.join("a");
    listener.join("a");
    eventually("the silent one is closed", || {
        speaker.publish("a", json!(1));
        (server.metric("roomring_closed_idle_total", "core=\"0\"") == 1.0).then_some(())
    });
    assert_eq!(silent.close_code(), 1001, "pings and pongs are no messages");
    assert_eq!(listener.request(json!({"type": "ping"}))["type"], "pong");
}

#[test]
fn limits_are_read_again_on_hangup_and_a_bad_file_changes_nothing() {
    let file = scratch("limits").join("reload.toml");
    let write = |rate: &str| {
        let text = format!("[limits]\nmessage_rate = \"{rate}\"\n");
        fs::write(&file, text).expect("the build's folder for tests can be written");
    };
    write("1000/h");
    let mut command = program();
    command.arg("--config").arg(&file).args(["--set", "server.cores=1", "--set", "server.pin=false"]);
    let server = Server::spawn(command);
    let mut client = Client::connect(&server, "ann");
    client.join("a");
    assert_eq!(published(&mut client, "a", 5), 5);
    let read_again = |what: &str, times: usize| {
        server.signal("HUP");
        eventually(what, || (server.stderr.get().matches(what).count() == times).then_some(()));
    };
    write("soon");
    read_again("keeping the previous configuration", 1);
    assert_eq!(published(&mut client, "a", 5), 5);
    write("1/h");
    read_again("configuration reloaded", 1);
    let mut other = Client::connect(&server, "bob");
    other.join("a");
    assert_eq!(published(&mut other, "a", 5), 2);
    write("0");
    read_again("configuration reloaded", 2);
    assert_eq!(published(&mut other, "a", 5), 5);
}

#[test]
fn rates_and_connections_go_by_what_a_hangup_sets_for_those_who_are_there_too() {
    let file = scratch("limits").join("rates.toml");
    let write = |limits: &str, of_class: &str| {
        let class = format!("[[rooms.class]]\npattern = \"news:*\"\nroom_message_rate = \"{of_class}\"\n");
        let text = format!("[limits]\nconnections_per_user = 0\n{limits}\n{class}");
        fs::write(&file, text).expect("the build's folder for tests can be written");
    };
    write("connect_rate = \"2/h\"", "1/h");
    let mut command = program();
    command.arg("--config").arg(&file).args(["--set", "server.cores=2", "--set", "server.pin=false"]);
    let server = Server::spawn(command);
    let head = http::upgrade_head(server.listen, "/ws?user=late", "");
    let ask = || {
        let mut socket = http::open(server.listen);
        socket.write_all(head.as_bytes()).expect("the server takes a head");
        http::parse(http::read_head(&mut socket).as_bytes())
    };
    let mut clients: Vec<Client> = (0..4).map(|_| Client::connect(&server, "ann")).collect();
    let refused = ask();
    let seconds: u64 = refused.field("Retry-After").and_then(|seconds| seconds.parse().ok()).expect("seconds");
    assert!(refused.status == 429 && seconds > 1_700, "two an hour: {refused:?}");
    clients[0].join("news:1");
    assert_eq!(published(&mut clients[0], "news:1", 5), 2);

    write("connect_rate = \"1000/s\"", "1000/h");
    server.signal("HUP");
    clients.push(eventually("the loosened rate lets connections in", || {
        (ask().status == 101).then(|| Client::connect(&server, "ann"))
    }));
    eventually("the loosened rate of the class", || (published(&mut clients[0], "news:1", 1) == 1).then_some(()));

    write("connect_rate = \"0\"\nconnections_per_ip = 4", "1000/h");
    server.signal("HUP");
    eventually("those who are there count", || (ask().status == 429).then_some(()));
    for client in &mut clients {
        assert_eq!(client.request(json!({"type": "ping"}))["type"], "pong", "nobody is closed");
    }
    clients.drain(..2).for_each(Client::close);
    eventually("two have gone", || (ask().status == 101).then_some(()));
}
