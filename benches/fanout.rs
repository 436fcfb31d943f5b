//! Cost of fan-out in the engines, without the kernel: publishes to one room, by members, by payload, and by the
//! percentage of members connected to a core other than the owner. `cargo bench --bench fanout`.

mod support;

use std::time::Duration;

use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use support::{Rig, Shape};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::Divan::default().min_time(Duration::from_millis(100)).config_with_args().main();
}

/// One publish of 128 bytes; items are deliveries.
#[divan::bench(args = [1, 10, 100, 1_000, 10_000])]
fn members(bencher: Bencher<'_, '_>, members: u32) {
    publish(bencher, Rig::new(1, members, 128), members, 1);
}

/// Sixteen publishes in one turn: each member gets them in one send.
#[divan::bench(args = [10, 100, 1_000])]
fn members_burst_of_16(bencher: Bencher<'_, '_>, members: u32) {
    publish(bencher, Rig::new(1, members, 128), members, 16);
}

/// One publish to 100 members, by payload.
#[divan::bench(args = [32, 128, 1_024, 16_384, 65_536])]
fn payload(bencher: Bencher<'_, '_>, payload: usize) {
    publish(bencher, Rig::new(1, 100, payload), 100, 1);
}

/// One publish to 100 members, by the percentage connected to another core. Measures both cores, through the real
/// lanes, on one thread. The publisher is on the owner's core, unless all are away.
#[divan::bench(args = [0, 25, 50, 100])]
fn percent_on_another_core(bencher: Bencher<'_, '_>, percent: u32) {
    across(bencher, 100, percent, 1);
}

/// The same with 1,000 members.
#[divan::bench(args = [0, 25, 50, 100])]
fn percent_on_another_core_of_1000(bencher: Bencher<'_, '_>, percent: u32) {
    across(bencher, 1_000, percent, 1);
}

/// The same with 100 members and sixteen publishes in one turn, which share their batches.
#[divan::bench(args = [0, 25, 50, 100])]
fn percent_on_another_core_burst_of_16(bencher: Bencher<'_, '_>, percent: u32) {
    across(bencher, 100, percent, 16);
}

fn across(bencher: Bencher<'_, '_>, members: u32, percent: u32, publishes: u32) {
    let away = members * percent / 100;
    publish(bencher, Rig::of(Shape { cores: 2, members, away, ..Shape::default() }), members, publishes);
}

/// Publishes in one turn, each to all members.
fn publish(bencher: Bencher<'_, '_>, mut rig: Rig, members: u32, publishes: u32) {
    // Until history is full and no table grows.
    let before = rig.deliveries();
    (0..150).for_each(|_| assert!(rig.publish(0, 1) > 0));
    assert_eq!(rig.deliveries() - before, 150 * u64::from(members), "everyone is a member");
    bencher.counter(ItemsCount::new(members * publishes)).bench_local(|| rig.publish(0, publishes));
}
