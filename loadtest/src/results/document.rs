//! Owns the file format of results: `--json` writes it, `loadtest report` reads it. Never shows a result.

use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::comparison::{Comparison, Growth, SlowComparison};
use super::edge::EdgeResult;
use super::outcome::Outcome;
use super::suite::SuiteResult;

/// A saved result.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Document {
    /// One run.
    Run(Box<Outcome>),
    /// Several servers under one scenario.
    Compare(Comparison),
    /// One scenario with several values of one option.
    Grow(Growth),
    /// Runs with and without stalled readers.
    Slow(SlowComparison),
    /// The suite.
    Suite(SuiteResult),
    /// Cost of TLS, compression, tokens and limits.
    Edge(EdgeResult),
}

impl Document {
    /// Reads a file that [`write_json`] wrote.
    ///
    /// # Errors
    /// The file cannot be read, or is not a saved result.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| format!("{}: expected a result saved with --json", path.display()))
    }
}

/// Writes a result to the file of `--json`.
///
/// # Errors
/// The file cannot be written.
pub fn write_json(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    let asked = || format!("--json {}", path.display());
    let mut out = std::io::BufWriter::new(std::fs::File::create(path).with_context(asked)?);
    serde_json::to_writer_pretty(&mut out, value).with_context(asked)?;
    std::io::Write::flush(&mut out).with_context(asked)
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
        write_json(&path, &document).expect("written");
        let Document::Run(read) = Document::read(&path).expect("readable") else { panic!("another kind") };
        assert_eq!((read.measured, read.series.len()), (run.measured, run.series.len()));
        assert_eq!(read.histograms, run.histograms);
        // Missing and additional fields of other versions are accepted.
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
}
