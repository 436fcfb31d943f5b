//! Text that is not UTF-8 is refused at the earliest byte that proves it (RFC 6455 section 8.1), wherever the text is
//! split.

use roomring::base::codes::CloseCode;
use roomring::wire::client::{client_fragment, client_frame};
use roomring::wire::frame::Opcode;

use crate::support::{Owned, decode, decode_bytewise, decode_whole};

const KEY: [u8; 4] = [0xff, 0x00, 0x55, 0xaa];
const MAX: usize = 100_000;

/// Texts that are not UTF-8, and the first of their bytes (from 1) that proves it; for truncated texts, the byte after the
/// last.
const INVALID: [(&[u8], usize); 18] = [
    (b"\x80", 1),
    (b"\xbf", 1),
    (b"ok\xff", 3),
    (b"\xfe", 1),
    (b"\xc0\xaf", 1),
    (b"\xc1\xbf", 1),
    (b"\xe0\x80\xaf", 2),
    (b"\xe0\x9f\xbf", 2),
    (b"\xed\xa0\x80", 2),
    (b"\xed\xbf\xbf", 2),
    (b"\xf0\x80\x80\xaf", 2),
    (b"\xf4\x90\x80\x80", 2),
    (b"\xf5\x80\x80\x80", 1),
    (b"\xf0\x9f\x98x", 4),
    (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", 13),
    (b"\xc3", 2),
    (b"\xe2\x82", 3),
    (b"a\xf0\x9f\x98", 5),
];

const VALID: [&str; 7] = [
    "",
    "ascii",
    "\u{7f}\u{80}\u{7ff}\u{800}",
    "\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}",
    "κόσμε",
    "😀😀",
    "\u{0}",
];

#[test]
fn invalid_text_is_refused_at_its_first_bad_byte() {
    for (bytes, at) in INVALID {
        let stream = client_frame(Opcode::Text, bytes, KEY);
        assert_eq!(decode_whole(&stream, MAX).error, Some(CloseCode::InvalidUtf8), "{bytes:02x?}");
        let (outcome, taken) = decode_bytewise(&stream, MAX);
        assert_eq!(outcome.error, Some(CloseCode::InvalidUtf8), "{bytes:02x?}");
        assert_eq!(taken, 6 + at.min(bytes.len()), "{bytes:02x?}");
    }
}

#[test]
fn a_frame_need_not_be_whole_to_be_refused() {
    for (bytes, at) in INVALID.iter().filter(|(bytes, at)| at <= &bytes.len()) {
        let mut announced = client_frame(Opcode::Text, &[bytes, &[b'x'; 60][..]].concat(), KEY);
        announced.truncate(6 + at);
        for sizes in [vec![], vec![6 + at - 1], vec![3]] {
            assert_eq!(decode(&announced, sizes, MAX).error, Some(CloseCode::InvalidUtf8), "{bytes:02x?}");
        }
    }
}

#[test]
fn fragments_may_cut_characters_anywhere() {
    for text in VALID {
        let bytes = text.as_bytes();
        for cut in 0..=bytes.len() {
            for second_cut in cut..=bytes.len() {
                let stream = [
                    client_fragment(Opcode::Text, &bytes[..cut], KEY),
                    client_frame(Opcode::Ping, b"\xff not text", KEY),
                    client_fragment(Opcode::Continuation, &bytes[cut..second_cut], KEY),
                    client_frame(Opcode::Continuation, &bytes[second_cut..], KEY),
                ]
                .concat();
                for outcome in [decode_whole(&stream, MAX), decode(&stream, std::iter::repeat(1), MAX)] {
                    assert_eq!(outcome.error, None, "{text:?}");
                    assert_eq!(outcome.events[1], Owned::Text(text.to_owned()));
                }
            }
        }
    }
}

#[test]
fn invalid_text_is_refused_across_fragments() {
    for (bytes, at) in INVALID {
        for cut in 0..bytes.len() {
            let first = client_fragment(Opcode::Text, &bytes[..cut], KEY);
            let second = client_frame(Opcode::Continuation, &bytes[cut..], KEY);
            let at = at.min(bytes.len());
            let expected = if at <= cut { 6 + at } else { first.len() + 6 + at - cut };
            let stream = [first, second].concat();
            let (outcome, taken) = decode_bytewise(&stream, MAX);
            assert_eq!((outcome.error, taken), (Some(CloseCode::InvalidUtf8), expected), "{bytes:02x?} cut at {cut}");
            assert_eq!(decode_whole(&stream, MAX).error, Some(CloseCode::InvalidUtf8));
        }
    }
}

#[test]
fn binary_messages_are_any_bytes() {
    for (bytes, _) in INVALID {
        let stream = [client_fragment(Opcode::Binary, bytes, KEY), client_frame(Opcode::Continuation, bytes, KEY)];
        assert_eq!(decode_whole(&stream.concat(), MAX).events, [Owned::Binary([bytes, bytes].concat())]);
    }
}
