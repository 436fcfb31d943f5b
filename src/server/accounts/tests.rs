//! Accounts over the store in memory, and over stores that fail.

use std::sync::Arc;

use super::*;
use crate::base::counters::Counter;
use crate::base::ids::{ConnId, CoreId, UserName};
use crate::base::limits::{ACCOUNT_TIMEOUT_MS, SIGN_IN_FAILURES_PER_ADDRESS};
use crate::control::{ManageAccounts, Observed, OperationErrorCode};
use crate::engine::account_port::{AccountAnswer, AccountEvent, AccountRequest, AccountWork};
use crate::io::clock;
use crate::io::service_lane::service_lanes;
use crate::io::wake::Wake;
use crate::store::keeper_thread::StoreHandle;
use crate::store::state::{Keep, Rules};
use crate::store::threads::PreparedStore;
use crate::wire::account_body::Password;

const HOME: std::net::Ipv6Addr = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 0);
const WORK: std::net::Ipv6Addr = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 0, 0, 0, 0);

fn user(name: &str) -> UserName {
    UserName::new(name).expect("valid")
}

fn word(text: &str) -> Password {
    Password::new(text).expect("valid")
}

fn register(name: &str, password: &str) -> AccountWork {
    AccountWork::Register { user: user(name), password: word(password), name: Some("Shown".into()) }
}

fn sign_in(name: &str, password: &str) -> AccountWork {
    AccountWork::SignIn { user: user(name), password: word(password) }
}

fn settings() -> AccountSettings {
    AccountSettings { token_ttl_ms: 60_000, password_chars_min: 4, ..AccountSettings::default() }
}

/// A store in memory, which works as long as its core lives: to the end of the test's process.
fn memory_store() -> StoreHandle {
    let keep = Keep { count: 0, ttl_ms: 1, numbering_ttl_ms: 1 };
    let rules = Rules { retention: Arc::new(move |_| keep), session_ttl_ms: 1 };
    let mut store = PreparedStore::in_memory(rules).expect("tables in memory do not fail");
    let cores = store.connect(&[Arc::new(Wake::new().expect("an eventfd"))]);
    let handle = store.handle();
    std::mem::forget((cores, store.start()));
    handle
}

/// With the key of a store in memory.
async fn accounts() -> Accounts {
    let accounts = Accounts::start(settings(), memory_store()).expect("a thread");
    accounts.obtain_key().await;
    accounts
}

/// The user and the shown name of a token.
fn holder(accounts: &Accounts, answer: &AccountAnswer, is_expected_new: bool) -> (String, Option<String>) {
    let AccountAnswer::Token { token, expires_at, is_new } = answer else { panic!("no token: {answer:?}") };
    assert_eq!(*is_new, is_expected_new);
    let now = clock::now().unix_ms;
    let access = accounts.keys().expect("the key has come").verify(token, now).expect("its own token");
    assert_eq!(access.expires_at, *expires_at);
    assert!((now + 59_000..=now + 61_000).contains(expires_at), "{expires_at} at {now}");
    (access.user.to_string(), access.name.map(String::from))
}

fn hashes(accounts: &Accounts) -> u64 {
    accounts.figures().hash.buckets.iter().map(Counter::get).sum()
}

#[tokio::test]
async fn whoever_registers_gets_tokens_for_the_password_alone() {
    let accounts = accounts().await;
    assert_eq!(accounts.figures().readiness().map(|part| part.fault), Some(None));
    let made = accounts.answer(HOME, register("ann", "first")).await;
    assert_eq!(holder(&accounts, &made, true), ("ann".into(), Some("Shown".into())));
    assert_eq!(accounts.answer(HOME, register("ann", "other")).await, AccountAnswer::UserExists);
    let signed_in = accounts.answer(HOME, sign_in("ann", "first")).await;
    assert_eq!(holder(&accounts, &signed_in, false), ("ann".into(), Some("Shown".into())));
    assert_eq!(accounts.answer(HOME, sign_in("ann", "other")).await, AccountAnswer::InvalidCredentials);
    let change = |old: &str| AccountWork::ChangePassword {
        user: user("ann"),
        password: word(old),
        new_password: word("second"),
    };
    assert_eq!(accounts.answer(HOME, change("other")).await, AccountAnswer::InvalidCredentials);
    assert_eq!(accounts.answer(HOME, change("first")).await, AccountAnswer::PasswordChanged);
    assert_eq!(accounts.answer(HOME, sign_in("ann", "first")).await, AccountAnswer::InvalidCredentials);
    holder(&accounts, &accounts.answer(HOME, sign_in("ann", "second")).await, false);
    // The token of before is still valid.
    holder(&accounts, &signed_in, false);
}

#[tokio::test]
async fn an_unknown_user_takes_as_many_hashes_as_a_wrong_password() {
    let accounts = accounts().await;
    accounts.answer(HOME, register("ann", "first")).await;
    let before = hashes(&accounts);
    assert_eq!(accounts.answer(HOME, sign_in("ann", "wrong")).await, AccountAnswer::InvalidCredentials);
    let known = hashes(&accounts) - before;
    assert_eq!(accounts.answer(HOME, sign_in("nobody", "wrong")).await, AccountAnswer::InvalidCredentials);
    assert_eq!((known, hashes(&accounts) - before), (1, 2));
}

#[tokio::test]
async fn wrong_passwords_are_limited_for_known_and_unknown_users_alike() {
    let accounts = accounts().await;
    accounts.answer(HOME, register("ann", "first")).await;
    for name in ["ann", "nobody"] {
        for _ in 0..SIGN_IN_FAILURES_PER_ADDRESS {
            assert_eq!(accounts.answer(WORK, sign_in(name, "wrong")).await, AccountAnswer::InvalidCredentials);
        }
        let hashed = hashes(&accounts);
        let refused = accounts.answer(WORK, sign_in(name, "first")).await;
        assert!(matches!(refused, AccountAnswer::TooManyFailures { retry_after_ms: 1.. }), "{refused:?}");
        assert_eq!(hashes(&accounts), hashed, "nothing is hashed for it");
    }
    holder(&accounts, &accounts.answer(HOME, sign_in("ann", "first")).await, false);
}

#[tokio::test]
async fn only_who_knows_the_password_hears_of_a_lock() {
    let accounts = accounts().await;
    accounts.answer(HOME, register("ann", "first")).await;
    let managed: Arc<dyn ManageAccounts> = Arc::new(accounts.clone());
    managed.set_locked(user("ann"), true).await.expect("there is such an account");
    assert_eq!(accounts.answer(HOME, sign_in("ann", "first")).await, AccountAnswer::Locked);
    assert_eq!(accounts.answer(HOME, sign_in("ann", "wrong")).await, AccountAnswer::InvalidCredentials);
    let (password, new_password) = (word("first"), word("second"));
    let change = AccountWork::ChangePassword { user: user("ann"), password, new_password };
    assert_eq!(accounts.answer(HOME, change).await, AccountAnswer::Locked);
    managed.set_locked(user("ann"), false).await.expect("there is such an account");
    holder(&accounts, &accounts.answer(HOME, sign_in("ann", "first")).await, false);
}

#[tokio::test]
async fn operators_make_list_and_change_accounts() {
    let accounts = accounts().await;
    let managed: Arc<dyn ManageAccounts> = Arc::new(accounts.clone());
    for name in ["c", "a", "b"] {
        managed.add(user(name), word("first"), None).await.expect("a new account");
    }
    let code = |result: Result<(), crate::control::OperationError>| result.expect_err("it is refused").code;
    assert_eq!(code(managed.add(user("a"), word("first"), None).await), OperationErrorCode::UserExists);
    assert_eq!(code(managed.add(user("d"), word("abc"), None).await), OperationErrorCode::BadRequest);
    assert_eq!(code(managed.set_password(user("a"), word("abc")).await), OperationErrorCode::BadRequest);
    assert_eq!(code(managed.set_password(user("d"), word("second")).await), OperationErrorCode::UserUnknown);
    assert_eq!(code(managed.set_locked(user("d"), true).await), OperationErrorCode::UserUnknown);
    managed.set_password(user("a"), word("second")).await.expect("there is such an account");
    holder(&accounts, &accounts.answer(HOME, sign_in("a", "second")).await, false);
    managed.set_locked(user("b"), true).await.expect("there is such an account");
    let page = managed.list(None, 2).await.expect("a page");
    let shown: Vec<_> = page.iter().map(|account| (&*account.user, account.is_locked)).collect();
    assert_eq!(shown, [("a", false), ("b", true)]);
    assert!(!format!("{page:?}").contains("argon2"), "no hash leaves: {page:?}");
    let rest = managed.list(Some(user("b")), 2).await.expect("a page");
    assert_eq!(rest.iter().map(|account| &*account.user).collect::<Vec<_>>(), ["c"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_makes_nobody_wait_for_long() {
    let (store, asks) = StoreHandle::new();
    let accounts = Accounts::start(settings(), store).expect("a thread");
    let begun = tokio::time::Instant::now();
    let answer = accounts.answer(HOME, sign_in("ann", "first")).await;
    assert!(matches!(answer, AccountAnswer::Unavailable { .. }), "{answer:?}");
    assert_eq!(begun.elapsed().as_millis(), u128::from(ACCOUNT_TIMEOUT_MS));
    drop(asks);
    for _ in 0..2 * SIGN_IN_FAILURES_PER_ADDRESS {
        let answer = accounts.answer(HOME, sign_in("ann", "first")).await;
        assert!(matches!(answer, AccountAnswer::Unavailable { .. }), "no failure is counted: {answer:?}");
    }
    assert!(accounts.keys().is_none());
    let fault = accounts.figures().readiness().and_then(|part| part.fault);
    assert!(fault.is_some_and(|fault| fault.contains("key")));
}

#[tokio::test]
async fn servers_of_one_store_sign_with_one_key() {
    let store = memory_store();
    let one = Accounts::start(settings(), store.clone()).expect("a thread");
    let other = Accounts::start(settings(), store).expect("a thread");
    one.obtain_key().await;
    other.obtain_key().await;
    let made = one.answer(HOME, register("ann", "first")).await;
    holder(&other, &made, true);
}

#[tokio::test]
async fn each_core_gets_the_answers_to_its_requests() {
    let accounts = accounts().await;
    let wakes: Vec<_> = (0..2).map(|_| Arc::new(Wake::new().expect("an eventfd"))).collect();
    let (lanes, mut cores) = service_lanes(&wakes);
    let serving = tokio::spawn(accounts.serve(lanes));
    for (core, end) in cores.iter_mut().enumerate() {
        let conn = ConnId { home: CoreId(core as u16), slot: 7, generation: 1 };
        let address = std::net::IpAddr::from([192, 0, 2, core as u8]);
        let mut requests = vec![AccountRequest { conn, address, work: sign_in("nobody", "wrong") }];
        assert!(end.send(&mut requests));
    }
    for (core, end) in cores.iter_mut().enumerate() {
        let event = loop {
            match end.take_event() {
                Some(event) => break event,
                None => tokio::time::sleep(std::time::Duration::from_millis(2)).await,
            }
        };
        let conn = ConnId { home: CoreId(core as u16), slot: 7, generation: 1 };
        assert_eq!(event, AccountEvent { conn, answer: AccountAnswer::InvalidCredentials });
    }
    drop(cores);
    serving.await.expect("it ends with the cores");
}
