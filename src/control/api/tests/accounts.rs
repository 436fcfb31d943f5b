//! The operations on accounts, over accounts that a test holds.

use super::*;
use crate::base::ids::UserName;
use crate::control::operations::{ListedAccount, ManageAccounts, Managed, OperationError, OperationErrorCode};
use crate::engine::call::Whom;
use crate::wire::account_body::Password;

/// Notes what is asked. The account `locked` is locked, and `taken` cannot be added.
#[derive(Default)]
struct FakeAccounts(Mutex<Vec<String>>);

impl FakeAccounts {
    fn note(&self, what: String) {
        self.0.lock().expect("no test panics here").push(what);
    }
}

impl ManageAccounts for Arc<FakeAccounts> {
    fn list(&self, after: Option<UserName>, limit: u32) -> Managed<'_, Vec<ListedAccount>> {
        self.note(format!("list {limit} after {:?}", after.as_deref()));
        let account = |name: &str| ListedAccount {
            user: UserName::new(name).expect("valid"),
            name: (name == "ann").then(|| "Ann".into()),
            created_at: 5,
            is_locked: name == "locked",
        };
        let found: Vec<_> = ["ann", "locked", "zoe"].map(account).into_iter().take(limit as usize).collect();
        Box::pin(async move { Ok(found) })
    }

    fn add(&self, user: UserName, password: Password, name: Option<Box<str>>) -> Managed<'_, ()> {
        self.note(format!("add {user} {} {name:?}", password.as_str()));
        let exists = OperationError::new(OperationErrorCode::UserExists, "there is one");
        Box::pin(async move { if &*user == "taken" { Err(exists) } else { Ok(()) } })
    }

    fn set_password(&self, user: UserName, password: Password) -> Managed<'_, ()> {
        self.note(format!("reset {user} {}", password.as_str()));
        let unknown = OperationError::new(OperationErrorCode::UserUnknown, "there is none");
        Box::pin(async move { if &*user == "nobody" { Err(unknown) } else { Ok(()) } })
    }

    fn set_locked(&self, user: UserName, is_locked: bool) -> Managed<'_, ()> {
        self.note(format!("lock {user} {is_locked}"));
        Box::pin(async { Ok(()) })
    }
}

/// An API with accounts; each core closes two connections of a user.
fn managing() -> (Arc<Api>, Arc<FakeAccounts>) {
    let accounts = Arc::new(FakeAccounts::default());
    let play = |_: CoreId, call: &Call| match call {
        Call::Disconnect { whom: Whom::User(user), reason, .. } if &**user == "ann" => {
            assert_eq!(reason.as_deref(), Some("account locked"));
            FakeCall::Answers(CallAnswer::Ended { count: 2, next: None })
        }
        other => panic!("not asked here: {other:?}"),
    };
    let cores = FakeApiCores { play: Box::new(play), hanging: Mutex::default() };
    let managed: Arc<dyn ManageAccounts> = Arc::new(accounts.clone());
    (Arc::new(Api::new(settings(), cores, || true).managing(Some(managed))), accounts)
}

#[tokio::test]
async fn accounts_are_listed_in_pages_without_their_hashes() {
    let (api, accounts) = managing();
    let page = get(&api, "/api/accounts?limit=2&after=a").await;
    let expected = json!({
        "accounts": [
            {"user": "ann", "name": "Ann", "created_at": 5, "locked": false},
            {"user": "locked", "created_at": 5, "locked": true},
        ],
        "next": "locked",
    });
    assert_eq!((page.status, page.body), (200, expected));
    let whole = get(&api, "/api/accounts").await;
    assert_eq!((whole.body["accounts"].as_array().map(Vec::len), &whole.body["next"]), (Some(3), &Value::Null));
    refused(&get(&api, "/api/accounts?limit=0").await, 400, "bad_request");
    refused(&get(&api, "/api/accounts?after=").await, 400, "bad_request");
    let asked = accounts.0.lock().expect("no test panics here").clone();
    assert_eq!(asked, [r#"list 3 after Some("a")"#, "list 101 after None"]);
}

#[tokio::test]
async fn accounts_are_made_changed_and_locked() {
    let (api, accounts) = managing();
    let add = |body: &'static str| post(&api, "/api/accounts/add", body);
    let made = add(r#"{"user":"ann","password":"hunter2","name":"Ann"}"#).await;
    assert_eq!((made.status, made.body), (200, json!({"user": "ann"})), "no password comes back");
    refused(&add(r#"{"user":"taken","password":"hunter2"}"#).await, 409, "user_exists");
    for (body, named) in [
        (r#"{"user":"","password":"hunter2"}"#, "`user`"),
        (r#"{"user":"ann","password":""}"#, "`password`"),
        (r#"{"user":"ann","password":"hunter2","name":"a\nb"}"#, "`name`"),
    ] {
        let message = refused(&add(body).await, 400, "bad_request");
        assert!(message.contains(named) && !message.contains("hunter2"), "{message}");
    }
    let reset = post(&api, "/api/accounts/reset", r#"{"user":"ann","password":"hunter3"}"#).await;
    assert_eq!((reset.status, reset.body), (200, json!({"user": "ann"})));
    let unknown = post(&api, "/api/accounts/reset", r#"{"user":"nobody","password":"hunter3"}"#).await;
    refused(&unknown, 404, "user_unknown");
    let locked = post(&api, "/api/accounts/lock", r#"{"user":"ann"}"#).await;
    assert_eq!((locked.status, locked.body), (200, json!({"user": "ann", "disconnected": 4})));
    let unlocked = post(&api, "/api/accounts/unlock", r#"{"user":"ann"}"#).await;
    assert_eq!((unlocked.status, unlocked.body), (200, json!({"user": "ann"})));
    let asked = accounts.0.lock().expect("no test panics here").clone();
    let expected = [
        r#"add ann hunter2 Some("Ann")"#,
        "add taken hunter2 None",
        "reset ann hunter3",
        "reset nobody hunter3",
        "lock ann true",
        "lock ann false",
    ];
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn a_password_of_another_type_is_not_repeated() {
    let (api, accounts) = managing();
    for body in [r#"{"user":"ann","password":["hunter2"]}"#, r#"{"user":"ann","password":4711}"#] {
        let message = refused(&post(&api, "/api/accounts/add", body).await, 400, "bad_request");
        assert!(message.contains("password") && !message.contains("hunter2") && !message.contains("4711"), "{message}");
    }
    assert!(accounts.0.lock().expect("no test panics here").is_empty());
}

#[tokio::test]
async fn a_server_without_accounts_says_so() {
    let api = asking_no_core();
    let message = refused(&get(&api, "/api/accounts").await, 403, "forbidden");
    assert!(message.contains("auth.mode is not accounts"), "{message}");
    refused(&post(&api, "/api/accounts/lock", r#"{"user":"ann"}"#).await, 403, "forbidden");
}
