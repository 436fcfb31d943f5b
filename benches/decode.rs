//! Decodes client frames into messages, by kind and size: header, unmasking in place, UTF-8 of text, assembly of fragments.
//! `cargo bench --bench decode`.

use std::time::Duration;

use divan::counter::{BytesCount, ItemsCount};
use divan::{AllocProfiler, Bencher, black_box};
use roomring::wire::client::{client_fragment, client_frame};
use roomring::wire::frame::Opcode;
use roomring::wire::message::Decoder;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const SIZES: [usize; 5] = [16, 128, 1_024, 16_384, 65_536];
const MESSAGE_BYTES_MAX: usize = 1 << 20;

fn main() {
    divan::Divan::default().min_time(Duration::from_millis(100)).config_with_args().main();
}

/// ASCII text.
#[divan::bench(args = SIZES)]
fn text(bencher: Bencher<'_, '_>, size: usize) {
    decode(bencher, &client_frame(Opcode::Text, &vec![b'x'; size], KEY), size);
}

/// Text of two-byte characters, which has no fast path in the UTF-8 check.
#[divan::bench(args = SIZES)]
fn text_of_umlauts(bencher: Bencher<'_, '_>, size: usize) {
    decode(bencher, &client_frame(Opcode::Text, "ä".repeat(size / 2).as_bytes(), KEY), size);
}

/// Any bytes, without a check.
#[divan::bench(args = SIZES)]
fn binary(bencher: Bencher<'_, '_>, size: usize) {
    decode(bencher, &client_frame(Opcode::Binary, &vec![7; size], KEY), size);
}

/// A text message in four fragments, copied once to be assembled.
#[divan::bench(args = SIZES)]
fn four_fragments(bencher: Bencher<'_, '_>, size: usize) {
    let piece = vec![b'x'; size / 4];
    let mut bytes = client_fragment(Opcode::Text, &piece, KEY);
    bytes.extend(client_fragment(Opcode::Continuation, &piece, KEY));
    bytes.extend(client_fragment(Opcode::Continuation, &piece, KEY));
    bytes.extend(client_frame(Opcode::Continuation, &piece, KEY));
    decode(bencher, &bytes, size);
}

/// A frame that arrives in two halves.
#[divan::bench(args = SIZES)]
fn cut_in_two(bencher: Bencher<'_, '_>, size: usize) {
    let frame = client_frame(Opcode::Text, &vec![b'x'; size], KEY);
    let mut decoder = Decoder::default();
    bencher.counter(BytesCount::new(size)).with_inputs(|| frame.clone()).bench_local_refs(|bytes| {
        let (first, second) = bytes.split_at_mut(frame.len() / 2);
        assert_eq!(drain(&mut decoder, first) + drain(&mut decoder, second), 1);
    });
}

/// 64 messages of 128 bytes in one read, counted as items.
#[divan::bench]
fn burst_of_64(bencher: Bencher<'_, '_>) {
    let burst = client_frame(Opcode::Text, &[b'x'; 128], KEY).repeat(64);
    let mut decoder = Decoder::default();
    bencher
        .counter(ItemsCount::new(64_u32))
        .with_inputs(|| burst.clone())
        .bench_local_refs(|bytes| assert_eq!(drain(&mut decoder, bytes), 64));
}

/// One message. The copy that is unmasked in place is not measured.
fn decode(bencher: Bencher<'_, '_>, frame: &[u8], size: usize) {
    let mut decoder = Decoder::default();
    // Divan chooses the sample size by the first call, which must therefore not be cold.
    (0..100).for_each(|_| assert_eq!(drain(&mut decoder, &mut frame.to_vec()), 1));
    bencher
        .counter(BytesCount::new(size))
        .with_inputs(|| frame.to_vec())
        .bench_local_refs(|bytes| assert_eq!(drain(&mut decoder, bytes), 1));
}

/// Decodes all of `input` and returns the number of messages.
fn drain(decoder: &mut Decoder, mut input: &mut [u8]) -> usize {
    let mut messages = 0;
    loop {
        let rest = std::mem::take(&mut input);
        let decoded = decoder.next(rest, MESSAGE_BYTES_MAX).expect("what a client sends");
        let used = decoded.used;
        if black_box(decoded.event).is_none() {
            return messages;
        }
        messages += 1;
        input = &mut rest[used..];
    }
}
