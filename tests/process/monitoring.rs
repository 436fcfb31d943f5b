//! The monitoring files of `tuning/` against the `/metrics` of a server: every metric that they name exists, and
//! promtool accepts the text.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::client::Client;
use crate::durable::DataDirectory;
use crate::http;
use crate::server::Server;

/// Metrics that need other settings than those of this test.
const ELSEWHERE: &[&str] = &["roomring_tls_certificate_expiry_timestamp_seconds", "roomring_api_requests_total"];

/// Faults that `promtool` finds: names that are kept for existing users.
const KNOWN_FAULTS: &[&str] = &["roomring_cpu_us_total"];

/// The path of promtool: the variable `PROMTOOL`, or where `./tests/run` puts it.
fn promtool() -> PathBuf {
    let builds = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in the build's folder");
    let here = builds.join("promtool/usr/bin/promtool");
    let program = std::env::var_os("PROMTOOL").map_or(here, PathBuf::from);
    assert!(program.is_file(), "promtool is not at {}; ./tests/run brings it", program.display());
    program
}

fn tuning(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The metrics of the server that a text names.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    words.filter(|word| word.starts_with("roomring_") || word.starts_with("websocket_")).collect()
}

fn busy_server(data: &DataDirectory) -> (Server, Client) {
    // Nothing listens there: spans are lost, and counted.
    let server = data.start("store", &["server.cores=2", "trace.otlp_endpoint=http://127.0.0.1:1"]);
    let mut client = Client::connect(&server, "a");
    client.join("lobby");
    client.publish("lobby", json!(1));
    (server, client)
}

#[test]
fn dashboard_and_alerts_name_existing_metrics() {
    let data = DataDirectory::new("monitoring_names");
    let (server, _client) = busy_server(&data);
    let text = http::get(server.control, "/metrics").body;
    let series = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(['{', ' ']).next());
    let there: BTreeSet<&str> = series.collect();
    let dashboard: serde_json::Value = serde_json::from_str(&tuning("grafana/roomring.json")).expect("JSON");
    let mut expressions = Vec::new();
    collect_expressions(&dashboard, &mut expressions);
    assert!(expressions.len() > 25, "the dashboard has been read: {}", expressions.len());
    let alerts = tuning("prometheus/alerts.yml");
    let expressions = expressions.join(" ");
    let names: BTreeSet<&str> = named(&expressions).union(&named(&alerts)).copied().collect();
    assert!(names.len() > 25, "names were found: {names:?}");
    let missing: Vec<_> = names.iter().filter(|name| !there.contains(**name) && !ELSEWHERE.contains(name)).collect();
    assert!(missing.is_empty(), "no such metrics: {missing:?}");
    let idle: Vec<_> = ELSEWHERE.iter().filter(|name| !names.contains(**name)).collect();
    assert!(idle.is_empty(), "nobody reads these: {idle:?}");
}

fn collect_expressions(value: &serde_json::Value, into: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if ["expr", "query", "definition"].contains(&name.as_str()) => {
                        into.push(text.to_owned())
                    }
                    _ => collect_expressions(value, into),
                }
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| collect_expressions(value, into)),
        _ => {}
    }
}

#[test]
fn promtool_accepts_the_metrics() {
    let data = DataDirectory::new("monitoring_text");
    let (server, _client) = busy_server(&data);
    let text = http::get(server.control, "/metrics").body;
    let mut tool = Command::new(promtool())
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool can be started");
    tool.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("the tool reads");
    let output = tool.wait_with_output().expect("the tool ends");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let faults: Vec<&str> =
        said.lines().filter(|line| !KNOWN_FAULTS.iter().any(|known| line.starts_with(known))).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    // 0: no faults; 3: only faults of style, checked above.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{output:?}");
}
