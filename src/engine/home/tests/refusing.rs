//! `refuse=close`: refusals that a page in a browser can see.

use super::tokens::strange_token;
use super::*;
use crate::engine::access::{Expected, Keys, Material, Renewal};
use crate::engine::hosts::AllowedHosts;
use crate::engine::rates::Rate;
use crate::engine::settings::Limits;
use crate::wire::frame::close_frame;

/// What an upgrade with these fields is answered, at a path with this query.
fn ask(one: &mut One, slot: u32, query: &str, fields: &str) -> Vec<u8> {
    one.handle(accepted(slot));
    one.receive(slot, HEAD.replace("user=ann", query).replace("\r\n\r\n", &format!("\r\n{fields}\r\n")).as_bytes());
    said(one)
}

fn said(one: &mut One) -> Vec<u8> {
    one.turn().iter().flat_map(|send| send.bytes.to_vec()).collect()
}

/// Asserts an upgrade that is closed at once; gives the code, the reason and what comes before the close frame.
fn closed(said: &[u8]) -> (u16, String, String) {
    let end = said.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
    assert!(said.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(said));
    let frames = &said[end..];
    let at = (0..frames.len())
        .find(|at| frames[*at] == 0x88 && frames.len() - at == 2 + usize::from(frames[at + 1]))
        .expect("a close frame is the last");
    let close = &frames[at + 2..];
    let reason = String::from_utf8(close[2..].to_vec()).expect("a reason is text");
    (u16::from_be_bytes([close[0], close[1]]), reason, String::from_utf8_lossy(&frames[..at]).into_owned())
}

/// Asserts that nothing is left of a refused upgrade, and that it was never a connection.
fn assert_no_connection(one: &mut One, slot: u32) {
    assert!(one.output.shutdowns.contains(&slot), "ended as soon as all is sent");
    assert!(one.output.ended.is_empty(), "{:?}", one.output.ended);
    one.receive(slot, &client_frame(Opcode::Text, br#"{"type":"join","room":"a","id":1}"#, [1, 2, 3, 4]));
    assert!(one.turn().is_empty(), "it hears nothing any more");
    one.handle(Input::Disconnected { slot });
    assert_eq!((one.counters.upgrading.get(), one.engine.budget.used()), (0, 0));
}

#[test]
fn without_it_refusals_are_http() {
    let mut one = One::with(Settings { cores: 1, max_connections: 0, ..Settings::for_tests() });
    assert!(ask(&mut one, 0, "user=ann", "").starts_with(b"HTTP/1.1 503 "));
    // A malformed upgrade cannot be opened.
    assert!(ask(&mut one, 1, "refuse=close", "Origin: a\r\nOrigin: b\r\n").starts_with(b"HTTP/1.1 400 "));
    assert!(ask(&mut one, 2, "refuse=close&user=%00", "").starts_with(b"HTTP/1.1 400 "));
}

#[test]
fn a_forbidden_origin_or_host_is_4403() {
    let mut one = One::new();
    let (code, reason, before) = closed(&ask(&mut one, 0, "refuse=close&room=a", "Origin: http://evil.example\r\n"));
    assert_eq!((code, before.as_str()), (4403, ""));
    assert!(reason.contains("origin"), "{reason}");
    assert_eq!((one.counters.refused.get(), one.counters.connections.get(), one.counters.members.get()), (1, 0, 0));
    assert_no_connection(&mut one, 0);
    let allowed_hosts = AllowedHosts::new(&[]);
    let mut one = One::with(Settings { cores: 1, allowed_hosts, ..Settings::for_tests() });
    let (code, reason, _) = closed(&ask(&mut one, 0, "refuse=close", ""));
    assert!(code == 4403 && reason.len() <= 123 && reason.contains("server.allowed_hosts"), "{reason}");
    assert_no_connection(&mut one, 0);
}

#[test]
fn a_missing_or_wrong_token_is_4401() {
    let mut one = One::new();
    let keys = Keys::new(Material::from_secret("secret"), Expected::default(), Renewal::None);
    one.handle(Input::Keys(Arc::new(keys)));
    for query in ["refuse=close", "refuse=close&token=nonsense"] {
        let (code, reason, before) = closed(&ask(&mut one, 0, query, ""));
        assert!(code == 4401 && reason.contains("token") && before.is_empty(), "{reason}");
        one.handle(Input::Disconnected { slot: 0 });
    }
    assert_eq!(one.counters.closed_token.get(), 0, "no connection was closed");
}

#[test]
fn an_upgrade_that_has_waited_for_keys_is_refused_the_same_way() {
    let query = format!("refuse=close&token={}", strange_token());
    for (renewal, expected) in [(Renewal::Renewed, 4401), (Renewal::Awaited, 1013)] {
        let mut one = One::new();
        let keys = || Arc::new(Keys::new(Material::from_secret("secret"), Expected::default(), renewal));
        one.handle(Input::Keys(keys()));
        assert!(ask(&mut one, 0, &query, "").is_empty(), "it waits");
        one.receive(0, &client_frame(Opcode::Text, br#"{"type":"join","room":"a","id":1}"#, [1, 2, 3, 4]));
        one.handle(Input::Keys(keys()));
        let (code, _, before) = closed(&said(&mut one));
        assert_eq!((code, before.contains("reconnect")), (expected, expected == 1013), "{before}");
        assert_no_connection(&mut one, 0);
    }
}

/// The `after_ms` of a `reconnect`.
fn after_ms(before: &str, reason: &str) -> u64 {
    assert!(before.contains(&format!(r#""reason":"{reason}""#)), "{before}");
    let (_, number) = before.split_once(r#""after_ms":"#).expect("it says when");
    number.split_once([',', '}']).expect("an object").0.parse().expect("a number")
}

#[test]
fn limits_are_4429_and_say_when() {
    let limits = Limits { connections_per_user: 1, connect_rate: Rate::new(1, 10_000), ..Limits::default() };
    let mut one = One::with(Settings { cores: 1, limits, ..Settings::for_tests() });
    assert!(ask(&mut one, 0, "user=ann", "").starts_with(b"HTTP/1.1 101 "));
    let (code, reason, before) = closed(&ask(&mut one, 1, "user=ann&refuse=close", ""));
    assert!(code == 4429 && reason.contains("connections"), "{reason}");
    assert!((1_000..2_000).contains(&after_ms(&before, "limit_exceeded")), "{before}");
    let (code, _, before) =
        closed(&ask(&mut one, 2, "user=bob&refuse=close", "Sec-WebSocket-Protocol: roomring.v1.binary\r\n"));
    assert_eq!(code, 4429);
    assert!(before.contains("\0\0\0{\"type\":\"reconnect\""), "the push in its binary form: {before:?}");
    assert!((10_000..20_000).contains(&after_ms(&before, "rate_limited")), "{before}");
    assert_eq!(one.counters.connections.get(), 1);
    assert_eq!((one.counters.refused_limit.get(), one.counters.refused.get()), (2, 2));
    // Refused upgrades are not counted: the user's place is free when the first connection ends.
    for slot in 0..3 {
        one.handle(Input::Disconnected { slot });
    }
    one.pass(20_000);
    assert!(ask(&mut one, 0, "user=ann&refuse=close", "").starts_with(b"HTTP/1.1 101 "));
    assert_eq!(one.counters.connections.get(), 1);
}

#[test]
fn an_address_that_has_opened_too_many_sockets_is_4429() {
    let limits = Limits { connect_rate_per_ip: Rate::new(1, 3_000), ..Limits::default() };
    let mut one = One::with(Settings { cores: 1, limits, ..Settings::for_tests() });
    // As many sockets as its rate allows, which ask for nothing.
    (0..8).for_each(|slot| one.handle(accepted(slot)));
    let (code, reason, before) = closed(&ask(&mut one, 8, "refuse=close", ""));
    assert!(code == 4429 && reason.contains("address"), "{reason}");
    assert!((1_000..2_000).contains(&after_ms(&before, "rate_limited")), "{before}");
}

#[test]
fn a_full_server_is_1013_and_one_that_drains_1012() {
    let mut one = One::with(Settings { cores: 1, max_connections: 1, ..Settings::for_tests() });
    ask(&mut one, 0, "user=ann", "");
    let (code, reason, before) = closed(&ask(&mut one, 1, "refuse=close", ""));
    assert_eq!((code, reason.as_str()), (1013, "the server is at capacity"));
    let first = after_ms(&before, "overloaded");
    assert!((5_000..10_000).contains(&first), "{before}");
    let others: Vec<u64> =
        (2..6).map(|slot| after_ms(&closed(&ask(&mut one, slot, "refuse=close", "")).2, "overloaded")).collect();
    assert!(others.iter().any(|other| *other != first), "reconnects are spread: {others:?}");
    one.handle(Input::Drain { window_ms: 1_000, hands_over: false });
    let (code, reason, before) = closed(&ask(&mut one, 6, "refuse=close", ""));
    assert_eq!((code, reason.as_str()), (1012, "the server is draining"));
    assert!((1_000..2_000).contains(&after_ms(&before, "draining")), "{before}");
    assert_eq!(one.counters.connections.get(), 1);
}

#[test]
fn at_the_echo_path_there_are_no_pushes() {
    let mut one =
        One::with(Settings { cores: 1, max_connections: 0, echo_path: "/echo".into(), ..Settings::for_tests() });
    one.handle(accepted(0));
    one.receive(0, HEAD.replace("/ws?user=ann", "/echo?refuse=close").as_bytes());
    let said = said(&mut one);
    assert!(said.ends_with(&close_frame(1013, "the server is at capacity")));
    assert_eq!(closed(&said).2, "");
}

#[test]
fn such_sockets_are_bounded_like_all_that_are_no_websocket() {
    let mut one = One::with(Settings { cores: 1, max_connections: 0, sockets_max: u32::MAX, ..Settings::for_tests() });
    for slot in 0..HALF_OPEN_MAX {
        closed(&ask(&mut one, slot, "refuse=close", ""));
    }
    assert!(one.output.closes.is_empty());
    one.handle(accepted(HALF_OPEN_MAX));
    assert_eq!(one.output.closes, [0], "the first that was told to go makes way");
    one.pass(CLOSE_TIMEOUT_MS + TICK_MS);
    assert_eq!(one.output.closes.len(), HALF_OPEN_MAX as usize, "none stays");
}
