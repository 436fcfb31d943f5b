//! What healthy readers feel when others stall: the same load without and with stalled readers, turn about, and the
//! ratio of the healthy ones' percentiles.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::ensure;

use crate::args::PacedArgs;
use crate::plan::Scenario;
use crate::run::Outcome;
use crate::{report, start_and_run, write_json};

/// Rounds of both runs: the median round's ratio is shown last.
const ROUNDS: usize = 3;

/// Runs all rounds. True when every run can be believed.
///
/// # Errors
/// The server cannot be started or reached.
pub fn run(args: &PacedArgs, stop: &Arc<AtomicBool>) -> anyhow::Result<bool> {
    let stalled_per_mille = if args.stalled > 0.0 { args.stalled_per_mille()? } else { 10 };
    ensure!(args.rate.is_some(), "slow needs --rate: only an open loop keeps the load the same with and without");
    let pace = args.pace()?;
    let mut outcomes: Vec<(Outcome, Outcome)> = Vec::new();
    for round in 0..ROUNDS {
        let leg = |stalled_per_mille| {
            let scenario = Scenario::Fanout { pace, stalled_per_mille };
            start_and_run(&args.run, scenario, args.run.server.as_ref(), stop)
        };
        // Turn about: neither profits from its place.
        let order = if round % 2 == 0 { [0, stalled_per_mille] } else { [stalled_per_mille, 0] };
        let first = leg(order[0])?;
        let ended = stop.load(Ordering::Relaxed);
        let second = if ended { None } else { Some(leg(order[1])?) };
        // A round that was ended early compares different times.
        let Some(second) = second.filter(|_| !stop.load(Ordering::Relaxed)) else {
            if outcomes.is_empty() {
                print!("{}", report::table(&first));
                println!("ended before a round was whole: nothing to compare");
                return Ok(false);
            }
            break;
        };
        outcomes.push(if round % 2 == 0 { (first, second) } else { (second, first) });
    }
    outcomes.sort_by(|(a, b), (c, d)| ratio(a, b).total_cmp(&ratio(c, d)));
    let (without, with) = &outcomes[outcomes.len() / 2];
    print!("{}\n{}\n", report::table(without), report::table(with));
    println!(
        "p99.9 of healthy readers with / without: {:.2} (median of {} rounds)",
        ratio(without, with),
        outcomes.len()
    );
    if let Some(path) = &args.run.json {
        write_json(path, &outcomes)?;
    }
    Ok(outcomes.iter().all(|(without, with)| without.verdict.valid && with.verdict.valid))
}

fn ratio(without: &Outcome, with: &Outcome) -> f64 {
    let of = |outcome: &Outcome| outcome.durations.get("latency").map_or(f64::NAN, |latency| latency.p999);
    of(with) / of(without)
}
