//! The operator's commands against a running server (OPERATIONS, "Command line").

use serde_json::{Value, json};

use crate::client::Client;
use crate::command_line::{assert_failed, run};
use crate::server::{Finished, Server, finish, program};

/// Runs a command against a server.
fn operate(server: &Server, arguments: &[&str]) -> Finished {
    let control = server.control.to_string();
    run(&[arguments, &["--control", &control]].concat())
}

/// What a command prints, which must be done.
fn done(server: &Server, arguments: &[&str]) -> String {
    let finished = operate(server, arguments);
    assert_eq!((finished.code, finished.stderr.as_str()), (0, ""), "{arguments:?}: {finished:?}");
    finished.stdout.trim_end().to_owned()
}

/// The same for a machine.
fn done_json(server: &Server, arguments: &[&str]) -> Value {
    let text = done(server, &[arguments, &["--json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_room_is_seen_and_used_from_the_command_line() {
    let server = Server::start(&["server.cores=2"]);
    let mut ann = Client::connect(&server, "ann");
    let mut bob = Client::connect(&server, "bob");
    for client in [&mut ann, &mut bob] {
        client.join("lobby/ü 1");
    }
    let room = "lobby/ü 1";
    assert_eq!(done(&server, &["publish", room, "hello", "--from", "ops", "--key", "k"]), "published as message 1");
    let again = done(&server, &["publish", room, "hello", "--from", "ops", "--key", "k"]);
    assert_eq!(again, "already published as message 1");
    assert_eq!(done(&server, &["publish", room, r#"{"n": 1.0}"#]), "published as message 2");
    assert_eq!(done(&server, &["publish", room, "-1", "--ephemeral"]), "published without a number");
    for client in [&mut ann, &mut bob] {
        let messages = client.messages(room, 2);
        assert_eq!((&messages[0]["data"], &messages[0]["from"]), (&json!("hello"), &json!("ops")));
        assert_eq!((&messages[1]["data"], &messages[1]["from"]), (&json!({"n": 1.0}), &json!("server")));
        assert_eq!(client.expect("ephemeral")["data"], -1);
    }
    let rooms = done(&server, &["rooms"]);
    let lines: Vec<&str> = rooms.lines().collect();
    assert_eq!(lines[0], "ROOM       MEMBERS  CONNECTIONS  HEAD  MESSAGES/S");
    assert!(lines.len() == 2 && lines[1].starts_with("lobby/ü 1        2            2     2"), "{rooms}");
    assert_eq!(done_json(&server, &["rooms", "--sort", "members"])["rooms"][0]["room"], room);
    let members = done(&server, &["members", room]);
    assert_eq!(members, "USER  STATUS  CONNECTIONS\nann   online            1\nbob   online            1");
    let history = done(&server, &["history", room, "--limit", "1"]);
    assert!(history.ends_with(r#"server  {"n": 1.0}"#) && history.lines().count() == 2, "{history}");
    assert_eq!(done_json(&server, &["history", room, "--after", "1"])["messages"][0]["seq"], 2);
}

#[test]
fn who_is_connected_is_seen_kicked_and_disconnected() {
    let server = Server::start(&["server.cores=2"]);
    let mut bobs: Vec<Client> = (0..3).map(|_| Client::connect(&server, "bob")).collect();
    let mut ann = Client::connect(&server, "ann");
    for client in bobs.iter_mut().chain([&mut ann]) {
        client.join("lobby");
    }
    let connections = done(&server, &["connections", "--user", "bob"]);
    assert_eq!(connections.lines().count(), 4, "{connections}");
    assert!(connections.starts_with("CONNECTION"), "{connections}");
    let page = done(&server, &["connections", "--limit", "3"]);
    let next =
        page.lines().last().and_then(|line| line.strip_prefix("there are more: --after ")).expect("there are more");
    assert_eq!(done(&server, &["connections", "--limit", "3", "--after", next]).lines().count(), 2);
    assert_eq!(
        done_json(&server, &["connections", "--sort", "queued"])["connections"].as_array().map(Vec::len),
        Some(4)
    );
    assert_eq!(done(&server, &["kick", "lobby", "bob"]), "removed 3 connections from the room");
    for bob in &mut bobs {
        assert_eq!(bob.expect("left")["reason"], "kicked");
    }
    let id = bobs[0].welcome["connection"].as_str().expect("an id").to_owned();
    assert_eq!(done(&server, &["disconnect", "--connection", &id, "--reason", "spam"]), "closed 1 connection");
    assert_eq!(bobs[0].close_code(), 4403);
    assert_eq!(done_json(&server, &["disconnect", "bob"]), json!({"disconnected": 2}));
    assert_eq!(bobs[1].close_code(), 4403);
    assert_eq!(done(&server, &["disconnect", "bob"]), "closed 0 connections");
    ann.publish("lobby", json!("still here"));
}

#[test]
fn a_server_is_drained_from_the_command_line() {
    let mut server = Server::start(&[]);
    let mut client = Client::connect(&server, "ann");
    assert_eq!(done(&server, &["drain"]), "the server is draining");
    assert_eq!(client.close_code(), 1012);
    assert_eq!(server.wait().code(), Some(0));
    let finished = operate(&server, &["rooms"]);
    assert_failed(&finished, 1, &[&server.control.to_string(), "--control"]);
    assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
}

#[test]
fn a_server_without_clients_answers_before_it_ends() {
    for _ in 0..5 {
        let mut server = Server::start(&[]);
        assert_eq!(done_json(&server, &["drain"]), json!({"status": "draining"}));
        assert_eq!(server.wait().code(), Some(0));
    }
}

#[test]
fn where_and_with_which_key_comes_from_the_configuration() {
    let server = Server::start(&["control.api_key=sesame"]);
    let listen = format!("control.listen={}", server.control);
    let finished = run(&["rooms", "--set", &listen, "--set", "control.api_key=sesame"]);
    assert_eq!(finished.code, 0, "{finished:?}");
    let mut command = program();
    command.args(["--set", &listen, "connections", "--json"]).env("ROOMRING_CONTROL__API_KEY", "sesame");
    let finished = finish(command);
    assert_eq!((finished.code, finished.stdout.trim()), (0, r#"{"connections":[]}"#), "{finished:?}");
    let without = run(&["rooms", "--set", &listen]);
    assert_failed(&without, 1, &["401", "unauthorized", "control.api_key"]);
    let wrong = run(&["rooms", "--set", &listen, "--set", "control.api_key=guess"]);
    assert_failed(&wrong, 1, &["401"]);
    assert!(!wrong.stderr.contains("guess"), "{wrong:?}");
    // A server's other keys are not this command's business, as long as they can be read.
    let elsewhere = ["--set", &listen, "--set", "control.api_key=sesame", "--set", "server.cores=1000"];
    assert_eq!(run(&[&["rooms"][..], &elsewhere].concat()).code, 0);
}

#[test]
fn what_cannot_be_done_is_one_sentence_with_its_code() {
    let server = Server::start(&[]);
    for (arguments, code, parts) in [
        (&["members", "nowhere"][..], 1, &["404", "room_not_found"][..]),
        (&["publish", "@ann", "1"], 1, &["403", "rooms.inboxes"]),
        (&["kick", "a", ""], 2, &["400", "`user`"]),
        (&["rooms", "--limit", "0"], 2, &["400", "`limit`"]),
        (&["rooms", "--limit", "many"], 2, &["--limit"]),
        (&["rooms", "--sort", "size"], 2, &["--sort", "members"]),
        (&["kick", "a"], 2, &["<USER>"]),
        (&["disconnect"], 2, &["USER"]),
        (&["disconnect", "bob", "--connection", "0-1-2"], 2, &["--connection"]),
        (&["history", "a", "--after", "1", "--before", "2"], 2, &["--before"]),
    ] {
        let finished = operate(&server, arguments);
        assert_failed(&finished, code, parts);
        assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
    }
    assert_failed(&run(&["rooms", "--control", "ftp://a"]), 2, &["--control", "ftp://a"]);
    assert_failed(&run(&["rooms", "--set", "control.listen=127.0.0.1:0"]), 2, &["--control"]);
    assert_failed(&run(&["rooms", "--set", "control.lisen=1"]), 2, &["control.listen"]);
    // Something else listens there.
    let stranger = server.listen.to_string();
    assert_failed(&run(&["rooms", "--control", &stranger]), 1, &[&stranger]);
}
