//! The result of a suite: its parts, and each figure beside its target.

use serde::{Deserialize, Serialize};

use super::comparison::SlowComparison;
use super::outcome::Outcome;

/// The result of a suite.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SuiteResult {
    /// The server's name.
    pub server: String,
    /// Whether it ran for a quarter of the time.
    pub quick: bool,
    /// Its parts, in their order.
    pub parts: Vec<PartResult>,
}

/// The result of one part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PartResult {
    /// Its name.
    pub name: String,
    /// The command line that does the same.
    pub command: Vec<String>,
    /// Why it was not run, if so.
    pub skipped: Option<String>,
    /// Its figures.
    pub goals: Vec<GoalResult>,
    /// Its run; of `slow`, the run with stalled readers of the round that counts.
    pub run: Option<Box<Outcome>>,
    /// All rounds of `slow`.
    pub slow: Option<SlowComparison>,
}

/// One figure of a part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GoalResult {
    /// What it is.
    pub figure: String,
    /// Its value, in microseconds, nanoseconds, bytes or plain numbers.
    pub value: Option<f64>,
    /// The value as it is shown.
    pub shown: String,
    /// What it is to reach, as it is shown.
    pub target: Option<String>,
    /// Whether it does; `None` without a target or a value.
    pub met: Option<bool>,
}

impl SuiteResult {
    /// Whether every run can be believed, and there was one.
    #[must_use]
    pub fn valid(&self) -> bool {
        let mut runs = self.parts.iter().filter(|part| part.run.is_some()).peekable();
        runs.peek().is_some() && runs.all(|part| part.reasons().is_empty())
    }
}

impl PartResult {
    /// Why its runs cannot be believed.
    #[must_use]
    pub fn reasons(&self) -> Vec<&str> {
        let rounds = self.slow.iter().flat_map(|slow| &slow.rounds).flat_map(|round| [&round.without, &round.with]);
        let run = self.run.as_deref().filter(|_| self.slow.is_none());
        run.into_iter().chain(rounds).flat_map(|run| &run.verdict.reasons).map(String::as_str).collect()
    }
}
