//! Rooms, accounts and dead letters as JSON lines: out of a store, and into one. For directories that no server uses.
//!
//! ```text
//! state ──► export ──► lines ──► order: each line where it belongs ──► import ──► changes: log, then state
//! ```
//!
//! An export begins with a `header` and ends with an `end` that counts the lines before it. Between them each `room` is followed
//! by its `member`, `invite`, `receipt` and `record` lines, and the rooms are followed by `account` and `dead_letter` lines.
//! Rooms are in the order of their names, and so are members, receipts and accounts; records are in the order of their
//! numbers. So an import can check a whole file without keeping it in memory.

pub mod error;
pub mod export;
pub mod import;
pub mod lines;
pub mod order;
#[cfg(test)]
mod tests;
