//! HTTP answers on the data port. Whatever a client wrote appears only inside an escaped JSON string.

use std::fmt::Write as _;

use bytes::Bytes;

use super::upgrade::{SUBPROTOCOL_BINARY, SUBPROTOCOL_JSON};
use super::{DeflateOffer, Refusal, Upgrade};
use crate::wire::command::Form;
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
/// (RFC 9110: 401, 405, 426; RFC 6455 section 4.4: 426).
#[must_use]
pub fn refusal_response(refusal: &Refusal) -> Bytes {
    let mut body = Vec::new();
    let mut out = Writer::to(&mut body);
    out.text(r#"{"error":"#).string(refusal.error);
    out.text(r#","message":"#).string(&refusal.message).text("}");
    let mut extra = match refusal.status {
        401 => "WWW-Authenticate: Bearer\r\n".to_owned(),
        405 => "Allow: GET\r\n".to_owned(),
        426 => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n".to_owned(),
        _ => String::new(),
    };
    if let Some(seconds) = refusal.retry_after_s {
        write!(extra, "Retry-After: {seconds}\r\n").expect("a string takes every write");
    }
    response(refusal.status, &extra, &body)
}

/// A JSON answer (`/health`); the connection ends after it.
#[must_use]
pub fn json_response(status: u16, body: &str) -> Bytes {
    response(status, "", body.as_bytes())
}

fn response(status: u16, extra: &str, body: &[u8]) -> Bytes {
    let connection = if status == 426 { "close, Upgrade" } else { "close" };
    let mut out = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: {connection}\r\n{extra}\r\n",
        reason_phrase(status),
        body.len()
    )
    .into_bytes();
    out.extend_from_slice(body);
    Bytes::from(out)
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
