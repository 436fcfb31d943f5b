//! The HTTP API without sockets and with fake cores: requests refused before a core is asked, cores that do not answer,
//! and the description. `tests/process/api.rs` tests it with real cores.

mod accounts;
mod administration;
mod dead_letters;
mod description;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::HeaderMap;
use axum::http::header::RETRY_AFTER;
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::ServiceExt;

use super::access::{Api, ApiSettings, body_bytes_max};
use super::guard::REQUESTS_MAX;
use super::router;
use super::table::TABLE;
use crate::base::chat::Visibility;
use crate::base::codes::ErrorCode;
use crate::base::ids::{CoreId, Epoch};
use crate::control::operations::{CALL_TIMEOUT, CallCores};
use crate::engine::call::{Call, CallAnswer};
use crate::engine::hosts::AllowedHosts;
use crate::engine::rates::Rate;
use crate::io::calls::CallReply;
use crate::wire::protocol::{Answer, Ask, Publish, Refusal, RoomInfo};

/// What a fake core does with a call.
enum FakeCall {
    Answers(CallAnswer),
    /// Its channel is full, or it has ended.
    Refuses,
    /// It ends before it has answered.
    Ends,
    /// It never answers.
    Hangs,
}

type Play = Box<dyn Fn(CoreId, &Call) -> FakeCall + Send + Sync>;

struct FakeApiCores {
    play: Play,
    hanging: Mutex<Vec<CallReply>>,
}

impl CallCores for FakeApiCores {
    fn cores(&self) -> u16 {
        2
    }

    fn try_call(&self, core: CoreId, call: Call, reply: CallReply) -> bool {
        match (self.play)(core, &call) {
            FakeCall::Answers(answer) => reply.answer(answer),
            FakeCall::Refuses => return false,
            FakeCall::Ends => drop(reply),
            FakeCall::Hangs => self.hanging.lock().expect("no fake core panics").push(reply),
        }
        true
    }
}

fn settings() -> ApiSettings {
    ApiSettings {
        node: "n1".into(),
        api_key: String::new(),
        api_rate: None,
        max_message_bytes: 1_000,
        inboxes: false,
        allowed_hosts: AllowedHosts::any(),
    }
}

fn api_with(settings: ApiSettings, play: impl Fn(CoreId, &Call) -> FakeCall + Send + Sync + 'static) -> Arc<Api> {
    Arc::new(Api::new(settings, FakeApiCores { play: Box::new(play), hanging: Mutex::default() }, || true))
}

/// Every publish becomes message 7.
fn publishing() -> Arc<Api> {
    api_with(settings(), |_, call| match call {
        Call::Room { ask: Ask::Publish(_), .. } => {
            FakeCall::Answers(CallAnswer::Room(Answer::Published { epoch: Epoch(15), seq: Some(7), duplicate: false }))
        }
        other => panic!("not asked here: {other:?}"),
    })
}

/// An API that must not ask any core.
fn asking_no_core() -> Arc<Api> {
    api_with(settings(), |core, call| panic!("core {core:?} is asked {call:?}"))
}

struct TestAnswer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

async fn send(api: &Arc<Api>, method: &str, path: &str, fields: &[(&str, &str)], body: impl Into<Body>) -> TestAnswer {
    let mut request = axum::http::Request::builder().method(method).uri(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(body.into()).expect("well formed");
    let response = router::<()>(api).oneshot(request).await.expect("infallible");
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 8 << 20).await.expect("a whole body");
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).expect("JSON") };
    TestAnswer { status: parts.status.as_u16(), headers: parts.headers, body }
}

async fn get(api: &Arc<Api>, path: &str) -> TestAnswer {
    send(api, "GET", path, &[], Body::empty()).await
}

async fn post(api: &Arc<Api>, path: &str, body: &str) -> TestAnswer {
    let length = body.len().to_string();
    send(api, "POST", path, &[("content-type", "application/json"), ("content-length", &length)], body.to_owned()).await
}

/// Asserts an error and returns its message.
fn refused(answered: &TestAnswer, status: u16, error: &str) -> String {
    assert_eq!((answered.status, &answered.body["error"]), (status, &json!(error)), "{}", answered.body);
    let has_retry = answered.headers.contains_key(RETRY_AFTER);
    assert_eq!(has_retry, matches!(status, 429 | 503), "{:?}", answered.headers);
    answered.body["message"].as_str().expect("a message").to_owned()
}

#[tokio::test]
async fn errors_name_the_field_before_a_core_is_asked() {
    let api = asking_no_core();
    let long_name = format!(r#"{{"room":"{}","data":1}}"#, "x".repeat(129));
    let many = format!(r#"{{"rooms":[{}"a"],"data":1}}"#, r#""a","#.repeat(1_000));
    for (path, body, named) in [
        ("publish", "", "EOF"),
        ("publish", "[1", "expected"),
        ("publish", r#"{"room":"a","data":1} x"#, "trailing"),
        ("publish", r#"{"data":1}"#, "`room`"),
        ("publish", r#"{"room":5,"data":1}"#, "`room`"),
        ("publish", r#"{"room":"","data":1}"#, "`room`"),
        ("publish", r#"{"room":"a\nb","data":1}"#, "`room`"),
        ("publish", &long_name, "`room`"),
        ("publish", r#"{"room":"a"}"#, "`data`"),
        ("publish", r#"{"room":"a","data":1,"data":2}"#, "`data`"),
        ("publish", r#"{"room":"a","data":1,"data_b64":"AA=="}"#, "`data_b64`"),
        ("publish", r#"{"room":"a","data_b64":"?"}"#, "`data_b64`"),
        ("publish", r#"{"room":"a","data":1,"key":""}"#, "`key`"),
        ("publish", r#"{"room":"a","data":1,"key":"k","ephemeral":true}"#, "`key`"),
        ("broadcast", r#"{"rooms":["a"],"data":1,"key":"k","ephemeral":true}"#, "`key`"),
        ("publish", r#"{"room":"a","data":1,"from":""}"#, "`from`"),
        ("publish", r#"{"room":"a","data":1,"ephemeral":"yes"}"#, "`ephemeral`"),
        ("broadcast", r#"{"rooms":[],"data":1}"#, "`rooms`"),
        ("broadcast", &many, "`rooms`"),
        ("broadcast", r#"{"rooms":["a",""],"data":1}"#, "`rooms[1]`"),
        ("broadcast", r#"{"rooms":["a",7],"data":1}"#, "`rooms[1]`"),
        ("broadcast", r#"{"rooms":["a"]}"#, "`data`"),
        ("disconnect", "{}", "`user`"),
        ("disconnect", r#"{"user":"a","connection":"0-0-0"}"#, "`connection`"),
        ("disconnect", r#"{"connection":"0-0"}"#, "`connection`"),
        ("disconnect", r#"{"user":""}"#, "`user`"),
        ("kick", r#"{"room":"a"}"#, "`user`"),
        ("kick", r#"{"user":"a"}"#, "`room`"),
        ("create_room", r#"{"visibility":"public"}"#, "`room`"),
        ("create_room", r#"{"room":"a"}"#, "`visibility`"),
        ("create_room", r#"{"room":"a","visibility":"secret"}"#, "`visibility`"),
        ("create_room", r#"{"room":"a","visibility":"public","title":"a\nb"}"#, "`title`"),
        ("create_room", r#"{"room":"a","visibility":"public","user":""}"#, "`user`"),
        ("delete_room", "{}", "`room`"),
        ("set_role", r#"{"room":"a","user":"b"}"#, "`role`"),
        ("set_role", r#"{"room":"a","user":"b","role":"king"}"#, "`role`"),
        ("set_role", r#"{"room":"a","user":"","role":"member"}"#, "`user`"),
        ("invite", r#"{"max_uses":1}"#, "`room`"),
        ("invite", r#"{"room":"a","max_uses":0}"#, "`max_uses`"),
        ("invite", r#"{"room":"a","ttl_s":0}"#, "`ttl_s`"),
        ("invite", r#"{"room":"a","ttl_s":2592001}"#, "`ttl_s`"),
    ] {
        let sentence = refused(&post(&api, &format!("/api/{path}"), body).await, 400, "bad_request");
        assert!(sentence.contains(named), "{path} {body}: {sentence}");
    }
    for (path, named) in [
        ("rooms?limit=0", "`limit`"),
        ("rooms?limit=1001", "`limit`"),
        ("rooms?limit=many", "limit"),
        ("rooms?limt=5", "limt"),
        ("rooms?sort=name", "sort"),
        ("rooms?sort=rate&limit=101", "`limit`"),
        ("rooms?sort=rate&after=0-1", "`after`"),
        ("rooms?after=x", "`after`"),
        ("rooms/%FF", "room"),
        ("rooms/a%0Ab", "`room`"),
        ("rooms/a?limit=1", "limit"),
        ("rooms/a/members?limit=301", "`limit`"),
        ("rooms/a/members?after=", "`after`"),
        ("rooms/a/history?after=1&before=2", "`before`"),
        ("rooms/a/history?after=-1", "after"),
        ("connections?user=", "`user`"),
        ("connections?room=", "`room`"),
        ("connections?sort=age", "sort"),
        ("connections?sort=queued&after=0-1", "`after`"),
    ] {
        let sentence = refused(&get(&api, &format!("/api/{path}")).await, 400, "bad_request");
        assert!(sentence.contains(named), "{path}: {sentence}");
    }
}

#[tokio::test]
async fn sizes_are_bounded() {
    let api = asking_no_core();
    let data = format!(r#"{{"room":"a","data":"{}"}}"#, "x".repeat(1_000));
    let bytes = format!(r#"{{"room":"a","data_b64":"{}"}}"#, "AAAA".repeat(334));
    let key = format!(r#"{{"room":"a","data":1,"key":"{}"}}"#, "k".repeat(129));
    let reason = format!(r#"{{"user":"a","reason":"{}"}}"#, "r".repeat(124));
    for (path, body, named) in [
        ("publish", &data, "`data`"),
        ("publish", &bytes, "`data_b64`"),
        ("publish", &key, "`key`"),
        ("disconnect", &reason, "`reason`"),
    ] {
        let sentence = refused(&post(&api, &format!("/api/{path}"), body).await, 413, "too_large");
        assert!(sentence.contains(named), "{sentence}");
    }
    let most = body_bytes_max(1_000);
    let body = format!(r#"{{"room":"a","data":1,"more":"{}"}}"#, "x".repeat(most));
    refused(&post(&api, "/api/publish", &body).await, 413, "too_large");
    // Without a length it is found while it comes.
    let chunked = &[("content-type", "application/json"), ("transfer-encoding", "chunked")];
    refused(&send(&api, "POST", "/api/publish", chunked, body).await, 413, "too_large");
}

#[tokio::test]
async fn data_goes_to_the_room_as_it_was_written() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    let api = api_with(settings(), move |_, call| {
        let Call::Room { room, from, ask: Ask::Publish(Publish { kind, data, key, ephemeral, .. }) } = call else {
            panic!("{call:?}")
        };
        let text = String::from_utf8_lossy(data).into_owned();
        sink.lock().expect("no fake core panics").push(format!("{room} {from} {kind:?} {text} {key:?} {ephemeral}"));
        FakeCall::Answers(CallAnswer::Room(Answer::Published { epoch: Epoch(15), seq: None, duplicate: true }))
    });
    for body in [
        r#"{"room":"a","data":{"n": 1.0, "n":2 },"extra":1}"#,
        r#"{"room":"a","data":null,"from":"bot","key":"k"}"#,
        r#"{"room":"a","data":1,"ephemeral":true}"#,
        r#"{"room":"a","data_b64":"aGk="}"#,
    ] {
        let answered = post(&api, "/api/publish", body).await;
        assert_eq!(answered.body, json!({"room": "a", "epoch": "000000000000000f", "duplicate": true}));
    }
    let expected = [
        r#"a server Json {"n": 1.0, "n":2 } None false"#,
        r#"a bot Json null Some("k") false"#,
        "a server Json 1 None true",
        "a server Binary hi None false",
    ];
    assert_eq!(*seen.lock().expect("no fake core panics"), expected);
}

#[tokio::test]
async fn inboxes_take_messages_only_if_they_are_on() {
    let body = r#"{"room":"@alice","data":1}"#;
    refused(&post(&asking_no_core(), "/api/publish", body).await, 403, "forbidden");
    let rooms = r#"{"rooms":["a","@alice"],"data":1}"#;
    let sentence = refused(&post(&asking_no_core(), "/api/broadcast", rooms).await, 403, "forbidden");
    assert!(sentence.contains("`rooms[1]`"), "{sentence}");
    let api = api_with(ApiSettings { inboxes: true, ..settings() }, |_, _| {
        FakeCall::Answers(CallAnswer::Room(Answer::Published { epoch: Epoch(15), seq: Some(1), duplicate: false }))
    });
    assert_eq!(post(&api, "/api/publish", body).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_core_that_does_not_answer_is_reported_in_time() {
    let body = r#"{"room":"a","data":1}"#;
    for (play, waits, error) in [
        ((|| FakeCall::Refuses) as fn() -> FakeCall, Duration::ZERO, "overloaded"),
        (|| FakeCall::Ends, Duration::ZERO, "unavailable"),
        (|| FakeCall::Hangs, CALL_TIMEOUT, "unavailable"),
    ] {
        let api = api_with(settings(), move |_, _| play());
        for path in ["/api/rooms", "/api/rooms/a", "/api/connections", "/api/rooms/a/history"] {
            let began = Instant::now();
            refused(&get(&api, path).await, 503, error);
            assert_eq!(began.elapsed().as_secs(), waits.as_secs(), "{path}");
        }
        refused(&post(&api, "/api/publish", body).await, 503, error);
        refused(&post(&api, "/api/kick", r#"{"room":"a","user":"b"}"#).await, 503, error);
    }
}

#[tokio::test]
async fn errors_of_cores_have_their_status() {
    for (code, status, error) in [
        (ErrorCode::RoomNotFound, 404, "room_not_found"),
        (ErrorCode::HistoryUnavailable, 404, "history_unavailable"),
        (ErrorCode::Forbidden, 403, "forbidden"),
        (ErrorCode::RoomExists, 409, "room_exists"),
        (ErrorCode::Overloaded, 503, "overloaded"),
        (ErrorCode::Unavailable, 503, "unavailable"),
        (ErrorCode::RateLimited, 429, "rate_limited"),
        (ErrorCode::Internal, 500, "internal"),
    ] {
        let api = api_with(settings(), move |_, _| {
            FakeCall::Answers(CallAnswer::Room(Answer::Refused(Refusal { code, message: "why", retry_after_ms: None })))
        });
        assert_eq!(refused(&get(&api, "/api/rooms/a").await, status, error), "why");
    }
    let api = api_with(settings(), |_, _| {
        let code = ErrorCode::Unavailable;
        FakeCall::Answers(CallAnswer::Room(Answer::Refused(Refusal {
            code,
            message: "later",
            retry_after_ms: Some(2_001),
        })))
    });
    assert_eq!(get(&api, "/api/rooms/a").await.headers[RETRY_AFTER], "3");
}

#[tokio::test]
async fn a_broadcast_has_a_result_for_each_room_in_order() {
    let api = api_with(settings(), |_, call| {
        let Call::Room { room, .. } = call else { panic!("{call:?}") };
        match &**room {
            "bad" => FakeCall::Ends,
            _ => FakeCall::Answers(CallAnswer::Room(Answer::Published {
                epoch: Epoch(1),
                seq: Some(room.len() as u64),
                duplicate: false,
            })),
        }
    });
    let rooms: Vec<String> = (0..200).map(|index| "x".repeat(1 + index % 100)).chain(["bad".into()]).collect();
    let body = json!({"rooms": rooms, "data": 1}).to_string();
    let answered = post(&api, "/api/broadcast", &body).await;
    assert_eq!((answered.status, &answered.body["published"], &answered.body["failed"]), (200, &json!(100), &json!(1)));
    let results = answered.body["results"].as_array().expect("a list");
    assert_eq!(results.len(), 101, "each room once");
    for (index, result) in results[..100].iter().enumerate() {
        assert_eq!((result["room"].as_str().map(str::len), &result["seq"]), (Some(index + 1), &json!(index + 1)));
    }
    assert_eq!((&results[100]["room"], &results[100]["error"]), (&json!("bad"), &json!("unavailable")));
}

#[tokio::test]
async fn listings_go_through_every_core() {
    let api = api_with(settings(), |core, call| match (call, core.0) {
        (Call::Disconnect { from: 0, .. }, _) => FakeCall::Answers(CallAnswer::Ended { count: 256, next: Some(90) }),
        (Call::Disconnect { from: 90, .. }, 0) => FakeCall::Answers(CallAnswer::Ended { count: 4, next: None }),
        (Call::Disconnect { from: 90, .. }, 1) => FakeCall::Answers(CallAnswer::Ended { count: 0, next: None }),
        (Call::Connections { from: 5, .. }, 1) => {
            FakeCall::Answers(CallAnswer::Connections { connections: Vec::new(), next: Some(2_053) })
        }
        (Call::Connections { from: 2_053, .. }, 1) => {
            FakeCall::Answers(CallAnswer::Connections { connections: Vec::new(), next: None })
        }
        other => panic!("not asked here: {other:?}"),
    });
    assert_eq!(post(&api, "/api/disconnect", r#"{"user":"a"}"#).await.body, json!({"disconnected": 516}));
    assert_eq!(get(&api, "/api/connections?after=1-5").await.body, json!({"connections": []}));
    assert_eq!(
        get(&api, "/api/connections?after=7-5").await.body,
        json!({"connections": []}),
        "a core that does not exist"
    );
}

#[tokio::test]
async fn a_core_that_does_not_exist_has_no_connections() {
    let body = r#"{"connection":"900-1-2"}"#;
    assert_eq!(post(&asking_no_core(), "/api/disconnect", body).await.body, json!({"disconnected": 0}));
}

#[tokio::test]
async fn the_guard_is_asked_first_and_can_be_changed() {
    let api = publishing();
    let body = r#"{"room":"a","data":1}"#;
    let keyed = &[("x-api-key", "sesame"), ("content-type", "application/json"), ("content-length", "21")];
    assert_eq!(post(&api, "/api/publish", body).await.status, 200);
    api.change("sesame".into(), Rate::new(2, 60_000), AllowedHosts::any());
    for path in ["/api/publish", "/api/nothing"] {
        let answered = post(&api, path, body).await;
        refused(&answered, 401, "unauthorized");
        assert!(answered.headers.contains_key("www-authenticate"), "{path}");
    }
    let statuses = [(); 6].map(|()| send(&api, "POST", "/api/publish", keyed, body));
    let mut seen = Vec::new();
    for answered in statuses {
        seen.push(answered.await.status);
    }
    assert_eq!(seen, [200, 200, 200, 200, 429, 429]);
    let answered = send(&api, "POST", "/api/publish", keyed, body).await;
    refused(&answered, 429, "rate_limited");
    assert_eq!(get(&api, "/api/openapi.json").await.status, 200, "the description is public");
}

#[tokio::test]
async fn pages_of_other_sites_are_refused() {
    let api = asking_no_core();
    let forms = [("host", "localhost"), ("content-type", "text/plain"), ("content-length", "2")];
    refused(&send(&api, "POST", "/api/kick", &forms, "{}").await, 415, "unsupported_media_type");
    let other_site = [("host", "localhost"), ("origin", "https://evil.example")];
    refused(&send(&api, "POST", "/api/drain", &other_site, Body::empty()).await, 403, "forbidden");
    let preflight = [("host", "localhost"), ("access-control-request-method", "POST")];
    let answered = send(&api, "OPTIONS", "/api/kick", &preflight, Body::empty()).await;
    refused(&answered, 405, "method_not_allowed");
    assert!(!answered.headers.keys().any(|name| name.as_str().starts_with("access-control")));
}

#[tokio::test(start_paused = true)]
async fn requests_in_flight_are_bounded() {
    let api = api_with(settings(), |_, _| FakeCall::Hangs);
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..REQUESTS_MAX {
        let api = api.clone();
        waiting.spawn(async move { get(&api, "/api/rooms/a").await.status });
    }
    // Each has been polled once before the clock goes on.
    tokio::time::sleep(Duration::from_millis(1)).await;
    refused(&get(&api, "/api/rooms/a").await, 503, "overloaded");
    assert!(waiting.join_all().await.into_iter().all(|status| status == 503));
    let began = Instant::now();
    refused(&get(&api, "/api/rooms/a").await, 503, "unavailable");
    assert_eq!(began.elapsed(), CALL_TIMEOUT, "there is room again");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_times_out() {
    let fields = &[("content-type", "application/json"), ("content-length", "50")];
    let answered = send(&asking_no_core(), "POST", "/api/publish", fields, Body::new(MissingBody)).await;
    refused(&answered, 408, "request_timeout");
}

/// A body that never arrives.
struct MissingBody;

impl hyper::body::Body for MissingBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn a_drain_is_passed_on() {
    let asked = Arc::new(Mutex::new(0));
    let count = asked.clone();
    let cores = FakeApiCores { play: Box::new(|_, _| FakeCall::Refuses), hanging: Mutex::default() };
    let api = Arc::new(Api::new(settings(), cores, move || {
        *count.lock().expect("no fake core panics") += 1;
        *count.lock().expect("no fake core panics") < 3
    }));
    for body in ["", "{}"] {
        let fields = [("content-type", "application/json"), ("content-length", "2")];
        let answered = send(&api, "POST", "/api/drain", if body.is_empty() { &[] } else { &fields }, body).await;
        assert_eq!((answered.status, answered.body), (202, json!({"status": "draining"})));
    }
    refused(&send(&api, "POST", "/api/drain", &[], "").await, 503, "unavailable");
    assert_eq!(*asked.lock().expect("no fake core panics"), 3);
}

#[tokio::test]
async fn every_route_is_counted_by_its_pattern() {
    for (path, expected) in [
        ("/rooms", Some("/rooms")),
        ("/rooms/a%2Fb", Some("/rooms/{room}")),
        ("/rooms/a/members", Some("/rooms/{room}/members")),
        ("/rooms/a/b/c", None),
        ("/", None),
        ("/drain/", None),
    ] {
        assert_eq!(TABLE.pattern(path), expected, "{path}");
    }
    let api = publishing();
    post(&api, "/api/publish", r#"{"room":"a","data":1}"#).await;
    post(&api, "/api/publish", "").await;
    get(&api, "/api/nowhere/1").await;
    get(&api, "/api/nowhere/2").await;
    let expected = [("/publish", 200, 1), ("/publish", 400, 1), ("other", 404, 2)];
    assert_eq!(api.requests().counts(), expected);
}
