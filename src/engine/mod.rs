//! Floor 2: one core's whole state, sans-IO and deterministic. Time and randomness come in as arguments; bytes, hops and
//! events go in, an [`output::Output`] comes out. Never reads a clock, never touches a socket, never waits.

pub mod budget;
pub mod hop;
pub mod input;
pub mod outbound;
pub mod output;
pub mod owner;
pub mod placement;
pub mod settings;
