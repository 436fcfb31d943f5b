//! Owns `edge`: measures the cost of TLS, compression, tokens and limits. Runs a standard set of scenarios with and
//! without each part, in alternating rounds. Never adds figures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{bail, ensure};

use super::compare;
use super::keep::keep;
use super::standard::{self, place};
use crate::cli::{EdgeCommandArgs, LoadtestCommand, RunArgs, scenario_of};
use crate::edge::Edge;
use crate::report;
use crate::results::comparison::{Compared, Comparison};
use crate::results::document::Document;
use crate::results::edge::{EdgeResult, EdgeScenario};
use crate::server::launch::{ServerKind, Spec};

/// Names of the scenarios, and their command lines with `FAST` for common options.
const SCENARIOS: [(&str, &str); 5] = [
    ("fanout, 1 in flight", "fanout FAST --in-flight 1"),
    ("fanout, 16 in flight", "fanout FAST --in-flight 16"),
    ("echo", "echo FAST"),
    ("churn", "churn --connections 100 --settle 0s --warmup 1s --duration 4s"),
    ("idle", "idle --connections 5000 --room-size 100 --settle 1s --warmup 0s --duration 3s"),
];

/// Session resumption needs reconnects, so only `churn` measures it.
const RESUMED: (&str, &str) = ("churn", "tls-resume");

/// Runs all scenarios and prints a table for each. Returns whether all runs are complete and valid.
///
/// # Errors
/// An option is invalid, or the plain server cannot be started or reached.
pub fn run(args: &EdgeCommandArgs, stop: &Arc<AtomicBool>) -> anyhow::Result<bool> {
    ensure!(args.rounds > 0, "--rounds must be at least 1");
    ensure!(args.server.kind == ServerKind::Roomring, "--server {}: edge needs a roomring", args.server.label);
    let wanted = |name: &&(&str, &str)| args.only.as_ref().is_none_or(|only| name.0.contains(only));
    let scenarios: Vec<_> = SCENARIOS.iter().filter(wanted).collect();
    if scenarios.is_empty() {
        let names = SCENARIOS.map(|(name, _)| name).join("; ");
        bail!("--only {}: expected part of a scenario's name: {names}", args.only.as_deref().unwrap_or_default());
    }
    let mut all = EdgeResult { server: args.server.label.clone(), payload_bytes: args.size, scenarios: Vec::new() };
    for (name, arguments) in scenarios {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        all.scenarios.push(scenario(args, name, arguments, stop)?);
    }
    print!("{}", report::edge::table(&all));
    let valid = all.valid();
    keep(&Document::Edge(all), &args.keep)?;
    Ok(valid)
}

/// The plain server, then the server with each part.
fn variants(args: &EdgeCommandArgs, name: &str) -> anyhow::Result<Vec<Spec>> {
    let of = |label: &str, edge: Edge| Spec { label: label.to_owned(), edge, ..args.server.clone() };
    let mut specs = vec![of("plain", args.server.edge)];
    let mut parts: Vec<&str> = args.parts.iter().map(String::as_str).collect();
    if (name, parts.contains(&"tls"), parts.contains(&RESUMED.1)) == (RESUMED.0, true, false) {
        let behind = parts.iter().position(|part| *part == "tls").map_or(0, |place| place + 1);
        parts.insert(behind, RESUMED.1);
    }
    for part in parts {
        // Parsed like the parts after a server's name.
        let (edge, store, _) = Edge::of_name(&format!("+{part}"))?;
        specs.push(Spec { store: store.or(args.server.store), ..of(part, edge.and(args.server.edge)) });
    }
    Ok(specs)
}

/// The words of a scenario's command line.
fn words(args: &EdgeCommandArgs, arguments: &str) -> Vec<String> {
    standard::words(&format!("{arguments} --payload json --size {}", args.size), args.quick)
}

fn scenario(
    args: &EdgeCommandArgs,
    name: &str,
    arguments: &str,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<EdgeScenario> {
    let words = words(args, arguments);
    let mut command: LoadtestCommand = compare::scenario_command(&words)?;
    conditions(args, &mut command);
    let (scenario, run_args) = scenario_of(&command)?;
    let specs = variants(args, name)?;
    let compared = |spec: &Spec| Compared { label: spec.label.clone(), runs: Vec::new() };
    let mut result = EdgeScenario {
        name: name.to_owned(),
        command: std::iter::once("loadtest".to_owned()).chain(words).collect(),
        compared: Comparison { servers: specs.iter().map(compared).collect() },
        failed: Vec::new(),
    };
    let rounds = if args.quick { 1 } else { args.rounds };
    for round in 0..rounds as usize {
        for place in 0..specs.len() {
            // Each round begins with another part: none profits from its place.
            let index = (round + place) % specs.len();
            let spec = &specs[index];
            if result.failed.iter().any(|(label, _)| *label == spec.label) {
                continue;
            }
            let outcome = match compare::one(run_args, scenario, spec, None, stop) {
                Ok(outcome) => outcome,
                // The figures of the other parts remain.
                Err(error) if index > 0 => {
                    eprintln!("{name}, {}: {error:#}", spec.label);
                    result.failed.push((spec.label.clone(), format!("{error:#}")));
                    continue;
                }
                Err(error) => return Err(error),
            };
            if stop.load(Ordering::Relaxed) {
                return Ok(result);
            }
            if !args.quiet {
                eprintln!("{name}, round {}/{rounds}: {}", round + 1, compare::line(&outcome));
            }
            result.compared.servers[index].runs.push(outcome);
        }
    }
    Ok(result)
}

/// Applies the common options to a scenario.
fn conditions(args: &EdgeCommandArgs, command: &mut LoadtestCommand) {
    let run: &mut RunArgs = match command {
        LoadtestCommand::Fanout(paced) | LoadtestCommand::Echo(paced) => &mut paced.run,
        LoadtestCommand::Churn(run) | LoadtestCommand::Idle(run) => run,
        _ => return,
    };
    place(&args.placement, run);
    run.quiet = true;
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    fn args(line: &str) -> EdgeCommandArgs {
        let LoadtestCommand::Edge(args) = Cli::try_parse_from(line.split(' ')).expect("good").command else {
            panic!("edge")
        };
        args
    }

    #[test]
    fn every_scenario_is_a_command_line() {
        let args = args("loadtest edge --size 700 --quick --server-cores 0 --cores 1 --seed 4");
        for (name, arguments) in SCENARIOS {
            let mut command = compare::scenario_command(&words(&args, arguments)).expect(name);
            conditions(&args, &mut command);
            let (scenario, run) = scenario_of(&command).expect("a single run");
            let options = run.single(scenario).expect("good").options;
            assert_eq!((options.payload_bytes, options.seed, options.cores.as_slice()), (700, 4, &[1][..]), "{name}");
            assert!(options.duration.as_secs() <= 1, "{name}: must be quick");
        }
    }

    #[test]
    fn parts_become_servers() {
        let labels = |line: &str, name: &str| {
            let specs = variants(&args(line), name).expect("known parts");
            specs.into_iter().map(|spec| (spec.label, spec.edge.told())).collect::<Vec<_>>()
        };
        let pairs = |all: &[(&str, &str)]| all.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect::<Vec<_>>();
        let churn = labels("loadtest edge --parts tls,jwt+limits", "churn");
        let wanted =
            [("plain", "plain"), ("tls", "TLS"), ("tls-resume", "TLS resumed"), ("jwt+limits", "JWT + limits")];
        assert_eq!(churn, pairs(&wanted));
        let echo = labels("loadtest edge --parts tls-resume --server roomring+jwt", "echo");
        assert_eq!(echo, pairs(&[("plain", "JWT"), ("tls-resume", "TLS resumed + JWT")]));
        assert!(variants(&args("loadtest edge --parts tsl"), "echo").is_err());
    }
}
