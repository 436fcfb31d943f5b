//! HTTP before the WebSocket opens (PROTOCOL section 1, RFC 6455 section 4).

use std::io::Write;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::http::{self, ACCEPT, Answer, KEY};
use crate::server::{Server, eventually};

/// Asserts status and code of a refusal with its one-line JSON body.
fn assert_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    let body = answer.json();
    assert_eq!(body["error"], code, "{answer:?}");
    assert!(body["message"].as_str().is_some_and(|words| !words.is_empty()), "{answer:?}");
    assert_eq!(answer.body.trim_end().lines().count(), 1, "{answer:?}");
    let length = answer.field("Content-Length").and_then(|length| length.parse().ok());
    assert_eq!(length, Some(answer.body.len()), "{answer:?}");
}

#[test]
fn a_correct_upgrade_is_accepted() {
    let server = Server::start(&[]);
    let mut stream = http::open(server.listen);
    stream.write_all(http::upgrade_head(server.listen, "/ws?user=a", "").as_bytes()).expect("the server reads");
    let answer = http::parse(http::read_head(&mut stream).as_bytes());
    assert_eq!(answer.status, 101);
    assert_eq!(answer.field("Sec-WebSocket-Accept"), Some(ACCEPT));
    assert!(answer.field("Upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")), "{answer:?}");
    assert!(answer.field("Connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade")), "{answer:?}");
    assert_eq!(answer.field("Sec-WebSocket-Protocol"), None);
    assert_eq!(answer.field("Sec-WebSocket-Extensions"), None);
}

#[test]
fn fields_may_be_written_in_any_case_and_in_lists() {
    let server = Server::start(&[]);
    let head = format!(
        "GET /ws HTTP/1.1\r\nhOST: {}\r\nUPGRADE: WebSocket\r\nconnection: keep-alive, UPGRADE\r\n\
         sec-websocket-key: {KEY}\r\nSEC-WEBSOCKET-VERSION: 13\r\n\r\n",
        server.listen
    );
    let mut stream = http::open(server.listen);
    stream.write_all(head.as_bytes()).expect("the server reads");
    assert!(http::read_head(&mut stream).starts_with("HTTP/1.1 101 "));
}

#[test]
fn a_head_may_come_byte_by_byte() {
    let server = Server::start(&[]);
    let mut stream = http::open(server.listen);
    for byte in http::upgrade_head(server.listen, "/ws?user=a&room=lobby", "").as_bytes() {
        stream.write_all(&[*byte]).expect("the server reads");
    }
    assert!(http::read_head(&mut stream).starts_with("HTTP/1.1 101 "));
    assert!(http::read_frame_with(&mut stream, "joined").contains("lobby"));
}

#[test]
fn bytes_right_behind_the_head_are_served() {
    let server = Server::start(&[]);
    let mut stream = http::open(server.listen);
    let mut bytes = http::upgrade_head(server.listen, "/ws?user=a", "").into_bytes();
    bytes.extend(http::client_frame(0x81, br#"{"type":"join","room":"lobby","id":1}"#));
    bytes.extend(http::client_frame(0x81, br#"{"type":"publish","room":"lobby","data":"early","id":2}"#));
    bytes.extend(http::client_frame(0x89, b"early ping"));
    stream.write_all(&bytes).expect("the server reads");
    assert!(http::read_head(&mut stream).starts_with("HTTP/1.1 101 "));
    http::read_frame_with(&mut stream, "published");
    let mut reader = http::open_websocket(server.listen, "/ws?user=b&room=lobby");
    assert!(http::read_frame_with(&mut reader, "joined").contains("early"));
}

#[test]
fn what_is_no_upgrade_is_refused() {
    let server = Server::start(&[]);
    let address = server.listen;
    let head = http::upgrade_head(address, "/ws", "");
    let send = |head: &str| http::exchange(address, head.as_bytes());
    let without = |field: &str| {
        let lines = head.split_inclusive("\r\n").filter(|line| !line.starts_with(field));
        send(&lines.collect::<String>())
    };
    assert_refused(&http::get(address, "/nowhere"), 404, "not_found");
    assert_refused(&http::get(address, "/"), 404, "not_found");
    assert_refused(&send(&head.replace("GET /ws", "GET /wsx")), 404, "not_found");
    for method in ["POST", "HEAD", "PUT", "OPTIONS"] {
        let answer = send(&head.replace("GET ", &format!("{method} ")));
        assert_eq!(answer.status, 405, "{method}: {answer:?}");
    }
    let plain = http::get(address, "/ws");
    assert_refused(&plain, 426, "upgrade_required");
    let old = send(&head.replace("Version: 13", "Version: 8"));
    assert_refused(&old, 426, "upgrade_required");
    for answer in [plain, old] {
        assert_eq!(answer.field("Sec-WebSocket-Version"), Some("13"), "{answer:?}");
    }
    assert_refused(&without("Sec-WebSocket-Key"), 400, "bad_request");
    assert_refused(&without("Host"), 400, "bad_request");
    assert_refused(&send(&head.replace(KEY, "short")), 400, "bad_request");
    assert_refused(&send("GET /ws HTTP/1.1\r\nbad field\r\n\r\n"), 400, "bad_request");
    assert_refused(&send("\u{1}\u{2}\u{3}\r\n\r\n"), 400, "bad_request");
    assert_refused(&send(&http::upgrade_head(address, "/ws?last_received_seq=x&room=a", "")), 400, "bad_request");
    assert_refused(&send(&http::upgrade_head(address, "/ws?user=a%00b", "")), 400, "bad_request");
    assert_refused(&send(&http::upgrade_head(address, "/ws?user=%ff", "")), 400, "bad_request");
    assert_eq!(server.stat("connections"), 0);
    server.wait_until_empty();
}

#[test]
fn a_head_over_16_kib_is_refused() {
    let server = Server::start(&[]);
    let padded =
        |bytes: usize| http::upgrade_head(server.listen, "/ws", &format!("X-Padding: {}\r\n", "x".repeat(bytes)));
    assert_refused(&http::exchange(server.listen, padded(17 * 1024).as_bytes()), 431, "head_too_large");
    let endless = format!("GET /ws HTTP/1.1\r\nX: {}", "x".repeat(40 * 1024));
    assert_refused(&http::exchange(server.listen, endless.as_bytes()), 431, "head_too_large");
    let mut stream = http::open(server.listen);
    stream.write_all(padded(15 * 1024).as_bytes()).expect("the server reads");
    assert!(http::read_head(&mut stream).starts_with("HTTP/1.1 101 "));
}

#[test]
fn an_origin_must_be_the_same_host_or_allowed() {
    let upgrade = |server: &Server, origin: &str| {
        let mut stream = http::open(server.listen);
        let head = http::upgrade_head(server.listen, "/ws", &format!("Origin: {origin}\r\n"));
        stream.write_all(head.as_bytes()).expect("the server reads");
        http::parse(http::read_head(&mut stream).as_bytes()).status
    };
    let strict = Server::start(&[]);
    assert_eq!(upgrade(&strict, &format!("http://{}", strict.listen)), 101);
    assert_eq!(upgrade(&strict, "http://evil.example"), 403);
    assert_eq!(upgrade(&strict, "null"), 403);
    let head = http::upgrade_head(strict.listen, "/ws", "Origin: http://evil.example\r\n");
    assert_refused(&http::exchange(strict.listen, head.as_bytes()), 403, "forbidden");
    let open = Server::start(&[r#"auth.allowed_origins=["https://*.example.org"]"#]);
    assert_eq!(upgrade(&open, "https://chat.example.org"), 101);
    assert_eq!(upgrade(&open, "https://a.b.example.org"), 403);
    assert_eq!(upgrade(&open, "https://chat.example.com"), 403);
    let any = Server::start(&[r#"auth.allowed_origins=["*"]"#]);
    assert_eq!(upgrade(&any, "http://evil.example"), 101);
}

#[test]
fn health_is_told_on_the_data_port() {
    let server = Server::start(&[]);
    let answer = http::get(server.listen, "/health");
    assert_eq!((answer.status, answer.json()), (200, serde_json::json!({"status": "ok"})));
}

#[test]
fn a_full_server_says_when_to_try_again() {
    let server = Server::start(&["server.max_connections=2"]);
    let first = Client::connect(&server, "a");
    let _second = Client::connect(&server, "b");
    let answer = http::exchange(server.listen, http::upgrade_head(server.listen, "/ws", "").as_bytes());
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.json()["error"].is_string(), "{answer:?}");
    let retry: u32 = answer.field("Retry-After").and_then(|value| value.parse().ok()).expect("it says when");
    assert!(retry >= 1, "{answer:?}");
    assert_eq!(http::get(server.listen, "/health").status, 200, "a full server is healthy");
    first.close();
    eventually("a place is free again", || {
        let mut stream = http::open(server.listen);
        stream.write_all(http::upgrade_head(server.listen, "/ws", "").as_bytes()).ok()?;
        http::read_head(&mut stream).starts_with("HTTP/1.1 101 ").then_some(())
    });
}

#[test]
fn a_head_must_be_complete_within_ten_seconds() {
    let server = Server::start(&[]);
    let mut silent = http::open(server.listen);
    let mut slow = http::open(server.listen);
    slow.write_all(b"GET /ws HTTP/1.1\r\n").expect("the server reads");
    let started = Instant::now();
    let end = |stream| {
        http::read_to_end(stream);
        started.elapsed()
    };
    let took = end(&mut silent).max(end(&mut slow));
    assert!(took > Duration::from_secs(9) && took < Duration::from_secs(20), "{took:?}");
    server.wait_until_empty();
}
