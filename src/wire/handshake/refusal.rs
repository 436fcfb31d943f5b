//! Owns the refusal of a request: status, error and text. Never writes the response.

/// A response that refuses a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRefusal {
    /// HTTP status.
    pub status: u16,
    /// The JSON body's `error`.
    pub error: &'static str,
    /// The JSON body's `message`.
    pub message: String,
    /// `Retry-After`, in seconds.
    pub retry_after_s: Option<u32>,
}

impl HttpRefusal {
    /// A refusal without `Retry-After`.
    #[must_use]
    pub fn new(status: u16, error: &'static str, message: impl Into<String>) -> Self {
        Self { status, error, message: message.into(), retry_after_s: None }
    }

    /// 404: a path that is not served.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(404, "not_found", "there is nothing at this path")
    }

    /// 426: a request for a WebSocket path without an opening handshake.
    #[must_use]
    pub fn upgrade_required() -> Self {
        Self::new(426, "upgrade_required", "this path is for WebSocket version 13 only")
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "bad_request", message)
    }

    pub(super) fn head_too_large(what: &str) -> Self {
        Self::new(431, "head_too_large", what)
    }
}
