//! The engine's own cost of fan-out, with the kernel left out: publishes to one room, by members and by payload, with
//! the allocations of each. `cargo bench --bench fanout`.

mod support;

use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use support::Rig;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// One publish of 128 bytes; items are deliveries.
#[divan::bench(args = [1, 10, 100, 1_000])]
fn members(bencher: Bencher<'_, '_>, members: u32) {
    let mut rig = Rig::new(1, members, 128);
    bencher.counter(ItemsCount::new(members)).bench_local(|| rig.publish(0, 1));
}

/// Sixteen publishes in one turn: what waits for a member goes in one send.
#[divan::bench(args = [10, 100, 1_000])]
fn members_burst_of_16(bencher: Bencher<'_, '_>, members: u32) {
    let mut rig = Rig::new(1, members, 128);
    bencher.counter(ItemsCount::new(members * 16)).bench_local(|| rig.publish(0, 16));
}

/// One publish to 100 members, by payload.
#[divan::bench(args = [32, 128, 1_024, 16_384])]
fn payload(bencher: Bencher<'_, '_>, payload: usize) {
    let mut rig = Rig::new(1, 100, payload);
    bencher.counter(ItemsCount::new(100_u32)).bench_local(|| rig.publish(0, 1));
}
