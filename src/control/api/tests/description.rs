//! Every route is described, and everything that is described is served.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;

use super::{FakeCall, TABLE, api_with, get, refused, send, settings};

#[tokio::test]
async fn every_route_and_nothing_else_is_described() {
    let mut patterns: Vec<&str> = TABLE.routes.iter().map(|route| route.path.as_str()).collect();
    patterns.sort_unstable();
    let expected = [
        "/accounts",
        "/accounts/add",
        "/accounts/lock",
        "/accounts/reset",
        "/accounts/unlock",
        "/broadcast",
        "/connections",
        "/create_room",
        "/dead-letters",
        "/dead-letters/drop",
        "/dead-letters/replay",
        "/dead-letters/{id}",
        "/delete_room",
        "/disconnect",
        "/drain",
        "/invite",
        "/kick",
        "/publish",
        "/rooms",
        "/rooms/{room}",
        "/rooms/{room}/history",
        "/rooms/{room}/info",
        "/rooms/{room}/members",
        "/set_role",
        "/typing",
    ];
    assert_eq!(patterns, expected);
    let api = api_with(settings(), |_, _| FakeCall::Refuses);
    let answered = get(&api, "/api/openapi.json").await;
    assert_eq!((answered.status, answered.headers[CONTENT_TYPE].as_bytes()), (200, &b"application/json"[..]));
    assert_eq!(answered.body["openapi"].as_str().map(|version| &version[..4]), Some("3.1."));
    let described: Vec<(String, String)> = answered.body["paths"]
        .as_object()
        .expect("paths")
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("methods").keys();
            methods.map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
        })
        .collect();
    let mut served: Vec<(String, String)> =
        TABLE.routes.iter().map(|route| (route.method.to_string(), format!("/api{}", route.path))).collect();
    served.sort_by(|one, other| one.1.cmp(&other.1));
    let mut sorted = described.clone();
    sorted.sort_by(|one, other| one.1.cmp(&other.1));
    assert_eq!(sorted, served);
    for (method, path) in described {
        let path = path.replace("{room}", "a").replace("{id}", "1");
        let answered = send(&api, &method, &path, &[], Body::empty()).await;
        assert!(!matches!(answered.status, 404 | 405), "{method} {path}: {}", answered.status);
        let other = if method == "GET" { "POST" } else { "GET" };
        let answered = send(&api, other, &path, &[], Body::empty()).await;
        refused(&answered, 405, "method_not_allowed");
        assert!(answered.headers["allow"].to_str().is_ok_and(|allow| allow.starts_with(&method)), "{path}");
    }
}
