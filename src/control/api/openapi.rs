//! The description of the HTTP API, OpenAPI 3.1, before its operations, which describe themselves by the types that read and
//! write their requests and answers.

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
    modifiers(&ApiKeyScheme),
    security((), ("key" = [])),
)]
struct Frame;

/// The key is needed where the server has one.
struct ApiKeyScheme;

impl Modify for ApiKeyScheme {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let value = ApiKeyValue::with_description("X-API-Key", "control.api_key of the configuration, where it is set");
        let scheme = SecurityScheme::ApiKey(ApiKey::Header(value));
        openapi.components.get_or_insert_default().add_security_scheme("key", scheme);
    }
}

/// The description without its operations.
pub(super) fn frame() -> utoipa::openapi::OpenApi {
    Frame::openapi()
}
