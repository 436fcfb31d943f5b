//! Owns results of several runs: of servers, of values of an option, with and without stalled readers. Never shows
//! them.

use serde::{Deserialize, Serialize};

use super::outcome::Outcome;
use crate::edge::Edge;

/// Several servers under one scenario.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// The servers; ratios are relative to the first.
    pub servers: Vec<Compared>,
}

/// One server of a comparison.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Compared {
    /// Its name.
    pub label: String,
    /// Its runs, in order.
    pub runs: Vec<Outcome>,
}

impl Compared {
    /// Its label, with its TLS, compression, tokens and limits.
    #[must_use]
    pub fn name(&self) -> String {
        let edge = self.runs.first().map_or_else(Edge::default, |run| run.options.edge);
        if edge == Edge::default() { self.label.clone() } else { format!("{} ({})", self.label, edge.told()) }
    }
}

impl Comparison {
    /// Whether every run is valid.
    #[must_use]
    pub fn valid(&self) -> bool {
        self.servers.iter().flat_map(|server| &server.runs).all(|run| run.verdict.valid)
    }

    /// Reasons why runs are invalid, with the server's name.
    pub fn reasons(&self) -> impl Iterator<Item = (&str, &str)> {
        self.servers.iter().flat_map(|server| {
            let reasons = server.runs.iter().flat_map(|run| &run.verdict.reasons);
            reasons.map(|reason| (server.label.as_str(), reason.as_str()))
        })
    }
}

/// One scenario with several values of one option.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Growth {
    /// The option.
    pub option: String,
    /// Its values, in order.
    pub steps: Vec<GrowthStep>,
}

/// One value of a [`Growth`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GrowthStep {
    /// The value as text.
    pub value: String,
    /// The servers with this value.
    pub compared: Comparison,
}

/// Runs with and without stalled readers, by round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SlowComparison {
    /// The rounds.
    pub rounds: Vec<SlowRound>,
}

/// One round of [`SlowComparison`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SlowRound {
    /// The run without stalled readers.
    pub without: Outcome,
    /// The run with stalled readers.
    pub with: Outcome,
}

impl SlowRound {
    /// p99.9 latency of healthy readers: with ÷ without stalled readers.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        let of = |outcome: &Outcome| outcome.durations.get("latency").map_or(f64::NAN, |latency| latency.p999);
        of(&self.with) / of(&self.without)
    }
}

impl SlowComparison {
    /// The round with the median ratio, which is the result.
    #[must_use]
    pub fn median(&self) -> Option<&SlowRound> {
        let mut rounds: Vec<&SlowRound> = self.rounds.iter().collect();
        rounds.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
        rounds.get(rounds.len() / 2).copied()
    }

    /// Whether every run is valid.
    #[must_use]
    pub fn valid(&self) -> bool {
        self.rounds.iter().all(|round| round.without.verdict.valid && round.with.verdict.valid)
    }
}

impl Growth {
    /// All runs.
    pub fn runs(&self) -> impl Iterator<Item = &Outcome> {
        self.steps.iter().flat_map(|step| &step.compared.servers).flat_map(|server| &server.runs)
    }

    /// Reasons why runs are invalid.
    pub fn reasons(&self) -> impl Iterator<Item = String> {
        self.steps.iter().flat_map(|step| {
            step.compared.reasons().map(|(label, reason)| format!("{} {}: {label}: {reason}", self.option, step.value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn the_median_round_is_the_result() {
        let without = samples::fanout("roomring", 1.0);
        let round = |factor| SlowRound { without: without.clone(), with: samples::fanout("roomring", factor) };
        let slow = SlowComparison { rounds: vec![round(5.0), round(1.0), round(2.0)] };
        let ratio = slow.median().expect("three rounds").ratio();
        assert!((ratio - 2.0).abs() < 0.05, "{ratio}");
        assert!(slow.valid());
    }
}
