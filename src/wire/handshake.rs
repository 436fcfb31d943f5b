//! HTTP/1.1 request heads on the data port, and the answers before a WebSocket opens (PROTOCOL section 1, RFC 6455
//! section 4.2). Reads and writes bytes; who may connect is decided above.

use bytes::Bytes;

use super::command::Form;

/// What the bytes received so far are.
#[derive(Debug, PartialEq, Eq)]
pub enum Head {
    /// More bytes are needed.
    Incomplete,
    /// A whole head.
    Complete {
        /// Bytes of it; what follows belongs to the WebSocket (or is ignored after a refusal).
        used: usize,
        /// What it asks.
        request: HttpRequest,
    },
    /// It is not, or will not be, a head that can be served.
    Refused(Refusal),
}

/// A well-formed request.
#[derive(Debug, PartialEq, Eq)]
pub enum HttpRequest {
    /// `GET` of a path without asking for an upgrade.
    Get {
        /// Without the query.
        path: String,
    },
    /// A correct RFC 6455 opening handshake, at any path.
    Upgrade(Box<Upgrade>),
    /// bad
    BadUpgrade {
        /// p
        path: String,
        /// r
        refusal: Refusal,
    },
}

/// A correct opening handshake.
#[derive(Debug, PartialEq, Eq, Default)]
pub struct Upgrade {
    /// Without the query.
    pub path: String,
    /// The `Sec-WebSocket-Accept` to answer with.
    pub accept: String,
    /// The known subprotocol chosen (the first of the client's), if any.
    pub subprotocol: Option<Form>,
    /// `Origin`, if any.
    pub origin: Option<String>,
    /// `Host`, if any.
    pub host: Option<String>,
    /// `token` of the query, `Authorization: Bearer`, or subprotocol `bearer.…`, in this order.
    pub token: Option<String>,
    /// Query parameter `user`, percent-decoded.
    pub user: Option<String>,
    /// Query parameters `room`, percent-decoded, in order.
    pub rooms: Vec<String>,
    /// Query parameter `last_received_seq`.
    pub last_received_seq: Option<u64>,
    /// Query parameter `epoch`.
    pub epoch: Option<String>,
}

/// An answer that ends the attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// The JSON body's `error`.
    pub error: &'static str,
    /// The JSON body's `message`.
    pub message: String,
    /// `Retry-After`, in seconds.
    pub retry_after_s: Option<u32>,
}

/// Reads what has arrived of a head. Size limit `HEAD_BYTES_MAX` (431).
#[must_use]
pub fn parse_head(received: &[u8]) -> Head {
    let _ = received;
    todo!()
}

/// The 101 answer.
#[must_use]
pub fn accept_response(upgrade: &Upgrade) -> Bytes {
    let _ = upgrade;
    todo!()
}

/// An error answer with its one-line JSON body; the connection ends after it.
#[must_use]
pub fn refusal_response(refusal: &Refusal) -> Bytes {
    let _ = refusal;
    todo!()
}

/// A JSON answer (`/health`); the connection ends after it.
#[must_use]
pub fn json_response(status: u16, body: &str) -> Bytes {
    let _ = (status, body);
    todo!()
}

/// Whether `origin` names `host`, or matches one of `patterns` (`*` stands for one label; the pattern `*` alone for all).
#[must_use]
pub fn origin_allowed(origin: &str, host: Option<&str>, patterns: &[String]) -> bool {
    let _ = (origin, host, patterns);
    todo!()
}
