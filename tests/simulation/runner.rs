//! Runs seeds and says how to see a failure again: the seed at the start, and on a failure the violation, the end of
//! its trace, and the command that replays it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::canary::Cage;
use super::profile::{Mode, Profile};
use super::world::{Report, World};

/// The command that replays a seed.
fn replay(profile: &Profile) -> String {
    format!("SIM_SEED={}:{} cargo test --test simulation replay -- --nocapture", profile.mode.name(), profile.seed)
}

/// Reads `mode:seed`.
pub fn read_seed(text: &str) -> Option<(Mode, u64)> {
    let (mode, seed) = text.trim().split_once(':')?;
    let mode = Mode::ALL.into_iter().find(|known| known.name() == mode)?;
    Some((mode, seed.parse().ok()?))
}

/// Why a run failed.
#[derive(Debug)]
pub enum Failure {
    /// A check says so.
    Violation(String),
    /// The engine asserted.
    Panic(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Violation(what) => write!(f, "violation {what}"),
            Failure::Panic(what) => write!(f, "panic: {what}"),
        }
    }
}

/// What came of a run.
pub struct Outcome {
    /// The report, or why it failed.
    pub result: Result<Report, Failure>,
    /// The trace, if it was wanted.
    pub trace: Vec<String>,
    /// Whether the defect that was put in had its chance.
    pub sung: bool,
}

/// One run.
pub fn run_once(profile: Profile, cage: Option<Cage>, trace: bool) -> Outcome {
    let mut world = World::new(profile, cage, trace);
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run()));
    let result = match outcome {
        Ok(Ok(report)) => Ok(report),
        Ok(Err(violation)) => Err(Failure::Violation(violation)),
        Err(payload) => {
            let text = payload.downcast_ref::<String>().cloned();
            let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(Failure::Panic(text.unwrap_or_default()))
        }
    };
    Outcome { result, trace: world.take_trace(), sung: world.has_sung() }
}

/// Runs a profile that must pass.
///
/// # Errors
/// What went wrong and how to see it again; the whole story is printed.
pub fn run(profile: &Profile) -> Result<Report, String> {
    println!("{}", replay(profile));
    let outcome = run_once(profile.clone(), None, false);
    outcome.result.map_err(|failure| {
        // The run is the same again, with its trace.
        let trace = run_once(profile.clone(), None, true).trace;
        let skipped = if std::env::var("SIM_TRACE").is_ok() { 0 } else { trace.len().saturating_sub(TRACE_LINES) };
        println!("{profile:#?}\n{}\n{failure}\n{}", trace[skipped..].join("\n"), replay(profile));
        format!("{failure}\n    {}", replay(profile))
    })
}

/// Seeds per mode: `SIM_SEEDS`, else the default.
pub fn seeds() -> u64 {
    std::env::var("SIM_SEEDS").ok().map_or(SEEDS, |text| text.parse().expect("SIM_SEEDS is a number"))
}

/// The first seed: `SIM_FIRST`, else 0.
pub fn first_seed() -> u64 {
    std::env::var("SIM_FIRST").ok().map_or(0, |text| text.parse().expect("SIM_FIRST is a number"))
}

/// Lines of a failure's trace that are shown without `SIM_TRACE`.
const TRACE_LINES: usize = 200;

/// Seeds per mode without `SIM_SEEDS`.
const SEEDS: u64 = 40;

/// Runs all seeds of a mode, and only then fails. Over the default number of seeds everything must have been seen.
pub fn run_all(mode: Mode) {
    let profiles: Vec<Profile> = (first_seed()..first_seed() + seeds()).map(|seed| Profile::draw(seed, mode)).collect();
    let totals = run_each(&profiles);
    println!("{} seeds, {totals:?}", profiles.len());
    let never = |name: &str| match name {
        "epochs" => !mode.is_linked(),
        "pages_beyond" | "recovered_beyond" => mode == Mode::Memory,
        name if name.starts_with("store_") => !matches!(mode, Mode::Durable | Mode::Behind),
        _ => false,
    };
    for (name, number) in totals {
        let excused = seeds() < SEEDS || never(name);
        assert!(number > 0 || excused, "{name}: nothing seen in all runs, so nothing is proven");
    }
}

/// Runs each, and only then fails. Returns what was seen, over all.
pub fn run_each(profiles: &[Profile]) -> BTreeMap<&'static str, u64> {
    let (mut failures, mut totals) = (Vec::new(), BTreeMap::new());
    for profile in profiles {
        match run(profile) {
            Ok(report) => {
                for (name, number) in report.seen.numbers() {
                    *totals.entry(name).or_default() += number;
                }
            }
            Err(failure) => failures.push(failure),
        }
    }
    assert!(failures.is_empty(), "{} of {} seeds failed:\n{}", failures.len(), profiles.len(), failures.join("\n"));
    totals
}
