//! Outboxes alone: order, bounds, what the slow policies leave behind.

mod seeded;

use super::*;
use crate::base::counters::CoreCounters;
use crate::base::limits::{SEND_BYTES_MAX, SEND_FRAMES_MAX, SENDS_PER_TURN_MAX};

const MAX: usize = 1_000;

struct Fixture {
    outboxes: Outboxes,
    budget: Budget,
    counters: CoreCounters,
    room: RoomName,
}

impl Fixture {
    fn new() -> Self {
        let mut outboxes = Outboxes::new(MAX);
        outboxes.reach(0);
        let room = RoomName::new("room").expect("valid");
        Self { outboxes, budget: Budget::new(u64::MAX), counters: CoreCounters::default(), room }
    }

    /// A message of 100 bytes that begin with its seq.
    fn bytes(seq: Seq) -> Bytes {
        format!("{:<100}", format!("m{seq};")).into()
    }

    fn message(&mut self, slots: &[u32], seq: Seq) -> Vec<u32> {
        let mut full = Vec::new();
        let outgoing = Outgoing::message(1, seq, Self::bytes(seq));
        self.outboxes.push_all(slots, None, outgoing, &mut full, &mut self.budget);
        full
    }

    fn message_dropping(&mut self, seq: Seq, latest: bool) {
        if !self.message(&[0], seq).is_empty() {
            let room = self.room.clone();
            self.outboxes.push_dropping(0, (1, &room, seq), Self::bytes(seq), latest, &mut self.budget);
        }
    }

    fn other(&mut self, slot: u32, text: &str, role: Role) {
        let bytes = Bytes::from(format!("{text};"));
        self.outboxes.push(slot, Outgoing { bytes, messages: 1, role }, &mut self.budget);
    }

    fn flush(&mut self) -> Vec<(u32, String)> {
        let mut sends = Vec::new();
        let mut gap = |_: u32, _: &RoomName, from: Seq, to: Seq| Bytes::from(format!("gap{from}-{to};"));
        self.outboxes.flush(&mut sends, &mut self.budget, &self.counters, &mut gap, &mut |_| {});
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).expect("ascii").replace(' ', "");
        sends.iter().map(|send| (send.slot, text(&send.bytes))).collect()
    }

    /// Everything that comes out of slot 0, sent to the end.
    fn drain(&mut self) -> String {
        let mut all = String::new();
        loop {
            for (_, text) in self.flush() {
                all += &text;
            }
            if self.outboxes.sent(0) {
                assert_eq!(self.outboxes.bytes(0), 0, "all is sent and nothing stays charged");
                assert_eq!(self.budget.used(), 0);
                return all;
            }
        }
    }
}

#[test]
fn one_send_is_out_at_a_time_and_merges_what_waits() {
    let mut fixture = Fixture::new();
    fixture.other(0, "a", Role::Other);
    assert_eq!(fixture.flush(), [(0, "a;".to_owned())]);
    fixture.other(0, "b", Role::Other);
    fixture.message(&[0], 1);
    assert_eq!(fixture.flush(), [], "one send is out");
    assert!(!fixture.outboxes.sent(0));
    assert_eq!(fixture.flush(), [(0, "b;m1;".to_owned())]);
    assert!(fixture.outboxes.sent(0));
    assert_eq!(fixture.counters.messages_sent.get(), 3);
}

#[test]
fn members_with_the_same_queue_share_one_merged_send() {
    let mut fixture = Fixture::new();
    fixture.message(&[0, 1, 2], 1);
    fixture.message(&[0, 1, 2], 2);
    fixture.other(2, "mine", Role::Other);
    let mut sends = Vec::new();
    let mut gap = |_: u32, _: &RoomName, _: Seq, _: Seq| Bytes::new();
    fixture.outboxes.flush(&mut sends, &mut fixture.budget, &fixture.counters, &mut gap, &mut |_| {});
    assert_eq!(sends[0].bytes.as_ptr(), sends[1].bytes.as_ptr());
    assert_eq!(sends[2].bytes.len(), sends[0].bytes.len() + 5);
    assert_eq!(fixture.budget.used(), 0, "nothing is queued any more");
}

#[test]
fn a_merged_send_is_bounded_and_a_large_frame_goes_by_itself() {
    let mut fixture = Fixture::new();
    let large = Bytes::from(vec![b'x'; SEND_BYTES_MAX * 3]);
    fixture.outboxes.push(0, Outgoing { bytes: large, messages: 1, role: Role::Other }, &mut fixture.budget);
    for seq in 0..SEND_FRAMES_MAX as u64 + 1 {
        fixture.message(&[0], seq);
        let room = fixture.room.clone();
        fixture.outboxes.push(
            0,
            Outgoing { bytes: Fixture::bytes(seq), messages: 1, role: Role::Other },
            &mut fixture.budget,
        );
        drop(room);
    }
    let lens: Vec<usize> = std::iter::from_fn(|| {
        let len = fixture.flush().first().map(|(_, text)| text.len());
        fixture.outboxes.sent(0);
        len
    })
    .collect();
    assert_eq!(lens[0], SEND_BYTES_MAX * 3);
    assert!(lens.len() >= 3, "{lens:?}");
}

#[test]
fn an_empty_outbox_takes_any_frame_and_a_full_one_none() {
    let mut fixture = Fixture::new();
    assert!(!fixture.outboxes.is_full_for(0, MAX * 10));
    for seq in 1..=10 {
        assert!(fixture.message(&[0], seq).is_empty());
    }
    assert_eq!(fixture.message(&[0], 11), [0]);
}

#[test]
fn bytes_in_flight_count() {
    let mut fixture = Fixture::new();
    for seq in 1..=10 {
        fixture.message(&[0], seq);
    }
    fixture.flush();
    assert_eq!(fixture.message(&[0], 11), [0]);
    fixture.outboxes.sent(0);
    assert!(fixture.message(&[0], 11).is_empty());
}

#[test]
fn skip_drops_the_oldest_and_tells_one_gap_in_their_place() {
    let mut fixture = Fixture::new();
    fixture.other(0, "reply", Role::Other);
    for seq in 1..=11 {
        fixture.message_dropping(seq, false);
    }
    let all = fixture.drain();
    assert!(all.starts_with("reply;gap1-"), "{all}");
    assert!(all.ends_with("m10;m11;"), "{all}");
    let to: u64 = all["reply;gap1-".len()..].split(';').next().expect("a gap").parse().expect("a seq");
    assert!(all.contains(&format!("gap1-{to};m{};", to + 1)), "the gap ends where the messages go on: {all}");
}

#[test]
fn a_long_stall_is_told_by_one_gap() {
    let mut fixture = Fixture::new();
    for seq in 1..=500 {
        fixture.message_dropping(seq, false);
    }
    let all = fixture.drain();
    assert_eq!(all.matches("gap").count(), 1, "{all}");
    assert!(all.starts_with("gap1-") && all.ends_with("m500;"), "{all}");
}

#[test]
fn latest_keeps_only_the_newest() {
    let mut fixture = Fixture::new();
    for seq in 1..=12 {
        fixture.message_dropping(seq, true);
    }
    assert_eq!(fixture.drain(), "gap1-10;m11;m12;");
}

#[test]
fn a_message_that_does_not_fit_beside_others_is_told_as_missing() {
    let mut fixture = Fixture::new();
    for _ in 0..10 {
        fixture.other(0, &"o".repeat(98), Role::Other);
    }
    fixture.message_dropping(1, false);
    fixture.message_dropping(2, false);
    let all = fixture.drain();
    assert!(all.ends_with("o;gap1-2;"), "{all}");
}

#[test]
fn a_gap_does_not_reach_across_a_new_start() {
    let mut fixture = Fixture::new();
    fixture.message(&[0], 1);
    fixture.other(0, "joined", Role::Start { stream: 1 });
    for seq in 2..=30 {
        fixture.message_dropping(seq, true);
    }
    let all = fixture.drain();
    assert!(all.starts_with("gap1-1;joined;gap2-"), "{all}");
}

#[test]
fn gaps_told_by_the_owner_join_the_dropped_run() {
    let mut fixture = Fixture::new();
    fixture.message(&[0], 1);
    let room = fixture.room.clone();
    fixture.outboxes.push_gap(0, 1, &room, 2, 5);
    for seq in 6..=30 {
        fixture.message_dropping(seq, false);
    }
    let all = fixture.drain();
    assert_eq!(all.matches("gap").count(), 1, "{all}");
    assert!(all.starts_with("gap1-"), "{all}");
}

#[test]
fn other_rooms_are_left_alone() {
    let mut fixture = Fixture::new();
    fixture.other(0, "theirs", Role::Messages { stream: 2, from: 7, to: 7 });
    for seq in 1..=20 {
        fixture.message_dropping(seq, true);
    }
    assert!(fixture.drain().starts_with("theirs;gap1-"));
}

#[test]
fn clearing_gives_everything_back() {
    let mut fixture = Fixture::new();
    for seq in 1..=20 {
        fixture.message_dropping(seq, false);
    }
    fixture.flush();
    fixture.message(&[0], 21);
    fixture.outboxes.clear(0, &mut fixture.budget);
    assert_eq!((fixture.budget.used(), fixture.outboxes.bytes(0)), (0, 0));
    assert!(fixture.flush().is_empty());
    fixture.other(0, "next", Role::Other);
    assert_eq!(fixture.drain(), "next;");
}

#[test]
fn the_answer_to_the_handshake_is_never_dropped() {
    let mut fixture = Fixture::new();
    fixture.other(0, "101", Role::Opening);
    fixture.other(0, "welcome", Role::Other);
    fixture.message(&[0], 1);
    fixture.outboxes.drop_queued(0, &mut fixture.budget);
    assert_eq!(fixture.outboxes.bytes(0), "101;".len());
    fixture.other(0, "close", Role::Other);
    assert_eq!(fixture.drain(), "101;close;");
    fixture.other(0, "101", Role::Opening);
    fixture.outboxes.clear(0, &mut fixture.budget);
    assert!(fixture.outboxes.is_empty(0));
    assert_eq!(fixture.budget.used(), 0);
}

#[test]
fn a_turn_hands_out_so_many_sends_and_the_next_the_rest() {
    let mut fixture = Fixture::new();
    let members: Vec<u32> = (0..SENDS_PER_TURN_MAX as u32 + 10).collect();
    fixture.outboxes.reach(members.len() as u32);
    fixture.message(&members, 1);
    assert_eq!(fixture.flush().len(), SENDS_PER_TURN_MAX);
    assert!(fixture.outboxes.has_dirty());
    assert_eq!(fixture.flush().len(), 10);
    assert!(!fixture.outboxes.has_dirty());
}

#[test]
fn a_run_is_dropped_whole_and_told_whole() {
    let mut fixture = Fixture::new();
    let bytes = Bytes::from(format!("{:<300}", "run1-3;"));
    let run = Outgoing { bytes, messages: 3, role: Role::Messages { stream: 1, from: 1, to: 3 } };
    fixture.outboxes.push_all(&[0], None, run, &mut Vec::new(), &mut fixture.budget);
    for seq in 4..=10 {
        fixture.message_dropping(seq, true);
    }
    let room = fixture.room.clone();
    let bytes = Fixture::bytes(11);
    assert_eq!(fixture.outboxes.push_dropping(0, (1, &room, 11), bytes, true, &mut fixture.budget), 10);
    assert_eq!(fixture.drain(), "gap1-10;m11;");
}
