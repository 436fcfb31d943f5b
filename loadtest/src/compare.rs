//! Several servers under the same scenario, one after another, round by round: on a machine whose speed drifts, only
//! runs that alternate can be compared. Reports medians, ranges and ratios to the first server.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::ensure;
use clap::Parser as _;

use crate::args::{Cli, CompareArgs};
use crate::plan::Scenario;
use crate::run::{Outcome, ServerFigures};
use crate::server::launch::Kind;
use crate::{report, scenario_of, start_and_run, write_json};

/// One row of the comparison: what it is called, how it is read, and how it is shown.
struct Figure {
    name: &'static str,
    read: fn(&Outcome) -> Option<f64>,
    decimals: usize,
}

const FIGURES: [Figure; 11] = [
    Figure { name: "per CPU-second", read: |run| figures(run).map(|server| server.per_cpu_second), decimals: 0 },
    Figure { name: "CPU ns each", read: |run| figures(run).map(|server| server.cpu_ns), decimals: 0 },
    Figure { name: "  of it user ns", read: |run| figures(run).map(|server| server.user_ns), decimals: 0 },
    Figure { name: "floor ns each", read: floor_ns, decimals: 0 },
    Figure { name: "per second", read: |run| worked(run).map(|work| work / run.measured_s), decimals: 0 },
    Figure { name: "latency p50 us", read: |run| run.durations.get("latency").map(|d| d.p50), decimals: 1 },
    Figure { name: "latency p99 us", read: |run| run.durations.get("latency").map(|d| d.p99), decimals: 1 },
    Figure { name: "latency p99.9 us", read: |run| run.durations.get("latency").map(|d| d.p999), decimals: 1 },
    Figure { name: "last receiver p99 us", read: |run| run.durations.get("last_receiver").map(|d| d.p99), decimals: 1 },
    Figure { name: "B per connection", read: |run| connected(run).map(|s| s.private_per_connection[0]), decimals: 0 },
    Figure { name: "idle CPU us/conn/s", read: idle_us, decimals: 3 },
];

/// Units of work, where the scenario has any.
fn worked(run: &Outcome) -> Option<f64> {
    Some(run.work().0 as f64).filter(|work| *work > 0.0)
}

/// The server's figures per unit of work.
fn figures(run: &Outcome) -> Option<&ServerFigures> {
    worked(run).and(run.server.as_ref())
}

/// The server's figures, where the clients stay connected.
fn connected(run: &Outcome) -> Option<&ServerFigures> {
    run.server.as_ref().filter(|_| run.options.scenario != Scenario::Churn)
}

fn idle_us(run: &Outcome) -> Option<f64> {
    let idle = run.options.scenario == Scenario::Idle;
    run.server.as_ref().filter(|_| idle).map(|server| server.cpu_us_per_connection_second)
}

/// CPU of the bare send loop alone, per frame.
fn floor_ns(outcome: &Outcome) -> Option<f64> {
    outcome.floor.filter(|floor| floor.frames > 0).map(|floor| floor.send_cpu_ns as f64 / floor.frames as f64)
}

/// Runs all rounds and prints the comparison. True when every run can be believed.
///
/// # Errors
/// A server cannot be started or reached.
pub fn run(args: &CompareArgs, stop: &Arc<AtomicBool>) -> anyhow::Result<bool> {
    ensure!(args.rounds > 0, "--rounds must be at least 1");
    let words = std::iter::once("loadtest".to_owned()).chain(args.scenario.iter().cloned());
    let inner = Cli::try_parse_from(words)?;
    let (scenario, run_args) = scenario_of(&inner.command)?;
    ensure!(run_args.server.is_none(), "servers are named before `--`, not by --server");
    let count = args.servers.len();
    let mut outcomes: Vec<Vec<Outcome>> = args.servers.iter().map(|_| Vec::new()).collect();
    'rounds: for round in 0..args.rounds as usize {
        for place in 0..count {
            // Another one begins each round: none profits from its place.
            let index = (round + place) % count;
            let spec = &args.servers[index];
            let mut run_args = run_args.clone();
            if let (Kind::Floor, Some(bytes)) = (spec.kind, outcomes[0].first().and_then(bytes_each)) {
                run_args.size = bytes;
            }
            let outcome = start_and_run(&run_args, scenario, Some(spec), stop)?;
            if stop.load(Ordering::Relaxed) {
                break 'rounds;
            }
            let (work, unit) = outcome.work();
            eprintln!(
                "round {}/{}: {}: {} x {unit}, {}",
                round + 1,
                args.rounds,
                spec.label,
                report::grouped(work),
                if outcome.verdict.valid { "valid".to_owned() } else { outcome.verdict.reasons.join("; ") }
            );
            outcomes[index].push(outcome);
        }
    }
    print!("{}", table(args, &outcomes));
    if let Some(path) = &args.json {
        write_json(path, &outcomes)?;
    }
    Ok(outcomes.iter().flatten().all(|outcome| outcome.verdict.valid))
}

/// Payload with which a bare send has as many bytes as a delivery of `run`: both have a frame header of at most 4.
fn bytes_each(run: &Outcome) -> Option<usize> {
    let Scenario::Fanout { .. } = run.options.scenario else { return None };
    let bytes = run.measured.bytes_received.checked_div(run.measured.delivered)?;
    usize::try_from(bytes).ok().map(|bytes| bytes.saturating_sub(4).max(run.options.payload_bytes))
}

/// The comparison: a row per figure, a column per server with median, range, and ratio to the first server's median.
fn table(args: &CompareArgs, outcomes: &[Vec<Outcome>]) -> String {
    let mut text = String::new();
    let Some(first) = outcomes.iter().flatten().next() else { return "no run was completed\n".to_owned() };
    let headline = report::headline(&first.options);
    let scenario = headline.split_once(" | ").map_or(headline.as_str(), |(_, rest)| rest);
    writeln!(text, "{scenario} | medians of {} interleaved rounds", args.rounds).expect(WRITES);
    let columns: String = args.servers.iter().map(|spec| format!(" {:>34}", spec.label)).collect();
    writeln!(text, "{:<22}{columns}", "").expect(WRITES);
    for figure in &FIGURES {
        let spreads: Vec<Option<Spread>> =
            outcomes.iter().map(|runs| Spread::of(runs.iter().filter_map(figure.read).collect())).collect();
        if spreads.iter().all(Option::is_none) {
            continue;
        }
        let base = spreads[0].as_ref().map(|spread| spread.median).filter(|median| *median != 0.0);
        let cells: String = spreads.iter().map(|spread| cell(spread.as_ref(), base, figure.decimals)).collect();
        writeln!(text, "{:<22}{cells}", figure.name).expect(WRITES);
    }
    if let Some(ratios) = floor_ratios(outcomes) {
        if let Some(bytes) = outcomes[0].first().and_then(bytes_each) {
            let first = &args.servers[0].label;
            writeln!(text, "the floor sends frames of {} B, as {first} does", bytes + 4).expect(WRITES);
        }
        writeln!(text, "{:<22}{ratios}", "floor ratio").expect(WRITES);
    }
    for (spec, runs) in args.servers.iter().zip(outcomes) {
        for reason in runs.iter().flat_map(|outcome| &outcome.verdict.reasons) {
            writeln!(text, "INVALID {}: {reason}", spec.label).expect(WRITES);
        }
    }
    text
}

const WRITES: &str = "a String takes all writes";

/// CPU per unit of each server ÷ CPU of a bare send of the same rounds.
fn floor_ratios(outcomes: &[Vec<Outcome>]) -> Option<String> {
    let floor = outcomes.iter().find_map(|runs| Spread::of(runs.iter().filter_map(floor_ns).collect()))?;
    let cells = outcomes.iter().map(|runs| {
        let cpu = Spread::of(runs.iter().filter_map(|run| run.server.as_ref().map(|server| server.cpu_ns)).collect());
        cpu.map_or_else(|| format!(" {:>34}", "-"), |cpu| format!(" {:>34.2}", cpu.median / floor.median))
    });
    Some(cells.collect())
}

fn cell(spread: Option<&Spread>, base: Option<f64>, decimals: usize) -> String {
    let Some(Spread { low, median, high }) = spread else { return format!(" {:>34}", "-") };
    let ratio = base.map_or_else(String::new, |base| format!(" x{:.2}", median / base));
    let shown = |value: &f64| {
        if decimals == 0 { report::grouped(value.max(0.0).round() as u64) } else { format!("{value:.decimals$}") }
    };
    format!(" {:>34}", format!("{} [{}-{}]{ratio}", shown(median), shown(low), shown(high)))
}

/// Median and range.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    low: f64,
    median: f64,
    high: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) };
        Some(Spread { low, median, high })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_of_the_middle() {
        assert_eq!(Spread::of(vec![3.0, 1.0, 9.0]), Some(Spread { low: 1.0, median: 3.0, high: 9.0 }));
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 9.0]).map(|spread| spread.median), Some(3.0));
        assert_eq!(Spread::of(Vec::new()), None);
        assert_eq!(
            cell(Some(&Spread { low: 1.0, median: 2_000.0, high: 3_000.0 }), Some(1_000.0), 0).trim(),
            "2,000 [1-3,000] x2.00"
        );
    }
}
