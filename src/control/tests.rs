//! The routes, called without a socket; the limits on connections, over real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;

use super::*;
use crate::base::breaker::BreakerState;
use crate::base::causes::End;
use crate::base::codes::{CloseCode, ErrorCode};
use crate::base::counters::{COUNTERS, CoreCounters, CounterKind};
use crate::base::ids::CoreId;
use crate::engine::call::Call;
use crate::engine::hosts::AllowedHosts;
use crate::io::calls::CallReply;
use crate::io::clock;
use crate::wire::protocol::COMMANDS;

/// A part with one of everything.
#[derive(Default)]
struct FakePart {
    works: AtomicBool,
}

impl Observed for FakePart {
    fn readiness(&self) -> Option<Readiness> {
        let fault = (!self.works.load(Ordering::Relaxed)).then(|| "no keys yet".to_owned());
        Some(Readiness { part: "keys", fault })
    }

    fn breakers(&self) -> Vec<(&'static str, BreakerState)> {
        vec![("jwks", BreakerState::Open)]
    }

    fn metrics(&self) -> Vec<Metric> {
        vec![
            Metric::counter("roomring_lines_lost", "Lines.", 17),
            Metric::counters("roomring_spans", "Spans.", "result", &[("sent", 3), ("failed", 0)]),
            Metric::gauge("roomring_expiry", "Expiry.", Some(5)),
            Metric::gauge("roomring_absent", "Absent.", None),
        ]
    }
}

fn watched() -> Arc<Watched> {
    watched_with(Vec::new())
}

fn watched_with(parts: Vec<Arc<dyn Observed>>) -> Arc<Watched> {
    let cores: Arc<[Arc<CoreCounters>]> = Arc::new([Arc::default(), Arc::default()]);
    for (core, factor) in cores.iter().zip([1, 10]) {
        core.connections.set(3 * factor);
        core.rooms.set(factor);
        core.members.set(4 * factor);
        core.messages_received.add(5 * factor);
        core.messages_sent.add(6 * factor);
        core.broadcasts.add(7 * factor);
        core.deliveries.add(8 * factor);
        core.dropped_slow.add(factor);
        core.dropped_gap.add(2 * factor);
        core.dropped_lane.add(100);
        core.publish_to_flush.record(30 * factor, 2);
    }
    Arc::new(Watched::new("web-1".into(), cores, parts))
}

/// Cores that take no calls.
struct NoCores;

impl CallCores for NoCores {
    fn cores(&self) -> u16 {
        2
    }

    fn try_call(&self, _: CoreId, _: Call, _: CallReply) -> bool {
        false
    }
}

fn api() -> Arc<Api> {
    let settings = ApiSettings {
        node: "web-1".into(),
        api_key: String::new(),
        api_rate: None,
        max_message_bytes: 65_536,
        inboxes: false,
        allowed_hosts: AllowedHosts::new(&["ops.example".to_owned()]),
    };
    Arc::new(Api::new(settings, NoCores, || true))
}

async fn call(watched: &Arc<Watched>, method: Method, path: &str, accept: &str) -> (StatusCode, HeaderMap, String) {
    let request = Request::builder().method(method).uri(path).header("host", "localhost").header("accept", accept);
    let request = request.body(Body::empty());
    let response = router(watched.clone(), api()).oneshot(request.expect("well formed")).await.expect("infallible");
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await.expect("a whole body");
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).expect("text"))
}

async fn get_json(watched: &Arc<Watched>, path: &str) -> (StatusCode, Value) {
    let (status, headers, body) = call(watched, Method::GET, path, "*/*").await;
    assert_eq!(headers[CONTENT_TYPE], "application/json");
    (status, serde_json::from_str(&body).expect("JSON"))
}

#[tokio::test]
async fn stats_add_up_the_cores() {
    let watched = watched();
    let (status, stats) = get_json(&watched, "/stats").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&stats["node"], &stats["draining"]), (&json!("web-1"), &json!(false)));
    assert!(stats["uptime_s"].is_u64());
    for (name, one) in [
        ("connections", 3),
        ("rooms", 1),
        ("members", 4),
        ("messages_received", 5),
        ("messages_sent", 6),
        ("broadcasts", 7),
        ("deliveries", 8),
        ("dropped", 3),
    ] {
        assert_eq!(stats[name], json!(11 * one), "{name}");
        assert_eq!(stats["cores"][0][name], json!(one), "{name}");
        assert_eq!(stats["cores"][1][name], json!(10 * one), "{name}");
    }
    assert_eq!(stats["cores"].as_array().map(Vec::len), Some(2));
    watched.draining.store(true, Ordering::Relaxed);
    assert_eq!(get_json(&watched, "/stats").await.1["draining"], json!(true));
}

fn samples(text: &str) -> Vec<(&str, &str)> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit_once(' ').expect("a sample")).collect()
}

#[tokio::test]
async fn prometheus_gets_its_text() {
    let (status, headers, text) = call(&watched(), Method::GET, "/metrics", "text/plain;version=0.0.4").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers[CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
    for line in [
        "# TYPE websocket_active_connections gauge",
        "websocket_active_connections 33",
        "# HELP websocket_messages_total WebSocket messages, by direction.",
        "# TYPE websocket_messages_total counter",
        "websocket_messages_total{direction=\"received\"} 55",
        "websocket_messages_total{direction=\"sent\"} 66",
        "roomring_connections{core=\"0\"} 3",
        "# TYPE roomring_broadcasts_total counter",
        "roomring_broadcasts_total{core=\"1\"} 70",
        "# TYPE roomring_publish_to_flush_seconds histogram",
        "# TYPE roomring_round_trip_seconds histogram",
        "roomring_publish_to_flush_seconds_bucket{le=\"0.00005\",core=\"0\"} 2",
        "roomring_publish_to_flush_seconds_bucket{le=\"+Inf\",core=\"1\"} 2",
        "roomring_publish_to_flush_seconds_count{core=\"1\"} 2",
        "roomring_publish_to_flush_seconds_sum{core=\"1\"} 0.0006",
        "roomring_cores 2",
        "roomring_draining 0",
        concat!("roomring_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
    }
    assert!(!text.contains("# EOF"));
    let value = |name: &str| -> f64 {
        let sample = samples(&text).into_iter().find(|(found, _)| *found == name);
        sample.unwrap_or_else(|| panic!("no {name}")).1.parse().expect("a number")
    };
    assert!(value("roomring_process_cpu_seconds_total{mode=\"user\"}") >= 0.0);
    assert!(value("roomring_process_cpu_seconds_total{mode=\"system\"}") >= 0.0);
    assert!(value("roomring_process_resident_memory_bytes") > 1e5);
    assert!(value("roomring_uptime_seconds") < 60.0);
}

#[tokio::test]
async fn every_cause_has_a_sample_from_the_start_and_counts_under_its_labels() {
    let watched = watched();
    watched.cores[0].causes.ended(End::Closed(CloseCode::Slow));
    watched.cores[0].causes.ended(End::Lost);
    watched.cores[1].causes.refused(429, "rate_limited");
    watched.cores[1].causes.command_refused(ErrorCode::NotJoined);
    watched.cores[1].causes.command(COMMANDS.iter().position(|name| *name == "publish").expect("a command"));
    let (_, _, text) = call(&watched, Method::GET, "/metrics", "*/*").await;
    for line in [
        "# TYPE roomring_connections_closed_total counter",
        "roomring_connections_closed_total{code=\"4413\",cause=\"slow_consumer\",core=\"0\"} 1",
        "roomring_connections_closed_total{code=\"4413\",cause=\"slow_consumer\",core=\"1\"} 0",
        "roomring_connections_closed_total{code=\"none\",cause=\"lost\",core=\"0\"} 1",
        "roomring_connections_closed_total{code=\"none\",cause=\"client\",core=\"0\"} 0",
        "roomring_upgrades_refused_total{status=\"429\",error=\"rate_limited\",core=\"1\"} 1",
        "roomring_commands_refused_total{code=\"not_joined\",core=\"1\"} 1",
        "roomring_commands_total{type=\"publish\",core=\"1\"} 1",
        "roomring_drops_total{cause=\"slow\",core=\"1\"} 10",
        "roomring_drops_total{cause=\"gap\",core=\"1\"} 20",
        "roomring_drops_total{cause=\"lane\",core=\"0\"} 100",
        "roomring_drops_total{cause=\"push\",core=\"0\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
    }
}

#[tokio::test]
async fn parts_have_their_metrics_and_breakers() {
    let (_, _, text) = call(&watched_with(vec![Arc::new(FakePart::default())]), Method::GET, "/metrics", "*/*").await;
    for line in [
        "# TYPE roomring_lines_lost_total counter",
        "roomring_lines_lost_total 17",
        "roomring_spans_total{result=\"sent\"} 3",
        "roomring_spans_total{result=\"failed\"} 0",
        "# TYPE roomring_expiry gauge",
        "roomring_expiry 5",
        "roomring_breaker_state{target=\"jwks\"} 2",
    ] {
        assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
    }
    assert!(!text.contains("roomring_absent"), "{text}");
    let (_, _, text) = call(&watched(), Method::GET, "/metrics", "*/*").await;
    assert!(!text.contains("roomring_breaker_state"), "there is nothing to break");
}

#[tokio::test]
async fn process_metrics_come_from_the_operating_system() {
    let (_, _, text) = call(&watched(), Method::GET, "/metrics", "*/*").await;
    let value = |name: &str| -> f64 {
        let sample = samples(&text).into_iter().find(|(found, _)| *found == name);
        sample.unwrap_or_else(|| panic!("no {name}")).1.parse().expect("a number")
    };
    let (open, most) = (value("roomring_process_open_fds"), value("roomring_process_max_fds"));
    assert!(0.0 < open && open <= most, "{open} of {most}");
    let started = value("roomring_process_start_time_seconds");
    let now = clock::now().unix_ms as f64 / 1e3;
    assert!(started <= now && now - started < 3_600.0, "{started} {now}");
}

#[tokio::test]
async fn open_metrics_is_served_to_clients_that_ask_for_it() {
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2";
    let (_, headers, text) = call(&watched(), Method::GET, "/metrics", accept).await;
    assert_eq!(headers[CONTENT_TYPE], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(text.contains("# TYPE websocket_messages counter\n"));
    assert!(text.contains("websocket_messages_total{direction=\"received\"} 55\n"));
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn the_preferred_format_is_served() {
    let (newer, older) =
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", "text/plain; version=0.0.4; charset=utf-8");
    for (accept, expected) in [
        ("Application/OpenMetrics-Text; Version=1.0.0", newer),
        ("application/openmetrics-text", newer),
        ("application/openmetrics-text, text/plain", newer),
        ("application/openmetrics-text;q=0.3, text/plain;q=0.2, */*;q=0.1", newer),
        (
            "application/vnd.google.protobuf;q=0.7, application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6, text/plain;version=0.0.4;q=0.3",
            newer,
        ),
        ("application/openmetrics-text;q=0.2, text/plain;q=0.3", older),
        ("application/openmetrics-text;q=0, */*", older),
        ("application/openmetrics-text;q=0", older),
        ("application/openmetrics-text;version=2.0.0", older),
        ("application/openmetrics-textual", older),
        ("text/plain", older),
        ("*/*", older),
        ("", older),
        ("application/json", older),
    ] {
        let (status, headers, _) = call(&watched(), Method::GET, "/metrics", accept).await;
        assert_eq!((status, headers[CONTENT_TYPE].as_bytes()), (StatusCode::OK, expected.as_bytes()), "{accept}");
    }
}

#[tokio::test]
async fn every_counter_is_exposed_once_for_each_core_and_described() {
    for accept in ["*/*", "application/openmetrics-text"] {
        let (_, _, text) = call(&watched(), Method::GET, "/metrics", accept).await;
        let samples = samples(&text);
        for (name, kind, _) in COUNTERS {
            let suffix = if *kind == CounterKind::Total { "_total" } else { "" };
            for core in 0..2 {
                let sample = format!("roomring_{name}{suffix}{{core=\"{core}\"}}");
                assert_eq!(samples.iter().filter(|(found, _)| *found == sample).count(), 1, "{sample}");
            }
        }
        let mut types: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE ")).collect();
        let all = types.len();
        types.sort_unstable();
        types.dedup();
        assert_eq!(types.len(), all, "no metric is described twice");
        assert_eq!(text.lines().filter(|line| line.starts_with("# HELP ")).count(), all);
    }
}

#[tokio::test]
async fn health_and_readiness_differ_while_draining() {
    let watched = watched();
    assert_eq!(get_json(&watched, "/health").await, (StatusCode::OK, json!({"status": "ok"})));
    assert_eq!(get_json(&watched, "/ready").await.0, StatusCode::OK);
    watched.draining.store(true, Ordering::Relaxed);
    assert_eq!(get_json(&watched, "/health").await.0, StatusCode::OK);
    let (status, body) = get_json(&watched, "/ready").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["parts"]["server"], "draining");
}

#[tokio::test]
async fn readiness_names_the_part_at_fault() {
    let part = Arc::new(FakePart::default());
    let watched = watched_with(vec![part.clone()]);
    let (status, body) = get_json(&watched, "/ready").await;
    assert_eq!((status, &body["status"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("not ready")));
    assert_eq!(body["parts"], json!({"server": "ready", "keys": "not ready"}));
    assert_eq!((&body["error"], &body["message"]), (&json!("unavailable"), &json!("keys: no keys yet")));
    part.works.store(true, Ordering::Relaxed);
    let (status, body) = get_json(&watched, "/ready").await;
    assert_eq!((status, &body["parts"]["keys"]), (StatusCode::OK, &json!("ready")));
}

#[tokio::test]
async fn unknown_paths_and_methods_are_refused_in_json() {
    let watched = watched();
    let (status, body) = get_json(&watched, "/nothing").await;
    assert_eq!((status, &body["error"]), (StatusCode::NOT_FOUND, &json!("not_found")));
    assert!(body["message"].is_string());
    let (status, headers, body) = call(&watched, Method::POST, "/stats", "*/*").await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(headers[ALLOW], "GET, HEAD");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(body["error"], "method_not_allowed");
    let (status, _, body) = call(&watched, Method::HEAD, "/health", "*/*").await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, ""));
    for (path, allowed) in [
        ("/stats", "GET, HEAD"),
        ("*", "GET, HEAD"),
        ("/api/openapi.json", "GET, HEAD"),
        ("/api/rooms", "GET, HEAD"),
        ("/api/publish", "POST"),
    ] {
        let (status, headers, body) = call(&watched, Method::OPTIONS, path, "*/*").await;
        assert_eq!(
            (status, headers[ALLOW].as_bytes()),
            (StatusCode::METHOD_NOT_ALLOWED, allowed.as_bytes()),
            "{path}: {body}"
        );
    }
}

/// Status and text of the response to `GET path` with these header fields.
async fn get_with(path: &str, fields: &[&str]) -> (u16, String) {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let answer = exchange(format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{fields}\r\n").as_bytes()).await;
    (answer[9..12].parse().expect("a status"), answer)
}

#[tokio::test]
async fn every_route_checks_the_host() {
    for path in ["/metrics", "/stats", "/health", "/ready", "/api/rooms", "/api/openapi.json", "/nothing"] {
        let (status, answer) = get_with(path, &["Host: evil.example:8081"]).await;
        assert!(
            status == 403 && answer.contains("evil.example") && answer.contains("server.allowed_hosts"),
            "{answer}"
        );
        for host in ["localhost:8081", "127.0.0.1", "[::1]:1", "ops.example"] {
            let (status, answer) = get_with(path, &[&format!("Host: {host}")]).await;
            assert_ne!(status, 403, "{answer}");
        }
        for fields in [&[][..], &["Host: localhost", "Host: localhost"], &["Host: a b"], &["Host:"]] {
            let (status, answer) = get_with(path, fields).await;
            assert!(status == 400 && answer.contains("Host"), "{fields:?}: {answer}");
        }
    }
    assert_eq!(get_with("http://evil.example/health", &["Host: localhost"]).await.0, 403, "the target counts");
    assert_eq!(get_with("http://localhost/health", &["Host: evil.example"]).await.0, 200);
    assert!(exchange(b"GET /health HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 200 OK\r\n"));
}

#[tokio::test]
async fn every_response_has_a_date_and_head_has_no_content() {
    let answer = exchange(b"HEAD /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(answer.contains("\r\ndate: ") && answer.contains("\r\ncontent-length: 15\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    let answer = exchange(b"HEAD /nothing HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.ends_with("\r\n\r\n"), "{answer}");
}

/// Posts a publish with this body; `ends`: and shuts down the stream.
async fn post(fields: &str, body: &str, ends: bool) -> String {
    let head =
        "POST /api/publish HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
    exchange_and(format!("{head}{fields}\r\n{body}").as_bytes(), ends).await
}

#[tokio::test]
async fn a_body_that_is_malformed_is_400_and_one_too_large_413() {
    for body in
        ["zz\r\n{}\r\n0\r\n\r\n", "2\r\n{}x\r\n0\r\n\r\n", "ffffffffffffffffff\r\n{}", "2\r\n{}\r\nnonsense\r\n"]
    {
        let answer = post("Transfer-Encoding: chunked\r\n", body, false).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("chunks"), "{body:?}: {answer}");
    }
    let answer = post("Content-Length: 100000000\r\n", "{", false).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let large = format!("{:x}\r\n{}\r\n0\r\n\r\n", 2 << 20, "x".repeat(2 << 20));
    let answer = post("Transfer-Encoding: chunked\r\n", &large, false).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn a_body_that_ends_early_is_400() {
    for (fields, body) in [("Content-Length: 50\r\n", "{\"room\""), ("Transfer-Encoding: chunked\r\n", "8\r\n{\"ro")] {
        let answer = post(fields, body, true).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("incomplete"), "{answer}");
    }
}

async fn exchange(request: &[u8]) -> String {
    exchange_and(request, false).await
}

/// The same; `ends`: shuts down the stream after the request.
async fn exchange_and(request: &[u8], ends: bool) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let server = tokio::spawn(serve(listener, router(watched(), api())));
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("listening");
    // The server may respond and close before it has read everything.
    let _ = stream.write_all(request).await;
    if ends {
        let _ = stream.shutdown().await;
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    server.abort();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn connections_are_served_over_sockets() {
    let answer = exchange(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("{\"status\":\"ok\"}"), "{answer}");
}

#[tokio::test]
async fn oversized_heads_and_garbage_end_the_connection() {
    let mut head = b"GET /health HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
    head.extend(vec![b'a'; 64 * 1024]);
    assert!(exchange(&head).await.starts_with("HTTP/1.1 431 "));
    assert!(exchange(b"\x00\x01\x02\x03 garbage\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test(start_paused = true)]
async fn a_head_that_never_ends_ends_the_connection() {
    assert_eq!(exchange(b"GET /health HTTP/1.1\r\nHost: a\r\n").await, "");
}

/// A server with as many connections as it takes, each of which has sent `held` and nothing more.
async fn besieged(held: &[u8]) -> (std::net::SocketAddr, Vec<tokio::net::TcpStream>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(serve(listener, router(watched(), api())));
    let mut streams = Vec::new();
    for _ in 0..300 {
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("listening");
        stream.write_all(held).await.expect("taken");
        streams.push(stream);
    }
    (address, streams)
}

#[tokio::test]
async fn idle_connections_and_slow_bodies_do_not_block_others() {
    let slow_body = b"POST /api/publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    for held in [&b""[..], b"GET /health HTTP/1.1\r\n", b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", slow_body] {
        let (address, streams) = besieged(held).await;
        for path in ["/health", "/metrics", "/stats"] {
            let mut stream = tokio::net::TcpStream::connect(address).await.expect("listening");
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.expect("taken");
            let mut answer = String::new();
            let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer));
            read.await.expect("the response comes in time").expect("an answer");
            assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        }
        drop(streams);
    }
}
