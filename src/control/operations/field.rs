//! Checks of fields that several requests have: names, limits, keys, data. Every error names its field. Knows no
//! operation.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::error::OperationError;
use crate::base::ids::{NameError, RoomName, UserName};
use crate::base::limits::KEY_BYTES_MAX;
use crate::wire::publication::DataKind;

/// Entries in a page when the request gives no limit.
pub(super) const PAGE_DEFAULT: u32 = 100;

/// Entries in a listing by size when the request gives no limit.
pub(super) const TOP_DEFAULT: u32 = 10;

fn invalid_name(field: &str, error: NameError) -> OperationError {
    OperationError::bad(format!("`{field}` {error}"))
}

/// A valid room name.
pub fn room(field: &str, name: &str) -> Result<RoomName, OperationError> {
    RoomName::new(name).map_err(|error| invalid_name(field, error))
}

/// A valid user name.
pub(super) fn user(field: &str, name: &str) -> Result<UserName, OperationError> {
    UserName::new(name).map_err(|error| invalid_name(field, error))
}

/// A valid idempotency key, if there is one.
pub(super) fn key(key: Option<String>) -> Result<Option<Box<str>>, OperationError> {
    match key.as_deref().map_or(1, str::len) {
        0 => Err(OperationError::bad("`key` must not be empty")),
        1..=KEY_BYTES_MAX => Ok(key.map(String::into_boxed_str)),
        bytes => {
            Err(OperationError::too_large(format!("`key` has {bytes} bytes; it must have at most {KEY_BYTES_MAX}")))
        }
    }
}

/// The number of entries in a page, from 1 to `most`.
pub(super) fn limit(limit: Option<u64>, default: u32, most: u32) -> Result<u32, OperationError> {
    match limit {
        None => Ok(default),
        Some(limit) if (1..=u64::from(most)).contains(&limit) => Ok(limit as u32),
        Some(limit) => Err(OperationError::bad(format!("`limit` is {limit}; it must be from 1 to {most}"))),
    }
}

/// The data of a publish: the text of `data`, or the bytes that `data_b64` encodes.
pub(super) fn data(
    json: Option<Box<RawValue>>,
    base64: Option<String>,
    bytes_max: usize,
) -> Result<(DataKind, Bytes), OperationError> {
    let (kind, field, bytes) = match (json, base64) {
        (Some(json), None) => (DataKind::Json, "data", String::from(Box::<str>::from(json)).into_bytes()),
        (None, Some(text)) => {
            let invalid = |error| OperationError::bad(format!("`data_b64` is not base64: {error}"));
            (DataKind::Binary, "data_b64", STANDARD.decode(text).map_err(invalid)?)
        }
        (None, None) => return Err(OperationError::bad("`data` or `data_b64` is required")),
        (Some(_), Some(_)) => return Err(OperationError::bad("`data_b64` cannot be combined with `data`")),
    };
    if bytes.len() > bytes_max {
        let bytes = bytes.len();
        let message = format!("`{field}` has {bytes} bytes; server.max_message_bytes allows {bytes_max}");
        return Err(OperationError::too_large(message));
    }
    Ok((kind, Bytes::from(bytes)))
}

/// Reads a JSON value; `null` counts as one, only a missing field is `None`.
pub(super) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}
