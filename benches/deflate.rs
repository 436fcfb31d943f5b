//! permessage-deflate of one message, each by itself, as a chat's JSON; by size. `cargo bench --bench deflate`.

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

/// A `message` push of that many bytes.
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

/// At level 1, the default.
#[divan::bench(args = SIZES)]
fn compress(bencher: Bencher<'_, '_>, size: usize) {
    compress_at(bencher, 1, Window::Bits15, size);
}

/// At level 1, for clients that hold 4 KiB.
#[divan::bench(args = SIZES)]
fn compress_small_window(bencher: Bencher<'_, '_>, size: usize) {
    compress_at(bencher, 1, Window::Bits12, size);
}

/// At level 6.
#[divan::bench(args = SIZES)]
fn compress_smaller(bencher: Bencher<'_, '_>, size: usize) {
    compress_at(bencher, 6, Window::Bits15, size);
}

/// A finished frame into a compressed one, as a broadcast is.
#[divan::bench(args = SIZES)]
fn frame(bencher: Bencher<'_, '_>, size: usize) {
    let mut compressor = Compressor::new(1);
    let frame = server_frame(Opcode::Text, &json(size));
    bencher
        .counter(BytesCount::new(size))
        .bench_local(|| compressor.compress_frames(Window::Bits15, black_box(&frame), 1, usize::MAX));
}

/// What level 6 has made.
#[divan::bench(args = SIZES)]
fn inflate(bencher: Bencher<'_, '_>, size: usize) {
    let compressed = Compressor::new(6).compress(Window::Bits15, &json(size)).expect("smaller").to_vec();
    let mut inflater = Inflater::default();
    bencher
        .counter(BytesCount::new(size))
        .bench_local(|| inflater.inflate(black_box(&compressed), size).expect("whole").len());
}

fn compress_at(bencher: Bencher<'_, '_>, level: u8, window: Window, size: usize) {
    let mut compressor = Compressor::new(level);
    let payload = json(size);
    bencher
        .counter(BytesCount::new(size))
        .bench_local(|| compressor.compress(window, black_box(&payload)).expect("smaller").len());
}
