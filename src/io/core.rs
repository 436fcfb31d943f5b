//! Owns the start of a core: its thread, executor, ring, engine and pump, and the handle by which the rest of the
//! process reaches it. Never decides when a core starts or ends.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Sender, TrySendError, bounded};
use glommio::{BuilderErrorKind, GlommioError, LocalExecutor, LocalExecutorBuilder, Placement, ReactorErrorKind};
use rustls::ServerConfig;

use super::error::StartError;
use super::lanes::Lanes;
use super::pump::{CoreState, Pump, PumpParts};
use super::ring::Ring;
use super::services::{Control, Services};
use super::sockets::Sockets;
use super::tls::Tls;
use super::wake::Wake;
use crate::base::counters::CoreCounters;
use crate::base::limits::CONTROLS_MAX;
use crate::engine::trusted::Trusted;

/// Enough for the executor's own rings, which carry one poll and one timer.
const EXECUTOR_RING_DEPTH: usize = 8;

/// Everything a core needs to start.
#[derive(Debug)]
pub struct CoreConfig {
    /// The CPU to pin the thread to; `None` leaves the choice to the kernel.
    pub cpu: Option<usize>,
    /// Slots of the socket table: see `sockets::Capacity`.
    pub slots: u32,
    /// Sockets to accept connections from.
    pub listeners: Vec<TcpListener>,
    /// Configuration of TLS handshakes; `None` for plain TCP.
    pub tls: Option<Arc<ServerConfig>>,
    /// This core's ends of the lanes, which also hold its number.
    pub lanes: Lanes,
    /// Proxies whose connections begin with a PROXY protocol header.
    pub proxies: Trusted,
    /// Wakes this core: the same one that the lanes use.
    pub wake: Arc<Wake>,
    /// This core's ends of what it asks the services.
    pub services: Services,
    /// This core's counters.
    pub counters: Arc<CoreCounters>,
}

/// Sends commands to a core, from any thread.
#[derive(Clone, Debug)]
pub struct CoreHandle {
    control: Sender<Control>,
    wake: Arc<Wake>,
}

impl CoreHandle {
    /// Sends a command and wakes the core if it sleeps.
    ///
    /// # Errors
    /// Returns the command if the channel is full (a live core empties it within a turn) or the core has ended.
    pub fn try_tell(&self, control: Control) -> Result<(), Control> {
        let told = self.control.try_send(control);
        self.wake.wake();
        told.map_err(|error| match error {
            TrySendError::Full(control) | TrySendError::Disconnected(control) => control,
        })
    }
}

/// Checks before startup that this process can run cores. Returns whether the kernel supports deferred completions
/// (`DEFER_TASKRUN`), which are faster.
///
/// # Errors
/// The reason, with the sysctl or limit at fault.
pub fn probe() -> Result<bool, StartError> {
    let ring = Ring::new(1, Arc::default())?;
    StartError::check_memlock()?;
    Ok(ring.is_deferred())
}

/// Starts a core and waits until it serves. `state` runs on the core's thread. `ended` runs there last, however the
/// core ends.
///
/// # Errors
/// The reason why the core cannot start. Nothing is left of it then.
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
                let parts = PumpParts {
                    sockets,
                    proxies: config.proxies,
                    tls: config.tls.map(|tls| Tls::new(tls, config.counters.clone())),
                    lanes: config.lanes,
                    control: controls,
                    wake: config.wake,
                    services: config.services,
                    counters: config.counters,
                };
                Pump::new(state(), parts)
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

/// Calls back at the end of a scope, even after a panic.
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
