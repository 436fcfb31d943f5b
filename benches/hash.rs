//! Hashes names: the placement of a room, and the look-up of a room among many, with the hash in use (SipHash-1-3) and
//! with a faster one that does not withstand chosen names. `cargo bench --bench hash`.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::time::Duration;

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use roomring::base::ids::{CoreId, RoomName};
use roomring::engine::placement::owner_of;
use roomring::engine::random::{NameHashing, Part, Secrets};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// Bytes of a name. The maximum is 128.
const LENGTHS: [usize; 4] = [8, 16, 32, 128];

/// Lookups in one measured call: the same names each time, spread over the table, so that their memory is cached.
const LOOKUPS: usize = 1_000;

fn main() {
    // Enough for the clock, even if the first call is cold.
    divan::Divan::default().sample_size(64).min_time(Duration::from_millis(100)).config_with_args().main();
}

/// The owner core of a room.
#[divan::bench(args = LENGTHS)]
fn placement(bencher: Bencher<'_, '_>, length: usize) {
    let name = "r".repeat(length);
    bencher.bench_local(|| owner_of(black_box(&name), black_box(96)));
}

/// The hash of the engine's tables.
#[divan::bench(args = LENGTHS)]
fn siphash(bencher: Bencher<'_, '_>, length: usize) {
    hash(bencher, &hashing(), length);
}

/// The faster one.
#[divan::bench(args = LENGTHS)]
fn foldhash(bencher: Bencher<'_, '_>, length: usize) {
    hash(bencher, &foldhash::fast::RandomState::default(), length);
}

/// Finds a room by name among many. Items are lookups.
#[divan::bench(args = [100, 10_000, 1_000_000])]
fn find_by_siphash(bencher: Bencher<'_, '_>, rooms: usize) {
    find(bencher, rooms, hashing());
}

/// The same with the faster hash.
#[divan::bench(args = [100, 10_000, 1_000_000])]
fn find_by_foldhash(bencher: Bencher<'_, '_>, rooms: usize) {
    find(bencher, rooms, foldhash::fast::RandomState::default());
}

/// Makes a table of as many names as a connection's rate allows it to join in half a minute. Items are names. Chosen
/// names share 10 bits of their hash under a key that is not the table's.
#[divan::bench(args = ["random", "chosen"])]
fn insert_25_600_names(bencher: Bencher<'_, '_>, names: &str) {
    let known = Secrets::from(2).tables(CoreId(0), Part::Owner).hashing();
    let is_wanted = |name: &String| names == "random" || known.hash_one(name.as_str()) % 1_024 == 0;
    let names = (0_u32..).map(|index| format!("room-{index}")).filter(is_wanted).take(25_600);
    let names: Vec<RoomName> = names.map(|name| RoomName::new(&name).expect("valid")).collect();
    bencher.counter(ItemsCount::new(names.len())).bench_local(|| {
        let mut table = HashMap::with_hasher(hashing());
        table.extend(names.iter().map(|name| (name.clone(), 0)));
        table.len()
    });
}

fn hashing() -> NameHashing {
    Secrets::from(1).tables(CoreId(0), Part::Owner).hashing()
}

fn hash(bencher: Bencher<'_, '_>, state: &impl BuildHasher, length: usize) {
    let name = "r".repeat(length);
    bencher.bench_local(|| state.hash_one(black_box(name.as_str())));
}

fn find(bencher: Bencher<'_, '_>, rooms: usize, state: impl BuildHasher) {
    let name = |index: usize| format!("room-{index:08}");
    let mut table = HashMap::with_capacity_and_hasher(rooms, state);
    table.extend((0..rooms).map(|index| (RoomName::new(&name(index)).expect("valid"), index)));
    // The step is coprime to all sizes, so every room is looked up.
    let wanted: Vec<String> = (0..LOOKUPS).map(|index| name(index * 7_919 % rooms)).collect();
    bencher.counter(ItemsCount::new(LOOKUPS)).bench_local(|| {
        wanted
            .iter()
            .map(|name| *table.get(black_box(name.as_str())).expect("it is there"))
            .fold(0, usize::wrapping_add)
    });
}
