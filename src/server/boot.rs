//! Start and end of the server: listening sockets, cores, control address, signals, in the order in which each can fail
//! without harm. The main thread stays as the service thread.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::config::Config;
use super::config::load::Sources;
use super::config::lower::Plan;
use super::config::machine::Machine;
use super::cores;
use super::life::{End, Signal, live};
use super::log::Log;
use super::reload::reload;
use super::traces::Traces;
use crate::base::counters::CoreCounters;
use crate::control::{self, Watched};
use crate::io::clock;
use crate::io::core::probe;

/// Signals that wait for the service thread; more of them say nothing new.
const SIGNALS_MAX: usize = 16;

/// Runs the server until it is told to end.
///
/// # Errors
/// One sentence on what kept it from starting, or ended it.
pub fn serve(sources: &Sources, machine: &Machine, config: Config, plan: &Plan) -> anyhow::Result<()> {
    // The first reading is where uptime begins.
    let _ = clock::now();
    raise_files_limit();
    // What the kernel refuses is found before anything is started.
    let deferred = probe()?;
    let log = Log::install(plan.level.clone(), plan.format).context("the log cannot be started")?;
    if !deferred {
        tracing::warn!("this kernel lacks IORING_SETUP_DEFER_TASKRUN (Linux 6.1): each message costs more CPU time");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| anyhow::anyhow!("the service thread cannot be started: {}", explain(&error)))?;
    let end = runtime.block_on(run(sources, machine, config, plan, &log));
    // An error is told once, by whoever called this.
    if end.is_ok() {
        tracing::info!("ended");
    }
    end
}

async fn run(sources: &Sources, machine: &Machine, mut config: Config, plan: &Plan, log: &Log) -> anyhow::Result<()> {
    // From here on a signal is kept until the server is up, and then ends it as it should.
    let mut signals = signals().map_err(|error| anyhow::anyhow!("signals cannot be received: {}", explain(&error)))?;
    let control = bind_control(plan.control).await?;
    let control_address = control.local_addr().context("the control address cannot be told")?;
    let counters: Arc<[Arc<CoreCounters>]> = plan.cpus.iter().map(|_| Arc::default()).collect();
    let traces = Traces::start(plan)?;
    let spans = traces.as_ref().map(Traces::queue);
    let (mut running, listen) = cores::start(plan, &counters, spans)?;
    let lost = log.lost();
    let watched = Arc::new(Watched {
        node: plan.settings.node.clone(),
        cores: counters,
        draining: AtomicBool::new(false),
        log_lines_lost: Box::new(move || lost.dropped_lines() as u64),
        parts: Vec::new(),
        breakers: traces.iter().map(Traces::breaker).collect(),
        spans: traces.as_ref().map(Traces::exported),
    });
    let control = tokio::spawn(control::serve(control, control::router(watched.clone())));
    announce(&listen, control_address, plan);
    let cores = running.cores();
    let hang_up = || reload(sources, machine, &mut config, log, &cores);
    let end = live(&mut running, &mut signals, &watched, plan.shutdown_grace_ms, hang_up).await;
    control.abort();
    // Whoever asks for an end at once does not wait for a collector.
    if let (Some(traces), End::Drained | End::GraceOver) = (traces, &end) {
        traces.finish().await;
    }
    match end {
        End::Drained | End::GraceOver => Ok(()),
        End::Interrupted => bail!("a second signal ended the drain before every connection was closed"),
        End::Failed(why) => bail!("{why}"),
    }
}

/// The soft limit on open files is low for the sake of programs that use `select`; the hard one is what is allowed.
pub(super) fn raise_files_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // Where it cannot be raised the lower limit holds, and is named when it is met.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

async fn bind_control(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let advice = "choose another address with control.listen";
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("control.listen: {address} is in use by another process; end that one or {advice}")
        }
        _ => anyhow::anyhow!("control.listen: cannot listen on {address}: {}; {advice}", explain(&error)),
    })
}

/// What the system said, with the limit at fault where it is one.
fn explain(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EMFILE) => format!("the limit on open files (RLIMIT_NOFILE, ulimit -n) is too low ({error})"),
        _ => error.to_string(),
    }
}

/// Tells whoever started the process that it accepts connections, and where.
fn announce(listen: &[SocketAddr], control: SocketAddr, plan: &Plan) {
    let listen: Vec<String> = listen.iter().map(SocketAddr::to_string).collect();
    let (listen, cores) = (listen.join(","), plan.cpus.len());
    let (node, version) = (plan.settings.node.as_str(), env!("CARGO_PKG_VERSION"));
    tracing::info!(node, version, listen, %control, cores, "ready");
    let mut output = std::io::stdout().lock();
    let told = writeln!(output, "roomring ready listen={listen} control={control} cores={cores}");
    if let Err(error) = told.and_then(|()| output.flush()) {
        tracing::warn!(%error, "standard output does not take the ready line");
    }
}

fn signals() -> std::io::Result<mpsc::Receiver<Signal>> {
    let (sender, receiver) = mpsc::channel(SIGNALS_MAX);
    for (kind, meaning) in [
        (SignalKind::terminate(), Signal::Terminate),
        (SignalKind::interrupt(), Signal::Terminate),
        (SignalKind::hangup(), Signal::Hangup),
    ] {
        let (mut stream, sender) = (signal(kind)?, sender.clone());
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                // With the channel full enough signals wait already.
                let _ = sender.try_send(meaning);
            }
        });
    }
    Ok(receiver)
}
