//! Control address: what an operator and a monitoring system see, and what they have done. Reads the cores' counters,
//! asks the cores by calls and never stops one; knows no configuration and no socket of a client.

mod accept;
mod api;
mod host;
mod metrics;
mod operations;
mod places;
mod process;
mod requests;
mod sample;
mod serve;
mod stats;
#[cfg(test)]
mod tests;
mod traces;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRef, State};
use axum::http::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::json;

pub use self::api::{Api, ApiSettings, KEY_FIELD};
pub use self::operations::CallCores;
pub use self::serve::serve;
pub use self::traces::{Exported, Exporter, TraceSettings, is_endpoint};
use crate::base::breaker::BreakerState;
use crate::base::counters::CoreCounters;
use crate::io::clock;

/// Something that is read when it is asked for, by its name.
pub struct Watch<T> {
    /// As it is shown.
    pub name: &'static str,
    /// What it is now.
    pub read: Box<dyn Fn() -> T + Send + Sync>,
}

/// A part of the server: `None` while it works, else what is wrong with it, in plain words.
pub type Part = Watch<Option<String>>;

/// What is watched of the process.
pub struct Watched {
    /// This machine's name.
    pub node: String,
    /// One for each core, in their order.
    pub cores: Arc<[Arc<CoreCounters>]>,
    /// Whether the process is about to end: not ready for traffic.
    pub draining: AtomicBool,
    /// Parts beside the cores that the server needs to serve.
    pub parts: Vec<Part>,
    /// Circuit breakers.
    pub breakers: Vec<Watch<BreakerState>>,
    /// When the TLS certificate in use expires, Unix seconds; 0: there is none.
    pub tls_expires_s: AtomicU64,
    /// What has become of the spans that were to be sent; `None`: nothing is traced.
    pub spans: Option<Arc<Exported>>,
    /// Log lines that found no room so far.
    pub log_lines_lost: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl Watched {
    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// Since the process began.
fn uptime() -> Duration {
    Duration::from_micros(clock::now().mono_us)
}

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
    Json(stats::Stats::of(&watched)).into_response()
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
    for part in &watched.parts {
        let state = (part.read)();
        parts.insert(part.name.to_owned(), json!(if state.is_some() { "not ready" } else { "ready" }));
        wrong.extend(state.map(|words| format!("{}: {words}", part.name)));
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
    refusal(
        StatusCode::NOT_FOUND,
        "not_found",
        "there is nothing at this path; see /stats, /metrics, /health, /ready, /api/openapi.json",
    )
}

async fn method_not_allowed() -> Response {
    let response = refusal(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "only GET and HEAD are served here");
    ([(ALLOW, "GET, HEAD")], response).into_response()
}

fn refusal(status: StatusCode, error: &str, message: &str) -> Response {
    (status, Json(json!({"error": error, "message": message}))).into_response()
}
