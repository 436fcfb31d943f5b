//! Load generator for Roomring and other WebSocket servers.
//!
//! The parent process divides the clients among generator processes ([`worker`]), each one thread with an epoll
//! ([`fleet`]) on a core of its own, leads them through the phases of a [`run`], reads the server's figures meanwhile,
//! and judges whether the result can be believed. Of Roomring it uses `wire` and nothing else.

mod args;
mod clock;
mod dialect;
mod fleet;
mod measure;
mod payload;
mod plan;
mod report;
mod run;
mod scenario;
mod worker;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use clap::Parser as _;

use args::{Cli, Command, RunArgs};
use plan::Scenario;

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
        Command::Idle(args) => single(&args, Scenario::Idle),
        Command::Churn(args) => single(&args, Scenario::Churn),
        Command::Echo(args) => single(&args.run, Scenario::Echo { pace: args.pace()? }),
        Command::Fanout(args) => {
            let stalled_per_mille = args.stalled_per_mille()?;
            single(&args.run, Scenario::Fanout { pace: args.pace()?, stalled_per_mille })
        }
    }
}

fn single(args: &RunArgs, scenario: Scenario) -> anyhow::Result<bool> {
    let options = args.options(scenario)?;
    let stop = stop_on_interrupt()?;
    let outcome = run::execute(&options, &stop, !args.quiet)?;
    print!("{}", report::table(&outcome));
    if let Some(path) = &args.json {
        let file = std::fs::File::create(path).with_context(|| format!("--json {}", path.display()))?;
        serde_json::to_writer_pretty(file, &outcome)?;
    }
    Ok(outcome.verdict.valid)
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
