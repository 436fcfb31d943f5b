//! What clients do and check. Each scenario is a [`Behavior`] of a fleet that follows the phases of a run.

pub mod churn;
mod crowd;
pub mod echo;
pub mod fanout;
mod flights;
pub mod idle;
pub mod mixed;
mod schedule;
pub mod soak;
pub mod storm;
#[cfg(test)]
pub mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fleet::{Behavior, Fleet};
use crate::measure::histogram::Durations;
use crate::plan::RunPhase;

/// A position this close to the head must be recoverable: half of what the server holds by default.
const RECOVERABLE: u64 = 500;

/// A failed attempt is repeated after this.
const RETRY_NS: u64 = 200_000_000;

/// A scenario in a worker.
pub trait Actor: Behavior {
    /// The parent wants another phase.
    fn enter(&mut self, fleet: &mut Fleet, phase: RunPhase, now: u64);
    /// The histograms, and whatever else is to be said, at the end.
    fn finish(&mut self, fleet: &mut Fleet) -> Findings;
}

/// What a scenario found, beside the counters.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Findings {
    /// Histograms by name, encoded.
    pub histograms: BTreeMap<String, String>,
    /// Plain sentences about what went wrong; the first few of each kind.
    pub complaints: Vec<String>,
}

impl Findings {
    /// Adds a histogram, if anything was recorded in it.
    pub fn add(&mut self, name: &str, durations: &Durations) {
        if durations.count() > 0 {
            self.histograms.insert(name.to_owned(), durations.encode());
        }
    }
}

/// A bounded list of complaints.
#[derive(Debug, Default)]
pub struct Complaints(Vec<String>);

impl Complaints {
    /// Keeps the first 20.
    pub fn add(&mut self, complaint: impl FnOnce() -> String) {
        if self.0.len() < 20 {
            self.0.push(complaint());
        }
    }

    /// All of them.
    pub fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.0)
    }
}
