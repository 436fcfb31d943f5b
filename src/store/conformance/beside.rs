//! Checks of what belongs to no room: sessions, accounts, dead letters.

use super::say::{Say, record, room, user};
use super::subject::{Conditions, End, Make, StoreUnderTest};
use crate::base::ids::Epoch;
use crate::engine::kept::{
    AccountAsk, AccountDone, DeadLetter, DeadLetterAsk, DeadLetterDone, KeptAccount, KeptAnswer, KeptAsk, KeptSession,
    SessionId,
};
use crate::store::state::Bounds;

fn session(name: &str, opened_at: u64) -> KeptSession {
    KeptSession { user: user(name), node: "node".into(), opened_at }
}

fn save(store: &mut dyn StoreUnderTest, id: u128, kept: KeptSession) {
    assert_eq!(store.ask(KeptAsk::SaveSession { session: SessionId(id), kept }), None);
}

fn end(store: &mut dyn StoreUnderTest, id: u128, at: u64) {
    assert_eq!(store.ask(KeptAsk::EndSession { session: SessionId(id), at }), None);
}

fn find(store: &mut dyn StoreUnderTest, id: u128, at: u64) -> Option<KeptSession> {
    match store.ask(KeptAsk::FindSession { session: SessionId(id), at }) {
        Some(KeptAnswer::Session(found)) => found,
        other => panic!("a session, not {other:?}"),
    }
}

pub fn sessions_are_found_until_they_expire(make: Make<'_>) {
    let mut store = make(Conditions { session_ttl_ms: 10_000, ..Conditions::default() });
    let store = &mut *store;
    save(store, 1, session("ann", 2_000));
    save(store, u128::MAX, session("bob", 2_000));
    assert_eq!(find(store, 1, 900_000), Some(session("ann", 2_000)), "while it is open");
    assert_eq!(find(store, 2, 2_000), None);
    end(store, 1, 5_000);
    end(store, 3, 5_000);
    assert_eq!(find(store, 1, 14_999), Some(session("ann", 2_000)));
    assert_eq!(find(store, 1, 15_000), None);
    assert_eq!(find(store, 3, 5_000), None);
    // Another connection takes it up.
    save(store, 1, session("ann", 14_000));
    assert_eq!(find(store, 1, 900_000), Some(session("ann", 14_000)));
    end(store, 1, 900_000);
    store.trim(2_000_000);
    assert_eq!((find(store, 1, 900_001), find(store, u128::MAX, 900_001)), (None, Some(session("bob", 2_000))));
}

pub fn sessions_that_a_boot_left_open_expire(make: Make<'_>) {
    let mut store = make(Conditions { session_ttl_ms: 10_000, ..Conditions::default() });
    let store = &mut *store;
    save(store, 1, session("ann", 2_000));
    save(store, 2, session("bob", 2_000));
    end(store, 2, 90_000);
    store.restart(End::Killed, false, 100_000);
    assert_eq!(find(store, 1, 109_999), Some(session("ann", 2_000)));
    assert_eq!((find(store, 1, 110_000), find(store, 2, 100_000)), (None, None));
    save(store, 1, session("ann", 2_000));
    assert_eq!(find(store, 1, 900_000), Some(session("ann", 2_000)), "it has come back");
    store.trim(2_000_000);
    assert!(find(store, 1, 2_000_000).is_some());
    store.restart(End::Clean, false, 3_000_000);
    store.trim(4_000_000);
    assert_eq!(find(store, 1, 3_000_000), None);
}

pub fn the_oldest_sessions_go_first(make: Make<'_>) {
    let bounds = Bounds { sessions: Some(3), ..Bounds::default() };
    let mut store = make(Conditions { bounds, ..Conditions::default() });
    let store = &mut *store;
    for (id, opened_at) in [(1, 5_000), (2, 3_000), (3, 4_000)] {
        save(store, id, session("ann", opened_at));
    }
    save(store, 2, session("ann", 6_000));
    save(store, 4, session("ann", 7_000));
    let found = |store: &mut dyn StoreUnderTest| (1..=5).filter(|id| find(store, *id, 8_000).is_some()).collect();
    let ids: Vec<u128> = found(store);
    assert_eq!(ids, [1, 2, 4]);
    save(store, 5, session("ann", 1_000));
    let ids: Vec<u128> = found(store);
    assert_eq!(ids, [2, 4, 5]);
}

fn account(name: &str) -> KeptAccount {
    let (name, user) = (Some(format!("Shown {name}").into()), user(name));
    KeptAccount { user, name, password_hash: "hash".into(), created_at: 2_000, is_locked: false }
}

pub fn accounts_are_kept_in_order(make: Make<'_>) {
    let mut store = make(Conditions::default());
    for name in ["bob", "ann", "anna"] {
        assert_eq!(store.account(AccountAsk::Add(account(name))), AccountDone::Done);
    }
    let second = KeptAccount { password_hash: "other".into(), ..account("ann") };
    assert_eq!(store.account(AccountAsk::Add(second)), AccountDone::Exists);
    assert_eq!(store.account(AccountAsk::Find(user("ann"))), AccountDone::Found(Some(account("ann"))));
    assert_eq!(store.account(AccountAsk::Find(user("an"))), AccountDone::Found(None));
    assert_eq!(store.account(AccountAsk::SetPassword(user("ann"), "new".into())), AccountDone::Done);
    assert_eq!(store.account(AccountAsk::SetLocked(user("bob"), true)), AccountDone::Done);
    assert_eq!(store.account(AccountAsk::SetPassword(user("cid"), "new".into())), AccountDone::Unknown);
    assert_eq!(store.account(AccountAsk::SetLocked(user("cid"), true)), AccountDone::Unknown);
    store.restart(End::Killed, false, 3_000);
    let ann = KeptAccount { password_hash: "new".into(), ..account("ann") };
    let bob = KeptAccount { is_locked: true, ..account("bob") };
    let mut list = |after: Option<&str>, limit| {
        let AccountDone::Listed(listed) = store.account(AccountAsk::List { after: after.map(user), limit }) else {
            panic!("a list")
        };
        listed
    };
    assert_eq!(list(None, 10), [ann.clone(), account("anna"), bob.clone()]);
    assert_eq!(list(None, 1), [ann]);
    assert_eq!(list(Some("ann"), 1), [account("anna")]);
    assert_eq!(list(Some("b"), 10), [bob]);
    assert_eq!(list(Some("bob"), 10), []);
}

pub fn the_first_signing_key_stays(make: Make<'_>) {
    let mut store = make(Conditions::default());
    assert_eq!(store.account(AccountAsk::SigningKey([1; 32])), AccountDone::SigningKey([1; 32]));
    assert_eq!(store.account(AccountAsk::SigningKey([2; 32])), AccountDone::SigningKey([1; 32]));
    store.restart(End::Killed, false, 3_000);
    assert_eq!(store.account(AccountAsk::SigningKey([3; 32])), AccountDone::SigningKey([1; 32]));
}

fn letter(id: u64, text: &str) -> DeadLetter {
    let (epoch, record) = (Epoch(7), record(id + 10, 2_000, text));
    DeadLetter { id, at: 2_000, reason: "no room".into(), room: room("r"), epoch, record }
}

pub fn dead_letters_are_numbered_and_bounded(make: Make<'_>) {
    let bounds = Bounds { dead_letters: 3, ..Bounds::default() };
    let mut store = make(Conditions { bounds, ..Conditions::default() });
    let add = |letter: DeadLetter| DeadLetterAsk::Add(DeadLetter { id: 77, ..letter });
    for id in 1..=3 {
        assert_eq!(store.dead_letter(add(letter(id, "x"))), DeadLetterDone::Added(Some(id)));
    }
    assert_eq!(store.dead_letter(add(letter(4, "x"))), DeadLetterDone::Added(None));
    assert_eq!(store.dead_letter(DeadLetterAsk::Drop(2)), DeadLetterDone::Dropped(true));
    assert_eq!(store.dead_letter(DeadLetterAsk::Drop(2)), DeadLetterDone::Dropped(false));
    assert_eq!(store.dead_letter(add(letter(4, "y"))), DeadLetterDone::Added(Some(4)), "no number comes twice");
    store.restart(End::Killed, false, 3_000);
    assert_eq!(store.dead_letter(add(letter(5, "x"))), DeadLetterDone::Added(None));
    assert_eq!(store.dead_letter(DeadLetterAsk::Find(4)), DeadLetterDone::Found(Some(letter(4, "y"))));
    assert_eq!(store.dead_letter(DeadLetterAsk::Find(2)), DeadLetterDone::Found(None));
    let mut list = |after, limit| {
        let DeadLetterDone::Listed(listed) = store.dead_letter(DeadLetterAsk::List { after, limit }) else {
            panic!("a list")
        };
        listed
    };
    assert_eq!(list(0, 10), [letter(1, "x"), letter(3, "x"), letter(4, "y")]);
    assert_eq!(list(0, 1), [letter(1, "x")]);
    assert_eq!(list(1, 10), [letter(3, "x"), letter(4, "y")]);
    assert_eq!(list(4, 10), []);
}
