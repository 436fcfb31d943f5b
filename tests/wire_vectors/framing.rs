//! The examples of RFC 6455 section 5.7, and every rule of framing, tested with the first byte that violates it.

use roomring::base::codes::CloseCode;
use roomring::wire::client::{client_fragment, client_frame};
use roomring::wire::frame::{Opcode, close_frame, server_frame};

use crate::support::{Owned, decode_bytewise, decode_whole};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const MAX: usize = 100_000;

fn text(text: &str) -> Owned {
    Owned::Text(text.to_owned())
}

/// Checks that the stream decodes to these events, whole and byte by byte, and leaves nothing behind.
fn gives(stream: &[u8], events: &[Owned]) {
    for outcome in [decode_whole(stream, MAX), decode_bytewise(stream, MAX).0] {
        assert_eq!(outcome.events, events);
        assert_eq!((outcome.error, outcome.holds), (None, false));
    }
}

/// Checks that the stream is refused with `code` at the byte numbered `at` (from 1).
#[track_caller]
fn refused_at(stream: &[u8], code: CloseCode, at: usize) {
    assert_eq!(decode_whole(stream, MAX).error, Some(code), "{stream:02x?}");
    let (outcome, taken) = decode_bytewise(stream, MAX);
    assert_eq!((outcome.error, taken), (Some(code), at), "{stream:02x?}");
}

#[test]
fn the_rfc_examples_decode() {
    gives(&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58], &[text("Hello")]);
    gives(&[0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58], &[Owned::Pong(b"Hello".to_vec())]);
    gives(
        &[client_fragment(Opcode::Text, b"Hel", KEY), client_frame(Opcode::Continuation, b"lo", KEY)].concat(),
        &[text("Hello")],
    );
    for length in [256, 65_536] {
        let bytes = vec![0xaa; length];
        gives(&client_frame(Opcode::Binary, &bytes, KEY), &[Owned::Binary(bytes.clone())]);
    }
}

#[test]
fn the_rfc_examples_encode() {
    assert_eq!(&server_frame(Opcode::Text, b"Hello")[..], [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    assert_eq!(&server_frame(Opcode::Ping, b"Hello")[..], [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    assert_eq!(server_frame(Opcode::Binary, &[0; 256])[..4], [0x82, 0x7e, 0x01, 0x00]);
    assert_eq!(server_frame(Opcode::Binary, &[0; 65_536])[..10], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
    assert_eq!(&close_frame(1002, "no")[..], [0x88, 0x04, 0x03, 0xea, b'n', b'o']);
}

#[test]
fn lengths_at_every_boundary() {
    for length in [0, 1, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536, 65_537] {
        let bytes: Vec<u8> = (0..length).map(|i| i as u8).collect();
        let stream = client_frame(Opcode::Binary, &bytes, KEY);
        let outcome = decode_whole(&stream, MAX);
        assert_eq!((outcome.events, outcome.error), (vec![Owned::Binary(bytes)], None), "{length}");
    }
}

#[test]
fn reserved_bits_and_opcodes_show_in_the_first_byte() {
    for first in [0xc1, 0xa1, 0x91, 0xf1, 0xc9] {
        refused_at(&[first, 0x80, 1, 2, 3, 4], CloseCode::Protocol, 1);
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        refused_at(&[0x80 | opcode, 0x80, 1, 2, 3, 4], CloseCode::Protocol, 1);
        refused_at(&[opcode, 0x80, 1, 2, 3, 4], CloseCode::Protocol, 1);
    }
}

#[test]
fn frames_must_be_masked() {
    for opcode in [Opcode::Text, Opcode::Binary, Opcode::Ping, Opcode::Close] {
        refused_at(&server_frame(opcode, b""), CloseCode::Protocol, 2);
    }
}

#[test]
fn control_frames_are_short_and_whole() {
    for opcode in [Opcode::Ping, Opcode::Pong] {
        gives(
            &client_frame(opcode, &[b'x'; 125], KEY),
            &[match opcode {
                Opcode::Ping => Owned::Ping(vec![b'x'; 125]),
                _ => Owned::Pong(vec![b'x'; 125]),
            }],
        );
        refused_at(&client_frame(opcode, &[b'x'; 126], KEY), CloseCode::Protocol, 2);
        refused_at(&client_frame(opcode, &[b'x'; 70_000], KEY), CloseCode::Protocol, 2);
        refused_at(&client_fragment(opcode, b"x", KEY), CloseCode::Protocol, 1);
    }
    refused_at(&client_fragment(Opcode::Close, b"", KEY), CloseCode::Protocol, 1);
}

#[test]
fn fragments_follow_their_message() {
    gives(
        &[
            client_fragment(Opcode::Text, b"", KEY),
            client_fragment(Opcode::Continuation, b"a", KEY),
            client_frame(Opcode::Ping, b"1", KEY),
            client_fragment(Opcode::Continuation, b"", KEY),
            client_frame(Opcode::Pong, b"", KEY),
            client_frame(Opcode::Continuation, b"b", KEY),
            client_frame(Opcode::Text, b"c", KEY),
        ]
        .concat(),
        &[Owned::Ping(b"1".to_vec()), Owned::Pong(Vec::new()), text("ab"), text("c")],
    );
    for opcode in [Opcode::Text, Opcode::Binary] {
        let first = client_fragment(Opcode::Text, b"a", KEY);
        let second_whole = [first.clone(), client_frame(opcode, b"b", KEY)].concat();
        refused_at(&second_whole, CloseCode::Protocol, first.len() + 1);
        let second_fragment = [first.clone(), client_fragment(opcode, b"b", KEY)].concat();
        refused_at(&second_fragment, CloseCode::Protocol, first.len() + 1);
    }
    refused_at(&client_frame(Opcode::Continuation, b"", KEY), CloseCode::Protocol, 1);
    refused_at(&client_fragment(Opcode::Continuation, b"", KEY), CloseCode::Protocol, 1);
    let after_whole = client_frame(Opcode::Text, b"a", KEY);
    let at = after_whole.len() + 1;
    refused_at(&[after_whole, client_frame(Opcode::Continuation, b"", KEY)].concat(), CloseCode::Protocol, at);
}

#[test]
fn lengths_are_written_in_their_shortest_form() {
    refused_at(&[0x82, 0xfe, 0, 125, 1, 2, 3, 4], CloseCode::Protocol, 4);
    refused_at(&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4], CloseCode::Protocol, 10);
    refused_at(&[0x82, 0xff, 0x80, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4], CloseCode::Protocol, 3);
}

#[test]
fn the_limit_is_checked_by_the_header() {
    let at_limit = vec![1; MAX];
    let outcome = decode_whole(&client_frame(Opcode::Binary, &at_limit, KEY), MAX);
    assert_eq!(outcome.events, [Owned::Binary(at_limit)]);
    let over = client_frame(Opcode::Binary, &vec![1; MAX + 1], KEY);
    refused_at(&over[..14], CloseCode::TooBig, 10);
    refused_at(&[0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], CloseCode::TooBig, 10);

    let first = client_fragment(Opcode::Binary, &vec![1; MAX - 10], KEY);
    let fits = [first.clone(), client_frame(Opcode::Continuation, &[1; 10], KEY)].concat();
    assert_eq!(decode_whole(&fits, MAX).events, [Owned::Binary(vec![1; MAX])]);
    let too_long = [first, client_frame(Opcode::Continuation, &[1; 11], KEY)].concat();
    let outcome = decode_whole(&too_long[..too_long.len() - 15], MAX);
    assert_eq!(outcome.error, Some(CloseCode::TooBig), "at the second byte of the continuation's header");
    let no_room = [client_frame(Opcode::Ping, b"pings do not count", KEY), client_frame(Opcode::Text, b"", KEY)];
    assert_eq!(decode_whole(&no_room.concat(), 0).error, None);
}

#[test]
fn close_payloads_are_a_code_and_a_reason() {
    let close = |payload: &[u8]| client_frame(Opcode::Close, payload, KEY);
    gives(&close(b""), &[Owned::Close(None)]);
    gives(&close(b"\x03\xe8"), &[Owned::Close(Some((1000, String::new())))]);
    let longest = [&b"\x03\xe8"[..], "ü".repeat(61).as_bytes(), b"x"].concat();
    gives(&close(&longest), &[Owned::Close(Some((1000, "ü".repeat(61) + "x")))]);
    refused_at(&close(b"\x03"), CloseCode::Protocol, 2);

    let legal = [1000..=1003, 1007..=1014, 3000..=4999];
    for code in 0..=u16::MAX {
        let outcome = decode_whole(&close(&code.to_be_bytes()), MAX);
        if legal.iter().any(|range| range.contains(&code)) {
            assert_eq!(outcome.events, [Owned::Close(Some((code, String::new())))]);
        } else {
            assert_eq!(outcome.error, Some(CloseCode::Protocol), "{code}");
        }
    }
    refused_at(&close(b"\x03\xeereason"), CloseCode::Protocol, 8);
    refused_at(&close(b"\x03\xe8ok\xffno"), CloseCode::InvalidUtf8, 11);
    refused_at(&close(b"\x03\xe8\xe2\x82"), CloseCode::InvalidUtf8, 10);
    refused_at(&close(b"\x03\xe8\xed\xa0\x80 surrogate"), CloseCode::InvalidUtf8, 10);
}
