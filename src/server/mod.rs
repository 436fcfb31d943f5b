//! Floor 4: assembly. Command line, configuration, logs, start and end of the process.

pub mod args;
pub mod config;
pub mod drain;
pub mod log;
