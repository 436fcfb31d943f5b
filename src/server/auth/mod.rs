//! The keys that tokens are verified with, as an operator gives them: a secret, a PEM file, a key set in a file or at an
//! address. Read at the start, on SIGHUP, and the key set again while serving. Never verifies a token: the cores do.

mod fetch;
mod files;
mod keeper;
mod schedule;
mod settings;

pub use self::keeper::{Keeper, KeySetState, Reloads};
pub use self::settings::{AuthMistake, AuthSettings};
