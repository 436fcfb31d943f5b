//! Members who leave while publications of their own are on their way.

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
        room: room(),
        stretch: Stretch { head: None, records: vec![] },
        keys: vec![],
    });
    world.pass(100);
    world.discard();
    world
}

fn commit(world: &mut World, seq: Seq) {
    let epoch = epoch_of(world);
    world.store_event(StoreEvent::Committed { room: room(), epoch, seq });
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
    world.store_event(StoreEvent::Failed { room: room(), epoch, seq: 1, retry_after_ms: 9 });
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
fn a_connection_that_is_gone_leaves_in_the_state_that_the_room_has_counted() {
    for counted_away in [true, false] {
        let mut world = durable();
        let member = MemberRef { user: user(1), ..member(3) };
        let (conn, reply) = (member.conn, ReplyTo { id: None, form: Form::Json });
        let join = |away| {
            let (room, member) = (room(), member.clone());
            ToOwner::Join { room, member, away, again: false, recover: None, history: None, reply }
        };
        let leave = |away, reply| ToOwner::Leave { room: room(), member: member.clone(), away, reply };
        world.hop(join(counted_away));
        let publish = Publish { kind: DataKind::Json, data: "1".into(), key: None, echo: true, ephemeral: false };
        world.ask_with(member.clone(), Ask::Publish(publish), reply);
        world.hop(leave(counted_away, Some(reply)));
        world.hop(join(counted_away));
        world.hop(ToOwner::Away { room: room(), conn, user: user(1), away: !counted_away });
        world.hop(leave(!counted_away, None));
        world.discard();
        world.pass(5_000);
        let presence = Ask::Presence { after: None, limit: 1 };
        world.ask(1, presence);
        assert_eq!(world.own(), ["1 presence u1 of 1"], "no news that the user is away");
    }
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
        world.link_event(LinkEvent::Read { room: room(), stretch });
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
