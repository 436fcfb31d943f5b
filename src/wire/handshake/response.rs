//! Writes HTTP responses on the data port. Never repeats a client's text outside of an escaped JSON string, except the name
//! of an origin in visible ASCII characters, which a browser compares with its own.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;

use super::extensions::DeflateOffer;
use super::refusal::HttpRefusal;
use super::request::Upgrade;
use crate::wire::writer::Writer;

/// The 101 response without extensions.
#[must_use]
pub fn accept_response(upgrade: &Upgrade) -> Bytes {
    accept(upgrade, None)
}

/// The 101 response that accepts the upgrade's offer of permessage-deflate, if it has one.
#[must_use]
pub fn accept_deflate_response(upgrade: &Upgrade) -> Bytes {
    accept(upgrade, upgrade.deflate)
}

fn accept(upgrade: &Upgrade, deflate: Option<DeflateOffer>) -> Bytes {
    let mut extra = String::new();
    if let Some(dialect) = upgrade.dialect {
        write!(extra, "Sec-WebSocket-Protocol: {}\r\n", dialect.subprotocol).expect("a string takes every write");
    }
    if let Some(offer) = deflate {
        write!(extra, "Sec-WebSocket-Extensions: {}\r\n", offer.answer()).expect("a string takes every write");
    }
    Bytes::from(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n{extra}\r\n",
        upgrade.accept
    ))
}

/// An error response with a one-line JSON body and the headers that its status requires (RFC 9110: 401, 405, 426; RFC 6455
/// section 4.4: 426). The connection ends after it. `unix_ms` is the time of the response.
#[must_use]
pub fn refusal_response(refusal: &HttpRefusal, unix_ms: u64) -> Bytes {
    refusal_response_with(refusal, &AnswerHeaders::default(), unix_ms)
}

/// The same with further headers.
#[must_use]
pub fn refusal_response_with(refusal: &HttpRefusal, headers: &AnswerHeaders, unix_ms: u64) -> Bytes {
    let mut body = Vec::new();
    let mut out = Writer::to(&mut body);
    out.text(r#"{"error":"#).string(refusal.error);
    out.text(r#","message":"#).string(&refusal.message).text("}");
    let required = match refusal.status {
        401 => "WWW-Authenticate: Bearer\r\n",
        405 if !headers.0.contains("Allow: ") => "Allow: GET, HEAD\r\n",
        426 => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        _ => "",
    };
    let mut extra = format!("{required}{}", headers.0);
    if let Some(seconds) = refusal.retry_after_s {
        write!(extra, "Retry-After: {seconds}\r\n").expect("a string takes every write");
    }
    response(refusal.status, &extra, &body, unix_ms)
}

/// Further headers of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerHeaders(String);

impl AnswerHeaders {
    /// Lets a page of this origin read the answer (the CORS protocol of the Fetch standard). The origin is the one of the
    /// request, which has been allowed. No header names an origin with other than visible ASCII characters: no browser
    /// sends one.
    #[must_use]
    pub fn readable_by(origin: Option<&str>) -> Self {
        let Some(origin) = origin.filter(|origin| origin.bytes().all(|byte| byte.is_ascii_graphic())) else {
            return Self("Vary: Origin\r\n".to_owned());
        };
        Self(format!(
            "Access-Control-Allow-Origin: {origin}\r\nAccess-Control-Expose-Headers: Retry-After\r\nVary: Origin\r\n"
        ))
    }

    /// Adds the answer to a browser that asks whether a page may make a POST with a JSON body and a token.
    #[must_use]
    pub fn allowing_posts(mut self) -> Self {
        self.0.push_str(
            "Access-Control-Allow-Methods: POST\r\nAccess-Control-Allow-Headers: authorization, content-type\r\n\
             Access-Control-Max-Age: 7200\r\n",
        );
        self
    }

    /// Adds the methods of an account path.
    #[must_use]
    pub fn with_methods(mut self) -> Self {
        self.0.push_str("Allow: POST, OPTIONS\r\n");
        self
    }

    /// Adds that no cache may keep the answer.
    #[must_use]
    pub fn secret(mut self) -> Self {
        self.0.push_str("Cache-Control: no-store\r\n");
        self
    }
}

/// A response without content. The connection ends after it. `unix_ms` is the time of the response.
#[must_use]
pub fn no_content_response(headers: &AnswerHeaders, unix_ms: u64) -> Bytes {
    let date = date(unix_ms);
    Bytes::from(format!("HTTP/1.1 204 No Content\r\nDate: {date}\r\nConnection: close\r\n{}\r\n", headers.0))
}

/// A response with a JSON body and further headers.
#[must_use]
pub fn json_response_with(status: u16, headers: &AnswerHeaders, body: &str, unix_ms: u64) -> Bytes {
    response(status, &headers.0, body.as_bytes(), unix_ms)
}

/// A response with a JSON body. The connection ends after it. `unix_ms` is the time of the response.
#[must_use]
pub fn json_response(status: u16, body: &str, unix_ms: u64) -> Bytes {
    response(status, "", body.as_bytes(), unix_ms)
}

/// The same response to HEAD: without its body (RFC 9110 section 9.3.2).
#[must_use]
pub fn without_content(answer: &Bytes) -> Bytes {
    let blank_line = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    answer.slice(..blank_line.map_or(answer.len(), |at| at + 4))
}

fn response(status: u16, extra: &str, body: &[u8], unix_ms: u64) -> Bytes {
    let connection = if status == 426 { "close, Upgrade" } else { "close" };
    let mut out = format!(
        "HTTP/1.1 {status} {}\r\nDate: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: {connection}\r\n{extra}\r\n",
        reason_phrase(status),
        date(unix_ms),
        body.len()
    )
    .into_bytes();
    out.extend_from_slice(body);
    Bytes::from(out)
}

/// A date of RFC 9110 section 5.6.7, which ends with the year 9999.
fn date(unix_ms: u64) -> String {
    const LAST_S: u64 = 253_402_300_799;
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs((unix_ms / 1_000).min(LAST_S)))
}

const fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "",
    }
}
