//! Checks of who may do what in a created room, and of the bounds of members.

use super::say::{ADMINISTRATOR, Say, user};
use super::subject::{Conditions, Make, StoreUnderTest};
use crate::base::chat::{Role, Visibility};
use crate::engine::kept::{KeptRoom, RoomAct, RoomDone, RoomRefusal};
use crate::store::state::Bounds;

const MEMBERS: [(&str, Option<Role>); 4] =
    [("owner", Some(Role::Owner)), ("admin", Some(Role::Admin)), ("member", Some(Role::Member)), ("stranger", None)];

/// A new room with an owner beside those of [`MEMBERS`], so that none of them is the last one.
fn staff(store: &mut dyn StoreUnderTest, count: &mut u32) -> String {
    *count += 1;
    let name = format!("r{count}");
    store.create("founder", &name, Visibility::Public).expect("created");
    for (member, role) in MEMBERS {
        if let Some(role) = role {
            store.set_role("founder", &name, member, role).expect("a role");
        }
    }
    name
}

fn role_of(store: &mut dyn StoreUnderTest, name: &str, member: &str) -> Option<Role> {
    match store.act(member, name, RoomAct::Info) {
        Ok(RoomDone::Info { role, .. }) => role,
        other => panic!("a room, not {other:?}"),
    }
}

fn members(store: &mut dyn StoreUnderTest, name: &str) -> u64 {
    match store.act(ADMINISTRATOR, name, RoomAct::Info) {
        Ok(RoomDone::Info { room: Some(KeptRoom { members, .. }), .. }) => members,
        other => panic!("a room, not {other:?}"),
    }
}

/// Every actor gives every role to every other user, and removes every other user.
pub fn roles_and_refusals(make: Make<'_>) {
    let mut store = make(Conditions::default());
    let (store, rooms) = (&mut *store, &mut 0);
    for (actor, rank) in MEMBERS {
        for (target, before) in MEMBERS.into_iter().filter(|(target, _)| *target != actor) {
            for role in [Role::Member, Role::Admin, Role::Owner] {
                let name = staff(store, rooms);
                let least =
                    if role == Role::Member && before <= Some(Role::Member) { Role::Admin } else { Role::Owner };
                let is_allowed = rank >= Some(least);
                let expected = if is_allowed { Ok(RoomDone::RoleSet) } else { Err(RoomRefusal::Forbidden) };
                let what = format!("{actor} makes {target} {}", role.as_str());
                assert_eq!(store.set_role(actor, &name, target, role), expected, "{what}");
                let after = if is_allowed { Some(role) } else { before };
                assert_eq!(role_of(store, &name, target), after, "{what}");
                let count = 4 + u64::from(before.is_none() && is_allowed);
                assert_eq!(members(store, &name), count, "{what}");
            }
            let name = staff(store, rooms);
            let least = if before > Some(Role::Member) { Role::Owner } else { Role::Admin };
            let is_allowed = rank >= Some(least);
            let expected = if is_allowed { Ok(RoomDone::Removed) } else { Err(RoomRefusal::Forbidden) };
            assert_eq!(store.remove(actor, &name, target), expected, "{actor} removes {target}");
            assert_eq!(role_of(store, &name, target), if is_allowed { None } else { before });
            assert_eq!(members(store, &name), 4 - u64::from(before.is_some() && is_allowed));
        }
        let name = staff(store, rooms);
        let expected = if rank >= Some(Role::Admin) { Ok(RoomDone::Invited) } else { Err(RoomRefusal::Forbidden) };
        assert_eq!(store.invite(actor, &name, "code", 1, 90_000), expected, "{actor} invites");
        let expected = if rank == Some(Role::Owner) { Ok(RoomDone::Deleted) } else { Err(RoomRefusal::Forbidden) };
        assert_eq!(store.act(actor, &name, RoomAct::Delete), expected, "{actor} deletes");
        let name = staff(store, rooms);
        assert_eq!(store.remove(actor, &name, actor), Ok(RoomDone::Removed), "{actor} goes");
        assert_eq!(role_of(store, &name, actor), None);
        let listed = store.list(actor, None, 1_000);
        assert!(listed.iter().all(|listed| *listed.room != *name), "{listed:?}");
    }
}

pub fn the_last_owner_stays(make: Make<'_>) {
    let mut store = make(Conditions::default());
    store.create("ann", "r", Visibility::Public).expect("created");
    for by in ["ann", ADMINISTRATOR] {
        assert_eq!(store.remove(by, "r", "ann"), Err(RoomRefusal::LastOwner));
        assert_eq!(store.set_role(by, "r", "ann", Role::Admin), Err(RoomRefusal::LastOwner));
        assert_eq!(store.set_role(by, "r", "ann", Role::Owner), Ok(RoomDone::RoleSet), "stays what she is");
    }
    store.set_role("ann", "r", "bob", Role::Owner).expect("a second owner");
    assert_eq!(store.set_role("ann", "r", "ann", Role::Member), Ok(RoomDone::RoleSet));
    assert_eq!(store.remove("bob", "r", "bob"), Err(RoomRefusal::LastOwner));
    store.set_role("bob", "r", "ann", Role::Owner).expect("an owner again");
    assert_eq!(store.remove("bob", "r", "bob"), Ok(RoomDone::Removed));
    assert_eq!(store.remove("ann", "r", "ann"), Err(RoomRefusal::LastOwner));
}

pub fn administrators_do_what_owners_do(make: Make<'_>) {
    let mut store = make(Conditions::default());
    store.create("ann", "r", Visibility::Private).expect("created");
    assert_eq!(store.set_role(ADMINISTRATOR, "r", "bob", Role::Owner), Ok(RoomDone::RoleSet));
    assert_eq!(store.remove(ADMINISTRATOR, "r", "ann"), Ok(RoomDone::Removed));
    assert_eq!(store.invite(ADMINISTRATOR, "r", "code", 1, 90_000), Ok(RoomDone::Invited));
    let entered = RoomDone::Entered { role: None, is_new: false };
    assert_eq!(store.enter(ADMINISTRATOR, "r", None), Ok(entered));
    assert!(matches!(
        store.act(ADMINISTRATOR, "r", RoomAct::Info),
        Ok(RoomDone::Info { room: Some(_), role: None, .. })
    ));
    assert_eq!(store.remove(ADMINISTRATOR, "unknown", "bob"), Ok(RoomDone::Removed), "nothing is kept of it");
    assert_eq!(store.remove("bob", "unknown", "bob"), Err(RoomRefusal::Forbidden));
    assert_eq!(store.act(ADMINISTRATOR, "r", RoomAct::Delete), Ok(RoomDone::Deleted));
}

pub fn members_of_a_room_are_bounded(make: Make<'_>) {
    let bounds = Bounds { room_members: 3, ..Bounds::default() };
    let mut store = make(Conditions { bounds, ..Conditions::default() });
    store.create("ann", "r", Visibility::Private).expect("created");
    store.invite("ann", "r", "code", 2, 90_000).expect("invited");
    store.set_role("ann", "r", "bob", Role::Member).expect("a second");
    store.enter("cid", "r", Some("code")).expect("a third");
    assert_eq!(store.set_role("ann", "r", "dan", Role::Member), Err(RoomRefusal::Full));
    assert_eq!(store.enter("dan", "r", Some("code")), Err(RoomRefusal::Full));
    assert_eq!(store.set_role("ann", "r", "bob", Role::Admin), Ok(RoomDone::RoleSet), "is one already");
    store.remove("ann", "r", "bob").expect("goes");
    // The refusal has not used the invite up.
    assert!(store.enter("dan", "r", Some("code")).is_ok());
    assert_eq!(store.enter("eve", "r", Some("code")), Err(RoomRefusal::InviteInvalid));
}

pub fn rooms_of_a_user_are_bounded(make: Make<'_>) {
    let bounds = Bounds { user_rooms: 3, ..Bounds::default() };
    for trims in [false, true] {
        let mut store = make(Conditions { bounds, ..Conditions::default() });
        for name in ["a", "b", "c"] {
            store.create("ann", name, Visibility::Public).expect("created");
        }
        assert_eq!(store.create("ann", "d", Visibility::Public), Err(RoomRefusal::Full));
        assert!(matches!(store.act("ann", "d", RoomAct::Info), Ok(RoomDone::Info { room: None, .. })));
        store.create("bob", "e", Visibility::Public).expect("created");
        assert_eq!(store.set_role("bob", "e", "ann", Role::Member), Err(RoomRefusal::Full));
        store.invite("bob", "e", "code", 1, 90_000).expect("invited");
        assert_eq!(store.enter("ann", "e", Some("code")), Err(RoomRefusal::Full));
        // The room has not counted whom it did not take.
        let info = store.act("bob", "e", RoomAct::Info);
        assert!(matches!(info, Ok(RoomDone::Info { room: Some(KeptRoom { members: 1, .. }), .. })), "{info:?}");
        // A deleted room counts no more, at once; nor does one that comes back as another's.
        store.act("ann", "a", RoomAct::Delete).expect("deleted");
        store.create("bob", "a", Visibility::Public).expect("created again");
        if trims {
            store.trim(3_000);
        }
        assert!(store.enter("ann", "e", Some("code")).is_ok());
        assert_eq!(store.create("ann", "f", Visibility::Public), Err(RoomRefusal::Full));
        // One's own room of the same name counts once.
        store.act("ann", "b", RoomAct::Delete).expect("deleted");
        store.create("ann", "b", Visibility::Public).expect("created again");
        assert_eq!(store.create("ann", "f", Visibility::Public), Err(RoomRefusal::Full));
        if trims {
            store.trim(3_000);
        }
        store.remove("ann", "e", "ann").expect("goes");
        assert!(store.create("ann", "f", Visibility::Public).is_ok());
        assert_eq!(store.create("ann", "g", Visibility::Public), Err(RoomRefusal::Full));
        let names: Vec<_> = store.list("ann", None, 10).into_iter().map(|listed| listed.room.to_string()).collect();
        assert_eq!(names, ["b", "c", "f"]);
        assert_eq!(store.act("bob", "a", RoomAct::Remove { user: user("ann") }), Ok(RoomDone::Removed));
    }
}
