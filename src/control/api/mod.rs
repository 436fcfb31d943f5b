//! The HTTP API under `/api`: what an application's backend and an operator have the server do. Reads no configuration and
//! touches no connection: it asks cores, whose answers come back to the service thread.
//!
//! `guard` says who may, `input` reads requests, `calls` asks the cores, `refusal` says what was not done; the routes
//! stand in `publish`, `rooms` and `connections`, and are described by `openapi` from the same types.

mod calls;
mod connections;
mod guard;
mod input;
mod openapi;
mod publish;
mod refusal;
mod rooms;
#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{ALLOW, CACHE_CONTROL};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{MethodRouter, get, post};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use utoipa::ToSchema;

pub use self::calls::CallCores;
use self::calls::Caller;
pub use self::guard::KEY_FIELD;
use self::guard::{Guard, REQUEST_TIMEOUT, REQUESTS_MAX, SharedGuard, check_content_type};
use self::refusal::{ErrorBody, Refusal};
use super::requests::Requests;
use crate::base::codes::ErrorCode;
use crate::engine::hosts::AllowedHosts;
use crate::engine::rates::Rate;
use crate::io::clock;

/// What the API is told at its start.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// This machine's name.
    pub node: String,
    /// `X-API-Key`; empty: nobody is asked for one.
    pub api_key: String,
    /// How often requests may come; `None`: no limit.
    pub api_rate: Option<Rate>,
    /// The largest data of a publish.
    pub max_message_bytes: usize,
    /// Hosts by which the control address may be asked for, on every route.
    pub allowed_hosts: AllowedHosts,
    /// Whether rooms whose names begin with `@` are users' inboxes; without, nothing may be published there.
    pub inboxes: bool,
}

/// The HTTP API of one process.
pub struct Api {
    settings: ApiSettings,
    caller: Caller,
    guard: SharedGuard,
    hosts: RwLock<AllowedHosts>,
    /// Requests under way.
    places: Semaphore,
    /// KiB of the bodies of requests under way.
    bodies: Semaphore,
    requests: Requests,
    drain: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Api {
    /// `drain` begins the planned stop as a signal does; `false`: it could not be told.
    pub fn new(
        settings: ApiSettings,
        cores: impl CallCores + 'static,
        drain: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let bodies_kib = input::bodies_bytes_max(settings.max_message_bytes) / 1_024;
        Self {
            caller: Caller::new(cores),
            guard: SharedGuard::new(Guard::new(settings.api_key.clone(), settings.api_rate)),
            hosts: RwLock::new(settings.allowed_hosts.clone()),
            places: Semaphore::new(REQUESTS_MAX),
            bodies: Semaphore::new(bodies_kib),
            requests: Requests::default(),
            drain: Box::new(drain),
            settings,
        }
    }

    /// Goes by another key, another rate and other hosts from now on.
    pub fn change(&self, key: String, rate: Option<Rate>, hosts: AllowedHosts) {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner).change(key, rate, clock::now().mono_us);
        *self.hosts.write().unwrap_or_else(PoisonError::into_inner) = hosts;
    }

    /// Whether a request may ask for this host.
    pub fn allows(&self, authority: &str) -> bool {
        self.hosts.read().unwrap_or_else(PoisonError::into_inner).allow(authority)
    }

    /// The counts of its requests.
    pub fn requests(&self) -> &Requests {
        &self.requests
    }
}

/// A route: its method, its path below `/api`, and what serves it.
type Route = (&'static str, &'static str, MethodRouter<Arc<Api>>);

/// Every route below `/api`, each path once. The router, the labels of the counts and the check of the description all go
/// by this list.
fn routes() -> [Route; 10] {
    [
        ("POST", "/publish", post(publish::publish)),
        ("POST", "/broadcast", post(publish::broadcast)),
        ("GET", "/rooms", get(rooms::rooms)),
        ("GET", "/rooms/{room}", get(rooms::room)),
        ("GET", "/rooms/{room}/members", get(rooms::members)),
        ("GET", "/rooms/{room}/history", get(rooms::history)),
        ("GET", "/connections", get(connections::connections)),
        ("POST", "/disconnect", post(connections::disconnect)),
        ("POST", "/kick", post(connections::kick)),
        ("POST", "/drain", post(drain)),
    ]
}

/// The routes under `/api`, for any state. The description is given to anyone; everything else goes by the guard.
pub(super) fn router<S: Clone + Send + Sync + 'static>(api: &Arc<Api>) -> Router<S> {
    let routes = routes().into_iter().fold(Router::new(), |router, (_, path, served)| router.route(path, served));
    let guarded = routes
        .fallback(async || {
            Refusal::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path; see /api/openapi.json")
        })
        .method_not_allowed_fallback(async || {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path is served by another method")
        })
        .layer(from_fn_with_state(api.clone(), pass))
        .with_state(api.clone());
    Router::new().route("/api/openapi.json", get(openapi::serve)).nest("/api", guarded)
}

/// What every request passes: who may, how many at a time, how long, and the count of what became of it.
async fn pass(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let label = label(request.uri().path());
    let answer = admit_and_serve(&api, request, next).await;
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    response.headers_mut().insert(CACHE_CONTROL, axum::http::HeaderValue::from_static("no-store"));
    if response.status() == StatusCode::METHOD_NOT_ALLOWED
        && let Some((method, ..)) = routes().iter().find(|(_, path, _)| *path == label)
    {
        let allow = if *method == "GET" { "GET, HEAD" } else { "POST" };
        response.headers_mut().insert(ALLOW, axum::http::HeaderValue::from_static(allow));
    }
    api.requests.count(label, response.status().as_u16());
    response
}

async fn admit_and_serve(api: &Api, request: Request, next: Next) -> Result<Response, Refusal> {
    let now_us = clock::now().mono_us;
    api.guard.lock().unwrap_or_else(PoisonError::into_inner).admit(request.headers(), now_us)?;
    let overloaded = |_| Refusal::unavailable(ErrorCode::Overloaded, "too many requests to the API are under way");
    let _place = api.places.try_acquire().map_err(overloaded)?;
    check_content_type(request.method(), request.headers())?;
    let late = |_| {
        let message = "it took too long; it may still be done, in part or as a whole";
        Refusal::unavailable(ErrorCode::Unavailable, message)
    };
    timeout(REQUEST_TIMEOUT, next.run(request)).await.map_err(late)
}

/// The pattern of the route that serves a path below `/api`.
fn label(path: &str) -> &'static str {
    let fits = |pattern: &str| {
        let mut parts = path.split('/');
        let same = |expected: &str| parts.next().is_some_and(|part| part == expected || expected.starts_with('{'));
        pattern.split('/').all(same) && parts.next().is_none()
    };
    PATTERNS.iter().find(|pattern| fits(pattern)).copied().unwrap_or("other")
}

/// The paths of [`routes`], which a test holds equal.
const PATTERNS: [&str; 10] = [
    "/publish",
    "/broadcast",
    "/rooms",
    "/rooms/{room}",
    "/rooms/{room}/members",
    "/rooms/{room}/history",
    "/connections",
    "/disconnect",
    "/kick",
    "/drain",
];

/// The server is on its way to its end
#[derive(Debug, Serialize, ToSchema)]
struct Draining {
    /// `draining`
    #[schema(example = "draining")]
    status: &'static str,
}

/// Begin the planned stop
///
/// As SIGTERM does: no new connections; those there are told to reconnect and closed over a while; then the process ends.
/// Asking again changes nothing, nor does the first signal after it; the second one ends the process at once.
#[utoipa::path(
    post, path = "/api/drain", tag = "server",
    responses(
        (status = 202, description = "It has begun", body = Draining),
        (status = "4XX", description = "The request must be another one", body = ErrorBody),
        (status = "5XX", description = "Not now", body = ErrorBody),
    )
)]
async fn drain(State(api): State<Arc<Api>>) -> Result<(StatusCode, Json<Draining>), Refusal> {
    if !(api.drain)() {
        return Err(Refusal::unavailable(ErrorCode::Unavailable, "the server is not listening to this now"));
    }
    tracing::info!("an operator drains");
    Ok((StatusCode::ACCEPTED, Json(Draining { status: "draining" })))
}
