//! The examples of RFC 7692 section 7.2.3 as frames, and the rules for frames marked as compressed.

use roomring::base::codes::CloseCode;
use roomring::wire::client::{client_fragment, client_frame};
use roomring::wire::deflate::{Compressor, Window, compressed_bytes_max};
use roomring::wire::frame::Opcode;

use crate::support::{Outcome, Owned, Random, decode_inflated};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const MAX: usize = 100_000;

/// A client's frame with a given first byte.
fn framed(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = client_frame(Opcode::Binary, payload, KEY);
    frame[0] = first;
    frame
}

fn hello() -> Owned {
    Owned::Text("Hello".to_owned())
}

/// Checks that the stream decodes to these events, whole and byte by byte, and leaves nothing behind.
#[track_caller]
fn gives(stream: &[u8], events: &[Owned]) {
    for sizes in [usize::MAX, 1, 2, 3] {
        let (outcome, _) = decode_inflated(stream, std::iter::repeat(sizes), MAX);
        assert_eq!((outcome.error, outcome.holds), (None, false), "pieces of {sizes}");
        assert_eq!(outcome.events, events, "pieces of {sizes}");
    }
}

/// Checks that the stream is refused with `code` at the byte numbered `at` (from 1).
#[track_caller]
fn refused_at(stream: &[u8], max: usize, code: CloseCode, at: usize) {
    assert_eq!(decode_inflated(stream, [], max).0.error, Some(code), "{stream:02x?}");
    let (outcome, taken) = decode_inflated(stream, std::iter::repeat(1), max);
    assert_eq!((outcome.error, taken), (Some(code), at), "{stream:02x?}");
}

#[test]
fn the_rfc_examples_decode() {
    gives(&framed(0xc1, b"\xf2\x48\xcd\xc9\xc9\x07\x00"), &[hello()]);
    gives(&[framed(0x41, b"\xf2\x48\xcd"), framed(0x80, b"\xc9\xc9\x07\x00")].concat(), &[hello()]);
    gives(&framed(0xc1, b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), &[hello()]);
    gives(&framed(0xc1, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), &[hello()]);
    gives(&framed(0xc1, b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), &[hello()]);
    gives(&framed(0xc1, b"\x00"), &[Owned::Text(String::new())]);
}

#[test]
fn compressed_and_plain_messages_alternate_around_control_frames() {
    let stream = [
        framed(0xc2, b"\xf2\x48\xcd\xc9\xc9\x07\x00"),
        framed(0x81, b"plain"),
        framed(0x41, b"\xf2\x48"),
        framed(0x89, b"ping"),
        framed(0x00, b""),
        framed(0x00, b"\xcd\xc9\xc9"),
        framed(0x8a, b"pong"),
        framed(0x80, b"\x07\x00"),
        client_fragment(Opcode::Text, b"pl", KEY),
        framed(0x80, b"ain"),
        framed(0x88, b""),
    ];
    let plain = || Owned::Text("plain".to_owned());
    gives(
        &stream.concat(),
        &[
            Owned::Binary(b"Hello".to_vec()),
            plain(),
            Owned::Ping(b"ping".to_vec()),
            Owned::Pong(b"pong".to_vec()),
            hello(),
            plain(),
            Owned::Close(None),
        ],
    );
}

#[test]
fn only_the_first_frame_of_a_data_message_may_be_marked() {
    for first in [0xc8, 0xc9, 0xca, 0xc0, 0x40, 0xa1, 0x91, 0xe1, 0xd1, 0xf1, 0xc3, 0xcb] {
        refused_at(&framed(first, b""), MAX, CloseCode::Protocol, 1);
    }
    let mark_in_the_middle = [framed(0x01, b"a"), framed(0xc0, b"b")].concat();
    refused_at(&mark_in_the_middle, MAX, CloseCode::Protocol, 8);
    let mark_twice = [framed(0x41, b"\xf2\x48"), framed(0xc0, b"\xcd\xc9\xc9\x07\x00")].concat();
    refused_at(&mark_twice, MAX, CloseCode::Protocol, 9);
}

#[test]
fn invalid_messages_are_refused_when_complete_or_too_long() {
    let corrupt = framed(0xc1, b"\xff\xff\xff\xff");
    refused_at(&corrupt, MAX, CloseCode::InvalidUtf8, corrupt.len());
    let half_a_character = framed(0xc1, b"\x00\x01\x00\xfe\xff\xc3\x00");
    refused_at(&half_a_character, MAX, CloseCode::InvalidUtf8, half_a_character.len());
    // Deflate may enlarge a message, by a bounded amount; the inflated message is bounded too.
    let (most, key_bytes) = (compressed_bytes_max(1_000), 8);
    let too_long_before = framed(0xc1, &vec![0; most + 1]);
    refused_at(&too_long_before, 1_000, CloseCode::TooBig, 4);
    let in_fragments = [framed(0x42, &vec![0; most - 40]), framed(0x00, &[0; 41])].concat();
    refused_at(&in_fragments, 1_000, CloseCode::TooBig, most - 40 + key_bytes + 2);
    let hello = framed(0xc1, b"\xf2\x48\xcd\xc9\xc9\x07\x00");
    refused_at(&hello, 4, CloseCode::TooBig, hello.len());
    let plain = [framed(0x02, &[0; 900]), framed(0x00, &[0; 101])].concat();
    refused_at(&plain, 1_000, CloseCode::TooBig, 900 + key_bytes + 2);
    let mut compressor = Compressor::new(9);
    let bomb = compressor.compress(Window::Bits15, &vec![0; MAX + 1]).expect("smaller");
    let bomb = framed(0xc2, bomb);
    refused_at(&bomb, MAX, CloseCode::TooBig, bomb.len());
}

#[test]
fn a_message_within_the_limit_is_accepted_although_deflate_enlarges_it() {
    let text = "x7Q!".repeat(25);
    // One stored block: five bytes more, and the byte that begins the tail.
    let stored = [b"\x00\x64\x00\x9b\xff", text.as_bytes(), b"\x00"].concat();
    let (begin, end) = stored.split_at(101);
    for stream in [framed(0xc1, &stored), [framed(0x41, begin), framed(0x80, end)].concat()] {
        for sizes in [usize::MAX, 1, 7] {
            let (outcome, _) = decode_inflated(&stream, std::iter::repeat(sizes), text.len());
            assert_eq!((outcome.error, &outcome.events[..]), (None, &[Owned::Text(text.clone())][..]));
        }
        refused_at(&stream, text.len() - 1, CloseCode::TooBig, stream.len());
    }
}

#[test]
fn too_many_blocks_are_refused() {
    let last = framed(0xc1, &b"\x03\x00".repeat(32_700));
    refused_at(&last, MAX, CloseCode::InvalidUtf8, last.len());
    // Empty blocks with fixed codes, of ten bits each; four of them fill five bytes.
    let fixed = framed(0xc1, &[0x02, 0x08, 0x20, 0x80, 0x00].repeat(1_000));
    refused_at(&fixed, MAX, CloseCode::TooBig, fixed.len());
}

/// Messages of all kinds, many of them compressed and cut into frames; with damage in the later seeds.
fn random_stream(random: &mut Random, compressor: &mut Compressor) -> Vec<u8> {
    let mut stream = Vec::new();
    for _ in 0..=random.below(4) {
        let characters = random.below(400);
        let text = random.text(characters).repeat(1 + random.below(3));
        let window = Window::ALL[random.below(Window::ALL.len())];
        let (mark, payload) = match compressor.compress(window, text.as_bytes()) {
            Some(compressed) if !random.one_in(4) => (0x40, compressed.to_vec()),
            _ => (0, text.into_bytes()),
        };
        let opcode = 1 + random.below(2) as u8;
        if random.one_in(2) {
            stream.extend(framed(0x80 | mark | opcode, &payload));
            continue;
        }
        let (begin, end) = payload.split_at(random.below(payload.len() + 1));
        stream.extend(framed(mark | opcode, begin));
        if random.one_in(2) {
            stream.extend(framed(0x89, b"between"));
        }
        stream.extend(framed(0x80, end));
    }
    stream
}

#[test]
fn streams_decode_alike_however_they_are_cut() {
    let mut compressor = Compressor::new(1);
    let mut failures = 0;
    for seed in 0..600 {
        let mut random = Random(seed);
        let mut stream = random_stream(&mut random, &mut compressor);
        for _ in 0..if seed < 200 { 0 } else { 1 + random.below(3) } {
            let at = random.below(stream.len());
            stream[at] ^= 1 << random.below(8);
        }
        let max = [300, 2_000, MAX][random.below(3)];
        let max = if seed < 200 { MAX } else { max };
        let (whole, _): (Outcome, usize) = decode_inflated(&stream, [], max);
        failures += usize::from(whole.error.is_some());
        assert!(seed >= 200 || whole.error.is_none() && !whole.holds, "seed {seed}: {:?}", whole.error);
        assert_eq!(decode_inflated(&stream, std::iter::repeat(1), max).0, whole, "seed {seed}, byte by byte");
        let sizes = random.sizes();
        assert_eq!(decode_inflated(&stream, sizes, max).0, whole, "seed {seed}");
    }
    assert!((150..400).contains(&failures), "{failures} of 400 damaged streams were refused");
}
