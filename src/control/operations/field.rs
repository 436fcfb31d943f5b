//! The fields that several requests have, checked: names, limits, keys, data. Every mistake names its field.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::refused::Refused;
use crate::base::ids::{NameError, RoomName, UserName};
use crate::base::limits::KEY_BYTES_MAX;
use crate::wire::publication::DataKind;

/// Rooms or connections of a page where the request does not say.
pub(super) const PAGE_USUAL: u32 = 100;

/// Rooms or connections of a listing by size where the request does not say.
pub(super) const TOP_USUAL: u32 = 10;

fn wrong_name(field: &str, error: NameError) -> Refused {
    Refused::bad(format!("`{field}` {error}"))
}

/// A checked room name.
pub fn room(field: &str, name: &str) -> Result<RoomName, Refused> {
    RoomName::new(name).map_err(|error| wrong_name(field, error))
}

/// A checked user name.
pub(super) fn user(field: &str, name: &str) -> Result<UserName, Refused> {
    UserName::new(name).map_err(|error| wrong_name(field, error))
}

/// A checked idempotency key.
pub(super) fn key(key: Option<String>) -> Result<Option<Box<str>>, Refused> {
    match key.as_deref().map_or(1, str::len) {
        0 => Err(Refused::bad("`key` must not be empty")),
        1..=KEY_BYTES_MAX => Ok(key.map(String::into_boxed_str)),
        _ => Err(Refused::too_large(format!("`key` must be at most {KEY_BYTES_MAX} bytes"))),
    }
}

/// The length of a page, from 1 to `most`.
pub(super) fn limit(limit: Option<u64>, usual: u32, most: u32) -> Result<u32, Refused> {
    match limit {
        None => Ok(usual),
        Some(limit) if (1..=u64::from(most)).contains(&limit) => Ok(limit as u32),
        Some(_) => Err(Refused::bad(format!("`limit` must be from 1 to {most}"))),
    }
}

/// The data of a publish: JSON as it was written, or bytes in base64.
pub(super) fn data(
    json: Option<Box<RawValue>>,
    base64: Option<String>,
    bytes_max: usize,
) -> Result<(DataKind, Bytes), Refused> {
    let (kind, field, bytes) = match (json, base64) {
        (Some(json), None) => (DataKind::Json, "data", String::from(Box::<str>::from(json)).into_bytes()),
        (None, Some(text)) => {
            let wrong = |error| Refused::bad(format!("`data_b64` is not base64: {error}"));
            (DataKind::Binary, "data_b64", STANDARD.decode(text).map_err(wrong)?)
        }
        (None, None) => return Err(Refused::bad("`data` is missing")),
        (Some(_), Some(_)) => return Err(Refused::bad("`data_b64` must not come together with `data`")),
    };
    if bytes.len() > bytes_max {
        return Err(Refused::too_large(format!("`{field}` is larger than server.max_message_bytes, {bytes_max}")));
    }
    Ok((kind, Bytes::from(bytes)))
}

/// Reads a value that is there, `null` included.
pub(super) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}
