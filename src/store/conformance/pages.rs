//! Checks of pages, against the model of a page (that of `tests/simulation/store.rs`).

use bytes::Bytes;

use super::say::{Say, record, request, room, seqs};
use super::subject::{Conditions, Make};
use crate::base::ids::{Epoch, RoomName};
use crate::engine::record::{PageRequest, Record, RecordPage};
use crate::store::state::Keep;

use crate::store::random::Random;

/// The page that was asked for, of what is held in order.
fn read_page(request: &PageRequest, held: &[Record]) -> RecordPage {
    let PageRequest { after, before, expired_at, count, bytes, .. } = *request;
    let expired = held.iter().rposition(|record| record.at <= expired_at).map_or(0, |last| last + 1);
    let held = &held[expired..];
    let first_seq = held.first().map(|record| record.seq);
    let fits = |record: &&Record| record.seq < before && Some(record.seq) > after;
    let mut room = bytes;
    let takes = |record: &&Record| {
        let is_first = room == bytes;
        let has_room = is_first || record.data.len() <= room;
        room = room.saturating_sub(record.data.len().max(1));
        has_room
    };
    let records = held.iter().filter(fits);
    let records = match after {
        Some(_) => records.take(count).take_while(takes).cloned().collect(),
        None => {
            let newest = records.rev().take(count).take_while(takes);
            let mut newest: Vec<Record> = newest.cloned().collect();
            newest.reverse();
            newest
        }
    };
    RecordPage { first_seq, records }
}

pub fn pages_are_those_of_the_model(make: Make<'_>) {
    let retention = |_: &RoomName| Keep { count: 60, ttl_ms: u64::MAX, numbering_ttl_ms: u64::MAX };
    let mut store = make(Conditions { retention, ..Conditions::default() });
    for seed in 1..=8 {
        let mut random = Random(seed);
        let name = format!("r{seed}");
        store.open(&name, 7);
        let (mut held, mut at) = (Vec::new(), 1_000);
        let count = 20 * seed;
        for seq in 1..=count {
            // Now and then the clock is set back.
            at = if random.below(30) == 0 { at - random.below(40) as u64 } else { at + random.below(4) as u64 };
            let length = random.below(20);
            let record = Record { data: Bytes::from(random.bytes(length)), ..record(seq, at, "") };
            held.push(record.clone());
            assert!(store.append(&room(&name), Epoch(7), record));
        }
        held.drain(..held.len().saturating_sub(60));
        let seq = |random: &mut Random| match random.below(8) {
            0 => 0,
            1 => u64::MAX,
            _ => random.below(count as usize + 3) as u64,
        };
        for turn in 0..400 {
            let mut asked = request(&name, 7, None, seq(&mut random));
            asked.after = (random.below(2) == 0).then(|| seq(&mut random));
            asked.expired_at = match random.below(3) {
                0 => 0,
                _ => 990 + random.below(at as usize - 980) as u64,
            };
            asked.count = *random.pick(&[0, 1, 2, 10, 59, 60, 61, 1_000]);
            asked.bytes = *random.pick(&[1, 5, 20, 100, 100_000]);
            assert_eq!(store.page(&asked), read_page(&asked, &held), "seed {seed}: {asked:?}");
            if turn == 200 {
                store.trim(at);
            }
        }
    }
}

pub fn a_page_of_another_numbering_is_empty(make: Make<'_>) {
    let mut store = make(Conditions::default());
    store.open("r", 7);
    store.publish("r", 7, 1..=3, 2_000);
    let empty = RecordPage { first_seq: None, records: Vec::new() };
    assert_eq!(store.page(&request("r", 8, Some(0), u64::MAX)), empty);
    assert_eq!(store.page(&request("unknown", 7, Some(0), u64::MAX)), empty);
    store.open("silent", 9);
    assert_eq!(store.page(&request("silent", 9, Some(0), u64::MAX)), empty);
}

pub fn large_records_end_a_page(make: Make<'_>) {
    let mut store = make(Conditions::default());
    store.open("r", 7);
    for (seq, length) in [(1, 100), (2, 5_000), (3, 100), (4, 200_000)] {
        assert!(store.append(&room("r"), Epoch(7), record(seq, 2_000, &"x".repeat(length))));
    }
    let mut page = |after, bytes| {
        let asked = PageRequest { bytes, ..request("r", 7, after, u64::MAX) };
        seqs(&store.page(&asked).records)
    };
    assert_eq!(page(Some(0), 300), [1]);
    assert_eq!(page(Some(1), 300), [2], "one is given, however large it is");
    assert_eq!(page(Some(0), 5_100), [1, 2]);
    assert_eq!(page(None, 300), [4]);
    assert_eq!(page(None, 200_100), [3, 4]);
}
