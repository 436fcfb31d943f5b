//! Writes HTTP responses on the data port. Never repeats a client's text outside of an escaped JSON string.

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
    let mut body = Vec::new();
    let mut out = Writer::to(&mut body);
    out.text(r#"{"error":"#).string(refusal.error);
    out.text(r#","message":"#).string(&refusal.message).text("}");
    let mut extra = match refusal.status {
        401 => "WWW-Authenticate: Bearer\r\n".to_owned(),
        405 => "Allow: GET, HEAD\r\n".to_owned(),
        426 => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n".to_owned(),
        _ => String::new(),
    };
    if let Some(seconds) = refusal.retry_after_s {
        write!(extra, "Retry-After: {seconds}\r\n").expect("a string takes every write");
    }
    response(refusal.status, &extra, &body, unix_ms)
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
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "",
    }
}
