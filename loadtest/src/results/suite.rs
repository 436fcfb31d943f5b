//! Owns the result of a suite: its parts, with figures and targets. Never shows it.

use serde::{Deserialize, Serialize};

use super::comparison::SlowComparison;
use super::outcome::Outcome;

/// The result of a suite.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SuiteResult {
    /// The server's name.
    pub server: String,
    /// Whether it was a quick suite.
    pub quick: bool,
    /// Its parts, in order.
    pub parts: Vec<PartResult>,
}

/// The result of one part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PartResult {
    /// Its name.
    pub name: String,
    /// The equivalent command line.
    pub command: Vec<String>,
    /// The reason why it was skipped, if it was.
    pub skipped: Option<String>,
    /// Its figures.
    pub goals: Vec<GoalResult>,
    /// Its run. For `slow`, the run with stalled readers of the median round.
    pub run: Option<Box<Outcome>>,
    /// All rounds of `slow`.
    pub slow: Option<SlowComparison>,
}

/// One figure of a part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GoalResult {
    /// Its name.
    pub figure: String,
    /// Its value, in microseconds, nanoseconds, bytes or without unit.
    pub value: Option<f64>,
    /// The value as text.
    pub shown: String,
    /// The target as text.
    pub target: Option<String>,
    /// Whether the value meets the target; `None` without a target or value.
    pub met: Option<bool>,
}

impl SuiteResult {
    /// Whether there are runs and all are valid.
    #[must_use]
    pub fn valid(&self) -> bool {
        let mut runs = self.parts.iter().filter(|part| part.run.is_some()).peekable();
        runs.peek().is_some() && runs.all(|part| part.reasons().is_empty())
    }
}

impl PartResult {
    /// Reasons why its runs are invalid.
    #[must_use]
    pub fn reasons(&self) -> Vec<&str> {
        let rounds = self.slow.iter().flat_map(|slow| &slow.rounds).flat_map(|round| [&round.without, &round.with]);
        let run = self.run.as_deref().filter(|_| self.slow.is_none());
        run.into_iter().chain(rounds).flat_map(|run| &run.verdict.reasons).map(String::as_str).collect()
    }
}
