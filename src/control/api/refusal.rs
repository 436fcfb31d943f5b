//! A refused operation as HTTP tells it: its status, `Retry-After`, and the JSON of its body.

use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Json, Response};

use crate::base::codes::ErrorCode;
use crate::control::operations::{Refused, RefusedCode};

/// Where nothing better is known, a client may try again after this.
const RETRY_AFTER_S: u64 = 1;

/// The status of a refusal with this code.
pub(super) fn status_of(code: RefusedCode) -> StatusCode {
    match code {
        RefusedCode::BadRequest => StatusCode::BAD_REQUEST,
        RefusedCode::Unauthorized => StatusCode::UNAUTHORIZED,
        RefusedCode::NotFound => StatusCode::NOT_FOUND,
        RefusedCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        RefusedCode::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        RefusedCode::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        RefusedCode::Protocol(code) => match code {
            ErrorCode::RoomNotFound | ErrorCode::HistoryUnavailable => StatusCode::NOT_FOUND,
            ErrorCode::Forbidden | ErrorCode::NotJoined => StatusCode::FORBIDDEN,
            ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::BadCommand => StatusCode::BAD_REQUEST,
            ErrorCode::RateLimited | ErrorCode::LimitExceeded => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::Unavailable | ErrorCode::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        },
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = status_of(self.code);
        let is_for_now = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        let told_s = self.retry_after_ms.map(|ms| ms.div_ceil(1_000).max(1));
        let mut response = (status, Json(self.into_body())).into_response();
        if let Some(seconds) = told_s.or(is_for_now.then_some(RETRY_AFTER_S)) {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("X-API-Key"));
        }
        response
    }
}
