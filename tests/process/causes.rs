//! `/metrics` counts ended connections, refusals and drops by cause (OPERATIONS, "Endpoints").

use serde_json::json;

use crate::client::Client;
use crate::http;
use crate::server::{Server, eventually};

fn closed(server: &Server, code: &str, cause: &str) -> f64 {
    server.metric("roomring_connections_closed_total", &format!(r#"code="{code}",cause="{cause}""#))
}

fn refused(server: &Server, status: u16, error: &str) -> f64 {
    server.metric("roomring_upgrades_refused_total", &format!(r#"status="{status}",error="{error}""#))
}

#[test]
fn every_end_of_a_connection_has_its_cause() {
    let server = Server::start(&["limits.command_rate=1/10s"]);
    assert_eq!(closed(&server, "4408", "heartbeat_timeout"), 0.0, "a cause is there before it happens");
    Client::connect(&server, "polite").close();
    Client::connect(&server, "gone").reset();
    for first_byte in [0x81, 0x83] {
        let mut stream = http::open_websocket(server.listen, "/ws?user=rude");
        // A frame that is not masked, then an opcode that is none.
        let frame = if first_byte == 0x81 { vec![0x81, 0x01, b'a'] } else { http::client_frame(0x83, b"a") };
        std::io::Write::write_all(&mut stream, &frame).expect("the server reads");
        assert_eq!(http::close_code(&mut stream), 1002);
    }
    let mut hasty = Client::connect(&server, "hasty");
    for value in 0..200 {
        if !hasty.try_send(&json!({"type": "ping", "value": value})) {
            break;
        }
    }
    assert_eq!(hasty.close_code(), 4429);
    let expected = [
        ("none", "client", 1.0),
        ("none", "lost", 1.0),
        ("1002", "protocol_error", 2.0),
        ("4429", "rate_limited", 1.0),
        ("4413", "slow_consumer", 0.0),
    ];
    eventually("each is counted once, under its own cause", || {
        expected.iter().all(|(code, cause, count)| closed(&server, code, cause) == *count).then_some(())
    });
    server.wait_until_empty();
    assert_eq!(server.metric("roomring_connections_closed_total", ""), server.metric("roomring_closed_total", ""));
}

#[test]
fn every_refused_upgrade_has_its_status_and_error() {
    let server = Server::start(&["limits.connections_per_user=1"]);
    let address = server.listen;
    for (status, path, more) in
        [(404, "/nowhere", ""), (403, "/ws", "Origin: https://elsewhere.example\r\n"), (400, "/ws?user=%ff", "")]
    {
        let answer = http::exchange(address, http::upgrade_head(address, path, more).as_bytes());
        assert_eq!(answer.status, status, "{answer:?}");
    }
    assert_eq!(http::get(address, "/ws").status, 426);
    let post = format!("POST /ws HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(http::exchange(address, post.as_bytes()).status, 405);
    let long = format!("GET /ws HTTP/1.1\r\nHost: {address}\r\nX: {}\r\n\r\n", "a".repeat(20_000));
    assert_eq!(http::exchange(address, long.as_bytes()).status, 431);
    let _first = Client::connect(&server, "one");
    let second = http::exchange(address, http::upgrade_head(address, "/ws?user=one", "").as_bytes());
    assert_eq!(second.status, 429, "{second:?}");
    for (status, error) in [
        (404, "not_found"),
        (403, "forbidden"),
        (400, "bad_request"),
        (426, "upgrade_required"),
        (405, "method_not_allowed"),
        (431, "head_too_large"),
        (429, "limit_exceeded"),
    ] {
        assert_eq!(refused(&server, status, error), 1.0, "{status} {error}");
    }
    assert_eq!(refused(&server, 0, "other"), 0.0, "every refusal has a name");
    assert_eq!(server.metric("roomring_upgrades_refused_total", ""), server.metric("roomring_refused_total", ""));
}

#[test]
fn commands_are_counted_by_type_and_their_errors_by_code() {
    let server = Server::start(&["server.cores=2"]);
    let mut client = Client::connect(&server, "a");
    client.join("lobby");
    client.publish("lobby", json!(1));
    client.refused(json!({"type": "publish", "room": "elsewhere", "data": 1}), "not_joined");
    client.refused(json!({"type": "dance"}), "unknown_command");
    let of = |name: &str, labels: &str| server.metric(name, labels);
    for (kind, count) in [("join", 1.0), ("publish", 2.0), ("bad", 1.0), ("history", 0.0)] {
        assert_eq!(of("roomring_commands_total", &format!(r#"type="{kind}""#)), count, "{kind}");
    }
    for (code, count) in [("not_joined", 1.0), ("unknown_command", 1.0), ("overloaded", 0.0)] {
        assert_eq!(of("roomring_commands_refused_total", &format!(r#"code="{code}""#)), count, "{code}");
    }
}

#[test]
fn the_largest_room_and_the_worst_laggard_are_told_as_numbers_alone() {
    let server = Server::start(&["server.cores=2", "heartbeat.interval=1s", "rooms.presence=false"]);
    let mut clients: Vec<Client> = (0..5).map(|index| Client::connect(&server, &format!("user{index}"))).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.join("zebras");
        client.join(&format!("yaks{index}"));
    }
    let text = http::get(server.control, "/metrics").body;
    let largest = text.lines().filter_map(|line| line.strip_prefix("roomring_room_members_max{")?.rsplit(' ').next());
    assert_eq!(largest.filter_map(|value| value.parse().ok()).max(), Some(5_u32), "{text}");
    for words in ["zebras", "yaks1", "user1"] {
        assert!(!text.contains(words), "nothing that clients choose is a label: {words}");
    }
    server.metric("roomring_outbox_bytes_max", "");
    assert_eq!(server.metric("roomring_upgrade_seconds_count", ""), 5.0);
    assert!(server.metric("roomring_turn_seconds_count", "") > 5.0);
    drop(clients);
    server.wait_until_empty();
    eventually("nothing is left to be the largest", || {
        let is_zero = |name: &str| server.metric(name, "") == 0.0;
        (is_zero("roomring_room_members_max") && is_zero("roomring_outbox_bytes_max")).then_some(())
    });
}
