//! Options about the files that a result is kept in.

use std::path::PathBuf;

use clap::Args;

/// Where a result is kept.
#[derive(Clone, Debug, Default, Args)]
pub struct KeepArgs {
    /// Writes the whole result, with histograms, to a file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Writes a report with plots to a file.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}
