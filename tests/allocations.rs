//! A delivery allocates nothing: the allocations of a publish do not depend on the number of members.

#[path = "../benches/support/mod.rs"]
mod support;

use support::Rig;

/// Allocations of one publish to a room of `members`, in the steady state.
fn allocations_per_publish(members: u32) -> u64 {
    const PUBLISHES: u64 = 1_000;
    let mut rig = Rig::new(1, members, 128);
    for _ in 0..PUBLISHES {
        rig.publish(0, 1);
    }
    let deliveries = rig.counters.deliveries.get();
    let counted = allocation_counter::measure(|| {
        for _ in 0..PUBLISHES {
            rig.publish(0, 1);
        }
    });
    assert_eq!(rig.counters.deliveries.get() - deliveries, PUBLISHES * u64::from(members));
    counted.count_total / PUBLISHES
}

#[test]
fn deliveries_allocate_nothing() {
    let (few, many) = (allocations_per_publish(1), allocations_per_publish(500));
    assert_eq!(few, many, "499 more deliveries of each publish");
    assert!(few <= 8, "a publish allocates {few} times");
}
