//! A state that was made by changes has nothing to tell of; whatever row is lost or altered is told.

use bytes::Bytes;

use crate::base::chat::{ReceiptKind, Role, Visibility};
use crate::base::ids::Epoch;
use crate::engine::kept::{
    AccountAsk, Actor, DeadLetter, DeadLetterAsk, KeptAccount, KeptAsk, KeptSession, RoomAct, RoomAsk, SessionId,
};
use crate::store::change::Change;
use crate::store::conformance::say::{record, room, user};
use crate::store::conformance::subject::Conditions;
use crate::store::state::{Holdings, Setup, State};
use crate::store::tables::memory::MemoryTables;
use crate::store::tables::rows::{Direction, Put, Rows, Span, Tables};
use crate::store::tables::table::Table;

fn act(by: &str, name: &str, act: RoomAct) -> Change {
    let actor = Actor { user: user(by), is_admin: false };
    Change::Ask(KeptAsk::Room(RoomAsk { room: room(name), actor, at: 2_000, act }))
}

/// A state with something in every table but `garbage`.
fn state() -> State<MemoryTables> {
    let mut state = State::open(MemoryTables::new(), Setup::with_records(0), super::rules(&Conditions::default()))
        .expect("a state that opens");
    let create = RoomAct::Create { visibility: Visibility::Private, title: "A title".into() };
    let mut changes = vec![
        Change::Begin { boot: 1, is_behind: false },
        act("ann", "club", create),
        act("ann", "club", RoomAct::SetRole { user: user("bob"), role: Role::Member }),
        act("ann", "club", RoomAct::Invite { code: "code".into(), uses_max: 2, expires_at: 9_000 }),
        Change::Open { room: room("club"), epoch: Epoch(7), at: 2_000 },
    ];
    for seq in 1..=5 {
        let mut record = record(seq, 2_000 + seq, "1");
        record.key = (seq == 3).then(|| "key".into());
        changes.push(Change::Append { room: room("club"), epoch: Epoch(7), record });
    }
    let kept = KeptSession { user: user("ann"), node: "node".into(), opened_at: 2_000 };
    let account =
        KeptAccount { user: user("ann"), name: None, password_hash: "hash".into(), created_at: 1, is_locked: false };
    let letter = DeadLetter {
        id: 0,
        at: 1,
        reason: "lost".into(),
        room: room("club"),
        epoch: Epoch(7),
        record: record(9, 2_000, "1"),
    };
    changes.extend([
        act("bob", "club", RoomAct::Receipt { kind: ReceiptKind::Read, seq: 4 }),
        Change::Ask(KeptAsk::SaveSession { session: SessionId(5), kept }),
        Change::Ask(KeptAsk::Account(AccountAsk::Add(account))),
        Change::Ask(KeptAsk::DeadLetter(DeadLetterAsk::Add(letter))),
    ]);
    state.apply(1, &changes).expect("applied");
    state
}

fn faults(state: &State<MemoryTables>) -> Vec<String> {
    let mut faults = Vec::new();
    state.audit(&mut |fault| faults.push(fault)).expect("memory does not fail");
    faults
}

#[test]
fn what_changes_have_made_is_sound() {
    let state = state();
    let mut faults = Vec::new();
    let held = state.audit(&mut |fault| faults.push(fault)).expect("memory does not fail");
    assert_eq!(faults, [""; 0]);
    let expected = Holdings {
        rooms: 1,
        records: 5,
        keys: 1,
        members: 2,
        invites: 1,
        receipts: 1,
        sessions: 1,
        accounts: 1,
        dead_letters: 1,
    };
    assert_eq!(held, expected);
}

#[test]
fn a_deleted_room_waits_for_its_removal_and_is_sound() {
    let mut state = state();
    state.apply(2, &[act("ann", "club", RoomAct::Delete)]).expect("applied");
    assert_eq!(faults(&state), [""; 0]);
}

#[test]
fn a_row_that_is_lost_or_altered_is_told() {
    // Counters that may be absent, and what a wrong value does not show in.
    let untold = |table: Table, key: &[u8]| match table {
        Table::Meta => !matches!(key, b"room_ids" | b"sessions" | b"dead_letters" | b"dead_letter_ids"),
        Table::Keys | Table::Accounts => true,
        _ => false,
    };
    let mut told = 0;
    for table in Table::ALL {
        let rows: Vec<_> =
            state().tables().scan(table, Span::all(), Direction::Up).map(|row| row.expect("a row")).collect();
        for (key, _) in rows {
            for value in [None, Some(Bytes::from_static(b"\xff\xff"))] {
                if value.is_none() && untold(table, &key) || table == Table::Meta && value.is_some() {
                    continue;
                }
                let mut tables = state().into_tables();
                tables.write(vec![Put { table, key: key.clone(), value: value.clone() }], None).expect("written");
                let altered = State::open(tables, Setup::with_records(0), super::rules(&Conditions::default()));
                let faults = faults(&altered.expect("it opens"));
                assert!(!faults.is_empty(), "{} {} {value:?}", table.name(), key.escape_ascii());
                told += 1;
            }
        }
    }
    assert!(told > 20, "{told}");
}

#[test]
fn a_fault_names_its_place() {
    let mut tables = state().into_tables();
    let key = tables.scan(Table::Records, Span::all(), Direction::Up).nth(2).expect("a third").expect("a row").0;
    let row = tables.scan(Table::Rooms, Span::all(), Direction::Up).next().expect("a room").expect("a row").1;
    let puts = vec![
        Put { table: Table::Records, key, value: None },
        Put { table: Table::Rooms, key: Bytes::from_static(b"other"), value: Some(row) },
    ];
    tables.write(puts, None).expect("written");
    let state = State::open(tables, Setup::with_records(0), super::rules(&Conditions::default())).expect("it opens");
    let faults = faults(&state);
    for expected in ["the record 3 of room club is missing", "room other has the id 1, which another room has as well"]
    {
        assert!(faults.iter().any(|fault| fault == expected), "{expected} in {faults:?}");
    }
}
