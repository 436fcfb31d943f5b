//! RFC 7692 section 7.2: compressed messages are inflated to the original, and damaged ones are refused.

use super::*;
use crate::wire::frame::{Opcode, server_frame};

const MAX: usize = 1 << 20;

/// JSON of a chat, of about `length` bytes.
fn json(length: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for seq in 0_u64.. {
        text.extend_from_slice(
            format!(r#"{{"type":"message","room":"lobby","seq":{seq},"from":"user-{}","data":"#, seq % 7).as_bytes(),
        );
        if text.len() >= length {
            break;
        }
    }
    text.truncate(length);
    text
}

/// Incompressible bytes.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn inflated(payload: &[u8], max: usize) -> Result<Vec<u8>, InflateError> {
    Inflater::default().inflate(payload, max).map(<[u8]>::to_vec)
}

#[test]
fn the_examples_of_the_rfc_are_read() {
    for (what, payload, expected) in [
        ("7.2.3.1 one block", &b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..], &b"Hello"[..]),
        ("7.2.3.3 no compression", b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", b"Hello"),
        ("7.2.3.4 a block marked as the last", b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", b"Hello"),
        ("7.2.3.5 two blocks", b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", b"Hello"),
        ("7.2.3.6 an empty message", b"\x00", b""),
        ("a last block without the padding byte", b"\xf3\x48\xcd\xc9\xc9\x07\x00", b"Hello"),
        ("blocks behind a last one", b"\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x48\xcd\xc9\xc9\x07\x00", b"HelloHello"),
    ] {
        assert_eq!(inflated(payload, MAX).as_deref(), Ok(expected), "{what}");
        assert_eq!(inflated(payload, expected.len()).as_deref(), Ok(expected), "{what}, with no byte to spare");
    }
    let with_the_context_of_another = b"\xf2\x00\x11\x00\x00";
    assert_eq!(inflated(with_the_context_of_another, MAX), Err(InflateError::Corrupt), "7.2.3.2 was not agreed");
}

#[test]
fn blocks_after_a_last_one_may_refer_back() {
    // "Hello" as in 7.2.3.4, then the second message of 7.2.3.2, which refers five bytes back.
    let payload = b"\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00";
    assert_eq!(inflated(payload, MAX).as_deref(), Ok(&b"HelloHello"[..]));
}

#[test]
fn every_size_level_and_window_round_trips() {
    let mut inflater = Inflater::default();
    for level in 1..=9 {
        let mut compressor = Compressor::new(level);
        for length in [64, 125, 126, 512, 4_096, 65_536, 100_000] {
            let payload = json(length);
            for window in Window::ALL {
                let compressed = compressor.compress(window, &payload).map(<[u8]>::to_vec);
                let Some(compressed) = compressed else {
                    assert!(length <= 126, "JSON of {length} bytes gets smaller (level {level}, {window:?})");
                    continue;
                };
                assert!(compressed.len() < length);
                assert_eq!(inflater.inflate(&compressed, length), Ok(&payload[..]), "{level} {window:?} {length}");
            }
        }
    }
}

#[test]
fn messages_refer_no_further_back_than_their_window() {
    let mut compressor = Compressor::new(9);
    // Two copies of noise, too far from each other for the smaller windows.
    for (distance, window, smaller) in
        [(2_000, Window::Bits12, true), (20_000, Window::Bits12, false), (20_000, Window::Bits15, true)]
    {
        let payload = noise(distance).repeat(2);
        let compressed = compressor.compress(window, &payload).map(<[u8]>::to_vec);
        assert_eq!(compressed.is_some(), smaller, "{window:?} {distance}");
        if let Some(compressed) = compressed {
            let mut stream = zlib_rs::Inflate::new(false, window.bits());
            let mut output = vec![0; payload.len()];
            let whole = [&compressed[..], &FLUSH_TAIL].concat();
            stream.decompress(&whole, &mut output, zlib_rs::InflateFlush::SyncFlush).expect("within its window");
            assert!(output == payload, "a client that holds no more can read it");
        }
    }
}

#[test]
fn messages_are_independent_of_one_another() {
    let mut compressor = Compressor::new(1);
    let first = compressor.compress(Window::Bits15, &json(900)).map(<[u8]>::to_vec);
    compressor.compress(Window::Bits15, &json(70_000)).expect("smaller");
    assert_eq!(compressor.compress(Window::Bits15, &noise(5_000)), None);
    assert_eq!(compressor.compress(Window::Bits15, &json(900)).map(<[u8]>::to_vec), first);
}

#[test]
fn incompressible_messages_are_not_compressed() {
    let mut compressor = Compressor::new(6);
    for payload in [&b""[..], b"a", b"ab", b"Hello", &noise(100), &noise(70_000)] {
        assert_eq!(compressor.compress(Window::Bits15, payload), None, "{} bytes", payload.len());
    }
    assert!(compressor.compress(Window::Bits15, &[b'a'; 40]).is_some());
}

#[test]
fn random_messages_round_trip_or_are_left() {
    let (noise, json) = (noise(40_000), json(40_000));
    let mut inflater = Inflater::default();
    for level in [1, 1, 2, 3, 6, 9] {
        let mut compressor = Compressor::new(level);
        for round in 0_usize..40 {
            // Text and noise alternate, with lengths around those that fill buffers.
            let length = [1, 3, 250, 1_021, 1_024, 4_096, 9_000, 33_000][round % 8] + round / 8;
            let cut = length * (round % 5) / 4;
            let payload = [&noise[round..round + length - cut], &json[round..round + cut]].concat();
            for window in Window::ALL {
                if let Some(compressed) = compressor.compress(window, &payload).map(<[u8]>::to_vec) {
                    assert!(compressed.len() < payload.len());
                    assert_eq!(inflater.inflate(&compressed, length), Ok(&payload[..]), "{level} {window:?} {round}");
                }
            }
        }
    }
}

#[test]
fn bombs_stop_at_the_bound() {
    let mut compressor = Compressor::new(9);
    let bomb = compressor.compress(Window::Bits15, &vec![0; 8 << 20]).expect("smaller").to_vec();
    assert!(bomb.len() < 10_000, "{} bytes", bomb.len());
    let mut inflater = Inflater::default();
    for max in [0, 1, 100, 65_536, 1 << 20, (8 << 20) - 1] {
        assert_eq!(inflater.inflate(&bomb, max), Err(InflateError::TooBig), "{max}");
        let held = inflater.held_bytes();
        assert!(held <= max.max(OUTPUT_KEPT), "{held} bytes held for a bound of {max}");
    }
    assert_eq!(inflater.inflate(&bomb, 8 << 20).map(<[u8]>::len), Ok(8 << 20), "just at the bound it is taken");
    assert_eq!(inflater.inflate(b"\x00", 100), Ok(&b""[..]));
    let held = inflater.held_bytes();
    assert!(held <= OUTPUT_KEPT, "{held} bytes held after a large message");
    // Blocks after one marked as the last do not evade the bound.
    let twice = b"\xf3\x48\xcd\xc9\xc9\x07\x00".repeat(2);
    assert_eq!(inflater.inflate(&twice, 9), Err(InflateError::TooBig));
    assert_eq!(inflater.inflate(&twice, 10).map(<[u8]>::len), Ok(10));
}

#[test]
fn blocks_may_follow_a_last_one_only_once() {
    let (last, plain, padding) =
        (&b"\xf3\x48\xcd\xc9\xc9\x07\x00"[..], &b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..], &b"\x00"[..]);
    for (parts, expected) in [
        (&[last][..], Ok("Hello")),
        (&[last, padding], Ok("Hello")),
        (&[last, plain], Ok("HelloHello")),
        (&[last, last], Ok("HelloHello")),
        (&[last, last, padding], Ok("HelloHello")),
        (&[last, last, last], Err(InflateError::Corrupt)),
        (&[last, last, plain], Err(InflateError::Corrupt)),
        (&[last, plain, last, plain], Err(InflateError::Corrupt)),
        (&[last, padding, padding], Err(InflateError::Corrupt)),
    ] {
        assert_eq!(inflated(&parts.concat(), MAX), expected.map(|text| text.as_bytes().to_vec()), "{parts:?}");
    }
    let empty = b"\x03\x00".repeat(32_700);
    assert_eq!(inflated(&empty, MAX), Err(InflateError::Corrupt));
}

/// Bits, the lowest of each number first (RFC 1951 section 3.1.1).
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    len: usize,
}

impl Bits {
    fn push(&mut self, value: u32, count: usize) {
        for at in 0..count {
            if self.len.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let last = self.bytes.last_mut().expect("pushed above");
            *last |= ((value >> at & 1) as u8) << (self.len % 8);
            self.len += 1;
        }
    }

    /// An empty block with codes of its own, of 90 bits.
    fn push_dynamic_block(&mut self) {
        self.push(0b100, 3);
        // 257 literals, one distance, and 18 lengths of code lengths, of which only 18 and 1 have codes.
        self.push(14 << 10, 14);
        (0..18).for_each(|at| self.push(u32::from(at == 2 || at == 17), 3));
        // 138 and 118 lengths of zero; one bit for the end of the block, one for a distance; the end of the block.
        self.push(1 | 127 << 1, 8);
        self.push(1 | 107 << 1, 8);
        self.push(0, 3);
    }

    /// The payload of a message: ends with an empty stored block without its tail.
    fn payload(mut self) -> Vec<u8> {
        self.push(0, 3);
        self.bytes
    }
}

#[test]
fn a_message_has_no_more_blocks_than_a_compressor_makes() {
    let blocks = |count: usize, push: fn(&mut Bits)| {
        let mut bits = Bits::default();
        (0..count).for_each(|_| push(&mut bits));
        inflated(&bits.payload(), MAX)
    };
    let kinds: [fn(&mut Bits); 2] = [Bits::push_dynamic_block, |bits| bits.push(0b010, 10)];
    for push in kinds {
        assert_eq!(blocks(20, push), Ok(Vec::new()), "a few do no harm");
        assert_eq!(blocks(5_000, push), Err(InflateError::TooManyBlocks));
    }
    let flushed = [b"\x00\x00\x00\xff\xff".repeat(10_000), vec![0]].concat();
    assert_eq!(inflated(&flushed, 0), Ok(Vec::new()), "empty blocks of flushes are free");
}

#[test]
fn messages_of_zlib_are_accepted() {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (json, noise) = (json(20_000), noise(20_000));
    let base64: Vec<u8> = noise.iter().map(|byte| ALPHABET[usize::from(byte % 64)]).collect();
    let digits: Vec<u8> = noise.iter().map(|byte| b'0' + byte % 10).collect();
    for (what, payload) in [("json", &json), ("noise", &noise), ("base64", &base64), ("digits", &digits)] {
        for (mem_level, level) in (1..=9).flat_map(|mem_level| [0, 1, 9].map(|level| (mem_level, level))) {
            for length in [0, 1, 300, payload.len()] {
                let config =
                    zlib_rs::DeflateConfig { level, mem_level, window_bits: -15, ..zlib_rs::DeflateConfig::default() };
                let mut output = vec![0; 2 * length + 1_000];
                let mut stream = zlib_rs::Deflate::new_with_config(config);
                let status = stream.compress(&payload[..length], &mut output, zlib_rs::DeflateFlush::SyncFlush);
                assert_eq!(status, Ok(zlib_rs::Status::Ok));
                let made = &output[..stream.total_out() as usize];
                let compressed = made.strip_suffix(&FLUSH_TAIL).expect("a flush ends so");
                let about = format!("{what} of {length}, memory level {mem_level}, level {level}");
                assert!(compressed.len() <= compressed_bytes_max(length), "{about}: {} bytes", compressed.len());
                assert!(inflated(compressed, length).as_deref() == Ok(&payload[..length]), "{about}");
            }
        }
    }
}

const OUTPUT_KEPT: usize = 64 * 1024;

#[test]
fn truncated_messages_are_corrupt() {
    let mut compressor = Compressor::new(6);
    let payload = json(3_000);
    let whole = compressor.compress(Window::Bits15, &payload).expect("smaller").to_vec();
    for length in 0..whole.len() {
        let result = inflated(&whole[..length], MAX);
        assert_eq!(result, Err(InflateError::Corrupt), "{length} of {}", whole.len());
    }
    for payload in [&b"\x07"[..], b"\xff\xff\xff\xff", b"\x00\x06\x00\xf9\xff\x48", b"\x00\x05\x00\x00\x00Hello\x00"] {
        assert_eq!(inflated(payload, MAX), Err(InflateError::Corrupt), "{payload:?}");
    }
}

#[test]
fn garbage_is_refused_and_the_next_message_is_inflated() {
    let mut compressor = Compressor::new(6);
    let payload = json(2_000);
    let whole = compressor.compress(Window::Bits15, &payload).expect("smaller").to_vec();
    let mut inflater = Inflater::default();
    for seed in 0..500 {
        let mut damaged = whole.clone();
        let noise = noise(seed + 8);
        for chunk in noise[seed..].chunks(2).take(1 + seed % 4) {
            let at = (usize::from(chunk[0]) * 256 + seed * 7) % damaged.len();
            damaged[at] ^= chunk[1] | 1;
        }
        if let Ok(output) = inflater.inflate(&damaged, 10_000) {
            assert!(output.len() <= 10_000);
        }
        let _ = inflater.inflate(&noise, 10_000);
        assert_eq!(inflater.inflate(&whole, 2_000), Ok(&payload[..]));
    }
}

#[test]
fn in_a_row_of_frames_each_due_message_is_compressed_and_the_others_stay() {
    let mut compressor = Compressor::new(1);
    let (small, large) = (json(400), json(2_000));
    let frames = [
        server_frame(Opcode::Ping, &[b'a'; 100]),
        server_frame(Opcode::Text, &small),
        server_frame(Opcode::Text, &large),
        server_frame(Opcode::Binary, &noise(1_000)),
        server_frame(Opcode::Binary, &large),
        server_frame(Opcode::Close, b"\x03\xe8"),
    ]
    .concat();
    let payload = compressor.compress(Window::Bits12, &large).expect("smaller").to_vec();
    let deflated = compressor.compress_frames(Window::Bits12, &frames, 500, MAX).expect("two are due");
    let compressed = |opcode: Opcode| {
        let mut frame = server_frame(opcode, &payload).to_vec();
        frame[0] |= COMPRESSED_BIT;
        frame
    };
    let expected = [
        server_frame(Opcode::Ping, &[b'a'; 100]).to_vec(),
        server_frame(Opcode::Text, &small).to_vec(),
        compressed(Opcode::Text),
        server_frame(Opcode::Binary, &noise(1_000)).to_vec(),
        compressed(Opcode::Binary),
        server_frame(Opcode::Close, b"\x03\xe8").to_vec(),
    ]
    .concat();
    assert_eq!(deflated.frames, expected);
    assert_eq!((deflated.messages, deflated.bytes_before), (2, 2 * (large.len() + 4)));
    assert_eq!(frames.len() - expected.len(), deflated.bytes_before - deflated.bytes_after);
    assert_eq!(compressor.compress_frames(Window::Bits12, &frames, 2_001, MAX), None, "none is large enough");
    assert_eq!(compressor.compress_frames(Window::Bits12, &frames, 500, 1_999), None, "none is small enough");
    assert_eq!(compressor.compress_frames(Window::Bits12, &[], 0, MAX), None);
}

#[test]
fn the_largest_window_within_the_requested_bits_is_chosen() {
    let bits = |asked| Window::within(asked).map(Window::bits);
    assert_eq!(
        [8, 9, 10, 11, 12, 13, 14, 15].map(bits),
        [None, None, None, None, Some(12), Some(12), Some(12), Some(15)]
    );
    for window in Window::ALL {
        assert_eq!(Window::ALL[window.index()], window);
    }
}
