//! The commands that are one run of one scenario.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::keep::keep;
use crate::cli::RunArgs;
use crate::plan::Scenario;
use crate::report;
use crate::results::document::Document;

/// Runs it and prints its table. True when the result can be believed.
///
/// # Errors
/// The options make no sense, or the server cannot be started or reached.
pub fn run(args: &RunArgs, scenario: Scenario, stop: &Arc<AtomicBool>) -> anyhow::Result<bool> {
    let outcome = args.single(scenario)?.start(args.server.as_ref(), stop)?;
    print!("{}", report::run::table(&outcome));
    let valid = outcome.verdict.valid;
    keep(&Document::Run(Box::new(outcome)), &args.keep)?;
    Ok(valid)
}
