//! What the control address can do, whatever protocol asks for it: each operation is an async function from a request to
//! an answer. Owns the meaning of requests and the way to the cores. Never sees a header, a status or a socket.
//!
//! An operation stands in one file with its request, its answer and its description; the file's `list` hands it to the
//! protocols that serve every operation ([`Catalogue`]). A new operation of rooms touches `rooms` alone.

mod caller;
mod catalogue;
mod connections;
mod drain;
mod field;
mod publish;
mod refused;
mod rooms;
mod state;

#[cfg(test)]
pub use self::caller::CALL_TIMEOUT;
pub use self::caller::CallCores;
pub use self::catalogue::Catalogue;
pub use self::field::room as read_room;
pub use self::refused::{Refused, RefusedCode};
pub use self::state::{OperationSettings, Operations};

/// Hands every operation to `catalogue`.
pub fn list(catalogue: &mut impl Catalogue) {
    publish::list(catalogue);
    rooms::list(catalogue);
    connections::list(catalogue);
    drain::list(catalogue);
}
