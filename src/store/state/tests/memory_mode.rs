//! A store without a disk, beside rooms whose publications are in memory.

use crate::base::chat::{ReceiptKind, Visibility};
use crate::base::ids::Epoch;
use crate::base::limits::MEMORY_SESSIONS_MAX;
use crate::engine::kept::{Actor, KeptAnswer, KeptAsk, RoomAct, RoomAsk, RoomDone, RoomRefusal};
use crate::engine::record::{RecordPage, Stretch};
use crate::store::change::Change;
use crate::store::conformance::say::{request, room, user};
use crate::store::conformance::subject::Conditions;
use crate::store::state::{Loaded, Outcome, Setup, State};
use crate::store::tables::memory::MemoryTables;

const DAY_MS: u64 = 86_400_000;

fn state() -> State<MemoryTables> {
    State::open(MemoryTables::new(), Setup::without_records(0), super::rules(&Conditions::default())).expect("opens")
}

fn act(state: &mut State<MemoryTables>, by: &str, name: &str, act: RoomAct) -> Result<RoomDone, RoomRefusal> {
    let actor = Actor { user: user(by), is_admin: false };
    let ask = KeptAsk::Room(RoomAsk { room: room(name), actor, at: 2_000, act });
    let commit = state.applied() + 1;
    match state.apply(commit, &[Change::Ask(ask)]).expect("applied").remove(0) {
        Outcome::Answer(KeptAnswer::Room(answer)) => answer,
        other => panic!("the answer of a room, not {other:?}"),
    }
}

#[test]
fn a_load_says_only_what_was_created() {
    let mut state = state();
    let empty =
        Loaded { stretch: Stretch { head: None, records: Vec::new() }, first_seq: 1, keys: Vec::new(), created: None };
    assert_eq!(state.load(&room("r"), 10, 0).expect("readable"), empty);
    let create = RoomAct::Create { visibility: Visibility::Private, title: "".into() };
    assert_eq!(act(&mut state, "ann", "r", create), Ok(RoomDone::Created));
    let loaded = state.load(&room("r"), 10, 0).expect("readable");
    assert_eq!(loaded.created.as_ref().map(|created| created.visibility), Some(Visibility::Private));
    assert_eq!(Loaded { created: None, ..loaded }, empty);
    let info = act(&mut state, "ann", "r", RoomAct::Info);
    assert!(matches!(info, Ok(RoomDone::Info { room: Some(_), head: None, .. })), "{info:?}");
    // Even where there is a numbering, the state does not follow it.
    state.apply(10, &[Change::Open { room: room("r"), epoch: Epoch(7), at: 2_000 }]).expect("applied");
    assert_eq!(state.load(&room("r"), 10, 0).expect("readable").stretch.head, None);
    let page = state.page(&request("r", 7, Some(0), u64::MAX)).expect("readable");
    assert_eq!(page, RecordPage { first_seq: None, records: Vec::new() });
}

#[test]
fn receipts_are_kept_as_they_come_and_go_with_the_idle_room() {
    let mut state = state();
    let before = state.sizes();
    let receipt = |seq| RoomAct::Receipt { kind: ReceiptKind::Read, seq };
    assert_eq!(act(&mut state, "ann", "r", receipt(900)), Ok(RoomDone::Receipt { seq: 900 }));
    assert_eq!(act(&mut state, "ann", "r", receipt(800)), Ok(RoomDone::Receipt { seq: 900 }));
    assert!(state.sizes().memory_bytes > before.memory_bytes);
    assert_eq!(state.sweep(DAY_MS + 1_999, 1_000).expect("swept").forget, []);
    let forget = state.sweep(DAY_MS + 2_000, 1_000).expect("swept").forget;
    assert_eq!(forget, [Change::Forget { room: room("r"), id: 1, seq: 0, used_at: 2_000 }]);
    state.apply(state.applied() + 1, &forget).expect("applied");
    while state.sweep(DAY_MS + 2_000, 1_000).expect("swept").removed > 0 {}
    let find = RoomAct::FindReceipt { kind: ReceiptKind::Read };
    assert_eq!(act(&mut state, "ann", "r", find), Ok(RoomDone::Receipt { seq: 0 }));
    // All but the counter of ids.
    let row = state.sizes().memory_bytes - before.memory_bytes;
    assert!(row < 200, "{row} bytes are left");
}

#[test]
fn sessions_are_bounded() {
    assert_eq!(Setup::without_records(0).bounds.sessions, Some(MEMORY_SESSIONS_MAX));
    assert_eq!(Setup::with_records(0).bounds.sessions, None);
}
