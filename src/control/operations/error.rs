//! Why an operation failed, for programs and for people. Knows no status of a protocol.

use serde::Serialize;
use utoipa::ToSchema;

use crate::base::codes::ErrorCode;

/// Body of every response with a status of 400 or above
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    /// Error code for programs: a code of the WebSocket protocol, or `bad_request`, `unauthorized`, `not_found`,
    /// `method_not_allowed`, `request_timeout`, `unsupported_media_type`, `user_exists`, `user_unknown`,
    /// `dead_letter_unknown`
    #[schema(example = "room_not_found")]
    pub error: &'static str,
    /// Error message for people; names the field at fault
    pub message: String,
}

/// The code of an error, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationErrorCode {
    /// A field is missing, malformed or out of range.
    BadRequest,
    /// The API key is missing or wrong.
    Unauthorized,
    /// No such operation.
    NotFound,
    /// The operation needs another method.
    MethodNotAllowed,
    /// The request did not arrive in time.
    RequestTimeout,
    /// The user has an account already.
    UserExists,
    /// The user has no account.
    UserUnknown,
    /// There is no dead letter of this id.
    DeadLetterUnknown,
    /// The body is not JSON.
    UnsupportedMediaType,
    /// A code of the WebSocket protocol.
    Protocol(ErrorCode),
}

impl OperationErrorCode {
    /// As text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            OperationErrorCode::BadRequest => "bad_request",
            OperationErrorCode::Unauthorized => "unauthorized",
            OperationErrorCode::NotFound => "not_found",
            OperationErrorCode::MethodNotAllowed => "method_not_allowed",
            OperationErrorCode::RequestTimeout => "request_timeout",
            OperationErrorCode::UserExists => "user_exists",
            OperationErrorCode::UserUnknown => "user_unknown",
            OperationErrorCode::DeadLetterUnknown => "dead_letter_unknown",
            OperationErrorCode::UnsupportedMediaType => "unsupported_media_type",
            OperationErrorCode::Protocol(code) => code.as_str(),
        }
    }
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationError {
    /// For programs.
    pub code: OperationErrorCode,
    /// For people; names the field at fault.
    pub message: String,
    /// When to try again, if known.
    pub retry_after_ms: Option<u64>,
}

impl OperationError {
    /// An error without a time to try again.
    pub fn new(code: OperationErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None }
    }

    /// The request is invalid.
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(OperationErrorCode::BadRequest, message)
    }

    /// A field or the body is larger than allowed.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::of(ErrorCode::TooLarge, message)
    }

    /// The configuration forbids it, or the request comes from another site's page.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::of(ErrorCode::Forbidden, message)
    }

    /// A bounded queue is full; nothing was done.
    pub fn overloaded(message: impl Into<String>) -> Self {
        Self::of(ErrorCode::Overloaded, message)
    }

    /// The operation is not possible now, or its outcome is unknown.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::of(ErrorCode::Unavailable, message)
    }

    /// Too many requests.
    pub fn rate_limited(message: impl Into<String>, retry_after_ms: u64) -> Self {
        Self { retry_after_ms: Some(retry_after_ms), ..Self::of(ErrorCode::RateLimited, message) }
    }

    /// An error with a code of the WebSocket protocol.
    pub fn of(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::new(OperationErrorCode::Protocol(code), message)
    }

    /// The body of a response.
    pub fn into_body(self) -> ErrorBody {
        ErrorBody { error: self.code.as_str(), message: self.message }
    }
}
