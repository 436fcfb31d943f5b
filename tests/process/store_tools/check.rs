//! `roomring store check`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::store;
use crate::client::Client;
use crate::command_line::assert_failed;
use crate::durable::{DataDirectory, kill, stop};

/// Publishes ten messages, and kills the server or stops it.
fn filled(data: &DataDirectory, is_killed: bool) {
    let server = data.start("store", &[]);
    let mut alice = Client::connect(&server, "alice");
    alice.request(json!({"type": "create_room", "room": "club", "visibility": "private", "title": "Club"}));
    for room in ["lobby", "club"] {
        alice.join(room);
        for index in 1..=5 {
            alice.publish(room, json!({"number": index, "text": "find me"}));
        }
    }
    if is_killed { kill(server) } else { stop(server) }
}

/// All files below a directory with their bytes, without the lock, which says who had it last.
fn files(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(path).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.append(&mut files(&path));
        } else if !path.ends_with("lock") {
            let bytes = fs::read(&path).expect("readable");
            found.insert(path, bytes);
        }
    }
    found
}

fn checked(data: &DataDirectory, code: i32) -> Value {
    let before = files(data.path());
    let finished = store(data, &["check", "--json"]);
    assert_eq!((finished.code, finished.stderr.as_str()), (code, ""), "{finished:?}");
    assert!(files(data.path()) == before, "a check changes nothing");
    serde_json::from_str(&finished.stdout).expect("JSON")
}

#[test]
fn a_store_is_sound_after_a_stop_and_after_a_kill() {
    for is_killed in [false, true] {
        let data = DataDirectory::new(if is_killed { "check_killed" } else { "check_stopped" });
        filled(&data, is_killed);
        let report = checked(&data, 0);
        assert_eq!((&report["sound"], &report["faults"]), (&json!(true), &json!(0)), "{report}");
        let segment = &report["segments"][0];
        assert!(segment["groups"].as_u64() > Some(0) && segment["changes"].as_u64() > Some(10), "{report}");
        if !is_killed {
            // After a kill the index may be behind the log.
            let index = &report["index"];
            let found = (&index["rooms"], &index["messages"], &index["members"]);
            assert_eq!(found, (&json!(2), &json!(10), &json!(1)), "{report}");
            let text = store(&data, &["check"]);
            assert_eq!(text.code, 0, "{text:?}");
            for part in ["messages: 10\n", "log-", "the store is sound"] {
                assert!(text.stdout.contains(part), "{part}: {text:?}");
            }
        }
    }
}

#[test]
fn damage_to_the_log_is_told_with_file_and_offset() {
    let data = DataDirectory::new("check_log");
    filled(&data, true);
    let path = data.segments().pop().expect("a segment");
    let mut bytes = fs::read(&path).expect("readable");
    let at = bytes.windows(7).position(|window| window == b"find me").expect("the log holds what was published");
    bytes[at] ^= 1;
    fs::write(&path, &bytes).expect("writable");
    let report = checked(&data, 1);
    let damage = &report["damage"][0];
    assert_eq!((&damage["part"], &damage["file"]), (&json!("log"), &json!(path)), "{report}");
    let offset = damage["offset"].as_u64().expect("an offset") as usize;
    assert!((1..=at).contains(&offset), "{report}");
    let text = store(&data, &["check"]);
    let expected = format!("log: {} is damaged at offset {offset}: ", path.display());
    assert!(text.code == 1 && text.stdout.contains(&expected), "{expected}: {text:?}");
    assert!(text.stdout.trim_end().ends_with("the store is damaged"), "{text:?}");
}

#[test]
fn damage_to_the_index_is_told() {
    let data = DataDirectory::new("check_index");
    filled(&data, false);
    let index = data.path().join("index");
    let holds_record = |bytes: &[u8]| bytes.windows(7).position(|window| window == b"find me");
    let (path, mut bytes) =
        files(&index).into_iter().find(|(_, bytes)| holds_record(bytes).is_some()).expect("records");
    let at = holds_record(&bytes).expect("it was found");
    bytes[at] ^= 1;
    fs::write(&path, &bytes).expect("writable");
    let report = checked(&data, 1);
    assert!(report["damage"].as_array().is_some_and(|all| all.iter().any(|one| one["part"] == "index")), "{report}");
    fs::remove_dir_all(&index).expect("removed");
    let report = checked(&data, 0);
    assert!(report["notes"][0].as_str().is_some_and(|note| note.contains("makes it from the log")), "{report}");
}

#[test]
fn a_store_in_use_and_a_missing_one_are_refused() {
    let data = DataDirectory::new("check_refused");
    assert_failed(&store(&data, &["check"]), 2, &["there is no store in", "check_refused"]);
    assert!(!data.path().exists(), "nothing is made");
    let server = data.start("store", &[]);
    let pid = format!("the process {}", server.pid());
    assert_failed(&store(&data, &["check"]), 2, &["is in use by", &pid]);
    stop(server);
    assert_eq!(store(&data, &["check"]).code, 0);
}
