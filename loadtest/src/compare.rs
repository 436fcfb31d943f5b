//! Several servers under the same scenario, one after another, round by round: on a machine whose speed drifts, only
//! runs that alternate can be compared. Reports medians, ranges and ratios to the first server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::ensure;
use clap::Parser as _;

use crate::args::{Cli, Command, CompareArgs, RunArgs};
use crate::plan::Scenario;
use crate::report::figures::{Spread, figures, floor_ns};
use crate::report::kept::{Compared, Comparison, Document};
use crate::report::text;
use crate::run::Outcome;
use crate::server::launch::{Kind, Spec};
use crate::{scenario_of, start_and_run};

/// Runs all rounds and prints the comparison. True when every run can be believed.
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
            // Another one begins each round: none profits from its place.
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
    print!("{}", table(&all));
    let valid = all.valid();
    Document::Compare(all).keep(&args.keep)?;
    Ok(valid)
}

/// The scenario behind `--`.
///
/// # Errors
/// It is none, or names a server of its own.
pub fn scenario_command<'a>(words: impl IntoIterator<Item = &'a String>) -> anyhow::Result<Command> {
    let words = std::iter::once("loadtest".to_owned()).chain(words.into_iter().cloned());
    let inner = Cli::try_parse_from(words)?.command;
    ensure!(scenario_of(&inner)?.1.server.is_none(), "servers are named before `--`, not by --server");
    Ok(inner)
}

/// One run of one server. A floor server sends frames as long as those that the first server sent in `first`.
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
    if let (Kind::Floor, Some(bytes)) = (spec.kind, first.and_then(bytes_each)) {
        args.size = bytes;
    }
    start_and_run(&args, scenario, Some(spec), stop)
}

/// A run in one line, while others follow.
#[must_use]
pub fn line(outcome: &Outcome) -> String {
    let (work, unit) = outcome.work();
    let verdict = if outcome.verdict.valid { "valid".to_owned() } else { outcome.verdict.reasons.join("; ") };
    format!("{}: {} x {unit}, {verdict}", outcome.options.name, text::grouped(work))
}

/// Payload with which a bare send has as many bytes as a delivery of `run`: both have a frame header of at most 4.
pub fn bytes_each(run: &Outcome) -> Option<usize> {
    let Scenario::Fanout { .. } = run.options.scenario else { return None };
    let bytes = run.measured.bytes_received.checked_div(run.measured.delivered)?;
    usize::try_from(bytes).ok().map(|bytes| bytes.saturating_sub(4).max(run.options.payload_bytes))
}

impl Comparison {
    /// Whether every run can be believed.
    #[must_use]
    pub fn valid(&self) -> bool {
        self.servers.iter().flat_map(|server| &server.runs).all(|run| run.verdict.valid)
    }

    /// CPU per unit of each server ÷ CPU of a bare send of the same rounds; `None` without a floor server.
    #[must_use]
    pub fn floor_ratios(&self) -> Option<Vec<Option<f64>>> {
        let of = |runs: &[Outcome], read: fn(&Outcome) -> Option<f64>| {
            Spread::of(runs.iter().filter_map(read).collect()).map(|spread| spread.median)
        };
        let floor = self.servers.iter().find_map(|server| of(&server.runs, floor_ns))?;
        let cpu = |run: &Outcome| run.server.as_ref().map(|server| server.cpu_ns);
        Some(self.servers.iter().map(|server| of(&server.runs, cpu).map(|cpu| cpu / floor)).collect())
    }

    /// Why some runs cannot be believed: the server's name and the reason.
    pub fn reasons(&self) -> impl Iterator<Item = (&str, &str)> {
        self.servers.iter().flat_map(|server| {
            let reasons = server.runs.iter().flat_map(|run| &run.verdict.reasons);
            reasons.map(|reason| (server.label.as_str(), reason.as_str()))
        })
    }
}

/// The comparison: a row per figure, and for each server its median, its range, and the ratio to the first server.
fn table(all: &Comparison) -> String {
    let Some(first) = all.servers.iter().flat_map(|server| &server.runs).next() else {
        return "no run was completed\n".to_owned();
    };
    let (name, what) = text::scenario(&first.options);
    let rounds = all.servers.iter().map(|server| server.runs.len()).max().unwrap_or(0);
    let seconds = first.options.duration.as_secs_f64();
    let mut shown = text::bold(&format!("{name}: {what}")) + "\n";
    shown.push_str(&format!("medians of {rounds} interleaved rounds of {seconds:.1} s, with lowest to highest\n"));
    if all.servers.iter().any(|server| server.name() != server.label) {
        let names: Vec<String> = all.servers.iter().map(Compared::name).collect();
        shown.push_str(&format!("servers: {}\n", names.join(", ")));
    }
    shown.push('\n');
    let mut heading = vec![String::new()];
    for (index, server) in all.servers.iter().enumerate() {
        heading.extend([server.label.clone(), "range".to_owned()]);
        heading.extend((index > 0).then(|| "ratio".to_owned()));
    }
    let mut lines = Vec::new();
    for figure in figures(first) {
        let spreads: Vec<Option<Spread>> = all.servers.iter().map(|server| figure.spread(&server.runs)).collect();
        if spreads.iter().all(Option::is_none) {
            continue;
        }
        let base = spreads[0].map(|spread| spread.median);
        let mut cells = vec![figure.name.clone()];
        for (index, spread) in spreads.iter().enumerate() {
            let shown = spread.map(|spread| (figure.unit.show(spread.median), spread.range(figure.unit)));
            let (median, range) = shown.unwrap_or_else(|| ("-".to_owned(), String::new()));
            cells.extend([median, range]);
            cells.extend((index > 0).then(|| ratio(spread.map(|spread| spread.median), base)));
        }
        lines.push(cells);
    }
    shown.push_str(&text::table("l", &heading, &lines));
    shown.push_str(&floor_lines(all));
    for (label, reason) in all.reasons() {
        shown.push_str(&format!("{} {label}: {reason}\n", text::bad("INVALID")));
    }
    if all.valid() {
        shown.push_str(&(text::good("VALID") + "\n"));
    }
    shown
}

fn ratio(value: Option<f64>, base: Option<f64>) -> String {
    match (value, base) {
        (Some(value), Some(base)) if base != 0.0 => format!("x{:.2}", value / base),
        _ => String::new(),
    }
}

fn floor_lines(all: &Comparison) -> String {
    let Some(ratios) = all.floor_ratios() else { return String::new() };
    let ratios = all.servers.iter().zip(ratios).filter_map(|(server, ratio)| Some((&server.label, ratio?)));
    let ratios: Vec<String> = ratios.map(|(label, ratio)| format!("{label} {ratio:.2}")).collect();
    let mut shown = format!("\nfloor ratio (CPU ÷ CPU of a bare send): {}\n", ratios.join(", "));
    let first = &all.servers[0];
    if let Some(bytes) = first.runs.first().and_then(bytes_each) {
        shown.push_str(&format!("the floor sends frames of {} B, as {} does\n", bytes + 4, first.label));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn medians_ranges_and_ratios_are_shown() {
        let server = |label: &str, factors: &[f64]| Compared {
            label: label.to_owned(),
            runs: factors.iter().map(|factor| samples::fanout(label, *factor)).collect(),
        };
        let mut all = Comparison { servers: vec![server("new", &[1.0, 1.1, 0.9]), server("old", &[2.0, 2.0, 2.0])] };
        let text = table(&all);
        let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{text}"));
        assert!(line("latency p50").contains("x2.00"), "{text}");
        assert!(line("deliveries per CPU-second").contains("x0.50"), "{text}");
        assert!(line("latency p99 ").contains('…') && text.ends_with("VALID\n"), "{text}");
        all.servers[1].runs[0].verdict.valid = false;
        all.servers[1].runs[0].verdict.reasons = vec!["3 publications lost".into()];
        assert!(table(&all).contains("INVALID old: 3 publications lost"));
        assert!(table(&Comparison { servers: Vec::new() }).contains("no run"));
    }
}
