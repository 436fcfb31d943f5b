//! Tests of what a history holds, returns and drops.

use super::*;
use crate::base::ids::{RoomName, UserName};
use crate::wire::form::Form;
use crate::wire::publication::{Content, Data, DataKind};

const WIDE: PageLimit = PageLimit { count: 100, bytes: 1 << 20 };

fn held(seq: Seq) -> Arc<Publication> {
    let (room, from) = (RoomName::new("a").expect("valid"), UserName::new("ann").expect("valid"));
    let content = Content::new(&room, seq, &from, 1, Data { kind: DataKind::Json, bytes: b"1" });
    Arc::new(Publication::encode(&content, Form::Json.into()))
}

/// Messages 1 to `head`, of which the last `count_max` are held; each expires at ten times its seq.
fn history(head: Seq, count_max: usize) -> History {
    let mut history = History::new(0);
    for seq in 1..=head {
        history.append(held(seq), seq * 10, count_max);
    }
    history
}

fn seqs(page: &[Arc<Publication>]) -> Vec<Seq> {
    page.iter().map(|publication| publication.seq).collect()
}

fn one_bytes() -> usize {
    held(1).bytes()
}

#[test]
fn it_is_bounded_by_count() {
    let history = history(7, 3);
    assert_eq!((history.first_seq(), history.head()), (5, 7));
    assert_eq!(history.numbers(), 4..7);
    assert!(history.get(4).is_none() && history.get(8).is_none());
    assert_eq!(history.get(5).map(|held| held.seq), Some(5));
    assert_eq!(history.bytes(), 3 * (one_bytes() + HISTORY_ENTRY_BYTES));
}

#[test]
fn it_is_bounded_by_age() {
    let mut history = history(5, 10);
    history.expire(29);
    assert_eq!((history.first_seq(), history.next_expiry_ms()), (3, Some(30)));
    history.expire(50);
    assert_eq!((history.first_seq(), history.head(), history.next_expiry_ms()), (6, 5, None));
    assert_eq!(history.bytes(), 0);
}

#[test]
fn without_history_the_numbers_go_on() {
    let history = history(4, 0);
    assert_eq!((history.first_seq(), history.head(), history.bytes()), (5, 4, 0));
    assert_eq!(history.since(4, 100).map(|page| page.len()), Some(0));
    assert!(history.since(3, 100).is_none());
}

#[test]
fn recovery_is_all_or_nothing() {
    let history = history(9, 5);
    let since = |seq| history.since(seq, 100).map(|page| seqs(&page));
    assert_eq!(since(9), Some(vec![]));
    assert_eq!(since(7), Some(vec![8, 9]));
    assert_eq!(since(4), Some(vec![5, 6, 7, 8, 9]), "the first missed is the oldest held");
    assert_eq!(since(3), None, "message 4 is gone");
    assert_eq!(since(0), None);
    assert_eq!(since(10), None, "above the head");
    assert_eq!(since(Seq::MAX), None);
    assert!(history.since(4, 4).is_none(), "one more than may be recovered");
    assert!(history.since(4, 5).is_some());
}

#[test]
fn the_newest_are_as_many_as_asked() {
    let history = history(9, 5);
    assert_eq!(seqs(&history.newest(100)), [5, 6, 7, 8, 9]);
    assert_eq!(seqs(&history.newest(2)), [8, 9]);
    assert!(history.newest(0).is_empty());
}

#[test]
fn pages_go_either_way_and_always_get_further() {
    let history = history(9, 5);
    let two = PageLimit { count: 2, ..WIDE };
    let tight = PageLimit { bytes: 1, ..WIDE };
    assert_eq!(seqs(&history.page_after(0, None, two)), [5, 6], "older ones are gone");
    assert_eq!(seqs(&history.page_after(7, None, WIDE)), [8, 9]);
    assert_eq!(seqs(&history.page_after(7, Some(9), WIDE)), [8]);
    assert_eq!(seqs(&history.page_after(7, None, tight)), [8]);
    assert!(history.page_after(9, None, WIDE).is_empty());
    assert!(history.page_after(Seq::MAX, None, WIDE).is_empty());
    assert_eq!(seqs(&history.page_before(None, two)), [8, 9]);
    assert_eq!(seqs(&history.page_before(Some(8), two)), [6, 7]);
    assert_eq!(seqs(&history.page_before(Some(8), tight)), [7]);
    assert_eq!(seqs(&history.page_before(Some(Seq::MAX), WIDE)), [5, 6, 7, 8, 9]);
    assert!(history.page_before(Some(5), WIDE).is_empty());
    assert!(history.page_before(Some(0), WIDE).is_empty());
}

#[test]
fn a_reset_goes_on_elsewhere_and_never_repeats_a_number() {
    let mut history = history(4, 10);
    history.reset(90);
    assert_eq!((history.first_seq(), history.head(), history.bytes()), (91, 90, 0));
    history.append(held(91), 1_000, 10);
    assert_eq!(history.numbers(), 4..5);
}

#[test]
#[should_panic(expected = "no holes")]
fn a_hole_is_a_bug() {
    history(4, 10).append(held(6), 0, 10);
}
