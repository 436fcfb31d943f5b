//! Tests of outboxes alone: order, slow connections, what the slow policies leave, and how long bytes are charged.

mod seeded;
mod slow;

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::base::counters::CoreCounters;
use crate::base::ids::{RoomName, Seq, UserName};
use crate::base::limits::{
    OUTBOX_ITEM_BYTES, QUEUE_OUTBOX_DIVISOR, SEND_BYTES_MAX, SEND_FRAMES_MAX, SEND_PART_BYTES_MAX, SENDS_PER_TURN_MAX,
    SLOW_AFTER_MS, SLOW_BYTES_PER_SECOND, TICK_MS,
};
use crate::engine::budget::Budget;
use crate::engine::settings::SlowPolicy;
use crate::wire::form::Form;
use crate::wire::publication::{Content, Data, DataKind, Publication};

/// Bound of each outbox. A quarter of it is the queue.
const MAX: usize = 20_000;
/// Bytes counted for one message of these tests.
const COST: usize = 100 + OUTBOX_ITEM_BYTES;
/// Messages that fit in the queue.
const QUEUED: u64 = (MAX / QUEUE_OUTBOX_DIVISOR / COST) as u64;
/// Messages that fit in the outbox.
const FULL: u64 = (MAX / COST) as u64;

/// Writes gaps and messages as words.
struct Words;

impl Encoder for Words {
    fn gap(&mut self, _: u32, room: &RoomName, from: Seq, to: Seq) -> Bytes {
        let room = if &**room == "room" { "" } else { &format!("{room}.") };
        format!("gap{room}{from}-{to};").into()
    }

    fn message(&mut self, _: u32, _: &RoomName, message: &Publication) -> Bytes {
        Fixture::bytes(message.seq)
    }
}

struct Fixture {
    outboxes: Outboxes,
    budget: Budget,
    counters: CoreCounters,
    dropped: u64,
}

impl Fixture {
    fn new() -> Self {
        let mut outboxes = Outboxes::new(MAX);
        outboxes.reach(0);
        Self { outboxes, budget: Budget::new(1 << 40), counters: CoreCounters::default(), dropped: 0 }
    }

    fn room(name: &str) -> RoomName {
        RoomName::new(name).expect("valid")
    }

    /// A message of 100 bytes that starts with its seq.
    fn bytes(seq: Seq) -> Bytes {
        format!("{:<100}", format!("m{seq};")).into()
    }

    fn publications(seqs: std::ops::RangeInclusive<Seq>) -> Vec<Arc<Publication>> {
        let (room, from) = (Self::room("room"), UserName::new("ann").expect("valid"));
        let data = Data { kind: DataKind::Json, bytes: b"1" };
        let content = |seq| Content::new(&room, seq, &from, 1, data);
        let encode = |seq| Arc::new(Publication::encode(&content(seq), Form::Json.into()));
        seqs.map(encode).collect()
    }

    /// Queues a room's message for all of these, and applies the policy to slow ones. Returns those to be closed.
    fn message_in(&mut self, room: &str, policy: SlowPolicy, slots: &[u32], seq: Seq) -> Vec<u32> {
        let (mut behind, mut over) = (Vec::new(), Vec::new());
        let frame = self.outboxes.add(Outgoing::messages(seq, 1, Self::bytes(seq)), &mut self.budget);
        self.outboxes.push_all(slots, None, frame, &mut behind, &mut self.budget);
        let room = Self::room(room);
        let source = Source { room: &room, policy };
        for slot in behind {
            self.outboxes.hold(slot, source, frame, &mut self.budget);
            if self.outboxes.is_slow(slot, self.budget.is_near()) {
                let relief = self.outboxes.relieve(slot, source, &mut self.budget);
                self.dropped += relief.dropped;
                over.extend(relief.is_over.then_some(slot));
            }
        }
        self.outboxes.release(frame, &mut self.budget);
        over
    }

    fn message(&mut self, policy: SlowPolicy, seq: Seq) {
        self.message_in("room", policy, &[0], seq);
    }

    fn other(&mut self, slot: u32, text: &str, role: Role) {
        let bytes = Bytes::from(format!("{text};"));
        self.outboxes.push(slot, Outgoing { bytes, messages: 1, role }, &mut self.budget);
    }

    fn sends(&mut self) -> Vec<crate::engine::output::Send> {
        let mut sends = Vec::new();
        self.outboxes.flush(&mut sends, &mut self.budget, &self.counters, &mut Words, &mut |_| {});
        sends
    }

    fn flush(&mut self) -> Vec<(u32, String)> {
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).expect("ascii").replace(' ', "");
        self.sends().iter().map(|send| (send.slot, text(&send.bytes))).collect()
    }

    fn sent(&mut self, slot: u32) -> bool {
        self.outboxes.sent(slot, &mut self.budget)
    }

    /// Makes a send in flight that the kernel does not take.
    fn stall(&mut self) {
        self.other(0, "stuck", Role::Other);
        assert_eq!(self.flush().len(), 1);
        self.pass(SLOW_AFTER_MS + TICK_MS);
    }

    fn pass(&mut self, ms: u64) {
        (0..=ms / TICK_MS).for_each(|_| self.outboxes.tick());
    }

    /// All output of slot 0, sent to the end.
    fn drain(&mut self) -> String {
        let mut all = String::new();
        self.sent(0);
        loop {
            for (_, text) in self.flush() {
                all += &text;
            }
            if self.sent(0) {
                assert_eq!(self.outboxes.bytes(0), 0, "no bytes are counted after everything is sent");
                assert_eq!(self.budget.used(), 0, "nothing is charged after everything is sent");
                assert_eq!(self.outboxes.items.used(), 0);
                return all;
            }
        }
    }
}

fn words(seqs: std::ops::RangeInclusive<u64>) -> String {
    seqs.map(|seq| format!("m{seq};")).collect()
}

#[test]
fn one_send_is_out_at_a_time_and_merges_what_waits() {
    let mut fixture = Fixture::new();
    fixture.other(0, "a", Role::Other);
    assert_eq!(fixture.flush(), [(0, "a;".to_owned())]);
    fixture.other(0, "b", Role::Other);
    fixture.message(SlowPolicy::Skip, 1);
    assert_eq!(fixture.flush(), [], "one send is in flight");
    assert!(!fixture.sent(0));
    assert_eq!(fixture.flush(), [(0, "b;m1;".to_owned())]);
    assert!(fixture.sent(0));
    assert_eq!(fixture.counters.messages_sent.get(), 3);
}

#[test]
fn members_with_the_same_queue_share_one_merged_send_that_is_charged_until_the_last_has_taken_it() {
    let mut fixture = Fixture::new();
    for seq in [1, 2] {
        fixture.message_in("room", SlowPolicy::Skip, &[0, 1, 2], seq);
    }
    fixture.other(2, "mine", Role::Other);
    let sends = fixture.sends();
    assert_eq!(sends[0].bytes.as_ptr(), sends[1].bytes.as_ptr());
    assert_eq!(sends[2].bytes.len(), sends[0].bytes.len() + 5);
    let (shared, own) = (200 + OUTBOX_ITEM_BYTES, 205 + OUTBOX_ITEM_BYTES);
    assert_eq!(fixture.budget.used() as usize, shared + own, "bytes in flight, shared ones once");
    fixture.sent(0);
    assert_eq!(fixture.budget.used() as usize, shared + own);
    fixture.sent(1);
    assert_eq!(fixture.budget.used() as usize, own);
    fixture.sent(2);
    assert_eq!(fixture.budget.used(), 0);
}

#[test]
fn a_frame_is_charged_until_its_last_reader_has_taken_it() {
    let mut fixture = Fixture::new();
    fixture.message_in("room", SlowPolicy::Skip, &[0, 1], 1);
    fixture.flush();
    fixture.sent(1);
    assert_eq!(fixture.budget.used() as usize, COST);
    assert_eq!(fixture.outboxes.bytes(0), COST);
    fixture.outboxes.clear(0, &mut fixture.budget);
    assert_eq!(fixture.budget.used(), 0);
}

#[test]
fn a_merged_send_is_bounded_and_a_large_frame_goes_by_itself_in_parts() {
    let mut fixture = Fixture::new();
    let large = Bytes::from(vec![b'x'; SEND_PART_BYTES_MAX * 2 + 7]);
    fixture.outboxes.push(0, Outgoing { bytes: large, messages: 1, role: Role::Other }, &mut fixture.budget);
    for seq in 0..SEND_FRAMES_MAX as u64 + 1 {
        fixture.outboxes.push(0, Outgoing::messages(seq + 1, 1, Fixture::bytes(seq)), &mut fixture.budget);
    }
    let mut lens = Vec::new();
    while let [send] = &fixture.sends()[..] {
        lens.push(send.bytes.len());
        assert_eq!(fixture.outboxes.bytes(0) > 0, fixture.outboxes.has_queued(0) || !fixture.sent(0));
        if lens.len() < 3 {
            assert!(!fixture.outboxes.is_empty(0));
            fixture.sent(0);
        }
    }
    assert_eq!(lens[..3], [SEND_PART_BYTES_MAX, SEND_PART_BYTES_MAX, 7]);
    assert!(lens[3..].iter().all(|len| *len <= SEND_BYTES_MAX), "{lens:?}");
}

#[test]
fn an_empty_queue_takes_any_frame_and_a_full_one_none() {
    let mut fixture = Fixture::new();
    assert!(!fixture.outboxes.is_full_for(0, MAX * 10));
    for seq in 1..=QUEUED {
        fixture.message(SlowPolicy::Skip, seq);
    }
    assert!(!fixture.outboxes.is_behind(0, "room"));
    fixture.message(SlowPolicy::Skip, QUEUED + 1);
    assert!(fixture.outboxes.is_behind(0, "room"));
    assert_eq!(fixture.drain(), words(1..=QUEUED + 1));
}

#[test]
fn gaps_told_by_the_owner_stay_in_their_place() {
    let mut fixture = Fixture::new();
    let room = Fixture::room("room");
    let source = Source { room: &room, policy: SlowPolicy::Disconnect };
    fixture.message(source.policy, 1);
    fixture.outboxes.push_gap(0, source, (2, 5), &mut fixture.budget);
    for seq in 6..40 {
        fixture.message(source.policy, seq);
    }
    fixture.outboxes.push_gap(0, source, (40, 41), &mut fixture.budget);
    assert_eq!(fixture.drain(), format!("m1;gap2-5;{}gap40-41;", words(6..=39)));
}

#[test]
fn clearing_gives_everything_back() {
    let mut fixture = Fixture::new();
    fixture.stall();
    for seq in 1..=FULL * 2 {
        fixture.message(SlowPolicy::Skip, seq);
    }
    let room = Fixture::room("other");
    let source = Source { room: &room, policy: SlowPolicy::Disconnect };
    fixture.outboxes.replay(0, source, Fixture::publications(1..=9), &mut fixture.budget);
    fixture.outboxes.push_last(
        0,
        Outgoing { bytes: Bytes::from("x"), messages: 0, role: Role::Other },
        &mut fixture.budget,
    );
    fixture.outboxes.clear(0, &mut fixture.budget);
    assert_eq!((fixture.budget.used(), fixture.outboxes.bytes(0)), (0, 0));
    assert!(fixture.outboxes.is_empty(0) && fixture.flush().is_empty());
    fixture.other(0, "next", Role::Other);
    assert_eq!(fixture.flush(), [(0, "next;".to_owned())]);
}

#[test]
fn the_opening_is_never_dropped() {
    let mut fixture = Fixture::new();
    fixture.other(0, "101", Role::Opening);
    fixture.other(0, "welcome", Role::Opening);
    fixture.other(0, "joined", Role::Other);
    fixture.message(SlowPolicy::Skip, 1);
    fixture.outboxes.drop_queued(0, &mut fixture.budget);
    assert_eq!(fixture.outboxes.bytes(0), "101;welcome;".len() + 2 * OUTBOX_ITEM_BYTES);
    fixture.other(0, "close", Role::Other);
    assert_eq!(fixture.drain(), "101;welcome;close;");
    fixture.other(0, "101", Role::Opening);
    fixture.outboxes.clear(0, &mut fixture.budget);
    assert!(fixture.outboxes.is_empty(0));
    assert_eq!(fixture.budget.used(), 0);
}

#[test]
fn what_ends_is_known_for_what_it_has_under_way() {
    let mut fixture = Fixture::new();
    fixture.stall();
    fixture.outboxes.drop_queued(0, &mut fixture.budget);
    fixture.outboxes.drop_queued(0, &mut fixture.budget);
    assert_eq!(fixture.outboxes.ending_bytes() as u64, fixture.budget.used());
    fixture.sent(0);
    assert_eq!((fixture.outboxes.ending_bytes(), fixture.budget.used()), (0, 0));
}

#[test]
fn a_turn_hands_out_so_many_sends_and_the_next_the_rest() {
    let mut fixture = Fixture::new();
    let members: Vec<u32> = (0..SENDS_PER_TURN_MAX as u32 + 10).collect();
    fixture.outboxes.reach(members.len() as u32);
    fixture.message_in("room", SlowPolicy::Skip, &members, 1);
    assert_eq!(fixture.flush().len(), SENDS_PER_TURN_MAX);
    assert!(fixture.outboxes.has_dirty());
    assert_eq!(fixture.flush().len(), 10);
    assert!(!fixture.outboxes.has_dirty());
}

#[test]
fn arenas_shrink_after_a_crowd_around_what_still_waits() {
    let mut fixture = Fixture::new();
    fixture.outboxes.reach(3);
    let crowd = 3 * crate::base::limits::OUTBOX_ARENA_KEPT;
    for number in 0..crowd {
        fixture.other(0, &format!("c{number}"), Role::Other);
        if number % 3_000 == 0 {
            fixture.other(1, &format!("kept{number}"), Role::Other);
        }
    }
    fixture.message_in("room", SlowPolicy::Skip, &[2, 3], 1);
    fixture.flush();
    let room = Fixture::room("room");
    let source = Source { room: &room, policy: SlowPolicy::Skip };
    fixture.outboxes.replay(2, source, Fixture::publications(2..=3), &mut fixture.budget);
    fixture.other(1, "behind", Role::Other);
    fixture.outboxes.clear(0, &mut fixture.budget);
    assert!(fixture.outboxes.items.is_sparse() && fixture.outboxes.queues.is_sparse());
    fixture.outboxes.tick();
    assert!(!fixture.outboxes.items.is_sparse() && !fixture.outboxes.queues.is_sparse());
    for slot in 1..=3 {
        fixture.sent(slot);
    }
    assert_eq!(fixture.flush(), [(1, "behind;".to_owned()), (2, "m2;m3;".to_owned())]);
    (1..=2).for_each(|slot| assert!(fixture.sent(slot)));
    assert_eq!((fixture.budget.used(), fixture.outboxes.items.used()), (0, 0));
}
