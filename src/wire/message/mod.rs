//! Decodes a client's bytes into WebSocket messages: incrementally, in place, and failing at the first wrong byte (RFC 6455
//! sections 5 and 8.1). Holds memory only while a message is incomplete. Never allocates for bytes that have not arrived.
//!
//! `decoder` finds messages in the input, `header` reads one frame's header, `unfinished` keeps what is incomplete,
//! `assembly` joins the fragments of a data message, `event` is a complete message, `error` a violation.

mod assembly;
mod decoder;
mod error;
mod event;
mod header;
#[cfg(test)]
mod tests;
mod unfinished;

pub use decoder::Decoder;
pub use error::ProtocolError;
pub use event::{Decoded, Event};
