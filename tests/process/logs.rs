//! Log lines (OPERATIONS, "[log]"; REQUIREMENTS A14): structured, and bounded in number whatever clients do.

use std::io::Write;

use serde_json::{Value, json};

use crate::client::Client;
use crate::http;
use crate::server::{Server, allow_descriptors, eventually};

fn lines(server: &Server, message: &str) -> Vec<Value> {
    let text = server.stderr.get();
    let lines = text.lines().map(|line| {
        let parsed: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("each line is an object: {line}"));
        parsed
    });
    lines.filter(|line| line["message"] == message).collect()
}

/// How many lines tell of a cause, and how many more are said to be held back, in lines of either kind.
fn told(server: &Server, (message, held_back): (&str, &str), cause: &str) -> (u64, u64) {
    let of = |message| lines(server, message).into_iter().filter(|line| line["cause"] == cause).collect::<Vec<_>>();
    let lines = of(message);
    let with_line: u64 = lines.iter().map(|line| line["held_back"].as_u64().expect("a number")).sum();
    let in_summary: u64 = of(held_back).iter().map(|line| line["lines"].as_u64().expect("a number")).sum();
    (lines.len() as u64, with_line + in_summary)
}

const CLOSED: (&str, &str) = ("connection closed", "lines about closed connections held back");
const REFUSED: (&str, &str) = ("request refused", "lines about refused requests held back");

#[test]
fn a_flood_of_failing_connections_gives_a_bounded_log_that_counts_them_all() {
    const FLOOD: u64 = 600;
    let mut server = Server::start(&["log.format=json", "server.cores=2"]);
    for _ in 0..FLOOD {
        assert_eq!(http::get(server.listen, "/nowhere").status, 404);
        let mut stream = http::open_websocket(server.listen, "/ws?user=rude");
        stream.write_all(&[0x81, 0x01, b'a']).expect("the server reads");
        assert_eq!(http::close_code(&mut stream), 1002);
    }
    server.wait_until_empty();
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    // Suppressed lines are reported within a minute, or at the end.
    eventually("every one is in a line or in a count", || {
        let (refusals, more) = told(&server, REFUSED, "not_found");
        let (closes, others) = told(&server, CLOSED, "protocol_error");
        let all = (refusals + more, closes + others) == (FLOOD, FLOOD);
        // One address; 256 connections of one cause; each in a minute and for each of two cores. The flood may take more.
        (all && refusals <= 8 && closes <= FLOOD).then_some(())
    });
    let closes = lines(&server, CLOSED.0);
    let one = &closes[0];
    for (name, value) in [("code", json!(1002)), ("user", json!("rude")), ("address", json!("127.0.0.1"))] {
        assert_eq!(one[name], value, "{one}");
    }
    assert!(one["connection"].is_string() && one["why"].is_string() && one["level"] == "INFO", "{one}");
}

#[test]
fn one_cause_of_many_connections_is_bounded_within_a_minute() {
    const FLOOD: u64 = 700;
    allow_descriptors(2_000);
    let mut server = Server::start(&["log.format=json"]);
    let mut streams: Vec<_> = (0..FLOOD).map(|_| http::open_websocket(server.listen, "/ws?user=rude")).collect();
    for stream in &mut streams {
        stream.write_all(&[0x81, 0x01, b'a']).expect("the server reads");
    }
    for stream in &mut streams {
        assert_eq!(http::close_code(stream), 1002);
    }
    server.signal("TERM");
    server.wait();
    let (closes, held_back) = eventually("the last line has come", || {
        let told = told(&server, CLOSED, "protocol_error");
        (told.0 + told.1 == FLOOD).then_some(told)
    });
    // A loaded machine may take a minute, which lets as many through once more.
    assert!(closes <= 512 && held_back >= FLOOD - 512, "{closes} lines, {held_back} held back");
}

#[test]
fn a_slow_consumer_is_told_with_its_room_and_memory_with_its_numbers() {
    let queue = ["server.max_message_bytes=16KiB", "limits.outbox_bytes=32KiB", "rooms.history_size=10"];
    let settings = [&["log.format=json", "rooms.presence=false"][..], &queue].concat();
    let server = Server::start(&settings);
    let mut stalled = http::open_websocket(server.listen, "/ws?user=stalled&room=news");
    let mut publisher = Client::connect(&server, "publisher");
    publisher.join("news");
    eventually("both are members", || (server.stat("members") == 2).then_some(()));
    let data = json!("x".repeat(12 * 1024));
    eventually("the stalled one is closed", || {
        for _ in 0..50 {
            publisher.publish("news", data.clone());
            publisher.messages("news", 1);
        }
        (server.metric("roomring_closed_slow_total", "") == 1.0).then_some(())
    });
    let line = eventually("its line comes", || lines(&server, CLOSED.0).pop());
    for (name, value) in [("room", "news"), ("user", "stalled"), ("cause", "slow_consumer")] {
        assert_eq!(line[name], value, "{line}");
    }
    assert_eq!(line["code"], 4413);
    let _ = stalled.flush();
}
