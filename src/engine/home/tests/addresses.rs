//! The client behind a trusted proxy, and the hosts by which clients may request this server.

use super::*;
use crate::engine::hosts::AllowedHosts;
use crate::engine::trusted::Trusted;
use crate::wire::handshake::ForwardedHeader;

/// The proxy at the other end of every socket here is trusted.
fn behind_proxy(forwarded_header: ForwardedHeader) -> One {
    let trusted_proxies = Trusted::new(&["192.0.2.0/24".parse().expect("a network")]);
    One::with(Settings { cores: 1, trusted_proxies, forwarded_header, ..Settings::for_tests() })
}

/// The answer to an upgrade with these fields, and who its client is taken for.
fn answer(one: &mut One, fields: &str) -> (String, IpAddr) {
    one.handle(accepted(0));
    one.receive(0, HEAD.replace("\r\n\r\n", &format!("\r\n{fields}\r\n")).as_bytes());
    let client = one.engine.home.address(0);
    let said = one.turn().iter().map(|send| String::from_utf8_lossy(&send.bytes).into_owned()).collect();
    one.handle(Input::Disconnected { slot: 0 });
    (said, client)
}

#[test]
fn the_header_that_counts_names_the_client_and_the_other_is_ignored() {
    let both = "X-Forwarded-For: 203.0.113.9\r\nForwarded: for=198.51.100.1\r\n";
    for (header, client) in
        [(ForwardedHeader::XForwardedFor, [203, 0, 113, 9]), (ForwardedHeader::Forwarded, [198, 51, 100, 1])]
    {
        let (said, found) = answer(&mut behind_proxy(header), both);
        assert!(said.starts_with("HTTP/1.1 101 "), "{said}");
        assert_eq!(found, IpAddr::from(client));
    }
    let hidden = "X-Forwarded-For: \", 203.0.113.9\r\n";
    assert_eq!(answer(&mut behind_proxy(ForwardedHeader::XForwardedFor), hidden).1, IpAddr::from([203, 0, 113, 9]));
    let nonsense_in_the_other = "X-Forwarded-For: nonsense\r\nForwarded: for=\"203.0.113.9:_x\"\r\n";
    let (said, found) = answer(&mut behind_proxy(ForwardedHeader::Forwarded), nonsense_in_the_other);
    assert!(said.starts_with("HTTP/1.1 101 ") && found == IpAddr::from([203, 0, 113, 9]), "{said}");
}

#[test]
fn nonsense_of_a_trusted_proxy_is_400_and_silence_its_own() {
    for (header, fields) in [
        (ForwardedHeader::XForwardedFor, "X-Forwarded-For: unknown\r\n"),
        (ForwardedHeader::XForwardedFor, "X-Forwarded-For: 203.0.113.9, \"\r\n"),
        (ForwardedHeader::XForwardedFor, "X-Forwarded-For: nonsense, 192.0.2.7\r\n"),
        (ForwardedHeader::Forwarded, "Forwarded: for=_hidden\r\n"),
        (ForwardedHeader::Forwarded, "Forwarded: for=\"unknown:80\"\r\n"),
        (ForwardedHeader::Forwarded, "Forwarded: for=\"x, for=203.0.113.9\r\n"),
        (ForwardedHeader::Forwarded, "Forwarded: proto=https\r\n"),
    ] {
        let mut one = behind_proxy(header);
        let (said, _) = answer(&mut one, fields);
        assert!(said.starts_with("HTTP/1.1 400 ") && said.contains(header.name()), "{fields}: {said}");
        assert!(said.contains("server.trusted_proxies"), "{said}");
        assert_eq!(one.counters.connections.get(), 0);
    }
    for fields in ["", "X-Forwarded-For: \r\n", "Forwarded: for=203.0.113.9\r\n"] {
        let (said, found) = answer(&mut behind_proxy(ForwardedHeader::XForwardedFor), fields);
        assert!(said.starts_with("HTTP/1.1 101 ") && found == IpAddr::from([192, 0, 2, 1]), "{fields}: {said}");
    }
    let (said, found) = answer(&mut One::new(), "X-Forwarded-For: nonsense\r\n");
    assert!(said.starts_with("HTTP/1.1 101 ") && found == IpAddr::from([192, 0, 2, 1]), "a stranger's word: {said}");
    let (said, found) =
        answer(&mut behind_proxy(ForwardedHeader::XForwardedFor), "X-Forwarded-For: nonsense, 203.0.113.9\r\n");
    assert!(said.starts_with("HTTP/1.1 101 ") && found == IpAddr::from([203, 0, 113, 9]), "{said}");
}

#[test]
fn a_host_that_is_not_this_servers_is_refused_whatever_the_origin() {
    let allowed_hosts = AllowedHosts::new(&["chat.example".to_owned()]).listening_on([IpAddr::from([127, 0, 0, 1])]);
    let mut one = One::with(Settings { cores: 1, allowed_hosts, ..Settings::for_tests() });
    let mut status = |head: &str| {
        one.handle(accepted(0));
        one.receive(0, head.as_bytes());
        let said: String = one.turn().iter().map(|send| String::from_utf8_lossy(&send.bytes).into_owned()).collect();
        one.handle(Input::Disconnected { slot: 0 });
        said
    };
    for host in ["localhost:8080", "127.0.0.1", "chat.example", "chat.example:443"] {
        let own = HEAD.replace("Host: a", &format!("Host: {host}\r\nOrigin: http://{host}"));
        assert!(status(&own.replace(":443", ":80")).starts_with("HTTP/1.1 101 "), "{host}");
        assert!(
            status(&format!("GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n")).starts_with("HTTP/1.1 200 "),
            "{host}"
        );
    }
    for head in [
        HEAD.replace("Host: a", "Host: evil.example\r\nOrigin: http://evil.example"),
        HEAD.replace("Host: a", "Host: evil.example"),
        HEAD.replace("GET /ws", "GET http://evil.example/ws").replace("Host: a", "Host: localhost"),
        "GET /health HTTP/1.1\r\nHost: evil.example:8080\r\n\r\n".to_owned(),
        "GET /nowhere HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(),
    ] {
        let said = status(&head);
        let names_it = said.contains("evil.example") && said.contains("server.allowed_hosts");
        assert!(said.starts_with("HTTP/1.1 403 ") && said.contains("\"forbidden\"") && names_it, "{head}: {said}");
    }
    assert!(status("GET /health HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 "), "who names no host is no browser");
}

#[test]
fn head_is_answered_without_content() {
    let mut one = One::new();
    for (slot, (path, status)) in
        [("/health", "200 OK"), ("/nowhere", "404 Not Found"), ("/ws", "426 Upgrade Required")].into_iter().enumerate()
    {
        let mut said = Vec::new();
        for (slot, method) in [(slot as u32 * 2, "GET"), (slot as u32 * 2 + 1, "HEAD")] {
            one.handle(accepted(slot));
            one.receive(slot, format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
            said.push(one.turn().iter().flat_map(|send| send.bytes.to_vec()).collect::<Vec<u8>>());
        }
        let whole = String::from_utf8(said.remove(0)).expect("text");
        let (head, content) = whole.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n")), "{head}");
        assert!(!content.is_empty());
        assert_eq!(String::from_utf8_lossy(&said[0]), format!("{head}\r\n\r\n"));
    }
    assert_eq!((one.counters.upgrading.get(), one.counters.refused.get()), (0, 4));
}
