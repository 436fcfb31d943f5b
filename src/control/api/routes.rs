//! The router of `/api`: admits each request before it is read, and counts its response. Knows no operation by name.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::time::timeout;

use super::access::Api;
use super::guard::{REQUEST_TIMEOUT, check_content_type};
use super::table::{ApiRoute, PREFIX, TABLE};
use crate::control::operations::{OperationError, OperationErrorCode};

/// The label of requests that match no route.
const OTHER: &str = "other";

/// The routes under `/api`, for any state. The description is public; all other routes pass the guard.
pub fn router<S: Clone + Send + Sync + 'static>(api: &Arc<Api>) -> Router<S> {
    let add = |router: Router<_>, route: &ApiRoute| router.route(&route.path, route.served.clone());
    let guarded = TABLE.routes.iter().fold(Router::new(), add);
    let guarded = guarded
        .fallback(async || OperationError::new(OperationErrorCode::NotFound, "no such path; see /api/openapi.json"))
        .method_not_allowed_fallback(async || {
            OperationError::new(
                OperationErrorCode::MethodNotAllowed,
                "this path needs another method; see the Allow header",
            )
        })
        .layer(from_fn_with_state(api.clone(), pass))
        .with_state(api.clone());
    Router::new().route("/api/openapi.json", get(describe)).nest(PREFIX, guarded)
}

static DESCRIPTION: LazyLock<String> =
    LazyLock::new(|| TABLE.description.to_json().expect("the description has only plain values"));

/// `GET /api/openapi.json`. Needs no key: it describes the API, and says nothing about this server.
async fn describe() -> Response {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-cache")], DESCRIPTION.as_str()).into_response()
}

/// Admits a request, serves it within the time limit, and counts its response.
async fn pass(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let pattern = TABLE.pattern(request.uri().path());
    let answer = admit_and_serve(&api, request, next).await;
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if response.status() == StatusCode::METHOD_NOT_ALLOWED
        && let Some(pattern) = pattern
        && let Ok(allowed) = HeaderValue::try_from(TABLE.allowed(pattern))
    {
        response.headers_mut().insert(ALLOW, allowed);
    }
    api.requests().count(pattern.unwrap_or(OTHER), response.status().as_u16());
    response
}

async fn admit_and_serve(api: &Api, request: Request, next: Next) -> Result<Response, OperationError> {
    let _in_flight = api.admit(request.headers())?;
    check_content_type(request.method(), request.headers())?;
    let late =
        |_| OperationError::unavailable("the request took too long; it may still take effect, in part or as a whole");
    timeout(REQUEST_TIMEOUT, next.run(request)).await.map_err(late)
}
