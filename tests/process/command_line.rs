//! The command line: usage, exit codes, one sentence for each mistake (OPERATIONS, "Command line").

use std::net::TcpListener;
use std::process::Command;

use serde_json::Value;

use crate::server::{Finished, Server, clean, finish, program};

pub fn run(arguments: &[&str]) -> Finished {
    let mut command = program();
    command.args(arguments);
    finish(command)
}

/// Asserts that a run failed with this code and that standard error contains every part.
pub fn assert_failed(finished: &Finished, code: i32, parts: &[&str]) {
    assert_eq!(finished.code, code, "{finished:?}");
    assert!(finished.stdout.is_empty(), "a mistake is said on standard error: {finished:?}");
    for part in parts {
        assert!(finished.stderr.contains(part), "{part:?} is named: {finished:?}");
    }
    assert!(!finished.stderr.contains("panicked"), "{finished:?}");
}

#[test]
fn version_and_help_are_told() {
    let version = run(&["--version"]);
    assert_eq!((version.code, version.stdout.trim()), (0, concat!("roomring ", env!("CARGO_PKG_VERSION"))));
    let help = run(&["--help"]);
    assert_eq!(help.code, 0);
    for word in ["serve", "check-config", "print-config", "doctor", "rooms", "kick", "--config", "--set"] {
        assert!(help.stdout.contains(word), "{word}: {help:?}");
    }
}

#[test]
fn bad_usage_exits_with_2() {
    assert_failed(&run(&["--no-such-flag"]), 2, &["--no-such-flag"]);
    assert_failed(&run(&["no-such-command"]), 2, &["no-such-command"]);
    assert_failed(&run(&["--set"]), 2, &["--set"]);
    assert_failed(&run(&["--set", "server.cores"]), 2, &["server.cores"]);
    assert_failed(&run(&["--config"]), 2, &["--config"]);
    assert_failed(&run(&["serve", "--config", "/no/such/file.toml"]), 2, &["/no/such/file.toml"]);
    assert_failed(&run(&["check-config", "--config", "/no/such/file.toml"]), 2, &["/no/such/file.toml"]);
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one() {
    assert_failed(&run(&["--set", "server.core=1"]), 2, &["server.core", "server.cores"]);
    assert_failed(&run(&["--set", "servr.cores=1"]), 2, &["servr", "server"]);
    assert_failed(&run(&["--set", "heartbeat.intervall=1s"]), 2, &["heartbeat.intervall", "heartbeat.interval"]);
    let mut command = program();
    command.env("ROOMRING_SERVER__CORE", "1");
    assert_failed(&finish(command), 2, &["ROOMRING_SERVER__CORE", "server.cores"]);
}

#[test]
fn a_value_out_of_range_names_the_key_and_the_range() {
    assert_failed(&run(&["--set", "server.max_message_bytes=65MiB"]), 2, &["server.max_message_bytes", "64MiB"]);
    assert_failed(&run(&["--set", "heartbeat.interval=soon"]), 2, &["heartbeat.interval", "soon"]);
    assert_failed(
        &run(&["--set", "rooms.slow_policy=wait"]),
        2,
        &["rooms.slow_policy", "disconnect", "skip", "latest"],
    );
    assert_failed(&run(&["--set", "server.cores=0"]), 2, &["server.cores"]);
}

#[test]
fn more_pinned_executors_than_cpus_are_refused() {
    assert_failed(&run(&["--set", "server.cores=1000"]), 2, &["server.cores", "server.pin"]);
}

/// Features that have keys in this version but do not exist yet.
#[test]
fn what_is_not_there_yet_is_refused_in_one_sentence() {
    let settings = ["rooms.inboxes=true", "store.kind=postgres", "link.kind=redis"];
    for setting in settings {
        let finished = run(&["--set", setting]);
        let key = setting.split('=').next().expect("a split has a first part");
        assert_failed(&finished, 2, &[key]);
        let sentence = finished.stderr.lines().find(|line| line.contains(key)).expect("one line names it");
        assert!(sentence.contains("not have yet"), "{setting}: {finished:?}");
        assert!(!sentence.contains("secret"), "{sentence}");
    }
}

#[test]
fn an_open_server_on_every_address_must_be_written_out() {
    let finished = run(&["--set", "server.listen=0.0.0.0:0", "--set", "control.listen=127.0.0.1:0"]);
    assert_failed(&finished, 2, &["auth.mode"]);
}

/// The doctor's report on this host for one core, with further settings.
fn doctor(settings: &[&str]) -> Finished {
    let mut arguments = vec!["doctor", "--json", "--set", "server.cores=1", "--set", "server.pin=false"];
    for setting in settings {
        arguments.extend(["--set", setting]);
    }
    run(&arguments)
}

/// The check of this name in a report.
fn check(finished: &Finished, name: &str) -> Value {
    let report: Value = serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished:?}"));
    let checks = report["checks"].as_array().expect("a report has checks");
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}: {finished:?}")).clone()
}

/// This host runs the other tests, so nothing keeps the server from serving. It may have warnings.
#[test]
fn the_doctor_finds_a_host_that_serves_fit_to_serve() {
    let finished = doctor(&["server.listen=127.0.0.1:0", "control.listen=127.0.0.1:0"]);
    assert_eq!(finished.code, 0, "{finished:?}");
    assert_eq!(check(&finished, "io_uring")["status"], "ok", "the ring was tried");
    let text = run(&["doctor", "--set", "server.listen=127.0.0.1:0", "--set", "control.listen=127.0.0.1:0"]);
    assert_eq!(text.code, 0, "{text:?}");
    assert!(text.stdout.contains("io_uring") && text.stdout.contains("RLIMIT_NOFILE"), "{text:?}");
    assert!(text.stdout.trim_end().ends_with("the server can serve on this host"), "{text:?}");
    assert!(text.stderr.is_empty(), "{text:?}");
}

#[test]
fn the_doctor_fails_only_for_what_keeps_the_server_from_serving() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = other.local_addr().expect("it is bound");
    let finished = doctor(&[&format!("server.listen={address}"), "control.listen=127.0.0.1:0"]);
    assert_eq!(finished.code, 1, "{finished:?}");
    let listen = check(&finished, "server.listen");
    assert_eq!(listen["status"], "fail", "{listen}");
    let pid = format!("(pid {})", std::process::id());
    assert!(listen["found"].as_str().is_some_and(|found| found.contains(&pid)), "by whom: {listen}");
    drop(other);

    let few = Command::new("prlimit")
        .args(["--nofile=256:256", env!("CARGO_BIN_EXE_roomring"), "doctor", "--json"])
        .args(["--set", "server.cores=1", "--set", "server.pin=false"])
        .args(["--set", "server.listen=127.0.0.1:0", "--set", "control.listen=127.0.0.1:0"])
        .output()
        .expect("prlimit can be started");
    assert_eq!(few.status.code(), Some(0), "few connections are better than none: {few:?}");
    let report: Value = serde_json::from_slice(&few.stdout).expect("JSON");
    let files = report["checks"].as_array().expect("checks").iter().find(|check| check["name"] == "RLIMIT_NOFILE");
    assert_eq!(files.map(|check| check["status"].clone()), Some("warn".into()), "{report}");
    assert_eq!(files.map(|check| check["found"].clone()), Some("256".into()), "{report}");
}

#[test]
fn the_doctor_fails_where_the_limit_on_locked_memory_would_stop_the_server() {
    let mut command = Command::new("prlimit");
    clean(&mut command);
    command.args(["--memlock=65536:65536", env!("CARGO_BIN_EXE_roomring"), "doctor", "--json"]);
    command.args(["--set", "server.listen=127.0.0.1:0", "--set", "control.listen=127.0.0.1:0"]);
    let finished = finish(command);
    assert_eq!(finished.code, 1, "{finished:?}");
    let memlock = check(&finished, "RLIMIT_MEMLOCK");
    assert_eq!((&memlock["status"], &memlock["found"]), (&"fail".into(), &"64 KiB".into()), "{memlock}");
    assert!(memlock["mend"].as_str().is_some_and(|mend| mend.contains("LimitMEMLOCK=infinity")), "{memlock}");
}

#[test]
fn the_doctor_names_a_kernel_that_forbids_io_uring() {
    let wrapper = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/process/without_io_uring.py");
    let mut command = Command::new("python3");
    clean(&mut command);
    command.arg(wrapper).args([env!("CARGO_BIN_EXE_roomring"), "doctor", "--json"]);
    let finished = finish(command);
    assert_eq!(finished.code, 1, "{finished:?}");
    let ring = check(&finished, "io_uring");
    assert_eq!(ring["status"], "fail", "{ring}");
    assert!(ring["mend"].as_str().is_some_and(|mend| mend.contains("seccomp")), "{ring}");
}

#[test]
fn the_doctor_is_told_of_a_running_server_and_of_a_bad_configuration() {
    let server = Server::start(&[]);
    let (listen, control) = (format!("server.listen={}", server.listen), format!("control.listen={}", server.control));
    let finished = doctor(&[&listen, &control]);
    assert_eq!(finished.code, 0, "a server that runs is no fault of its host: {finished:?}");
    let found = check(&finished, "server.listen")["found"].clone();
    let pid = format!("(pid {})", server.pid());
    assert!(found.as_str().is_some_and(|found| found.contains("roomring") && found.contains(&pid)), "{found}");
    assert_failed(&run(&["doctor", "--set", "server.core=1"]), 2, &["server.cores"]);
    assert_failed(&run(&["doctor", "--config", "/no/such/file.toml"]), 2, &["/no/such/file.toml"]);
}
