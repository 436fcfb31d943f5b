//! Errors of operations as HTTP responses: status, `Retry-After` and JSON body. Decides no error.

use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Json, Response};

use crate::base::codes::ErrorCode;
use crate::control::operations::{OperationError, OperationErrorCode};

/// `Retry-After` when the error does not say when to try again.
const RETRY_AFTER_S: u64 = 1;

/// The status of an error.
pub(super) fn status_of(code: OperationErrorCode) -> StatusCode {
    match code {
        OperationErrorCode::BadRequest => StatusCode::BAD_REQUEST,
        OperationErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
        OperationErrorCode::NotFound => StatusCode::NOT_FOUND,
        OperationErrorCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        OperationErrorCode::UserExists => StatusCode::CONFLICT,
        OperationErrorCode::UserUnknown | OperationErrorCode::DeadLetterUnknown => StatusCode::NOT_FOUND,
        OperationErrorCode::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        OperationErrorCode::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        OperationErrorCode::Protocol(code) => match code {
            ErrorCode::RoomNotFound | ErrorCode::HistoryUnavailable => StatusCode::NOT_FOUND,
            ErrorCode::RoomExists => StatusCode::CONFLICT,
            ErrorCode::Forbidden | ErrorCode::NotJoined => StatusCode::FORBIDDEN,
            ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::BadCommand => StatusCode::BAD_REQUEST,
            ErrorCode::RateLimited | ErrorCode::LimitExceeded => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::Unavailable | ErrorCode::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        },
    }
}

impl IntoResponse for OperationError {
    fn into_response(self) -> Response {
        let status = status_of(self.code);
        let is_temporary = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        let given_s = self.retry_after_ms.map(|ms| ms.div_ceil(1_000).max(1));
        let mut response = (status, Json(self.into_body())).into_response();
        if let Some(seconds) = given_s.or(is_temporary.then_some(RETRY_AFTER_S)) {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("X-API-Key"));
        }
        response
    }
}
