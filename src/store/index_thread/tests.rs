//! Records that do not fit, without a thread.

use bytes::Bytes;
use crossbeam_channel::{never, unbounded};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::base::ids::{Epoch, Seq, UserName};
use crate::store::group::Group;
use crate::store::reopen::ReopenNothing;
use crate::store::state::{Keep, Setup};
use crate::store::tables::memory::MemoryTables;
use crate::wire::publication::DataKind;

const NOW: Now = Now { mono_us: 1_000_000, unix_ms: 5 };

/// An index over tables in memory, and what it reports.
fn index() -> (IndexThread<MemoryTables>, UnboundedReceiver<Report>) {
    let keep = Keep { count: 10, ttl_ms: 1_000, numbering_ttl_ms: 1_000 };
    let rules = Rules { retention: Arc::new(move |_| keep), session_ttl_ms: 1 };
    let mut state = State::open(MemoryTables::default(), Setup::with_records(0), rules.clone()).expect("new tables");
    let room = RoomName::new("a").expect("valid");
    let before = [Change::Begin { boot: 1, is_behind: false }, Change::Open { room, epoch: Epoch(7), at: 1 }];
    state.apply(1, &before).expect("tables in memory do not fail");
    let (reports, heard) = unbounded_channel();
    let (_, inbox) = unbounded();
    let (checkpoint, figures) = (Arc::default(), Arc::default());
    let reopen = Box::new(ReopenNothing);
    let parts = IndexParts { state, reopen, boot: 1, inbox, rules, new_rules: never(), reports, checkpoint, figures };
    (IndexThread::new(parts), heard)
}

/// Carries one append out; the reason of the dead letter that it becomes.
fn append(
    (index, heard): &mut (IndexThread<MemoryTables>, UnboundedReceiver<Report>),
    epoch: u64,
    seq: Seq,
    data: &'static str,
) -> Option<Box<str>> {
    let from = UserName::new("ann").expect("valid");
    let data = Bytes::from_static(data.as_bytes());
    let record = Record { seq, at: 1, from, kind: DataKind::Json, data, key: None, except: None };
    let change = Change::Append { room: RoomName::new("a").expect("valid"), epoch: Epoch(epoch), record };
    let entries = vec![Entry { change, ack: Ack::Append { core: CoreId(0), attempt: 0 } }];
    let number = index.state().expect("tables in memory do not fail").applied() + 1;
    index.carry_out(NOW, ToIndex::Apply(Commit { number, group: Arc::new(Group { entries, bytes: 1 }) }));
    let mut reason = None;
    while let Ok(report) = heard.try_recv() {
        if let Report::Change(Change::Ask(KeptAsk::DeadLetter(DeadLetterAsk::Add(letter)))) = report {
            reason = Some(letter.reason);
        }
    }
    reason
}

#[test]
fn what_was_acknowledged_and_does_not_fit_becomes_a_dead_letter() {
    let mut rig = index();
    assert_eq!(append(&mut rig, 7, 1, "\"one\""), None);
    assert_eq!(append(&mut rig, 7, 1, "\"one\""), None, "given again");
    assert_eq!(append(&mut rig, 7, 1, "\"other\"").as_deref(), Some("another message has the number 1"));
    assert_eq!(append(&mut rig, 7, 3, "3").as_deref(), Some("messages before 3 are missing; the room ends at 1"));
    assert!(append(&mut rig, 8, 2, "2").is_some_and(|reason| reason.starts_with("the room has the numbering")));
    assert_eq!((append(&mut rig, 7, 2, "2"), rig.0.figures.conflicts.get()), (None, 3));
}
