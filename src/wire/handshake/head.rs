//! Reads one request head: its method, target and host, and the opening handshake if it asks for one. Never decides who
//! may connect.

use super::account::{self, AccountPath};
use super::headers::Headers;
use super::refusal::HttpRefusal;
use super::request::HttpRequest;
use super::{host, upgrade};
use crate::base::limits::{HEAD_BYTES_MAX, HEAD_FIELDS_MAX};
use crate::wire::dialect::{DIALECTS, Dialect};

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
        refusal: HttpRefusal,
        /// The method is HEAD: the response has no content.
        is_head: bool,
    },
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
    // A path of accounts has other methods. Until the path has come, it may be one.
    let is_elsewhere = match request.path {
        Some(target) => path_of_account(target).is_none(),
        None => !may_be_account(within),
    };
    if parsed.is_ok() && is_elsewhere && request.method.is_some_and(|method| !matches!(method, "GET" | "HEAD")) {
        return refused(HttpRefusal::new(405, "method_not_allowed", "the method must be GET or HEAD"));
    }
    match parsed {
        Ok(httparse::Status::Complete(used)) => match read_request(&request, dialects) {
            Ok(request) => Head::Complete { used, request },
            Err(refusal) => refused(refusal),
        },
        Ok(httparse::Status::Partial) if within.len() == HEAD_BYTES_MAX => {
            refused(HttpRefusal::head_too_large("the request head exceeds 16 KiB"))
        }
        Ok(httparse::Status::Partial) => Head::Incomplete,
        Err(httparse::Error::TooManyHeaders) => {
            refused(HttpRefusal::head_too_large("the request head has more than 100 header fields"))
        }
        Err(error) => refused(HttpRefusal::bad_request(format!("not an HTTP/1.1 request: {error}"))),
    }
}

fn read_request(request: &httparse::Request<'_, '_>, dialects: &'static [Dialect]) -> Result<HttpRequest, HttpRefusal> {
    let (Some(target), Some(version)) = (request.path, request.version) else {
        return Err(HttpRefusal::bad_request("not an HTTP/1.1 request"));
    };
    let headers = Headers(request.headers);
    let (authority, path, query) = split_target(target)?;
    let (host, path) = (host::read(headers, authority, version)?, path.to_owned());
    let is_head = request.method == Some("HEAD");
    if let (Some(path), Some(method)) = (AccountPath::of(&path), request.method) {
        return Ok(HttpRequest::Account(Box::new(account::read(path, method, host, headers)?)));
    }
    let is_upgrade = headers.has_token("upgrade", "websocket");
    if is_upgrade && is_head {
        return Err(HttpRefusal::new(405, "method_not_allowed", "a WebSocket must be opened by GET"));
    }
    if !is_upgrade {
        return Ok(HttpRequest::Get { path, host, is_head });
    }
    Ok(match upgrade::read(&path, query, (version, host), headers, dialects) {
        Ok(upgrade) => HttpRequest::Upgrade(Box::new(upgrade)),
        Err(refusal) => HttpRequest::BadUpgrade { path, refusal },
    })
}

/// The path of accounts that a request target names, if it names one.
fn path_of_account(target: &str) -> Option<AccountPath> {
    split_target(target).ok().and_then(|(_, path, _)| AccountPath::of(path))
}

/// Whether the path of an incomplete request line may be one of accounts.
fn may_be_account(begun: &[u8]) -> bool {
    const PREFIX: &[u8] = b"/account/";
    let target = begun.splitn(2, |byte| *byte == b' ').nth(1).unwrap_or_default();
    // A target in absolute form shows its path late.
    target.first().is_some_and(|first| first.is_ascii_alphabetic())
        || target.starts_with(PREFIX)
        || PREFIX.starts_with(target)
}

/// Splits a request target in origin form or absolute form (RFC 9112 section 3.2) into its authority, if it has one, its
/// path and its query.
fn split_target(target: &str) -> Result<(Option<&str>, &str, &str), HttpRefusal> {
    let bad_target = || HttpRefusal::bad_request("the request target must be a path or an HTTP URL without a fragment");
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
