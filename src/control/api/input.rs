//! What a request says: its JSON body, its query, the room of its path. Every mistake is one sentence that names the field.

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
use crate::control::operations::{Refused, RefusedCode, read_room};

/// A body must have come by then.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A JSON body. Unknown fields are ignored, as in commands of clients.
pub(super) struct JsonBody<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for JsonBody<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Refused> {
        let most = api.body_bytes_max();
        let announced = content_length(request.headers()).unwrap_or(most);
        let too_large = || Refused::too_large(format!("the body is larger than {most} bytes"));
        if announced > most {
            return Err(too_large());
        }
        let _place = api.reserve_body(announced)?;
        let late = |_| Refused::new(RefusedCode::RequestTimeout, "the body did not come in time");
        let body = timeout(BODY_TIMEOUT, to_bytes(request.into_body(), announced)).await.map_err(late)?;
        let body = body.map_err(|error| match std::error::Error::source(&error) {
            Some(source) if source.is::<LengthLimitError>() => too_large(),
            // Framing that is no HTTP, or an end before the end.
            _ => Refused::bad("the body is incomplete, or its chunks are malformed"),
        })?;
        read(&body).map(JsonBody)
    }
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get("content-length")?.to_str().ok()?.parse().ok()
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refused> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        match path.as_str() {
            "." | "?" => Refused::bad(format!("the body is not what is expected: {inner}")),
            path => Refused::bad(format!("`{path}`: {inner}")),
        }
    })?;
    reader.end().map_err(|error| Refused::bad(format!("the body is not one JSON object: {error}")))?;
    Ok(value)
}

/// The query. Unknown parameters are mistakes: nobody else adds any.
pub(super) struct QueryParameters<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Api>> for QueryParameters<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<Self, Refused> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(query)) => Ok(QueryParameters(query)),
            Err(rejection) => {
                let text = rejection.body_text();
                let what = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
                Err(Refused::bad(format!("the query is wrong: {what}")))
            }
        }
    }
}

/// The room in the path, percent-decoded and checked.
pub(super) struct RoomInPath(pub RoomName);

impl FromRequestParts<Arc<Api>> for RoomInPath {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Refused> {
        let Path(name) = Path::<String>::from_request_parts(parts, api)
            .await
            .map_err(|_| Refused::bad("the room in the path is not percent-encoded UTF-8"))?;
        read_room("room", &name).map(RoomInPath)
    }
}
