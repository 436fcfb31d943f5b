//! The canonical suite: a short run of each scenario against one server, every figure against its target. The list of
//! parts is [`PARTS`]; each is a command line that works on its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use clap::{Args, Parser as _};
use serde::{Deserialize, Serialize};

use crate::args::{Cli, Command, DialectName, KeepArgs, RunArgs};
use crate::compare::bytes_each;
use crate::report::figures::{Unit, floor_ns};
use crate::report::kept::{Document, Slow};
use crate::report::text;
use crate::run::outcome::plural;
use crate::run::{Outcome, ServerFigures};
use crate::server::launch::{Conditions, Kind, Spec};
use crate::{scenario_of, slow, start_and_run};

/// Options of the suite.
#[derive(Clone, Debug, Args)]
pub struct SuiteArgs {
    /// The server that is started for each part: `[LABEL:]KIND[=PATH]` as in `compare`.
    #[arg(long, default_value = "roomring")]
    pub server: Spec,
    /// CPUs of the server; by default the first one, when there are two.
    #[arg(long, value_name = "LIST")]
    pub server_cores: Option<String>,
    /// Configuration of a Roomring.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub server_set: Vec<String>,
    /// CPUs of the generator; by default the second one, when there are two.
    #[arg(long, value_name = "LIST")]
    pub cores: Option<String>,
    /// How a Roomring is spoken to: `json` or `binary`.
    #[arg(long, value_enum, default_value_t = DialectName::Json)]
    pub dialect: DialectName,
    /// A quarter of the time: to see that all works, not for figures.
    #[arg(long)]
    pub quick: bool,
    /// Repeats the random choices of another suite.
    #[arg(long)]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub keep: KeepArgs,
    /// No progress on standard error.
    #[arg(long, short)]
    pub quiet: bool,
}

/// One part of the suite.
struct Part {
    name: &'static str,
    /// The command line, without the server and its CPUs.
    arguments: &'static str,
    /// Why no server but Roomring can do it, if so.
    roomring_only: Option<&'static str>,
    goals: &'static [Goal],
}

/// A figure of a part, and what it is to reach.
struct Goal {
    figure: &'static str,
    unit: Unit,
    target: Target,
    read: fn(&Evidence<'_>) -> Option<f64>,
}

/// What a figure is to reach.
#[derive(Clone, Copy)]
enum Target {
    None,
    AtLeast(f64),
    AtMost(f64),
}

/// What a goal is read from.
struct Evidence<'a> {
    run: &'a Outcome,
    slow: Option<&'a Slow>,
    /// The run of the part before.
    before: Option<&'a Outcome>,
}

const FAST: &str = "--connections 1000 --room-size 100 --settle 500ms --warmup 1s --duration 4s";

/// The parts, in their order: `FAST` stands for the options that most share. The targets are those of the design.
const PARTS: [Part; 10] = [
    Part {
        name: "idle",
        arguments: "idle --connections 18000 --room-size 100 --settle 1s --warmup 0s --duration 3s",
        roomring_only: None,
        goals: &[
            Goal {
                figure: "private memory per connection",
                unit: Unit::Bytes,
                target: Target::AtMost(300.0),
                read: |all| figures(all.run).map(|server| server.private_per_connection[0]),
            },
            Goal {
                figure: "kernel slab per connection",
                unit: Unit::Bytes,
                target: Target::None,
                read: |all| figures(all.run).map(|server| server.slab_per_connection),
            },
        ],
    },
    Part {
        name: "fanout, 1 in flight",
        arguments: "fanout FAST --in-flight 1",
        roomring_only: None,
        goals: &[
            PER_CPU_SECOND,
            Goal {
                figure: "allocations per delivery",
                unit: Unit::Plain(""),
                target: Target::AtMost(0.0),
                read: |all| all.run.per_unit.get("allocations").copied(),
            },
        ],
    },
    // Behind the run whose deliveries it sends again, bare, in as many bytes each.
    Part {
        name: "floor",
        arguments: "floor FAST --in-flight 1",
        roomring_only: None,
        goals: &[
            Goal {
                figure: "CPU of a bare send",
                unit: Unit::Plain("ns"),
                target: Target::None,
                read: |all| floor_ns(all.run),
            },
            Goal {
                figure: "floor ratio of the part above",
                unit: Unit::Plain(""),
                target: Target::AtMost(1.0),
                read: |all| Some(figures(all.before?)?.cpu_ns / floor_ns(all.run)?),
            },
        ],
    },
    Part {
        name: "fanout, 16 in flight",
        arguments: "fanout FAST --in-flight 16",
        roomring_only: None,
        goals: &[Goal { target: Target::AtLeast(2_500_000.0), ..PER_CPU_SECOND }],
    },
    Part {
        name: "open loop, 24,000/s",
        arguments: "fanout FAST --rate 240",
        roomring_only: None,
        goals: &[
            Goal {
                figure: "latency p50",
                unit: Unit::Micros,
                target: Target::AtMost(400.0),
                read: |all| all.run.durations.get("latency").map(|latency| latency.p50),
            },
            Goal {
                figure: "latency p99",
                unit: Unit::Micros,
                target: Target::AtMost(700.0),
                read: |all| all.run.durations.get("latency").map(|latency| latency.p99),
            },
            Goal {
                figure: "latency p99.9",
                unit: Unit::Micros,
                target: Target::AtMost(900.0),
                read: |all| all.run.durations.get("latency").map(|latency| latency.p999),
            },
        ],
    },
    Part {
        name: "echo",
        arguments: "echo FAST",
        roomring_only: None,
        goals: &[Goal { target: Target::AtLeast(150_000.0), ..PER_CPU_SECOND }],
    },
    Part {
        name: "churn",
        arguments: "churn --connections 100 --warmup 1s --duration 4s --settle 0s",
        roomring_only: None,
        goals: &[Goal { target: Target::AtLeast(30_000.0), ..PER_CPU_SECOND }],
    },
    Part {
        name: "storm",
        arguments: "storm FAST --every 2s --rate 100",
        roomring_only: Some("its clients cannot recover by position"),
        goals: &[
            Goal {
                figure: "until all are back, p50",
                unit: Unit::Micros,
                target: Target::None,
                read: |all| all.run.durations.get("whole").map(|whole| whole.p50),
            },
            Goal {
                figure: "server CPU per reconnect",
                unit: Unit::Micros,
                target: Target::None,
                read: |all| all.run.storm?.server_us_per_reconnect,
            },
        ],
    },
    Part {
        name: "mixed",
        arguments: "mixed --connections 1000 --rate 500 --settle 500ms --warmup 1s --duration 4s",
        roomring_only: Some("it has no presence and no history"),
        goals: &[
            PER_CPU_SECOND,
            Goal {
                figure: "latency p99",
                unit: Unit::Micros,
                target: Target::None,
                read: |all| all.run.durations.get("latency").map(|latency| latency.p99),
            },
        ],
    },
    Part {
        name: "slow, 1 % stalled",
        arguments: "slow FAST --rate 240 --stalled 1",
        roomring_only: None,
        goals: &[Goal {
            figure: "p99.9 with ÷ without",
            unit: Unit::Plain(""),
            target: Target::AtMost(1.1),
            read: |all| all.slow?.median().map(crate::report::kept::SlowRound::ratio),
        }],
    },
];

/// The figure that most parts have: units of work per CPU-second of the server. The unit's name is put before it.
const PER_CPU_SECOND: Goal = Goal {
    figure: "per CPU-second",
    unit: Unit::Plain(""),
    target: Target::None,
    read: |all| figures(all.run).filter(|_| all.run.work().0 > 0).map(|server| server.per_cpu_second),
};

fn figures(run: &Outcome) -> Option<&ServerFigures> {
    run.server.as_ref()
}

/// The result of a suite.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SuiteResult {
    /// The server's name.
    pub server: String,
    /// Whether it ran for a quarter of the time.
    pub quick: bool,
    /// Its parts, in their order.
    pub parts: Vec<PartResult>,
}

/// The result of one part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PartResult {
    /// Its name.
    pub name: String,
    /// The command line that does the same.
    pub command: Vec<String>,
    /// Why it was not run, if so.
    pub skipped: Option<String>,
    /// Its figures.
    pub goals: Vec<GoalResult>,
    /// Its run; of `slow`, the run with stalled readers of the round that counts.
    pub run: Option<Box<Outcome>>,
    /// All rounds of `slow`.
    pub slow: Option<Slow>,
}

/// One figure of a part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GoalResult {
    /// What it is.
    pub figure: String,
    /// Its value, in microseconds, nanoseconds, bytes or plain numbers.
    pub value: Option<f64>,
    /// The value as it is shown.
    pub shown: String,
    /// What it is to reach, as it is shown.
    pub target: Option<String>,
    /// Whether it does; `None` without a target or a value.
    pub met: Option<bool>,
}

impl SuiteResult {
    /// Whether every run can be believed, and there was one.
    #[must_use]
    pub fn valid(&self) -> bool {
        let mut runs = self.parts.iter().filter(|part| part.run.is_some()).peekable();
        runs.peek().is_some() && runs.all(|part| part.reasons().is_empty())
    }
}

impl PartResult {
    /// Why its runs cannot be believed.
    #[must_use]
    pub fn reasons(&self) -> Vec<&str> {
        let rounds = self.slow.iter().flat_map(|slow| &slow.rounds).flat_map(|round| [&round.without, &round.with]);
        let run = self.run.as_deref().filter(|_| self.slow.is_none());
        run.into_iter().chain(rounds).flat_map(|run| &run.verdict.reasons).map(String::as_str).collect()
    }
}

impl Target {
    fn met(self, value: f64) -> Option<bool> {
        match self {
            Target::None => None,
            Target::AtLeast(bound) => Some(value >= bound),
            Target::AtMost(bound) => Some(value <= bound),
        }
    }

    fn show(self, unit: Unit) -> Option<String> {
        match self {
            Target::None => None,
            Target::AtLeast(bound) => Some(format!("≥ {}", unit.show(bound))),
            Target::AtMost(bound) => Some(format!("≤ {}", unit.show(bound))),
        }
    }
}

/// Runs all parts and prints their table. True when every run can be believed.
///
/// # Errors
/// The server cannot be started, or a file cannot be written.
pub fn run(args: &SuiteArgs, stop: &Arc<AtomicBool>) -> anyhow::Result<bool> {
    let mut all = SuiteResult { server: args.server.label.clone(), quick: args.quick, parts: Vec::new() };
    for (index, part) in PARTS.iter().enumerate() {
        let words = words(part, args.quick);
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
            run_part(args, &command, before, &mut result, stop).with_context(|| format!("part {:?}", part.name))?;
        }
        if let Some(run) = &result.run {
            let before = all.parts.last().and_then(|part| part.run.as_deref());
            let evidence = Evidence { run, slow: result.slow.as_ref(), before };
            result.goals = part.goals.iter().filter_map(|goal| goal.result(&evidence)).collect();
        }
        all.parts.push(result);
    }
    print!("{}", table(&all));
    let valid = all.valid();
    Document::Suite(all).keep(&args.keep)?;
    Ok(valid)
}

impl Goal {
    /// `None` when the server does not tell the figure.
    fn result(&self, evidence: &Evidence<'_>) -> Option<GoalResult> {
        let value = (self.read)(evidence).filter(|value| value.is_finite())?;
        let per = if self.figure.starts_with("per ") { plural(evidence.run.work().1) + " " } else { String::new() };
        Some(GoalResult {
            figure: per + self.figure,
            value: Some(value),
            shown: self.unit.show(value),
            target: self.target.show(self.unit),
            met: self.target.met(value),
        })
    }
}

/// Why a part cannot be run, if so.
fn skipped(part: &Part, args: &SuiteArgs, stop: &AtomicBool) -> Option<String> {
    if stop.load(Ordering::Relaxed) {
        return Some("ended early".to_owned());
    }
    let kind = args.server.kind;
    match part.roomring_only {
        Some(why) if kind != Kind::Roomring => Some(format!("{} cannot: {why}", args.server.label)),
        _ => {
            let binary = args.dialect == DialectName::Binary;
            let echo = part.arguments.starts_with("echo");
            let conditions = Conditions { echo, binary, ..Conditions::default() };
            args.server.refuse_unable(&conditions).err().map(|why| why.to_string())
        }
    }
}

/// The words of a part's command line; in a quick suite with less time and fewer idle connections.
fn words(part: &Part, quick: bool) -> Vec<String> {
    let all = part.arguments.replace("FAST", FAST);
    let mut words: Vec<String> = all.split_whitespace().map(str::to_owned).collect();
    if quick {
        shorten(&mut words);
    }
    words
}

/// Makes a command line one that is over soon: with less time, and fewer idle connections.
pub fn shorten(words: &mut [String]) {
    for at in 1..words.len() {
        let shorter = match (words[at - 1].as_str(), words[at].as_str()) {
            ("--duration", _) => "1s",
            ("--every", _) => "500ms",
            ("--warmup" | "--settle", "1s" | "500ms") => "250ms",
            ("--connections", "5000" | "18000") => "2000",
            _ => continue,
        };
        words[at] = shorter.to_owned();
    }
}

/// The CPU of the server (0) or the generator (1), when there are two.
pub fn default_cpu(place: usize) -> Option<String> {
    let cpus = core_affinity::get_core_ids().unwrap_or_default();
    cpus.get(place).filter(|_| cpus.len() >= 2).map(|cpu| cpu.id.to_string())
}

fn run_part(
    args: &SuiteArgs,
    command: &[String],
    before: Option<&Outcome>,
    result: &mut PartResult,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<()> {
    match Cli::try_parse_from(command)?.command {
        Command::Slow(mut paced) => {
            conditions(args, &mut paced.run);
            paced.run.server = Some(args.server.clone());
            let slow = slow::rounds(&paced, if args.quick { 1 } else { 2 }, stop)?;
            result.run = slow.median().map(|round| Box::new(round.with.clone()));
            match slow.rounds.is_empty() {
                true => result.skipped = Some("ended early".to_owned()),
                false => result.slow = Some(slow),
            }
        }
        Command::Floor(mut paced) => {
            conditions(args, &mut paced.run);
            paced.run.size = before.and_then(bytes_each).unwrap_or(paced.run.size);
            let floor: Spec = "floor".parse()?;
            let parsed = Command::Fanout(paced);
            let (scenario, run_args) = scenario_of(&parsed)?;
            result.run = Some(Box::new(start_and_run(run_args, scenario, Some(&floor), stop)?));
        }
        parsed => {
            let (scenario, run_args) = scenario_of(&parsed)?;
            let mut run_args = run_args.clone();
            conditions(args, &mut run_args);
            result.run = Some(Box::new(start_and_run(&run_args, scenario, Some(&args.server), stop)?));
        }
    }
    Ok(())
}

/// What all parts have in common.
fn conditions(args: &SuiteArgs, run: &mut RunArgs) {
    run.server_cores = args.server_cores.clone().or_else(|| default_cpu(0));
    run.cores = args.cores.clone().or_else(|| default_cpu(1));
    run.server_set.clone_from(&args.server_set);
    run.dialect = args.dialect;
    run.seed = args.seed.or(run.seed);
    run.quiet = args.quiet;
}

/// One line per figure: part, figure, value, target, verdict.
fn table(all: &SuiteResult) -> String {
    let heading = ["part", "figure", "measured", "target", "verdict"].map(str::to_owned);
    let mut lines: Vec<Vec<String>> = Vec::new();
    for part in &all.parts {
        let valid = part.reasons().is_empty();
        if let Some(why) = &part.skipped {
            lines.push(vec![part.name.clone(), "-".into(), "-".into(), "-".into(), format!("not run: {why}")]);
        }
        for (index, goal) in part.goals.iter().enumerate() {
            let name = if index == 0 { part.name.clone() } else { String::new() };
            let verdict = match (valid, goal.met) {
                (false, _) => "INVALID",
                (true, Some(true)) => "met",
                (true, Some(false)) => "missed",
                (true, None) => "",
            };
            let target = goal.target.clone().unwrap_or_default();
            lines.push(vec![name, goal.figure.clone(), goal.shown.clone(), target, verdict.to_owned()]);
        }
        if part.skipped.is_none() && part.goals.is_empty() {
            let verdict = if valid { "no figure" } else { "INVALID" };
            lines.push(vec![part.name.clone(), "-".into(), "-".into(), "-".into(), verdict.into()]);
        }
    }
    let mut shown = text::table("llrrl", &heading, &lines);
    for part in &all.parts {
        for reason in part.reasons() {
            shown.push_str(&format!("{} {}: {reason}\n", text::bad("INVALID"), part.name));
        }
    }
    if let Some(run) = all.parts.iter().find_map(|part| part.run.as_deref()) {
        let host = &run.host;
        shown.push_str(&format!("\n{} x {}, Linux {}, load {} before\n", host.cpus, host.cpu, host.kernel, host.load));
    }
    if all.quick {
        shown.push_str("quick: too short for figures\n");
    }
    shown.push_str(&if all.valid() { text::good("VALID") } else { text::bad("INVALID") });
    shown.push('\n');
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;
    use crate::server::floor::FloorCounters;

    #[test]
    fn every_part_is_a_command_line() {
        for part in &PARTS {
            for quick in [false, true] {
                let words = std::iter::once("loadtest".to_owned()).chain(words(part, quick));
                let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{}: {error}", part.name));
                assert!(
                    matches!(cli.command, Command::Slow(_) | Command::Floor(_)) || scenario_of(&cli.command).is_ok()
                );
                assert!(!part.goals.is_empty(), "{}", part.name);
            }
        }
    }

    #[test]
    fn a_figure_is_held_against_its_target() {
        let run = samples::fanout("roomring", 1.0);
        let goals = |name: &str| PARTS.iter().find(|part| part.name.starts_with(name)).expect("listed").goals;
        let evidence = Evidence { run: &run, slow: None, before: None };
        let results: Vec<_> = goals("open").iter().filter_map(|goal| goal.result(&evidence)).collect();
        assert_eq!(results.len(), 3);
        assert_eq!(results[0].met, Some(true), "{results:?}");
        assert_eq!(results[0].target.as_deref(), Some("≤ 400 µs"));
        let closed: Vec<_> = goals("fanout, 1 ").iter().filter_map(|goal| goal.result(&evidence)).collect();
        assert_eq!(closed.len(), 1, "allocations are not told: {closed:?}");
        assert_eq!(closed[0].figure, "deliveries per CPU-second");
        let mut bare = run.clone();
        bare.floor = Some(FloorCounters { sends: 100, frames: 100, send_cpu_ns: 100_000, ..FloorCounters::default() });
        let ratio = &goals("floor")[1];
        assert!(ratio.result(&Evidence { run: &bare, slow: None, before: None }).is_none(), "nothing to compare with");
        let against = |before| ratio.result(&Evidence { run: &bare, slow: None, before: Some(before) });
        assert_eq!(against(&run).expect("known").met, Some(false), "5.8 us each against 1 us");
    }

    #[test]
    fn the_table_names_what_was_not_run_and_what_is_invalid() {
        let part = |name: &str, run: Option<Outcome>, skipped: Option<&str>| PartResult {
            name: name.to_owned(),
            command: Vec::new(),
            skipped: skipped.map(str::to_owned),
            goals: Vec::new(),
            run: run.map(Box::new),
            slow: None,
        };
        let good = samples::fanout("roomring", 1.0);
        let mut bad = good.clone();
        bad.verdict.valid = false;
        bad.verdict.reasons = vec!["3 publications lost".into()];
        let mut all = SuiteResult {
            server: "roomring".into(),
            quick: true,
            parts: vec![part("a", Some(good), None), part("b", None, Some("uws cannot: no recovery"))],
        };
        let text = table(&all);
        assert!(text.contains("not run: uws cannot: no recovery") && text.ends_with("\nVALID\n"), "{text}");
        all.parts.push(part("c", Some(bad), None));
        let text = table(&all);
        assert!(text.contains("INVALID c: 3 publications lost") && !all.valid(), "{text}");
        all.parts.clear();
        assert!(!all.valid(), "nothing was run");
    }
}
