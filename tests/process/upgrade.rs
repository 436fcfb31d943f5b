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
    assert!(answer.field("Date").is_some_and(|date| date.ends_with(" GMT") && date.len() == 29), "{answer:?}");
    for (path, status) in [("/health", 200), ("/nowhere", 404), ("/ws", 426)] {
        let (whole, head) = (http::get(server.listen, path), http::send(server.listen, "HEAD", path, "", b""));
        assert_eq!((head.status, head.body.as_str()), (status, ""), "{path}: {head:?}");
        assert_eq!(head.field("Content-Length"), Some(whole.body.len().to_string().as_str()), "{head:?}");
    }
    for request in ["OPTIONS /health HTTP/1.1", "OPTIONS * HTTP/1.1", "OPTIONS /ws HTTP/1.1"] {
        for address in [server.listen, server.control] {
            let head = format!("{request}\r\nHost: {address}\r\nConnection: close\r\n\r\n");
            let answer = http::exchange(address, head.as_bytes());
            if address == server.control && request.contains("/ws") {
                assert_eq!(answer.status, 404, "{answer:?}");
            } else {
                assert_eq!((answer.status, answer.field("Allow")), (405, Some("GET, HEAD")), "{answer:?}");
            }
        }
    }
    for host in ["", "Host: a\r\nHost: a\r\n", "Host: a b\r\n", "Host:\r\n"] {
        for address in [server.listen, server.control] {
            let head = format!("GET /health HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
            let answer = http::exchange(address, head.as_bytes());
            assert_eq!((answer.status, &answer.json()["error"]), (400, &"bad_request".into()), "{host:?}: {answer:?}");
        }
    }
}

/// An upgrade that is refused by a close frame: its code, and the `reconnect` before it.
fn closed(server: &Server, query: &str, more: &str) -> (u16, Option<serde_json::Value>) {
    let mut stream = http::open(server.listen);
    let head = http::upgrade_head(server.listen, &format!("/ws?refuse=close&{query}"), more);
    stream.write_all(head.as_bytes()).expect("the server reads");
    let head = http::read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let frames = http::server_frames(&http::read_to_end(&mut stream));
    let (last, close) = frames.last().expect("a close frame");
    assert!(*last == 0x88 && close.len() > 2, "a code and a reason: {frames:?}");
    let push = match &frames[..frames.len() - 1] {
        [] => None,
        [(0x81, json)] => Some(serde_json::from_slice(json).expect("JSON")),
        [(0x82, binary)] => Some(serde_json::from_slice(&binary[4..]).expect("JSON")),
        other => panic!("one push at most: {other:?}"),
    };
    (u16::from_be_bytes([close[0], close[1]]), push)
}

#[test]
fn browsers_can_have_refusals_as_close_frames() {
    let secret = "auth.hmac_secret=0123456789abcdef0123456789abcdef";
    let guarded = Server::start(&["auth.mode=jwt", secret]);
    assert_eq!(closed(&guarded, "", ""), (4401, None));
    assert_eq!(closed(&guarded, "token=nonsense", ""), (4401, None));
    let server = Server::start(&["limits.connections_per_user=1", "server.max_connections=2"]);
    assert_eq!(closed(&server, "", "Origin: http://evil.example\r\n"), (4403, None));
    let _first = Client::connect(&server, "ann");
    for form in ["json", "binary"] {
        let more = format!("Sec-WebSocket-Protocol: roomring.v1.{form}\r\n");
        let (code, push) = closed(&server, "user=ann&room=lobby", &more);
        let push = push.expect("a word before");
        assert_eq!((code, &push["type"]), (4429, &"reconnect".into()), "{push}");
        assert!(push["after_ms"].as_u64() >= Some(1_000), "{push}");
    }
    let _second = Client::connect(&server, "bob");
    let (code, push) = closed(&server, "user=cid", "");
    assert_eq!((code, &push.expect("a word before")["reason"]), (1013, &"overloaded".into()));
    for _ in 0..50 {
        assert_eq!(closed(&server, "user=cid&room=lobby", "").0, 1013);
    }
    assert_eq!((server.stat("connections"), server.stat("members")), (2, 0));
    assert_eq!(server.metric("roomring_connections_closed_total", ""), 0.0);
    assert_eq!(server.metric("roomring_upgrades_refused_total", "overloaded"), 51.0);
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
