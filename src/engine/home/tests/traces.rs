//! Sampled publishes on one core: the spans of each, and none where nothing is sampled.

use super::*;
use crate::engine::trace::{Span, Stage};

const PUBLISH: &[u8] = br#"{"type":"publish","room":"news","data":"hello"}"#;

/// Three members of a room, the first of whom publishes once.
fn publish_once(trace_sample: u64) -> One {
    let mut one = One::with(Settings { cores: 1, trace_sample, ..Settings::for_tests() });
    for slot in 0..3 {
        one.handle(accepted(slot));
        one.receive(slot, HEAD.replace("user=ann", "user=ann&room=news").as_bytes());
    }
    one.turn();
    assert!(one.output.spans.is_empty(), "only publishes are traced");
    one.pass(500);
    one.receive(0, &client_frame(Opcode::Text, PUBLISH, [1, 2, 3, 4]));
    one.now.mono_us += 40;
    one.turn();
    one
}

#[test]
fn a_sampled_publish_is_told_from_its_arrival_to_its_flush() {
    let one = publish_once(u64::MAX);
    let [received, numbered, flushed] = &one.output.spans[..] else { panic!("{:?}", one.output.spans) };
    let arrived_us = one.now.mono_us - 40;
    for span in [received, numbered, flushed] {
        assert_eq!((span.arrived_us, span.began_us, &*span.room), (arrived_us, arrived_us, "news"));
        assert_eq!(span.trace_id(), received.trace_id());
    }
    assert!(matches!(&received.stage, Stage::Received { user, bytes: 7, .. } if **user == *"ann"), "{received:?}");
    assert_eq!(numbered.stage, Stage::Numbered { seq: 1, listeners: 1 });
    assert_eq!(flushed.stage, Stage::Flushed { seq: 1, deliveries: 3 });
    let ended: Vec<u64> = [received, numbered, flushed].map(|span: &Span| span.ended_us - arrived_us).into();
    assert_eq!(ended, [40, 0, 40], "what waits for the turn ends with it");
    let parents = [received, numbered, flushed].map(Span::parent_id);
    assert_eq!(parents, [None, Some(received.id()), Some(numbered.id())]);
}

#[test]
fn nothing_is_told_where_nothing_is_sampled() {
    assert!(publish_once(0).output.spans.is_empty());
}

#[test]
fn a_publish_that_is_refused_at_home_starts_no_trace() {
    let mut one = One::with(Settings { cores: 1, trace_sample: u64::MAX, ..Settings::for_tests() });
    one.handle(accepted(0));
    one.receive(0, HEAD.as_bytes());
    one.receive(0, &client_frame(Opcode::Text, PUBLISH, [1, 2, 3, 4]));
    one.turn();
    assert!(one.output.spans.is_empty());
}
