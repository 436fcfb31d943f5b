//! The list of operations as a protocol takes it: each with its name, its description and how its input is written.
//! Never says how that input is read.

use std::future::Future;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::openapi::OpenApi;

use super::refused::Refused;
use super::state::Operations;
use crate::base::ids::RoomName;

/// Takes the list of operations; implemented by a protocol that serves all of them in one manner.
///
/// Operations are named by their `operationId`. Their method, path and success status are those of the description, which
/// comes first, so that nothing is said twice.
pub trait Catalogue {
    /// Describes the operations that follow.
    fn describe(&mut self, description: OpenApi);

    /// An operation with named parameters; one that it does not know is a mistake.
    fn with_query<Q, A, W>(&mut self, name: &str, run: fn(Arc<Operations>, Q) -> W)
    where
        Q: DeserializeOwned + Send + 'static,
        A: Serialize + 'static,
        W: Future<Output = Result<A, Refused>> + Send + 'static;

    /// An operation on one room, with named parameters.
    fn of_room<Q, A, W>(&mut self, name: &str, run: fn(Arc<Operations>, RoomName, Q) -> W)
    where
        Q: DeserializeOwned + Send + 'static,
        A: Serialize + 'static,
        W: Future<Output = Result<A, Refused>> + Send + 'static;

    /// An operation with a body; fields that it does not know are ignored, as in commands of clients.
    fn with_body<B, A, W>(&mut self, name: &str, run: fn(Arc<Operations>, B) -> W)
    where
        B: DeserializeOwned + Send + 'static,
        A: Serialize + 'static,
        W: Future<Output = Result<A, Refused>> + Send + 'static;

    /// An operation that reads nothing.
    fn without_input<A, W>(&mut self, name: &str, run: fn(Arc<Operations>) -> W)
    where
        A: Serialize + 'static,
        W: Future<Output = Result<A, Refused>> + Send + 'static;
}
