//! A disk that is full and has room again: reads and live delivery go on, and the server heals by itself.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::stop;
use crate::client::Client;
use crate::http;
use crate::server::{Server, clean, eventually, finish, program, scratch};

/// A disk that can be filled: a small file system in memory where this process may mount one, otherwise any, of which the
/// server may write no further byte by its own limit on the size of files.
struct SmallDisk {
    path: PathBuf,
    is_mounted: bool,
}

impl SmallDisk {
    fn mounted_if_possible(name: &str) -> Self {
        let mut disk = Self::limited(name);
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=512m", "none"]).arg(&disk.path).output();
        disk.is_mounted = mounted.is_ok_and(|output| output.status.success());
        disk
    }

    fn limited(name: &str) -> Self {
        let path = scratch("small").join(name);
        let _ = Command::new("umount").arg(&path).output();
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("scratch can be written");
        Self { path, is_mounted: false }
    }

    fn start(&self, settings: &[&str]) -> Server {
        let path = format!("store.path={}", self.path.join("data").display());
        let mut all = vec!["store.kind=embedded", &path];
        all.extend(settings);
        Server::start(&all)
    }

    /// Takes all the room that is left.
    fn fill(&self, server: &Server) {
        match self.is_mounted {
            true => {
                let filler = format!("of={}", self.filler().display());
                let _ = Command::new("dd").args(["if=/dev/zero", "bs=1M", &filler]).output();
            }
            false => limit_files(server, "0"),
        }
    }

    fn empty(&self, server: &Server) {
        match self.is_mounted {
            true => std::fs::remove_file(self.filler()).expect("it was filled"),
            false => limit_files(server, "unlimited"),
        }
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if self.is_mounted {
            let _ = Command::new("umount").arg("-l").arg(&self.path).output();
        }
    }
}

/// Sets how large the files may become that the server writes.
fn limit_files(server: &Server, size: &str) {
    let limit = format!("--fsize={size}:unlimited");
    let set = Command::new("prlimit").args(["--pid", &server.pid().to_string(), &limit]).output();
    assert!(set.as_ref().is_ok_and(|output| output.status.success()), "{set:?}");
}

fn ready(server: &Server) -> (u16, Value) {
    let answer = http::get(server.control, "/ready");
    (answer.status, answer.json())
}

#[test]
fn a_full_disk_refuses_publishes_until_there_is_room() {
    let disk = SmallDisk::mounted_if_possible("full");
    let large = ["server.max_message_bytes=8MiB", "limits.outbox_bytes=64MiB"];
    let server = disk.start(&["store.durability=store", large[0], large[1]]);
    let mut alice = Client::connect(&server, "alice");
    let mut bob = Client::connect(&server, "bob");
    alice.join("lobby");
    alice.join("large");
    bob.join("lobby");
    alice.publish("lobby", json!("before"));
    disk.fill(&server);
    // What was allocated ahead is used up first.
    let big = "x".repeat(4 << 20);
    let refusal = eventually("a publish is refused", || {
        let reply = alice.request(json!({"type": "publish", "room": "large", "data": big, "echo": false}));
        (reply["type"] == "error").then_some(reply)
    });
    assert_eq!(refusal["code"], "unavailable", "{refusal}");
    assert!(refusal["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{refusal}");
    let (status, body) = ready(&server);
    assert_eq!((status, body.to_string().contains("store")), (503, true), "{body}");
    assert_eq!(http::get(server.control, "/health").status, 200);
    assert!(server.metric("roomring_breaker_state", "store") > 0.0);
    let ephemeral = json!({"type": "publish", "room": "lobby", "data": "live", "ephemeral": true});
    assert_eq!(alice.request(ephemeral)["type"], "published", "what is not kept goes on");
    assert_eq!(bob.expect("ephemeral")["data"], "live");
    assert_eq!(bob.request(json!({"type": "history", "room": "lobby", "limit": 1}))["type"], "history");
    disk.empty(&server);
    eventually("the server is ready again", || (ready(&server).0 == 200).then_some(()));
    let seq = eventually("a publish is kept again", || {
        let reply = alice.request(json!({"type": "publish", "room": "lobby", "data": "after"}));
        (reply["type"] == "published").then(|| reply["seq"].as_u64().expect("a seq"))
    });
    for last in 0..seq {
        let message = bob.expect("message");
        assert_eq!(message["seq"], last + 1, "members see no hole: {message}");
    }
    stop(server);
    let server = disk.start(&["store.durability=store"]);
    let mut bob = Client::connect(&server, "bob");
    assert_eq!(bob.join("lobby")["seq"], seq);
    drop(server);
}

#[test]
fn a_full_disk_and_write_behind_lose_nothing_that_members_have_seen() {
    let disk = SmallDisk::limited("full-behind");
    let server = disk.start(&["store.durability=memory"]);
    let mut alice = Client::connect(&server, "alice");
    alice.join("lobby");
    alice.publish("lobby", json!("before"));
    disk.fill(&server);
    let told = alice.publish("lobby", json!("the first that fails"));
    eventually("the store fails", || (ready(&server).0 == 503).then_some(()));
    assert_eq!(alice.publish("lobby", json!("while it fails")), told + 1, "delivery goes on");
    disk.empty(&server);
    eventually("the server is ready again", || (ready(&server).0 == 200).then_some(()));
    stop(server);
    let server = disk.start(&["store.durability=memory"]);
    let mut bob = Client::connect(&server, "bob");
    let joined = bob.join("lobby");
    assert_eq!(joined["seq"], told + 1, "{joined}");
    let last = joined["messages"].as_array().and_then(|all| all.last()).map(|last| last["data"].clone());
    assert_eq!(last, Some(json!("while it fails")));
}

#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    let mut command = program();
    command.args(["--set", "server.listen=127.0.0.1:0", "--set", "control.listen=127.0.0.1:0"]);
    // Nobody makes a directory there, not even root.
    command.args(["--set", "store.kind=embedded", "--set", "store.path=/sys/roomring"]);
    let refused = finish(command);
    assert_eq!((refused.code, refused.stderr.lines().count()), (1, 1), "{refused:?}");
    assert!(refused.stderr.contains("store.path") && refused.stderr.contains("/sys/roomring"), "{refused:?}");
}

#[test]
fn a_full_disk_at_the_start_is_named() {
    let disk = SmallDisk::limited("full-start");
    stop(disk.start(&[]));
    let mut command = Command::new("prlimit");
    clean(&mut command);
    command.args(["--fsize=0:unlimited", env!("CARGO_BIN_EXE_roomring")]);
    command.args(["--set", "server.listen=127.0.0.1:0", "--set", "control.listen=127.0.0.1:0"]);
    let path = disk.path.join("data").display().to_string();
    command.args(["--set", "store.kind=embedded", "--set", &format!("store.path={path}")]);
    let refused = finish(command);
    assert_eq!((refused.code, refused.stderr.lines().count()), (1, 1), "{refused:?}");
    assert!(refused.stderr.contains("store.path") && refused.stderr.contains(&path), "{refused:?}");
    stop(disk.start(&[]));
}
