//! How many sends a connection takes to open: each is a call of the kernel, and a storm of connects pays for all of them.

use super::limits::Two;
use super::*;
use crate::engine::placement::owner_of;
use crate::engine::rates::Rate;
use crate::engine::settings::Limits;

fn head(query: &str) -> Vec<u8> {
    HEAD.replace("user=ann", query).into_bytes()
}

#[test]
fn a_connection_whose_rooms_are_on_its_core_opens_in_one_send() {
    let limited = Limits {
        connections_per_ip: 5,
        connections_per_user: 5,
        connect_rate: Rate::new(5, 1_000),
        ..Limits::default()
    };
    for limits in [Limits::default(), limited] {
        for (query, joined) in [("user=ann", 0), ("user=ann&room=a", 1), ("user=ann&room=a&room=b&room=c", 3)] {
            let mut one = One::with(Settings { cores: 1, limits: limits.clone(), ..Settings::for_tests() });
            one.handle(accepted(0));
            one.receive(0, &head(query));
            let sends = one.turn();
            assert_eq!(sends.len(), 1, "{query}: {sends:?}");
            assert!(one.turn().is_empty(), "{query}: nothing follows");
            let text = String::from_utf8_lossy(&sends[0].bytes);
            assert!(text.starts_with("HTTP/1.1 101 ") && text.contains(r#""type":"welcome""#), "{query}: {text}");
            assert_eq!(text.matches(r#""type":"joined""#).count(), joined, "{query}: {text}");
        }
    }
}

#[test]
fn a_connection_does_not_wait_for_rooms_of_another_core_to_open() {
    let mut rooms = (0..).map(|number| format!("room-{number}"));
    let away = rooms.find(|room| owner_of(room, 2) == CoreId(1)).expect("one hashes there");
    let mut two = Two::new(Limits::default());
    let mut output = Output::default();
    two.engines[0].handle(two.now, accepted(0), &mut output);
    let mut bytes = head(&format!("user=ann&room={away}"));
    two.engines[0].handle(two.now, Input::Received { slot: 0, bytes: &mut bytes }, &mut output);
    two.engines[0].finish_turn(two.now, &mut output);
    let text = String::from_utf8_lossy(&output.sends[0].bytes).into_owned();
    assert!(text.starts_with("HTTP/1.1 101 ") && text.contains(r#""type":"welcome""#), "{text}");
    output.sends.clear();
    two.engines[0].handle(two.now, Input::Sent { slot: 0 }, &mut output);
    let rest = two.carry(0, output);
    assert_eq!(rest.matches(r#""type":"joined""#).count(), 1, "{rest}");
}
