//! Owns measurements: counters, histograms, sequences, and figures of the server's process. Never knows sockets of
//! clients or scenarios.

pub mod counters;
pub mod histogram;
pub mod host;
pub mod metrics;
pub mod pulse;
pub mod sequence;
pub mod threads;
