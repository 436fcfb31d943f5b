//! Ordered tables of bytes, in which the state keeps everything. Knows no room and no record.
//!
//! `rows` says what tables can do, `table` lists them, `write_set` gathers what one commit changes and reads through it,
//! `memory` keeps them in memory and `disk` on disk, by fjall. `error` says what may fail, and what helps.

pub mod disk;
pub mod error;
pub mod memory;
pub mod rows;
pub mod table;
#[cfg(test)]
mod tests;
pub mod write_set;
