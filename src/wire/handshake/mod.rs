//! HTTP/1.1 request heads on the data port, and the answers before a WebSocket opens (PROTOCOL section 1, RFC 6455
//! section 4.2). Reads and writes bytes; who may connect is decided above.

mod extensions;
mod forwarded;
mod headers;
mod origin;
mod query;
mod response;
#[cfg(test)]
mod tests;
mod upgrade;

use std::net::IpAddr;

use super::command::Form;
use crate::base::limits::HEAD_BYTES_MAX;
use headers::Headers;

pub use extensions::DeflateOffer;
pub use origin::origin_allowed;
pub use response::{accept_deflate_response, accept_response, json_response, refusal_response};

/// Header fields of a request head; over it 431. Browsers and proxies send about thirty.
const HEADERS_MAX: usize = 100;

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
    /// An opening handshake that cannot be served. A path that is not served is answered 404 before it.
    BadUpgrade {
        /// Without the query.
        path: String,
        /// What is wrong with it: 400 or 426.
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
    /// The first offer of permessage-deflate that can be taken, if any.
    pub deflate: Option<DeflateOffer>,
    /// `Origin`, if any.
    pub origin: Option<String>,
    /// `Host`, if any.
    pub host: Option<String>,
    /// `token` of the query, `Authorization: Bearer`, or subprotocol `bearer.…`, in this order.
    pub token: Option<String>,
    /// Query parameter `user`, decoded; a valid name.
    pub user: Option<String>,
    /// Query parameters `room`, decoded, in order; valid names.
    pub rooms: Vec<String>,
    /// Query parameter `last_received_seq`; never with more than one room.
    pub last_received_seq: Option<u64>,
    /// Query parameter `epoch`.
    pub epoch: Option<String>,
    /// Where the request comes from by the word of the proxies on its way, nearest first. Anyone may write such fields.
    pub forwarded_for: Vec<IpAddr>,
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

impl Refusal {
    /// An answer without `Retry-After`.
    #[must_use]
    pub fn new(status: u16, error: &'static str, message: impl Into<String>) -> Self {
        Self { status, error, message: message.into(), retry_after_s: None }
    }

    /// 404: a path that is not served.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(404, "not_found", "nothing is served at this path")
    }

    /// 426: the WebSocket path without an opening handshake.
    #[must_use]
    pub fn upgrade_required() -> Self {
        Self::new(426, "upgrade_required", "this path is served by WebSocket version 13 only")
    }

    fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "bad_request", message)
    }

    fn head_too_large(what: &str) -> Self {
        Self::new(431, "head_too_large", what)
    }
}

/// Reads what has arrived of a head, from its first byte. Size limit `HEAD_BYTES_MAX` (431).
#[must_use]
pub fn parse_head(received: &[u8]) -> Head {
    let within = &received[..received.len().min(HEAD_BYTES_MAX)];
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(within);
    if parsed.is_ok() && request.method.is_some_and(|method| method != "GET") {
        return Head::Refused(Refusal::new(405, "method_not_allowed", "only GET is served"));
    }
    match parsed {
        Ok(httparse::Status::Complete(used)) => match read_request(&request) {
            Ok(request) => Head::Complete { used, request },
            Err(refusal) => Head::Refused(refusal),
        },
        Ok(httparse::Status::Partial) if within.len() == HEAD_BYTES_MAX => {
            Head::Refused(Refusal::head_too_large("the request head is over 16 KiB"))
        }
        Ok(httparse::Status::Partial) => Head::Incomplete,
        Err(httparse::Error::TooManyHeaders) => {
            Head::Refused(Refusal::head_too_large("the request head has over 100 header fields"))
        }
        Err(error) => Head::Refused(Refusal::bad_request(format!("not an HTTP/1.1 request: {error}"))),
    }
}

fn read_request(request: &httparse::Request<'_, '_>) -> Result<HttpRequest, Refusal> {
    let (Some(target), Some(version)) = (request.path, request.version) else {
        return Err(Refusal::bad_request("not an HTTP/1.1 request"));
    };
    let (path, query) = path_and_query(target)?;
    let path = path.to_owned();
    let headers = Headers(request.headers);
    if !headers.has_token("upgrade", "websocket") {
        return Ok(HttpRequest::Get { path });
    }
    Ok(match upgrade::read(&path, query, version, headers) {
        Ok(upgrade) => HttpRequest::Upgrade(Box::new(upgrade)),
        Err(refusal) => HttpRequest::BadUpgrade { path, refusal },
    })
}

/// Splits a request target in origin form or absolute form (RFC 9112 section 3.2).
fn path_and_query(target: &str) -> Result<(&str, &str), Refusal> {
    let bad_target = || Refusal::bad_request("the request target is neither a path nor an http URL");
    let origin_form = if target.starts_with('/') {
        target
    } else {
        let (scheme, rest) = target.split_once("://").ok_or_else(bad_target)?;
        if !["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Err(bad_target());
        }
        rest.find(['/', '?']).map_or("", |authority_end| &rest[authority_end..])
    };
    if origin_form.contains('#') {
        return Err(bad_target());
    }
    let (path, query) = origin_form.split_once('?').unwrap_or((origin_form, ""));
    Ok((if path.is_empty() { "/" } else { path }, query))
}
