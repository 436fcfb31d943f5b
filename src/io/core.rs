//! Starting a core: a thread, pinned or not, its executor, its ring, its engine, its pump; and what the rest of the
//! process holds of it. Decides nothing about when cores start or end.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Sender, TrySendError, bounded};
use glommio::{BuilderErrorKind, GlommioError, LocalExecutor, LocalExecutorBuilder, Placement, ReactorErrorKind};
use rustls::ServerConfig;

use super::error::StartError;
use super::lanes::Lanes;
use super::pump::{CoreState, Pump};
use super::ring::Ring;
use super::services::{Control, Services};
use super::sockets::Sockets;
use super::tls::Tls;
use super::wake::Wake;
use crate::base::counters::CoreCounters;
use crate::base::limits::CONTROLS_MAX;
use crate::engine::trusted::Trusted;

/// The executor's own rings carry a poll and a timer.
const EXECUTOR_RING_DEPTH: usize = 8;

/// What a core is started with.
#[derive(Debug)]
pub struct CoreConfig {
    /// The CPU to pin its thread to; `None`: any.
    pub cpu: Option<usize>,
    /// Slots of its table: see `sockets::Capacity`.
    pub slots: u32,
    /// Its listeners.
    pub listeners: Vec<TcpListener>,
    /// What its clients' TLS handshakes go by; `None`: they speak plain TCP.
    pub tls: Option<Arc<ServerConfig>>,
    /// Its ends of the lanes, which also say which core it is.
    pub lanes: Lanes,
    /// Whose connections begin with a PROXY protocol header.
    pub behind_proxies: Trusted,
    /// What wakes it: the one that the lanes were made with.
    pub wake: Arc<Wake>,
    /// Where its requests go.
    pub services: Services,
    /// Its numbers.
    pub counters: Arc<CoreCounters>,
}

/// Speaks to a core. Any thread may.
#[derive(Clone, Debug)]
pub struct CoreHandle {
    control: Sender<Control>,
    wake: Arc<Wake>,
}

impl CoreHandle {
    /// Tells the core something, and wakes it if it sleeps.
    ///
    /// # Errors
    /// Gives it back when the channel is full, which a core that works empties within a turn, or the core has ended.
    pub fn try_tell(&self, control: Control) -> Result<(), Control> {
        let told = self.control.try_send(control);
        self.wake.wake();
        told.map_err(|error| match error {
            TrySendError::Full(control) | TrySendError::Disconnected(control) => control,
        })
    }
}

/// Whether this process can run cores: tried before anything is started. Whether the kernel offers the faster way of
/// running completions (`DEFER_TASKRUN`).
///
/// # Errors
/// Why not, with the sysctl or limit at fault.
pub fn probe() -> Result<bool, StartError> {
    let ring = Ring::new(1, Arc::default())?;
    StartError::check_memlock()?;
    Ok(ring.is_deferred())
}

/// Starts a core and waits until it serves. `state` is made on the core's thread. `ended` is called there when the core
/// ends, for whatever reason, as its last act.
///
/// # Errors
/// Why it cannot be started; then nothing is left of it.
pub fn start<S: CoreState + 'static>(
    config: CoreConfig,
    state: impl FnOnce() -> S + Send + 'static,
    ended: impl FnOnce() + Send + 'static,
) -> Result<CoreHandle, StartError> {
    let (control, controls) = bounded(CONTROLS_MAX);
    let handle = CoreHandle { control, wake: config.wake.clone() };
    let (started, has_started) = bounded(1);
    let name = format!("core-{}", config.lanes.core().0);
    let thread = thread::Builder::new().name(name.clone());
    let body = move || {
        let _ended = OnDrop(Some(ended));
        let executor = match executor(&name, config.cpu) {
            Ok(executor) => executor,
            Err(error) => return drop(started.send(Err(error))),
        };
        executor.run(async move {
            let sockets = Sockets::new(config.slots, config.listeners, config.wake.clone(), config.counters.clone());
            let pump = sockets.and_then(|sockets| {
                let tls = config.tls.map(|tls| Tls::new(tls, config.counters.clone()));
                let (lanes, services) = (config.lanes, config.services);
                let pump = Pump::new(state(), (sockets, tls), lanes, controls, config.wake, services, config.counters);
                pump.map(|pump| pump.behind_proxies(config.behind_proxies))
            });
            match pump {
                Ok(pump) => {
                    drop(started.send(Ok(())));
                    pump.run().await;
                }
                Err(error) => drop(started.send(Err(error))),
            }
        });
    };
    let failed = |error: std::io::Error| StartError::Other("starting a thread", error.to_string());
    thread.spawn(body).map_err(failed)?;
    let vanished = |_| Err(StartError::Other("starting a core", "its thread ended".to_owned()));
    has_started.recv().unwrap_or_else(vanished).map(|()| handle)
}

/// Calls back at the end of a scope, also when it ends by a panic.
struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            call();
        }
    }
}

fn executor(name: &str, cpu: Option<usize>) -> Result<LocalExecutor, StartError> {
    StartError::check_memlock()?;
    let placement = cpu.map_or(Placement::Unbound, Placement::Fixed);
    let builder = LocalExecutorBuilder::new(placement).name(name).io_memory(0).ring_depth(EXECUTOR_RING_DEPTH);
    builder.make().map_err(|error| match error {
        GlommioError::BuilderError(
            BuilderErrorKind::NonExistentCpus { cpu } | BuilderErrorKind::InsufficientCpus { required: cpu, .. },
        ) => StartError::NoCpu(cpu),
        GlommioError::ReactorError(ReactorErrorKind::MemLockLimit(limit, _)) => StartError::MemoryLock(limit),
        GlommioError::IoError(error) => StartError::from_io_uring("an executor's ring", &error),
        other => StartError::Other("an executor", other.to_string()),
    })
}

#[cfg(test)]
mod tests;
