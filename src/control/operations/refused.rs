//! An operation that was not done, and why. Says nothing of how a protocol tells it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::base::codes::ErrorCode;

/// The body of every answer from 400 on.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    /// A code that programs go by: those of the WebSocket protocol, and `bad_request`, `unauthorized`, `not_found`,
    /// `method_not_allowed`, `request_timeout`, `unsupported_media_type`
    #[schema(example = "room_not_found")]
    pub error: &'static str,
    /// Plain words; they name the field at fault
    pub message: String,
}

/// What a program reads of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedCode {
    /// A field is missing, malformed or out of range.
    BadRequest,
    /// The API key is missing or wrong.
    Unauthorized,
    /// No operation has this name.
    NotFound,
    /// The operation is served by another method.
    MethodNotAllowed,
    /// The request did not arrive in time.
    RequestTimeout,
    /// The body is not JSON.
    UnsupportedMediaType,
    /// A code of the WebSocket protocol.
    Protocol(ErrorCode),
}

impl RefusedCode {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            RefusedCode::BadRequest => "bad_request",
            RefusedCode::Unauthorized => "unauthorized",
            RefusedCode::NotFound => "not_found",
            RefusedCode::MethodNotAllowed => "method_not_allowed",
            RefusedCode::RequestTimeout => "request_timeout",
            RefusedCode::UnsupportedMediaType => "unsupported_media_type",
            RefusedCode::Protocol(code) => code.as_str(),
        }
    }
}

/// An operation that was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// For programs.
    pub code: RefusedCode,
    /// For people; names the field at fault.
    pub message: String,
    /// When to try again, where that is known.
    pub retry_after_ms: Option<u64>,
}

impl Refused {
    /// Without a time to try again.
    pub fn new(code: RefusedCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None }
    }

    /// The request itself is wrong.
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(RefusedCode::BadRequest, message)
    }

    /// A field or the body is larger than allowed.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::of(ErrorCode::TooLarge, message)
    }

    /// The server's configuration, or the origin of the request, forbids it.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::of(ErrorCode::Forbidden, message)
    }

    /// A bounded queue of the server is full: nothing was done.
    pub fn overloaded(message: impl Into<String>) -> Self {
        Self::of(ErrorCode::Overloaded, message)
    }

    /// The server cannot do it now, or cannot tell whether it did.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::of(ErrorCode::Unavailable, message)
    }

    /// Too many requests.
    pub fn rate_limited(message: impl Into<String>, retry_after_ms: u64) -> Self {
        Self { retry_after_ms: Some(retry_after_ms), ..Self::of(ErrorCode::RateLimited, message) }
    }

    /// With a code of the WebSocket protocol.
    pub fn of(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::new(RefusedCode::Protocol(code), message)
    }

    /// The body that tells it.
    pub fn into_body(self) -> ErrorBody {
        ErrorBody { error: self.code.as_str(), message: self.message }
    }
}
