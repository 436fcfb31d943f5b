//! Owns `slow`: compares the latency of healthy readers with and without stalled readers, under the same load, in
//! alternating runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::ensure;

use super::keep::keep;
use crate::cli::PacedArgs;
use crate::plan::Scenario;
use crate::report::run::table;
use crate::results::comparison::{SlowComparison, SlowRound};
use crate::results::document::Document;

/// Rounds of both runs. The result is the ratio of the median round.
const ROUNDS: usize = 3;

/// Runs all rounds and prints the result. Returns whether every run is valid.
///
/// # Errors
/// The server cannot be started or reached.
pub fn run(args: &PacedArgs, stop: &Arc<AtomicBool>) -> anyhow::Result<bool> {
    let slow = rounds(args, ROUNDS, stop)?;
    let valid = slow.valid() && !slow.rounds.is_empty();
    if slow.rounds.is_empty() {
        println!("ended before the first round was complete");
    }
    if let Some(round) = slow.median() {
        print!("{}\n{}\n", table(&round.without), table(&round.with));
        println!(
            "p99.9 of healthy readers with / without: {:.2} (median of {} rounds)",
            round.ratio(),
            slow.rounds.len()
        );
    }
    keep(&Document::Slow(slow), &args.run.keep)?;
    Ok(valid)
}

/// Runs `count` rounds, or fewer if `stop` is set. Returns complete rounds only.
///
/// # Errors
/// The server cannot be started or reached.
pub fn rounds(args: &PacedArgs, count: usize, stop: &Arc<AtomicBool>) -> anyhow::Result<SlowComparison> {
    let stalled_per_mille = if args.stalled > 0.0 { args.stalled_per_mille()? } else { 10 };
    ensure!(args.rate.is_some(), "--rate is missing: slow needs an open loop, which keeps the load the same");
    let pace = args.pace()?;
    let mut slow = SlowComparison { rounds: Vec::new() };
    for round in 0..count {
        let leg = |stalled_per_mille| {
            let scenario = Scenario::Fanout { pace, stalled_per_mille };
            args.run.single(scenario)?.start(args.run.server.as_ref(), stop)
        };
        // Alternating order: neither run profits from its place.
        let order = if round % 2 == 0 { [0, stalled_per_mille] } else { [stalled_per_mille, 0] };
        let first = leg(order[0])?;
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let second = leg(order[1])?;
        // Runs of different length are not comparable.
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (without, with) = if round % 2 == 0 { (first, second) } else { (second, first) };
        slow.rounds.push(SlowRound { without, with });
    }
    Ok(slow)
}
