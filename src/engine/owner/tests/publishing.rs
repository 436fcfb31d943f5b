//! From a publish to one hop per core that listens: numbers, forms, keys.

use super::*;
use crate::base::limits::KEY_WINDOW_MS;

#[test]
fn each_listening_core_gets_one_hop() {
    let mut world = World::memory();
    for slot in [1, 2, 10, 11, 12] {
        world.join(slot);
    }
    world.discard();
    world.publish(10);
    assert_eq!(world.own(), ["message 1"]);
    assert_eq!(world.sent(1), ["message 1", "10 published 1"]);
    assert!(world.sent(2).is_empty());
    assert_eq!(world.counters.broadcasts.get(), 1);
}

#[test]
fn frames_are_in_the_forms_that_members_read() {
    let mut world = World::memory();
    world.join(1);
    let binary = MemberRef { reading: Form::Binary.into(), ..member(10) };
    let forms = |world: &mut World| {
        world.publish(1);
        let mut forms = None;
        while let Some(hop) = world.outbound.take_own() {
            if let Hop::ToHome(ToHome::Deliver { delivery: Delivery { publication, .. }, .. }) = hop {
                forms = Some(publication.frames.iter().map(|(form, _)| form).collect::<Vec<_>>());
            }
        }
        forms.expect("delivered")
    };
    assert_eq!(forms(&mut world), [Form::Json]);
    let (room, again, reply) = (room(), false, REPLY);
    let member = binary.clone();
    world.hop(ToOwner::Join {
        room,
        member,
        away: false,
        again,
        recover: None,
        history: None,
        invite: None,
        standing: Standing::Anyone,
        reply,
    });
    assert_eq!(forms(&mut world), Form::ALL);
    world.hop(ToOwner::Leave { room: super::room(), member: binary, away: false, reply: None });
    assert_eq!(forms(&mut world), [Form::Json]);
}

#[test]
fn echo_false_spares_the_publisher() {
    let mut world = World::memory();
    world.join(1);
    world.own();
    world.publish_with(1, |publish| publish.echo = false);
    assert_eq!(world.own(), ["message 1 but 1", "1 published 1"]);
}

#[test]
fn time_never_goes_back_in_a_room() {
    let mut world = World::memory();
    world.join(1);
    let mut last = 0;
    for unix_ms in [5_000, 3_000, 6_000, 1] {
        world.now.unix_ms = unix_ms;
        world.publish(1);
        while let Some(hop) = world.outbound.take_own() {
            if let Hop::ToHome(ToHome::Deliver { delivery: Delivery { publication, .. }, .. }) = hop {
                assert!(publication.at >= last.max(unix_ms));
                last = publication.at;
            }
        }
    }
    assert_eq!(last, 6_000);
}

#[test]
fn an_ephemeral_has_no_number_and_is_not_held() {
    let mut world = World::memory();
    world.join(1);
    world.join(10);
    world.discard();
    world.publish_with(1, |publish| publish.ephemeral = true);
    let pushed = world.sent(1);
    assert!(pushed.len() == 1 && pushed[0].contains("ephemeral"), "{pushed:?}");
    assert_eq!(world.own(), [pushed[0].clone(), "1 published ephemeral".to_owned()]);
    world.publish(1);
    assert_eq!(world.own(), ["message 1", "1 published 1"]);
    world.sent(1);
    world.fill_lane(1);
    world.publish_with(1, |publish| publish.ephemeral = true);
    assert!(world.sent(1).is_empty());
    assert_eq!((world.counters.dropped_push.get(), world.counters.dropped_lane.get()), (1, 0));
}

#[test]
fn a_key_is_published_once_within_its_window() {
    let mut world = World::memory();
    world.join(1);
    world.join(2);
    world.own();
    world.publish_key(1, "k");
    world.publish_key(1, "k");
    world.publish_key(2, "k");
    world.publish_key(1, "other");
    assert_eq!(
        world.own(),
        [
            "message 1",
            "1 published 1",
            "1 published 1 again",
            "message 2",
            "2 published 2",
            "message 3",
            "1 published 3"
        ]
    );
    world.pass(KEY_WINDOW_MS - 1);
    world.own();
    world.publish_key(1, "k");
    assert_eq!(world.own(), ["1 published 1 again"]);
    world.pass(1);
    world.publish_key(1, "k");
    assert_eq!(world.own(), ["message 4", "1 published 4"]);
}

#[test]
fn keys_keep_an_empty_room_for_their_window() {
    let mut world = World::new(|_, rooms| rooms.history_size = 0);
    world.join(1);
    world.publish_key(1, "k");
    world.gone(1);
    world.own();
    world.pass(KEY_WINDOW_MS - 1);
    world.join(1);
    world.publish_key(1, "k");
    assert_eq!(world.own(), ["1 joined at 1 [] of 1", "1 published 1 again"]);
    world.gone(1);
    world.pass(10_000);
    world.assert_empty();
}

#[test]
fn history_keeps_an_empty_room_until_it_expires() {
    let mut world = World::memory();
    world.join(1);
    world.publish(1);
    let epoch = world.epoch();
    world.gone(1);
    world.own();
    world.pass(59_000);
    assert!(world.has_room());
    world.join_from(2, Some(Recover { seq: 0, epoch: Some(epoch) }), None);
    assert_eq!(world.own(), ["2 recovered at 1 [1] of 1"]);
    world.gone(2);
    world.pass(10_000);
    world.assert_empty();
}

#[test]
fn the_same_seed_gives_the_same_epochs_and_a_room_that_was_lost_gets_a_new_one() {
    let epochs = |world: &mut World| {
        let mut epochs = Vec::new();
        for _ in 0..3 {
            world.join(1);
            epochs.push(world.epoch());
            world.gone(1);
            world.pass(5_000);
        }
        epochs
    };
    let first = epochs(&mut World::memory());
    assert_eq!(first, epochs(&mut World::memory()));
    assert!(first[0] != first[1] && first[1] != first[2]);
}
