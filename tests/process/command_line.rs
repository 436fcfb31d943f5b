//! The command line: usage, exit codes, one plain sentence for each mistake (OPERATIONS, "Command line").

use crate::server::{Finished, finish, program, scratch};

pub fn run(arguments: &[&str]) -> Finished {
    let mut command = program();
    command.args(arguments);
    finish(command)
}

/// Asserts that a run failed with this code and said so on standard error, naming every part.
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
    for word in ["serve", "check-config", "print-config", "--config", "--set"] {
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

/// Features of which this version has the keys alone.
#[test]
fn what_is_not_there_yet_is_refused_in_one_sentence() {
    let file = scratch("features").join("file.pem");
    std::fs::write(&file, "").expect("the build's folder for tests can be written");
    let certificate = format!("tls.certificate={}", file.display());
    let settings: [&str; 12] = [
        &certificate,
        "control.api_key=secret",
        "auth.mode=jwt",
        "auth.hmac_secret=0123456789abcdef0123456789abcdef",
        "rooms.inboxes=true",
        "rooms.create=admin",
        "limits.connections_per_user=5",
        "limits.message_rate=5/s",
        "compression.enabled=true",
        "store.kind=embedded",
        "link.kind=redis",
        "trace.otlp_endpoint=http://127.0.0.1:4317",
    ];
    for setting in settings {
        let finished = run(&["--set", setting]);
        let key = setting.split('=').next().expect("a split has a first part");
        assert_failed(&finished, 2, &[key]);
        let sentence = finished.stderr.lines().find(|line| line.contains(key)).expect("one line names it");
        assert!(sentence.contains("not have yet"), "{setting}: {finished:?}");
        assert!(
            !sentence.contains("secret") || setting.starts_with("auth.hmac") || key.contains("api_key"),
            "{sentence}"
        );
    }
    let secret = run(&["--set", "auth.hmac_secret=0123456789abcdef0123456789abcdef"]);
    assert!(!secret.stderr.contains("0123456789abcdef"), "a secret is never shown: {secret:?}");
}

#[test]
fn an_open_server_on_every_address_must_be_written_out() {
    let finished = run(&["--set", "server.listen=0.0.0.0:0", "--set", "control.listen=127.0.0.1:0"]);
    assert_failed(&finished, 2, &["auth.mode"]);
}
