//! What only this state does: sweeps in steps, rooms that are forgotten and come back, damage that is named.

use bytes::Bytes;

use crate::base::chat::{Role, Visibility};
use crate::base::ids::{Epoch, Position, RoomName};
use crate::engine::kept::{Actor, KeptAsk, KeptSession, RoomAct, RoomAsk, SessionId};
use crate::store::change::Change;
use crate::store::conformance::say::{record, request, room, user};
use crate::store::conformance::subject::Conditions;
use crate::store::state::{Keep, Outcome, Setup, Skipped, State, StateError};
use crate::store::tables::memory::MemoryTables;
use crate::store::tables::rows::{Direction, Put, Rows, Span, Tables};
use crate::store::tables::table::Table;

const HOUR_MS: u64 = 3_600_000;

fn retention(name: &RoomName) -> Keep {
    let count = if name.starts_with("hot") { 100 } else { 1_000_000 };
    Keep { count, ttl_ms: HOUR_MS, numbering_ttl_ms: HOUR_MS }
}

fn state() -> State<MemoryTables> {
    let rules = super::rules(&Conditions { retention, ..Conditions::default() });
    State::open(MemoryTables::new(), Setup::with_records(0), rules).expect("opens")
}

fn apply(state: &mut State<MemoryTables>, changes: &[Change]) -> Vec<Outcome> {
    let commit = state.applied() + 1;
    state.apply(commit, changes).expect("applied")
}

fn open(name: &str, epoch: u64) -> Change {
    Change::Open { room: room(name), epoch: Epoch(epoch), at: 2_000 }
}

fn append(name: &str, epoch: u64, seq: u64) -> Change {
    Change::Append { room: room(name), epoch: Epoch(epoch), record: record(seq, 2_000, "1") }
}

fn act(by: &str, name: &str, act: RoomAct) -> Change {
    let actor = Actor { user: user(by), is_admin: false };
    Change::Ask(KeptAsk::Room(RoomAsk { room: room(name), actor, at: 2_000, act }))
}

fn rows(state: &State<MemoryTables>, table: Table) -> usize {
    state.tables().scan(table, Span::all(), Direction::Up).count()
}

#[test]
fn a_hot_room_is_trimmed_as_it_grows_among_many_others() {
    let mut state = state();
    let others: Vec<Change> = (0..2_000).map(|number| open(&format!("other {number}"), 9)).collect();
    apply(&mut state, &others);
    apply(&mut state, &[open("hot", 7)]);
    for batch in 0..50_u64 {
        let appends: Vec<Change> = (1..=40).map(|seq| append("hot", 7, batch * 40 + seq)).collect();
        apply(&mut state, &appends);
        let swept = state.sweep(3_000, 100).expect("swept");
        assert!(swept.removed <= 100);
        assert!(rows(&state, Table::Records) <= 200, "{} after batch {batch}", rows(&state, Table::Records));
    }
}

#[test]
fn a_sweep_looks_at_no_more_than_its_budget_and_comes_to_everything() {
    let mut state = state();
    let mut changes = vec![open("a", 7), open("b", 8)];
    for seq in 1..=500 {
        changes.extend([append("a", 7, seq), append("b", 8, seq)]);
    }
    for id in 0..100 {
        let kept = KeptSession { user: user("ann"), node: "node".into(), opened_at: 2_000 };
        changes.push(Change::Ask(KeptAsk::SaveSession { session: SessionId(id), kept }));
        changes.push(Change::Ask(KeptAsk::EndSession { session: SessionId(id), at: 2_000 }));
    }
    apply(&mut state, &changes);
    let (mut steps, mut removed) = (0, 0);
    while rows(&state, Table::Records) + rows(&state, Table::Sessions) > 0 {
        let swept = state.sweep(3 * HOUR_MS, 20).expect("swept");
        assert!(swept.removed <= 20, "{}", swept.removed);
        (steps, removed) = (steps + 1, removed + swept.removed);
        assert!(steps < 500, "the sweep comes to everything");
    }
    assert_eq!(removed, 1_100);
    assert_eq!(state.applied(), 1, "a sweep is no commit");
}

#[test]
fn a_deleted_room_leaves_no_row() {
    let mut state = state();
    let create = RoomAct::Create { visibility: Visibility::Public, title: "".into() };
    let mut changes = vec![act("ann", "r", create), open("r", 7)];
    for number in 1..=200 {
        changes.push(append("r", 7, number));
        changes.push(act("ann", "r", RoomAct::SetRole { user: user(&format!("u{number}")), role: Role::Member }));
        let invite = RoomAct::Invite { code: format!("c{number}").into(), uses_max: 1, expires_at: u64::MAX };
        changes.push(act("ann", "r", invite));
        let kind = crate::base::chat::ReceiptKind::Read;
        changes.push(act(&format!("u{number}"), "r", RoomAct::Receipt { kind, seq: 1 }));
    }
    apply(&mut state, &changes);
    let tables = [Table::Records, Table::Members, Table::UserRooms, Table::Invites, Table::Receipts];
    assert!(tables.iter().all(|table| rows(&state, *table) >= 200));
    apply(&mut state, &[act("ann", "r", RoomAct::Delete)]);
    let mut steps = 0;
    while rows(&state, Table::Garbage) > 0 {
        assert!(state.sweep(3_000, 30).expect("swept").removed <= 31);
        steps += 1;
        assert!(steps < 1_000, "the garbage goes");
    }
    assert!(steps > 20, "in steps");
    assert!(tables.iter().all(|table| rows(&state, *table) == 0));
    let forget = state.sweep(3 * HOUR_MS, 1_000).expect("swept").forget;
    assert_eq!(forget.len(), 1, "its name, after a while: {forget:?}");
    apply(&mut state, &forget);
    assert_eq!(rows(&state, Table::Rooms), 0);
}

/// A core may have a room for as long as it has members, though nothing is published to it.
#[test]
fn a_core_goes_on_in_a_room_that_was_forgotten() {
    let mut state = state();
    apply(&mut state, &[open("r", 7)]);
    apply(&mut state, &(1..=5).map(|seq| append("r", 7, seq)).collect::<Vec<_>>());
    let mut forget = Vec::new();
    for _ in 0..3 {
        forget = state.sweep(3 * HOUR_MS, 1_000).expect("swept").forget;
    }
    assert_eq!(forget, [Change::Forget { room: room("r"), id: 1, seq: 5, used_at: 2_000 }]);
    // Used meanwhile: it stays.
    let mut used = State::open(state.tables().clone(), Setup::with_records(0), super::rules(&Conditions::default()))
        .expect("opens");
    apply(&mut used, &[append("r", 7, 6), forget[0].clone()]);
    assert_eq!(used.load(&room("r"), 1, 0).expect("readable").stretch.head.map(|head| head.seq), Some(6));

    apply(&mut state, &forget);
    assert!(state.needs_open(&room("r"), 0).expect("readable"));
    assert_eq!(apply(&mut state, &[append("r", 7, 6), append("r", 7, 7)]), [Outcome::Done, Outcome::Done]);
    let loaded = state.load(&room("r"), 10, 0).expect("readable");
    assert_eq!(loaded.stretch.head, Some(Position { epoch: Epoch(7), seq: 7 }));
    assert_eq!((loaded.first_seq, loaded.stretch.records.len()), (6, 2));
    let skipped = apply(&mut state, &[append("r", 7, 9), append("r", 8, 8), append("r", 7, 6)]);
    let expected =
        [Skipped::Gap { head: 7 }, Skipped::OtherEpoch { epoch: Epoch(7) }, Skipped::KeptAlready { head: 7 }];
    assert_eq!(skipped, expected.map(Outcome::Skipped));
}

#[test]
fn lists_of_rooms_and_what_they_hold() {
    let mut state = state();
    let create = RoomAct::Create { visibility: Visibility::Public, title: "".into() };
    apply(&mut state, &[open("a", 7), append("a", 7, 1), act("ann", "b", create), open("c", 9)]);
    apply(&mut state, &[act("ann", "b", RoomAct::SetRole { user: user("bob"), role: Role::Admin })]);
    let kind = crate::base::chat::ReceiptKind::Delivered;
    apply(&mut state, &[act("bob", "a", RoomAct::Receipt { kind, seq: 1 })]);
    let rooms = state.rooms(None, 10).expect("readable");
    let names: Vec<&str> = rooms.iter().map(|listed| &*listed.room).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!((rooms[0].head, rooms[0].first_seq), (Some(Position { epoch: Epoch(7), seq: 1 }), 1));
    assert_eq!((rooms[1].head, rooms[1].created.as_ref().map(|created| created.members)), (None, Some(2)));
    assert_eq!(state.rooms(Some(&room("a")), 1).expect("readable"), rooms[1..2]);
    let members = state.members(&room("b"), None, 10).expect("readable");
    assert_eq!(
        members.iter().map(|member| (&*member.user, member.role)).collect::<Vec<_>>(),
        [("ann", Role::Owner), ("bob", Role::Admin)]
    );
    assert_eq!(state.members(&room("b"), Some(&user("ann")), 10).expect("readable"), members[1..]);
    let receipts = state.receipts(&room("a"), None, 10).expect("readable");
    assert_eq!(
        receipts.iter().map(|kept| (&*kept.user, kept.read, kept.delivered)).collect::<Vec<_>>(),
        [("bob", 0, 1)]
    );
    assert_eq!(state.records(&room("a"), 0, 10, 100).expect("readable"), [record(1, 2_000, "1")]);
    assert_eq!(state.records(&room("a"), 1, 10, 100).expect("readable"), []);
    assert_eq!(state.members(&room("unknown"), None, 10).expect("readable"), []);
}

fn damaged(table: Table, key: Vec<u8>, value: Option<&'static [u8]>) -> State<MemoryTables> {
    let mut state = state();
    apply(&mut state, &[open("r", 7), append("r", 7, 1), append("r", 7, 2), append("r", 7, 3)]);
    let mut tables = state.into_tables();
    let value = value.map(Bytes::from_static);
    tables.write(vec![Put { table, key: key.into(), value }], None).expect("writable");
    State::open(tables, Setup::with_records(0), super::rules(&Conditions::default())).expect("opens")
}

#[test]
fn damage_is_named() {
    let key = [1_u64.to_be_bytes(), 2_u64.to_be_bytes()].concat();
    let state = damaged(Table::Records, key.clone(), None);
    for error in [
        state.load(&room("r"), 3, 0).expect_err("a hole"),
        state.page(&request("r", 7, Some(0), 9)).expect_err("a hole"),
        state.page(&request("r", 7, None, 9)).expect_err("a hole"),
    ] {
        assert!(error.is_damage());
        assert_eq!(error.to_string(), "the record 2 of room r is missing from table records");
    }
    let state = damaged(Table::Records, key, Some(b"short"));
    let error = state.load(&room("r"), 3, 0).expect_err("no record");
    let expected = "the row \\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02 of table records cannot \
                    be read: the bytes end at offset 0, within a record's time";
    assert_eq!(error.to_string(), expected);
    let mut state = damaged(Table::Rooms, b"r".to_vec(), Some(b""));
    let error = state.apply(9, &[append("r", 7, 4)]).expect_err("no room");
    assert!(error.is_damage() && error.to_string().starts_with("the row r of table rooms cannot be read"), "{error}");
    assert_eq!(state.applied(), 1, "nothing is applied");
}

#[test]
fn another_format_is_refused() {
    let mut tables = state().into_tables();
    let mut formats = tables.get(Table::Meta, b"formats").expect("readable").expect("there").to_vec();
    formats[Table::Records as usize] = 9;
    let put = Put { table: Table::Meta, key: Bytes::from_static(b"formats"), value: Some(formats.into()) };
    tables.write(vec![put], None).expect("writable");
    let error = State::open(tables, Setup::with_records(0), super::rules(&Conditions::default())).expect_err("refused");
    assert!(matches!(error, StateError::Format { table: Table::Records, .. }) && !error.is_damage());
    assert_eq!(error.to_string(), "table records has format 9, but this version reads format 1");
}
