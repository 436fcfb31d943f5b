//! The store: keeps rooms beyond memory and beyond the process. Beside `control`; speaks the values of
//! [`crate::engine::store_port`].
//!
//! ```text
//! cores ⇄ keeper (thread) ── groups of changes ──► log (thread): append, fdatasync
//!            ▲  │                                      │ committed groups, in order
//!            │  └── reads, behind what they must see ──▼
//!            └──────────── answers ────────────── index (thread): state over tables
//! ```
//!
//! - A [`change::Change`] is one thing that a core asks to be kept. Changes are made durable by the [`log`], and carried out
//!   after that, in the order of the log, by the [`state`], which keeps everything in [`tables`]: the same changes in the same
//!   order always give the same state, so the state may be behind, or lost, and is made again from the log.
//! - What is asked and changes nothing is read from the state, once everything that the same core had asked before is in it.

pub mod change;
pub mod check;
pub mod codec;
#[cfg(test)]
mod conformance;
pub mod fault_log;
pub mod figures;
pub mod group;
pub mod index_copy;
pub mod index_thread;
pub mod keeper;
pub mod keeper_thread;
pub mod log;
pub mod log_thread;
pub mod messages;
pub mod open;
#[cfg(test)]
#[path = "../../tests/support/random.rs"]
#[allow(clippy::duplicate_mod, reason = "all tests share it, and those of another floor cannot import it from here")]
mod random;
pub mod reopen;
pub mod state;
pub mod tables;
pub mod threads;
pub mod transfer;
