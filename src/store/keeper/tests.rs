//! Groups, failures and reads, without threads.

use bytes::Bytes;

use super::*;
use crate::base::ids::{Seq, UserName};
use crate::engine::kept::{KeptSession, SessionId};
use crate::engine::record::{PageRequest, Record};
use crate::wire::publication::DataKind;

const CORE: CoreId = CoreId(1);

/// A keeper, and what it has wanted so far.
struct Rig {
    keeper: Keeper,
    now: Now,
    output: KeeperOutput,
}

impl Rig {
    fn new(has_log: bool) -> Self {
        let now = Now { mono_us: 1_000_000, unix_ms: 1_700_000_000_000 };
        Self { keeper: Keeper::new(has_log, 0), now, output: KeeperOutput::default() }
    }

    fn ask(&mut self, requests: Vec<StoreRequest>) {
        self.keeper.handle_requests(self.now, CORE, requests, &mut self.output);
    }

    fn logged(&mut self, is_kept: bool) {
        assert!(self.output.log.take().is_some(), "a group was given to the log");
        self.keeper.handle_logged(self.now, is_kept, &mut self.output);
    }

    fn pass(&mut self, ms: u64) {
        self.now.mono_us += ms * 1_000;
        self.keeper.tick(self.now, &mut self.output);
    }

    /// The seqs of the appends in the group that the log was given.
    fn in_log(&self) -> Option<Vec<Seq>> {
        self.output.log.as_ref().map(|group| seqs(group))
    }

    fn events(&mut self) -> Vec<String> {
        let text = |(CoreId(core), event): (CoreId, StoreEvent)| match event {
            StoreEvent::Committed { attempt, room, seq, .. } => format!("{core} committed {room} {seq} of {attempt}"),
            StoreEvent::Failed { attempt, room, seq, .. } => format!("{core} failed {room} {seq} of {attempt}"),
            StoreEvent::Answered { token, answer } => format!("{core} answered {token} {answer:?}"),
            event => format!("{event:?}"),
        };
        std::mem::take(&mut self.output.events).into_iter().map(text).collect()
    }

    fn index(&mut self) -> Vec<String> {
        let text = |to| match to {
            ToIndex::Apply(Commit { number, group }) => format!("apply {number} {:?}", seqs(&group)),
            ToIndex::Read(Read::Load { load, is_opened, .. }) => format!("load {} {is_opened}", load.room),
            ToIndex::Read(Read::Page { request, .. }) => format!("page {}", request.token),
            ToIndex::Read(Read::Ask { token, .. }) => format!("ask {token}"),
        };
        std::mem::take(&mut self.output.index).into_iter().map(text).collect()
    }
}

fn seqs(group: &Group) -> Vec<Seq> {
    let seq = |entry: &Entry| match &entry.change {
        Change::Append { record, .. } => record.seq,
        _ => 0,
    };
    group.entries.iter().map(seq).collect()
}

fn room(name: &str) -> RoomName {
    RoomName::new(name).expect("valid")
}

fn append_of(name: &str, attempt: u64, seq: Seq, bytes: usize) -> StoreRequest {
    let from = UserName::new("ann").expect("valid");
    let data = Bytes::from(vec![b'1'; bytes]);
    let record = Record { seq, at: 1, from, kind: DataKind::Json, data, key: None, except: None };
    StoreRequest::Append { attempt, room: room(name), epoch: Epoch(7), record }
}

fn append(name: &str, attempt: u64, seq: Seq) -> StoreRequest {
    append_of(name, attempt, seq, 1)
}

fn load(name: &str) -> StoreRequest {
    StoreRequest::Load { attempt: 0, room: room(name), count: 10, keys_since: 0, epoch: Epoch(9) }
}

fn page(name: &str, token: u64) -> StoreRequest {
    StoreRequest::Page(PageRequest {
        token,
        room: room(name),
        epoch: Epoch(7),
        after: None,
        before: 9,
        expired_at: 0,
        count: 1,
        bytes: 1,
    })
}

fn end_session(token: u64) -> StoreRequest {
    StoreRequest::Ask { token, ask: KeptAsk::EndSession { session: SessionId(1), at: 1 } }
}

fn drop_letter(token: u64) -> StoreRequest {
    let ask = KeptAsk::DeadLetter(crate::engine::kept::DeadLetterAsk::Drop(1));
    StoreRequest::Ask { token, ask }
}

#[test]
fn what_comes_while_a_group_is_in_the_log_forms_the_next() {
    let mut rig = Rig::new(true);
    rig.ask(vec![append("a", 0, 1)]);
    rig.ask(vec![append("a", 0, 2), append("b", 0, 1), append("a", 0, 3)]);
    assert_eq!(rig.in_log(), Some(vec![1]));
    rig.logged(true);
    assert_eq!(rig.in_log(), Some(vec![2, 1, 3]));
    assert_eq!(rig.events(), ["1 committed a 1 of 0"]);
    rig.logged(true);
    assert_eq!(rig.events(), ["1 committed b 1 of 0", "1 committed a 3 of 0"], "the last of each room says it for all");
    assert_eq!(rig.index(), ["apply 1 [1]", "apply 2 [2, 1, 3]"]);
    assert!(!rig.keeper.is_idle());
    rig.keeper.handle_applied(&mut rig.output);
    rig.keeper.handle_applied(&mut rig.output);
    assert!(rig.keeper.is_idle() && rig.keeper.queued_bytes() == 0 && rig.keeper.unapplied_bytes() == 0);
}

#[test]
fn groups_are_bounded_by_number_and_bytes_and_a_large_change_goes_alone() {
    let mut rig = Rig::new(true);
    rig.ask(vec![append("a", 0, 1)]);
    let many = (0..GROUP_ENTRIES_MAX as u64 + 5).map(|index| append("a", 0, index + 2));
    rig.ask(many.collect());
    rig.ask(vec![
        append_of("b", 0, 1, GROUP_BYTES_MAX - 10_000),
        append_of("b", 0, 2, GROUP_BYTES_MAX + 1),
        append("c", 0, 1),
    ]);
    let mut sizes = Vec::new();
    while let Some(group) = &rig.output.log {
        sizes.push((group.entries.len(), group.bytes > GROUP_BYTES_MAX));
        rig.logged(true);
    }
    assert_eq!(sizes, [(1, false), (GROUP_ENTRIES_MAX, false), (6, false), (1, true), (1, false)]);
}

#[test]
fn a_read_waits_for_what_was_asked_before_it() {
    let mut rig = Rig::new(true);
    rig.ask(vec![page("a", 1), append("a", 0, 1), page("a", 2)]);
    rig.ask(vec![append("b", 0, 1), page("a", 3)]);
    assert_eq!(rig.index(), ["page 1"]);
    rig.logged(true);
    assert_eq!(rig.index(), ["apply 1 [1]", "page 2"]);
    rig.logged(true);
    assert_eq!(rig.index(), ["apply 2 [1]", "page 3"]);
}

#[test]
fn a_room_is_opened_in_the_log_before_it_is_loaded() {
    let mut rig = Rig::new(true);
    rig.ask(vec![load("a")]);
    assert_eq!(rig.index(), ["load a false"]);
    let load = Load { attempt: 0, room: room("a"), count: 10, keys_since: 0, epoch: Epoch(9) };
    rig.keeper.handle_needs_open(rig.now, CORE, load, &mut rig.output);
    let opened = rig.output.log.as_ref().map(|group| group.entries[0].change.clone());
    assert_eq!(opened, Some(Change::Open { room: room("a"), epoch: Epoch(9), at: rig.now.unix_ms }));
    rig.logged(true);
    assert_eq!(rig.index(), ["apply 1 [0]", "load a true"]);
}

#[test]
fn after_a_failure_nothing_of_the_room_is_kept_until_its_owner_has_heard() {
    let mut rig = Rig::new(true);
    rig.ask(vec![append("a", 3, 5), drop_letter(8)]);
    rig.ask(vec![append("a", 3, 6), append("b", 0, 1), end_session(1), page("a", 2)]);
    rig.logged(false);
    let unavailable = format!("{:?}", KeptAnswer::Unavailable { retry_after_ms: STORE_RETRY_MS });
    let answered = format!("1 answered 8 {unavailable}");
    assert_eq!(rig.events(), ["1 failed a 5 of 3", &*answered, "1 failed b 1 of 0"]);
    assert_eq!(rig.index(), ["page 2"], "reads go on");
    assert_eq!((rig.in_log(), rig.keeper.breaker()), (None, BreakerState::Open));
    // Sent before the owner heard of it.
    rig.ask(vec![append("a", 3, 7)]);
    assert_eq!((rig.in_log(), rig.events().len()), (None, 0));
    rig.pass(STORE_RETRY_MS);
    assert_eq!(rig.in_log(), Some(vec![]), "the trial");
    rig.ask(vec![append("a", 3, 8)]);
    rig.logged(true);
    assert_eq!((rig.keeper.breaker(), rig.in_log(), rig.events().len()), (BreakerState::Closed, None, 0));
    rig.ask(vec![load("a"), append("a", 4, 5)]);
    assert_eq!(rig.in_log(), Some(vec![5]));
    rig.ask(vec![append("b", 1, 1)]);
    rig.logged(true);
    assert_eq!(rig.in_log(), Some(vec![1]), "a later attempt needs no load");
}

#[test]
fn while_the_breaker_is_open_changes_are_refused_at_once_and_one_of_them_is_the_trial() {
    let mut rig = Rig::new(true);
    rig.ask(vec![append("a", 0, 1)]);
    rig.logged(false);
    rig.events();
    rig.ask(vec![append("b", 0, 1), drop_letter(1), end_session(2)]);
    assert_eq!((rig.in_log(), rig.events().len()), (None, 2));
    rig.now.mono_us += STORE_RETRY_MS * 1_000;
    rig.ask(vec![append("c", 0, 1), append("c", 0, 2)]);
    assert_eq!(rig.in_log(), Some(vec![1, 2]));
    rig.ask(vec![append("d", 0, 1)]);
    rig.logged(false);
    assert_eq!(rig.events(), ["1 failed c 1 of 0", "1 failed d 1 of 0"]);
    rig.pass(STORE_RETRY_MS - 1);
    assert_eq!(rig.in_log(), None);
    rig.pass(1);
    rig.logged(true);
    assert_eq!(rig.keeper.breaker(), BreakerState::Closed);
}

#[test]
fn an_index_that_is_far_behind_stops_changes_but_not_the_breaker() {
    let mut rig = Rig::new(true);
    let large = UNAPPLIED_BYTES_MAX / 4;
    for seq in 1..=4 {
        rig.ask(vec![append_of("a", 0, seq, large)]);
        rig.logged(true);
    }
    rig.events();
    rig.ask(vec![append("a", 0, 5)]);
    assert_eq!((rig.events(), rig.keeper.breaker()), (vec!["1 failed a 5 of 0".into()], BreakerState::Closed));
    rig.keeper.handle_applied(&mut rig.output);
    rig.ask(vec![load("a"), append("a", 1, 5)]);
    assert_eq!(rig.in_log(), Some(vec![5]));
}

#[test]
fn lanes_are_left_full_while_too_much_waits() {
    let mut rig = Rig::new(true);
    rig.ask(vec![append("a", 0, 1)]);
    assert!(rig.keeper.takes_requests());
    rig.ask(vec![append_of("a", 0, 2, KEEPER_QUEUE_BYTES_MAX)]);
    assert!(!rig.keeper.takes_requests());
    rig.logged(true);
    assert!(rig.keeper.takes_requests());
}

#[test]
fn without_a_log_everything_is_committed_at_once() {
    let mut rig = Rig::new(false);
    rig.ask(vec![end_session(1), page("a", 2)]);
    assert_eq!((rig.in_log(), rig.index()), (None, vec!["apply 1 [0]".into(), "page 2".into()]));
    rig.keeper.handle_ask(rig.now, 5, KeptAsk::FindSession { session: SessionId(1), at: 0 }, &mut rig.output);
    assert_eq!(rig.index(), ["ask 5"]);
}

#[test]
fn the_end_is_said_only_where_everything_is_kept() {
    let mut rig = Rig::new(true);
    rig.ask(vec![append("a", 0, 1)]);
    rig.logged(true);
    rig.keeper.end(&mut rig.output);
    assert_eq!(rig.output.log.as_ref().map(|group| group.entries[0].change.clone()), Some(Change::End));

    for lost in [false, true] {
        let mut rig = Rig::new(true);
        rig.ask(vec![append("a", 0, 1)]);
        rig.logged(lost);
        if lost {
            rig.keeper.note_loss();
        } else {
            rig.pass(STORE_RETRY_MS);
            rig.logged(true);
        }
        rig.keeper.end(&mut rig.output);
        assert_eq!(rig.output.log, None);
    }
}

#[test]
fn sessions_are_changes_that_nobody_waits_for() {
    let mut rig = Rig::new(true);
    let kept = KeptSession { user: UserName::new("ann").expect("valid"), node: "n".into(), opened_at: 1 };
    rig.ask(vec![StoreRequest::Ask { token: 3, ask: KeptAsk::SaveSession { session: SessionId(1), kept } }]);
    rig.logged(false);
    assert!(rig.events().is_empty());
}

#[test]
fn the_index_is_given_so_many_reads_and_the_lanes_are_left_full_behind_them() {
    let mut rig = Rig::new(true);
    rig.ask((0..READS_AT_ONCE_MAX as u64 + 3).map(|token| page("a", token)).collect());
    assert_eq!((rig.index().len(), rig.keeper.takes_requests()), (READS_AT_ONCE_MAX, true));
    rig.keeper.handle_read(&mut rig.output);
    assert_eq!(rig.index(), [format!("page {READS_AT_ONCE_MAX}")]);
    rig.ask((0..READS_WAITING_MAX as u64).map(|token| page("a", token)).collect());
    assert!(!rig.keeper.takes_requests() && !rig.keeper.is_idle());
    for _ in 0..READS_AT_ONCE_MAX + READS_WAITING_MAX + 2 {
        rig.keeper.handle_read(&mut rig.output);
    }
    assert!(rig.keeper.takes_requests() && rig.keeper.is_idle());
}
