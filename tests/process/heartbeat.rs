//! Dead connections are closed, idle ones are kept (PROTOCOL section 4.7).

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::json;
use tungstenite::Message;

use crate::client::{Arrived, Client};
use crate::http;
use crate::server::{Server, eventually};

#[test]
fn a_silent_connection_is_pinged_and_then_closed_with_4408() {
    let server = Server::start(&["heartbeat.interval=1s", "heartbeat.timeout=3s"]);
    let mut silent = http::open_websocket(server.listen, "/ws?user=silent&room=lobby");
    let started = Instant::now();
    let frames = http::server_frames(&http::read_to_end(&mut silent));
    let took = started.elapsed();
    assert!(frames.iter().any(|(first, _)| *first == 0x89), "it was pinged: {frames:?}");
    let (_, close) = frames.iter().find(|(first, _)| *first == 0x88).expect("it was told why");
    assert_eq!(u16::from_be_bytes([close[0], close[1]]), 4408);
    assert!(took > Duration::from_millis(2500), "not before the timeout: {took:?}");
    eventually("it is counted", || (server.metric("roomring_closed_heartbeat_total", "") == 1.0).then_some(()));
    server.wait_until_empty();
}

#[test]
fn a_connection_that_answers_pings_stays() {
    let server = Server::start(&["heartbeat.interval=1s", "heartbeat.timeout=2s"]);
    let mut quiet = Client::connect(&server, "quiet");
    quiet.join("lobby");
    let until = Instant::now() + Duration::from_secs(5);
    let mut pings = 0;
    while let Some(arrived) = quiet.read(until) {
        assert!(!matches!(arrived, Arrived::Close(_) | Arrived::End), "{arrived:?}");
        pings += usize::from(matches!(arrived, Arrived::Ping(_)));
    }
    assert!(pings >= 3, "{pings} pings in five seconds");
    assert_eq!(quiet.request(json!({"type": "ping"}))["type"], "pong");
}

#[test]
fn any_frame_keeps_a_connection() {
    let server = Server::start(&["heartbeat.interval=1s", "heartbeat.timeout=2s"]);
    let mut stream = http::open_websocket(server.listen, "/ws?user=deaf");
    for _ in 0..10 {
        stream.write_all(&http::client_frame(0x8a, b"")).expect("the connection is open");
        std::thread::sleep(Duration::from_millis(400));
    }
    assert_eq!(server.stat("connections"), 1);
}

#[test]
fn pings_of_both_kinds_are_answered() {
    let server = Server::start(&[]);
    let mut client = Client::connect(&server, "alice");
    client.send_message(Message::Ping(b"are you there"[..].into()));
    client.wait_for("the pong", |arrived| *arrived == Arrived::Pong(b"are you there".to_vec()));
    client.send_message(Message::Ping([7; 125][..].into()));
    client.wait_for("the pong", |arrived| *arrived == Arrived::Pong(vec![7; 125]));
    let pong = client.request(json!({"type": "ping"}));
    assert_eq!(pong["type"], "pong");
    let at = pong["at"].as_u64().expect("a pong has a time");
    let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_millis() as u64;
    assert!(at.abs_diff(now) < 60_000, "Unix milliseconds: {at}, {now}");
}
