//! Start, drain and end of the process (OPERATIONS, "Command line" and "Drain").

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Arrived, Client};
use crate::command_line::{assert_failed, run};
use crate::http;
use crate::server::{Server, clean, eventually, finish, program, scratch};

#[test]
fn the_ready_line_tells_where_to_connect() {
    let server = Server::start(&["server.cores=2"]);
    assert!(server.ready.starts_with("roomring ready "), "{}", server.ready);
    assert_eq!(server.cores, 2);
    assert_ne!(server.listen.port(), 0);
    assert_ne!(server.listen, server.control);
}

#[test]
fn several_addresses_are_served() {
    let mut command = program();
    command.args(["--set", "server.cores=1", "--set", "server.pin=false"]);
    let server = Server::spawn_on(command, r#"["127.0.0.1:0", "127.0.0.2:0"]"#);
    let list = server.ready.split_whitespace().find_map(|word| word.strip_prefix("listen=")).expect("a list");
    let addresses: Vec<std::net::SocketAddr> = list.split(',').map(|one| one.parse().expect("an address")).collect();
    assert_eq!(addresses.len(), 2, "{}", server.ready);
    for address in addresses {
        let mut client = Client::open(address, "/ws", None);
        client.expect("welcome");
    }
}

#[test]
fn a_port_in_use_ends_with_one_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    for (key, other) in [("server.listen", "control.listen"), ("control.listen", "server.listen")] {
        let mut command = program();
        command.args(["--set", &format!("{key}={address}"), "--set", &format!("{other}=127.0.0.1:0")]);
        command.args(["--set", "server.cores=1", "--set", "server.pin=false"]);
        let finished = finish(command);
        assert_failed(&finished, 1, &[&address, key]);
    }
}

#[test]
fn a_second_server_cannot_take_the_same_port() {
    let server = Server::start(&[]);
    let mut command = program();
    command.args(["--set", &format!("server.listen={}", server.listen), "--set", "control.listen=127.0.0.1:0"]);
    command.args(["--set", "server.cores=1", "--set", "server.pin=false"]);
    assert_failed(&finish(command), 1, &[&server.listen.to_string(), "server.listen"]);
}

#[test]
fn a_kernel_that_forbids_io_uring_is_reported() {
    let wrapper = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/process/without_io_uring.py");
    let mut command = Command::new("python3");
    clean(&mut command);
    command.arg(wrapper).arg(env!("CARGO_BIN_EXE_roomring"));
    command.args(["--set", "server.listen=127.0.0.1:0", "--set", "control.listen=127.0.0.1:0"]);
    command.args(["--set", "server.cores=1", "--set", "server.pin=false", "--set", "log.format=text"]);
    let finished = finish(command);
    assert_failed(&finished, 1, &["io_uring"]);
    let names_the_cause = ["seccomp", "io_uring_disabled"].iter().all(|cause| finished.stderr.contains(cause));
    assert!(names_the_cause, "it says what to look at: {finished:?}");
    assert_eq!(finished.stderr.trim().lines().count(), 1, "in one sentence: {finished:?}");
}

#[test]
fn limits_that_are_too_low_are_reported() {
    let mut cases = vec![("--memlock=65536:65536".to_owned(), "RLIMIT_MEMLOCK")];
    // Whatever the server would open next, and whatever it has inherited.
    cases.extend((5..30).step_by(3).map(|files| (format!("--nofile={files}:{files}"), "RLIMIT_NOFILE")));
    for (limit, names) in cases {
        let mut command = Command::new("prlimit");
        clean(&mut command);
        command.arg(limit).arg(env!("CARGO_BIN_EXE_roomring"));
        command.args(["--set", "server.listen=127.0.0.1:0", "--set", "control.listen=127.0.0.1:0"]);
        command.args(["--set", "server.cores=1", "--set", "server.pin=false"]);
        assert_failed(&finish(command), 1, &[names]);
    }
}

#[test]
fn a_drain_tells_every_client_and_succeeds() {
    let mut server = Server::start(&["server.cores=2", "server.shutdown_grace=5s"]);
    let mut clients: Vec<Client> = (0..50).map(|index| Client::connect(&server, &format!("user{index}"))).collect();
    for client in &mut clients {
        client.join("lobby");
    }
    let last = clients[0].publish("lobby", json!("before the end"));
    let started = Instant::now();
    server.signal("TERM");
    let mut delays = Vec::new();
    for client in &mut clients {
        assert_eq!(client.messages("lobby", 1)[0]["seq"], last, "what was queued is flushed first");
        let reconnect = client.expect("reconnect");
        assert_eq!(reconnect["reason"], "draining", "{reconnect}");
        delays.push(reconnect["after_ms"].as_u64().expect("it says when"));
        assert_eq!(client.close_code(), 1012);
    }
    delays.sort_unstable();
    delays.dedup();
    assert_eq!(delays.len(), clients.len(), "each is told another time: {delays:?}");
    assert_eq!(server.wait().code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

/// A member that never answers the close frame keeps a drain going until its grace expires.
fn silent_member(server: &Server) -> std::net::TcpStream {
    http::open_websocket(server.listen, "/ws?user=silent")
}

fn hold_the_drain(server: &Server) -> std::net::TcpStream {
    let silent = silent_member(server);
    server.signal("TERM");
    silent
}

/// Drains through the HTTP API, like a `preStop` hook of Kubernetes.
fn drain_by_request(server: &Server) {
    assert_eq!(http::send(server.control, "POST", "/api/drain", "", b"").status, 202);
}

/// Drains by the command, like an `ExecStop=` of systemd.
fn drain_by_command(server: &Server) {
    let finished = run(&["drain", "--control", &server.control.to_string()]);
    assert_eq!(finished.code, 0, "{finished:?}");
}

/// Waits until the first signal has reached the drain: two signals in a row may count as one.
fn wait_for_first_signal(server: &Server) {
    eventually("the signal is logged", || {
        server.stderr.get().contains("another signal ends the process at once").then_some(())
    });
}

#[test]
fn a_requested_drain_survives_the_first_signal() {
    for drain in [drain_by_request, drain_by_command] {
        let mut server = Server::start(&["server.cores=2", "server.shutdown_grace=3s"]);
        let mut clients: Vec<Client> = (0..200).map(|_| Client::connect(&server, "user")).collect();
        let _silent = silent_member(&server);
        drain(&server);
        server.signal("TERM");
        for client in &mut clients {
            assert_eq!(client.expect("reconnect")["reason"], "draining");
            assert_eq!(client.close_code(), 1012);
        }
        wait_for_first_signal(&server);
        assert_eq!(server.wait().code(), Some(0));
    }
}

#[test]
fn a_requested_drain_is_ended_by_the_second_signal() {
    let mut server = Server::start(&["server.shutdown_grace=1h"]);
    let _silent = silent_member(&server);
    drain_by_request(&server);
    server.signal("TERM");
    wait_for_first_signal(&server);
    drain_by_request(&server);
    assert_eq!(server.ended(), None, "a request is no signal");
    server.signal("INT");
    assert_eq!(server.wait().code(), Some(1));
}

#[test]
fn a_draining_server_says_so_and_accepts_no_connections() {
    let server = Server::start(&["server.shutdown_grace=20s"]);
    let mut clients: Vec<Client> = (0..200).map(|_| Client::connect(&server, "user")).collect();
    let _silent = hold_the_drain(&server);
    eventually("/ready turns", || (http::get(server.control, "/ready").status == 503).then_some(()));
    assert_eq!(server.stats()["draining"], true);
    let health = http::get(server.listen, "/health");
    assert_eq!((health.status, health.json()), (503, json!({"status": "draining"})));
    let upgrade = http::exchange(server.listen, http::upgrade_head(server.listen, "/ws", "").as_bytes());
    assert_eq!(upgrade.status, 503, "{upgrade:?}");
    assert!(upgrade.field("Retry-After").is_some(), "{upgrade:?}");
    for client in &mut clients {
        assert_eq!(client.close_code(), 1012);
    }
}

#[test]
fn a_drain_ends_within_its_grace_despite_silent_clients() {
    let mut server = Server::start(&["server.shutdown_grace=1s"]);
    let started = Instant::now();
    let _silent = hold_the_drain(&server);
    assert_eq!(server.wait().code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut server = Server::start(&["server.shutdown_grace=1h"]);
    let mut client = Client::connect(&server, "alice");
    let _silent = hold_the_drain(&server);
    assert_eq!(client.expect("reconnect")["reason"], "draining");
    if server.ended().is_none() {
        server.signal("INT");
    }
    assert_eq!(server.wait().code(), Some(1));
}

#[test]
fn an_interrupt_drains_too() {
    let mut server = Server::start(&[]);
    let mut client = Client::connect(&server, "alice");
    server.signal("INT");
    let ended = client.wait_for("the close", |arrived| matches!(arrived, Arrived::Close(_)));
    assert_eq!(ended, Arrived::Close(1012));
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_hang_up_reloads_the_log_level() {
    let file = scratch("life").join("level.toml");
    let write =
        |level: &str| std::fs::write(&file, format!("[log]\nlevel = \"{level}\"\n")).expect("it can be written");
    write("error");
    let mut command = program();
    command.arg("--config").arg(&file).args(["--set", "server.cores=1", "--set", "server.pin=false"]);
    let mut server = Server::spawn(command);
    Client::connect(&server, "alice").close();
    server.wait_until_empty();
    assert_eq!(server.stderr.get(), "", "nothing was wrong");
    write("info");
    server.signal("HUP");
    eventually("the reload is logged", || server.stderr.get().contains("INFO").then_some(()));
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(server.stderr.get().contains("draining"), "{}", server.stderr.get());
}

#[test]
fn logs_are_json_lines_unless_text_is_asked_for() {
    for (format, is_json) in [("auto", true), ("json", true), ("text", false)] {
        let mut server = Server::start(&[&format!("log.format={format}")]);
        server.signal("TERM");
        assert_eq!(server.wait().code(), Some(0));
        let log = server.stderr.get();
        assert!(!log.is_empty(), "{format}");
        for line in log.lines() {
            assert_eq!(serde_json::from_str::<serde_json::Value>(line).is_ok(), is_json, "{format}: {line}");
        }
    }
}
