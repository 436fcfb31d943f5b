//! Checks of records: appended in order, loaded, trimmed.

use super::say::{Say, record, request, room, seqs};
use super::subject::{Conditions, Make};
use crate::base::chat::ReceiptKind;
use crate::base::ids::{Epoch, Position, RoomName};
use crate::base::limits::KEY_WINDOW_MS;
use crate::engine::record::Record;
use crate::engine::store_port::KeptKey;
use crate::store::state::Keep;

const DAY_MS: u64 = 86_400_000;

pub fn a_room_keeps_its_first_epoch_and_its_records(make: Make<'_>) {
    let mut store = make(Conditions::default());
    let loaded = store.load(&room("r"), 10, 0, Epoch(7), 2_000);
    assert_eq!(loaded.stretch.head, Some(Position { epoch: Epoch(7), seq: 0 }));
    assert_eq!((loaded.stretch.records, loaded.first_seq, loaded.keys, loaded.created), (vec![], 1, vec![], None));
    let mut first = record(1, 2_001, "{\"a\":1}");
    first.key = Some("k".into());
    first.except = Some("node/0-1-2".into());
    assert!(store.append(&room("r"), Epoch(7), first.clone()));
    let loaded = store.load(&room("r"), 10, 0, Epoch(8), 2_002);
    assert_eq!(loaded.stretch.head, Some(Position { epoch: Epoch(7), seq: 1 }));
    assert_eq!((loaded.stretch.records, loaded.first_seq), (vec![first], 1));
}

pub fn records_that_are_not_next_change_nothing(make: Make<'_>) {
    let mut store = make(Conditions::default());
    store.open("r", 7);
    store.publish("r", 7, 1..=3, 2_000);
    assert!(!store.append(&room("r"), Epoch(7), record(3, 9_000, "again")), "is there already");
    assert!(!store.append(&room("r"), Epoch(7), record(1, 9_000, "again")), "is there already");
    assert!(!store.append(&room("r"), Epoch(7), record(5, 9_000, "too early")), "4 is missing");
    assert!(!store.append(&room("r"), Epoch(8), record(4, 9_000, "other")), "another numbering");
    assert!(!store.append(&room("r"), Epoch(7), record(0, 9_000, "none")), "no number");
    let page = store.page(&request("r", 7, Some(0), u64::MAX));
    assert_eq!(page.records, [record(1, 2_001, "1"), record(2, 2_002, "1"), record(3, 2_003, "1")]);
}

pub fn a_load_gives_the_newest_records_without_holes(make: Make<'_>) {
    let mut store = make(Conditions::default());
    store.open("r", 7);
    store.open("r0", 8);
    store.publish("r", 7, 1..=300, 2_000);
    store.publish("r0", 8, 1..=3, 2_000);
    for count in [0, 1, 50, 299, 300, 301, usize::MAX] {
        let loaded = store.load(&room("r"), count, 0, Epoch(9), 3_000);
        let first = 300 - (count.min(300) as u64) + 1;
        assert_eq!(seqs(&loaded.stretch.records), (first..=300).collect::<Vec<_>>(), "{count}");
        assert_eq!((loaded.first_seq, loaded.stretch.head.map(|head| head.seq)), (1, Some(300)));
    }
}

fn keyed(seq: u64, at: u64) -> Record {
    Record { key: Some(format!("key {seq}").into()), ..record(seq, at, "1") }
}

fn kept_key(seq: u64, at: u64) -> KeptKey {
    let Record { from, key, .. } = keyed(seq, at);
    KeptKey { from, key: key.expect("keyed"), seq, at }
}

pub fn keys_outlive_their_records_until_their_window_ends(make: Make<'_>) {
    let retention = |_: &RoomName| Keep { count: 2, ttl_ms: DAY_MS, numbering_ttl_ms: DAY_MS };
    let mut store = make(Conditions { retention, ..Conditions::default() });
    store.open("r", 7);
    let start = 10_000_000;
    for seq in 1..=6 {
        // The third has none.
        let at = start + seq * 1_000;
        let record = if seq == 3 { record(seq, at, "1") } else { keyed(seq, at) };
        assert!(store.append(&room("r"), Epoch(7), record));
    }
    store.trim(start + 10_000);
    let keys = store.load(&room("r"), 1, start + 2_000, Epoch(8), start).keys;
    assert_eq!(keys, [2, 4, 5, 6].map(|seq| kept_key(seq, start + seq * 1_000)));
    store.trim(start + 4_000 + KEY_WINDOW_MS);
    let keys = store.load(&room("r"), 1, start + 4_000, Epoch(8), start).keys;
    assert_eq!(keys, [4, 5, 6].map(|seq| kept_key(seq, start + seq * 1_000)), "the window's keys are there");
    store.trim(start + DAY_MS / 2);
    assert_eq!(store.load(&room("r"), 1, start + DAY_MS / 2, Epoch(8), start).keys, []);
    // And they are not missed when more come.
    assert!(store.append(&room("r"), Epoch(7), keyed(7, start + DAY_MS / 2)));
    let keys = store.load(&room("r"), 1, start + 7_000, Epoch(8), start).keys;
    assert_eq!(keys, [kept_key(7, start + DAY_MS / 2)]);
}

pub fn records_over_the_bound_are_not_shown_and_go(make: Make<'_>) {
    let retention = |room: &RoomName| {
        let count = if room.starts_with("none") { 0 } else { 100 };
        Keep { count, ttl_ms: DAY_MS, numbering_ttl_ms: DAY_MS }
    };
    let mut store = make(Conditions { retention, ..Conditions::default() });
    store.open("r", 7);
    store.open("none", 8);
    store.publish("r", 7, 1..=250, 2_000);
    store.publish("none", 8, 1..=3, 2_000);
    for is_trimmed in [false, true] {
        let loaded = store.load(&room("r"), 120, 0, Epoch(9), 3_000);
        assert_eq!(seqs(&loaded.stretch.records), (151..=250).collect::<Vec<_>>(), "{is_trimmed}");
        assert_eq!(loaded.first_seq, 151);
        let page = store.page(&request("r", 7, Some(0), u64::MAX));
        assert_eq!((page.first_seq, page.records.len()), (Some(151), 100));
        let loaded = store.load(&room("none"), 120, 0, Epoch(9), 3_000);
        assert_eq!((loaded.stretch.records, loaded.first_seq), (vec![], 4));
        assert_eq!(store.page(&request("none", 8, Some(0), u64::MAX)).first_seq, None);
        store.trim(3_000);
    }
    store.publish("r", 7, 251..=252, 2_000);
    assert_eq!(store.load(&room("r"), 120, 0, Epoch(9), 3_000).first_seq, 153);
}

pub fn records_expire_and_the_numbering_stays_until_its_time(make: Make<'_>) {
    let hour_ms = 3_600_000;
    let retention = |_: &RoomName| Keep { count: 1_000, ttl_ms: 3_600_000, numbering_ttl_ms: 7_200_000 };
    let mut store = make(Conditions { retention, ..Conditions::default() });
    store.open("r", 7);
    store.open("silent", 8);
    store.publish("r", 7, 1..=10, 10 * hour_ms);
    store.trim(10 * hour_ms + hour_ms + 4);
    let loaded = store.load(&room("r"), 10, 0, Epoch(9), 11 * hour_ms);
    assert_eq!(seqs(&loaded.stretch.records), [5, 6, 7, 8, 9, 10]);
    assert_eq!(loaded.first_seq, 5);
    store.trim(10 * hour_ms + 2 * hour_ms + 5);
    assert_eq!(store.open("r", 9), Position { epoch: Epoch(7), seq: 10 }, "the head's two hours are not over");
    assert_eq!(store.open("silent", 9).epoch, Epoch(9), "its time was over long ago");
    store.trim(10 * hour_ms + 2 * hour_ms + 10);
    assert_eq!(store.open("r", 9), Position { epoch: Epoch(9), seq: 0 });
    store.publish("r", 9, 1..=2, 20 * hour_ms);
    assert_eq!(store.load(&room("r"), 10, 0, Epoch(10), 20 * hour_ms).stretch.records.len(), 2);
}

pub fn an_inbox_keeps_what_is_not_delivered(make: Make<'_>) {
    let retention = |_: &RoomName| Keep { count: 2, ttl_ms: 1_000, numbering_ttl_ms: 1_000 };
    let mut store = make(Conditions { retention, ..Conditions::default() });
    store.open("@ann", 7);
    store.publish("@ann", 7, 1..=50, 2_000);
    // The receipts of others, and of other kinds, are not hers.
    assert!(store.receipt("bob", "@ann", ReceiptKind::Delivered, 50).is_ok());
    assert!(store.receipt("ann", "@ann", ReceiptKind::Read, 50).is_ok());
    for is_trimmed in [false, true] {
        let mut request = request("@ann", 7, Some(0), u64::MAX);
        request.expired_at = DAY_MS - 1_000;
        let page = store.page(&request);
        assert_eq!((page.first_seq, page.records.len()), (Some(1), 50), "{is_trimmed}");
        store.trim(DAY_MS);
    }
    assert!(store.receipt("ann", "@ann", ReceiptKind::Delivered, 45).is_ok());
    for is_trimmed in [false, true] {
        assert_eq!(store.page(&request("@ann", 7, Some(0), u64::MAX)).first_seq, Some(46), "{is_trimmed}");
        store.trim(DAY_MS);
    }
    assert!(store.receipt("ann", "@ann", ReceiptKind::Delivered, 50).is_ok());
    assert_eq!(store.page(&request("@ann", 7, Some(0), u64::MAX)).first_seq, Some(49), "two are kept all the same");
    store.trim(DAY_MS);
    assert_eq!(store.open("@ann", 8).epoch, Epoch(8), "nothing is left of it");
}
