//! The monitoring endpoints: `/stats`, `/metrics`, `/health`, `/ready` (OPERATIONS, "Endpoints of the control address").

use std::process::Command;

use serde_json::{Value, json};

use crate::client::Client;
use crate::http;
use crate::server::{Server, eventually};

/// Three clients in one room, two messages.
fn conversation(server: &Server) -> Vec<Client> {
    let mut clients: Vec<Client> = ["a", "b", "c"].map(|user| Client::connect(server, user)).into();
    for client in &mut clients {
        client.join("lobby");
    }
    for data in [1, 2] {
        clients[0].publish("lobby", json!(data));
    }
    for client in &mut clients {
        client.messages("lobby", 2);
    }
    clients
}

#[test]
fn stats_count_per_core_and_in_all() {
    let server = Server::start(&["server.cores=2", "server.node=n7", "rooms.presence=false"]);
    let clients = conversation(&server);
    let stats = server.stats();
    assert_eq!((&stats["node"], &stats["draining"]), (&json!("n7"), &json!(false)));
    assert!(stats["uptime_s"].is_number(), "{stats}");
    let expected =
        [("connections", 3), ("rooms", 1), ("members", 3), ("broadcasts", 2), ("deliveries", 6), ("dropped", 0)];
    for (name, value) in expected {
        assert_eq!(stats[name], value, "{name}: {stats}");
    }
    assert!(stats["messages_received"].as_u64() >= Some(5), "{stats}");
    assert!(stats["messages_sent"].as_u64() >= Some(3 + 3 + 2 + 6), "{stats}");
    let cores = stats["cores"].as_array().expect("a list");
    assert_eq!(cores.len(), 2);
    let names = [
        "connections",
        "rooms",
        "members",
        "messages_received",
        "messages_sent",
        "broadcasts",
        "deliveries",
        "dropped",
    ];
    for name in names {
        let sum: u64 = cores.iter().map(|core| core[name].as_u64().expect("a number for each core")).sum();
        assert_eq!(stats[name], sum, "{name}: {stats}");
    }
    drop(clients);
    server.wait_until_empty();
}

#[test]
fn metrics_have_their_names_types_and_values() {
    let server = Server::start(&["server.cores=2", "rooms.presence=false"]);
    let _clients = conversation(&server);
    let answer = http::get(server.control, "/metrics");
    assert_eq!(answer.status, 200);
    let kind = answer.field("Content-Type").expect("a type").to_owned();
    assert!(kind.starts_with("text/plain") || kind.starts_with("application/openmetrics-text"), "{kind}");
    let type_of = |name: &str| {
        let line = answer.body.lines().find(|line| line.starts_with(&format!("# TYPE {name} ")));
        line.unwrap_or_else(|| panic!("{name} has a type:\n{}", answer.body))
            .rsplit(' ')
            .next()
            .expect("a type")
            .to_owned()
    };
    assert_eq!(type_of("websocket_active_connections"), "gauge");
    assert_eq!(server.metric("websocket_active_connections", ""), 3.0);
    assert!(server.metric("websocket_messages_total", r#"direction="received""#) >= 5.0);
    assert!(server.metric("websocket_messages_total", r#"direction="sent""#) >= 14.0);
    for (name, value) in [("roomring_rooms", 1.0), ("roomring_members", 3.0), ("roomring_broadcasts_total", 2.0)] {
        assert_eq!(server.metric(name, ""), value, "{name}");
    }
    assert_eq!(server.metric("roomring_deliveries_total", ""), 6.0);
    for name in ["hops", "turns", "submissions", "operations", "sends", "accepted", "wakes", "errors"] {
        server.metric(&format!("roomring_{name}_total"), "");
    }
    server.metric("roomring_lane_depth", "");
    assert!(answer.body.contains("_bucket{") && answer.body.contains(r#"le="+Inf""#), "a histogram:\n{}", answer.body);
    for line in answer.body.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let value = line.rsplit(' ').next().expect("a value");
        assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
    }
}

#[test]
fn counters_only_grow() {
    let server = Server::start(&[]);
    let mut clients = conversation(&server);
    let before = server.stats();
    clients[0].publish("lobby", json!(3));
    clients[1].messages("lobby", 1);
    let after = server.stats();
    for name in ["messages_received", "messages_sent", "broadcasts", "deliveries"] {
        assert!(after[name].as_u64() > before[name].as_u64(), "{name}: {before} {after}");
    }
    drop(clients);
    server.wait_until_empty();
    assert!(server.stat("deliveries") >= 9, "what happened stays counted");
}

#[test]
fn health_and_readiness_are_served() {
    let server = Server::start(&[]);
    let status_of = |path: &str| http::get(server.control, path).status;
    assert_eq!((status_of("/health"), status_of("/ready"), status_of("/nowhere")), (200, 200, 404));
    let stats: Value = http::get(server.control, "/stats").json();
    assert!(stats.is_object());
}

#[test]
fn clients_that_hold_connections_do_not_block_monitoring() {
    let server = Server::start(&["log.format=text"]);
    let slow_body = format!(
        "POST /api/kick HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{{",
        server.control
    );
    for held in ["", "GET /health HTTP/1.1\r\nX: ", &slow_body] {
        let streams: Vec<_> = (0..300)
            .map(|_| {
                let mut stream = http::open(server.control);
                std::io::Write::write_all(&mut stream, held.as_bytes()).expect("it is sent");
                stream
            })
            .collect();
        for path in ["/health", "/metrics", "/stats"] {
            assert_eq!(http::get(server.control, path).status, 200, "{path} beside 300 times {held:?}");
        }
        drop(streams);
    }
    // Without free descriptors the oldest connections are closed, and the log has one line.
    let pid = server.pid();
    let descriptors = || std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the kernel tells").count();
    let open = eventually("the connections have ended", || Some(descriptors()).filter(|open| *open < 100));
    let limit = format!("--nofile={}", open + 10);
    let lowered =
        Command::new("prlimit").args(["--pid", &pid.to_string(), &limit]).status().expect("util-linux has it");
    assert!(lowered.success());
    let _streams: Vec<_> = (0..100).map(|_| http::open(server.control)).collect();
    for path in ["/health", "/metrics", "/stats"] {
        assert_eq!(http::get(server.control, path).status, 200, "{path} without descriptors");
    }
    let log = eventually("the log tells", || Some(server.stderr.get()).filter(|log| log.contains("cannot accept")));
    assert_eq!(log.matches("cannot accept on the control address").count(), 1, "{log}");
}

#[test]
fn an_idle_server_rests() {
    let server = Server::start(&["server.cores=2"]);
    let _clients = conversation(&server);
    let turns = || server.metric("roomring_turns_total", "");
    eventually("the last of the conversation is done", || {
        let before = turns();
        std::thread::sleep(std::time::Duration::from_millis(500));
        // Two cores, half a second, at most one tick every 100 ms for each timer.
        (turns() - before < 50.0).then_some(())
    });
}
