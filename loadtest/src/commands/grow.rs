//! Owns `grow`: runs one scenario with several values of one option, against one or several servers, in alternating
//! rounds. Never adds figures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{bail, ensure};

use super::compare;
use super::keep::keep;
use crate::cli::{GrowArgs, LoadtestCommand, scenario_of};
use crate::report::growth::table;
use crate::results::comparison::{Compared, Comparison, Growth, GrowthStep};
use crate::results::document::Document;

/// Runs all rounds and prints a row per value and server. Returns whether every run is valid.
///
/// # Errors
/// The scenario has no such option, or a server cannot be started or reached.
pub fn run(args: &GrowArgs, stop: &Arc<AtomicBool>) -> anyhow::Result<bool> {
    let GrowArgs { over, compare: args } = args;
    ensure!(args.rounds > 0, "--rounds must be at least 1");
    let (option, values) = option_values(over)?;
    let commands = values
        .iter()
        .map(|value| {
            let set = [format!("--{option}={value}")];
            compare::scenario_command(args.scenario.iter().chain(&set))
        })
        .collect::<anyhow::Result<Vec<LoadtestCommand>>>()?;
    let compared = |label: &str| Compared { label: label.to_owned(), runs: Vec::new() };
    let servers = || Comparison { servers: args.servers.iter().map(|spec| compared(&spec.label)).collect() };
    let steps = values.iter().map(|value| GrowthStep { value: value.clone(), compared: servers() }).collect();
    let mut growth = Growth { option: option.to_owned(), steps };
    'rounds: for round in 0..args.rounds as usize {
        for (step, command) in growth.steps.iter_mut().zip(&commands) {
            let (scenario, run_args) = scenario_of(command)?;
            for place in 0..args.servers.len() {
                let index = (round + place) % args.servers.len();
                let first = step.compared.servers[0].runs.first();
                let outcome = compare::one(run_args, scenario, &args.servers[index], first, stop)?;
                if stop.load(Ordering::Relaxed) {
                    break 'rounds;
                }
                eprintln!("round {}/{}: {option} {}: {}", round + 1, args.rounds, step.value, compare::line(&outcome));
                step.compared.servers[index].runs.push(outcome);
            }
        }
    }
    print!("{}", table(&growth));
    let valid = growth.reasons().next().is_none();
    keep(&Document::Grow(growth), &args.keep)?;
    Ok(valid)
}

/// Parses `connections=1000,5000,20000`.
fn option_values(over: &str) -> anyhow::Result<(&str, Vec<String>)> {
    let Some((option, values)) = over.split_once('=') else {
        bail!("--over: expected an option and its values, such as connections=1000,5000,20000; got {over:?}");
    };
    let values: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
    ensure!(values.iter().all(|value| !value.is_empty()), "--over {over}: expected a value between commas");
    Ok((option.trim_start_matches('-'), values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_their_values_are_read() {
        let (option, values) = option_values("--room-size=10, 100").expect("good");
        assert_eq!((option, values), ("room-size", vec!["10".to_owned(), "100".to_owned()]));
        assert!(option_values("connections").is_err());
        assert!(option_values("connections=1,,2").is_err());
    }
}
