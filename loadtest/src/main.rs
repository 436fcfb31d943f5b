//! Load generator for Roomring and other WebSocket servers.
//!
//! The parent process divides the clients among generator processes ([`worker`]), each one thread with an epoll
//! ([`fleet`]) on a core of its own, leads them through the phases of a [`run`], reads the server's figures meanwhile,
//! and judges whether the result can be believed. Of Roomring it uses `wire` and nothing else.

mod args;
mod capacity;
mod clock;
mod compare;
mod dialect;
mod edge;
mod fleet;
mod grow;
mod measure;
mod payload;
mod plan;
mod report;
mod run;
mod scenario;
mod server;
mod slow;
mod suite;
mod tokens;
mod worker;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::ensure;
use clap::Parser as _;

use args::{Cli, Command, ReportArgs, RunArgs};
use dialect::Dialect;
use edge::Edge;
use fleet::address::Target;
use plan::Scenario;
use report::kept::{Document, write_html};
use run::Outcome;
use server::launch::{Conditions, Kind, Spec};

fn main() -> ExitCode {
    let cli = Cli::parse_from(args::with_default(std::env::args_os().collect()));
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
        Command::Grow(args) => grow::run(&args, &stop_on_interrupt()?),
        Command::Suite(args) => suite::run(&args, &stop_on_interrupt()?),
        Command::Report(args) => render(&args),
        Command::Edge(args) => edge::command::run(&args, &stop_on_interrupt()?),
        Command::Capacity(args) => capacity::run(&args, &stop_on_interrupt()?),
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
    let valid = outcome.verdict.valid;
    Document::Run(Box::new(outcome)).keep(&args.keep)?;
    Ok(valid)
}

/// Renders kept results. True when they can be read, whatever their verdicts.
fn render(args: &ReportArgs) -> anyhow::Result<bool> {
    let documents = args.results.iter().map(|path| Document::read(path)).collect::<anyhow::Result<Vec<_>>>()?;
    write_html(&documents, &args.html).map(|()| true)
}

/// One run, against the server that `server` starts, or the one that the options name.
fn start_and_run(
    args: &RunArgs,
    scenario: Scenario,
    server: Option<&Spec>,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<Outcome> {
    let mut options = args.options(scenario)?;
    options.edge = options.edge.and(server.map_or_else(Edge::default, |spec| spec.edge));
    let edge = options.edge;
    ensure!(!edge.limits || server.is_some(), "--limits on is for a roomring that is started here: --server roomring");
    if edge.jwt && options.secret.is_none() {
        ensure!(server.is_some(), "--jwt: a server that is not started here needs its --jwt-secret");
        options.secret = Some(edge::new_secret());
    }
    let conditions = Conditions { edge, secret: options.secret.clone(), ..args.conditions(scenario)? };
    let launched = server.map(|spec| spec.launch(&conditions)).transpose()?;
    if let (Some(launched), Some(spec)) = (&launched, server) {
        options.name.clone_from(&spec.label);
        options.targets = vec![Target::parse(&launched.url)?];
        options.dialect = launched.dialect.clone();
        options.pid = Some(launched.pid());
        options.control = launched.control;
        options.floor = (spec.kind == Kind::Floor).then_some(launched.address);
    }
    if let (Dialect::Raw(templates), payload::Kind::Json) = (&options.dialect, options.payload) {
        let publish = &templates.publish;
        ensure!(publish == "{data}", "--payload json has quotes, and is to be sent inside of {publish:?}");
    }
    let roomring = !matches!(options.dialect, Dialect::Raw(_));
    ensure!(
        roomring || !matches!(scenario, Scenario::Soak(_) | Scenario::Mixed(_)),
        "this scenario needs a server that speaks Roomring's protocol"
    );
    run::execute(&options, stop, !args.quiet)
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
