//! Starting and ending the server: signals, control address, services, cores, in the order in which each can fail without
//! harm. The main thread becomes the service thread. Knows no service in detail.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, bail};

use super::activation::Inherited;
use super::config::Config;
use super::config::check::{LACKS_HOSTS, LOSES_ACCOUNTS, lacks_hosts, loses_accounts};
use super::config::load::Sources;
use super::config::lower::Plan;
use super::config::machine::HostMachine;
use super::cores;
use super::lifecycle::{ServerEnd, live};
use super::log::Log;
use super::open_files::{self, explain};
use super::reload::reload;
use super::services::{ControlService, RunningServer, ServiceThread};
use super::signals;
use super::supervisor::Supervisor;
use crate::base::counters::CoreCounters;
use crate::control::Watched;
use crate::io::clock;
use crate::io::core::probe;

/// Runs the server until a signal or a request ends it.
///
/// # Errors
/// One sentence: why the server did not start, or why it ended.
pub fn serve(sources: &Sources, machine: &HostMachine, config: Config, plan: &Plan) -> anyhow::Result<()> {
    // Uptime counts from the first reading.
    let _ = clock::now();
    // Must come before this process has threads or descriptors of its own.
    let inherited = Inherited::take()?;
    open_files::raise_limit();
    open_files::check(plan.cpus.len(), plan.listen.len())?;
    // A kernel that refuses io_uring is found before anything starts.
    let deferred = probe()?;
    let log = Log::install(plan.log_level.clone(), plan.log_format).context("cannot start the log")?;
    if !deferred {
        tracing::warn!("this kernel lacks IORING_SETUP_DEFER_TASKRUN (Linux 6.1): each message costs more CPU time");
    }
    if lacks_hosts(&config) {
        tracing::info!("{LACKS_HOSTS}");
    }
    if loses_accounts(&config) {
        tracing::warn!("{LOSES_ACCOUNTS}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| anyhow::anyhow!("cannot start the service thread: {}", explain(&error)))?;
    let end = runtime.block_on(run(sources, machine, config, plan, &log, inherited));
    // The caller reports an error.
    if end.is_ok() {
        tracing::info!("ended");
    }
    end
}

async fn run(
    sources: &Sources,
    machine: &HostMachine,
    mut config: Config,
    plan: &Plan,
    log: &Log,
    inherited: Inherited,
) -> anyhow::Result<()> {
    // From here on a signal waits until the server is up, and drains it then.
    let (signal, mut signals) =
        signals::listen().map_err(|error| anyhow::anyhow!("cannot receive signals: {}", explain(&error)))?;
    let supervisor = Supervisor::of_process();
    let Inherited { clients, control } = inherited;
    let control = ControlService::prepare(plan, control, signal).await?;
    let control_address = control.address();
    if !clients.is_empty() {
        let sockets = clients.len();
        tracing::info!(sockets, "using the listening sockets that were handed over instead of server.listen");
    }
    let mut services = ServiceThread::prepare(plan, control)?;
    let counters: Arc<[Arc<CoreCounters>]> = plan.cpus.iter().map(|_| Arc::default()).collect();
    let core_parts = services.core_parts(plan.cpus.len())?;
    let (mut running, listen) = cores::start(plan, &counters, clients, core_parts)?;
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
        // A second signal does not wait for the services.
        ServerEnd::Interrupted => bail!("a second signal ended the drain before every connection was closed"),
        ServerEnd::Failed(why) => bail!("{why}"),
    }
}

fn join(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",")
}

/// Logs and prints that the server accepts connections, and where.
fn announce(listen: &[SocketAddr], control: SocketAddr, plan: &Plan) {
    let (listen, cores) = (join(listen), plan.cpus.len());
    let (node, version) = (plan.settings.node.as_str(), env!("CARGO_PKG_VERSION"));
    tracing::info!(node, version, listen, %control, cores, "ready");
    let mut output = std::io::stdout().lock();
    let written = writeln!(output, "roomring ready listen={listen} control={control} cores={cores}");
    if let Err(error) = written.and_then(|()| output.flush()) {
        tracing::warn!(%error, "cannot write the ready line to standard output");
    }
}
