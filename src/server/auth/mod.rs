//! The keys that verify tokens: a secret, a PEM file, a key set in a file or at a URL. Reads them at the start and on
//! SIGHUP, and the key set periodically. Never verifies a token: the cores do.

mod fetch;
mod files;
mod keeper;
mod schedule;
mod settings;

pub use self::keeper::{Keeper, KeySetState, Reloads, send_keys};
pub use self::settings::{AuthMistake, AuthSettings};
