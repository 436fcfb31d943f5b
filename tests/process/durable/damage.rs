//! A store that is damaged: the server names the file and the place, and starts no room anew.

use std::fs;

use serde_json::json;

use super::{DataDirectory, data_of, kill, stop};
use crate::client::Client;
use crate::server::{finish, program};

#[test]
fn damage_in_the_middle_of_the_log_is_named() {
    let data = DataDirectory::new("damage");
    let server = data.start("store", &[]);
    let mut alice = Client::connect(&server, "alice");
    alice.join("lobby");
    for index in 1..=10 {
        alice.publish("lobby", json!({"number": index, "text": "find me"}));
    }
    kill(server);
    let segment = data.segments().pop().expect("a segment");
    let mut bytes = fs::read(&segment).expect("readable");
    let at = bytes.windows(7).position(|window| window == b"find me").expect("the log holds what was published");
    bytes[at] ^= 1;
    fs::write(&segment, &bytes).expect("writable");
    // The index is left out: what it already holds is no reason to pass over damage in the log.
    let mut command = program();
    command.args(["--set", "server.listen=127.0.0.1:0", "--set", "control.listen=127.0.0.1:0"]);
    command.args(["--set", &format!("store.path={}", data.path().display())]);
    let refused = finish(command);
    assert_eq!((refused.code, refused.stderr.lines().count()), (1, 1), "{refused:?}");
    let name = segment.file_name().expect("a name").to_string_lossy().into_owned();
    for part in [&*name, "offset"] {
        assert!(refused.stderr.contains(part), "{part}: {refused:?}");
    }
    bytes[at] ^= 1;
    fs::write(&segment, &bytes).expect("writable");
    let server = data.start("store", &[]);
    let mut alice = Client::connect(&server, "alice");
    assert_eq!(data_of(&alice.join("lobby")).len(), 10);
}

#[test]
fn a_lost_index_is_made_again_from_the_log() {
    let data = DataDirectory::new("index");
    let server = data.start("store", &[]);
    let mut alice = Client::connect(&server, "alice");
    let epoch = alice.join("lobby")["epoch"].clone();
    for index in 1..=10 {
        alice.publish("lobby", json!(index));
    }
    stop(server);
    fs::remove_dir_all(data.path().join("index")).expect("the index is a directory of its own");
    let server = data.start("store", &[]);
    let mut alice = Client::connect(&server, "alice");
    let joined = alice.join("lobby");
    assert_eq!((&joined["epoch"], data_of(&joined).len()), (&epoch, 10), "{joined}");
}

#[test]
fn a_newer_version_is_left_alone() {
    let data = DataDirectory::new("version");
    stop(data.start("store", &[]));
    fs::write(data.path().join("VERSION"), "roomring store 99\n").expect("writable");
    let mut command = program();
    command.args(["--set", "server.listen=127.0.0.1:0", "--set", "control.listen=127.0.0.1:0"]);
    command.args(["--set", &format!("store.path={}", data.path().display())]);
    let refused = finish(command);
    assert_eq!((refused.code, refused.stderr.lines().count()), (1, 1), "{refused:?}");
    assert!(refused.stderr.contains("99") && refused.stderr.contains("VERSION"), "{refused:?}");
}
