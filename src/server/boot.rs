//! Start and end of the server: listening sockets, cores, control address, signals, in the order in which each can fail
//! without harm. The main thread stays as the service thread.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, bail};

use super::activation::Inherited;
use super::config::Config;
use super::config::check::{LACKS_HOSTS, lacks_hosts};
use super::config::load::Sources;
use super::config::lower::Plan;
use super::config::machine::Machine;
use super::cores;
use super::lifecycle::{ServerEnd, live};
use super::log::Log;
use super::open_files::{explain, raise_limit};
use super::reload::reload;
use super::services::{ControlService, RunningServer, ServiceThread};
use super::signals;
use super::supervisor::Supervisor;
use crate::base::counters::CoreCounters;
use crate::control::Watched;
use crate::io::clock;
use crate::io::core::probe;

/// Runs the server until it is told to end.
///
/// # Errors
/// One sentence on what kept it from starting, or ended it.
pub fn serve(sources: &Sources, machine: &Machine, config: Config, plan: &Plan) -> anyhow::Result<()> {
    // The first reading is where uptime begins.
    let _ = clock::now();
    // Before this process has threads or descriptors of its own.
    let inherited = Inherited::take()?;
    raise_limit();
    // What the kernel refuses is found before anything is started.
    let deferred = probe()?;
    let log = Log::install(plan.log_level.clone(), plan.log_format).context("the log cannot be started")?;
    if !deferred {
        tracing::warn!("this kernel lacks IORING_SETUP_DEFER_TASKRUN (Linux 6.1): each message costs more CPU time");
    }
    if lacks_hosts(&config) {
        tracing::info!("{LACKS_HOSTS}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| anyhow::anyhow!("the service thread cannot be started: {}", explain(&error)))?;
    let end = runtime.block_on(run(sources, machine, config, plan, &log, inherited));
    // An error is told once, by whoever called this.
    if end.is_ok() {
        tracing::info!("ended");
    }
    end
}

async fn run(
    sources: &Sources,
    machine: &Machine,
    mut config: Config,
    plan: &Plan,
    log: &Log,
    inherited: Inherited,
) -> anyhow::Result<()> {
    // From here on a signal is kept until the server is up, and then ends it as it should.
    let (signal, mut signals) =
        signals::listen().map_err(|error| anyhow::anyhow!("signals cannot be received: {}", explain(&error)))?;
    let supervisor = Supervisor::of_process();
    let Inherited { clients, control } = inherited;
    let control = ControlService::prepare(plan, control, signal).await?;
    let control_address = control.address();
    if !clients.is_empty() {
        let sockets = clients.len();
        tracing::info!(sockets, "listening sockets were handed over: server.listen is not used");
    }
    let mut services = ServiceThread::prepare(plan, control)?;
    let counters: Arc<[Arc<CoreCounters>]> = plan.cpus.iter().map(|_| Arc::default()).collect();
    let (mut running, listen) = cores::start(plan, &counters, clients, services.core_parts())?;
    let parts = services.observed().into_iter().chain([log.observed()]).collect();
    let watched = Arc::new(Watched::new(plan.settings.node.clone(), counters, parts));
    let cores = running.cores();
    services.start(&RunningServer { cores: cores.handles(), watched: watched.clone() }).await;
    announce(&listen, control_address, plan);
    let status = format!("serving on {}", join(&listen));
    supervisor.ready(&status);
    let hang_up = || {
        supervisor.reloading();
        if let Some(plan) = reload(sources, machine, &mut config, log, &cores) {
            services.reload(&plan);
        }
        supervisor.ready(&status);
    };
    match live(&mut running, &mut signals, &watched, &supervisor, plan.shutdown_grace_ms, hang_up).await {
        ServerEnd::Drained | ServerEnd::GraceOver => {
            services.finish().await;
            Ok(())
        }
        // Whoever asks for an end at once does not wait for the services.
        ServerEnd::Interrupted => bail!("a second signal ended the drain before every connection was closed"),
        ServerEnd::Failed(why) => bail!("{why}"),
    }
}

fn join(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",")
}

/// Tells whoever started the process that it accepts connections, and where.
fn announce(listen: &[SocketAddr], control: SocketAddr, plan: &Plan) {
    let (listen, cores) = (join(listen), plan.cpus.len());
    let (node, version) = (plan.settings.node.as_str(), env!("CARGO_PKG_VERSION"));
    tracing::info!(node, version, listen, %control, cores, "ready");
    let mut output = std::io::stdout().lock();
    let told = writeln!(output, "roomring ready listen={listen} control={control} cores={cores}");
    if let Err(error) = told.and_then(|()| output.flush()) {
        tracing::warn!(%error, "standard output does not take the ready line");
    }
}
