//! `roomring store export` and `roomring store import`.

use std::fs;

use serde_json::{Value, json};

use super::{store, store_with_input};
use crate::client::Client;
use crate::command_line::assert_failed;
use crate::durable::{DataDirectory, data_of, join_from, kill, stop};

#[test]
fn clients_recover_across_an_export_and_an_import() {
    let (one, other) = (DataDirectory::new("export"), DataDirectory::new("import"));
    let server = one.start("store", &[]);
    let mut alice = Client::connect(&server, "alice");
    alice.request(json!({"type": "create_room", "room": "club", "visibility": "private", "title": "Club"}));
    let mut epoch = Value::Null;
    for room in ["club", "lobby"] {
        epoch = alice.join(room)["epoch"].clone();
        for index in 1..=5 {
            alice.publish(room, json!({ "n": index }));
        }
    }
    let refused = store(&one, &["export"]);
    assert_failed(&refused, 2, &["is in use by the process", &server.pid().to_string()]);
    kill(server);
    let text = store(&one, &["export"]);
    assert_eq!((text.code, text.stderr.as_str()), (0, ""), "{text:?}");
    let file = one.path().join("export.jsonl");
    let file_name = file.to_str().expect("UTF-8");
    let written = store(&one, &["export", file_name]);
    assert_eq!(written.stdout.trim(), "exported 2 rooms with 10 messages, 0 accounts, 0 dead letters");
    assert_eq!(fs::read_to_string(&file).expect("readable"), text.stdout);
    assert_failed(&store(&one, &["export", file_name]), 1, &[file_name, "exists already"]);

    let imported = store(&other, &["import", file_name]);
    assert_eq!(
        (imported.code, imported.stdout.trim()),
        (0, "imported 2 rooms with 10 messages, 0 accounts, 0 dead letters"),
        "{imported:?}"
    );
    assert_eq!(store(&other, &["export"]).stdout, text.stdout, "the same comes out again");
    assert_eq!(store(&other, &["check"]).code, 0);
    assert_failed(&store(&other, &["import", file_name]), 1, &["\"club\"", "already", "nothing was imported"]);

    let server = other.start("store", &[]);
    let mut alice = Client::connect(&server, "alice");
    let joined = join_from(&mut alice, "lobby", 3, &epoch);
    assert_eq!((&joined["recovered"], &joined["epoch"]), (&json!(true), &epoch), "{joined}");
    assert_eq!(data_of(&joined), [json!({"n": 4}), json!({"n": 5})]);
    assert_eq!(alice.publish("lobby", json!(6)), 6);
    alice.join("club");
    let mut stranger = Client::connect(&server, "stranger");
    stranger.refused(json!({"type": "join", "room": "club"}), "forbidden");
    stop(server);
}

#[test]
fn one_room_goes_through_a_pipe() {
    let (one, other) = (DataDirectory::new("export_pipe"), DataDirectory::new("import_pipe"));
    let server = one.start("store", &[]);
    let mut alice = Client::connect(&server, "alice");
    for room in ["a", "b"] {
        alice.join(room);
        alice.publish(room, json!(room));
    }
    stop(server);
    assert_failed(&store(&one, &["export", "--room", "nowhere"]), 1, &["\"nowhere\""]);
    assert_failed(&store(&one, &["export", "--room", ""]), 2, &["--room"]);
    let text = store(&one, &["export", "--room", "b"]).stdout;
    let kinds: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let kinds: Vec<&Value> = kinds.iter().map(|line| &line["kind"]).collect();
    assert_eq!(kinds, ["header", "room", "record", "end"]);
    let cut = &text[..text.len() / 2];
    assert_failed(&store_with_input(&other, &["import"], cut), 1, &["line "]);
    let imported = store_with_input(&other, &["import", "--new-epochs"], &text);
    assert_eq!(imported.stdout.trim(), "imported 1 room with 1 message, 0 accounts, 0 dead letters", "{imported:?}");
    let server = other.start("store", &[]);
    let mut alice = Client::connect(&server, "alice");
    let joined = alice.join("b");
    assert_eq!(data_of(&joined), [json!("b")]);
    assert!(!text.contains(joined["epoch"].as_str().expect("an epoch")), "it got another epoch: {joined}");
}
