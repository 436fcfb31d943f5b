//! `roomring dead-letters`: what an operator does with messages that could not be stored. An import brings them in.

use serde_json::{Value, json};

use super::store_with_input;
use crate::client::Client;
use crate::command_line::{assert_failed, run};
use crate::durable::{DataDirectory, stop};
use crate::server::{Finished, Server};

const LETTERS: &str = r#"{"kind":"header","version":1}
{"kind":"dead_letter","at":5,"reason":"a gap","room":"lobby","epoch":"00000000000000ff","record":{"seq":9,"at":4,"from":"bob","data":{"n": 1.0},"key":"k"}}
{"kind":"dead_letter","at":6,"reason":"a gap","room":"lobby","epoch":"00000000000000ff","record":{"seq":10,"at":5,"from":"bob","data":"second"}}
{"kind":"end","lines":3}
"#;

fn operate(server: &Server, arguments: &[&str]) -> Finished {
    let control = server.control.to_string();
    run(&[&["dead-letters"], arguments, &["--control", &control]].concat())
}

fn done(server: &Server, arguments: &[&str]) -> String {
    let finished = operate(server, arguments);
    assert_eq!((finished.code, finished.stderr.as_str()), (0, ""), "{arguments:?}: {finished:?}");
    finished.stdout.trim_end().to_owned()
}

#[test]
fn letters_are_listed_shown_replayed_and_dropped() {
    let data = DataDirectory::new("dead_letters");
    let imported = store_with_input(&data, &["import"], LETTERS);
    assert_eq!(imported.stdout.trim(), "imported 0 rooms with 0 messages, 0 accounts, 2 dead letters", "{imported:?}");
    let server = data.start("store", &[]);
    assert_eq!(server.metric("roomring_store_dead_letters", ""), 2.0);
    let mut alice = Client::connect(&server, "alice");
    alice.join("lobby");

    let listed = done(&server, &["list"]);
    assert!(listed.starts_with("ID  AT  ROOM") && listed.lines().count() == 3, "{listed}");
    assert!(done(&server, &["list", "--limit", "1"]).ends_with("there are more: --after 1"));
    let shown = done(&server, &["show", "1"]);
    for line in ["reason: a gap", "from: bob", "key: k", r#"data: {"n": 1.0}"#] {
        assert!(shown.lines().any(|found| found == line), "{line} in {shown}");
    }

    assert_eq!(done(&server, &["replay", "1"]), "published as message 1, and dropped the dead letter");
    let message = alice.messages("lobby", 1).remove(0);
    assert_eq!((&message["from"], &message["data"]), (&json!("bob"), &json!({"n": 1.0})), "{message}");
    assert_failed(&operate(&server, &["replay", "1"]), 1, &["404", "dead_letter_unknown"]);
    let dropped: Value = serde_json::from_str(&done(&server, &["drop", "2", "--json"])).expect("JSON");
    assert_eq!(dropped, json!({"id": 2}));
    assert_eq!(server.metric("roomring_store_dead_letters", ""), 0.0);
    stop(server);

    let server = data.start("store", &[]);
    assert_eq!(done(&server, &["list"]).lines().count(), 1, "they are gone for good");
}

#[test]
fn a_second_replay_of_the_same_message_publishes_nothing() {
    let data = DataDirectory::new("dead_letters_twice");
    let twice = LETTERS.replace(r#","data":"second"}"#, r#","data":{"n": 1.0},"key":"k"}"#);
    assert_eq!(store_with_input(&data, &["import"], &twice).code, 0);
    let server = data.start("store", &[]);
    assert_eq!(done(&server, &["replay", "1"]), "published as message 1, and dropped the dead letter");
    assert_eq!(done(&server, &["replay", "2"]), "already published as message 1, and dropped the dead letter");
}
