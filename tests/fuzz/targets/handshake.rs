//! Request heads: decided once, whatever comes behind; and no answer that an outsider's bytes could bend.

use roomring::base::ids::check_name;
use roomring::base::limits::{ACCOUNT_BODY_BYTES_MAX, PASSWORD_BYTES_MAX};
use roomring::wire::account_body::{AccountBody, Password, check_shown_name, read_account_body};
use roomring::wire::handshake::{
    AccountHead, AccountMethod, AccountPath, AnswerHeaders, ForwardedHeader, Head, HttpRefusal, HttpRequest, Upgrade,
    accept_deflate_response, accept_response, check_origin_pattern, host_of, json_response_with, no_content_response,
    origin_allowed, parse_head, refusal_response, refusal_response_with, without_content,
};

/// What heads are made of.
pub const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\r\n\r\n",
    b"HTTP/1.1",
    b"GET /ws",
    b"http://h/ws?",
    b"Upgrade: websocket\r\n",
    b"Connection: ,keep-alive , Upgrade\r\n",
    b"Sec-WebSocket-Version: 12\r\n",
    b"Content-Length: 5\r\n",
    b"POST /account/register",
    b"Content-Length: 4097\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"permessage-deflate",
    b"; server_max_window_bits=12",
    b"; client_max_window_bits",
    b"=\"10\\\"\"",
    b"roomring.v1.binary, bearer.a",
    b"&room=%41",
    b"&last_received_seq=18446744073709551615",
    b"for=\"[2001:db8::1]:80\";by=x,",
    b"for=\"1.2.3.4:_x\";",
    b"\\\"",
    b", for=unknown",
    b"&refuse=close",
    b"::ffff:1.2.3.4, ",
    b"http://*.a:80",
];

const HEADS: [&str; 6] = [
    "GET /ws?user=%C3%BC&room=a&room=b+c&token=x HTTP/1.1\r\nHost: h:8080\r\nConnection: keep-alive, Upgrade\r\n\
     Upgrade: websocket\r\nOrigin: http://h:8080\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: bearer.x, roomring.v1.json\r\n\
     Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits; server_max_window_bits=12\r\n\
     X-Forwarded-For: 203.0.113.9, [2001:db8::1]:80\r\nForwarded: for=192.0.2.1;proto=https\r\n\r\n\x01\x02\x03",
    "GET /ws?room=a&last_received_seq=3&epoch=00000000000000ff HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n\
     Upgrade: WebSocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
     Authorization: Bearer abc\r\n\r\n",
    "GET http://h/health HTTP/1.0\r\n\r\n",
    "POST /account/token HTTP/1.1\r\nHost: h\r\nContent-Length: 30\r\nOrigin: http://h\r\nExpect: 100-continue\r\n\
     Authorization: Bearer abc\r\n\r\n{\"user\":\"a\",\"password\":\"b\"}",
    "OPTIONS /account/register HTTP/1.1\r\nHost: h\r\nOrigin: http://h\r\n\r\n",
    "POST /ws HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
];

pub fn run(input: &[u8]) {
    let whole = parse_head(input);
    // Every end of a short input; of a longer one those where something can change, and a few more.
    let step = if input.len() < 400 { 1 } else { 1 + input.len() / 40 };
    let ends = (0..=input.len())
        .filter(|end| end % step == 0 || *end == input.len() || (*end > 0 && step < 100 && input[end - 1] == b'\n'));
    let decided = ends.map(|end| parse_head(&input[..end])).find(|head| *head != Head::Incomplete);
    match &whole {
        Head::Complete { used, .. } => {
            assert_eq!(parse_head(&input[..*used]), whole, "its own end completes it");
            assert!(decided.as_ref() == Some(&whole), "decided before: {decided:?}");
        }
        Head::Refused { .. } => assert!(matches!(decided, Some(Head::Refused { .. })), "decided before: {decided:?}"),
        Head::Incomplete => assert_eq!(decided, None),
    }
    check(&whole);
}

fn check(head: &Head) {
    match head {
        Head::Incomplete => {}
        Head::Complete { request: HttpRequest::Get { host, .. }, .. } => check_host(host.as_deref()),
        Head::Refused { refusal, .. } | Head::Complete { request: HttpRequest::BadUpgrade { refusal, .. }, .. } => {
            check_refusal(refusal);
        }
        Head::Complete { request: HttpRequest::Upgrade(upgrade), .. } => check_upgrade(upgrade),
        Head::Complete { request: HttpRequest::Account(head), .. } => check_account(head),
    }
}

fn check_refusal(refusal: &HttpRefusal) {
    assert!((400..=505).contains(&refusal.status));
    let answer = refusal_response(refusal, 1_700_000_000_000);
    let text = std::str::from_utf8(&answer).expect("an answer is text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
    assert!(head.starts_with(&format!("HTTP/1.1 {} ", refusal.status)), "{head}");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head} tells {} bytes", body.len());
    assert!(head.contains("\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n"), "{head}");
    assert_eq!(without_content(&answer).len(), answer.len() - body.len());
    let body: serde_json::Value = serde_json::from_str(body).expect("the body is JSON");
    assert_eq!((&body["error"], &body["message"]), (&refusal.error.into(), &refusal.message.as_str().into()));
}

fn check_account(head: &AccountHead) {
    match &head.method {
        AccountMethod::Post { body_bytes: Ok(bytes), .. } => assert!(*bytes <= ACCOUNT_BODY_BYTES_MAX),
        AccountMethod::Post { body_bytes: Err(refusal), .. } => {
            assert!(matches!(refusal.status, 400 | 411 | 413), "{refusal:?}");
            check_refusal(refusal);
        }
        AccountMethod::Options | AccountMethod::Other { .. } => {}
    }
    let headers = AnswerHeaders::readable_by(head.origin.as_deref());
    let forbidden = HttpRefusal::new(403, "forbidden", "no");
    for answer in [
        no_content_response(&headers.clone().allowing_posts().with_methods(), 1_700_000_000_000),
        json_response_with(200, &headers.clone().secret(), "{}", 1_700_000_000_000),
        refusal_response_with(&forbidden, &headers, 1_700_000_000_000),
    ] {
        let text = std::str::from_utf8(&answer).expect("an answer is text");
        let (head, _) = text.split_once("\r\n\r\n").expect("a whole head");
        assert!(!head.replace("\r\n", "").contains(char::is_control), "{head:?}");
        assert_eq!(head.matches("\r\nConnection: close").count(), 1, "{head:?}");
    }
    check_host(head.host.as_deref());
}

/// Bodies of requests about accounts: errors name a field, and quote nothing.
pub fn run_account_body(input: &[u8]) {
    let (path, body) = super::byte_of(input);
    let path = [AccountPath::Register, AccountPath::Token, AccountPath::Password][usize::from(path % 3)];
    let rules = |password: &Password| {
        assert!(
            (1..=PASSWORD_BYTES_MAX).contains(&password.as_str().len()) && format!("{password:?}") == "Password(…)"
        );
    };
    match read_account_body(path, body) {
        Ok(AccountBody::Register { user, password, name }) => {
            check_name(&user).expect("names are checked");
            name.iter().for_each(|name| check_shown_name(name).expect("names are checked"));
            rules(&password);
        }
        Ok(AccountBody::Token { user, password }) => {
            check_name(&user).expect("names are checked");
            rules(&password);
        }
        Ok(AccountBody::Password { password, new_password }) => [password, new_password].iter().for_each(rules),
        Err(sentence) => {
            let names = ["`user` ", "`password` ", "`new_password` ", "`name` ", "the body "];
            assert!(names.iter().any(|name| sentence.starts_with(name)) && sentence.len() < 100, "{sentence}");
        }
    }
}

pub fn account_body_seeds() -> Vec<Vec<u8>> {
    let bodies = [
        r#"{"user":"ann","password":"hunter2","name":"Ann \u00fc"}"#,
        r#" {"password":null,"user":["a"],"more":{"user":1}} "#,
        r#"{"password":"old","new_password":"new","password":"x"}"#,
        r#"["ann","hunter2"]"#,
    ];
    (0..3).flat_map(|path| bodies.map(|body| [&[path], body.as_bytes()].concat())).collect()
}

pub const ACCOUNT_WORDS: &[&[u8]] =
    &[b"\"user\":", b"\"password\":", b"\"new_password\":", b"\"name\":", b"null", b"\\ud800", b"\\n", b"{", b"}"];

fn check_upgrade(upgrade: &Upgrade) {
    for answer in [accept_response(upgrade), accept_deflate_response(upgrade)] {
        let text = std::str::from_utf8(&answer).expect("an answer is text");
        assert!(text.starts_with("HTTP/1.1 101 ") && text.ends_with("\r\n\r\n"), "{text:?}");
        assert_eq!(text.matches("\r\n\r\n").count(), 1, "{text:?}");
        assert!(text.len() < 600 && !text.replace("\r\n", "").contains(char::is_control), "{text:?}");
    }
    upgrade.user.iter().chain(&upgrade.rooms).for_each(|name| check_name(name).expect("names are checked"));
    assert!(upgrade.last_received_seq.is_none() || upgrade.rooms.len() < 2);
    assert!(upgrade.token.as_ref().is_none_or(|token| !token.is_empty()));
    for header in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded] {
        for hop in upgrade.forwarded.hops(header) {
            match hop {
                Ok(address) => {
                    assert!(!address.is_unspecified() && !address.is_multicast(), "{address}");
                    assert_eq!(address.to_canonical(), address, "an IPv4 address never in IPv6's form");
                }
                Err(wrong) => assert!(wrong.contains(header.name()) && wrong.len() < 1_000, "{wrong}"),
            }
        }
    }
    check_host(upgrade.host.as_deref());
    if let Some(origin) = &upgrade.origin {
        let host = upgrade.host.as_deref();
        let any = origin_allowed(origin, host, &["*".to_owned()]);
        let itself = origin_allowed(origin, host, &[origin.clone(), "*.example.com".to_owned()]);
        assert!(any && (itself || !origin_allowed(origin, host, &[])), "patterns only add");
        // What is taken as a pattern matches itself, wherever it is an origin and no pattern for several.
        let is_one = origin.contains("://") && !origin.contains('*');
        if is_one && let Ok(()) = check_origin_pattern(origin) {
            assert!(itself, "{origin:?} was taken and matches not even itself");
        }
    }
}

fn check_host(host: Option<&str>) {
    assert!(host.is_none_or(|host| host_of(host).is_some()), "a host is checked: {host:?}");
}

pub fn seeds() -> Vec<Vec<u8>> {
    let long = format!("GET /ws?user={} HTTP/1.1\r\nHost: {}\r\n", "u".repeat(200), "h".repeat(500));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(101));
    let huge = format!("GET / HTTP/1.1\r\nA: {}\r\n", "b".repeat(16 * 1024));
    HEADS.iter().map(|head| (*head).to_owned()).chain([long, many, huge]).map(String::into_bytes).collect()
}

/// The values of a head that is well formed otherwise: one line of the input for each of the query, the extensions,
/// both forms of addresses, the subprotocols, the origin and the host.
pub fn run_fields(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n').map(|line| {
        // What ends a head's line or its target is the business of the other target.
        let plain = line.iter().map(|byte| if *byte < b' ' || *byte == 0x7f { b'~' } else { *byte });
        plain.collect::<Vec<u8>>()
    });
    let query: Vec<u8> = lines.next().unwrap_or_default().into_iter().filter(u8::is_ascii_graphic).collect();
    let mut head = [b"GET /ws?", &query[..], b" HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"].concat();
    head.extend(b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
    let names = ["Sec-WebSocket-Extensions", "X-Forwarded-For", "Forwarded", "Sec-WebSocket-Protocol", "Origin"];
    for name in names {
        if let Some(value) = lines.next().filter(|value| !value.is_empty()) {
            head.extend([name.as_bytes(), b": ", &value, b"\r\n"].concat());
        }
    }
    head.extend([b"Host: ", &lines.next().unwrap_or_default()[..], b"\r\n\r\n"].concat());
    check(&parse_head(&head));
}

pub fn field_seeds() -> Vec<Vec<u8>> {
    let lines = [
        "user=%C3%BC&room=a&room=b+c&token=x\npermessage-deflate; server_max_window_bits=10, permessage-deflate\n\
         1.2.3.4, 5.6.7.8\nfor=\"[::1]:_x\";by=\"a\\\"b\", for=_hidden, for=\"1\\.2.3.4\"\nroomring.v1.binary\nhttp://a.example.com\na:80",
        "room=a&last_received_seq=9&epoch=0\n\
         foo; bar=\"x\\\"y\", permessage-deflate; client_max_window_bits=\"15\"; server_no_context_takeover\n\
         ::ffff:1.2.3.4\n\nbearer.x, roomring.v1.json\nnull\n[::1]:8080",
        "\n\n\n\n\nhttp://[::1]\n[::1]",
    ];
    lines.iter().map(|lines| lines.as_bytes().to_vec()).collect()
}
