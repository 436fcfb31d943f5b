//! Members who leave while publications of their own are in flight.

use super::*;
use crate::base::limits::{PENDING_PER_ROOM_MAX, WAITING_BYTES};

fn epoch_of(world: &mut World) -> Epoch {
    world.epoch()
}

/// A room of a store, open, with member 1.
fn durable() -> World {
    let mut world = World::new(|settings, _| settings.keeping = KeepingMode::Commit);
    world.join(1);
    world.store_event(StoreEvent::Loaded {
        attempt: 0,
        room: room(),
        stretch: Stretch { head: None, records: vec![] },
        first_seq: 1,
        keys: vec![],
        created: None,
    });
    world.pass(100);
    world.discard();
    world
}

fn commit(world: &mut World, seq: Seq) {
    let epoch = epoch_of(world);
    world.store_event(StoreEvent::Committed { attempt: 0, room: room(), epoch, seq });
}

#[test]
fn whoever_leaves_gets_what_the_store_has_still_to_commit() {
    let mut world = durable();
    world.join(2);
    world.publish(1);
    world.publish(2);
    world.leave(1);
    world.join(1);
    world.publish(1);
    assert_eq!(world.own(), ["2 joined at 0 [] of 2"], "what comes behind the leave waits too");
    assert!(world.owner.retention.kept_bytes >= 3 * WAITING_BYTES as u64);
    commit(&mut world, 1);
    let answers = ["message 1", "1 published 1", "1 left", "1 joined at 1 [1] of 2"];
    assert_eq!(world.own(), answers, "its own has come, the other's it need not wait for");
    commit(&mut world, 3);
    assert_eq!(world.own(), ["message 2", "2 published 2", "message 3", "1 published 3"]);
    world.leave(1);
    assert_eq!(world.own(), ["1 left"], "nothing is on its way");
}

#[test]
fn whoever_leaves_goes_when_its_publishes_have_failed() {
    let mut world = durable();
    world.publish(1);
    world.leave(1);
    let epoch = epoch_of(&mut world);
    world.store_event(StoreEvent::Failed { attempt: 0, room: room(), epoch, seq: 1, retry_after_ms: 9 });
    assert_eq!(world.own(), ["1 unavailable for 9", "1 left"]);
}

#[test]
fn a_connection_that_is_gone_waits_for_nothing() {
    let mut world = durable();
    world.publish(1);
    world.leave(1);
    world.join(1);
    world.gone(1);
    commit(&mut world, 1);
    assert_eq!(world.own(), ["1 published 1"]);
    world.pass(200_000);
    world.assert_empty();
}

#[test]
fn a_leaver_that_goes_away_and_is_gone_leaves_as_what_it_was() {
    let mut world = durable();
    let other = MemberRef { user: user(1), ..member(2) };
    let join = |member| ToOwner::Join {
        room: room(),
        member,
        away: true,
        again: false,
        recover: None,
        history: None,
        invite: None,
        standing: Standing::Anyone,
        reply: REPLY,
    };
    world.hop(join(other));
    world.publish(1);
    world.leave(1);
    world.away(1, true);
    world.hop(ToOwner::Leave { room: room(), member: member(1), away: true, reply: None });
    world.pass(2_000);
    world.own();
    let id = world.owner.rooms.find(&room()).expect("there");
    let presence = world.owner.rooms.get_mut(id).and_then(|room| room.stream.presence.as_mut());
    let page = presence.expect("tracked").page(None, 9, false);
    assert_eq!((page.len(), page[0].status.as_str()), (1, "away"), "the other connection still says so");
}

#[test]
fn what_waits_behind_a_leave_is_bounded() {
    let mut world = durable();
    world.publish(1);
    world.leave(1);
    world.join(1);
    for _ in 0..PENDING_PER_ROOM_MAX {
        world.page(1);
    }
    assert_eq!(world.own(), ["1 overloaded", "1 overloaded"]);
    world.away(1, true);
    commit(&mut world, 1);
    assert_eq!(world.own().len(), 4 + PENDING_PER_ROOM_MAX - 2);
    world.pass(5_000);
    assert_eq!(world.own(), ["statuses u1 away"], "the join that waited says so");
    assert_eq!(world.owner.retention.kept_bytes, 0);
}

#[test]
fn whoever_leaves_gets_what_the_link_has_still_to_number() {
    for published_first in [true, false] {
        let mut world = World::new(|settings, rooms| {
            settings.numbering = NumberingMode::Link;
            rooms.presence = false;
        });
        let epoch = Epoch(50);
        world.join(1);
        let stretch = Stretch { head: Some(Position { epoch, seq: 4 }), records: vec![] };
        world.link_holds(stretch, None);
        world.discard();
        world.publish(1);
        world.leave(1);
        let [LinkRequest::Publish { token, .. }] = world.link[..] else { panic!("{:?}", world.link) };
        assert!(world.own().is_empty());
        let come = LinkEvent::Publication { room: room(), epoch, record: record(5, 1) };
        let answered = LinkEvent::Published { token, result: Ok((Position { epoch, seq: 5 }, false)) };
        if published_first {
            world.link_event(answered);
            assert_eq!(world.own(), ["1 published 5"], "answered, and not yet come");
            world.link_event(come);
            assert_eq!(world.own(), ["message 5", "1 left"]);
        } else {
            world.link_event(come);
            assert_eq!(world.own(), ["message 5"], "come, and not yet answered");
            world.link_event(answered);
            assert_eq!(world.own(), ["1 published 5", "1 left"]);
        }
        world.pass(1_000);
        world.assert_empty();
    }
}

#[test]
fn whoever_published_in_an_epoch_that_is_still_to_be_told_leaves_after_that() {
    for is_ever_told in [true, false] {
        let mut world = World::new(|settings, rooms| {
            settings.numbering = NumberingMode::Link;
            rooms.presence = false;
        });
        let head = |epoch, seq| Stretch { head: Some(Position { epoch: Epoch(epoch), seq }), records: vec![] };
        world.join(1);
        world.link_holds(head(50, 4), None);
        world.discard();
        world.publish(1);
        world.leave(1);
        world.link_event(LinkEvent::Published { token: 0, result: Ok((Position { epoch: Epoch(60), seq: 1 }, false)) });
        assert_eq!(world.own(), ["1 published 1"]);
        world.pass(2_000);
        world.discard();
        let epoch = Epoch(if is_ever_told { 60 } else { 50 });
        let position = Position { epoch, seq: if is_ever_told { 1 } else { 4 } };
        let heads = vec![(room(), Some(LinkHead { position, presence: 0 }))];
        world.link_event(LinkEvent::Positions { token: world.positions_token, heads });
        if is_ever_told {
            assert!(world.own().is_empty());
            world.link_holds(head(60, 1), None);
            assert_eq!(world.own(), ["new epoch at 1 [] of 1", "1 left"]);
        } else {
            assert_eq!(world.own(), ["1 left"], "it was lost");
        }
    }
}

#[test]
fn whoever_leaves_gets_what_a_full_lane_put_off() {
    let mut world = World::memory();
    world.join(10);
    world.pass(100);
    world.discard();
    world.fill_lane(1);
    world.publish(10);
    world.leave(10);
    assert!(world.sent(1).iter().all(|line| line == "10 published 1"));
    world.pass(100);
    assert_eq!(world.sent(1), ["message 1", "10 left"]);
}
