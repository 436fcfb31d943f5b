//! Results as serializable values, which `--json` saves and `loadtest report` reads. Never shows anything.

pub mod comparison;
pub mod document;
pub mod durable;
pub mod edge;
pub mod outcome;
pub mod storm;
pub mod suite;
