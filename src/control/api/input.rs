//! What a request says: its JSON body, its query, the room of its path. Every mistake is one sentence that names the field.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::LengthLimitError;
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::Api;
use super::refusal::Refusal;
use crate::base::ids::{NameError, RoomName, UserName};
use crate::base::limits::KEY_BYTES_MAX;
use crate::wire::publication::DataKind;

/// A body must have come by then.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a body beside its data, with 1,000 room names as long as they can be.
const BESIDE_DATA_BYTES: usize = 1 << 20;

/// Bytes of the bodies that are being read or worked on, together; at least two of the largest.
const BODIES_BYTES_MAX: usize = 64 << 20;

/// Bytes of a body in which there can be data of `message_bytes_max`.
pub(super) fn body_bytes_max(message_bytes_max: usize) -> usize {
    // Base64 is the longest form of data.
    message_bytes_max.div_ceil(3) * 4 + BESIDE_DATA_BYTES
}

/// Bytes of all bodies together.
pub(super) fn bodies_bytes_max(message_bytes_max: usize) -> usize {
    BODIES_BYTES_MAX.max(2 * body_bytes_max(message_bytes_max))
}

/// A JSON body. Unknown fields are ignored, as in commands of clients.
pub(super) struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Refusal> {
        let most = body_bytes_max(api.settings.max_message_bytes);
        let announced = content_length(request.headers()).unwrap_or(most);
        let too_large = || Refusal::too_large(format!("the body is larger than {most} bytes"));
        if announced > most {
            return Err(too_large());
        }
        let kib = u32::try_from(announced.div_ceil(1_024)).expect("the largest body is far below 4 TiB");
        let _place = api.bodies.try_acquire_many(kib).map_err(|_| {
            let message = "the bodies of other requests take all the memory there is for them";
            Refusal::unavailable(crate::base::codes::ErrorCode::Overloaded, message)
        })?;
        let late = |_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the body did not come in time");
        let body = timeout(BODY_TIMEOUT, to_bytes(request.into_body(), announced)).await.map_err(late)?;
        let body = body.map_err(|error| match std::error::Error::source(&error) {
            Some(source) if source.is::<LengthLimitError>() => too_large(),
            // Framing that is no HTTP, or an end before the end.
            _ => Refusal::bad("the body is incomplete, or its chunks are malformed"),
        })?;
        read(&body).map(Body)
    }
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get("content-length")?.to_str().ok()?.parse().ok()
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        match path.as_str() {
            "." | "?" => Refusal::bad(format!("the body is not what is expected: {inner}")),
            path => Refusal::bad(format!("`{path}`: {inner}")),
        }
    })?;
    reader.end().map_err(|error| Refusal::bad(format!("the body is not one JSON object: {error}")))?;
    Ok(value)
}

/// The query. Unknown parameters are mistakes: nobody else adds any.
pub(super) struct Params<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Api>> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<Self, Refusal> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(query)) => Ok(Params(query)),
            Err(rejection) => {
                let text = rejection.body_text();
                let what = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
                Err(Refusal::bad(format!("the query is wrong: {what}")))
            }
        }
    }
}

/// The room in the path, percent-decoded and checked.
pub(super) struct RoomPath(pub RoomName);

impl FromRequestParts<Arc<Api>> for RoomPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Refusal> {
        let Path(name) = Path::<String>::from_request_parts(parts, api)
            .await
            .map_err(|_| Refusal::bad("the room in the path is not percent-encoded UTF-8"))?;
        room("room", &name).map(RoomPath)
    }
}

fn wrong_name(field: &str, error: NameError) -> Refusal {
    Refusal::bad(format!("`{field}` {error}"))
}

/// A checked room name.
pub(super) fn room(field: &str, name: &str) -> Result<RoomName, Refusal> {
    RoomName::new(name).map_err(|error| wrong_name(field, error))
}

/// A checked user name.
pub(super) fn user(field: &str, name: &str) -> Result<UserName, Refusal> {
    UserName::new(name).map_err(|error| wrong_name(field, error))
}

/// A checked idempotency key.
pub(super) fn key(key: Option<String>) -> Result<Option<Box<str>>, Refusal> {
    match key.as_deref().map_or(1, str::len) {
        0 => Err(Refusal::bad("`key` must not be empty")),
        1..=KEY_BYTES_MAX => Ok(key.map(String::into_boxed_str)),
        _ => Err(Refusal::too_large(format!("`key` must be at most {KEY_BYTES_MAX} bytes"))),
    }
}

/// How many are wanted, from 1 to `most`.
pub(super) fn limit(limit: Option<u64>, usual: u32, most: u32) -> Result<u32, Refusal> {
    match limit {
        None => Ok(usual),
        Some(limit) if (1..=u64::from(most)).contains(&limit) => Ok(limit as u32),
        Some(_) => Err(Refusal::bad(format!("`limit` must be from 1 to {most}"))),
    }
}

/// The data of a publish: JSON as it was written, or bytes in base64.
pub(super) fn data(
    json: Option<Box<RawValue>>,
    base64: Option<String>,
    bytes_max: usize,
) -> Result<(DataKind, Bytes), Refusal> {
    let (kind, field, bytes) = match (json, base64) {
        (Some(json), None) => (DataKind::Json, "data", String::from(Box::<str>::from(json)).into_bytes()),
        (None, Some(text)) => {
            let wrong = |error| Refusal::bad(format!("`data_b64` is not base64: {error}"));
            (DataKind::Binary, "data_b64", STANDARD.decode(text).map_err(wrong)?)
        }
        (None, None) => return Err(Refusal::bad("`data` is missing")),
        (Some(_), Some(_)) => return Err(Refusal::bad("`data_b64` must not come together with `data`")),
    };
    if bytes.len() > bytes_max {
        return Err(Refusal::too_large(format!("`{field}` is larger than server.max_message_bytes, {bytes_max}")));
    }
    Ok((kind, Bytes::from(bytes)))
}

/// Reads a value that is there, `null` included.
pub(super) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}
