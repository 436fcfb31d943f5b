//! Receipts: cut to the head, kept once, told when they rise; with a store and without one.

use super::*;
use crate::base::limits::{ASK_TIMEOUT_MS, UNAVAILABLE_RETRY_MS};
use crate::engine::call::CallAnswer;

const READ: ReceiptKind = ReceiptKind::Read;

fn receipt(seq: Seq) -> Ask {
    Ask::Receipt { kind: READ, seq }
}

fn push(slot: u32, seq: Seq) -> (String, Option<u32>) {
    (format!(r#"{{"type":"receipt","room":"lobby","user":"u{slot}","kind":"read","seq":{seq}}}"#), Some(slot))
}

/// A room with three messages and the members 1, 2 and 10.
fn world(keeping: KeepingMode) -> World {
    let mut world = World::new(|settings, _| settings.keeping = keeping);
    world.join(1);
    if keeping != KeepingMode::None {
        let (room, first_seq, keys) = (room(), 1, vec![]);
        let stretch = Stretch { head: None, records: vec![] };
        world.store_event(StoreEvent::Loaded { attempt: 0, room, stretch, first_seq, keys, created: None });
    }
    world.join(2);
    world.join(10);
    (0..3).for_each(|_| world.publish(1));
    if keeping != KeepingMode::None {
        let epoch = world.epoch();
        world.store_event(StoreEvent::Committed { attempt: 0, room: room(), epoch, seq: 3 });
    }
    world.pass(100);
    world.discard();
    world
}

/// Sends a receipt that wants no reply.
fn send(world: &mut World, slot: u32, seq: Seq) {
    world.ask_with(member(slot), receipt(seq), ReplyTo { id: None, form: Form::Json });
}

fn acts(questions: &[(u64, RoomAsk)]) -> Vec<RoomAct> {
    questions.iter().map(|(_, ask)| ask.act.clone()).collect()
}

#[test]
fn without_a_store_the_room_keeps_the_highest() {
    let mut world = world(KeepingMode::None);
    world.ask(1, receipt(2));
    assert_eq!(pushes(&mut world, 1), [push(1, 2)]);
    assert_eq!(world.own()[0], "1 receipt read 2");
    world.ask(1, receipt(1));
    assert_eq!((pushes(&mut world, 1), world.own()), (vec![], vec!["1 receipt read 2".to_owned()]));
    world.ask(1, receipt(99));
    assert_eq!((pushes(&mut world, 1), world.own()[0].as_str()), (vec![push(1, 3)], "1 receipt read 3"));
    world.ask(1, Ask::Receipt { kind: ReceiptKind::Delivered, seq: 1 });
    assert_eq!(world.own()[0], "1 receipt delivered 1", "each kind has its own");
    world.ask(3, receipt(1));
    assert_eq!(world.own(), ["3 not_joined"]);
    assert!(world.store.is_empty());
    for slot in [1, 2, 10] {
        world.gone(slot);
    }
    world.pass(66_000);
    world.discard();
    world.assert_empty();
}

#[test]
fn with_a_store_the_reply_is_what_it_keeps() {
    let mut world = world(KeepingMode::Commit);
    world.ask(1, receipt(7));
    let asked = world.questions();
    assert_eq!(acts(&asked), [RoomAct::FindReceipt { kind: READ }, RoomAct::Receipt { kind: READ, seq: 3 }]);
    assert!(asked.iter().all(|(_, ask)| ask.actor.user == user(1) && ask.room == room() && !ask.actor.is_admin));
    world.done(asked[0].0, Ok(RoomDone::Receipt { seq: 1 }));
    assert!(world.own().is_empty() && !world.owner.is_settled());
    world.done(asked[1].0, Ok(RoomDone::Receipt { seq: 3 }));
    assert_eq!(pushes(&mut world, 1), [push(1, 3)]);
    assert_eq!(world.own()[0], "1 receipt read 3");
    assert!(world.owner.is_settled());
    world.ask(1, receipt(2));
    assert_eq!((world.own(), world.store.len()), (vec!["1 receipt read 3".to_owned()], 0), "it is known");
}

#[test]
fn only_what_has_risen_is_told() {
    let mut world = world(KeepingMode::Behind);
    world.ask(1, receipt(2));
    let asked = world.questions();
    world.done(asked[0].0, Ok(RoomDone::Receipt { seq: 3 }));
    world.done(asked[1].0, Ok(RoomDone::Receipt { seq: 3 }));
    assert_eq!((pushes(&mut world, 1), world.own()), (vec![], vec!["1 receipt read 3".to_owned()]));
}

#[test]
fn those_that_wait_are_merged() {
    let mut world = world(KeepingMode::Behind);
    (1..=2).for_each(|seq| send(&mut world, 1, seq));
    send(&mut world, 1, 3);
    let asked = world.questions();
    assert_eq!(acts(&asked), [RoomAct::FindReceipt { kind: READ }, RoomAct::Receipt { kind: READ, seq: 1 }]);
    world.done(asked[0].0, Ok(RoomDone::Receipt { seq: 0 }));
    world.done(asked[1].0, Ok(RoomDone::Receipt { seq: 1 }));
    let asked = world.questions();
    assert_eq!(acts(&asked), [RoomAct::Receipt { kind: READ, seq: 3 }]);
    world.done(asked[0].0, Ok(RoomDone::Receipt { seq: 3 }));
    assert_eq!(pushes(&mut world, 1), [push(1, 1), push(1, 3)]);
}

#[test]
fn a_connection_that_waits_for_the_reply_gets_its_replies_in_order() {
    let mut world = world(KeepingMode::Behind);
    world.ask(1, receipt(3));
    world.page(1);
    world.page(2);
    assert_eq!(world.own(), ["2 presence u1,u10,u2 of 3"]);
    let asked = world.questions();
    world.done(asked[1].0, Ok(RoomDone::Receipt { seq: 3 }));
    let own = world.own();
    assert_eq!(
        (own.first(), own.last()),
        (Some(&"1 receipt read 3".to_owned()), Some(&"1 presence u1,u10,u2 of 3".to_owned()))
    );
    send(&mut world, 2, 3);
    world.page(2);
    assert_eq!(world.own(), ["2 presence u1,u10,u2 of 3"], "it wants no reply");
}

#[test]
fn who_waits_in_vain_is_told() {
    let mut world = world(KeepingMode::Behind);
    let before = world.budget.used();
    send(&mut world, 1, 2);
    send(&mut world, 2, 2);
    let asked = world.questions();
    world
        .store_event(StoreEvent::Answered { token: asked[1].0, answer: KeptAnswer::Unavailable { retry_after_ms: 9 } });
    assert_eq!(world.own(), ["1 unavailable for 9"]);
    world.pass(ASK_TIMEOUT_MS - 1);
    assert!(world.own().is_empty());
    world.pass(1);
    assert_eq!(world.own(), [format!("2 unavailable for {UNAVAILABLE_RETRY_MS}")]);
    world.done(asked[3].0, Ok(RoomDone::Receipt { seq: 2 }));
    assert!(world.own().is_empty() && pushes(&mut world, 1).is_empty(), "it came too late");
    assert!(world.owner.is_settled() && world.budget.used() > before, "two receipts stay charged");
    for slot in [1, 2, 10] {
        world.gone(slot);
    }
    world.pass(66_000);
    world.discard();
    world.assert_empty();
}

#[test]
fn the_server_may_send_one_for_a_user() {
    let mut world = world(KeepingMode::None);
    world.with(|owner, effects| owner.handle_call(7, room(), user(5), receipt(3), effects));
    assert!(matches!(world.answers.pop(), Some((7, CallAnswer::Room(Answer::Receipt { seq: 3, .. })))));
    assert_eq!(pushes(&mut world, 1).len(), 1);
}
