//! The JSON form (PROTOCOL sections 2 and 3): reads commands, writes messages. Keeps no state.

mod fields;
mod positions;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use read::{ID_MAX, parse_command};
pub(super) use write::Json;
