//! Owns the suite: runs each scenario for a short time against one server and compares every figure to its target.

mod parts;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use clap::Parser as _;

use super::keep::keep;
use super::slow;
use super::standard::{place, words};
use crate::cli::{Cli, DialectName, LoadtestCommand, RunArgs, SuiteArgs, scenario_of};
use crate::report;
use crate::report::figures::bytes_each;
use crate::report::goal::Evidence;
use crate::results::document::Document;
use crate::results::outcome::Outcome;
use crate::results::suite::{PartResult, SuiteResult};
use crate::server::launch::{Conditions, EndedEarly, ServerKind, Spec};
use parts::{PARTS, SuitePart};

/// Runs all parts and prints their table. Returns whether every run is valid.
///
/// # Errors
/// The server cannot be started, or a file cannot be written.
pub fn run(args: &SuiteArgs, stop: &Arc<AtomicBool>) -> anyhow::Result<bool> {
    let mut all = SuiteResult { server: args.server.label.clone(), quick: args.quick, parts: Vec::new() };
    for (index, part) in PARTS.iter().enumerate() {
        let words = words(part.arguments, args.quick);
        let command: Vec<String> = std::iter::once("loadtest".to_owned()).chain(words).collect();
        let mut result = PartResult {
            name: part.name.to_owned(),
            command: command.clone(),
            skipped: skipped(part, args, stop),
            goals: Vec::new(),
            run: None,
            slow: None,
        };
        if result.skipped.is_none() {
            if !args.quiet {
                eprintln!("[{}/{}] {}", index + 1, PARTS.len(), part.name);
            }
            let before = all.parts.last().and_then(|part| part.run.as_deref());
            match run_part(args, &command, before, &mut result, stop) {
                // A version without what the part needs; the other parts are still worth running.
                Err(error) if part.needs_store && error.is::<EndedEarly>() => result.skipped = Some(error.to_string()),
                done => done.with_context(|| format!("part {:?}", part.name))?,
            }
        }
        if let Some(run) = &result.run {
            let before = all.parts.last().and_then(|part| part.run.as_deref());
            let evidence = Evidence { run, slow: result.slow.as_ref(), before };
            result.goals = part.goals.iter().filter_map(|goal| goal.result(&evidence)).collect();
        }
        all.parts.push(result);
    }
    print!("{}", report::suite::table(&all));
    let valid = all.valid();
    keep(&Document::Suite(all), &args.keep)?;
    Ok(valid)
}

/// The reason to skip a part, if there is one.
fn skipped(part: &SuitePart, args: &SuiteArgs, stop: &AtomicBool) -> Option<String> {
    if stop.load(Ordering::Relaxed) {
        return Some("ended early".to_owned());
    }
    let kind = args.server.kind;
    match part.roomring_only {
        Some(why) if kind != ServerKind::Roomring => Some(format!("{} cannot: {why}", args.server.label)),
        _ => {
            let binary = args.placement.dialect == DialectName::Binary;
            let echo = part.arguments.starts_with("echo");
            let conditions = Conditions { echo, binary, ..Conditions::default() };
            args.server.refuse_unable(&conditions).err().map(|why| why.to_string())
        }
    }
}

fn run_part(
    args: &SuiteArgs,
    command: &[String],
    before: Option<&Outcome>,
    result: &mut PartResult,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<()> {
    match Cli::try_parse_from(command)?.command {
        LoadtestCommand::Slow(mut paced) => {
            conditions(args, &mut paced.run);
            paced.run.server = Some(args.server.clone());
            let slow = slow::rounds(&paced, if args.quick { 1 } else { 2 }, stop)?;
            result.run = slow.median().map(|round| Box::new(round.with.clone()));
            match slow.rounds.is_empty() {
                true => result.skipped = Some("ended early".to_owned()),
                false => result.slow = Some(slow),
            }
        }
        LoadtestCommand::Floor(mut paced) => {
            conditions(args, &mut paced.run);
            paced.run.size = before.and_then(bytes_each).unwrap_or(paced.run.size);
            let floor: Spec = "floor".parse()?;
            let parsed = LoadtestCommand::Fanout(paced);
            let (scenario, run_args) = scenario_of(&parsed)?;
            result.run = Some(Box::new(run_args.single(scenario)?.start(Some(&floor), stop)?));
        }
        parsed => {
            let (scenario, run_args) = scenario_of(&parsed)?;
            let mut run_args = run_args.clone();
            conditions(args, &mut run_args);
            result.run = Some(Box::new(run_args.single(scenario)?.start(Some(&args.server), stop)?));
        }
    }
    Ok(())
}

/// Applies the common options to a part.
fn conditions(args: &SuiteArgs, run: &mut RunArgs) {
    place(&args.placement, run);
    run.quiet = args.quiet;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_a_command_line() {
        for part in &PARTS {
            for quick in [false, true] {
                let words = std::iter::once("loadtest".to_owned()).chain(words(part.arguments, quick));
                let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{}: {error}", part.name));
                assert!(
                    matches!(cli.command, LoadtestCommand::Slow(_) | LoadtestCommand::Floor(_))
                        || scenario_of(&cli.command).is_ok()
                );
                assert!(!part.goals.is_empty(), "{}", part.name);
            }
        }
    }
}
