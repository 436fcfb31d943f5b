//! Which host a request asks for, checked on every route: a page of another site can have its own name resolve to this
//! address (DNS rebinding), but cannot ask for it by another name than its own.

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

/// Lets requests pass that ask for an allowed host.
pub async fn check(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let asked = authority(request.headers(), request.uri(), request.version());
    match asked {
        Err(message) => OperationError::bad(message).into_response(),
        Ok(Some(host)) if !api.allows(host) => OperationError::forbidden(AllowedHosts::refusal(host)).into_response(),
        Ok(_) => next.run(request).await,
    }
}

/// The host with its port, by the request's target or its `Host` (RFC 9112 section 3.2). `None` only for HTTP/1.0.
fn authority<'a>(headers: &'a HeaderMap, uri: &'a Uri, version: Version) -> Result<Option<&'a str>, &'static str> {
    const MALFORMED: &str = "header Host must be a host name or an IP address, with or without a port";
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().map(|host| host.to_str().map_err(|_| MALFORMED)).transpose()?;
    if hosts.next().is_some() {
        return Err("header Host is given twice");
    }
    if host.is_none() && version != Version::HTTP_10 {
        return Err("header Host is missing");
    }
    let target = uri.authority().map(axum::http::uri::Authority::as_str);
    if [host, target].into_iter().flatten().any(|authority| host_of(authority).is_none()) {
        return Err(MALFORMED);
    }
    Ok(target.or(host))
}
