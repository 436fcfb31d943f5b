//! Results: what was measured, as values that `--json` keeps and `loadtest report` reads again. Shows nothing.

pub mod comparison;
pub mod document;
pub mod edge;
pub mod outcome;
pub mod storm;
pub mod suite;
