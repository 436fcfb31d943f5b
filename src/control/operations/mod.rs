//! The operations of the control address, independent of the protocol: each is an async function from a request to a
//! response. Owns the meaning of requests and the calls to the cores. Never sees a header, a status or a socket.
//!
//! One file holds an operation's request, response and description, and its `list` adds the operation to the catalogues of
//! the protocols that serve every operation ([`Catalogue`]). A new operation on rooms touches `rooms` alone.

mod account_manager;
mod accounts;
mod administration;
mod caller;
mod catalogue;
mod connections;
mod dead_letter_manager;
mod dead_letters;
mod drain;
mod error;
mod field;
mod publish;
mod rooms;
mod state;

pub use self::account_manager::{ListedAccount, ManageAccounts, Managed};
#[cfg(test)]
pub use self::caller::CALL_TIMEOUT;
pub use self::caller::CallCores;
pub use self::catalogue::Catalogue;
pub use self::dead_letter_manager::ManageDeadLetters;
pub use self::error::{OperationError, OperationErrorCode};
pub use self::field::room as read_room;
pub use self::state::{OperationSettings, Operations};

/// Adds every operation to `catalogue`.
pub fn list(catalogue: &mut impl Catalogue) {
    publish::list(catalogue);
    rooms::list(catalogue);
    administration::list(catalogue);
    connections::list(catalogue);
    accounts::list(catalogue);
    dead_letters::list(catalogue);
    drain::list(catalogue);
}
