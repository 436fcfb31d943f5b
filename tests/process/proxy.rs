//! Client addresses: the address of the socket, or the one told by a trusted proxy (PROXY protocol, X-Forwarded-For,
//! Forwarded), and no other. Checked in the log, which has the address.

use std::io::Write;
use std::net::TcpStream;

use crate::client::Client;
use crate::http;
use crate::server::{Server, eventually};

/// A server that logs whatever ends, and trusts `networks`.
fn start(networks: &str, proxy_protocol: bool) -> Server {
    let (trusted, protocol) =
        (format!("server.trusted_proxies={networks}"), format!("server.proxy_protocol={proxy_protocol}"));
    Server::start(&[&trusted, &protocol, "log.format=text", "log.level=debug"])
}

/// Opens a WebSocket behind `preface`, sent in pieces, with header fields `more`, ends it, and waits for the line that
/// says who it was.
fn address_of(server: &Server, mut stream: TcpStream, user: &str, preface: &[u8], more: &str) -> String {
    let head = http::upgrade_head(server.listen, &format!("/ws?user={user}"), more);
    stream.set_nodelay(true).expect("delays can be turned off");
    for piece in [preface, head.as_bytes()].concat().chunks(11) {
        stream.write_all(piece).expect("the server reads");
    }
    let answer = http::read_head(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    drop(stream);
    let log = || server.stderr.get();
    let line = eventually("its end is logged", || {
        log().lines().find(|line| line.contains(&format!("user={user} "))).map(str::to_owned)
    });
    let address = line.split_whitespace().find_map(|word| word.strip_prefix("address="));
    address.unwrap_or_else(|| panic!("the line has an address: {line}")).to_owned()
}

const V1: &[u8] = b"PROXY TCP4 203.0.113.9 10.0.0.1 4660 80\r\n";

fn v2(command: u8) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, 0x21, 0, 39]);
    header.extend("2001:db8::9".parse::<std::net::Ipv6Addr>().expect("an address").octets());
    header.extend([0; 16]);
    header.extend([0x12, 0x34, 0, 80, 0x04, 0, 0]);
    header
}

#[test]
fn a_trusted_proxys_header_names_the_client() {
    let server = start("127.0.0.1", true);
    let address = |user: &str, last: u8, preface: &[u8]| address_of(&server, server.open_from(last), user, preface, "");
    assert_eq!(address("ann", 1, V1), "203.0.113.9");
    assert_eq!(address("bob", 1, &v2(0x21)), "2001:db8::9");
    assert_eq!(address("cid", 1, &v2(0x20)), "127.0.0.1", "LOCAL is the proxy itself");
    assert_eq!(address("dan", 1, b"PROXY UNKNOWN\r\n"), "127.0.0.1");
    assert_eq!(address("eve", 2, b""), "127.0.0.2", "others are plain clients");
    server.wait_until_empty();
}

#[test]
fn a_header_is_demanded_of_proxies_and_refused_of_others() {
    let server = start("127.0.0.1", true);
    for garbage in [b"GET /ws HTTP/1.1\r\n\r\n".as_slice(), b"PROXY TCP4 ::1 ::1 1 1\r\n", b"\r\n\r\n\0\r\nQUIT\n\x11"]
    {
        let mut stream = server.open_from(1);
        stream.write_all(garbage).expect("the server reads");
        assert_eq!(http::read_to_end(&mut stream), b"", "closed without a word");
    }
    assert_eq!(server.metric("roomring_refused_preface_total", ""), 3.0);
    let mut stream = server.open_from(2);
    stream.write_all(V1).expect("the server reads");
    let answer = http::parse(&http::read_to_end(&mut stream));
    assert_eq!(answer.status, 400, "{answer:?}");
    let mut healthy = server.open_from(1);
    healthy.write_all(&[V1, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat()).expect("the server reads");
    assert_eq!(http::parse(&http::read_to_end(&mut healthy)).status, 200);
    server.wait_until_empty();
}

#[test]
fn forwarded_addresses_are_believed_of_proxies_alone() {
    let server = start("127.0.0.1,127.0.1.0/24", false);
    let address = |user: &str, last: u8, more: &str| address_of(&server, server.open_from(last), user, b"", more);
    assert_eq!(address("ann", 1, "X-Forwarded-For: 198.51.100.1, 203.0.113.9\r\n"), "203.0.113.9");
    assert_eq!(address("bob", 1, "X-Forwarded-For: 203.0.113.9, 127.0.1.7\r\n"), "203.0.113.9", "two proxies");
    assert_eq!(address("dan", 1, "X-Forwarded-For: \", 203.0.113.9\r\n"), "203.0.113.9", "a quote is a character");
    assert_eq!(address("eve", 2, "X-Forwarded-For: 203.0.113.9\r\n"), "127.0.0.2", "a stranger's word");
    assert_eq!(address("fay", 1, "X-Forwarded-For: 203.0.113.9\r\nForwarded: for=198.51.100.1\r\n"), "203.0.113.9");
    assert_eq!(address("gus", 1, "Forwarded: for=198.51.100.1\r\n"), "127.0.0.1", "that header does not count here");
    assert_eq!(address("hal", 1, ""), "127.0.0.1", "a proxy that checks the server's health");
    server.wait_until_empty();
}

#[test]
fn the_standard_header_counts_where_it_is_configured() {
    let settings =
        ["server.trusted_proxies=127.0.0.1", "server.forwarded_header=Forwarded", "log.format=text", "log.level=debug"];
    let server = Server::start(&settings);
    let address = |user: &str, more: &str| address_of(&server, server.open_from(1), user, b"", more);
    assert_eq!(address("ann", "Forwarded: for=\"[2001:db8::9]:80\";proto=https\r\n"), "2001:db8::9");
    assert_eq!(address("bob", "Forwarded: for=_x, for=\"203.0.113.9:_secret\";by=\"a\\\",b\"\r\n"), "203.0.113.9");
    assert_eq!(address("cid", "Forwarded: for=198.51.100.1\r\nForwarded: for=203.0.113.9\r\n"), "203.0.113.9");
    assert_eq!(address("dan", "X-Forwarded-For: 198.51.100.1\r\nForwarded: for=203.0.113.9\r\n"), "203.0.113.9");
    assert_eq!(address("eve", "X-Forwarded-For: 198.51.100.1\r\n"), "127.0.0.1", "that header does not count here");
    server.wait_until_empty();
}

#[test]
fn nonsense_of_a_trusted_proxy_lets_nobody_in_under_its_address() {
    for (header, fields) in [
        ("X-Forwarded-For", &["X-Forwarded-For: 203.0.113.9, nonsense\r\n", "X-Forwarded-For: unknown\r\n"][..]),
        (
            "Forwarded",
            &["Forwarded: for=unknown\r\n", "Forwarded: for=\"x, for=203.0.113.9\r\n", "Forwarded: proto=https\r\n"],
        ),
    ] {
        let server = Server::start(&["server.trusted_proxies=127.0.0.1", &format!("server.forwarded_header={header}")]);
        for field in fields {
            let head = http::upgrade_head(server.listen, "/ws", field);
            let answer = http::exchange(server.listen, head.as_bytes());
            assert_eq!((answer.status, &answer.json()["error"]), (400, &"bad_request".into()), "{field}: {answer:?}");
            let message = answer.json()["message"].to_string();
            assert!(message.contains(header) && message.contains("server.trusted_proxies"), "{message}");
        }
        let mut stranger = server.open_from(2);
        stranger.write_all(http::upgrade_head(server.listen, "/ws", fields[0]).as_bytes()).expect("the server reads");
        assert!(http::read_head(&mut stranger).starts_with("HTTP/1.1 101 "), "of a stranger nothing is read");
    }
}

#[test]
fn refusals_are_logged_once_a_minute_for_each_address_and_cause() {
    let server = start("127.0.0.1", false);
    let refuse = |path: &str, client: &str| {
        let more = format!("X-Forwarded-For: {client}\r\nOrigin: http://elsewhere.example\r\n");
        http::exchange(server.listen, http::upgrade_head(server.listen, path, &more).as_bytes()).status
    };
    for _ in 0..5 {
        assert_eq!(refuse("/ws", "203.0.113.9"), 403);
        assert_eq!(refuse("/ws", "203.0.113.10"), 403);
        assert_eq!(refuse("/nowhere", "203.0.113.9"), 404);
    }
    // Ends after them, and is logged after them.
    Client::connect(&server, "last").close();
    eventually("the last line is there", || server.stderr.get().contains("user=last ").then_some(()));
    let log = server.stderr.get();
    let lines = |address: &str, status: &str| {
        let fits = |line: &&str| line.contains("request refused") && line.contains(address) && line.contains(status);
        log.lines().filter(fits).count()
    };
    assert_eq!(lines("address=203.0.113.9 ", "status=403"), 1, "{log}");
    assert_eq!(lines("address=203.0.113.10 ", "status=403"), 1, "{log}");
    // At a path that is not served nobody is believed: the line names the proxy.
    assert_eq!(lines("address=127.0.0.1 ", "status=404"), 1, "{log}");
}
