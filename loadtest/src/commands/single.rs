//! Owns the commands that run one scenario once.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::keep::keep;
use crate::cli::RunArgs;
use crate::plan::Scenario;
use crate::report;
use crate::results::document::Document;

/// Runs the scenario and prints its table. Returns whether the result is valid.
///
/// # Errors
/// An option is invalid, or the server cannot be started or reached.
pub fn run(args: &RunArgs, scenario: Scenario, stop: &Arc<AtomicBool>) -> anyhow::Result<bool> {
    let outcome = args.single(scenario)?.start(args.server.as_ref(), stop)?;
    print!("{}", report::run::table(&outcome));
    let valid = outcome.verdict.valid;
    keep(&Document::Run(Box::new(outcome)), &args.keep)?;
    Ok(valid)
}
