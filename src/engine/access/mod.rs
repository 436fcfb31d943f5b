//! Who may connect and what they may do: tokens (JWT, RFC 7519), verified with this server's keys. Values and pure functions.
//! Never fetches a key, reads a clock or remembers a token.
//!
//! `token` takes a token apart, `keys` verifies it, `claims` reads its claims, `grants` is what it allows, `denied` why it
//! was refused; `material` makes keys of files and key sets, `jwk` those of a set one by one, `verification_key` is one
//! key, and `algorithms` the algorithms that it verifies.

mod algorithms;
mod claims;
mod denied;
mod grants;
mod jwk;
mod keys;
mod material;
#[cfg(test)]
mod tests;
mod token;
mod verification_key;

pub use denied::{Cause, Denied};
pub use grants::{Allowed, Grants, Standing};
pub use keys::{Access, Candidates, Expected, Keys, Renewal, Which};
pub use material::{KeyError, Material, PassedOver};
pub use token::Token;
