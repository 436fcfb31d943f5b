//! Slow readers: when a connection is slow, which messages are dropped, and that a reader that continues receives
//! everything.

use super::*;

#[test]
fn whoever_takes_what_was_offered_is_not_slow_whatever_waits() {
    for policy in [SlowPolicy::Disconnect, SlowPolicy::Skip, SlowPolicy::Latest] {
        let mut fixture = Fixture::new();
        let mut all = String::new();
        for seq in 1..=20 * FULL {
            fixture.message(policy, seq);
            if seq % (2 * SEND_FRAMES_MAX as u64) == 0 {
                all.extend(fixture.flush().into_iter().map(|(_, text)| text));
                // Just in time.
                fixture.pass(SLOW_AFTER_MS - 2 * TICK_MS);
                fixture.sent(0);
            }
        }
        assert!(fixture.outboxes.bytes(0) > MAX, "{policy:?}: far more waits than an outbox holds");
        all += &fixture.drain();
        assert_eq!(all, words(1..=20 * FULL), "{policy:?}");
        assert_eq!(fixture.dropped, 0);
    }
}

#[test]
fn nobody_is_slow_before_the_kernel_was_offered_anything() {
    let mut fixture = Fixture::new();
    for seq in 1..=20 * FULL {
        assert!(fixture.message_in("room", SlowPolicy::Disconnect, &[0], seq).is_empty());
        fixture.pass(SLOW_AFTER_MS);
    }
    fixture.flush();
    assert!(fixture.message_in("room", SlowPolicy::Disconnect, &[0], 20 * FULL + 1).is_empty());
    fixture.pass(SLOW_AFTER_MS + TICK_MS + 1_000 * SEND_BYTES_MAX as u64 / SLOW_BYTES_PER_SECOND as u64);
    assert_eq!(fixture.message_in("room", SlowPolicy::Disconnect, &[0], 20 * FULL + 2), [0]);
}

#[test]
fn a_large_send_may_take_longer() {
    let mut fixture = Fixture::new();
    let large = Bytes::from(vec![b'x'; 4 * SLOW_BYTES_PER_SECOND]);
    fixture.outboxes.push(0, Outgoing { bytes: large, messages: 1, role: Role::Other }, &mut fixture.budget);
    fixture.flush();
    fixture.pass(SLOW_AFTER_MS + 3_000);
    assert!(!fixture.outboxes.is_slow(0, false));
    assert!(fixture.outboxes.is_slow(0, true), "the time limit is shorter when memory runs out");
    fixture.pass(1_500);
    assert!(fixture.outboxes.is_slow(0, false));
}

#[test]
fn skip_drops_the_oldest_and_tells_one_gap_in_their_place() {
    let mut fixture = Fixture::new();
    fixture.stall();
    for seq in 1..=50 * FULL {
        fixture.message(SlowPolicy::Skip, seq);
        assert!(fixture.outboxes.bytes(0) <= MAX + COST);
    }
    let all = fixture.drain();
    assert_eq!(all.matches("gap").count(), 1, "{all}");
    let (before, after) = all.split_once("gap").expect("a gap");
    let (range, after) = after.split_once(';').expect("it ends");
    let (from, to) = range.split_once('-').expect("a range");
    let (from, to): (u64, u64) = (from.parse().expect("a seq"), to.parse().expect("a seq"));
    assert_eq!(before, words(1..=from - 1));
    assert_eq!(after, words(to + 1..=50 * FULL), "the newest are there");
    assert_eq!(to + 1 - from, fixture.dropped);
}

#[test]
fn latest_keeps_only_the_newest() {
    let mut fixture = Fixture::new();
    fixture.stall();
    for seq in 1..=3 * FULL {
        fixture.message(SlowPolicy::Latest, seq);
    }
    let all = fixture.drain();
    let newest = format!("m{};", 3 * FULL);
    assert!(all.ends_with(&newest) && all.matches("gap").count() == 1, "{all}");
    // More than the newest may be queued since it last exceeded its bound.
    let (_, after) = all.split_once("gap").expect("a gap");
    assert!(after.matches('m').count() < FULL as usize, "{all}");
}

#[test]
fn a_gap_does_not_reach_across_a_reply() {
    let mut fixture = Fixture::new();
    fixture.stall();
    let room = Fixture::room("room");
    let source = Source { room: &room, policy: SlowPolicy::Skip };
    for seq in 1..=FULL {
        fixture.message(source.policy, seq);
    }
    let joined = Outgoing { bytes: Bytes::from("joined;"), messages: 1, role: Role::Other };
    let joined = fixture.outboxes.add(joined, &mut fixture.budget);
    fixture.outboxes.hold(0, source, joined, &mut fixture.budget);
    fixture.outboxes.release(joined, &mut fixture.budget);
    for seq in FULL + 1..=3 * FULL {
        fixture.message(source.policy, seq);
    }
    let all = fixture.drain();
    let (before, after) = all.split_once("joined;").expect("it is never dropped");
    assert!(before.ends_with(&format!("-{FULL};")), "{all}");
    assert!(after.starts_with(&format!("gap{}-", FULL + 1)), "{all}");
}

#[test]
fn other_rooms_are_left_alone() {
    let mut fixture = Fixture::new();
    fixture.stall();
    for seq in 1..=FULL - 5 {
        fixture.message_in("theirs", SlowPolicy::Skip, &[0], seq);
    }
    for seq in 1..=FULL {
        fixture.message(SlowPolicy::Skip, seq);
    }
    let all = fixture.drain();
    assert!(!all.contains("theirs"), "{all}");
    assert!(all.contains(&words(QUEUED..=FULL - 5)) && all.contains("gap1-"), "{all}");
}

#[test]
fn what_may_be_dropped_goes_before_anyone_is_closed() {
    let mut fixture = Fixture::new();
    fixture.stall();
    for seq in 1..=3 * FULL {
        fixture.message_in("prices", SlowPolicy::Latest, &[0], seq);
        fixture.message_in("news", SlowPolicy::Skip, &[0], seq);
    }
    let mut closed_at = 0;
    for seq in 1..=FULL {
        if !fixture.message_in("chat", SlowPolicy::Disconnect, &[0], seq).is_empty() {
            closed_at = seq;
            break;
        }
    }
    // Only the queue and the newest price are left.
    assert!(closed_at >= FULL - QUEUED - 2, "{closed_at} of {FULL}");
    assert_eq!(fixture.outboxes.undroppable(0).as_deref(), Some("chat"));
    let all = fixture.drain();
    assert!(all.contains("gapnews.") && all.contains("gapprices."), "{all}");
}

#[test]
fn a_slow_reader_in_a_quiet_room_is_found() {
    let mut fixture = Fixture::new();
    for seq in 1..=2 * FULL {
        fixture.message(SlowPolicy::Skip, seq);
    }
    fixture.flush();
    let find = |fixture: &Fixture| {
        let mut slow = Vec::new();
        fixture.outboxes.find_slow(false, &mut slow);
        slow
    };
    assert_eq!(find(&fixture), [0; 0]);
    fixture.pass(SLOW_AFTER_MS + TICK_MS + 1_000 * SEND_BYTES_MAX as u64 / SLOW_BYTES_PER_SECOND as u64);
    assert_eq!(find(&fixture), [0]);
    let relief = fixture.outboxes.relieve_all(0, &mut fixture.budget);
    assert!(relief.dropped > 0 && !relief.is_over);
    assert_eq!(find(&fixture), [0; 0]);
}

#[test]
fn a_replay_comes_before_the_live_messages_and_rooms_take_turns() {
    let mut fixture = Fixture::new();
    let (one, other) = (Fixture::room("room"), Fixture::room("other"));
    let source = |room| Source { room, policy: SlowPolicy::Disconnect };
    fixture.outboxes.replay(0, source(&one), Fixture::publications(1..=300), &mut fixture.budget);
    fixture.outboxes.replay(0, source(&other), Fixture::publications(1_001..=1_300), &mut fixture.budget);
    fixture.message(SlowPolicy::Disconnect, 301);
    fixture.message_in("third", SlowPolicy::Disconnect, &[0], 9_999);
    fixture.outboxes.push_last(
        0,
        Outgoing { bytes: Bytes::from("close;"), messages: 0, role: Role::Other },
        &mut fixture.budget,
    );
    let all = fixture.drain();
    let seqs: Vec<u64> =
        all.split(';').filter_map(|word| word.strip_prefix('m')).map(|seq| seq.parse().expect("a seq")).collect();
    let of = |from, to| seqs.iter().copied().filter(|seq| (from..=to).contains(seq)).collect::<Vec<_>>();
    assert_eq!(of(1, 301), (1..=301).collect::<Vec<_>>());
    assert_eq!(of(1_001, 1_300), (1_001..=1_300).collect::<Vec<_>>());
    assert!(seqs.iter().position(|seq| *seq == 1_001) < seqs.iter().position(|seq| *seq == 300), "turns: {seqs:?}");
    assert!(all.contains("m9999;") && all.ends_with("close;"), "{all}");
}

#[test]
fn publications_in_replays_are_charged_once() {
    let mut fixture = Fixture::new();
    fixture.outboxes.reach(9);
    let (room, messages) = (Fixture::room("room"), Fixture::publications(1..=100));
    let source = Source { room: &room, policy: SlowPolicy::Disconnect };
    fixture.outboxes.replay(0, source, messages.clone(), &mut fixture.budget);
    let one = fixture.budget.used();
    for slot in 1..10 {
        fixture.outboxes.replay(slot, source, messages.clone(), &mut fixture.budget);
    }
    let ten = fixture.budget.used();
    let bytes: usize = messages.iter().map(|message| message.bytes()).sum();
    assert!(one as usize > bytes && ten - one < one, "{one} {ten}");
    for slot in 0..10 {
        fixture.outboxes.drop_backlog(slot, &mut fixture.budget);
    }
    assert_eq!(fixture.budget.used(), 0);
}

#[test]
fn a_replay_is_skipped_from_its_oldest_on() {
    let mut fixture = Fixture::new();
    fixture.stall();
    let room = Fixture::room("room");
    let source = Source { room: &room, policy: SlowPolicy::Skip };
    fixture.outboxes.replay(0, source, Fixture::publications(1..=100), &mut fixture.budget);
    for seq in 101..=100 + FULL {
        fixture.message(SlowPolicy::Skip, seq);
    }
    let all = fixture.drain();
    assert!(all.starts_with("gap1-") && all.ends_with(&format!("m{};", 100 + FULL)), "{all}");
}
