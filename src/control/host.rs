//! The check of `Host` on every route, against DNS rebinding: a page of another site can make its own name resolve to this
//! address, but its requests still carry that name. Knows no route.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::HOST;
use axum::http::{HeaderMap, Uri, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::api::Api;
use super::operations::OperationError;
use crate::engine::hosts::AllowedHosts;
use crate::wire::handshake::host_of;

/// Passes requests for allowed hosts on.
pub async fn check(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let asked = authority(request.headers(), request.uri(), request.version());
    match asked {
        Err(message) => OperationError::bad(message).into_response(),
        Ok(Some(host)) if !api.allows(host) => OperationError::forbidden(AllowedHosts::refusal(host)).into_response(),
        Ok(_) => next.run(request).await,
    }
}

/// The host and port of a request, from its target or its `Host` (RFC 9112 section 3.2). `None` only for HTTP/1.0.
fn authority<'a>(headers: &'a HeaderMap, uri: &'a Uri, version: Version) -> Result<Option<&'a str>, &'static str> {
    const MALFORMED: &str = "the Host header must be a host name or an IP address, with or without a port";
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().map(|host| host.to_str().map_err(|_| MALFORMED)).transpose()?;
    if hosts.next().is_some() {
        return Err("the Host header must be given once");
    }
    if host.is_none() && version != Version::HTTP_10 {
        return Err("the Host header is missing");
    }
    let target = uri.authority().map(axum::http::uri::Authority::as_str);
    if [host, target].into_iter().flatten().any(|authority| host_of(authority).is_none()) {
        return Err(MALFORMED);
    }
    Ok(target.or(host))
}
