//! Encoding as the protocol specifies it; sending to collectors that work, refuse, or are absent.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::{Value, json};

use super::*;
use crate::base::ids::{ConnId, CoreId, RoomName, UserName};
use crate::engine::random::Random;
use crate::engine::trace::{Mark, Stage};

fn spans() -> Vec<Span> {
    let mark = Mark::draw(u64::MAX, &mut Random::new(1)).expect("all are sampled");
    let conn = ConnId { home: CoreId(1), slot: 2, generation: 3 };
    let user = UserName::new("ann").expect("valid");
    let room = RoomName::new("news").expect("valid");
    let stages = [
        (1, Stage::Received { conn, user, bytes: 5 }),
        (0, Stage::Numbered { seq: 7, listeners: 2 }),
        (1, Stage::Flushed { seq: 7, deliveries: 40 }),
    ];
    let span = |(core, stage)| {
        let (core, room) = (CoreId(core), room.clone());
        Span { mark, arrived_us: 10, core, room, stage, began_us: 10, ended_us: 25 }
    };
    stages.map(span).into()
}

#[test]
fn spans_are_encoded_as_the_protocol_specifies() {
    let body: Value = serde_json::from_slice(&encode::request(&spans(), "n1", 1_700_000_000_000_000)).expect("JSON");
    let resource = &body["resourceSpans"][0];
    assert_eq!(
        resource["resource"]["attributes"][0],
        json!({"key": "service.name", "value": {"stringValue": "roomring"}})
    );
    let written = resource["scopeSpans"][0]["spans"].as_array().expect("a list");
    let hex = |value: &Value, len: usize| {
        let text = value.as_str().expect("text");
        text.len() == len && text.bytes().all(|byte| byte.is_ascii_hexdigit()) && text.bytes().any(|byte| byte != b'0')
    };
    for span in written {
        assert!(hex(&span["traceId"], 32) && hex(&span["spanId"], 16), "{span}");
        assert_eq!(span["traceId"], written[0]["traceId"]);
        assert_eq!(span["startTimeUnixNano"], "1700000000000010000");
        assert_eq!(span["endTimeUnixNano"], "1700000000000025000");
        assert!(span["attributes"].as_array().expect("a list").contains(&json!({
            "key": "roomring.room", "value": {"stringValue": "news"}
        })));
    }
    assert_eq!(written[0].get("parentSpanId"), None);
    assert_eq!(
        (&written[1]["parentSpanId"], &written[2]["parentSpanId"]),
        (&written[0]["spanId"], &written[1]["spanId"])
    );
    let names: Vec<_> = written.iter().map(|span| span["name"].as_str().expect("text")).collect();
    assert_eq!(names, ["receive", "number", "flush"]);
    let deliveries = json!({"key": "roomring.deliveries", "value": {"intValue": "40"}});
    assert!(written[2]["attributes"].as_array().expect("a list").contains(&deliveries));
}

#[test]
fn the_path_for_traces_is_added_if_missing() {
    for (endpoint, url) in [
        ("http://c:4318", Some("http://c:4318/v1/traces")),
        ("http://c:4318/", Some("http://c:4318/v1/traces")),
        ("https://c/otlp", Some("https://c/otlp/v1/traces")),
        ("http://c:4318/v1/traces", Some("http://c:4318/v1/traces")),
        ("grpc://c:4317", None),
        ("http://", None),
        ("c:4318", None),
    ] {
        assert_eq!(traces_url(endpoint).map(|url| url.to_string()).as_deref(), url, "{endpoint}");
    }
}

/// A collector that answers every request with `status`.
async fn collector(status: StatusCode) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let router = Router::new().route("/v1/traces", post(move || async move { (status, "no room\u{1b}[31m for them") }));
    tokio::spawn(crate::control::serve(listener, router));
    format!("http://{address}")
}

fn exporter(endpoint: String) -> (Exporter, Sender<Span>) {
    Exporter::new(&TraceSettings { otlp_endpoint: endpoint, queue_max: 1_000 }, "n1").expect("an address")
}

#[tokio::test]
async fn the_queue_is_sent_in_batches_until_the_end() {
    let (exporter, sender) = exporter(collector(StatusCode::OK).await);
    let exported = exporter.exported();
    for span in std::iter::repeat_with(spans).flatten().take(900) {
        sender.try_send(span).expect("room for it");
    }
    exporter.run(std::future::ready(())).await;
    assert_eq!((exported.sent(), exported.failed(), sender.len()), (900, 0, 0));
}

#[tokio::test]
async fn failures_open_the_breaker() {
    let (mut exporter, sender) = exporter(collector(StatusCode::SERVICE_UNAVAILABLE).await);
    let exported = exporter.exported();
    for _ in 0..u64::from(FAILURES_MAX) + 2 {
        for span in spans() {
            sender.try_send(span).expect("room for it");
        }
        assert!(!exporter.send_batch().await);
    }
    assert_eq!(exported.breaker(), BreakerState::Open);
    assert_eq!((exported.sent(), exported.failed()), (0, 3 * u64::from(FAILURES_MAX)));
    assert_eq!(sender.len(), 6, "spans stay in the queue while the breaker is open");
}

#[tokio::test]
async fn an_absent_collector_counts_as_a_failure() {
    let (mut exporter, sender) = exporter("http://127.0.0.1:1".to_owned());
    let exported = exporter.exported();
    for span in spans() {
        sender.try_send(span).expect("room for it");
    }
    assert!(!exporter.send_batch().await);
    assert_eq!((exported.failed(), exported.breaker()), (3, BreakerState::Closed));
}
