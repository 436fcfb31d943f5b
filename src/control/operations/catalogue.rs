//! The list of operations for protocols that serve all of them: each with its name, its description and the kind of its
//! input. Never says how a protocol encodes that input.

use std::future::Future;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::openapi::OpenApi;

use super::error::OperationError;
use super::state::Operations;
use crate::base::ids::RoomName;

/// Collects operations; implemented by a protocol that serves all of them.
///
/// An operation's name is its `operationId`. Its method, path and success status are those of its description, which must
/// come first.
pub trait Catalogue {
    /// Adds the description of the operations that follow.
    fn describe(&mut self, description: OpenApi);

    /// Adds an operation with named parameters. An unknown parameter is an error.
    fn with_query<Q, A, W>(&mut self, name: &str, run: fn(Arc<Operations>, Q) -> W)
    where
        Q: DeserializeOwned + Send + 'static,
        A: Serialize + 'static,
        W: Future<Output = Result<A, OperationError>> + Send + 'static;

    /// Adds an operation on one room, with named parameters.
    fn of_room<Q, A, W>(&mut self, name: &str, run: fn(Arc<Operations>, RoomName, Q) -> W)
    where
        Q: DeserializeOwned + Send + 'static,
        A: Serialize + 'static,
        W: Future<Output = Result<A, OperationError>> + Send + 'static;

    /// Adds an operation on something with a number, which its path ends with.
    fn of_number<A, W>(&mut self, name: &str, run: fn(Arc<Operations>, u64) -> W)
    where
        A: Serialize + 'static,
        W: Future<Output = Result<A, OperationError>> + Send + 'static;

    /// Adds an operation with a body. Unknown fields are ignored, as in commands of clients.
    fn with_body<B, A, W>(&mut self, name: &str, run: fn(Arc<Operations>, B) -> W)
    where
        B: DeserializeOwned + Send + 'static,
        A: Serialize + 'static,
        W: Future<Output = Result<A, OperationError>> + Send + 'static;

    /// Adds an operation without input.
    fn without_input<A, W>(&mut self, name: &str, run: fn(Arc<Operations>) -> W)
    where
        A: Serialize + 'static,
        W: Future<Output = Result<A, OperationError>> + Send + 'static;
}
