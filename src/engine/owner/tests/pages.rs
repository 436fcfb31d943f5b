//! Pages of history and recoveries that memory does not reach, and what waits behind them.

use super::*;
use crate::base::limits::{
    ASK_AGAIN_MS, OPENING_TIMEOUT_MS, PAGE_TIMEOUT_MS, PAGES_PER_ROOM_MAX, UNAVAILABLE_RETRY_MS, WAITING_BYTES,
};

const EPOCH: Epoch = Epoch(77);

impl World {
    /// A room whose store holds 1 to 30, of which memory holds 21 to 30, with member 1.
    fn kept() -> Self {
        Self::kept_for(|_| {})
    }

    fn kept_for(change: impl FnOnce(&mut RoomSettings)) -> Self {
        let mut world = Self::new(|settings, rooms| {
            settings.keeping = KeepingMode::Commit;
            (rooms.presence, rooms.recovery_max) = (false, 20);
            change(rooms);
        });
        world.join(1);
        let stretch = Stretch {
            head: Some(Position { epoch: EPOCH, seq: 30 }),
            records: (21..=30).map(|seq| record(seq, 1)).collect(),
        };
        world.store_event(StoreEvent::Loaded {
            attempt: 0,
            room: room(),
            stretch,
            first_seq: 1,
            keys: vec![],
            created: None,
        });
        world.discard();
        world
    }

    fn history(&mut self, slot: u32, after: Option<Seq>, before: Option<Seq>, limit: u32) {
        self.ask(slot, Ask::History { after, before, limit });
    }

    /// The page that the store was asked for, if it was asked for nothing else.
    fn asked_page(&mut self) -> PageRequest {
        let asked: Vec<_> = self.store.drain(..).collect();
        let [StoreRequest::Page(request)] = &asked[..] else { panic!("one page: {asked:?}") };
        request.clone()
    }

    fn bounds(&mut self) -> (u64, (Option<Seq>, Seq, usize)) {
        let PageRequest { token, after, before, count, .. } = self.asked_page();
        (token, (after, before, count))
    }

    fn page_read(&mut self, token: u64, first_seq: Option<Seq>, seqs: impl IntoIterator<Item = Seq>) {
        let records = seqs.into_iter().map(|seq| record(seq, 1)).collect();
        let result = Ok(RecordPage { first_seq, records });
        self.store_event(StoreEvent::Page(PageAnswer { token, room: room(), result }));
    }

    fn page_failed(&mut self, token: u64) {
        self.store_event(StoreEvent::Page(PageAnswer { token, room: room(), result: Err(9) }));
    }

    fn recover(&mut self, slot: u32, seq: Seq) {
        self.join_from(slot, Some(Recover { seq, epoch: Some(EPOCH) }), None);
    }
}

#[test]
fn a_page_goes_on_below_memory() {
    let mut world = World::kept();
    world.history(1, None, None, 10);
    world.history(1, Some(20), None, 3);
    world.history(1, None, Some(25), 2);
    assert!(world.store.is_empty(), "memory has all of it");
    let answers = [
        "1 history [21, 22, 23, 24, 25, 26, 27, 28, 29, 30] of 1..30",
        "1 history [21, 22, 23] of 1..30",
        "1 history [23, 24] of 1..30",
    ];
    assert_eq!(world.own(), answers);
    world.history(1, None, None, 12);
    let (token, bounds) = world.bounds();
    assert_eq!(bounds, (None, 21, 2));
    world.page_read(token, Some(1), [19, 20]);
    assert_eq!(world.own(), ["1 history [19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30] of 1..30"]);
    world.history(1, Some(17), Some(23), 9);
    let (token, bounds) = world.bounds();
    assert_eq!(bounds, (Some(17), 21, 9));
    world.page_read(token, Some(1), [18, 19, 20]);
    assert_eq!(world.own(), ["1 history [18, 19, 20, 21, 22] of 1..30"]);
    world.history(1, None, Some(5), 2);
    let (token, bounds) = world.bounds();
    assert_eq!(bounds, (None, 5, 2));
    world.page_read(token, Some(4), [4]);
    assert_eq!(world.own(), ["1 history [4] of 4..30"]);
    world.history(1, Some(0), None, 2);
    assert_eq!(world.bounds().1, (Some(3), 21, 2), "from the lowest that the store has said to hold");
}

#[test]
fn a_page_with_a_hole_is_shown_up_to_it() {
    let mut world = World::kept();
    world.history(1, None, None, 14);
    let (token, _) = world.bounds();
    world.page_read(token, Some(1), [17, 19, 20]);
    assert_eq!(world.own(), ["1 history [19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30] of 19..30"]);
    world.history(1, None, None, 14);
    let (token, _) = world.bounds();
    world.page_read(token, Some(1), [18, 19]);
    assert_eq!(world.own(), ["1 history [21, 22, 23, 24, 25, 26, 27, 28, 29, 30] of 21..30"]);
    world.history(1, Some(15), None, 14);
    let (token, _) = world.bounds();
    world.page_read(token, Some(1), [16, 17, 19, 20]);
    assert_eq!(world.own(), ["1 history [16, 17] of 1..30"]);
    world.history(1, Some(15), None, 3);
    let (token, _) = world.bounds();
    world.page_read(token, Some(25), []);
    assert_eq!(world.own(), ["1 history [21, 22, 23] of 21..30"], "the store has let go of it, memory has not");
}

#[test]
fn what_has_expired_is_not_shown() {
    let mut world = World::kept();
    world.history(1, Some(10), None, 20);
    let (token, _) = world.bounds();
    let old = START.unix_ms - 60_000;
    let records = (11..=20).map(|seq| Record { at: if seq < 15 { old } else { START.unix_ms }, ..record(seq, 1) });
    let result = Ok(RecordPage { first_seq: Some(1), records: records.collect() });
    world.store_event(StoreEvent::Page(PageAnswer { token, room: room(), result }));
    assert_eq!(world.own(), ["1 history [15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30] of 15..30"]);
}

#[test]
fn replies_keep_the_order_of_the_commands() {
    let mut world = World::kept();
    world.join(2);
    world.own();
    world.history(1, None, None, 11);
    let (token, _) = world.bounds();
    world.history(1, None, None, 1);
    world.publish(1);
    world.leave(1);
    world.history(2, None, None, 1);
    assert_eq!(world.own(), ["2 history [30] of 1..30"], "others do not wait");
    assert!(world.store.is_empty());
    world.page_read(token, Some(1), [20]);
    let whole = "1 history [20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30] of 1..30";
    assert_eq!(world.own(), [whole, "1 history [30] of 1..30"]);
    let [StoreRequest::Append { record, .. }] = &world.store[..] else { panic!("{:?}", world.store) };
    assert_eq!(record.seq, 31);
    world.store_event(StoreEvent::Committed { attempt: 0, room: room(), epoch: EPOCH, seq: 31 });
    assert_eq!(world.own(), ["message 31", "1 published 31", "1 left"]);
    assert_eq!(world.owner.retention.kept_bytes, 0);
}

#[test]
fn a_receipt_without_a_reply_ends_no_wait_for_a_page() {
    let mut world = World::kept();
    let ask = Ask::Receipt { kind: ReceiptKind::Read, seq: 3 };
    world.ask_with(member(1), ask, ReplyTo { id: None, form: Form::Json });
    let asked = world.questions();
    world.history(1, Some(0), None, 2);
    let (token, _) = world.bounds();
    world.leave(1);
    asked.into_iter().for_each(|(token, _)| world.done(token, Ok(RoomDone::Receipt { seq: 3 })));
    assert_eq!(world.own(), ["1 receipt read 3"], "which the home drops; the leave waits for the page");
    world.page_read(token, Some(1), [1, 2]);
    assert_eq!(world.own(), ["1 history [1, 2] of 1..30", "1 left"]);
}

#[test]
fn a_recovery_goes_on_below_memory() {
    let mut world = World::kept();
    world.recover(2, 17);
    let (token, bounds) = world.bounds();
    assert_eq!((bounds, world.own().len()), ((Some(17), 21, 3), 0));
    world.publish(1);
    world.store_event(StoreEvent::Committed { attempt: 0, room: room(), epoch: EPOCH, seq: 31 });
    world.store.clear();
    world.own();
    world.page_read(token, Some(1), [18, 19]);
    let (token, bounds) = world.bounds();
    assert_eq!(bounds, (Some(19), 22, 2), "memory has moved on meanwhile");
    world.page_read(token, Some(1), [20, 21]);
    assert_eq!(world.own(), ["2 recovered at 31 [18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31] of 2"]);
    world.recover(3, 9);
    assert_eq!(world.own(), ["3 joined at 31 [29, 30, 31] of 3"], "more than are replayed");
    assert!(world.store.is_empty());
}

#[test]
fn a_recovery_that_the_store_cannot_give_is_none() {
    let mut world = World::kept();
    world.recover(2, 17);
    let (token, _) = world.bounds();
    world.page_read(token, Some(20), [20]);
    assert_eq!(world.own(), ["2 joined at 30 [28, 29, 30] of 2"]);
    world.recover(3, 17);
    assert!(world.store.is_empty(), "known to be gone");
    assert_eq!(world.own(), ["3 joined at 30 [28, 29, 30] of 3"]);
    world.recover(4, 19);
    let (token, _) = world.bounds();
    world.page_failed(token);
    assert_eq!(world.own(), ["4 unavailable for 9 unjoin"]);
    let mut world = World::kept_for(|rooms| rooms.history_size = 0);
    world.recover(2, 17);
    assert_eq!(world.own(), ["2 joined at 30 [] of 2"], "a room without history shows none");
}

#[test]
fn a_page_that_is_lost_is_asked_again_and_given_up() {
    let mut world = World::kept();
    world.history(1, None, None, 11);
    world.publish(1);
    world.recover(2, 17);
    world.page(2);
    let asked = world.store.clone();
    world.store.clear();
    world.pass(ASK_AGAIN_MS);
    assert_eq!(world.store, asked);
    world.store.clear();
    world.pass(PAGE_TIMEOUT_MS - ASK_AGAIN_MS - 1);
    assert!(world.own().is_empty());
    world.pass(1);
    let retry = UNAVAILABLE_RETRY_MS;
    let refused =
        [format!("1 unavailable for {retry}"), format!("2 unavailable for {retry} unjoin"), "2 not_joined".to_owned()];
    assert_eq!(world.own(), refused);
    world.store_event(StoreEvent::Committed { attempt: 0, room: room(), epoch: EPOCH, seq: 31 });
    assert_eq!(world.own(), ["message 31", "1 published 31"]);
    for request in asked {
        let StoreRequest::Page(PageRequest { token, .. }) = request else { continue };
        world.page_read(token, Some(1), [20]);
    }
    assert!(world.own().is_empty(), "late answers are nothing");
    world.gone(1);
    assert_eq!(world.owner.retention.kept_bytes, 0);
}

#[test]
fn whoever_is_gone_waits_for_no_page() {
    let mut world = World::kept();
    world.history(1, None, None, 11);
    world.publish(1);
    world.recover(2, 17);
    world.away(2, true);
    world.gone(1);
    world.gone(2);
    assert!(world.own().is_empty());
    assert!(world.owner.is_settled());
    world.page_read(0, Some(1), [20]);
    world.page_read(1, Some(1), [18, 19, 20]);
    assert!(world.own().is_empty());
    world.pass(200_000);
    world.assert_empty();
}

#[test]
fn pages_that_wait_are_bounded_and_charged() {
    let mut world = World::kept();
    for token in 0..PAGES_PER_ROOM_MAX as u64 {
        let ask = Ask::History { after: None, before: Some(15), limit: 2 };
        world.with(|owner, effects| owner.handle_call(token, room(), user(9), ask, effects));
    }
    assert!(world.answers.is_empty() && !world.owner.is_settled());
    assert_eq!(world.owner.retention.kept_bytes, (PAGES_PER_ROOM_MAX * WAITING_BYTES) as u64);
    world.history(1, None, Some(15), 2);
    world.recover(2, 17);
    assert_eq!(world.own(), ["1 overloaded", "2 overloaded unjoin"]);
    world.pass(PAGE_TIMEOUT_MS);
    assert_eq!(world.answers.len(), PAGES_PER_ROOM_MAX);
    assert_eq!(world.owner.retention.kept_bytes, 0);
}

#[test]
fn a_page_of_a_numbering_that_is_past_is_answered_in_the_new_one() {
    let mut world = World::kept();
    world.history(1, None, None, 11);
    world.recover(2, 17);
    world.publish(1);
    world.store.clear();
    world.join(3);
    world.publish(3);
    world.store_event(StoreEvent::Failed { attempt: 0, room: room(), epoch: EPOCH, seq: 31, retry_after_ms: 9 });
    let stretch = Stretch { head: Some(Position { epoch: Epoch(5), seq: 2 }), records: vec![record(2, 1)] };
    world.store_event(StoreEvent::Loaded {
        attempt: 1,
        room: room(),
        stretch,
        first_seq: 1,
        keys: vec![],
        created: None,
    });
    world.own();
    world.page_read(0, Some(1), [20]);
    world.page_read(1, Some(1), [18, 19, 20]);
    assert_eq!(world.own(), ["1 history [2] of 2..2", "2 joined at 2 [2] of 3"]);
}

#[test]
fn the_link_is_asked_where_no_store_keeps_a_room() {
    let mut world = World::new(|settings, rooms| {
        settings.numbering = NumberingMode::Link;
        rooms.presence = false;
    });
    world.join(1);
    let records = (21..=30).map(|seq| record(seq, 1)).collect();
    let stretch = Stretch { head: Some(Position { epoch: EPOCH, seq: 30 }), records };
    world.link_holds(stretch, None);
    world.discard();
    world.history(1, None, Some(22), 2);
    let [LinkRequest::Page(PageRequest { token, before: 21, count: 1, .. })] = world.link[..] else {
        panic!("{:?}", world.link);
    };
    let result = Ok(RecordPage { first_seq: Some(20), records: vec![record(20, 1)] });
    world.link_event(LinkEvent::Page(PageAnswer { token, room: room(), result }));
    assert_eq!(world.own(), ["1 history [20, 21] of 20..30"]);
}

#[test]
fn whoever_waits_too_long_for_a_room_is_refused() {
    let mut world = World::new(|settings, _| settings.keeping = KeepingMode::Commit);
    world.join(1);
    world.publish(1);
    let ask = Ask::History { after: None, before: None, limit: 1 };
    world.with(|owner, effects| owner.handle_call(7, room(), user(9), ask, effects));
    world.pass(1_000);
    world.join(2);
    world.leave(1);
    world.pass(OPENING_TIMEOUT_MS - 1_001);
    assert!(world.own().is_empty() && world.answers.is_empty());
    world.pass(1);
    let retry = UNAVAILABLE_RETRY_MS;
    assert_eq!(world.own(), [format!("1 unavailable for {retry} unjoin"), format!("1 unavailable for {retry}")]);
    assert_eq!(world.answers.len(), 1);
    world.store.clear();
    world.pass(999);
    assert!(!world.store.is_empty() || world.has_room(), "somebody waits still");
    world.pass(1);
    assert_eq!(world.own(), [format!("2 unavailable for {retry} unjoin"), "1 left".to_owned()]);
    assert!(!world.has_room());
    world.assert_empty();
}
