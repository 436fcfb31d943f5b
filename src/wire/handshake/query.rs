//! Reads the query parameters of the WebSocket path (PROTOCOL section 1) as `application/x-www-form-urlencoded`, the encoding
//! of browsers' `URLSearchParams`: `+` is a space. Never reads the value of an unknown parameter.

use std::borrow::Cow;

use super::refusal::HttpRefusal;
use super::request::Upgrade;
use crate::base::ids::check_name;
use crate::base::limits::QUERY_PARAMETERS_MAX;

/// Reads the query into `upgrade`. An empty `token` counts as absent.
///
/// # Errors
/// 400 that names the parameter.
pub(super) fn read(query: &str, upgrade: &mut Upgrade) -> Result<(), HttpRefusal> {
    let mut refuse_as_close = None;
    for (at, parameter) in query.split('&').enumerate() {
        if at == QUERY_PARAMETERS_MAX {
            return Err(HttpRefusal::bad_request(format!("the query has more than {QUERY_PARAMETERS_MAX} parameters")));
        }
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match decode(name).as_deref() {
            Some("token") => set_once("token", &mut upgrade.token, text("token", value)?)?,
            Some("user") => set_once("user", &mut upgrade.user, name_text("user", value)?)?,
            Some("room") => upgrade.rooms.push(name_text("room", value)?),
            Some("last_received_seq") => {
                let seq = integer("last_received_seq", value)?;
                set_once("last_received_seq", &mut upgrade.last_received_seq, seq)?;
            }
            Some("refuse") => {
                let way = text("refuse", value)?;
                let as_close = if way == "close" {
                    Ok(true)
                } else {
                    Err(wrong("refuse", format!("must be `close`; got {way:?}")))
                };
                set_once("refuse", &mut refuse_as_close, as_close?)?;
            }
            Some("epoch") => set_once("epoch", &mut upgrade.epoch, text("epoch", value)?)?,
            _ => {}
        }
    }
    upgrade.refuse_as_close = refuse_as_close.unwrap_or_default();
    upgrade.token.take_if(|token| token.is_empty());
    if upgrade.last_received_seq.is_some() && upgrade.rooms.len() > 1 {
        return Err(wrong("last_received_seq", "must come with at most one `room`"));
    }
    Ok(())
}

fn wrong(parameter: &str, what: impl std::fmt::Display) -> HttpRefusal {
    HttpRefusal::bad_request(format!("parameter `{parameter}` {what}"))
}

fn set_once<T>(parameter: &str, place: &mut Option<T>, value: T) -> Result<(), HttpRefusal> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(wrong(parameter, "is given twice")),
    }
}

fn text(parameter: &str, value: &str) -> Result<String, HttpRefusal> {
    let decoded = decode(value).ok_or_else(|| wrong(parameter, "is not percent-encoded UTF-8"));
    decoded.map(Cow::into_owned)
}

fn name_text(parameter: &str, value: &str) -> Result<String, HttpRefusal> {
    let name = text(parameter, value)?;
    match check_name(&name) {
        Ok(()) => Ok(name),
        Err(error) => Err(wrong(parameter, error)),
    }
}

fn integer(parameter: &str, value: &str) -> Result<u64, HttpRefusal> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { value.parse().ok() } else { None };
    number.ok_or_else(|| wrong(parameter, "must be an integer of at least 0"))
}

/// Decodes percent-encoded text; `None` for `%` without two hex digits, and for bytes that are not UTF-8.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => (hex_digit(bytes.next()?)? << 4) | hex_digit(bytes.next()?)?,
            b'+' => b' ',
            _ => byte,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}
