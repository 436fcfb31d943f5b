//! The Autobahn test suite against the real server's echo path: cases 1 to 10, and with compression some of each group
//! of 12 and 13. Every case must pass strictly. `kosoku` (PyPI) runs the suite; `./tests/run` installs it.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::http;
use crate::server::{Server, allow_descriptors, finish_within, scratch};

/// Cases to which the suite has no right answer: it only tells what the server does.
const INFORMATIONAL: &[&str] = &["7.1.6", "7.13.1", "7.13.2"];

/// Long enough for the limits and performance chapter on a loaded machine; the suite itself gives up after 100 s a case.
const CHAPTER_TIMEOUT: Duration = Duration::from_secs(300);

/// Where `./tests/run` puts the suite, unless the variable `KOSOKU` says where it is.
fn kosoku() -> PathBuf {
    let builds = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in the build's folder");
    let venv = builds.join("kosoku-0.1.0");
    let program = std::env::var_os("KOSOKU").map_or_else(|| venv.join("bin/kosoku"), PathBuf::from);
    assert!(
        program.is_file(),
        "the conformance suite is not at {}; install it by: python3 -m venv {venv} && {venv}/bin/pip install kosoku==0.1.0",
        program.display(),
        venv = venv.display()
    );
    program
}

/// Connections that are open before the suite begins. The server pings the slots of its sockets in turn, ten a second
/// when the interval is an hour. So the suite's connections, which come after these, are not pinged for a minute: no case
/// expects a ping of the server's own.
const OPEN_BEFORE: usize = 600;

/// Runs one chapter of the suite, which must have this many cases.
fn check_chapter(chapter: &str, cases: usize) {
    check(chapter, &[format!("{chapter}.*")], cases, &[]);
}

/// Runs the cases named by `included`, this many, against a server with more settings.
fn check(name: &str, included: &[String], cases: usize, more: &[&str]) {
    allow_descriptors(4 * OPEN_BEFORE);
    let settings = [
        "server.echo_path=/",
        "server.max_message_bytes=64MiB",
        "limits.outbox_bytes=128MiB",
        "heartbeat.interval=1h",
        "heartbeat.timeout=2h",
    ];
    let server = Server::start(&[&settings[..], more].concat());
    let open_before: Vec<TcpStream> = (0..OPEN_BEFORE).map(|_| http::open_websocket(server.listen, "/")).collect();
    let reports = scratch("conformance").join(name);
    let _ = std::fs::remove_dir_all(&reports);
    let mut command = Command::new(kosoku());
    command.arg("--outdir").arg(&reports).args(["--parallelism", "2"]);
    for case in included {
        command.args(["--include", case]);
    }
    command.arg(server.listen.to_string());
    let finished = finish_within(command, CHAPTER_TIMEOUT);
    let index = std::fs::read_to_string(reports.join("index.json"));
    let index = index.unwrap_or_else(|error| panic!("the suite writes its report ({error}): {finished:?}"));
    let agents: Value = serde_json::from_str(&index).expect("the report is JSON");
    let agents = agents.as_object().expect("the report is by agent");
    let results: Vec<(&String, &Value)> = agents.values().filter_map(Value::as_object).flatten().collect();
    assert_eq!(results.len(), cases, "{name} was run whole: {finished:?}");
    let failed: Vec<String> = results
        .iter()
        .filter(|(case, result)| {
            let allowed: &[&str] =
                if INFORMATIONAL.contains(&case.as_str()) { &["OK", "INFORMATIONAL"] } else { &["OK"] };
            let is_allowed = |name: &str| result[name].as_str().is_some_and(|behavior| allowed.contains(&behavior));
            !is_allowed("behavior") || !is_allowed("behaviorClose")
        })
        .map(|(case, result)| format!("{case}: {} (close: {})", result["behavior"], result["behaviorClose"]))
        .collect();
    assert!(failed.is_empty(), "{} of {cases} cases: {failed:#?}\nreports: {}", failed.len(), reports.display());
    drop(open_before);
    server.wait_until_empty();
}

/// Compression of text (three of the five kinds of data of 12), and of JSON under sets of parameters (13; 3 and 5 ask for a
/// window that is too small): messages of 1 KiB, and of 8 KiB cut into frames of 256 bytes. Each case is a thousand
/// echoes. The suite itself stumbles over an echo that is not compressed: data and sizes that may not get smaller are left
/// out.
#[test]
fn compression() {
    let mut cases: Vec<String> = Vec::new();
    for group in ["12.1", "12.3", "12.4", "13.1", "13.2", "13.4", "13.6", "13.7"] {
        cases.extend([4, 11].map(|size| format!("{group}.{size}")));
    }
    check("compression", &cases, cases.len(), &["compression.enabled=true", "compression.min_bytes=0"]);
}

macro_rules! chapters {
    ($($name:ident: $chapter:literal has $cases:literal cases,)*) => {
        $(
            #[test]
            fn $name() {
                check_chapter($chapter, $cases);
            }
        )*
    };
}

chapters! {
    framing: "1" has 16 cases,
    pings_and_pongs: "2" has 11 cases,
    reserved_bits: "3" has 7 cases,
    opcodes: "4" has 10 cases,
    fragmentation: "5" has 20 cases,
    utf_8: "6" has 145 cases,
    close_handshake: "7" has 37 cases,
    limits_and_performance: "9" has 54 cases,
    auto_fragmentation: "10" has 1 cases,
}
