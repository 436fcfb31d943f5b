//! Checks of created rooms, invites, receipts and lists of rooms.

use super::say::{Say, room};
use super::subject::{Conditions, Make};
use crate::base::chat::{ReceiptKind, Role, Visibility};
use crate::base::ids::{Epoch, Position};
use crate::base::limits::INVITE_BYTES_MAX;
use crate::engine::kept::{KeptRoom, ListedRoom, RoomAct, RoomDone, RoomRefusal};
use crate::store::state::Bounds;

pub fn a_room_is_created_once_and_not_over_messages(make: Make<'_>) {
    let mut store = make(Conditions::default());
    store.open("r", 7);
    assert_eq!(store.create("ann", "r", Visibility::Private), Ok(RoomDone::Created), "opened, but silent");
    let kept = KeptRoom { visibility: Visibility::Private, title: "A title".into(), members: 1 };
    let info = RoomDone::Info {
        room: Some(kept.clone()),
        role: Some(Role::Owner),
        head: Some(Position { epoch: Epoch(7), seq: 0 }),
    };
    assert_eq!(store.act("ann", "r", RoomAct::Info), Ok(info));
    assert_eq!(store.load(&room("r"), 0, 0, Epoch(8), 2_000).created, Some(kept));
    for by in ["ann", "bob"] {
        assert_eq!(store.create(by, "r", Visibility::Public), Err(RoomRefusal::Exists));
    }
    store.open("talk", 9);
    store.publish("talk", 9, 1..=1, 2_000);
    assert_eq!(store.create("ann", "talk", Visibility::Public), Err(RoomRefusal::Exists));
    // A room that is created first is numbered when it is opened.
    assert_eq!(store.create("ann", "new", Visibility::Public), Ok(RoomDone::Created));
    assert_eq!(store.open("new", 10), Position { epoch: Epoch(10), seq: 0 });
    store.publish("new", 10, 1..=1, 2_000);
}

pub fn what_was_not_created_is_not_there(make: Make<'_>) {
    let mut store = make(Conditions::default());
    store.open("r", 7);
    store.publish("r", 7, 1..=4, 2_000);
    for (name, head) in [("unknown", None), ("r", Some(Position { epoch: Epoch(7), seq: 4 }))] {
        assert_eq!(store.act("ann", name, RoomAct::Info), Ok(RoomDone::Info { room: None, role: None, head }));
        let entered = RoomDone::Entered { role: None, is_new: false };
        assert_eq!(store.enter("ann", name, None), Ok(entered));
        assert_eq!(store.enter("ann", name, Some("code")), Err(RoomRefusal::InviteInvalid));
        assert_eq!(store.act("ann", name, RoomAct::Delete), Err(RoomRefusal::NotFound));
        assert_eq!(store.invite("ann", name, "code", 1, 90_000), Err(RoomRefusal::NotFound));
        assert_eq!(store.set_role("ann", name, "bob", Role::Member), Err(RoomRefusal::NotFound));
        assert_eq!(store.remove("ann", name, "ann"), Err(RoomRefusal::Forbidden));
    }
}

pub fn private_rooms_are_closed_to_strangers(make: Make<'_>) {
    let mut store = make(Conditions::default());
    store.create("ann", "private", Visibility::Private).expect("created");
    store.create("ann", "public", Visibility::Public).expect("created");
    assert_eq!(store.act("bob", "private", RoomAct::Info), Err(RoomRefusal::Forbidden));
    assert_eq!(store.enter("bob", "private", None), Err(RoomRefusal::Forbidden));
    assert!(matches!(store.act("bob", "public", RoomAct::Info), Ok(RoomDone::Info { room: Some(_), role: None, .. })));
    let entered = |role, is_new| Ok(RoomDone::Entered { role, is_new });
    assert_eq!(store.enter("bob", "public", None), entered(None, false));
    assert_eq!(store.enter("ann", "private", None), entered(Some(Role::Owner), false));
    store.set_role("ann", "private", "bob", Role::Member).expect("a member");
    assert_eq!(store.enter("bob", "private", None), entered(Some(Role::Member), false));
    assert!(store.act("bob", "private", RoomAct::Info).is_ok());
}

pub fn invites_let_in_as_often_and_as_long_as_they_say(make: Make<'_>) {
    let mut store = make(Conditions::default());
    store.create("ann", "r", Visibility::Private).expect("created");
    store.create("ann", "other", Visibility::Private).expect("created");
    store.invite("ann", "r", "twice", 2, 50_000).expect("invited");
    store.invite("ann", "r", "always", 0, 50_000).expect("invited");
    let entered = |role, is_new| Ok(RoomDone::Entered { role: Some(role), is_new });
    assert_eq!(store.enter("bob", "r", Some("twice")), entered(Role::Member, true));
    assert_eq!(store.enter("bob", "r", Some("twice")), entered(Role::Member, false), "used once");
    assert_eq!(store.enter("ann", "r", Some("wrong")), entered(Role::Owner, false), "needs none");
    assert_eq!(store.enter("cid", "r", Some("twice")), entered(Role::Member, true));
    assert_eq!(store.enter("dan", "r", Some("twice")), Err(RoomRefusal::InviteInvalid), "used up");
    assert_eq!(store.enter("dan", "other", Some("always")), Err(RoomRefusal::InviteInvalid));
    assert_eq!(store.enter("dan", "r", Some("alway")), Err(RoomRefusal::InviteInvalid));
    let long = "x".repeat(INVITE_BYTES_MAX + 1);
    assert_eq!(store.enter("dan", "r", Some(&long)), Err(RoomRefusal::InviteInvalid));
    assert_eq!(store.invite("ann", "r", &long, 1, 50_000), Err(RoomRefusal::InviteInvalid));
    for name in ["dan", "eve", "fay"] {
        assert_eq!(store.enter(name, "r", Some("always")), entered(Role::Member, true));
    }
    let enter = RoomAct::Enter { invite: Some("always".into()) };
    for is_trimmed in [false, true] {
        assert_eq!(store.act_at(50_000, "gus", "r", enter.clone()), Err(RoomRefusal::InviteInvalid), "{is_trimmed}");
        store.trim(500_000);
    }
    store.invite("ann", "r", "late", 1, 50_000).expect("invited");
    let enter = RoomAct::Enter { invite: Some("late".into()) };
    assert_eq!(store.act_at(49_999, "gus", "r", enter), entered(Role::Member, true));
}

pub fn valid_invites_are_bounded(make: Make<'_>) {
    let bounds = Bounds { room_invites: 3, ..Bounds::default() };
    for trims in [false, true] {
        let mut store = make(Conditions { bounds, ..Conditions::default() });
        store.create("ann", "r", Visibility::Private).expect("created");
        let invite = |code: &str, expires_at| RoomAct::Invite { code: code.into(), uses_max: 1, expires_at };
        for code in ["a", "b"] {
            store.act_at(2_000, "ann", "r", invite(code, 10_000)).expect("invited");
        }
        store.act_at(2_000, "ann", "r", invite("c", 900_000)).expect("invited");
        assert_eq!(store.act_at(9_999, "ann", "r", invite("d", 900_000)), Err(RoomRefusal::Full));
        assert_eq!(store.act_at(9_999, "ann", "r", invite("c", 900_000)), Ok(RoomDone::Invited), "is one of them");
        if trims {
            store.trim(400_000);
        }
        // Two have expired, one of which comes again.
        assert_eq!(store.act_at(400_000, "ann", "r", invite("a", 900_000)), Ok(RoomDone::Invited));
        assert_eq!(store.act_at(400_000, "ann", "r", invite("d", 900_000)), Ok(RoomDone::Invited));
        assert_eq!(store.act_at(400_000, "ann", "r", invite("e", 900_000)), Err(RoomRefusal::Full));
        // One is used up.
        let enter = RoomAct::Enter { invite: Some("a".into()) };
        assert!(store.act_at(400_000, "bob", "r", enter).is_ok());
        assert_eq!(store.act_at(400_000, "ann", "r", invite("e", 900_000)), Ok(RoomDone::Invited));
        assert_eq!(store.act_at(400_000, "ann", "r", invite("f", 900_000)), Err(RoomRefusal::Full));
    }
}

pub fn receipts_rise_to_the_head(make: Make<'_>) {
    let mut store = make(Conditions::default());
    store.open("r", 7);
    store.publish("r", 7, 1..=10, 2_000);
    let kept = |seq| Ok(RoomDone::Receipt { seq });
    assert_eq!(store.receipt("ann", "r", ReceiptKind::Read, 4), kept(4));
    assert_eq!(store.receipt("ann", "r", ReceiptKind::Read, 3), kept(4), "never falls");
    assert_eq!(store.receipt("ann", "r", ReceiptKind::Read, 99), kept(10), "at most the head");
    assert_eq!(store.receipt("ann", "r", ReceiptKind::Delivered, 5), kept(5));
    assert_eq!(store.receipt("bob", "r", ReceiptKind::Read, 0), kept(0));
    assert_eq!(store.receipt("ann", "unknown", ReceiptKind::Read, 5), kept(0));
    let mut find = |by, name, kind| store.act(by, name, RoomAct::FindReceipt { kind });
    assert_eq!(find("ann", "r", ReceiptKind::Read), kept(10));
    assert_eq!(find("ann", "r", ReceiptKind::Delivered), kept(5));
    assert_eq!(find("bob", "r", ReceiptKind::Read), kept(0));
    assert_eq!(find("ann", "unknown", ReceiptKind::Read), kept(0));
}

pub fn users_with_receipts_are_bounded(make: Make<'_>) {
    let bounds = Bounds { room_receipts: 2, ..Bounds::default() };
    let mut store = make(Conditions { bounds, ..Conditions::default() });
    store.open("r", 7);
    store.publish("r", 7, 1..=10, 2_000);
    for name in ["ann", "bob"] {
        store.receipt(name, "r", ReceiptKind::Read, 1).expect("kept");
    }
    assert_eq!(store.receipt("cid", "r", ReceiptKind::Read, 1), Err(RoomRefusal::Full));
    assert_eq!(store.receipt("ann", "r", ReceiptKind::Delivered, 2), Ok(RoomDone::Receipt { seq: 2 }));
}

pub fn rooms_of_a_user_are_listed_in_order(make: Make<'_>) {
    let mut store = make(Conditions::default());
    // In the order of bytes, in which a name comes before the names that it begins.
    let names = ["A", "a", "a a", "aa", "b", "ü"];
    for name in ["b", "a", "ü", "aa", "A", "a a"] {
        store.create("ann", name, Visibility::Public).expect("created");
    }
    store.create("an", "c", Visibility::Public).expect("created");
    store.create("anna", "d", Visibility::Public).expect("created");
    store.set_role("ann", "b", "bob", Role::Admin).expect("a member");
    store.open("b", 7);
    store.publish("b", 7, 1..=9, 2_000);
    store.receipt("bob", "b", ReceiptKind::Read, 4).expect("kept");
    let listed = ListedRoom { room: room("b"), role: Role::Admin, head_seq: 9, read_seq: 4 };
    assert_eq!(store.list("bob", None, 10), [listed]);
    let mut list = |after, limit| {
        let listed = store.list("ann", after, limit);
        listed.iter().map(|listed| listed.room.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(list(None, 10), names);
    assert_eq!(list(None, 2), names[..2]);
    assert_eq!(list(Some("a"), 2), names[2..4]);
    assert_eq!(list(Some("a0"), 10), names[3..], "after a room that is not there");
    assert_eq!(list(Some("ü"), 10), Vec::<String>::new());
    assert_eq!(list(None, 0), Vec::<String>::new());
}
