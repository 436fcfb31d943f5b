//! HTTP answers on the data port. Whatever a client wrote appears only inside an escaped JSON string.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;

use super::upgrade::{SUBPROTOCOL_BINARY, SUBPROTOCOL_JSON};
use super::{DeflateOffer, Refusal, Upgrade};
use crate::wire::form::Form;
use crate::wire::writer::Writer;

/// The 101 answer, without extensions.
#[must_use]
pub fn accept_response(upgrade: &Upgrade) -> Bytes {
    accept(upgrade, None)
}

/// The 101 answer that takes the upgrade's offer of permessage-deflate, if it has one.
#[must_use]
pub fn accept_deflate_response(upgrade: &Upgrade) -> Bytes {
    accept(upgrade, upgrade.deflate)
}

fn accept(upgrade: &Upgrade, deflate: Option<DeflateOffer>) -> Bytes {
    let mut extra = String::new();
    if let Some(form) = upgrade.subprotocol {
        write!(extra, "Sec-WebSocket-Protocol: {}\r\n", subprotocol_name(form)).expect("a string takes every write");
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

const fn subprotocol_name(form: Form) -> &'static str {
    match form {
        Form::Json => SUBPROTOCOL_JSON,
        Form::Binary => SUBPROTOCOL_BINARY,
    }
}

/// An error answer with its one-line JSON body; the connection ends after it. Adds the headers that its status asks for
/// (RFC 9110: 401, 405, 426; RFC 6455 section 4.4: 426). `unix_ms` is the time of the answer.
#[must_use]
pub fn refusal_response(refusal: &Refusal, unix_ms: u64) -> Bytes {
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

/// A JSON answer (`/health`); the connection ends after it. `unix_ms` is its time.
#[must_use]
pub fn json_response(status: u16, body: &str, unix_ms: u64) -> Bytes {
    response(status, "", body.as_bytes(), unix_ms)
}

/// The same answer to HEAD: its head alone (RFC 9110 section 9.3.2).
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

/// As RFC 9110 section 5.6.7 has it, which ends with the year 9999.
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
