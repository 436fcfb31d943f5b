//! The router of the control address, with the routes for monitoring. Changes nothing.

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRef, State};
use axum::http::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::json;

use super::api::{self, Api};
use super::host;
use super::metrics;
use super::operations::{OperationError, OperationErrorCode};
use super::stats::Stats;
use super::watched::{Readiness, Watched};

/// The state of the routes.
#[derive(Clone)]
struct RouterState {
    watched: Arc<Watched>,
    api: Arc<Api>,
}

impl FromRef<RouterState> for Arc<Watched> {
    fn from_ref(served: &RouterState) -> Self {
        served.watched.clone()
    }
}

/// The routes of the control address. Each one checks the host of a request first.
pub fn router(watched: Arc<Watched>, api: Arc<Api>) -> Router {
    Router::new()
        .merge(api::router(&api))
        .route("/stats", get(stats))
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(api.clone(), host::check))
        .with_state(RouterState { watched, api })
}

async fn stats(State(watched): State<Arc<Watched>>) -> Response {
    Json(Stats::of(&watched)).into_response()
}

async fn metrics(State(RouterState { watched, api }): State<RouterState>, headers: HeaderMap) -> Response {
    let accepted: Vec<&[u8]> = headers.get_all(ACCEPT).iter().map(|value| value.as_bytes()).collect();
    let format = metrics::Format::accepted(&accepted);
    let text = metrics::render(&watched, api.requests(), format);
    ([(CONTENT_TYPE, format.content_type())], text).into_response()
}

/// Liveness: always 200 while the process runs.
async fn health() -> Response {
    Json(json!({"status": "ok"})).into_response()
}

/// Readiness: whether the server should get traffic, and if not, which part is at fault.
async fn ready(State(watched): State<Arc<Watched>>) -> Response {
    if watched.is_draining() {
        let body = json!({
            "status": "draining",
            "parts": {"server": "draining"},
            "error": "unavailable",
            "message": "the server is draining and accepts no new connections",
        });
        return (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
    }
    let mut parts = serde_json::Map::from_iter([("server".to_owned(), json!("ready"))]);
    let mut faults = Vec::new();
    for Readiness { part, fault } in watched.parts.iter().filter_map(|part| part.readiness()) {
        parts.insert(part.to_owned(), json!(if fault.is_some() { "not ready" } else { "ready" }));
        faults.extend(fault.map(|fault| format!("{part}: {fault}")));
    }
    if faults.is_empty() {
        return Json(json!({"status": "ready", "parts": parts})).into_response();
    }
    let body = json!({"status": "not ready", "parts": parts, "error": "unavailable", "message": faults.join("; ")});
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}

async fn not_found(method: Method, uri: Uri) -> Response {
    // `OPTIONS *` is for the server as a whole (RFC 9110 section 9.3.7).
    if method == Method::OPTIONS && uri.path() == "*" {
        return method_not_allowed().await;
    }
    let message = "no such path; see /stats, /metrics, /health, /ready and /api/openapi.json";
    OperationError::new(OperationErrorCode::NotFound, message).into_response()
}

async fn method_not_allowed() -> Response {
    let refused = OperationError::new(OperationErrorCode::MethodNotAllowed, "this path needs GET or HEAD");
    ([(ALLOW, "GET, HEAD")], refused).into_response()
}
