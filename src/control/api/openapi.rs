//! The description of the HTTP API, OpenAPI 3.1: made of the same types that read and write its requests and answers.

use std::sync::LazyLock;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Roomring control API",
        description = "What an application's backend and an operator have the server do. Every answer from 400 on is \
                       `{\"error\", \"message\"}`; 429 and 503 say in `Retry-After` when to try again. \
                       Requests must ask for the control address by its IP address, a loopback name or a host of \
                       `server.allowed_hosts` (else 403). Every time is Unix milliseconds.",
    ),
    paths(
        super::publish::publish,
        super::publish::broadcast,
        super::rooms::rooms,
        super::rooms::room,
        super::rooms::members,
        super::rooms::history,
        super::connections::connections,
        super::connections::disconnect,
        super::connections::kick,
        super::drain,
    ),
    components(schemas(super::rooms::Message)),
    modifiers(&Key),
    security((), ("key" = [])),
)]
struct Description;

/// The key is needed where the server has one.
struct Key;

impl Modify for Key {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let value = ApiKeyValue::with_description("X-API-Key", "control.api_key of the configuration, where it is set");
        let scheme = SecurityScheme::ApiKey(ApiKey::Header(value));
        openapi.components.get_or_insert_default().add_security_scheme("key", scheme);
    }
}

static TEXT: LazyLock<String> =
    LazyLock::new(|| Description::openapi().to_json().expect("the description is plain values"));

/// `GET /api/openapi.json`. Needs no key: it says what can be asked, and nothing of this server.
pub(super) async fn serve() -> Response {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-cache")], TEXT.as_str()).into_response()
}
