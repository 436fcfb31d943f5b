//! Reading requests: the JSON body, the query, the room in the path. Every error is one sentence that names the field.
//! Knows no operation.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use http_body_util::LengthLimitError;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::access::Api;
use crate::base::ids::RoomName;
use crate::control::operations::{OperationError, OperationErrorCode, read_room};

/// A body must arrive within this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A JSON body. Unknown fields are ignored, as in commands of clients.
pub(super) struct JsonBody<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for JsonBody<T> {
    type Rejection = OperationError;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, OperationError> {
        let most = api.body_bytes_max();
        let announced = content_length(request.headers()).unwrap_or(most);
        let too_large = || OperationError::too_large(format!("the body must have at most {most} bytes"));
        if announced > most {
            return Err(too_large());
        }
        let _memory = api.reserve_body(announced)?;
        let late = |_| OperationError::new(OperationErrorCode::RequestTimeout, "the body did not arrive in time");
        let body = timeout(BODY_TIMEOUT, to_bytes(request.into_body(), announced)).await.map_err(late)?;
        let body = body.map_err(|error| match std::error::Error::source(&error) {
            Some(source) if source.is::<LengthLimitError>() => too_large(),
            // Malformed framing, or the stream ended early.
            _ => OperationError::bad("the body is incomplete, or its chunks are malformed"),
        })?;
        read(&body).map(JsonBody)
    }
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get("content-length")?.to_str().ok()?.parse().ok()
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, OperationError> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        match path.as_str() {
            "." | "?" => OperationError::bad(format!("invalid body: {inner}")),
            path => OperationError::bad(format!("`{path}`: {inner}")),
        }
    })?;
    reader.end().map_err(|error| OperationError::bad(format!("the body must be one JSON object: {error}")))?;
    Ok(value)
}

/// The query. Unknown parameters are errors.
pub(super) struct QueryParameters<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Api>> for QueryParameters<T> {
    type Rejection = OperationError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<Self, OperationError> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(query)) => Ok(QueryParameters(query)),
            Err(rejection) => {
                let text = rejection.body_text();
                let error = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
                Err(OperationError::bad(format!("invalid query: {error}")))
            }
        }
    }
}

/// The room in the path, percent-decoded and valid.
pub(super) struct RoomInPath(pub RoomName);

impl FromRequestParts<Arc<Api>> for RoomInPath {
    type Rejection = OperationError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, OperationError> {
        let Path(name) = Path::<String>::from_request_parts(parts, api)
            .await
            .map_err(|_| OperationError::bad("the room in the path must be percent-encoded UTF-8"))?;
        read_room("room", &name).map(RoomInPath)
    }
}

/// The number at the end of the path.
pub(super) struct NumberInPath(pub u64);

impl FromRequestParts<Arc<Api>> for NumberInPath {
    type Rejection = OperationError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, OperationError> {
        let number = Path::<u64>::from_request_parts(parts, api).await;
        number.map(|Path(number)| NumberInPath(number)).map_err(|_| {
            let last = parts.uri.path().rsplit('/').next().unwrap_or_default();
            OperationError::bad(format!("the path must end with a number; it ends with {last:?}"))
        })
    }
}
