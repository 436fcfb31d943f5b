//! The accounts of this server (`auth.mode = "accounts"`): users with passwords, which the store keeps, and the tokens that
//! they get for them. Answers the cores' requests and the operator's. Never touches a socket, and never verifies a token:
//! the cores do, as in mode `jwt`.
//!
//! `desk` answers, with `failures` for wrong passwords, `hasher` for hashes on a thread of their own, and `signer` for
//! tokens; `figures` counts, `settings` is what `[accounts]` says.

mod desk;
mod failures;
mod figures;
mod hasher;
mod managed;
mod settings;
mod signer;
#[cfg(test)]
mod tests;

pub use self::desk::{AccountLanes, Accounts};
pub use self::settings::AccountSettings;
