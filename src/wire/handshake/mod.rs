//! Reads HTTP/1.1 request heads on the data port and writes the responses before a WebSocket opens (PROTOCOL section 1,
//! RFC 6455 section 4.2). Never decides who may connect.

mod extensions;
mod forwarded;
mod headers;
mod host;
pub mod lexer;
mod origin;
mod query;
mod response;
#[cfg(test)]
mod tests;
mod upgrade;

use super::dialect::{DIALECTS, Dialect};
use crate::base::limits::{HEAD_BYTES_MAX, HEAD_FIELDS_MAX};
use headers::Headers;

pub use extensions::DeflateOffer;
pub use forwarded::{ForwardedAddress, ForwardedFields, ForwardedHeader};
pub use host::{check_host_pattern, host_matches, host_of, parse_address};
pub use origin::{check_origin_pattern, origin_allowed};
pub use response::{accept_deflate_response, accept_response, json_response, refusal_response, without_content};

/// Maximum bytes of a client's text that an error quotes.
const QUOTED_BYTES_MAX: usize = 80;

/// The result of reading a request head.
#[derive(Debug, PartialEq, Eq)]
pub enum Head {
    /// More bytes are needed.
    Incomplete,
    /// A complete head of `used` bytes; the WebSocket's bytes follow (ignored after a refusal).
    #[allow(missing_docs)]
    Complete { used: usize, request: HttpRequest },
    /// A head that cannot be served, perhaps incomplete.
    Refused {
        /// The response.
        refusal: Refusal,
        /// The method is HEAD: the response has no content.
        is_head: bool,
    },
}

/// A well-formed request.
#[derive(Debug, PartialEq, Eq)]
pub enum HttpRequest {
    /// A `GET` or `HEAD` that does not ask for an upgrade.
    Get {
        /// The path, without the query.
        path: String,
        /// The requested host, perhaps with a port. `None` only for HTTP/1.0.
        host: Option<String>,
        /// The method is HEAD: the response has no content.
        is_head: bool,
    },
    /// A valid RFC 6455 opening handshake, at any path.
    Upgrade(Box<Upgrade>),
    /// An invalid opening handshake. If its path is not served either, the response is 404.
    BadUpgrade {
        /// The path, without the query.
        path: String,
        /// The response: 400 or 426.
        refusal: Refusal,
    },
}

/// A valid opening handshake.
#[derive(Debug, PartialEq, Eq, Default)]
pub struct Upgrade {
    /// The path, without the query.
    pub path: String,
    /// The `Sec-WebSocket-Accept` of the response.
    pub accept: String,
    /// The first of the client's subprotocols that stands for a dialect on offer.
    pub dialect: Option<&'static Dialect>,
    /// The first acceptable offer of permessage-deflate.
    pub deflate: Option<DeflateOffer>,
    /// The `Origin` header.
    pub origin: Option<String>,
    /// The requested host, perhaps with a port.
    pub host: Option<String>,
    /// The token of query parameter `token`, `Authorization: Bearer`, or subprotocol `bearer.…`, in this order.
    pub token: Option<String>,
    /// Query parameter `user`: a valid name.
    pub user: Option<String>,
    /// Query parameters `room`, in order: valid names.
    pub rooms: Vec<String>,
    /// Query parameter `last_received_seq`; never with more than one room.
    pub last_received_seq: Option<u64>,
    /// Query parameter `epoch`.
    pub epoch: Option<String>,
    /// Query parameter `refuse=close`: refuse by a close frame, because browsers hide the HTTP status from pages.
    pub refuse_as_close: bool,
    /// The proxy headers that name the client's address. Anyone can write them.
    pub forwarded: ForwardedFields,
}

impl Upgrade {
    /// Bytes of memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let optional = [&self.origin, &self.host, &self.token, &self.user, &self.epoch];
        let rooms: usize = self.rooms.iter().map(|room| size_of::<String>() + room.len()).sum();
        let optional: usize = optional.into_iter().flatten().map(String::len).sum();
        size_of::<Self>() + self.path.len() + self.accept.len() + optional + rooms
    }
}

/// A response that refuses a request.
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

    fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "bad_request", message)
    }

    fn head_too_large(what: &str) -> Self {
        Self::new(431, "head_too_large", what)
    }
}

/// Reads a request head from its first byte, with [`DIALECTS`] on offer. A head over `HEAD_BYTES_MAX` is refused with 431.
#[must_use]
pub fn parse_head(received: &[u8]) -> Head {
    parse_head_offering(&DIALECTS, received)
}

/// The same with other dialects on offer.
#[must_use]
pub fn parse_head_offering(dialects: &'static [Dialect], received: &[u8]) -> Head {
    let within = &received[..received.len().min(HEAD_BYTES_MAX)];
    let mut headers = [httparse::EMPTY_HEADER; HEAD_FIELDS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(within);
    let is_head = request.method == Some("HEAD");
    let refused = |refusal| Head::Refused { refusal, is_head };
    if parsed.is_ok() && request.method.is_some_and(|method| !matches!(method, "GET" | "HEAD")) {
        return refused(Refusal::new(405, "method_not_allowed", "the method must be GET or HEAD"));
    }
    match parsed {
        Ok(httparse::Status::Complete(used)) => match read_request(&request, dialects) {
            Ok(request) => Head::Complete { used, request },
            Err(refusal) => refused(refusal),
        },
        Ok(httparse::Status::Partial) if within.len() == HEAD_BYTES_MAX => {
            refused(Refusal::head_too_large("the request head exceeds 16 KiB"))
        }
        Ok(httparse::Status::Partial) => Head::Incomplete,
        Err(httparse::Error::TooManyHeaders) => {
            refused(Refusal::head_too_large("the request head has more than 100 header fields"))
        }
        Err(error) => refused(Refusal::bad_request(format!("not an HTTP/1.1 request: {error}"))),
    }
}

fn read_request(request: &httparse::Request<'_, '_>, dialects: &'static [Dialect]) -> Result<HttpRequest, Refusal> {
    let (Some(target), Some(version)) = (request.path, request.version) else {
        return Err(Refusal::bad_request("not an HTTP/1.1 request"));
    };
    let headers = Headers(request.headers);
    let (authority, path, query) = split_target(target)?;
    let (host, path) = (host::read(headers, authority, version)?, path.to_owned());
    let is_head = request.method == Some("HEAD");
    let is_upgrade = headers.has_token("upgrade", "websocket");
    if is_upgrade && is_head {
        return Err(Refusal::new(405, "method_not_allowed", "a WebSocket must be opened by GET"));
    }
    if !is_upgrade {
        return Ok(HttpRequest::Get { path, host, is_head });
    }
    Ok(match upgrade::read(&path, query, (version, host), headers, dialects) {
        Ok(upgrade) => HttpRequest::Upgrade(Box::new(upgrade)),
        Err(refusal) => HttpRequest::BadUpgrade { path, refusal },
    })
}

/// Splits a request target in origin form or absolute form (RFC 9112 section 3.2) into its authority, if it has one, its
/// path and its query.
fn split_target(target: &str) -> Result<(Option<&str>, &str, &str), Refusal> {
    let bad_target = || Refusal::bad_request("the request target must be a path or an HTTP URL without a fragment");
    let (authority, origin_form) = if target.starts_with('/') {
        (None, target)
    } else {
        let (scheme, rest) = target.split_once("://").ok_or_else(bad_target)?;
        if !["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Err(bad_target());
        }
        let (authority, origin_form) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        (Some(authority), origin_form)
    };
    if origin_form.contains('#') {
        return Err(bad_target());
    }
    let (path, query) = origin_form.split_once('?').unwrap_or((origin_form, ""));
    Ok((authority, if path.is_empty() { "/" } else { path }, query))
}

/// A client's text as an error quotes it, cut if it is long.
#[must_use]
pub fn quoted(text: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(&text[..text.len().min(QUOTED_BYTES_MAX)]))
}
