//! The HTTP API under `/api`: the operations of the control address over HTTP, for an application's backend and an
//! operator. Owns access, the reading of requests and the status of responses. Never calls a core: the operations do
//! ([`super::operations`]).

mod access;
mod guard;
mod input;
mod openapi;
mod routes;
mod status;
mod table;
#[cfg(test)]
mod tests;

pub use self::access::{Api, ApiSettings};
pub use self::guard::KEY_FIELD;
pub(super) use self::routes::router;
