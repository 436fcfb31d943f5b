//! Load generator for Roomring and other WebSocket servers.
//!
//! The parent process divides the clients among generator processes ([`worker`]). Each has one thread with an epoll
//! ([`fleet`]) on its own core. The parent leads them through the phases of a [`run`], reads the server's figures, and
//! judges whether the result is valid. Of Roomring it uses only `wire`.
//!
//! [`cli`] parses the command line, [`commands`] run it, [`results`] hold the measurements, and [`report`] shows them.

mod cli;
mod clock;
mod commands;
mod dialect;
mod edge;
mod fleet;
mod measure;
mod payload;
mod plan;
mod report;
mod results;
mod run;
mod scenario;
mod server;
mod store;
mod text;
mod tokens;
mod worker;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser as _;

use cli::{Cli, LoadtestCommand};
use commands::{capacity, compare, edge as edge_command, grow, keep, single, slow, suite};

fn main() -> ExitCode {
    let cli = Cli::parse_from(cli::with_default(std::env::args_os().collect()));
    match dispatch(cli.command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs a command. Returns whether its result is valid.
fn dispatch(command: LoadtestCommand) -> anyhow::Result<bool> {
    match command {
        LoadtestCommand::Worker => worker::run().map(|()| true),
        LoadtestCommand::FloorServer => server::floor::run().map(|()| true),
        LoadtestCommand::Slow(args) => slow::run(&args, &stop_on_interrupt()?),
        LoadtestCommand::Compare(args) => compare::run(&args, &stop_on_interrupt()?),
        LoadtestCommand::Grow(args) => grow::run(&args, &stop_on_interrupt()?),
        LoadtestCommand::Suite(args) => suite::run(&args, &stop_on_interrupt()?),
        LoadtestCommand::Report(args) => keep::render(&args),
        LoadtestCommand::Edge(args) => edge_command::run(&args, &stop_on_interrupt()?),
        LoadtestCommand::Capacity(args) => capacity::run(&args, &stop_on_interrupt()?),
        LoadtestCommand::Floor(mut args) => {
            args.run.server = Some("floor".parse()?);
            dispatch(LoadtestCommand::Fanout(args))
        }
        command => {
            let (scenario, args) = cli::scenario_of(&command)?;
            single::run(args, scenario, &stop_on_interrupt()?)
        }
    }
}

/// Returns a flag that the first Ctrl-C (or SIGTERM) sets. The second one ends the program.
fn stop_on_interrupt() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // The order matters: the first signal must find the flag unset.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}
