//! Full lanes: which messages are sent later, which become a gap, and who is left out.

use super::*;
use crate::base::limits::LANE_HOPS_MAX;

/// Members 1 here and 10 on core 1, whose lane is full.
fn behind(change: impl FnOnce(&mut Settings, &mut RoomSettings)) -> World {
    let mut world = World::new(change);
    world.join(1);
    world.join(10);
    world.pass(100);
    world.discard();
    world.fill_lane(1);
    world
}

#[test]
fn what_a_full_lane_did_not_take_comes_later_without_another_publish() {
    let mut world = behind(|_, _| {});
    for _ in 0..3 {
        world.publish(1);
    }
    assert_eq!(world.own().len(), 6, "the publisher's own core goes on");
    assert_eq!(world.counters.dropped_lane.get(), 3);
    world.pass(1_000);
    assert!(world.sent(1).is_empty(), "still full");
    world.pass(100);
    assert_eq!(world.sent(1), ["message 1", "message 2", "message 3"]);
    assert!(world.own().is_empty());
    assert_eq!((world.counters.dropped_lane.get(), world.counters.dropped_gap.get()), (3, 0));
    world.publish(1);
    assert_eq!(world.sent(1), ["message 4"]);
}

#[test]
fn the_next_publish_repairs_too() {
    let mut world = behind(|_, _| {});
    world.publish(1);
    assert!(world.sent(1).is_empty());
    world.publish_with(10, |publish| publish.echo = false);
    assert_eq!(world.sent(1), ["message 1", "message 2 but 10", "10 published 2"]);
}

#[test]
fn who_was_to_be_spared_is_spared_later() {
    let mut world = behind(|_, _| {});
    world.publish_with(10, |publish| publish.echo = false);
    assert_eq!(world.sent(1), ["10 published 1"]);
    world.pass(100);
    assert_eq!(world.sent(1), ["message 1 but 10"]);
}

#[test]
fn what_history_does_not_hold_any_more_is_a_gap() {
    let mut world = behind(|_, rooms| rooms.history_size = 4);
    for _ in 0..6 {
        world.publish(1);
    }
    assert!(world.sent(1).is_empty());
    world.pass(100);
    assert_eq!(world.sent(1), ["gap 1..2", "message 3", "message 4", "message 5", "message 6"]);
    assert_eq!((world.counters.dropped_lane.get(), world.counters.dropped_gap.get()), (6, 2));
}

#[test]
fn without_history_all_of_it_is_a_gap() {
    let mut world = behind(|_, rooms| rooms.history_size = 0);
    world.publish(1);
    world.publish(1);
    world.sent(1);
    world.publish(1);
    assert_eq!(world.sent(1), ["gap 1..2", "message 3"]);
}

#[test]
fn a_lane_takes_what_it_has_room_for() {
    let mut world = World::memory();
    world.join(1);
    world.join(10);
    world.pass(100);
    world.sent(1);
    for _ in 0..LANE_HOPS_MAX - 2 {
        world.outbound.post(CoreId(1), filler());
    }
    for _ in 0..5 {
        world.publish(1);
    }
    assert_eq!(world.sent(1), ["message 1", "message 2"]);
    for _ in 0..LANE_HOPS_MAX - 1 {
        world.outbound.post(CoreId(1), filler());
    }
    world.pass(100);
    assert_eq!(world.sent(1), ["message 3"]);
    world.pass(100);
    assert_eq!(world.sent(1), ["message 4", "message 5"]);
}

#[test]
fn nobody_joins_on_a_core_that_is_behind() {
    let mut world = behind(|_, _| {});
    world.publish(1);
    world.own();
    world.join(11);
    world.join_again(10);
    world.join(20);
    assert_eq!(world.sent(1), ["11 overloaded unjoin", "10 overloaded unjoin"]);
    assert_eq!(world.sent(2), ["20 joined at 1 [1] of 3"], "another core is not concerned");
    world.join(11);
    assert_eq!(world.sent(1), ["message 1", "11 joined at 1 [1] of 4"], "brought up to date first");
}

#[test]
fn a_core_whose_members_have_left_is_not_repaired() {
    let mut world = behind(|_, rooms| rooms.presence = false);
    world.publish(1);
    world.gone(10);
    world.pass(500);
    assert!(world.sent(1).is_empty());
    world.pass(500);
    assert!(world.sent(1).is_empty());
    world.join(10);
    world.publish(1);
    assert_eq!(world.sent(1), ["10 joined at 1 [1] of 2", "message 2"]);
}

#[test]
fn a_full_lane_does_not_keep_a_room_ticking_once_repaired() {
    let mut world = behind(|_, rooms| rooms.history_size = 0);
    world.publish(1);
    world.sent(1);
    world.pass(200);
    assert_eq!(world.owner.next_tick_us(world.now), None);
}
