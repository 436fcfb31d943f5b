//! Owns the commands: each runs by its options, prints its result, and returns whether the result is valid.

pub mod capacity;
pub mod compare;
pub mod edge;
pub mod grow;
pub mod keep;
pub mod single;
pub mod slow;
mod standard;
pub mod suite;
