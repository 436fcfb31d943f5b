//! Clients that connect and never ask, or ask a byte at a time, by the thousand: whoever comes meanwhile is served at once.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::Client;
use crate::http;
use crate::server::{Server, allow_descriptors};

/// More than the server keeps for connections that are no WebSocket when it is told of a hundred.
const HALF_OPEN: usize = 2_000;

#[test]
fn thousands_that_never_finish_their_request_keep_nobody_out() {
    allow_descriptors(HALF_OPEN + 1_000);
    let server = Server::start(&["server.max_connections=100", "log.format=text"]);
    let mut resident = Client::connect(&server, "resident");
    resident.join("lobby");
    let head = http::upgrade_head(server.listen, "/ws", "");
    let mut slow: Vec<TcpStream> = Vec::new();
    let mut slowest = Duration::ZERO;
    for index in 0..HALF_OPEN {
        let mut stream = http::open(server.listen);
        // Some say nothing at all.
        let said = if index % 3 == 0 { 0 } else { 1 + index % 60 };
        stream.write_all(&head.as_bytes()[..said]).expect("the server reads");
        slow.push(stream);
        if index % 200 == 199 {
            // Those that are still there say a byte more.
            for (index, stream) in slow.iter_mut().enumerate() {
                let _ = stream.write(&head.as_bytes()[60 + index % 20..][..1]);
            }
            let began = Instant::now();
            let mut newcomer = Client::connect(&server, &format!("newcomer{index}"));
            newcomer.join("lobby");
            let seq = newcomer.publish("lobby", json!(index));
            assert_eq!(resident.messages("lobby", 1)[0]["seq"], seq);
            slowest = slowest.max(began.elapsed());
            newcomer.close();
        }
    }
    // Far below the ten seconds after which heads are given up.
    assert!(slowest < Duration::from_secs(5), "a newcomer waited {slowest:?}");
    let waiting = server.metric("roomring_upgrading", "");
    let made_way = server.metric("roomring_refused_crowded_total", "");
    assert!(made_way >= 1_000.0 && waiting + made_way <= HALF_OPEN as f64, "{made_way} made way, {waiting} wait");
    let lines = server.stderr.get().matches("cause=\"crowded\"").count();
    assert_eq!(lines, 1, "one line for one address: {}", server.stderr.get());
    drop(slow);
    resident.close();
    server.wait_until_empty();
    let charged = server.metric("roomring_memory_charged", "");
    assert!(charged < 16_384.0, "a history of ten messages, and no head: {charged}");
}
