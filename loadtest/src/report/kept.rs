//! Results that are kept: what `--json` writes and `loadtest report` reads again.

use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::args::KeepArgs;
use crate::edge::Edge;
use crate::edge::command::EdgeResult;
use crate::run::Outcome;
use crate::suite::SuiteResult;

/// A kept result.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Document {
    /// One run.
    Run(Box<Outcome>),
    /// Several servers under one scenario.
    Compare(Comparison),
    /// One scenario with one of its options going through several values.
    Grow(Growth),
    /// With and without stalled readers.
    Slow(Slow),
    /// The canonical suite.
    Suite(SuiteResult),
    /// What the edge costs.
    Edge(EdgeResult),
}

/// Several servers under one scenario.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// Ratios are to the first.
    pub servers: Vec<Compared>,
}

/// One server of a comparison.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Compared {
    /// Its name.
    pub label: String,
    /// Its runs, in their order.
    pub runs: Vec<Outcome>,
}

impl Compared {
    /// Its label, with what stands between it and its clients.
    #[must_use]
    pub fn name(&self) -> String {
        let edge = self.runs.first().map_or_else(Edge::default, |run| run.options.edge);
        if edge == Edge::default() { self.label.clone() } else { format!("{} ({})", self.label, edge.told()) }
    }
}

/// One scenario with one of its options going through several values.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Growth {
    /// Which option.
    pub option: String,
    /// Its values, in order.
    pub steps: Vec<Step>,
}

/// One value of a [`Growth`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// As it was given.
    pub value: String,
    /// Each server with it.
    pub compared: Comparison,
}

/// With and without stalled readers, round by round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Slow {
    /// The rounds.
    pub rounds: Vec<SlowRound>,
}

/// One round of [`Slow`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SlowRound {
    /// Everyone reads.
    pub without: Outcome,
    /// Some do not.
    pub with: Outcome,
}

impl SlowRound {
    /// p99.9 of those who read, with ÷ without.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        let of = |outcome: &Outcome| outcome.durations.get("latency").map_or(f64::NAN, |latency| latency.p999);
        of(&self.with) / of(&self.without)
    }
}

impl Slow {
    /// The round with the middle ratio, which is the result.
    #[must_use]
    pub fn median(&self) -> Option<&SlowRound> {
        let mut rounds: Vec<&SlowRound> = self.rounds.iter().collect();
        rounds.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
        rounds.get(rounds.len() / 2).copied()
    }

    /// Whether every run can be believed.
    #[must_use]
    pub fn valid(&self) -> bool {
        self.rounds.iter().all(|round| round.without.verdict.valid && round.with.verdict.valid)
    }
}

impl Document {
    /// Reads a file that [`Document::keep`] wrote.
    ///
    /// # Errors
    /// It cannot be read, or is no kept result.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| format!("{} is not a result kept by --json", path.display()))
    }

    /// Writes the files that were asked for.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn keep(&self, files: &KeepArgs) -> anyhow::Result<()> {
        if let Some(path) = &files.json {
            write_json(path, self)?;
        }
        if let Some(path) = &files.html {
            write_html(std::slice::from_ref(self), path)?;
        }
        Ok(())
    }
}

/// Writes what `--json` asks for.
///
/// # Errors
/// The file cannot be written.
pub fn write_json(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    let asked = || format!("--json {}", path.display());
    let mut out = std::io::BufWriter::new(std::fs::File::create(path).with_context(asked)?);
    serde_json::to_writer_pretty(&mut out, value).with_context(asked)?;
    std::io::Write::flush(&mut out).with_context(asked)
}

/// Writes the HTML report of some results.
///
/// # Errors
/// The file cannot be written.
pub fn write_html(documents: &[Document], path: &Path) -> anyhow::Result<()> {
    std::fs::write(path, super::html::page(documents)?).with_context(|| format!("--html {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn what_is_kept_is_read_again() {
        let path = std::env::temp_dir().join(format!("loadtest-kept-{}.json", std::process::id()));
        let run = samples::fanout("roomring", 1.0);
        let document = Document::Run(Box::new(run.clone()));
        document.keep(&KeepArgs { json: Some(path.clone()), html: None }).expect("written");
        let Document::Run(read) = Document::read(&path).expect("readable") else { panic!("another kind") };
        assert_eq!((read.measured, read.series.len()), (run.measured, run.series.len()));
        assert_eq!(read.histograms, run.histograms);
        // Fields that a result of another version lacks, or has more, do no harm.
        let mut value: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(&path).expect("there")).expect("JSON");
        value.as_object_mut().expect("an object").remove("series");
        value["measured"].as_object_mut().expect("an object").remove("sends");
        value["novelty"] = 1.into();
        std::fs::write(&path, value.to_string()).expect("written");
        assert!(Document::read(&path).is_ok());
        std::fs::write(&path, "[]").expect("written");
        assert!(Document::read(&path).is_err());
        std::fs::remove_file(&path).expect("there");
    }

    #[test]
    fn the_middle_round_counts() {
        let without = samples::fanout("roomring", 1.0);
        let round = |factor| SlowRound { without: without.clone(), with: samples::fanout("roomring", factor) };
        let slow = Slow { rounds: vec![round(5.0), round(1.0), round(2.0)] };
        let ratio = slow.median().expect("three rounds").ratio();
        assert!((ratio - 2.0).abs() < 0.05, "{ratio}");
        assert!(slow.valid());
    }
}
