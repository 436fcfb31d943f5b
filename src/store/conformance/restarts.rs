//! Checks of what outlives a boot, and of rooms that come back.

use super::say::{Say, record, request, room, seqs};
use super::subject::{Conditions, End, Make};
use crate::base::chat::{ReceiptKind, Role, Visibility};
use crate::base::ids::{Epoch, Position};
use crate::engine::kept::{RoomAct, RoomDone, RoomRefusal};

pub fn what_is_kept_is_there_after_a_restart(make: Make<'_>) {
    for end in [End::Clean, End::Killed] {
        let mut store = make(Conditions::default());
        store.open("r", 7);
        store.publish("r", 7, 1..=20, 2_000);
        store.create("ann", "c", Visibility::Private).expect("created");
        store.set_role("ann", "c", "bob", Role::Admin).expect("a member");
        store.invite("ann", "c", "code", 2, 90_000).expect("invited");
        store.receipt("ann", "r", ReceiptKind::Read, 12).expect("kept");
        store.restart(end, false, 5_000);
        assert_eq!(store.open("r", 8), Position { epoch: Epoch(7), seq: 20 }, "{end:?}");
        assert_eq!(store.page(&request("r", 7, Some(0), u64::MAX)).records.len(), 20);
        assert_eq!(store.list("bob", None, 10).len(), 1);
        let read = RoomAct::FindReceipt { kind: ReceiptKind::Read };
        assert_eq!(store.act("ann", "r", read), Ok(RoomDone::Receipt { seq: 12 }));
        let entered = RoomDone::Entered { role: Some(Role::Member), is_new: true };
        assert_eq!(store.enter("eve", "c", Some("code")), Ok(entered));
        store.publish("r", 7, 21..=22, 5_000);
    }
}

pub fn unclean_ends_renumber_the_rooms_of_that_boot_if_it_was_behind(make: Make<'_>) {
    for (was_behind, end, is_behind) in [
        (false, End::Clean, false),
        (false, End::Killed, false),
        (false, End::Killed, true),
        (true, End::Clean, false),
        (true, End::Clean, true),
        (true, End::Killed, false),
        (true, End::Killed, true),
    ] {
        let what = format!("behind {was_behind}, {end:?}, then behind {is_behind}");
        let mut store = make(Conditions { is_behind: was_behind, ..Conditions::default() });
        store.open("early", 1);
        store.publish("early", 1, 1..=2, 2_000);
        store.restart(End::Clean, was_behind, 3_000);
        store.open("used", 7);
        store.publish("used", 7, 1..=5, 3_000);
        store.open("read", 9);
        store.restart(end, is_behind, 4_000);
        let is_new = was_behind && end == End::Killed;
        let epoch = |before, offered| Epoch(if is_new { offered } else { before });
        assert_eq!(store.open("used", 17), Position { epoch: epoch(7, 17), seq: 5 }, "{what}");
        assert_eq!(store.open("used", 18).epoch, epoch(7, 17), "once in a boot: {what}");
        assert_eq!(store.open("read", 19), Position { epoch: epoch(9, 19), seq: 0 }, "{what}");
        assert_eq!(store.open("early", 11), Position { epoch: Epoch(1), seq: 2 }, "not used in that boot: {what}");
        let page = store.page(&request("used", epoch(7, 17).0, Some(0), u64::MAX));
        assert_eq!(seqs(&page.records), [1, 2, 3, 4, 5], "{what}");
        store.publish("used", epoch(7, 17).0, 6..=6, 4_000);
        // That boot is behind us for good.
        store.restart(End::Clean, false, 5_000);
        assert_eq!(store.open("used", 27), Position { epoch: epoch(7, 17), seq: 6 }, "{what}");
    }
    late(make);
}

/// The first use after a boot that was killed may be many boots later.
fn late(make: Make<'_>) {
    let mut store = make(Conditions { is_behind: true, ..Conditions::default() });
    store.open("r", 7);
    store.publish("r", 7, 1..=3, 2_000);
    store.restart(End::Killed, false, 3_000);
    store.restart(End::Clean, true, 4_000);
    store.restart(End::Clean, false, 5_000);
    assert_eq!(store.open("r", 8), Position { epoch: Epoch(8), seq: 3 });
    store.restart(End::Killed, false, 6_000);
    assert_eq!(store.open("r", 9), Position { epoch: Epoch(8), seq: 3 });
}

pub fn a_deleted_room_is_another_room_when_it_comes_back(make: Make<'_>) {
    let mut store = make(Conditions::default());
    store.create("ann", "r", Visibility::Public).expect("created");
    store.open("r", 7);
    store.publish("r", 7, 1..=40, 2_000);
    store.set_role("ann", "r", "bob", Role::Member).expect("a member");
    store.invite("ann", "r", "code", 0, 90_000).expect("invited");
    store.receipt("bob", "r", ReceiptKind::Read, 30).expect("kept");
    assert_eq!(store.act("ann", "r", RoomAct::Delete), Ok(RoomDone::Deleted));
    for is_trimmed in [false, true] {
        assert_eq!(store.act("ann", "r", RoomAct::Delete), Err(RoomRefusal::NotFound), "{is_trimmed}");
        assert_eq!(store.list("bob", None, 10), []);
        assert_eq!(store.page(&request("r", 7, Some(0), u64::MAX)).first_seq, None);
        let read = RoomAct::FindReceipt { kind: ReceiptKind::Read };
        assert_eq!(store.act("bob", "r", read), Ok(RoomDone::Receipt { seq: 0 }));
        assert_eq!(store.enter("eve", "r", Some("code")), Err(RoomRefusal::InviteInvalid));
        if !is_trimmed {
            store.trim(3_000);
        }
    }
    assert_eq!(store.create("eve", "r", Visibility::Private), Ok(RoomDone::Created));
    let loaded = store.load(&room("r"), 10, 0, Epoch(8), 4_000);
    assert_eq!(loaded.stretch.head, Some(Position { epoch: Epoch(8), seq: 0 }));
    assert_eq!(loaded.created.map(|created| created.members), Some(1));
    assert_eq!(store.enter("bob", "r", None), Err(RoomRefusal::Forbidden), "a member of the other room");
    assert_eq!(store.enter("bob", "r", Some("code")), Err(RoomRefusal::InviteInvalid));
    store.publish("r", 8, 1..=2, 4_000);
    store.trim(5_000);
    assert_eq!(seqs(&store.page(&request("r", 8, Some(0), u64::MAX)).records), [1, 2]);
    assert_eq!(store.list("eve", None, 10).len(), 1);
}

pub fn records_of_a_deleted_life_are_dropped(make: Make<'_>) {
    let mut store = make(Conditions::default());
    store.create("ann", "r", Visibility::Public).expect("created");
    store.open("r", 7);
    store.publish("r", 7, 1..=2, 2_000);
    store.act("ann", "r", RoomAct::Delete).expect("deleted");
    assert!(!store.append(&room("r"), Epoch(7), record(3, 2_100, "late")));
    store.create("ann", "r", Visibility::Public).expect("created again");
    assert!(!store.append(&room("r"), Epoch(7), record(3, 2_200, "later")));
    store.open("r", 8);
    assert!(!store.append(&room("r"), Epoch(7), record(3, 2_300, "too late")));
    assert_eq!(store.open("r", 9), Position { epoch: Epoch(8), seq: 0 });
}
