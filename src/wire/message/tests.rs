//! The decoder's memory and its borrowing. The rules of the protocol are tested in `tests/wire_vectors`.

use super::*;
use crate::base::codes::CloseCode;
use crate::base::limits::EMPTY_FRAGMENTS_MAX;
use crate::wire::client::{client_fragment, client_frame};
use crate::wire::frame::Opcode;

const KEY: [u8; 4] = [0x11, 0x22, 0x33, 0x44];
const MAX: usize = 1 << 20;

fn header_of(opcode: Opcode, announced: u64) -> Vec<u8> {
    let mut header = vec![0x80 | opcode as u8, 0x80 | 127];
    header.extend_from_slice(&announced.to_be_bytes());
    header.extend_from_slice(&KEY);
    header
}

#[test]
fn a_whole_message_is_lent_from_the_input() {
    let mut decoder = Decoder::default();
    let mut input = client_frame(Opcode::Text, "grüße".as_bytes(), KEY);
    input.extend(client_frame(Opcode::Ping, b"p", KEY));
    let range = input.as_ptr_range();
    let Ok(Decoded { used, event: Some(Event::Text(text)) }) = decoder.next(&mut input, MAX) else {
        panic!("a text message");
    };
    assert_eq!((used, text), (13, "grüße"));
    assert!(range.contains(&text.as_ptr()), "borrowed from the input");
    assert_eq!(decoder.held_bytes(), 0);
    assert_eq!(decoder.next(&mut input[13..], MAX), Ok(Decoded { used: 7, event: Some(Event::Ping(b"p")) }));
    assert_eq!(decoder.next(&mut [], MAX), Ok(Decoded { used: 0, event: None }));
}

#[test]
fn memory_grows_with_arrived_bytes_and_is_freed_with_the_message() {
    let mut decoder = Decoder::default();
    let max = 64 << 20;
    let mut header = header_of(Opcode::Binary, max as u64);
    assert_eq!(decoder.next(&mut header, max), Ok(Decoded { used: 14, event: None }));
    assert!(decoder.held_bytes() < 512, "an announced length allocates nothing");

    let mut sent = 0;
    while sent < max {
        let mut chunk = vec![0; 100_000.min(max - sent)];
        let length = chunk.len();
        let Decoded { used, event } = decoder.next(&mut chunk, max).expect("legal");
        assert_eq!(used, length);
        sent += used;
        assert_eq!(event.is_some(), sent == max);
        let bound = (2 * sent).min(max) + 512;
        assert!(decoder.held_bytes() <= bound, "{} held of {sent}", decoder.held_bytes());
    }
    assert_eq!(decoder.next(&mut [], max), Ok(Decoded { used: 0, event: None }));
    assert_eq!(decoder.held_bytes(), 0);
}

#[test]
fn tiny_fragments_grow_by_doubling_and_stay_below_the_limit() {
    let mut decoder = Decoder::default();
    let max = 10_000;
    let mut growths = 0;
    let mut held = 0;
    for i in 0..max {
        let opcode = if i == 0 { Opcode::Binary } else { Opcode::Continuation };
        let mut input = client_fragment(opcode, &[i as u8], KEY);
        assert_eq!(decoder.next(&mut input, max), Ok(Decoded { used: 7, event: None }));
        growths += usize::from(decoder.held_bytes() != held);
        held = decoder.held_bytes();
        assert!(held <= max + 512);
    }
    assert!(growths < 20, "{growths} allocations");
    let mut one_more = client_fragment(Opcode::Continuation, b"x", KEY);
    assert_eq!(decoder.next(&mut one_more, max).map_err(|error| error.code), Err(CloseCode::TooBig));
}

#[test]
fn empty_fragments_are_limited() {
    let fragment = |opcode, payload: &[u8]| client_fragment(opcode, payload, KEY);
    let begin = fragment(Opcode::Text, b"ab");
    let end = client_frame(Opcode::Continuation, b"c", KEY);
    let stream = |empty: usize| [&begin[..], &fragment(Opcode::Continuation, b"").repeat(empty), &end].concat();
    let mut decoder = Decoder::default();
    // The limit is per message.
    for _ in 0..2 {
        let mut input = stream(EMPTY_FRAGMENTS_MAX);
        let decoded = decoder.next(&mut input, 10).expect("within the bound");
        assert_eq!(decoded.event, Some(Event::Text("abc")));
    }
    let mut input = stream(EMPTY_FRAGMENTS_MAX + 2);
    assert_eq!(decoder.next(&mut input, 10).map_err(|error| error.code), Err(CloseCode::TooBig));
}

#[test]
fn a_control_frame_between_fragments_leaves_the_message_alone() {
    let mut decoder = Decoder::default();
    let mut first = client_fragment(Opcode::Text, "ü".as_bytes().split_at(1).0, KEY);
    assert_eq!(decoder.next(&mut first, MAX), Ok(Decoded { used: 7, event: None }));
    let held = decoder.held_bytes();
    for byte in client_frame(Opcode::Ping, b"between", KEY) {
        if let Some(event) = decoder.next(&mut [byte], MAX).expect("legal").event {
            assert_eq!(event, Event::Ping(b"between"));
        }
    }
    assert_eq!(decoder.next(&mut [], MAX), Ok(Decoded { used: 0, event: None }));
    assert_eq!(decoder.held_bytes(), held);
    let mut last = client_frame(Opcode::Continuation, "ü".as_bytes().split_at(1).1, KEY);
    assert_eq!(decoder.next(&mut last, MAX), Ok(Decoded { used: 7, event: Some(Event::Text("ü")) }));
}
