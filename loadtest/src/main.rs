//! Load generator for Roomring and other WebSocket servers.
//!
//! The parent process divides the clients among generator processes ([`worker`]), each one thread with an epoll
//! ([`fleet`]) on a core of its own, leads them through the phases of a [`run`], reads the server's figures meanwhile,
//! and judges whether the result can be believed. Of Roomring it uses `wire` and nothing else.
//!
//! [`cli`] reads the command line, [`commands`] do what it says, [`results`] are what they measured, and [`report`]
//! shows those.

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

/// True when the result can be believed.
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
