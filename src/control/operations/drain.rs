//! `drain`: the planned stop of this server. Closes nothing itself.

use std::sync::Arc;

use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use super::catalogue::Catalogue;
use super::refused::{ErrorBody, Refused};
use super::state::Operations;

#[derive(OpenApi)]
#[openapi(paths(drain))]
struct Description;

/// Hands the operations of this file to `catalogue`.
pub(super) fn list(catalogue: &mut impl Catalogue) {
    catalogue.describe(Description::openapi());
    catalogue.without_input("drain", drain);
}

/// The server is on its way to its end
#[derive(Debug, Serialize, ToSchema)]
pub struct Draining {
    /// `draining`
    #[schema(example = "draining")]
    pub status: &'static str,
}

/// Begin the planned stop
///
/// As SIGTERM does: no new connections; those there are told to reconnect and closed over a while; then the process ends.
/// Asking again changes nothing, nor does the first signal after it; the second one ends the process at once.
#[utoipa::path(
    post, path = "/api/drain", tag = "server",
    responses(
        (status = 202, description = "It has begun", body = Draining),
        (status = "4XX", description = "The request must be another one", body = ErrorBody),
        (status = "5XX", description = "Not now", body = ErrorBody),
    )
)]
pub async fn drain(operations: Arc<Operations>) -> Result<Draining, Refused> {
    if !operations.begin_drain() {
        return Err(Refused::unavailable("the server is not listening to this now"));
    }
    tracing::info!("an operator drains");
    Ok(Draining { status: "draining" })
}
