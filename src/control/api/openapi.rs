//! The frame of the OpenAPI 3.1 description. Operations describe themselves, by the types that read and write their
//! requests and responses. Names no operation.

use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Roomring control API",
        description = "Server-side operations for application backends and operators. Responses with a status of 400 or \
                       above have the body `{\"error\", \"message\"}`; with 429 and 503, `Retry-After` says when to try \
                       again. The `Host` of a request must be the IP address of the control address, a loopback name \
                       or a host of `server.allowed_hosts` (else 403). Times are Unix milliseconds.",
    ),
    modifiers(&ApiKeyScheme),
    security((), ("key" = [])),
)]
struct ApiDescription;

/// Requests need the key if the server has one.
struct ApiKeyScheme;

impl Modify for ApiKeyScheme {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let value = ApiKeyValue::with_description("X-API-Key", "The value of control.api_key, if it is set");
        let scheme = SecurityScheme::ApiKey(ApiKey::Header(value));
        openapi.components.get_or_insert_default().add_security_scheme("key", scheme);
    }
}

/// The description without its operations.
pub(super) fn frame() -> utoipa::openapi::OpenApi {
    ApiDescription::openapi()
}
