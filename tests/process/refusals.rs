//! Refused commands: the error gives the reason, and the connection stays open (PROTOCOL sections 2 and 5).

use serde_json::{Value, json};
use tungstenite::Message;

use crate::client::Client;
use crate::server::Server;

/// Asserts that the connection still serves.
fn assert_alive(client: &mut Client) {
    assert_eq!(client.request(json!({"type": "ping"}))["type"], "pong");
}

#[test]
fn text_that_is_no_command_is_an_error_without_id() {
    let server = Server::start(&[]);
    let mut client = Client::connect(&server, "alice");
    let deep = "[".repeat(30_000);
    let texts = ["", "x", "[]", "1", "null", "{", r#"{"type":"ping"} x"#, r#"{"type":"ping","id":-1}"#, &deep];
    for text in texts.into_iter().chain([r#"{"type":"ping","id":1.5}"#, r#"{"type":"ping","id":"1"}"#, r#"{"id":{}}"#])
    {
        client.send_message(Message::text(text));
        let error = client.expect("error");
        assert_eq!((&error["code"], error.get("id")), (&json!("bad_command"), None), "{text}");
    }
    client.send_message(Message::text(r#"{"type":"ping","id":9007199254740992}"#));
    assert_eq!(client.expect("error")["code"], "bad_command", "an id is at most 2^53-1");
    client.send_message(Message::text(r#"{"type":"ping","id":9007199254740991}"#));
    assert_eq!(client.expect("pong")["id"], 9_007_199_254_740_991_u64);
}

#[test]
fn a_bad_field_is_named() {
    let server = Server::start(&[]);
    let mut client = Client::connect(&server, "alice");
    client.join("lobby");
    let long = "r".repeat(129);
    let cases: Vec<(Value, &str)> = vec![
        (json!({"type": "join"}), "room"),
        (json!({"type": "join", "room": 5}), "room"),
        (json!({"type": "join", "room": ""}), "room"),
        (json!({"type": "join", "room": "a\nb"}), "room"),
        (json!({"type": "join", "room": "a\u{7f}b"}), "room"),
        (json!({"type": "join", "room": "lobby", "history": -1}), "history"),
        (json!({"type": "join", "room": "lobby", "last_received_seq": "1"}), "last_received_seq"),
        (json!({"type": "join", "room": "lobby", "last_received_seq": 1, "epoch": 5}), "epoch"),
        (json!({"type": "publish", "room": "lobby"}), "data"),
        (json!({"type": "publish", "room": "lobby", "data": 1, "echo": "no"}), "echo"),
        (json!({"type": "publish", "room": "lobby", "data": 1, "ephemeral": 1}), "ephemeral"),
        (json!({"type": "publish", "room": "lobby", "data": 1, "key": 1}), "key"),
        (json!({"type": "publish", "room": "lobby", "data": 1, "key": "k", "ephemeral": true}), "`key`"),
        (json!({"type": "history", "room": "lobby", "limit": 301}), "limit"),
        (json!({"type": "status", "status": "asleep"}), "status"),
        (json!({"type": "status"}), "status"),
        (json!({"type": "presence", "room": "lobby", "limit": 0}), "limit"),
    ];
    for (command, field) in cases {
        let error = client.refused(command.clone(), "bad_command");
        assert!(error["message"].as_str().is_some_and(|text| text.contains(field)), "{command} names {field}: {error}");
    }
    for command in [
        json!({"type": "join", "room": long}),
        json!({"type": "publish", "room": "lobby", "data": 1, "key": "k".repeat(129)}),
    ] {
        let error = client.request(command);
        assert!(matches!(error["code"].as_str(), Some("bad_command" | "too_large")), "{error}");
    }
    assert_eq!(client.join(&"r".repeat(128))["type"], "joined");
    assert_alive(&mut client);
}

#[test]
fn unknown_fields_are_ignored_and_unknown_commands_are_not() {
    let server = Server::start(&[]);
    let mut client = Client::connect(&server, "alice");
    assert_eq!(client.request(json!({"type": "join", "room": "lobby", "colour": {"x": []}}))["type"], "joined");
    for kind in ["dance", "", "JOIN"] {
        client.refused(json!({"type": kind, "room": "lobby"}), "unknown_command");
    }
    assert_alive(&mut client);
}

#[test]
fn a_connection_may_be_in_so_many_rooms() {
    let server = Server::start(&["limits.rooms_per_connection=3"]);
    let mut client = Client::connect(&server, "alice");
    for room in ["a", "b", "c"] {
        client.join(room);
    }
    client.refused(json!({"type": "join", "room": "d"}), "limit_exceeded");
    client.join("a");
    client.request(json!({"type": "leave", "room": "b"}));
    client.join("d");
    client.refused(json!({"type": "publish", "room": "b", "data": 1}), "not_joined");
}

#[test]
fn a_refused_command_changes_nothing() {
    let server = Server::start(&[]);
    let mut client = Client::connect(&server, "alice");
    client.refused(json!({"type": "publish", "room": "lobby", "data": 1}), "not_joined");
    client.refused(json!({"type": "join", "room": "lobby", "history": -1}), "bad_command");
    let joined = client.join("lobby");
    assert_eq!((&joined["seq"], &joined["members"]), (&json!(0), &json!(1)));
    assert_eq!(server.stat("members"), 1);
}
