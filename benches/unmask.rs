//! Unmasks in place, by size and alignment of the payload, compared with the loop of RFC 6455 section 5.3.
//! `cargo bench --bench unmask`.

use std::time::Duration;

use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher, black_box};
use roomring::wire::mask::unmask;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const SIZES: [usize; 6] = [4, 32, 125, 1_024, 16_384, 65_536];

fn main() {
    // Long enough for the resolution of the clock, even if the first call is cold.
    divan::Divan::default().sample_size(64).min_time(Duration::from_millis(100)).config_with_args().main();
}

/// Payloads after a header of 6 or 8 bytes, as in a receive buffer.
#[divan::bench(args = SIZES)]
fn payload(bencher: Bencher<'_, '_>, size: usize) {
    let header = if size <= 125 { 6 } else { 8 };
    run(bencher, header, size, |bytes| unmask(bytes, black_box(KEY), 0));
}

/// 1,024 bytes at offsets from a boundary of 64.
#[divan::bench(args = [0, 1, 4, 8, 31])]
fn alignment(bencher: Bencher<'_, '_>, start: usize) {
    run(bencher, start, 1_024, |bytes| unmask(bytes, black_box(KEY), 0));
}

/// 1,024 bytes at offsets of a payload, which rotate the key.
#[divan::bench(args = [0, 1, 3])]
fn offset(bencher: Bencher<'_, '_>, offset: usize) {
    run(bencher, 0, 1_024, |bytes| unmask(bytes, black_box(KEY), black_box(offset)));
}

/// The definition: one byte at a time.
#[divan::bench(args = SIZES)]
fn naive(bencher: Bencher<'_, '_>, size: usize) {
    let header = if size <= 125 { 6 } else { 8 };
    run(bencher, header, size, |bytes| {
        let key = black_box(KEY);
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte ^= key[index % 4];
        }
    });
}

/// Runs `unmask` on `size` bytes that start `start` bytes after a boundary of 64. The same bytes are reused, because
/// masking twice restores them.
fn run(bencher: Bencher<'_, '_>, start: usize, size: usize, mut unmask: impl FnMut(&mut [u8])) {
    let mut buffer = vec![b'x'; size + 64 + start];
    let start = buffer.as_ptr().align_offset(64) + start;
    let payload = &mut buffer[start..start + size];
    bencher.counter(BytesCount::new(size)).bench_local(|| unmask(black_box(&mut *payload)));
}
