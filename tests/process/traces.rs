//! Traces of sampled publishes (OPERATIONS, "[trace]"), as a collector receives them: OTLP over HTTP, in JSON.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::client::Client;
use crate::server::{Server, eventually, program, scratch};

/// Takes whatever is sent to `/v1/traces`.
struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Value>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let spans = Arc::new(Mutex::new(Vec::new()));
        let taken = spans.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let taken = taken.clone();
                thread::spawn(move || {
                    let mut reader = BufReader::new(stream.expect("a connection"));
                    while let Some(request) = read_request(&mut reader) {
                        let spans = request["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array();
                        let mut taken = taken.lock().expect("no reader panics");
                        taken.extend(spans.expect("a request has spans").iter().cloned());
                        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}";
                        reader.get_mut().write_all(answer.as_bytes()).expect("the server reads");
                    }
                });
            }
        });
        Self { address, spans }
    }

    fn spans(&self) -> Vec<Value> {
        self.spans.lock().expect("no reader panics").clone()
    }
}

/// A `POST` of JSON to the path that the protocol names; `None` at the end of the connection.
fn read_request(reader: &mut impl BufRead) -> Option<Value> {
    let mut length = None;
    let mut line = String::new();
    let mut is_first = true;
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if std::mem::take(&mut is_first) {
            assert_eq!(line, "post /v1/traces http/1.1");
        } else if line.is_empty() {
            break;
        } else if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().ok();
        } else if let Some(value) = line.strip_prefix("content-type: ") {
            assert_eq!(value, "application/json");
        }
    }
    let mut body = vec![0; length.expect("a body of known length")];
    reader.read_exact(&mut body).ok()?;
    Some(serde_json::from_slice(&body).expect("the body is JSON"))
}

fn attribute<'a>(span: &'a Value, key: &str) -> &'a Value {
    let attributes = span["attributes"].as_array().expect("a span has attributes");
    let found = attributes.iter().find(|attribute| attribute["key"] == key);
    let value = &found.unwrap_or_else(|| panic!("{key} is an attribute of {span}"))["value"];
    if value["stringValue"].is_string() { &value["stringValue"] } else { &value["intValue"] }
}

fn nanos(span: &Value, name: &str) -> u64 {
    span[name].as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{name} of {span}"))
}

fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64
}

#[test]
fn a_publish_is_followed_from_its_connection_to_every_core_that_listens() {
    let collector = Collector::start();
    let endpoint = format!("trace.otlp_endpoint=http://{}", collector.address);
    let before_ns = unix_ns();
    let server = Server::start(&["server.cores=2", "rooms.presence=false", "trace.sample=1", &endpoint]);
    // The kernel spreads connections over the cores by a hash: of so many some are on each.
    let mut clients: Vec<Client> = (0..16).map(|index| Client::connect(&server, &format!("user{index}"))).collect();
    for client in &mut clients {
        client.join("news");
    }
    let stats = server.stats();
    let on_each: Vec<u64> = stats["cores"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|core| core["connections"].as_u64().expect("a number"))
        .collect();
    assert!(on_each.iter().all(|count| *count > 0), "both cores have members: {stats}");
    let seq = clients[3].publish("news", json!("hello"));
    for client in &mut clients {
        client.messages("news", 1);
    }
    let spans = eventually("all spans have come", || Some(collector.spans()).filter(|spans| spans.len() >= 4));
    assert_eq!(spans.len(), 4, "{spans:#?}");
    let named = |name: &str| spans.iter().filter(|span| span["name"] == name).collect::<Vec<_>>();
    let (received, numbered, flushed) = (named("receive"), named("number"), named("flush"));
    assert_eq!((received.len(), numbered.len(), flushed.len()), (1, 1, 2), "{spans:#?}");

    assert!(spans.iter().all(|span| span["traceId"] == spans[0]["traceId"]), "one trace: {spans:#?}");
    assert_eq!(received[0].get("parentSpanId"), None);
    assert_eq!(numbered[0]["parentSpanId"], received[0]["spanId"]);
    assert!(flushed.iter().all(|span| span["parentSpanId"] == numbered[0]["spanId"]), "{spans:#?}");

    assert_eq!(attribute(received[0], "enduser.id"), "user3");
    assert!(attribute(received[0], "roomring.connection").is_string());
    let seq = json!(seq.to_string());
    assert_eq!(
        (attribute(numbered[0], "roomring.seq"), attribute(numbered[0], "roomring.listening_cores")),
        (&seq, &json!("2"))
    );
    let mut deliveries = BTreeMap::new();
    for span in flushed {
        assert_eq!(attribute(span, "roomring.seq"), &seq);
        let number = |key| attribute(span, key).as_str().and_then(|text| text.parse::<u64>().ok()).expect("a number");
        deliveries.insert(number("roomring.core"), number("roomring.deliveries"));
    }
    assert_eq!(deliveries.into_values().collect::<Vec<_>>(), on_each, "each core tells its own members");

    let after_ns = unix_ns();
    for span in &spans {
        let (began, ended) = (nanos(span, "startTimeUnixNano"), nanos(span, "endTimeUnixNano"));
        assert!(before_ns <= began && began <= ended && ended <= after_ns, "{span}");
        assert_eq!(attribute(span, "roomring.room"), "news");
        assert!(nanos(received[0], "startTimeUnixNano") <= began, "nothing comes before its cause: {spans:#?}");
    }
    eventually("it is counted", || (server.metric("roomring_spans_total", r#"result="sent""#) == 4.0).then_some(()));
    assert_eq!(server.metric("roomring_breaker_state", r#"target="otlp""#), 0.0);
}

#[test]
fn the_last_spans_are_sent_before_the_end() {
    let collector = Collector::start();
    let endpoint = format!("trace.otlp_endpoint=http://{}/v1/traces", collector.address);
    let mut server = Server::start(&["trace.sample=1/1", &endpoint]);
    let mut client = Client::connect(&server, "a");
    client.join("news");
    client.publish("news", json!(1));
    server.signal("TERM");
    client.close_code();
    assert_eq!(server.wait().code(), Some(0));
    eventually("its three spans have come", || (collector.spans().len() == 3).then_some(()));
}

#[test]
fn a_hang_up_changes_how_many_are_traced() {
    let collector = Collector::start();
    let file = scratch("traces").join("sample.toml");
    let write = |sample: &str| {
        let text = format!("[trace]\notlp_endpoint = \"http://{}\"\nsample = \"{sample}\"\n", collector.address);
        std::fs::write(&file, text).expect("it can be written");
    };
    write("0");
    let mut command = program();
    command.arg("--config").arg(&file).args(["--set", "server.cores=1", "--set", "server.pin=false"]);
    let server = Server::spawn(command);
    let mut client = Client::connect(&server, "a");
    client.join("news");
    let untraced = client.publish("news", json!(1));
    write("1");
    server.signal("HUP");
    let traced = eventually("publishes are traced from now on", || {
        client.publish("news", json!(2));
        std::thread::sleep(std::time::Duration::from_millis(200));
        Some(collector.spans()).filter(|spans| !spans.is_empty())
    });
    let numbered = traced.iter().filter(|span| span["name"] == "number");
    for span in numbered {
        assert_ne!(attribute(span, "roomring.seq"), &json!(untraced.to_string()), "{span}");
    }
}

#[test]
fn an_absent_collector_costs_a_count_and_a_line() {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let endpoint = format!("trace.otlp_endpoint=http://name:secret@{address}");
    let server = Server::start(&["log.format=json", "trace.sample=1", "trace.queue_max=16", &endpoint]);
    let mut client = Client::connect(&server, "a");
    client.join("news");
    eventually("the breaker opens and what does not fit is dropped", || {
        for _ in 0..20 {
            client.publish("news", json!(1));
        }
        let is_open = server.metric("roomring_breaker_state", r#"target="otlp""#) == 2.0;
        (is_open && server.metric("roomring_spans_dropped_total", "") > 0.0).then_some(())
    });
    assert!(server.metric("roomring_spans_total", r#"result="failed""#) > 0.0);
    assert_eq!(server.metric("roomring_spans_total", r#"result="sent""#), 0.0);
    let text = server.stderr.get();
    assert_eq!(text.matches("cannot send spans to the trace collector").count(), 1, "{text}");
    assert!(!text.contains("secret"), "{text}");
    assert_eq!(client.request(json!({"type": "ping"}))["type"], "pong", "nobody else minds");
}
