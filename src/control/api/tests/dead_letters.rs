//! The operations on dead letters, with a fake store and fake cores.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde_json::json;

use super::{FakeApiCores, FakeCall, asking_no_core, get, post, refused, settings};
use crate::base::ids::{Epoch, RoomName, UserName};
use crate::control::api::access::Api;
use crate::control::operations::{ManageDeadLetters, Managed};
use crate::engine::call::{Call, CallAnswer};
use crate::engine::kept::DeadLetter;
use crate::engine::record::Record;
use crate::wire::protocol::{Answer, Ask, Publish};
use crate::wire::publication::DataKind;

#[derive(Clone, Default)]
struct FakeStore(Arc<Mutex<Vec<DeadLetter>>>);

impl FakeStore {
    fn ids(&self) -> Vec<u64> {
        self.0.lock().expect("no test panics with it").iter().map(|letter| letter.id).collect()
    }
}

impl ManageDeadLetters for FakeStore {
    fn list(&self, after: u64, limit: u32) -> Managed<'_, Vec<DeadLetter>> {
        let letters = self.0.lock().expect("no test panics with it");
        let page = letters.iter().filter(|letter| letter.id > after).take(limit as usize).cloned().collect();
        Box::pin(std::future::ready(Ok(page)))
    }

    fn find(&self, id: u64) -> Managed<'_, Option<DeadLetter>> {
        let letters = self.0.lock().expect("no test panics with it");
        Box::pin(std::future::ready(Ok(letters.iter().find(|letter| letter.id == id).cloned())))
    }

    fn forget(&self, id: u64) -> Managed<'_, bool> {
        let mut letters = self.0.lock().expect("no test panics with it");
        let before = letters.len();
        letters.retain(|letter| letter.id != id);
        Box::pin(std::future::ready(Ok(letters.len() < before)))
    }
}

fn letter(id: u64, kind: DataKind, data: &'static str, key: Option<&str>) -> DeadLetter {
    let record = Record {
        seq: 5,
        at: 20,
        from: UserName::new("ann").expect("a name"),
        kind,
        data: Bytes::from_static(data.as_bytes()),
        key: key.map(Into::into),
        except: None,
    };
    DeadLetter {
        id,
        at: 30,
        reason: "a gap".into(),
        room: RoomName::new("lobby").expect("a name"),
        epoch: Epoch(15),
        record,
    }
}

fn store() -> FakeStore {
    FakeStore(Arc::new(Mutex::new(vec![
        letter(3, DataKind::Json, r#"{"n": 1.0}"#, Some("k")),
        letter(4, DataKind::Binary, "raw", None),
        letter(9, DataKind::Json, "1", None),
    ])))
}

type Seen = Arc<Mutex<Vec<(String, Publish)>>>;

/// An API whose cores answer each publish so.
fn api(store: &FakeStore, answer: impl Fn() -> Answer + Send + Sync + 'static) -> (Arc<Api>, Seen) {
    let seen = Seen::default();
    let noted = seen.clone();
    let play = move |_, call: &Call| match call {
        Call::Room { from, ask: Ask::Publish(publish), .. } => {
            noted.lock().expect("no test panics with it").push((from.to_string(), publish.clone()));
            FakeCall::Answers(CallAnswer::Room(answer()))
        }
        other => panic!("not asked here: {other:?}"),
    };
    let cores = FakeApiCores { play: Box::new(play), hanging: Mutex::default() };
    (Arc::new(Api::new(settings(), cores, || true).keeping(Some(Arc::new(store.clone())))), seen)
}

fn published(epoch: u64, seq: u64, duplicate: bool) -> Answer {
    Answer::Published { epoch: Epoch(epoch), seq: Some(seq), duplicate }
}

#[tokio::test]
async fn letters_are_listed_in_pages_and_shown_with_their_data() {
    let (api, _) = api(&store(), || panic!("no core is asked"));
    let page = get(&api, "/api/dead-letters?limit=2").await;
    let expected = json!({
        "dead_letters": [
            {"id": 3, "at": 30, "reason": "a gap", "room": "lobby", "epoch": "000000000000000f", "seq": 5, "from": "ann", "bytes": 10},
            {"id": 4, "at": 30, "reason": "a gap", "room": "lobby", "epoch": "000000000000000f", "seq": 5, "from": "ann", "bytes": 3},
        ],
        "next": 4,
    });
    assert_eq!((page.status, page.body), (200, expected));
    let last = get(&api, "/api/dead-letters?after=4").await.body;
    assert_eq!((&last["dead_letters"][0]["id"], last.get("next")), (&json!(9), None));
    let shown = get(&api, "/api/dead-letters/3").await.body;
    assert_eq!((&shown["data"], &shown["key"], &shown["published_at"]), (&json!({"n": 1.0}), &json!("k"), &json!(20)));
    let shown = get(&api, "/api/dead-letters/4").await.body;
    assert_eq!((&shown["data_b64"], shown.get("data")), (&json!("cmF3"), None));
}

#[tokio::test]
async fn a_replay_publishes_as_the_publisher_and_drops_the_letter() {
    let store = store();
    let (api, seen) = api(&store, || published(16, 8, false));
    let replayed = post(&api, "/api/dead-letters/replay", r#"{"id":3}"#).await;
    assert_eq!(replayed.body, json!({"id": 3, "room": "lobby", "seq": 8, "epoch": "0000000000000010"}));
    post(&api, "/api/dead-letters/replay", r#"{"id":4}"#).await;
    let expected = |kind, data: &'static str, key: &str| {
        let data = Bytes::from_static(data.as_bytes());
        ("ann".to_owned(), Publish { kind, data, key: Some(key.into()), echo: true, ephemeral: false })
    };
    let seen = seen.lock().expect("no test panics with it").clone();
    let json = expected(DataKind::Json, r#"{"n": 1.0}"#, "k");
    assert_eq!(seen, [json, expected(DataKind::Binary, "raw", "dead-letter-4")]);
    assert_eq!(store.ids(), [9]);
    refused(&post(&api, "/api/dead-letters/replay", r#"{"id":3}"#).await, 404, "dead_letter_unknown");
}

#[tokio::test]
async fn a_letter_is_kept_until_its_message_is_published() {
    let store = store();
    // The room's owner remembers the publish that was not stored.
    let (remembering, _) = api(&store, || published(15, 5, true));
    let answered = post(&remembering, "/api/dead-letters/replay", r#"{"id":3}"#).await;
    refused(&answered, 503, "unavailable");
    assert_eq!(answered.headers["retry-after"], "120");
    // The same number in another epoch is another message.
    let (other, _) = api(&store, || published(16, 5, true));
    assert_eq!(post(&other, "/api/dead-letters/replay", r#"{"id":3}"#).await.body["duplicate"], true);
    assert_eq!(store.ids(), [4, 9]);
}

#[tokio::test]
async fn a_letter_is_dropped_once() {
    let store = store();
    let (api, _) = api(&store, || panic!("no core is asked"));
    assert_eq!(post(&api, "/api/dead-letters/drop", r#"{"id":4}"#).await.body, json!({"id": 4}));
    refused(&post(&api, "/api/dead-letters/drop", r#"{"id":4}"#).await, 404, "dead_letter_unknown");
    refused(&get(&api, "/api/dead-letters/4").await, 404, "dead_letter_unknown");
    assert_eq!(store.ids(), [3, 9]);
}

#[tokio::test]
async fn errors_name_the_field() {
    let (api, _) = api(&store(), || panic!("no core is asked"));
    for (path, named) in [("?limit=101", "`limit`"), ("?after=x", "after"), ("?from=ann", "from"), ("/x", "\"x\"")] {
        let sentence = refused(&get(&api, &format!("/api/dead-letters{path}")).await, 400, "bad_request");
        assert!(sentence.contains(named), "{path}: {sentence}");
    }
    let sentence = refused(&post(&api, "/api/dead-letters/drop", r#"{"id":-1}"#).await, 400, "bad_request");
    assert!(sentence.contains("`id`"), "{sentence}");
    refused(&get(&asking_no_core(), "/api/dead-letters").await, 403, "forbidden");
}
