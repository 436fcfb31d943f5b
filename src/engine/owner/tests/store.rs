//! Rooms kept by a store: loading, commits, failures.

use super::*;
use crate::base::limits::{ASK_AGAIN_MS, KEY_WINDOW_MS, OPENING_PER_ROOM_MAX, PENDING_PER_ROOM_MAX, ROOM_LINGER_MS};

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
        self.store_event(StoreEvent::Loaded {
            attempt: self.attempt(),
            room: room(),
            stretch: Stretch { head, records },
            first_seq: 1,
            keys,
            created: None,
        });
    }

    /// The store holds records 1 to `head` in the room's own epoch.
    fn loaded_own(&mut self, head: Seq) {
        let epoch = self.epoch();
        self.loaded(Some(Position { epoch, seq: head }), (1..=head).map(|seq| record(seq, 1)).collect());
    }

    fn committed(&mut self, seq: Seq) {
        let epoch = self.epoch();
        self.store_event(StoreEvent::Committed { attempt: 0, room: room(), epoch, seq });
    }

    fn failed(&mut self, seq: Seq) {
        let epoch = self.epoch();
        self.store_event(StoreEvent::Failed { attempt: 0, room: room(), epoch, seq, retry_after_ms: 9 });
    }

    /// Takes the requests to the store since the last call.
    fn asked(&mut self) -> Vec<String> {
        let requests = self.store.drain(..);
        let requests = requests.map(|request| match request {
            StoreRequest::Load { count, .. } => format!("load {count}"),
            StoreRequest::Append { record, .. } => format!("append {}", record.seq),
            StoreRequest::Ask { .. } => panic!("the owner half asks for rooms alone"),
            StoreRequest::Page(PageRequest { after, before, count, .. }) => format!("page {after:?} {before} {count}"),
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
    world.pass(ROOM_LINGER_MS);
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
    world.store_event(StoreEvent::Committed { attempt: 0, room: room(), epoch, seq });
    world.store_event(StoreEvent::Failed { attempt: 0, room: room(), epoch, seq, retry_after_ms: 1 });
    world.store_event(StoreEvent::Committed { attempt: 0, room: stranger.clone(), epoch, seq });
    let stretch = Stretch { head: None, records: vec![] };
    world.store_event(StoreEvent::Loaded {
        attempt: 0,
        room: stranger,
        stretch,
        first_seq: 1,
        keys: vec![],
        created: None,
    });
    world.failed(2);
    world.link_event(LinkEvent::Restored { round: 1 });
    world.link_event(LinkEvent::Published { token: 0, result: Err(LinkFailure { retry_after_ms: 1 }) });
    world.link_event(LinkEvent::Publication { room: room(), epoch, record: record(1, 1) });
    assert!(world.own().is_empty() && world.asked().is_empty() && world.link.is_empty());
    world.committed(1);
    assert_eq!(world.own(), ["message 1", "1 published 1"]);
}

impl World {
    /// A room that is written behind, with member 1.
    fn behind() -> Self {
        let mut world = Self::new(|settings, rooms| {
            settings.keeping = KeepingMode::Behind;
            rooms.presence = false;
        });
        world.join(1);
        world.loaded(None, vec![]);
        world.discard();
        world
    }

    /// A room that the link numbers and a database keeps, with member 1.
    fn linked_and_kept(mode: KeepingMode) -> Self {
        let mut world = Self::new(|settings, rooms| {
            (settings.numbering, settings.keeping) = (NumberingMode::Link, mode);
            rooms.presence = false;
        });
        world.join(1);
        let stretch = Stretch { head: Some(Position { epoch: LINK_EPOCH, seq: 0 }), records: vec![] };
        world.link_holds(stretch, None);
        world.discard();
        world
    }

    /// The link answers a publish, and members get it.
    fn numbered_and_sent(&mut self, token: u64, seq: Seq) {
        let result = Ok((Position { epoch: LINK_EPOCH, seq }, false));
        self.link_event(LinkEvent::Publication { room: room(), epoch: LINK_EPOCH, record: record(seq, 1) });
        self.link_event(LinkEvent::Published { token, result });
    }

    fn row(&mut self, attempt: u64, seq: Seq) {
        self.store_event(StoreEvent::Committed { attempt, room: room(), epoch: LINK_EPOCH, seq });
    }

    fn row_failed(&mut self, attempt: u64, seq: Seq) {
        let (room, epoch) = (room(), LINK_EPOCH);
        self.store_event(StoreEvent::Failed { attempt, room, epoch, seq, retry_after_ms: 9 });
    }
}

const LINK_EPOCH: Epoch = Epoch(50);

#[test]
fn written_behind_nothing_waits_for_the_store() {
    let mut world = World::behind();
    world.publish(1);
    world.publish(1);
    assert_eq!(world.own(), ["message 1", "1 published 1", "message 2", "1 published 2"]);
    assert_eq!(world.asked(), ["append 1", "append 2"]);
    assert!(!world.owner.is_settled(), "a stop waits for the store");
    world.committed(1);
    assert!(!world.owner.is_settled());
    world.committed(2);
    assert!(world.owner.is_settled() && world.own().is_empty());
    world.leave(1);
    assert_eq!(world.own(), ["1 left"]);
}

#[test]
fn written_behind_what_failed_is_kept_and_appended_again() {
    let mut world = World::behind();
    for _ in 0..3 {
        world.publish(1);
    }
    world.committed(1);
    world.discard();
    world.failed(2);
    world.publish(1);
    assert_eq!(world.own(), ["message 4", "1 published 4"], "members do not wait for the store to recover");
    world.pass(8);
    assert!(world.asked().is_empty(), "it comes with the others, and not before the time that the store has named");
    world.pass(1);
    assert_eq!(world.asked(), ["load 10"]);
    world.pass(ASK_AGAIN_MS);
    assert_eq!(world.asked(), ["load 10"]);
    world.loaded_own(2);
    assert_eq!(world.asked(), ["append 3", "append 4"], "2 was there after all");
    assert!(!world.owner.is_settled());
    world.committed(4);
    assert!(world.owner.is_settled() && world.own().is_empty());
    world.publish(1);
    assert_eq!(world.asked(), ["append 5"]);
}

#[test]
fn what_is_written_behind_is_bounded() {
    let mut world = World::behind();
    for _ in 0..PENDING_PER_ROOM_MAX {
        world.publish(1);
    }
    world.discard();
    world.publish(1);
    assert_eq!(world.own(), ["1 overloaded"]);
    world.failed(1);
    world.publish(1);
    assert_eq!(world.own(), ["1 unavailable for 9"]);
    assert!(world.owner.retention.kept_bytes > 0);
    let seq = PENDING_PER_ROOM_MAX as Seq;
    let epoch = world.epoch();
    world.loaded(Some(Position { epoch, seq }), vec![]);
    assert!(world.owner.is_settled());
    assert_eq!(world.owner.retention.kept_bytes, 0);
}

#[test]
fn under_the_link_publishers_hear_of_the_commit_in_order() {
    let mut world = World::linked_and_kept(KeepingMode::Commit);
    for _ in 0..3 {
        world.publish(1);
    }
    for (token, seq) in [(0, 1), (1, 2), (2, 3)] {
        world.numbered_and_sent(token, seq);
    }
    assert_eq!(world.own(), ["message 1", "message 2", "message 3"], "delivered before their rows are there");
    assert_eq!(world.asked(), ["append 1", "append 2", "append 3"]);
    assert!(!world.owner.is_settled());
    world.row(0, 2);
    assert_eq!(world.own(), ["1 published 1", "1 published 2"]);
    world.row(0, 3);
    assert_eq!(world.own(), ["1 published 3"]);
    assert!(world.owner.is_settled());
}

#[test]
fn under_the_link_a_late_commit_is_not_taken_for_an_earlier_row() {
    let mut world = World::linked_and_kept(KeepingMode::Commit);
    world.publish(1);
    world.publish(1);
    world.numbered_and_sent(0, 1);
    world.numbered_and_sent(1, 2);
    world.discard();
    world.row_failed(0, 1);
    assert_eq!(world.own(), ["1 unavailable for 9", "1 unavailable for 9"]);
    world.row(0, 2);
    world.pass(9);
    assert_eq!(world.asked(), ["append 1", "append 2"], "both again");
    world.row(0, 2);
    assert!(!world.owner.is_settled(), "of the attempt that failed");
    world.row(1, 2);
    assert!(world.owner.is_settled() && world.own().is_empty());
}

#[test]
fn under_the_link_rows_are_written_behind() {
    let mut world = World::linked_and_kept(KeepingMode::Behind);
    world.publish(1);
    world.numbered_and_sent(0, 1);
    assert_eq!(world.own(), ["message 1", "1 published 1"]);
    assert!(!world.owner.is_settled());
    world.gone(1);
    assert!(world.has_room(), "its row is not there yet");
    world.row_failed(0, 1);
    world.asked();
    world.pass(9);
    assert_eq!(world.asked(), ["append 1"]);
    world.row(1, 1);
    assert!(world.owner.is_settled() && !world.has_room());
}

#[test]
fn under_the_link_a_duplicate_keeps_the_row_of_the_first() {
    let mut world = World::linked_and_kept(KeepingMode::Commit);
    let first = Record { data: Bytes::from_static(b"\"first\""), key: Some("k".into()), ..record(1, 7) };
    world.link_event(LinkEvent::Publication { room: room(), epoch: LINK_EPOCH, record: first.clone() });
    let duplicate = |seq| Ok((Position { epoch: LINK_EPOCH, seq }, true));
    world.publish_key(1, "k");
    world.link_event(LinkEvent::Published { token: 0, result: duplicate(1) });
    let kept = world.store.drain(..).map(|request| match request {
        StoreRequest::Append { record, .. } => record,
        other => panic!("an append: {other:?}"),
    });
    assert!(kept.eq([first.clone()]));
    world.discard();
    world.row(0, 1);
    assert_eq!(world.own(), ["1 published 1 again"]);
    world.publish_key(1, "k");
    world.link_event(LinkEvent::Published { token: 1, result: duplicate(2) });
    assert!(world.own().is_empty() && !world.owner.is_settled(), "the first has not come yet");
    world.link_event(LinkEvent::Publication { room: room(), epoch: LINK_EPOCH, record: Record { seq: 2, ..first } });
    world.publish_key(1, "k");
    world.link_event(LinkEvent::Published { token: 2, result: duplicate(2) });
    assert_eq!(world.own(), ["message 2"]);
    assert_eq!(world.asked(), ["append 2"], "once");
    world.row(0, 2);
    assert_eq!(world.own(), ["1 published 2 again", "1 published 2 again"]);
    assert!(world.owner.is_settled());
}

#[test]
fn a_room_without_members_leaves_memory_after_a_while_and_is_loaded_again() {
    let mut world = World::durable();
    world.join(1);
    world.loaded(Some(Position { epoch: Epoch(5), seq: 0 }), vec![]);
    world.publish(1);
    world.pass(ROOM_LINGER_MS);
    world.leave(1);
    assert!(world.has_room(), "its publish is not committed");
    world.committed(1);
    world.pass(ROOM_LINGER_MS - 1);
    assert!(world.has_room(), "a member may be near");
    world.join(2);
    world.leave(2);
    world.pass(ROOM_LINGER_MS);
    assert!(world.has_room(), "from the end of the last one's grace");
    world.pass(ROOM_LINGER_MS);
    assert!(!world.has_room());
    world.assert_empty();
}

#[test]
fn a_late_answer_to_a_load_of_an_earlier_attempt_does_not_count() {
    let mut world = World::durable();
    world.join(1);
    world.loaded(Some(Position { epoch: Epoch(5), seq: 0 }), vec![]);
    world.publish(1);
    world.store_event(StoreEvent::Failed { attempt: 0, room: room(), epoch: Epoch(5), seq: 1, retry_after_ms: 5 });
    world.loaded(Some(Position { epoch: Epoch(5), seq: 0 }), vec![]);
    world.publish(1);
    world.store_event(StoreEvent::Committed { attempt: 1, room: room(), epoch: Epoch(5), seq: 1 });
    world.publish(1);
    world.store_event(StoreEvent::Failed { attempt: 1, room: room(), epoch: Epoch(5), seq: 2, retry_after_ms: 5 });
    world.discard();
    // The answer to the first load, asked for twice: it was read before the first publish was kept.
    let (head, records) = (Some(Position { epoch: Epoch(5), seq: 0 }), Vec::new());
    let stretch = Stretch { head, records };
    let stale = StoreEvent::Loaded { attempt: 1, room: room(), stretch, first_seq: 1, keys: vec![], created: None };
    world.store_event(stale);
    world.publish(1);
    assert!(world.store.iter().all(|request| !matches!(request, StoreRequest::Append { .. })), "it is still in doubt");
    world.loaded(Some(Position { epoch: Epoch(5), seq: 1 }), vec![]);
    world.publish(1);
    let seqs = world.store.iter().filter_map(|request| match request {
        StoreRequest::Append { record, .. } => Some(record.seq),
        _ => None,
    });
    assert_eq!(seqs.collect::<Vec<_>>(), [2]);
}
