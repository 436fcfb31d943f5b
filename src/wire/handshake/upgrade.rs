//! Checks the opening handshake by RFC 6455 section 4.2.1. Never judges a token, user or origin.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tungstenite::handshake::derive_accept_key;

use super::forwarded::ForwardedFields;
use super::headers::Headers;
use super::refusal::HttpRefusal;
use super::request::Upgrade;
use super::{extensions, query};
use crate::wire::dialect::Dialect;

/// Prefix of a token that is offered as a subprotocol.
const BEARER_SUBPROTOCOL: &str = "bearer.";

/// Reads a request for a WebSocket at `host`. `version` is the minor version of HTTP/1.
///
/// # Errors
/// 400 or 426.
pub(super) fn read(
    path: &str,
    query: &str,
    (version, host): (u8, Option<String>),
    headers: Headers<'_>,
    dialects: &'static [Dialect],
) -> Result<Upgrade, HttpRefusal> {
    if version != 1 {
        return Err(HttpRefusal::bad_request("an upgrade requires HTTP/1.1"));
    }
    if !headers.has_token("connection", "upgrade") {
        return Err(HttpRefusal::bad_request("header Connection must contain Upgrade"));
    }
    refuse_body(headers)?;
    check_websocket_version(headers)?;
    let mut upgrade = Upgrade {
        path: path.to_owned(),
        accept: accept_key(headers)?,
        dialect: dialect(headers, dialects),
        deflate: extensions::read(headers)?,
        origin: headers.single("origin")?.map(str::to_owned),
        host,
        forwarded: ForwardedFields::read(headers),
        ..Upgrade::default()
    };
    query::read(query, &mut upgrade)?;
    if upgrade.token.is_none() {
        upgrade.token = headers.bearer().or_else(|| bearer_subprotocol(headers)).map(str::to_owned);
    }
    Ok(upgrade)
}

/// Refuses a body, which would be read as WebSocket frames.
fn refuse_body(headers: Headers<'_>) -> Result<(), HttpRefusal> {
    let has_body = headers.all("content-length").any(|value| value != b"0");
    if has_body || headers.all("transfer-encoding").next().is_some() {
        return Err(HttpRefusal::bad_request("an upgrade must not have a body"));
    }
    Ok(())
}

fn check_websocket_version(headers: Headers<'_>) -> Result<(), HttpRefusal> {
    match headers.single("sec-websocket-version")? {
        Some("13") => Ok(()),
        Some(_) => Err(HttpRefusal::upgrade_required()),
        None => Err(HttpRefusal::bad_request("header Sec-WebSocket-Version is missing")),
    }
}

fn accept_key(headers: Headers<'_>) -> Result<String, HttpRefusal> {
    let key = headers.single("sec-websocket-key")?;
    let key = key.ok_or_else(|| HttpRefusal::bad_request("header Sec-WebSocket-Key is missing"))?;
    let mut nonce = [0; 18];
    match BASE64.decode_slice(key, &mut nonce) {
        Ok(16) => Ok(derive_accept_key(key.as_bytes())),
        _ => Err(HttpRefusal::bad_request("header Sec-WebSocket-Key must be base64 of 16 bytes")),
    }
}

/// The dialect of the client's first subprotocol that stands for one.
fn dialect(headers: Headers<'_>, dialects: &'static [Dialect]) -> Option<&'static Dialect> {
    let mut named = headers.tokens("sec-websocket-protocol");
    named.find_map(|name| dialects.iter().find(|dialect| dialect.subprotocol == name))
}

fn bearer_subprotocol(headers: Headers<'_>) -> Option<&str> {
    let mut offered = headers.tokens("sec-websocket-protocol");
    offered.find_map(|offered| offered.strip_prefix(BEARER_SUBPROTOCOL)).filter(|token| !token.is_empty())
}
