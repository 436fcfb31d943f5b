//! The command line: what it may say, and which command that is.

mod commands;
mod edge;
mod keep;
mod scenarios;
mod values;

use std::ffi::OsString;

use clap::{Parser, Subcommand};

pub use commands::{CapacityArgs, CompareArgs, EdgeCommandArgs, GrowArgs, ReportArgs, SuiteArgs};
pub use keep::KeepArgs;
pub use scenarios::{DialectName, MixedArgs, PacedArgs, RunArgs, SoakArgs, StormArgs};
pub use values::core_list;

use crate::plan::Scenario;

/// Load generator for Roomring and other WebSocket servers.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
#[command(after_help = "Without a command: the suite, with its options, as in `loadtest --quick --html report.html`.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: LoadtestCommand,
}

/// The words of a command line with `suite` where no command is named.
pub fn with_default(mut words: Vec<OsString>) -> Vec<OsString> {
    let about_all = |word: &OsString| ["-h", "--help", "-V", "--version"].iter().any(|flag| word == flag);
    let names_command = words.get(1).is_some_and(|word| about_all(word) || !word.to_string_lossy().starts_with('-'));
    if !names_command {
        words.insert(words.len().min(1), "suite".into());
    }
    words
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum LoadtestCommand {
    /// Clients join rooms and stay: memory per connection, CPU of an idle server.
    Idle(RunArgs),
    /// One publisher per room, every member receives: throughput and latency of the fan-out.
    Fanout(PacedArgs),
    /// Every client sends and gets the same back.
    Echo(PacedArgs),
    /// Clients connect, join and close, over and over (`--connections` at a time).
    Churn(RunArgs),
    /// Readers stall: what the healthy ones feel, against the same run without.
    Slow(PacedArgs),
    /// All readers lose their connections at once and recover by position, over and over.
    Storm(StormArgs),
    /// A chat: rooms of all sizes, bursts, reads, comings and goings (Roomring only).
    Mixed(MixedArgs),
    /// Random clients that join, publish, vanish and recover, in both forms; everything is checked (Roomring only).
    Soak(SoakArgs),
    /// The bare send loop in place of a server: CPU per `send` of the same bytes to as many sockets.
    Floor(PacedArgs),
    /// Runs one scenario against several servers in turn, round by round, and compares medians.
    Compare(CompareArgs),
    /// What TLS, compression, tokens and limits cost: a standard set of scenarios with and without each.
    Edge(EdgeCommandArgs),
    /// Runs one scenario with one of its options going through several values: how the cost grows.
    Grow(GrowArgs),
    /// Every scenario for a few seconds, each figure against its target (also without any command).
    Suite(SuiteArgs),
    /// Renders results kept by `--json` again.
    Report(ReportArgs),
    /// Estimates what this host will hold, from short runs against a Roomring that is started for each.
    Capacity(CapacityArgs),
    /// A generator process (started by the others).
    #[command(hide = true)]
    Worker,
    /// The server of `floor`.
    #[command(hide = true)]
    FloorServer,
}

/// The scenario of a command that is one run.
pub fn scenario_of(command: &LoadtestCommand) -> anyhow::Result<(Scenario, &RunArgs)> {
    Ok(match command {
        LoadtestCommand::Idle(args) => (Scenario::Idle, args),
        LoadtestCommand::Soak(args) => (Scenario::Soak(args.load()?), &args.run),
        LoadtestCommand::Storm(args) => (Scenario::Storm(args.load()?), &args.run),
        LoadtestCommand::Mixed(args) => (Scenario::Mixed(args.load()?), &args.run),
        LoadtestCommand::Churn(args) => (Scenario::Churn, args),
        LoadtestCommand::Echo(args) => (Scenario::Echo { pace: args.pace()? }, &args.run),
        LoadtestCommand::Fanout(args) => {
            let stalled_per_mille = args.stalled_per_mille()?;
            (Scenario::Fanout { pace: args.pace()?, stalled_per_mille }, &args.run)
        }
        _ => anyhow::bail!("this command is not a single run"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_command_it_is_the_suite() {
        let words = |line: &str| with_default(line.split(' ').map(OsString::from).collect());
        let parsed = |line: &str| Cli::try_parse_from(words(line)).map(|cli| cli.command);
        assert!(matches!(parsed("loadtest"), Ok(LoadtestCommand::Suite(SuiteArgs { quick: false, .. }))));
        assert!(matches!(
            parsed("loadtest --quick --seed 3"),
            Ok(LoadtestCommand::Suite(SuiteArgs { quick: true, .. }))
        ));
        assert!(matches!(parsed("loadtest idle -c 5"), Ok(LoadtestCommand::Idle(_))));
        let help = parsed("loadtest --help").expect_err("is no command");
        assert!(help.to_string().contains("fanout"), "help is about all commands: {help}");
        assert!(parsed("loadtest fly").is_err());
    }
}
