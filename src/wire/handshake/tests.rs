//! Request heads and responses, byte by byte, and the status of each refusal.

use super::*;
use crate::base::limits::{HEAD_BYTES_MAX, HEAD_FIELDS_MAX, QUERY_PARAMETERS_MAX};
use crate::wire::form::Form;

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
const VERSION: &str = "Sec-WebSocket-Version: 13";
const BASE: [&str; 5] = ["Host: h.example", "Connection: Upgrade", "Upgrade: websocket", KEY, VERSION];

fn head(target: &str, fields: &[&str]) -> Vec<u8> {
    let mut head = format!("GET {target} HTTP/1.1\r\n");
    for field in fields {
        head.push_str(field);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    head.into_bytes()
}

fn request(head: &[u8]) -> HttpRequest {
    match parse_head(head) {
        Head::Complete { used, request } => {
            assert_eq!(used, head.len());
            request
        }
        other => panic!("{}: {other:?}", String::from_utf8_lossy(head)),
    }
}

fn upgrade_with(target: &str, more: &[&str]) -> Upgrade {
    match request(&head(target, &[&BASE[..], more].concat())) {
        HttpRequest::Upgrade(upgrade) => *upgrade,
        other => panic!("{target}: {other:?}"),
    }
}

fn refused(head: &[u8]) -> u16 {
    match parse_head(head) {
        Head::Refused { refusal, .. } => refusal.status,
        other => panic!("{}: {other:?}", String::from_utf8_lossy(head)),
    }
}

fn bad_upgrade(head: &[u8]) -> (u16, String) {
    match request(head) {
        HttpRequest::BadUpgrade { path, refusal } => {
            assert_eq!(path, "/ws");
            (refusal.status, refusal.message)
        }
        other => panic!("{}: {other:?}", String::from_utf8_lossy(head)),
    }
}

/// A head with the base fields, of which the one called `name` is replaced or omitted.
fn replaced(name: &str, with: &[&str]) -> Vec<u8> {
    let kept = BASE.iter().filter(|field| !field.starts_with(name)).copied();
    head("/ws", &kept.chain(with.iter().copied()).collect::<Vec<_>>())
}

#[test]
fn the_example_of_the_rfc_is_accepted() {
    let head = concat!(
        "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://example.com\r\n",
        "Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    let HttpRequest::Upgrade(upgrade) = request(head.as_bytes()) else { panic!("an upgrade") };
    assert_eq!(
        *upgrade,
        Upgrade {
            path: "/chat".to_owned(),
            accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned(),
            origin: Some("http://example.com".to_owned()),
            host: Some("server.example.com".to_owned()),
            ..Upgrade::default()
        }
    );
    assert_eq!(
        std::str::from_utf8(&accept_response(&upgrade)),
        Ok(concat!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        ))
    );
}

#[test]
fn every_prefix_is_incomplete_and_pipelined_bytes_are_left() {
    let mut bytes = head("/ws?room=a", &BASE);
    for end in 0..bytes.len() {
        assert_eq!(parse_head(&bytes[..end]), Head::Incomplete, "{end} bytes");
    }
    let length = bytes.len();
    bytes.extend_from_slice(b"\x81\x80\r\n\r\n");
    assert!(matches!(parse_head(&bytes), Head::Complete { used, .. } if used == length));
}

#[test]
fn names_lists_and_tokens_are_read_in_any_case() {
    let fields = [
        "host:h",
        "CONNECTION: keep-alive, , upgrade",
        "UpGrade: h2c, WebSocket",
        "sec-websocket-key:   dGhlIHNhbXBsZSBub25jZQ==  ",
        "SEC-WEBSOCKET-VERSION: 13",
        "Content-Length: 0",
    ];
    assert!(matches!(request(&head("/ws", &fields)), HttpRequest::Upgrade(_)));
    let absolute = head("HTTP://h.example:80/ws?user=zo%C3%AB", &BASE);
    let HttpRequest::Upgrade(upgrade) = request(&absolute) else { panic!("an upgrade") };
    assert_eq!((upgrade.path.as_str(), upgrade.user.as_deref()), ("/ws", Some("zoë")));
}

#[test]
fn requests_without_an_upgrade_are_gets() {
    for (head, path) in [
        (head("/health", &["Host: h"]), "/health"),
        (head("/health?x=1", &["Host: h"]), "/health"),
        (head("/ws", &["Host: h", "Connection: Upgrade", "Upgrade: h2c"]), "/ws"),
        (head("http://h?x", &["Host: h"]), "/"),
    ] {
        let host = Some("h".to_owned());
        assert_eq!(request(&head), HttpRequest::Get { path: path.to_owned(), host: host.clone(), is_head: false });
        let by_head = String::from_utf8(head).expect("ASCII").replace("GET ", "HEAD ");
        assert_eq!(request(by_head.as_bytes()), HttpRequest::Get { path: path.to_owned(), host, is_head: true });
    }
    let old = HttpRequest::Get { path: "/health".to_owned(), host: None, is_head: false };
    assert_eq!(request(b"GET /health HTTP/1.0\r\n\r\n"), old);
}

#[test]
fn the_target_names_the_host_before_the_field_does() {
    for (target, field, host) in [
        ("/health", "a.example:80", "a.example:80"),
        ("http://b.example:81/", "a.example", "b.example:81"),
        ("/", "[::1]", "[::1]"),
    ] {
        let HttpRequest::Get { host: found, .. } = request(&head(target, &[&format!("Host: {field}")])) else {
            panic!("a GET")
        };
        assert_eq!(found.as_deref(), Some(host), "{target}");
    }
}

#[test]
fn a_missing_repeated_or_invalid_host_is_400() {
    for fields in [
        &[][..],
        &["Host:"],
        &["Host: a", "Host: a"],
        &["Host: a", "hOST: b"],
        &["Host: a, b"],
        &["Host: a b"],
        &["Host: http://a"],
        &["Host: a:b"],
        &["Host: a:99999"],
        &["Host: user@a"],
        &["Host: ::1"],
        &["Host: [::1"],
        &["Host: \u{fc}"],
    ] {
        for target in ["/health", "/ws"] {
            assert_eq!(refused(&head(target, fields)), 400, "{fields:?}");
        }
        let upgrade: Vec<&str> = BASE[1..].iter().chain(fields).copied().collect();
        assert_eq!(refused(&head("/ws", &upgrade)), 400, "{fields:?}");
    }
    assert_eq!(refused(&head("http://user@a/", &["Host: a"])), 400);
    assert_eq!(refused(&head("http:///", &["Host: a"])), 400);
    assert_eq!(refused(b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
    let Head::Refused { refusal, .. } = parse_head(&head("/", &["Host: a b"])) else { panic!("refused") };
    assert!(refusal.message.contains("\"a b\""), "{}", refusal.message);
}

#[test]
fn malformed_upgrades_are_400_and_other_versions_426() {
    let cases = [
        (replaced("Connection", &[]), 400, "Connection"),
        (replaced("Connection", &["Connection: keep-alive"]), 400, "Connection"),
        (replaced("Sec-WebSocket-Key", &[]), 400, "Sec-WebSocket-Key"),
        (replaced("Sec-WebSocket-Key", &["Sec-WebSocket-Key: "]), 400, "Sec-WebSocket-Key"),
        (replaced("Sec-WebSocket-Key", &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j"]), 400, "Sec-WebSocket-Key"),
        (replaced("Sec-WebSocket-Key", &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"]), 400, "Sec-WebSocket-Key"),
        (replaced("Sec-WebSocket-Key", &["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAAAAAAA"]), 400, "Key"),
        (replaced("Sec-WebSocket-Key", &[KEY, KEY]), 400, "sec-websocket-key"),
        (replaced("Sec-WebSocket-Version", &[]), 400, "Sec-WebSocket-Version"),
        (replaced("Sec-WebSocket-Version", &[VERSION, VERSION]), 400, "sec-websocket-version"),
        (replaced("Sec-WebSocket-Version", &["Sec-WebSocket-Version: 8"]), 426, "13"),
        (replaced("Sec-WebSocket-Version", &["Sec-WebSocket-Version: 13, 8"]), 426, "13"),
        (replaced("none", &["Content-Length: 5"]), 400, "body"),
        (replaced("none", &["Content-Length: x"]), 400, "body"),
        (replaced("none", &["Content-Length: 0", "Content-Length: 1"]), 400, "body"),
        (replaced("none", &["Transfer-Encoding: chunked"]), 400, "body"),
        (replaced("none", &["Origin: http://a", "Origin: http://b"]), 400, "origin"),
    ];
    for (head, status, named) in cases {
        let (found, message) = bad_upgrade(&head);
        assert_eq!(found, status, "{}", String::from_utf8_lossy(&head));
        assert!(message.contains(named), "{message}");
    }
    let old = String::from_utf8(head("/ws", &BASE)).expect("ASCII").replace("HTTP/1.1", "HTTP/1.0");
    assert_eq!(bad_upgrade(old.as_bytes()).0, 400);
}

#[test]
fn other_protocols_are_refused_at_the_first_wrong_byte() {
    for garbage in [
        &b"\x16\x03\x01\x02\x00"[..],
        b"\0",
        b"GET /ws HTTP/2",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHost: a\r\n folded: b",
        b"GET /ws HTTP/1.1\r\nHost : a\r\n",
        b"GET /ws HTTP/1.1\r\nHost: a\0b",
        b"GET ws HTTP/1.1\r\n\r\n",
        b"GET ftp://h/ws HTTP/1.1\r\n\r\n",
        b"GET * HTTP/1.1\r\n\r\n",
    ] {
        assert_eq!(refused(garbage), 400, "{}", String::from_utf8_lossy(garbage));
    }
}

#[test]
fn other_methods_are_405_before_their_head_is_complete() {
    for bytes in [&b"POST /ws"[..], b"OPTIONS * HTTP/1.1\r\n", b"get / ", b"CONNECT a:80 HTTP/1.1\r\n"] {
        assert_eq!(refused(bytes), 405, "{}", String::from_utf8_lossy(bytes));
    }
    for bytes in [&b"POST "[..], b"POST /acc", b"OPTIONS /account/tok", b"PUT http://a/account/token HTTP/1.1\r\n"] {
        assert_eq!(parse_head(bytes), Head::Incomplete, "{}", String::from_utf8_lossy(bytes));
    }
    let upgrade = String::from_utf8(head("/ws", &BASE)).expect("ASCII").replace("GET ", "HEAD ");
    assert_eq!(refused(upgrade.as_bytes()), 405, "RFC 6455 section 4.1 demands GET");
}

#[test]
fn a_refused_head_request_is_recognized() {
    for (bytes, expected) in [
        (&b"HEAD / HTTP/1.1\r\n\r\n"[..], true),
        (b"HEAD / HTTP/1.1\r\nHost : a\r\n", true),
        (b"GET / HTTP/1.1\r\n\r\n", false),
        (b"HEADER / HTTP/1.1\r\n", false),
        (b"\0", false),
    ] {
        let Head::Refused { is_head, .. } = parse_head(bytes) else { panic!("refused") };
        assert_eq!(is_head, expected, "{}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn heads_over_the_limit_are_431() {
    let filler = |length: usize| format!("X: {}", "a".repeat(length));
    let short = head("/ws", &BASE).len();
    let fits = head("/ws", &[&BASE[..], &[&filler(HEAD_BYTES_MAX - short - 5)]].concat());
    assert_eq!(fits.len(), HEAD_BYTES_MAX);
    assert!(matches!(request(&fits), HttpRequest::Upgrade(_)));
    let over = head("/ws", &[&BASE[..], &[&filler(HEAD_BYTES_MAX - short - 4)]].concat());
    assert_eq!(refused(&over), 431);
    assert_eq!(refused(&over[..HEAD_BYTES_MAX]), 431, "it cannot end in time");
    assert_eq!(parse_head(&over[..HEAD_BYTES_MAX - 1]), Head::Incomplete);
    assert_eq!(refused(&head("/ws", &["a: b"; HEAD_FIELDS_MAX + 1])), 431);
}

#[test]
fn subprotocols_follow_the_client_and_tokens_are_not_echoed() {
    for (fields, form, token) in [
        (&["Sec-WebSocket-Protocol: roomring.v1.json"][..], Some(Form::Json), None),
        (&["Sec-WebSocket-Protocol: x, roomring.v1.binary,roomring.v1.json"], Some(Form::Binary), None),
        (
            &["Sec-WebSocket-Protocol: bearer.a.b.c", "Sec-WebSocket-Protocol: roomring.v1.json"],
            Some(Form::Json),
            Some("a.b.c"),
        ),
        (&["Sec-WebSocket-Protocol: bearer.t"], None, Some("t")),
        (&["Sec-WebSocket-Protocol: ROOMRING.V1.JSON, "], None, None),
        (&["Authorization: bEARER  head ", "Sec-WebSocket-Protocol: bearer.sub"], None, Some("head")),
        (&["Authorization: Basic eDp5", "Sec-WebSocket-Protocol: bearer.sub"], None, Some("sub")),
    ] {
        let upgrade = upgrade_with("/ws", fields);
        assert_eq!(
            (upgrade.dialect.map(|dialect| dialect.form), upgrade.token.as_deref()),
            (form, token),
            "{fields:?}"
        );
        let answer = accept_response(&upgrade);
        let answer = std::str::from_utf8(&answer).expect("ASCII");
        let echoed = answer.split("\r\n").find_map(|line| line.strip_prefix("Sec-WebSocket-Protocol: "));
        let expected = form.map(|form| if form == Form::Json { "roomring.v1.json" } else { "roomring.v1.binary" });
        assert_eq!(echoed, expected);
    }
    let query_first = upgrade_with("/ws?token=query", &["Authorization: Bearer head"]);
    assert_eq!(query_first.token.as_deref(), Some("query"));
    let empty_is_none = upgrade_with("/ws?token=", &["Authorization: Bearer head"]);
    assert_eq!(empty_is_none.token.as_deref(), Some("head"));
}

#[test]
fn query_parameters_are_decoded() {
    let upgrade = upgrade_with("/ws?user=a%20b+c%2B&room=%C3%BC%26%3D&epoch=00ff&last_received_seq=7&x=%zz&%zz&&", &[]);
    assert_eq!(upgrade.user.as_deref(), Some("a b c+"));
    assert_eq!(upgrade.rooms, ["ü&="]);
    assert_eq!(upgrade.epoch.as_deref(), Some("00ff"));
    assert_eq!(upgrade.last_received_seq, Some(7));
    assert_eq!(upgrade_with("/ws?room=a&ro%6fm=b&room=a", &[]).rooms, ["a", "b", "a"]);
    assert!(!upgrade.refuse_as_close && upgrade_with("/ws?refuse=close", &[]).refuse_as_close);
}

#[test]
fn bad_query_values_are_named() {
    let long = format!("room={}", "x".repeat(129));
    for (query, name) in [
        ("last_received_seq=", "last_received_seq"),
        ("last_received_seq=-1", "last_received_seq"),
        ("last_received_seq=%2B1", "last_received_seq"),
        ("last_received_seq=18446744073709551616", "last_received_seq"),
        ("last_received_seq=1&last_received_seq=1", "last_received_seq"),
        ("room=a&room=b&last_received_seq=1", "last_received_seq"),
        ("room=%", "room"),
        ("room=%2", "room"),
        ("room=%G0", "room"),
        ("room=%ff", "room"),
        ("room=%0a", "room"),
        ("room=", "room"),
        ("room", "room"),
        (&long, "room"),
        ("user=", "user"),
        ("user=%00", "user"),
        ("user=a&user=b", "user"),
        ("token=%", "token"),
        ("token=a&token=b", "token"),
        ("epoch=%", "epoch"),
        ("refuse=", "refuse"),
        ("refuse=http", "refuse"),
        ("refuse=close&refuse=close", "refuse"),
    ] {
        let (status, message) = bad_upgrade(&head(&format!("/ws?{query}"), &BASE));
        assert_eq!(status, 400, "{query}");
        assert!(message.contains(&format!("`{name}`")), "{query}: {message}");
    }
}

#[test]
fn the_number_of_query_parameters_is_limited() {
    let query = |count: usize| format!("/ws?room=a{}", "&".repeat(count - 1));
    assert_eq!(upgrade_with(&query(QUERY_PARAMETERS_MAX), &[]).rooms, ["a"]);
    let (status, message) = bad_upgrade(&head(&query(QUERY_PARAMETERS_MAX + 1), &BASE));
    assert_eq!((status, message.as_str()), (400, "the query has more than 512 parameters"));
}

#[test]
fn responses_are_complete_http() {
    let mut refusal = HttpRefusal::new(503, "overloaded", "a \"quoted\"\r\nInjected: yes");
    refusal.retry_after_s = Some(3);
    assert_eq!(
        std::str::from_utf8(&refusal_response(&refusal, 784_111_777_999)),
        Ok(concat!(
            "HTTP/1.1 503 Service Unavailable\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: application/json\r\nContent-Length: 64\r\n",
            "Connection: close\r\nRetry-After: 3\r\n\r\n",
            r#"{"error":"overloaded","message":"a \"quoted\"\r\nInjected: yes"}"#
        ))
    );
    let head = concat!(
        "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Type: application/json\r\n",
        "Content-Length: 15\r\nConnection: close\r\n\r\n"
    );
    let answer = json_response(200, r#"{"status":"ok"}"#, 0);
    assert_eq!(std::str::from_utf8(&answer), Ok(format!("{head}{{\"status\":\"ok\"}}").as_str()));
    assert_eq!(&without_content(&answer)[..], head.as_bytes(), "HEAD is told the same length");
    assert!(json_response(200, "{}", u64::MAX).starts_with(b"HTTP/1.1 200 OK\r\nDate: Fri, 31 Dec 9999"));
}

#[test]
fn statuses_have_their_headers() {
    for (status, line) in [
        (401, "WWW-Authenticate: Bearer"),
        (405, "Allow: GET, HEAD"),
        (426, "Sec-WebSocket-Version: 13"),
        (426, "Upgrade: websocket"),
        (426, "Connection: close, Upgrade"),
        (431, "Connection: close"),
    ] {
        let answer = refusal_response(&HttpRefusal::new(status, "code", "words"), 0);
        let text = std::str::from_utf8(&answer).expect("ASCII");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")) && head.split("\r\n").any(|l| l == line), "{text}");
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body, serde_json::json!({"error": "code", "message": "words"}));
    }
}

/// What a request with these headers does at `/account/token`.
fn account(method: &str, headers: &str) -> AccountHead {
    let head = format!("{method} /account/token HTTP/1.1\r\nHost: h\r\n{headers}\r\n{{}}");
    match parse_head(head.as_bytes()) {
        Head::Complete { used, request: HttpRequest::Account(account) } => {
            assert_eq!(used, head.len() - 2, "the body follows");
            *account
        }
        other => panic!("{head}: {other:?}"),
    }
}

#[test]
fn requests_about_accounts_say_how_long_their_body_is() {
    for (headers, expected) in [
        ("Content-Length: 2\r\n", Ok(2)),
        ("Content-Length: 0\r\n", Ok(0)),
        ("Content-Length: 4096\r\n", Ok(4_096)),
        ("Content-Length: 4097\r\n", Err(413)),
        ("Content-Length: 99999999999999999999999\r\n", Err(413)),
        ("Content-Length: +2\r\n", Err(400)),
        ("Content-Length: 2, 2\r\n", Err(400)),
        ("Content-Length:\r\n", Err(400)),
        ("Content-Length: 2\r\nContent-Length: 2\r\n", Err(400)),
        ("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", Err(411)),
        ("", Err(411)),
    ] {
        let AccountMethod::Post { body_bytes, expects_continue } = account("POST", headers).method else {
            panic!("{headers}: a POST");
        };
        assert_eq!(body_bytes.map_err(|refusal| refusal.status), expected, "{headers}");
        assert!(!expects_continue);
    }
    let head = account(
        "POST",
        "Content-Length: 2\r\nExpect: 100-Continue\r\nOrigin: http://a\r\nAuthorization: bearer x.y\r\n",
    );
    assert_eq!(head.method, AccountMethod::Post { body_bytes: Ok(2), expects_continue: true });
    assert_eq!((head.path, head.host.as_deref()), (AccountPath::Token, Some("h")));
    assert_eq!((head.origin.as_deref(), head.token.as_deref()), (Some("http://a"), Some("x.y")));
    assert_eq!(account("OPTIONS", "").method, AccountMethod::Options);
    for method in ["GET", "DELETE"] {
        assert_eq!(account(method, "").method, AccountMethod::Other { is_head: false });
    }
    assert_eq!(account("HEAD", "").method, AccountMethod::Other { is_head: true });
}

#[test]
fn only_an_origin_that_a_browser_may_send_is_repeated() {
    let text = |answer: bytes::Bytes| String::from_utf8(answer.to_vec()).expect("text");
    let answer = text(no_content_response(&AnswerHeaders::readable_by(Some("http://a:1")).allowing_posts(), 0));
    assert!(answer.starts_with("HTTP/1.1 204 No Content\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(answer.contains("\r\nAccess-Control-Allow-Origin: http://a:1\r\n"), "{answer}");
    assert!(answer.contains("\r\nAccess-Control-Allow-Methods: POST\r\n"), "{answer}");
    assert!(!answer.contains("Content-Length"), "RFC 9110 section 8.6: {answer}");
    for origin in [None, Some("http://ä"), Some("a b")] {
        let answer = text(json_response_with(200, &AnswerHeaders::readable_by(origin).secret(), "{}", 0));
        assert!(!answer.contains("Allow-Origin") && answer.contains("\r\nVary: Origin\r\n"), "{answer}");
        assert!(answer.contains("\r\nCache-Control: no-store\r\n"), "{answer}");
    }
    let refusal = HttpRefusal::new(405, "method_not_allowed", "no");
    let answer = text(refusal_response_with(&refusal, &AnswerHeaders::default().with_methods(), 0));
    assert_eq!(answer.matches("Allow: ").count(), 1, "{answer}");
    assert!(answer.contains("\r\nAllow: POST, OPTIONS\r\n"), "{answer}");
}
