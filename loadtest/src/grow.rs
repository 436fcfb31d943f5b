//! How the cost grows: one scenario with one of its options going through several values, for one or several servers,
//! interleaved round by round. Adds no figures of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{bail, ensure};

use crate::args::{Command, GrowArgs};
use crate::compare;
use crate::report::figures::{Figure, figures};
use crate::report::kept::{Compared, Comparison, Document, Growth, Step};
use crate::report::text;
use crate::scenario_of;

/// The figures of a growth, by the beginning of their names: what a fan-out, an idle server, an echo and a churn have.
const SHOWN: [&str; 6] =
    ["CPU per ", "of it user", "latency p50", "latency p99", "to the last receiver p99", "private memory"];

/// Runs all rounds and prints a row for each value and server. True when every run can be believed.
///
/// # Errors
/// The option is none of the scenario's, or a server cannot be started or reached.
pub fn run(args: &GrowArgs, stop: &Arc<AtomicBool>) -> anyhow::Result<bool> {
    ensure!(args.rounds > 0, "--rounds must be at least 1");
    let (option, values) = option_values(&args.over)?;
    let commands = values
        .iter()
        .map(|value| {
            let set = [format!("--{option}={value}")];
            compare::scenario_command(args.scenario.iter().chain(&set))
        })
        .collect::<anyhow::Result<Vec<Command>>>()?;
    let compared = |label: &str| Compared { label: label.to_owned(), runs: Vec::new() };
    let servers = || Comparison { servers: args.servers.iter().map(|spec| compared(&spec.label)).collect() };
    let steps = values.iter().map(|value| Step { value: value.clone(), compared: servers() }).collect();
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
    let valid = growth.steps.iter().all(|step| step.compared.valid());
    Document::Grow(growth).keep(args.json.as_deref(), args.html.as_deref())?;
    Ok(valid)
}

/// Reads `connections=1000,5000,20000`.
fn option_values(over: &str) -> anyhow::Result<(&str, Vec<String>)> {
    let Some((option, values)) = over.split_once('=') else {
        bail!("{over:?} is not an option of the scenario with its values, like connections=1000,5000,20000");
    };
    let values: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
    ensure!(values.iter().all(|value| !value.is_empty()), "--over {over}: a value is empty");
    Ok((option.trim_start_matches('-'), values))
}

/// A row for each value and server: medians.
pub fn table(growth: &Growth) -> String {
    let runs = || growth.steps.iter().flat_map(|step| &step.compared.servers).flat_map(|server| &server.runs);
    let Some(first) = runs().next() else { return "no run was completed\n".to_owned() };
    let has = |figure: &Figure| runs().any(|run| figure.value(run).is_some());
    let shown = |figure: &Figure| SHOWN.iter().any(|name| figure.name.starts_with(name));
    let all: Vec<Figure> = figures(first).into_iter().filter(|figure| shown(figure) && has(figure)).collect();
    let mut heading = vec![growth.option.clone(), "server".to_owned()];
    heading.extend(all.iter().map(|figure| figure.name.clone()));
    let mut lines = Vec::new();
    for step in &growth.steps {
        for server in &step.compared.servers {
            let mut cells = vec![step.value.clone(), server.label.clone()];
            cells.extend(all.iter().map(|figure| {
                let spread = figure.spread(&server.runs);
                spread.map_or_else(|| "-".to_owned(), |spread| figure.unit.show(spread.median))
            }));
            lines.push(cells);
        }
    }
    let (name, what) = text::scenario(&first.options);
    let rounds = growth.steps[0].compared.servers[0].runs.len();
    let seconds = first.options.duration.as_secs_f64();
    let mut table = text::bold(&format!("{name} by {}", growth.option)) + &format!(" (first: {what})\n");
    table.push_str(&format!("medians of {rounds} interleaved rounds of {seconds:.1} s\n\n"));
    table.push_str(&text::table(&heading, &lines));
    let mut valid = true;
    for step in &growth.steps {
        for (label, reason) in step.compared.reasons() {
            valid = false;
            table.push_str(&format!("{} {} {label}: {reason}\n", text::bad("INVALID"), step.value));
        }
    }
    if valid {
        table.push_str(&(text::good("VALID") + "\n"));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn options_and_their_values_are_read() {
        let (option, values) = option_values("--room-size=10, 100").expect("good");
        assert_eq!((option, values), ("room-size", vec!["10".to_owned(), "100".to_owned()]));
        assert!(option_values("connections").is_err());
        assert!(option_values("connections=1,,2").is_err());
    }

    #[test]
    fn each_value_and_server_has_a_row() {
        let step = |value: &str, factor: f64| Step {
            value: value.to_owned(),
            compared: Comparison {
                servers: vec![
                    Compared { label: "one".into(), runs: vec![samples::fanout("one", factor)] },
                    Compared { label: "two".into(), runs: Vec::new() },
                ],
            },
        };
        let growth = Growth { option: "connections".into(), steps: vec![step("10", 1.0), step("20", 2.0)] };
        let text = table(&growth);
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("10") || line.starts_with("20")).collect();
        assert_eq!(rows.len(), 4, "{text}");
        assert!(rows[1].contains("two") && rows[1].contains('-'), "{text}");
        assert!(text.contains("latency p99") && text.ends_with("VALID\n"), "{text}");
    }
}
