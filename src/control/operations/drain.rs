//! `drain`: the planned stop of this server. Hands the request to the service thread; closes no connection itself.

use std::sync::Arc;

use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use super::catalogue::Catalogue;
use super::error::{ErrorBody, OperationError};
use super::state::Operations;

#[derive(OpenApi)]
#[openapi(paths(drain))]
struct DrainDescription;

/// Adds the operations of this file to `catalogue`.
pub(super) fn list(catalogue: &mut impl Catalogue) {
    catalogue.describe(DrainDescription::openapi());
    catalogue.without_input("drain", drain);
}

/// The drain has started
#[derive(Debug, Serialize, ToSchema)]
pub struct Draining {
    /// `draining`
    #[schema(example = "draining")]
    pub status: &'static str,
}

/// Drain the server
///
/// Like SIGTERM: the server accepts no new connections, tells clients to reconnect, closes their connections over a while,
/// and exits. Repeating the request changes nothing, and neither does the first signal after it; a second signal ends the
/// process at once.
#[utoipa::path(
    post, path = "/api/drain", tag = "server",
    responses(
        (status = 202, description = "The drain has started", body = Draining),
        (status = "4XX", description = "Invalid request", body = ErrorBody),
        (status = "5XX", description = "Temporarily unavailable", body = ErrorBody),
    )
)]
pub async fn drain(operations: Arc<Operations>) -> Result<Draining, OperationError> {
    if !operations.start_drain() {
        return Err(OperationError::unavailable("the request could not be queued; try again"));
    }
    tracing::info!("drain requested through the control address");
    Ok(Draining { status: "draining" })
}
