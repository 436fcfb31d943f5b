//! Names into numbers: where a room is placed, and how a room is found among many, by the hash in use and by the one of
//! the standard library. `cargo bench --bench hash`.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use roomring::base::ids::RoomName;
use roomring::engine::placement::{self, owner_of};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// Bytes of a name; 128 is the longest.
const LENGTHS: [usize; 4] = [8, 16, 32, 128];

/// Lookups in one measured call: the same names each time, spread over the table, so that what they touch is cached.
const LOOKUPS: usize = 1_000;

fn main() {
    // Enough for the clock, however cold the first call is.
    divan::Divan::default().sample_size(64).min_time(Duration::from_millis(100)).config_with_args().main();
}

/// Which core owns a room: the stable hash.
#[divan::bench(args = LENGTHS)]
fn placement(bencher: Bencher<'_, '_>, length: usize) {
    let name = "r".repeat(length);
    bencher.bench_local(|| owner_of(black_box(&name), black_box(96)));
}

/// The stable hash alone.
#[divan::bench(args = LENGTHS)]
fn stable(bencher: Bencher<'_, '_>, length: usize) {
    let name = "r".repeat(length);
    bencher.bench_local(|| placement::hash(black_box(name.as_bytes())));
}

/// The seeded hash of the engine's tables.
#[divan::bench(args = LENGTHS)]
fn foldhash(bencher: Bencher<'_, '_>, length: usize) {
    hash(bencher, &foldhash::fast::RandomState::default(), length);
}

/// The standard library's.
#[divan::bench(args = LENGTHS)]
fn siphash(bencher: Bencher<'_, '_>, length: usize) {
    hash(bencher, &RandomState::new(), length);
}

/// A room found by its name among so many; items are lookups.
#[divan::bench(args = [100, 10_000, 1_000_000])]
fn find_by_foldhash(bencher: Bencher<'_, '_>, rooms: usize) {
    find(bencher, rooms, foldhash::fast::RandomState::default());
}

/// The same by the standard library's hash.
#[divan::bench(args = [100, 10_000, 1_000_000])]
fn find_by_siphash(bencher: Bencher<'_, '_>, rooms: usize) {
    find(bencher, rooms, RandomState::new());
}

fn hash(bencher: Bencher<'_, '_>, state: &impl BuildHasher, length: usize) {
    let name = "r".repeat(length);
    bencher.bench_local(|| state.hash_one(black_box(name.as_str())));
}

fn find(bencher: Bencher<'_, '_>, rooms: usize, state: impl BuildHasher) {
    let name = |index: usize| format!("room-{index:08}");
    let mut table = HashMap::with_capacity_and_hasher(rooms, state);
    table.extend((0..rooms).map(|index| (RoomName::new(&name(index)).expect("valid"), index)));
    // A step that has no divisor in common with any of the sizes: every room comes up.
    let wanted: Vec<String> = (0..LOOKUPS).map(|index| name(index * 7_919 % rooms)).collect();
    bencher.counter(ItemsCount::new(LOOKUPS)).bench_local(|| {
        wanted
            .iter()
            .map(|name| *table.get(black_box(name.as_str())).expect("it is there"))
            .fold(0, usize::wrapping_add)
    });
}
