//! What is measured and how it is kept: counters, histograms, sequences, and the figures of the server's process.
//! Knows nothing of sockets or scenarios.

pub mod counters;
pub mod histogram;
pub mod host;
pub mod metrics;
pub mod pulse;
pub mod sequence;
