//! Load generator for Roomring and other WebSocket servers.
//!
//! The parent process divides the clients among generator processes ([`worker`]), each one thread with an epoll
//! ([`fleet`]) on a core of its own, leads them through the phases of a [`run`], reads the server's figures meanwhile,
//! and judges whether the result can be believed. Of Roomring it uses `wire` and nothing else.

mod args;
mod clock;
mod compare;
mod dialect;
mod fleet;
mod measure;
mod payload;
mod plan;
mod report;
mod run;
mod scenario;
mod server;
mod slow;
mod worker;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, ensure};
use clap::Parser as _;

use args::{Cli, Command, RunArgs};
use dialect::Dialect;
use fleet::address::Target;
use plan::Scenario;
use run::Outcome;
use server::launch::{Kind, Spec};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli.command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// True when the result can be believed.
fn dispatch(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Worker => worker::run().map(|()| true),
        Command::FloorServer => server::floor::run().map(|()| true),
        Command::Slow(args) => slow::run(&args, &stop_on_interrupt()?),
        Command::Compare(args) => compare::run(&args, &stop_on_interrupt()?),
        Command::Floor(mut args) => {
            args.run.server = Some("floor".parse()?);
            dispatch(Command::Fanout(args))
        }
        command => {
            let (scenario, args) = scenario_of(&command)?;
            single(args, scenario)
        }
    }
}

/// The scenario of a command that is one run.
fn scenario_of(command: &Command) -> anyhow::Result<(Scenario, &RunArgs)> {
    Ok(match command {
        Command::Idle(args) => (Scenario::Idle, args),
        Command::Soak(args) => (Scenario::Soak(args.mixture()?), &args.run),
        Command::Storm(args) => (Scenario::Storm(args.weather()?), &args.run),
        Command::Mixed(args) => (Scenario::Mixed(args.mixture()?), &args.run),
        Command::Churn(args) => (Scenario::Churn, args),
        Command::Echo(args) => (Scenario::Echo { pace: args.pace()? }, &args.run),
        Command::Fanout(args) => {
            let stalled_per_mille = args.stalled_per_mille()?;
            (Scenario::Fanout { pace: args.pace()?, stalled_per_mille }, &args.run)
        }
        _ => anyhow::bail!("this command is not a single run"),
    })
}

fn single(args: &RunArgs, scenario: Scenario) -> anyhow::Result<bool> {
    let stop = stop_on_interrupt()?;
    let outcome = start_and_run(args, scenario, args.server.as_ref(), &stop)?;
    print!("{}", report::table(&outcome));
    if let Some(path) = &args.json {
        write_json(path, &outcome)?;
    }
    Ok(outcome.verdict.valid)
}

/// One run, against the server that `server` starts, or the one that the options name.
fn start_and_run(
    args: &RunArgs,
    scenario: Scenario,
    server: Option<&Spec>,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<Outcome> {
    let mut options = args.options(scenario)?;
    let launched = server.map(|spec| spec.launch(&args.conditions(scenario)?)).transpose()?;
    if let (Some(launched), Some(spec)) = (&launched, server) {
        options.name.clone_from(&spec.label);
        options.targets = vec![Target::parse(&launched.url)?];
        options.dialect = launched.dialect.clone();
        options.pid = Some(launched.pid());
        options.control = launched.control.filter(|_| matches!(scenario, Scenario::Soak(_)));
        options.floor = (spec.kind == Kind::Floor).then_some(launched.address);
    }
    let roomring = !matches!(options.dialect, Dialect::Raw(_));
    ensure!(
        roomring || !matches!(scenario, Scenario::Soak(_) | Scenario::Mixed(_)),
        "this scenario needs a server that speaks Roomring's protocol"
    );
    run::execute(&options, stop, !args.quiet)
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> anyhow::Result<()> {
    let file = std::fs::File::create(path).with_context(|| format!("--json {}", path.display()))?;
    serde_json::to_writer_pretty(file, value).with_context(|| format!("--json {}", path.display()))
}

/// A flag that the first Ctrl-C (or SIGTERM) sets; the second ends the program.
fn stop_on_interrupt() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // In this order: at the second signal the flag is already set.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}
