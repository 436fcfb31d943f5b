//! The HTTP API under `/api`: the operations of the control address over HTTP, for an application's backend and an
//! operator. Owns who may ask, how requests are read and which status an answer has. Never asks a core itself: that is
//! the work of [`super::operations`].

mod access;
mod guard;
mod input;
mod openapi;
mod refusal;
mod routes;
mod table;
#[cfg(test)]
mod tests;

pub use self::access::{Api, ApiSettings};
pub use self::guard::KEY_FIELD;
pub(super) use self::routes::router;
