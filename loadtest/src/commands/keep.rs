//! Writes results to the files of `--json` and `--html`, and renders saved results. Never changes a result.

use std::path::Path;

use anyhow::Context as _;

use crate::cli::{KeepArgs, ReportArgs};
use crate::report::html;
use crate::results::document::{Document, write_json};

/// Writes the files of `--json` and `--html`.
///
/// # Errors
/// A file cannot be written.
pub fn keep(document: &Document, files: &KeepArgs) -> anyhow::Result<()> {
    if let Some(path) = &files.json {
        write_json(path, document)?;
    }
    if let Some(path) = &files.html {
        write_html(std::slice::from_ref(document), path)?;
    }
    Ok(())
}

/// Renders saved results. Returns true even for invalid results.
///
/// # Errors
/// A result cannot be read, or the report cannot be written.
pub fn render(args: &ReportArgs) -> anyhow::Result<bool> {
    let documents = args.results.iter().map(|path| Document::read(path)).collect::<anyhow::Result<Vec<_>>>()?;
    write_html(&documents, &args.html).map(|()| true)
}

fn write_html(documents: &[Document], path: &Path) -> anyhow::Result<()> {
    std::fs::write(path, html::page(documents)?).with_context(|| format!("--html {}", path.display()))
}
