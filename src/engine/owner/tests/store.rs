//! Rooms that a store keeps: loading, commits, failures.

use super::*;
use crate::base::limits::{ASK_AGAIN_MS, KEY_WINDOW_MS, OPENING_PER_ROOM_MAX, PENDING_PER_ROOM_MAX};

impl World {
    fn durable() -> Self {
        Self::new(|settings, _| settings.keeping = KeepingMode::Commit)
    }

    /// A durable room with members 1 and 10 that the store did not know.
    fn open() -> Self {
        let mut world = Self::durable();
        world.join(1);
        world.loaded(None, vec![]);
        world.join(10);
        world.pass(100);
        world.discard();
        world
    }

    fn loaded(&mut self, head: Option<Position>, records: Vec<Record>) {
        self.loaded_with(head, records, vec![]);
    }

    fn loaded_with(&mut self, head: Option<Position>, records: Vec<Record>, keys: Vec<KeptKey>) {
        self.store_event(StoreEvent::Loaded { room: room(), stretch: Stretch { head, records }, keys });
    }

    /// The store holds records 1 to `head` in the room's own epoch.
    fn loaded_own(&mut self, head: Seq) {
        let epoch = self.epoch();
        self.loaded(Some(Position { epoch, seq: head }), (1..=head).map(|seq| record(seq, 1)).collect());
    }

    fn committed(&mut self, seq: Seq) {
        let epoch = self.epoch();
        self.store_event(StoreEvent::Committed { room: room(), epoch, seq });
    }

    fn failed(&mut self, seq: Seq) {
        let epoch = self.epoch();
        self.store_event(StoreEvent::Failed { room: room(), epoch, seq, retry_after_ms: 9 });
    }

    /// What the store was asked since it was last looked at.
    fn asked(&mut self) -> Vec<String> {
        let requests = self.store.drain(..);
        let requests = requests.map(|request| match request {
            StoreRequest::Load { count, .. } => format!("load {count}"),
            StoreRequest::Append { record, .. } => format!("append {}", record.seq),
        });
        requests.collect()
    }
}

#[test]
fn hops_wait_until_the_room_is_loaded() {
    let mut world = World::durable();
    world.join(1);
    world.publish(1);
    world.publish(2);
    world.join(2);
    world.hop(ToOwner::Away { room: room(), conn: conn(2), user: user(2), away: true });
    world.ask(2, Ask::Presence { after: None, limit: 9 });
    world.join(3);
    world.gone(3);
    assert_eq!(world.asked(), ["load 10"]);
    assert_eq!(world.own(), ["2 not_joined"], "2 published before it joined");
    let epoch = Epoch(77);
    world.loaded(Some(Position { epoch, seq: 4 }), (2..=4).map(|seq| record(seq, 1)).collect());
    assert_eq!(world.own(), ["1 joined at 4 [2, 3, 4] of 1", "2 joined at 4 [2, 3, 4] of 2", "2 presence u1,u2 of 2"]);
    assert_eq!((world.asked(), world.epoch()), (vec!["append 5".to_owned()], epoch));
    world.pass(100);
    assert_eq!(world.own(), ["statuses u1 online, u2 away"]);
}

#[test]
fn a_load_is_asked_again() {
    let mut world = World::durable();
    world.join(1);
    let StoreRequest::Load { epoch, .. } = world.store.remove(0) else { panic!("a load") };
    world.pass(ASK_AGAIN_MS - 1);
    assert!(world.asked().is_empty());
    world.pass(1);
    assert!(matches!(world.store.remove(0), StoreRequest::Load { epoch: again, .. } if again == epoch));
    world.loaded(None, vec![]);
    assert_eq!((world.own(), world.epoch()), (vec!["1 joined at 0 [] of 1".to_owned()], epoch));
    world.loaded(Some(Position { epoch: Epoch(5), seq: 9 }), vec![]);
    assert_eq!((world.own().len(), world.epoch()), (0, epoch), "a second answer is nothing");
    world.pass(ASK_AGAIN_MS);
    assert!(world.asked().is_empty());
}

#[test]
fn who_waits_is_bounded_and_may_go() {
    let mut world = World::durable();
    for slot in 100..100 + OPENING_PER_ROOM_MAX as u32 {
        world.join(slot);
    }
    assert!(world.own().is_empty());
    world.join(1);
    world.join_again(100);
    world.publish(100);
    assert_eq!(world.own(), ["1 overloaded unjoin", "100 overloaded unjoin", "100 overloaded"]);
    for slot in 100..100 + OPENING_PER_ROOM_MAX as u32 {
        world.gone(slot);
    }
    assert!(!world.has_room());
    world.assert_empty();
    world.loaded(Some(Position { epoch: Epoch(5), seq: 9 }), vec![]);
    world.assert_empty();
}

#[test]
fn a_leave_waits_behind_its_join() {
    let mut world = World::durable();
    world.join(1);
    world.leave(1);
    world.publish(1);
    assert_eq!(world.own(), ["1 not_joined"]);
    world.leave(1);
    assert!(world.own().is_empty(), "behind everything that this connection asked before");
    world.leave(2);
    assert_eq!(world.own(), ["2 left"], "asked nothing before");
    world.loaded(None, vec![]);
    assert_eq!(world.own(), ["1 joined at 0 [] of 1", "1 left", "1 left"]);
    world.pass(5_000);
    world.assert_empty();
}

#[test]
fn nothing_is_shown_before_it_is_committed() {
    let mut world = World::open();
    for _ in 0..3 {
        world.publish(1);
    }
    assert_eq!(world.asked(), ["append 1", "append 2", "append 3"]);
    world.join(2);
    assert_eq!(world.own(), ["2 joined at 0 [] of 3"]);
    world.committed(2);
    assert_eq!(world.own(), ["message 1", "1 published 1", "message 2", "1 published 2"]);
    assert_eq!(world.sent(1), ["message 1", "message 2"]);
    world.committed(2);
    world.committed(1);
    assert!(world.own().is_empty());
    world.committed(99);
    assert_eq!(world.own(), ["message 3", "1 published 3"]);
    assert_eq!(world.counters.broadcasts.get(), 3);
}

#[test]
fn a_failure_takes_the_numbers_back() {
    let mut world = World::open();
    for slot in [1, 1, 10, 1] {
        world.publish(slot);
    }
    world.committed(1);
    world.discard();
    world.failed(3);
    assert_eq!(world.sent(1), ["10 unavailable for 9"]);
    assert_eq!(world.own(), ["1 unavailable for 9"]);
    assert_eq!(world.asked(), ["load 10"]);
    world.publish(1);
    assert_eq!(world.own(), ["1 unavailable for 9"], "until the store has said where it stands");
    world.failed(4);
    world.committed(4);
    assert_eq!(world.own(), ["message 2", "1 published 2"], "2 had not failed, and 4 is no more");
    world.loaded_own(2);
    assert!(world.own().is_empty());
    world.publish(1);
    assert_eq!(world.asked(), ["append 3"]);
    world.committed(3);
    assert_eq!(world.own(), ["message 3", "1 published 3"]);
    assert_eq!(world.sent(1), ["message 2", "message 3"]);
}

#[test]
fn after_a_failure_the_store_is_asked_until_it_answers() {
    let mut world = World::open();
    world.publish(1);
    world.failed(1);
    assert_eq!(world.asked(), ["append 1", "load 10"]);
    world.pass(2 * ASK_AGAIN_MS);
    assert_eq!(world.asked(), ["load 10", "load 10"]);
    world.loaded(None, vec![]);
    world.loaded(None, vec![]);
    world.pass(2 * ASK_AGAIN_MS);
    assert!(world.asked().is_empty());
    world.own();
    world.publish(1);
    world.committed(1);
    assert_eq!(world.own(), ["message 1", "1 published 1"]);
}

#[test]
fn what_failed_and_is_there_all_the_same_is_shown() {
    let mut world = World::open();
    for _ in 0..3 {
        world.publish(1);
    }
    world.failed(2);
    world.own();
    world.loaded_own(2);
    assert_eq!(world.own(), ["message 1", "1 published 1", "message 2"]);
    world.publish(1);
    assert_eq!(world.asked().pop().as_deref(), Some("append 3"));
}

#[test]
fn a_store_that_lost_the_numbering_starts_another() {
    let mut world = World::open();
    world.publish(1);
    world.committed(1);
    world.publish(1);
    world.failed(2);
    world.discard();
    world.loaded(Some(Position { epoch: Epoch(5), seq: 1 }), vec![record(1, 3)]);
    assert_eq!(world.own(), ["new epoch at 1 [1] of 2"]);
    assert_eq!(world.sent(1), ["new epoch at 1 [1] of 2"]);
    assert_eq!(world.epoch(), Epoch(5));
}

#[test]
fn a_key_that_is_under_way_has_one_outcome() {
    let mut world = World::open();
    world.publish_key(1, "k");
    world.publish_key(1, "k");
    world.publish_key(10, "k");
    world.publish_key(1, "k");
    assert_eq!(world.asked(), ["append 1", "append 2"]);
    assert!(world.own().is_empty());
    world.committed(1);
    assert_eq!(world.own(), ["message 1", "1 published 1", "1 published 1 again", "1 published 1 again"]);
    world.publish_key(10, "k");
    world.failed(2);
    assert_eq!(world.sent(1), ["message 1", "10 unavailable for 9", "10 unavailable for 9"]);
    world.loaded_own(1);
    world.asked();
    world.publish_key(1, "k");
    world.publish_key(10, "k");
    assert_eq!(world.asked(), ["append 2"]);
    assert_eq!(world.own(), ["1 published 1 again"]);
}

#[test]
fn keys_come_back_though_their_records_do_not() {
    let mut world = World::durable();
    world.join(1);
    let StoreRequest::Load { keys_since, .. } = world.store.remove(0) else { panic!("a load") };
    assert_eq!(keys_since, START.unix_ms - KEY_WINDOW_MS);
    let kept = |key: &str, seq, age_ms| KeptKey { from: user(1), key: key.into(), seq, at: START.unix_ms - age_ms };
    let head = Some(Position { epoch: Epoch(5), seq: 9 });
    world.loaded_with(head, vec![record(9, 1)], vec![kept("old", 1, KEY_WINDOW_MS), kept("new", 2, 60_000)]);
    assert_eq!(world.own(), ["1 joined at 9 [9] of 1"]);
    world.publish_key(1, "new");
    assert_eq!(world.own(), ["1 published 2 again"]);
    world.publish_key(1, "old");
    assert_eq!(world.asked(), ["append 10"]);
    world.committed(10);
    world.pass(60_000);
    world.own();
    world.publish_key(1, "new");
    assert_eq!(world.asked(), ["append 11"], "its window is counted from its publication");
}

#[test]
fn what_waits_for_the_store_is_bounded() {
    let mut world = World::open();
    for _ in 0..PENDING_PER_ROOM_MAX {
        world.publish(1);
    }
    assert!(world.own().is_empty());
    world.publish(1);
    assert_eq!(world.own(), ["1 overloaded"]);
    assert_eq!(world.asked().len(), PENDING_PER_ROOM_MAX);
    let mut world = World::new(|settings, _| {
        settings.keeping = KeepingMode::Commit;
        settings.memory_budget_bytes = 8_000;
    });
    world.join(1);
    world.loaded(None, vec![]);
    world.own();
    for _ in 0..100 {
        world.publish(1);
    }
    let refused = world.own();
    assert!(refused.iter().all(|answer| answer == "1 overloaded"));
    assert!((80..100).contains(&refused.len()), "{}", refused.len());
}

#[test]
fn what_is_under_way_outlives_its_publisher() {
    let mut world = World::open();
    world.publish(1);
    world.gone(1);
    world.gone(10);
    world.pass(10_000);
    assert!(world.has_room());
    world.committed(1);
    world.pass(70_000);
    world.own();
    world.assert_empty();
}

#[test]
fn strange_events_are_nothing() {
    let mut world = World::open();
    let stranger = RoomName::new("stranger").expect("valid");
    world.publish(1);
    world.asked();
    let (epoch, seq) = (Epoch(5), 1);
    world.store_event(StoreEvent::Committed { room: room(), epoch, seq });
    world.store_event(StoreEvent::Failed { room: room(), epoch, seq, retry_after_ms: 1 });
    world.store_event(StoreEvent::Committed { room: stranger.clone(), epoch, seq });
    let stretch = Stretch { head: None, records: vec![] };
    world.store_event(StoreEvent::Loaded { room: stranger, stretch, keys: vec![] });
    world.failed(2);
    world.link_event(LinkEvent::Restored { round: 1 });
    world.link_event(LinkEvent::Published { token: 0, result: Err(LinkFailure { retry_after_ms: 1 }) });
    world.link_event(LinkEvent::Publication { room: room(), epoch, record: record(1, 1) });
    assert!(world.own().is_empty() && world.asked().is_empty() && world.link.is_empty());
    world.committed(1);
    assert_eq!(world.own(), ["message 1", "1 published 1"]);
}
