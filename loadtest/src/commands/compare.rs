//! Owns `compare`: runs several servers under the same scenario, in alternating rounds. On a machine with drifting
//! speed, only alternating runs are comparable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::ensure;
use clap::Parser as _;

use super::keep::keep;
use crate::cli::{Cli, CompareArgs, LoadtestCommand, RunArgs, scenario_of};
use crate::plan::Scenario;
use crate::report;
use crate::report::figures::bytes_each;
use crate::results::comparison::{Compared, Comparison};
use crate::results::document::Document;
use crate::results::outcome::Outcome;
use crate::server::launch::{ServerKind, Spec};
use crate::text;

/// Runs all rounds and prints the comparison. Returns whether every run is valid.
///
/// # Errors
/// A server cannot be started or reached.
pub fn run(args: &CompareArgs, stop: &Arc<AtomicBool>) -> anyhow::Result<bool> {
    ensure!(args.rounds > 0, "--rounds must be at least 1");
    let inner = scenario_command(&args.scenario)?;
    let (scenario, run_args) = scenario_of(&inner)?;
    let count = args.servers.len();
    let compared = |label: &str| Compared { label: label.to_owned(), runs: Vec::new() };
    let mut all = Comparison { servers: args.servers.iter().map(|spec| compared(&spec.label)).collect() };
    'rounds: for round in 0..args.rounds as usize {
        for place in 0..count {
            // Each round begins with another server: none profits from its place.
            let index = (round + place) % count;
            let spec = &args.servers[index];
            let outcome = one(run_args, scenario, spec, all.servers[0].runs.first(), stop)?;
            if stop.load(Ordering::Relaxed) {
                break 'rounds;
            }
            eprintln!("round {}/{}: {}", round + 1, args.rounds, line(&outcome));
            all.servers[index].runs.push(outcome);
        }
    }
    print!("{}", report::comparison::table(&all));
    let valid = all.valid();
    keep(&Document::Compare(all), &args.keep)?;
    Ok(valid)
}

/// Parses the scenario after `--`.
///
/// # Errors
/// It is not a scenario, or names a server itself.
pub fn scenario_command<'a>(words: impl IntoIterator<Item = &'a String>) -> anyhow::Result<LoadtestCommand> {
    let words = std::iter::once("loadtest".to_owned()).chain(words.into_iter().cloned());
    let inner = Cli::try_parse_from(words)?.command;
    ensure!(scenario_of(&inner)?.1.server.is_none(), "--server: expected servers before `--`");
    Ok(inner)
}

/// Runs one server once. A floor server sends frames of the same length as the server in `first`.
///
/// # Errors
/// The server cannot be started or reached.
pub fn one(
    args: &RunArgs,
    scenario: Scenario,
    spec: &Spec,
    first: Option<&Outcome>,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<Outcome> {
    let mut args = args.clone();
    if let (ServerKind::Floor, Some(bytes)) = (spec.kind, first.and_then(bytes_each)) {
        args.size = bytes;
    }
    args.single(scenario)?.start(Some(spec), stop)
}

/// A run in one line.
#[must_use]
pub fn line(outcome: &Outcome) -> String {
    let (work, unit) = outcome.work();
    let verdict = if outcome.verdict.valid { "valid".to_owned() } else { outcome.verdict.reasons.join("; ") };
    format!("{}: {} x {unit}, {verdict}", outcome.options.name, text::grouped(work))
}
