//! Owns the options for the files that keep a result.

use std::path::PathBuf;

use clap::Args;

/// Files that keep a result.
#[derive(Clone, Debug, Default, Args)]
pub struct KeepArgs {
    /// Writes the result with histograms to a JSON file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Writes a report with plots to an HTML file.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}
