//! Owns the scenarios: the actions and checks of clients. Each scenario is a [`Behavior`] of a fleet that follows the
//! phases of a run. Never opens sockets.

pub mod chat;
pub mod churn;
mod crowd;
pub mod durable;
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

/// A position this close to the head must be recoverable: half of the server's default history.
const RECOVERABLE: u64 = 500;

/// Time until a failed attempt is retried.
const RETRY_NS: u64 = 200_000_000;

/// A scenario in a worker.
pub trait Actor: Behavior {
    /// Enters a phase.
    fn enter(&mut self, fleet: &mut Fleet, phase: RunPhase, now: u64);
    /// Returns the findings at the end.
    fn finish(&mut self, fleet: &mut Fleet) -> Findings;
}

/// Findings of a scenario beyond its counters.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Findings {
    /// Histograms by name, encoded.
    pub histograms: BTreeMap<String, String>,
    /// Descriptions of errors.
    pub complaints: Vec<String>,
}

impl Findings {
    /// Adds a histogram with at least one value.
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
    /// Adds a complaint, if there are fewer than 20.
    pub fn add(&mut self, complaint: impl FnOnce() -> String) {
        if self.0.len() < 20 {
            self.0.push(complaint());
        }
    }

    /// Takes all complaints.
    pub fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.0)
    }
}
