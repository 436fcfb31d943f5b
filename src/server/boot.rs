//! Start and end of the server: listening sockets, cores, control address, signals, in the order in which each can fail
//! without harm. The main thread stays as the service thread.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use anyhow::{Context, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::activation::Inherited;
use super::auth::{self, Keeper, Reloads, Wrong};
use super::config::Config;
use super::config::check::{LACKS_HOSTS, is_loopback, lacks_hosts};
use super::config::load::Sources;
use super::config::lower::{Plan, api_settings};
use super::config::machine::Machine;
use super::cores::{self, Parts, Tokens};
use super::life::{End, Signal, live};
use super::log::Log;
use super::reload::reload;
use super::supervisor::Supervisor;
use super::tls::{Serving, watch_end};
use super::traces::Traces;
use crate::base::breaker::BreakerState;
use crate::base::counters::CoreCounters;
use crate::control::{self, Api, ApiSettings, Part, Watch, Watched};
use crate::io::clock;
use crate::io::core::{CoreHandle, probe};

/// Signals and requests to drain that wait for the service thread.
const SIGNALS_MAX: usize = 16;

/// Runs the server until it is told to end.
///
/// # Errors
/// One sentence on what kept it from starting, or ended it.
pub fn serve(sources: &Sources, machine: &Machine, config: Config, plan: &Plan) -> anyhow::Result<()> {
    // The first reading is where uptime begins.
    let _ = clock::now();
    // Before this process has threads or descriptors of its own.
    let inherited = Inherited::take()?;
    raise_files_limit();
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
        signals().map_err(|error| anyhow::anyhow!("signals cannot be received: {}", explain(&error)))?;
    let supervisor = Supervisor::of_process();
    let control = match inherited.control {
        Some(socket) => take_control(socket)?,
        None => bind_control(plan.control_listen).await?,
    };
    let control_address = control.local_addr().context("the control address cannot be told")?;
    let counters: Arc<[Arc<CoreCounters>]> = plan.cpus.iter().map(|_| Arc::default()).collect();
    if !inherited.clients.is_empty() {
        let sockets = inherited.clients.len();
        tracing::info!(sockets, "listening sockets were handed over: server.listen is not used");
    }
    let auth = plan.auth.clone().map(Auth::new).transpose()?;
    let traces = Traces::start(plan)?;
    let parts = Parts {
        inherited: inherited.clients,
        tokens: auth.as_ref().map(|auth| &auth.tokens),
        spans: traces.as_ref().map(Traces::queue),
    };
    let (mut running, listen) = cores::start(plan, &counters, parts)?;
    let watched = watch(plan, counters, log, auth.as_ref(), traces.as_ref());
    let cores = running.cores();
    let drain = move || signal.try_send(Signal::Drain).is_ok();
    let allowed_hosts = plan.api.allowed_hosts.clone().listening_on([control_address.ip()]);
    let api = ApiSettings { allowed_hosts, ..plan.api.clone() };
    let api = Arc::new(Api::new(api, cores.handles(), drain));
    let control = tokio::spawn(control::serve(control, control::router(watched.clone(), api.clone())));
    let reloads = match auth {
        Some(auth) => Some(auth.run(cores.handles().to_vec()).await),
        None => None,
    };
    announce(&listen, control_address, plan);
    let mut tls = Serving::new(plan.tls.clone(), cores.handles().to_vec(), watched.clone());
    tokio::spawn(watch_end(watched.clone()));
    let status = format!("serving on {}", join(&listen));
    supervisor.ready(&status);
    let hang_up = || {
        supervisor.reloading();
        if let Some(plan) = reload(sources, machine, &mut config, log, &cores) {
            tls.renew(plan.tls.as_ref());
            if let (Some(reloads), Some(auth)) = (&reloads, plan.auth) {
                reloads.reload(auth);
            }
            change_api(&api, &config, control_address);
        }
        supervisor.ready(&status);
    };
    let end = live(&mut running, &mut signals, &watched, &supervisor, plan.shutdown_grace_ms, hang_up).await;
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

/// What the control address shows of the process.
fn watch(
    plan: &Plan,
    cores: Arc<[Arc<CoreCounters>]>,
    log: &Log,
    auth: Option<&Auth>,
    traces: Option<&Traces>,
) -> Arc<Watched> {
    let lost = log.lost();
    Arc::new(Watched {
        node: plan.settings.node.clone(),
        cores,
        draining: AtomicBool::new(false),
        tls_expires_s: AtomicU64::new(0),
        log_lines_lost: Box::new(move || lost.dropped_lines() as u64),
        parts: auth.map(Auth::part).into_iter().collect(),
        breakers: auth.map(Auth::breaker).into_iter().chain(traces.map(Traces::breaker)).collect(),
        spans: traces.map(Traces::exported),
    })
}

/// Verifying tokens, before it runs.
struct Auth {
    keeper: Keeper,
    reloads: Reloads,
    tokens: Tokens,
}

impl Auth {
    fn new(settings: auth::Settings) -> anyhow::Result<Self> {
        settings.warn();
        let (keeper, reloads) =
            Keeper::new(settings).map_err(|Wrong { key, text }| anyhow::anyhow!("auth.{key}: {text}"))?;
        let tokens = Tokens { keys: keeper.keys(), call: keeper.call() };
        Ok(Self { keeper, reloads, tokens })
    }

    fn part(&self) -> Part {
        let state = self.keeper.state();
        let read =
            move || (!state.is_obtained()).then(|| "the key set of auth.jwks has not been obtained yet".to_owned());
        Part { name: "keys", read: Box::new(read) }
    }

    fn breaker(&self) -> Watch<BreakerState> {
        let state = self.keeper.state();
        Watch { name: "jwks", read: Box::new(move || state.breaker()) }
    }

    /// Reads the key set, if that can be done soon, and goes on keeping it.
    async fn run(mut self, cores: Vec<CoreHandle>) -> Reloads {
        self.keeper.begin(&cores).await;
        tokio::spawn(self.keeper.run(cores));
        self.reloads
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

/// The control address as it was handed over.
fn take_control(socket: std::net::TcpListener) -> anyhow::Result<TcpListener> {
    let taken = socket.set_nonblocking(true).and_then(|()| TcpListener::from_std(socket));
    taken.map_err(|error| anyhow::anyhow!("LISTEN_FDS: the control socket cannot be used: {}", explain(&error)))
}

fn join(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",")
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
    let (listen, cores) = (join(listen), plan.cpus.len());
    let (node, version) = (plan.settings.node.as_str(), env!("CARGO_PKG_VERSION"));
    tracing::info!(node, version, listen, %control, cores, "ready");
    let mut output = std::io::stdout().lock();
    let told = writeln!(output, "roomring ready listen={listen} control={control} cores={cores}");
    if let Err(error) = told.and_then(|()| output.flush()) {
        tracing::warn!(%error, "standard output does not take the ready line");
    }
}

/// The key, the rate and the hosts that have been read again. A key that others than this host need stays until there is another.
fn change_api(api: &Api, config: &Config, bound: SocketAddr) {
    let ApiSettings { api_key, api_rate, allowed_hosts, .. } = api_settings(config, String::new());
    if api_key.is_empty() && !is_loopback(&bound) {
        tracing::error!(control = %bound, "control.api_key stays as it was: without one others than this host could use the API");
        return;
    }
    api.change(api_key, api_rate, allowed_hosts.listening_on([bound.ip()]));
}

fn signals() -> std::io::Result<(mpsc::Sender<Signal>, mpsc::Receiver<Signal>)> {
    let (sender, receiver) = mpsc::channel(SIGNALS_MAX);
    for (kind, meaning) in [
        (SignalKind::terminate(), Signal::Terminate),
        (SignalKind::interrupt(), Signal::Terminate),
        (SignalKind::hangup(), Signal::Hangup),
    ] {
        let (mut stream, sender) = (signal(kind)?, sender.clone());
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                // Waits for room: a termination must not be lost behind many of another kind. Meanwhile more of its own
                // kind count as one, as signals do.
                if sender.send(meaning).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok((sender, receiver))
}
