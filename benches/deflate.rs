//! Compresses and inflates single messages of a chat's JSON, by size. `cargo bench --bench deflate`.

use std::time::Duration;

use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher, black_box};
use roomring::wire::deflate::{Compressor, Inflater, Window};
use roomring::wire::frame::{Opcode, server_frame};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const SIZES: [usize; 5] = [209, 512, 1_024, 4_096, 65_536];

fn main() {
    divan::Divan::default().min_time(Duration::from_millis(100)).config_with_args().main();
}

/// A `message` push of `size` bytes.
fn json(size: usize) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "please", "review", "the", "change", "before", "lunch", "thanks", "again", "meeting", "moved", "to",
        "tomorrow", "build", "is", "green", "deployed",
    ];
    let mut text =
        br#"{"type":"message","room":"room-17","seq":123456,"from":"user-4711","at":1700000000123,"data":""#.to_vec();
    let mut state = 1_u64;
    while text.len() + 2 < size {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.extend_from_slice(WORDS[(state >> 60) as usize].as_bytes());
        text.push(b' ');
    }
    text.truncate(size - 2);
    text.extend_from_slice(b"\"}");
    text
}

/// Level 1, the default.
#[divan::bench(args = SIZES)]
fn compress(bencher: Bencher<'_, '_>, size: usize) {
    compress_at(bencher, 1, Window::Bits15, size);
}

/// Level 1, for clients with a window of 4 KiB.
#[divan::bench(args = SIZES)]
fn compress_small_window(bencher: Bencher<'_, '_>, size: usize) {
    compress_at(bencher, 1, Window::Bits12, size);
}

/// Level 6.
#[divan::bench(args = SIZES)]
fn compress_smaller(bencher: Bencher<'_, '_>, size: usize) {
    compress_at(bencher, 6, Window::Bits15, size);
}

/// A finished frame, as in a broadcast.
#[divan::bench(args = SIZES)]
fn frame(bencher: Bencher<'_, '_>, size: usize) {
    let mut compressor = Compressor::new(1);
    let frame = server_frame(Opcode::Text, &json(size));
    bencher
        .counter(BytesCount::new(size))
        .bench_local(|| compressor.compress_frames(Window::Bits15, black_box(&frame), 1, usize::MAX));
}

/// Messages compressed at level 6.
#[divan::bench(args = SIZES)]
fn inflate(bencher: Bencher<'_, '_>, size: usize) {
    let compressed = Compressor::new(6).compress(Window::Bits15, &json(size)).expect("smaller").to_vec();
    let mut inflater = Inflater::default();
    bencher
        .counter(BytesCount::new(size))
        .bench_local(|| inflater.inflate(black_box(&compressed), size).expect("whole").len());
}

/// The most expensive compressed messages, each as large as a message may be by default.
#[divan::bench(args = HOSTILE)]
fn inflate_64_kib_of(bencher: Bencher<'_, '_>, kind: &str) {
    let payload = hostile(kind);
    let mut inflater = Inflater::default();
    bencher
        .counter(BytesCount::new(payload.len()))
        .bench_local(|| inflater.inflate(black_box(&payload), SIZES[4]).map(<[u8]>::len).is_ok());
}

const HOSTILE: [&str; 8] = [
    "normal_json",
    "normal_stored",
    "final_blocks",
    "stored_blocks",
    "fixed_blocks",
    "dynamic_blocks",
    "dynamic_blocks_long_codes",
    "back_references",
];

fn hostile(kind: &str) -> Vec<u8> {
    let mut bits = Bits::default();
    let full = |bits: &Bits| bits.bytes.len() >= SIZES[4] - 100;
    match kind {
        "normal_json" => {
            return Compressor::new(6).compress(Window::Bits15, &json(SIZES[4])).expect("smaller").to_vec();
        }
        "normal_stored" => {
            let data = [b"\x00\x00\xfc\xff\x03".as_slice(), &vec![b'x'; 64_512], b"\x00"].concat();
            return data;
        }
        "final_blocks" => return b"\x03\x00".repeat(32_700),
        "stored_blocks" => return [b"\x00\x00\x00\xff\xff".repeat(13_000), vec![0]].concat(),
        "fixed_blocks" => {
            while !full(&bits) {
                bits.push(0b010, 3);
                bits.push(0, 7);
            }
        }
        "dynamic_blocks" => {
            while !full(&bits) {
                bits.push(0b100, 3);
                bits.push(0, 5 + 5);
                bits.push(14, 4);
                // The lengths 18 and 1 have a code of one bit each.
                (0..18).for_each(|at| bits.push(u32::from(at == 2 || at == 17), 3));
                bits.push(1 | (127 << 1), 8);
                bits.push(1 | (107 << 1), 8);
                bits.push(0, 2);
                bits.push(0, 1);
            }
        }
        "dynamic_blocks_long_codes" => {
            while !full(&bits) {
                long_codes(&mut bits);
            }
        }
        "back_references" => {
            // Fixed codes: a literal, then length 3 at distance 1, as often as they fit.
            bits.push(0b010, 3);
            bits.push(0b0000_1100, 8);
            for _ in 0..21_000 {
                bits.push(0b100_0000, 7);
                bits.push(0, 5);
            }
            bits.push(0, 7);
        }
        _ => unreachable!(),
    }
    // An empty stored block without its tail, which is not sent.
    bits.push(0, 3);
    bits.bytes
}

/// An empty block with codes of every length up to 15, for literals and distances.
fn long_codes(bits: &mut Bits) {
    bits.push(0b100, 3);
    // 257 literals and lengths, 16 distances; 19 lengths of code lengths.
    bits.push(0, 5);
    bits.push(15, 5);
    bits.push(15, 4);
    // Every code length from 1 to 15 and the run of zeros (18) has a code of four bits.
    let order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    order.iter().for_each(|length| bits.push(if matches!(length, 1..=15 | 18) { 4 } else { 0 }, 3));
    let code = |bits: &mut Bits, length: u32| {
        let code = if length == 18 { 15 } else { length - 1 };
        bits.push(code.reverse_bits() >> 28, 4);
    };
    // Literals 0 to 14 have 2 to 15 and 15 bits; the end of the block has one.
    (2..=15).for_each(|length| code(bits, length));
    code(bits, 15);
    let zeros = 256 - 15;
    code(bits, 18);
    bits.push(127, 7);
    code(bits, 18);
    bits.push(zeros - 138 - 11, 7);
    code(bits, 1);
    (1..=15).for_each(|length| code(bits, length));
    code(bits, 15);
    bits.push(0, 1);
}

/// Bits, the lowest first (RFC 1951 section 3.1.1).
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    free: u32,
}

impl Bits {
    fn push(&mut self, value: u32, count: u32) {
        for at in 0..count {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let last = self.bytes.last_mut().expect("pushed above");
            *last |= ((value >> at & 1) as u8) << (8 - self.free);
            self.free -= 1;
        }
    }
}

fn compress_at(bencher: Bencher<'_, '_>, level: u8, window: Window, size: usize) {
    let mut compressor = Compressor::new(level);
    let payload = json(size);
    bencher
        .counter(BytesCount::new(size))
        .bench_local(|| compressor.compress(window, black_box(&payload)).expect("smaller").len());
}
