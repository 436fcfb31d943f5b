//! Why a request to the HTTP API was not done: a status and `{"error","message"}`. Says nothing of other requests.

use axum::http::StatusCode;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Json, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::base::codes::ErrorCode;

/// The body of every answer from 400 on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    /// A code that programs go by: those of the WebSocket protocol, and `bad_request`, `unauthorized`, `not_found`,
    /// `method_not_allowed`, `request_timeout`, `unsupported_media_type`
    #[schema(example = "room_not_found")]
    error: &'static str,
    /// Plain words; they name the field at fault
    message: String,
}

/// A request that was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub error: &'static str,
    pub message: String,
    /// Seconds.
    pub retry_after_s: Option<u64>,
}

impl Refusal {
    pub fn new(status: StatusCode, error: &'static str, message: impl Into<String>) -> Self {
        Self { status, error, message: message.into(), retry_after_s: None }
    }

    /// 400: the request itself is wrong.
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// 413.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TooLarge.as_str(), message)
    }

    /// 403.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, ErrorCode::Forbidden.as_str(), message)
    }

    /// 503: not now; nothing was done, or nobody can tell.
    pub fn unavailable(code: ErrorCode, message: impl Into<String>) -> Self {
        let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, code.as_str(), message);
        Self { retry_after_s: Some(1), ..refusal }
    }

    /// 429.
    pub fn rate_limited(message: impl Into<String>, retry_after_s: u64) -> Self {
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited.as_str(), message);
        Self { retry_after_s: Some(retry_after_s), ..refusal }
    }

    /// What a core says.
    pub fn of_core(code: ErrorCode, message: &str, retry_after_ms: Option<u64>) -> Self {
        let (status, retry_after_s) = match code {
            ErrorCode::RoomNotFound | ErrorCode::HistoryUnavailable => (StatusCode::NOT_FOUND, None),
            ErrorCode::Forbidden | ErrorCode::NotJoined => (StatusCode::FORBIDDEN, None),
            ErrorCode::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, None),
            ErrorCode::BadCommand => (StatusCode::BAD_REQUEST, None),
            ErrorCode::RateLimited | ErrorCode::LimitExceeded => (StatusCode::TOO_MANY_REQUESTS, Some(1)),
            ErrorCode::Unavailable | ErrorCode::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, Some(1)),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, None),
        };
        let told = retry_after_ms.map(|ms| ms.div_ceil(1_000).max(1));
        Self { status, error: code.as_str(), message: message.to_owned(), retry_after_s: told.or(retry_after_s) }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = Json(ErrorBody { error: self.error, message: self.message });
        let mut response = (self.status, body).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = axum::http::HeaderValue::from_static("X-API-Key");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
