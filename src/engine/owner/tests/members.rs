//! Joining, recovery, leaving, presence.

use super::*;
use crate::base::limits::PAGE_MAX;

fn recover(seq: Seq, epoch: Option<Epoch>) -> Option<Recover> {
    Some(Recover { seq, epoch })
}

#[test]
fn a_join_gives_the_newest_and_what_comes_after_follows() {
    let mut world = World::memory();
    world.join(1);
    assert_eq!(world.own(), ["1 joined at 0 [] of 1"]);
    for _ in 0..4 {
        world.publish(1);
    }
    world.own();
    world.join(10);
    world.publish(1);
    assert_eq!(world.sent(1), ["10 joined at 4 [2, 3, 4] of 2", "message 5"]);
    assert_eq!(world.own(), ["message 5", "1 published 5"]);
}

#[test]
fn a_join_may_say_how_much_it_wants() {
    let mut world = World::memory();
    world.join(1);
    for _ in 0..9 {
        world.publish(1);
    }
    world.own();
    for (history, messages) in
        [(Some(0), "[]"), (Some(2), "[8, 9]"), (None, "[7, 8, 9]"), (Some(99), "[5, 6, 7, 8, 9]")]
    {
        world.join_from(2, None, history);
        assert_eq!(world.own(), [format!("2 joined at 9 {messages} of 2")]);
        world.leave(2);
        assert_eq!(world.own(), ["2 left"]);
    }
}

#[test]
fn recovery_gives_exactly_what_was_missed_or_says_that_it_does_not() {
    let mut world = World::memory();
    world.join(1);
    for _ in 0..12 {
        world.publish(1);
    }
    world.own();
    let own = Some(world.epoch());
    for (seq, epoch, answer) in [
        (12, own, "recovered at 12 []"),
        (10, own, "recovered at 12 [11, 12]"),
        (10, None, "recovered at 12 [11, 12]"),
        (4, own, "recovered at 12 [5, 6, 7, 8, 9, 10, 11, 12]"),
        (3, own, "joined at 12 [10, 11, 12]"),
        (0, own, "joined at 12 [10, 11, 12]"),
        (13, own, "joined at 12 [10, 11, 12]"),
        (10, Some(Epoch::UNKNOWN), "joined at 12 [10, 11, 12]"),
        (10, Some(Epoch(5)), "joined at 12 [10, 11, 12]"),
    ] {
        world.join_from(2, recover(seq, epoch), None);
        assert_eq!(world.own(), [format!("2 {answer} of 2")], "from {seq} of {epoch:?}");
        world.gone(2);
    }
}

#[test]
fn recovery_ends_where_history_does() {
    let mut world = World::new(|_, rooms| {
        rooms.history_size = 5;
        rooms.history_on_join_max = 9;
    });
    world.join(1);
    for _ in 0..9 {
        world.publish(1);
    }
    world.own();
    world.join_from(2, recover(4, None), None);
    world.join_from(3, recover(3, None), Some(9));
    assert_eq!(world.own(), ["2 recovered at 9 [5, 6, 7, 8, 9] of 2", "3 joined at 9 [5, 6, 7, 8, 9] of 3"]);
    world.pass(59_999);
    world.own();
    world.join_from(4, recover(8, None), None);
    assert_eq!(world.own(), ["4 recovered at 9 [9] of 4"]);
    world.pass(1);
    world.join_from(5, recover(8, None), None);
    world.join_from(6, recover(9, None), None);
    let answers = world.own();
    assert_eq!(answers, ["5 joined at 9 [] of 5", "6 recovered at 9 [] of 6"], "expired is gone before it is swept");
}

#[test]
fn a_page_is_bounded_in_bytes_and_what_a_join_brings_in_number_only() {
    let mut world = World::new(|settings, _| settings.outbox_bytes = 8_192);
    world.join(1);
    for _ in 0..3 {
        world.publish_with(1, |publish| publish.data = Bytes::from(vec![b'1'; 1_500]));
    }
    world.own();
    world.join_from(2, recover(1, None), None);
    world.join_from(3, recover(0, None), None);
    assert_eq!(world.own(), ["2 recovered at 3 [2, 3] of 2", "3 recovered at 3 [1, 2, 3] of 3"]);
    world.publish_with(1, |publish| publish.data = Bytes::from(vec![b'1'; 9_000]));
    world.own();
    world.join_from(4, recover(3, None), None);
    assert_eq!(world.own(), ["4 recovered at 4 [4] of 4"]);
    world.ask(1, Ask::History { after: Some(3), before: None, limit: PAGE_MAX });
    assert_eq!(world.own(), ["1 history [4] of 1..4"], "a page of history always gets further");
}

#[test]
fn joining_again_changes_no_count() {
    let mut world = World::memory();
    world.join(1);
    world.join_again(1);
    assert_eq!(world.own(), ["1 joined at 0 [] of 1", "1 joined at 0 [] of 1"]);
    world.leave(1);
    assert_eq!(world.own(), ["1 left"]);
    world.pass(5_000);
    world.assert_empty();
}

#[test]
fn who_is_no_member_gets_nothing() {
    let mut world = World::memory();
    for is_there in [false, true] {
        if is_there {
            world.join(1);
            world.own();
        }
        world.publish(2);
        world.join_again(2);
        world.ask(2, Ask::History { after: None, before: None, limit: 1 });
        world.ask(2, Ask::Presence { after: None, limit: 1 });
        world.hop(ToOwner::Away { room: room(), conn: conn(2), user: user(1), away: true });
        world.gone(2);
        world.leave(2);
        assert_eq!(
            world.own(),
            ["2 not_joined", "2 overloaded unjoin", "2 not_joined", "2 not_joined", "2 left"],
            "{is_there}"
        );
        assert_eq!(world.has_room(), is_there);
    }
    world.pass(100);
    assert_eq!(world.own().len(), 1, "u1 online, not away");
}

#[test]
fn an_empty_room_goes_after_the_grace() {
    let mut world = World::memory();
    world.join(1);
    assert_eq!((world.counters.rooms.get(), world.counters.rooms_held.get()), (1, 1));
    world.pass(100);
    assert_eq!(world.owner.next_tick_us(world.now), None, "members alone need no tick");
    world.gone(1);
    assert_eq!((world.counters.rooms.get(), world.counters.rooms_held.get()), (0, 1));
    world.pass(1_999);
    assert!(world.has_room());
    world.pass(200);
    world.assert_empty();
}

#[test]
fn without_presence_an_empty_room_goes_at_once() {
    let mut world = World::new(|_, rooms| rooms.presence = false);
    world.join(1);
    world.join_from(2, None, None);
    world.ask(1, Ask::Presence { after: None, limit: 1 });
    assert_eq!(world.own(), ["1 joined at 0 [] of 1", "2 joined at 0 [] of 2", "1 forbidden"]);
    world.gone(1);
    world.gone(2);
    world.assert_empty();
}

#[test]
fn statuses_are_told_to_the_cores_that_listen_in_one_push() {
    let mut world = World::memory();
    world.join(1);
    world.join(10);
    world.pass(100);
    let push = world.own().pop().expect("a push");
    assert_eq!(push, "statuses u1 online, u10 online");
    assert_eq!(world.sent(1), ["10 joined at 0 [] of 2".to_owned(), push]);
    assert!(world.sent(2).is_empty());
    world.away(10, true);
    world.pass(1_000);
    assert_eq!(world.own(), ["statuses u10 away"]);
    world.gone(10);
    world.pass(1_000);
    world.join(10);
    world.pass(5_000);
    assert_eq!(world.own(), ["statuses u10 online"], "the reconnect is silent but for the away that ended");
}

#[test]
fn a_page_that_does_not_stay_true_is_made_true() {
    for grace_ms in [0, 2_000] {
        let mut world = World::new(|_, rooms| rooms.presence_grace_ms = grace_ms);
        world.join(1);
        world.join(10);
        world.pass(5_000);
        world.discard();
        world.away(10, true);
        world.page(1);
        world.away(10, false);
        world.pass(100);
        assert_eq!(world.own(), ["1 presence u1,u10 of 2", "statuses u10 online"]);
        // She leaves, a reply shows her absent after her grace period, and she comes back before anyone was told.
        world.pass(5_000);
        world.discard();
        world.gone(10);
        world.pass(grace_ms);
        world.page(1);
        world.join(10);
        world.pass(1_000);
        assert_eq!(world.own(), ["1 presence u1 of 1", "statuses u10 online"], "{grace_ms}");
    }
}

#[test]
fn a_core_whose_lane_was_full_is_told_the_newest_state() {
    let mut world = World::memory();
    for slot in [1, 10, 20] {
        world.join(slot);
    }
    world.pass(100);
    world.discard();
    world.fill_lane(1);
    world.away(20, true);
    world.pass(1_000);
    assert_eq!((world.own(), world.sent(2)), (vec!["statuses u20 away".into()], vec!["statuses u20 away".into()]));
    world.join(2);
    world.pass(1_000);
    assert_eq!(world.own().pop().expect("a push"), "statuses u2 online");
    world.fill_lane(1);
    world.away(20, false);
    world.pass(1_000);
    assert_eq!(world.sent(2).pop().expect("a push"), "statuses u20 online");
    assert!(world.sent(1).is_empty(), "the lane was full throughout");
    world.pass(100);
    assert_eq!(world.sent(1), ["statuses u2 online, u20 online"], "in the order of their last changes, each once");
    assert!(world.budget.used() > 0 || world.owner.next_tick_us(world.now).is_none());
    world.fill_lane(1);
    world.away(20, true);
    world.pass(1_000);
    world.gone(10);
    world.sent(1);
    world.pass(5_000);
    assert!(world.sent(1).is_empty(), "nobody is there any more");
    for slot in [1, 2, 20] {
        world.gone(slot);
    }
    world.pass(10_000);
    world.discard();
    world.assert_empty();
}

#[test]
fn a_room_with_many_members_is_told_totals_once_a_second() {
    let mut world = World::new(|_, rooms| rooms.presence_names_max = 3);
    for slot in [1, 2, 10] {
        world.join(slot);
    }
    world.pass(100);
    assert_eq!(world.own().pop().expect("a push"), "statuses u1 online, u2 online, u10 online");
    world.join(3);
    world.discard();
    world.pass(1_000);
    assert_eq!((world.own(), world.sent(1)), (vec!["total 4".into()], vec!["total 4".into()]));
    world.fill_lane(1);
    for slot in 4..9 {
        world.join(slot);
        world.pass(100);
    }
    world.pass(500);
    assert_eq!(world.own().pop().expect("a push"), "total 9");
    assert!(world.sent(1).is_empty());
    world.pass(100);
    assert_eq!(world.sent(1), ["total 9"]);
    for slot in 4..9 {
        world.gone(slot);
    }
    world.gone(3);
    world.pass(5_000);
    assert_eq!(world.own().len(), 1);
}

#[test]
fn a_thousand_joins_of_a_large_room_cost_a_few_pushes() {
    let mut world = World::memory();
    for slot in 1_000..2_001 {
        world.join(slot);
    }
    world.pass(1_000);
    world.discard();
    for slot in 2_001..3_001 {
        world.join(slot);
        world.pass(2);
    }
    world.pass(1_000);
    let told = world.own().into_iter().filter(|line| !line.contains("joined")).collect::<Vec<_>>();
    assert!(told.len() <= 4 && told.iter().all(|line| line.starts_with("total")), "{told:?}");
    assert_eq!(told.last().expect("told"), "total 2001");
}

#[test]
fn history_is_read_in_pages() {
    let mut world = World::memory();
    world.join(1);
    for _ in 0..12 {
        world.publish(1);
    }
    world.own();
    for (after, before, limit, answer) in [
        (None, None, 2, "[11, 12]"),
        (Some(3), None, 2, "[4, 5]"),
        (Some(0), None, 2, "[3, 4]"),
        (None, Some(5), 9, "[3, 4]"),
        (None, None, 0, "[12]"),
        (Some(12), None, 9, "[]"),
    ] {
        world.ask(1, Ask::History { after, before, limit });
        assert_eq!(world.own(), [format!("1 history {answer} of 3..12")], "{after:?} {before:?} {limit}");
    }
}

#[test]
fn a_room_without_history_says_so() {
    let mut world = World::new(|_, rooms| rooms.history_size = 0);
    world.join(1);
    world.publish(1);
    world.ask(1, Ask::History { after: None, before: None, limit: 1 });
    assert_eq!(world.own(), ["1 joined at 0 [] of 1", "message 1", "1 published 1", "1 history_unavailable"]);
}

#[test]
fn presence_is_read_in_pages() {
    let mut world = World::memory();
    for slot in [1, 2, 3] {
        world.join(slot);
    }
    world.own();
    world.ask(2, Ask::Presence { after: Some("u1".into()), limit: 1 });
    assert_eq!(world.own(), ["2 presence u2 of 3"]);
}
