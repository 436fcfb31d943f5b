//! The routes of the control address, beside the HTTP API. Changes nothing.

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

/// What the routes read.
#[derive(Clone)]
struct Served {
    watched: Arc<Watched>,
    api: Arc<Api>,
}

impl FromRef<Served> for Arc<Watched> {
    fn from_ref(served: &Served) -> Self {
        served.watched.clone()
    }
}

/// The routes of the control address. On each one the host that is asked for is looked at first.
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
        .with_state(Served { watched, api })
}

async fn stats(State(watched): State<Arc<Watched>>) -> Response {
    Json(Stats::of(&watched)).into_response()
}

async fn metrics(State(Served { watched, api }): State<Served>, headers: HeaderMap) -> Response {
    let accepted: Vec<&[u8]> = headers.get_all(ACCEPT).iter().map(|value| value.as_bytes()).collect();
    let format = metrics::Format::accepted(&accepted);
    let text = metrics::render(&watched, api.requests(), format);
    ([(CONTENT_TYPE, format.content_type())], text).into_response()
}

/// The process lives: it answers.
async fn health() -> Response {
    Json(json!({"status": "ok"})).into_response()
}

/// Whether the process should get traffic; if not, which part keeps it from that.
async fn ready(State(watched): State<Arc<Watched>>) -> Response {
    if watched.is_draining() {
        let body = json!({
            "status": "draining",
            "parts": {"server": "draining"},
            "error": "unavailable",
            "message": "the server is draining: it takes no new connections and is about to end",
        });
        return (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
    }
    let mut parts = serde_json::Map::from_iter([("server".to_owned(), json!("ready"))]);
    let mut wrong = Vec::new();
    for Readiness { part, fault } in watched.parts.iter().filter_map(|part| part.readiness()) {
        parts.insert(part.to_owned(), json!(if fault.is_some() { "not ready" } else { "ready" }));
        wrong.extend(fault.map(|words| format!("{part}: {words}")));
    }
    if wrong.is_empty() {
        return Json(json!({"status": "ready", "parts": parts})).into_response();
    }
    let body = json!({"status": "not ready", "parts": parts, "error": "unavailable", "message": wrong.join("; ")});
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}

async fn not_found(method: Method, uri: Uri) -> Response {
    // Of the server as a whole (RFC 9110 section 9.3.7).
    if method == Method::OPTIONS && uri.path() == "*" {
        return method_not_allowed().await;
    }
    let message = "there is nothing at this path; see /stats, /metrics, /health, /ready, /api/openapi.json";
    OperationError::new(OperationErrorCode::NotFound, message).into_response()
}

async fn method_not_allowed() -> Response {
    let refused = OperationError::new(OperationErrorCode::MethodNotAllowed, "only GET and HEAD are served here");
    ([(ALLOW, "GET, HEAD")], refused).into_response()
}
