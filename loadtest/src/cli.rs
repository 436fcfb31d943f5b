//! Owns the command line: its commands and options. Never runs a command.

mod commands;
mod edge;
mod keep;
mod people;
mod scenarios;
mod values;

use std::ffi::OsString;

use clap::{Parser, Subcommand};

pub use commands::{CapacityArgs, CompareArgs, EdgeCommandArgs, GrowArgs, PlacementArgs, ReportArgs, SuiteArgs};
pub use keep::KeepArgs;
pub use people::{ChatArgs, DurableArgs};
pub use scenarios::{DialectName, MixedArgs, PacedArgs, RunArgs, SoakArgs, StormArgs};
pub use values::core_list;

use crate::plan::Scenario;

/// Load generator for Roomring and other WebSocket servers.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
#[command(
    after_help = "Without a command, runs the suite with the given options, such as `loadtest --quick --html report.html`."
)]
pub struct Cli {
    /// The command to run.
    #[command(subcommand)]
    pub command: LoadtestCommand,
}

/// Inserts `suite` into a command line without a command.
pub fn with_default(mut words: Vec<OsString>) -> Vec<OsString> {
    let about_all = |word: &OsString| ["-h", "--help", "-V", "--version"].iter().any(|flag| word == flag);
    let names_command = words.get(1).is_some_and(|word| about_all(word) || !word.to_string_lossy().starts_with('-'));
    if !names_command {
        words.insert(words.len().min(1), "suite".into());
    }
    words
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum LoadtestCommand {
    /// Joins rooms and waits: memory per connection, CPU of an idle server.
    Idle(RunArgs),
    /// Publishes to rooms, one publisher each: throughput and latency of the fan-out.
    Fanout(PacedArgs),
    /// Sends messages to an echo server: throughput and latency without rooms.
    Echo(PacedArgs),
    /// Connects, joins and closes, repeatedly (`--connections` at a time).
    Churn(RunArgs),
    /// Stalls some readers: latency of the other readers, compared to a run without stalled ones.
    Slow(PacedArgs),
    /// Drops the connections of all readers at once, repeatedly; the readers recover by position.
    Storm(StormArgs),
    /// Runs a chat: rooms of all sizes, bursts, reads, joins and leaves (Roomring only).
    Mixed(MixedArgs),
    /// Runs random clients that join, publish, vanish and recover, and checks every message (Roomring only).
    Soak(SoakArgs),
    /// Publishes under load, kills the server with `kill -9`, starts it again on the same files, and checks that every
    /// acknowledged publish is there: latency until the answer, start after a kill, cold rooms (Roomring only).
    Durable(DurableArgs),
    /// Runs people who chat: private and public rooms, typing, receipts, presence, absences and inboxes; checks every
    /// message and unread count (Roomring only).
    ///
    /// Each user is in three rooms of 2, two of 8, one of 30 (private, joined by invite) and a public one of 200, to which
    /// 60, 25, 12 and 3 percent of the messages go. These numbers and all rates are assumptions about people.
    Chat(ChatArgs),
    /// Runs a bare send loop in place of a server: CPU per `send` of the same bytes to as many sockets.
    Floor(PacedArgs),
    /// Compares servers: runs one scenario against each in turn, in several rounds, and compares medians.
    Compare(CompareArgs),
    /// Measures the cost of TLS, compression, tokens and limits in a standard set of scenarios.
    Edge(EdgeCommandArgs),
    /// Measures how cost grows: runs one scenario with several values of one option.
    Grow(GrowArgs),
    /// Runs every scenario for a few seconds and compares each figure to its target (default command).
    Suite(SuiteArgs),
    /// Renders results saved with `--json` as HTML.
    Report(ReportArgs),
    /// Estimates the capacity of this host from short runs against Roomring.
    Capacity(CapacityArgs),
    /// A generator process, started by the other commands.
    #[command(hide = true)]
    Worker,
    /// The server of `floor`.
    #[command(hide = true)]
    FloorServer,
}

/// The scenario and options of a command that runs one scenario.
pub fn scenario_of(command: &LoadtestCommand) -> anyhow::Result<(Scenario, &RunArgs)> {
    Ok(match command {
        LoadtestCommand::Idle(args) => (Scenario::Idle, args),
        LoadtestCommand::Soak(args) => (Scenario::Soak(args.load()?), &args.run),
        LoadtestCommand::Storm(args) => (Scenario::Storm(args.load()?), &args.run),
        LoadtestCommand::Mixed(args) => (Scenario::Mixed(args.load()?), &args.run),
        LoadtestCommand::Durable(args) => (Scenario::Durable(args.load()?), &args.run),
        LoadtestCommand::Chat(args) => (Scenario::Chat(args.load()?), &args.run),
        LoadtestCommand::Churn(args) => (Scenario::Churn, args),
        LoadtestCommand::Echo(args) => (Scenario::Echo { pace: args.pace()? }, &args.run),
        LoadtestCommand::Fanout(args) => {
            let stalled_per_mille = args.stalled_per_mille()?;
            (Scenario::Fanout { pace: args.pace()?, stalled_per_mille }, &args.run)
        }
        _ => anyhow::bail!("expected a command that runs one scenario, such as fanout"),
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
    fn suite_is_the_default_command() {
        let words = |line: &str| with_default(line.split(' ').map(OsString::from).collect());
        let parsed = |line: &str| Cli::try_parse_from(words(line)).map(|cli| cli.command);
        assert!(matches!(parsed("loadtest"), Ok(LoadtestCommand::Suite(SuiteArgs { quick: false, .. }))));
        assert!(matches!(
            parsed("loadtest --quick --seed 3"),
            Ok(LoadtestCommand::Suite(SuiteArgs { quick: true, .. }))
        ));
        assert!(matches!(parsed("loadtest idle -c 5"), Ok(LoadtestCommand::Idle(_))));
        let help = parsed("loadtest --help").expect_err("help is not a command");
        assert!(help.to_string().contains("fanout"), "help lists all commands: {help}");
        assert!(parsed("loadtest fly").is_err());
    }
}
