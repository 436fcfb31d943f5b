//! The cores of this process, for the service thread: starts, tells and ends them together. Never touches the state of a
//! core.

use std::cell::Cell;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use tokio::sync::mpsc;

use super::config::lower::Plan;
use super::lifecycle::CoreLifecycle;
use crate::base::counters::CoreCounters;
use crate::base::ids::CoreId;
use crate::base::places::Places;
use crate::engine::Engine;
use crate::engine::access::Keys;
use crate::engine::input::Input;
use crate::engine::output::Output;
use crate::engine::placement;
use crate::engine::random::Secrets;
use crate::engine::settings::Settings;
use crate::engine::trusted::Trusted;
use crate::io::clock;
use crate::io::core::{CoreConfig, CoreHandle, start as start_core};
use crate::io::error::StartError;
use crate::io::lanes::Lanes;
use crate::io::listener::ListeningSockets;
use crate::io::services::{Control, Services};
use crate::io::sockets::Capacity;
use crate::io::wake::Wake;

/// Sends to every core of this process.
#[derive(Clone, Debug)]
pub struct Cores {
    handles: Arc<[CoreHandle]>,
    /// Capacity of each core.
    capacity: Capacity,
    /// Addresses of the listening sockets, as configured or handed over.
    listen: Arc<[SocketAddr]>,
}

/// What services give to each core at its start.
#[derive(Debug)]
pub struct CoreParts {
    /// The wake-up of each core, for lanes to it.
    pub wakes: Vec<Arc<Wake>>,
    /// Each core's ends of what it asks the services.
    pub services: Vec<Services>,
    /// The first token keys; `None` if connections need no token.
    pub keys: Option<Arc<Keys>>,
}

impl CoreParts {
    /// Parts of so many cores, without any service.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn new(cores: usize) -> Result<Self, StartError> {
        let wakes = (0..cores).map(|_| Wake::new().map(Arc::new)).collect::<Result<_, _>>()?;
        Ok(Self { wakes, services: (0..cores).map(|_| Services::default()).collect(), keys: None })
    }
}

impl Cores {
    /// The handle of each core.
    #[must_use]
    pub fn handles(&self) -> Arc<[CoreHandle]> {
        self.handles.clone()
    }

    /// Replaces the settings.
    pub fn configure(&self, settings: &Settings) {
        if settings.max_connections_per_core > self.capacity.connections_max {
            let (connections_max, each_core) = (settings.max_connections, self.capacity.connections_max);
            tracing::warn!(
                connections_max,
                each_core,
                "server.max_connections exceeds the cores' socket tables, which are allocated at the start; \
                 restart the server to raise it further"
            );
        }
        let settings = Arc::new(within(settings, self.capacity, &self.listen));
        self.tell(|| Control::Settings(settings.clone()));
    }

    fn tell(&self, control: impl Fn() -> Control) {
        for (core, handle) in self.handles.iter().enumerate() {
            // The core has ended: nothing else fills its channel.
            if let Err(control) = handle.try_tell(control()) {
                tracing::debug!(core, ?control, "message to core dropped");
            }
        }
    }
}

/// The settings within the capacity of this process and with its addresses as allowed hosts.
fn within(settings: &Settings, capacity: Capacity, listen: &[SocketAddr]) -> Settings {
    let settings = settings.clone();
    let max_connections_per_core = settings.max_connections_per_core.min(capacity.connections_max);
    let allowed_hosts = settings.allowed_hosts.listening_on(listen.iter().map(SocketAddr::ip));
    Settings { max_connections_per_core, sockets_max: capacity.slots, allowed_hosts, ..settings }
}

/// The running cores of this process.
pub struct Running {
    cores: Cores,
    /// Receives the number of each core that ends.
    ended: mpsc::Receiver<CoreId>,
    /// Cores that have not ended.
    left: usize,
    /// The listening sockets were handed over and stay open elsewhere.
    hands_over: bool,
    /// Counts the cores that have answered the last heartbeat.
    beats: Cell<Option<Arc<AtomicUsize>>>,
    asked_to_end: Cell<bool>,
}

/// Binds the listening sockets, unless sockets were `inherited`, and starts a core for each CPU of the plan. Also returns the
/// addresses listened on, in the order of the plan or of the inherited sockets.
///
/// # Errors
/// The first failure. Cores that have started end with the process.
pub fn start(
    plan: &Plan,
    counters: &[Arc<CoreCounters>],
    inherited: Vec<TcpListener>,
    core_parts: CoreParts,
) -> anyhow::Result<(Running, Vec<SocketAddr>)> {
    let hands_over = !inherited.is_empty();
    let listeners = listeners(plan, inherited)?;
    let capacity = Capacity::of(plan.settings.max_connections_per_core);
    if capacity.connections_max < plan.settings.max_connections_per_core {
        let (wanted, connections_max) = (plan.settings.max_connections_per_core, capacity.connections_max);
        tracing::info!(wanted, connections_max, "RLIMIT_NOFILE limits the connections of each core");
    }
    let listen: Arc<[SocketAddr]> = listeners.addresses.as_slice().into();
    let settings = Arc::new(within(&plan.settings, capacity, &listen));
    let proxies = if plan.proxy_protocol { settings.trusted_proxies.clone() } else { Trusted::default() };
    let CoreParts { wakes, services, keys } = core_parts;
    let secrets = choose_secrets()?;
    let places: Arc<Places> = Arc::default();
    let (sender, ended) = mpsc::channel(plan.cpus.len());
    let mut handles = Vec::new();
    let lanes = Lanes::mesh(&wakes).into_iter().zip(wakes).zip(services);
    let parts = lanes.zip(listeners.by_core).zip(&plan.cpus).zip(counters);
    for (((((lanes, wake), services), listeners), cpu), counters) in parts {
        let (core, slots, counters) = (lanes.core(), capacity.slots, counters.clone());
        let tls = plan.tls.as_ref().map(|identity| identity.config.clone());
        let (cpu, proxies, keys) = (*cpu, proxies.clone(), keys.clone());
        let of_core = counters.clone();
        let config = CoreConfig { cpu, slots, listeners, tls, lanes, proxies, wake, services, counters: of_core };
        let (settings, secrets, sender) = (settings.clone(), secrets.clone(), sender.clone());
        let places = places.clone();
        let engine = move || {
            let mut engine = Engine::new(settings, core, secrets, counters).sharing(places);
            // Before the core accepts its first connection.
            if let Some(keys) = keys {
                engine.handle(clock::now(), Input::Keys(keys), &mut Output::default());
            }
            engine
        };
        // The channel has room for one message from every core.
        let ended = move || {
            let _ = sender.try_send(core);
        };
        handles.push(start_core(config, engine, ended)?);
    }
    let left = handles.len();
    let cores = Cores { handles: handles.into(), capacity, listen };
    let (beats, asked_to_end) = (Cell::new(None), Cell::new(false));
    Ok((Running { cores, ended, left, hands_over, beats, asked_to_end }, listeners.addresses))
}

/// Secrets of this process from the operating system's random numbers.
fn choose_secrets() -> anyhow::Result<Secrets> {
    let mut bytes = [0; 32 + 32 + 16];
    getrandom::fill(&mut bytes).context("cannot get random numbers from the operating system")?;
    let (shown, rest) = bytes.split_first_chunk().expect("the first 32 bytes");
    let (tables, placed) = rest.split_first_chunk().expect("the next 32 bytes");
    let (one, other) = placed.split_first_chunk().expect("8 of the last 16 bytes");
    let other = other.first_chunk().expect("the other 8");
    placement::set_secret([one, other].map(|bytes| u64::from_le_bytes(*bytes)));
    Ok(Secrets { shown: *shown, tables: *tables })
}

fn listeners(plan: &Plan, inherited: Vec<TcpListener>) -> anyhow::Result<ListeningSockets> {
    let cores = plan.settings.cores;
    let listeners = match inherited.is_empty() {
        true => ListeningSockets::bind(&plan.listen, cores).context("server.listen")?,
        false => ListeningSockets::inherited(inherited, cores)
            .context("LISTEN_FDS: cannot share the sockets between cores")?,
    };
    listeners.bound_sends(plan.socket_send_bytes).context("cannot set limits.socket_send_bytes")?;
    Ok(listeners)
}

impl Running {
    /// Sends to the cores.
    #[must_use]
    pub fn cores(&self) -> Cores {
        self.cores.clone()
    }

    fn tell_to_end(&self, control: impl Fn() -> Control) {
        self.asked_to_end.set(true);
        self.cores.tell(control);
    }
}

impl CoreLifecycle for Running {
    fn drain(&self, window_ms: u64) {
        self.tell_to_end(|| Control::Drain { window_ms, hands_over: self.hands_over });
    }

    fn stop(&self) {
        self.tell_to_end(|| Control::Stop);
    }

    fn are_alive(&self) -> bool {
        let beats = Arc::new(AtomicUsize::new(0));
        let before = self.beats.replace(Some(beats.clone()));
        self.cores.tell(|| Control::Beat(beats.clone()));
        before.is_none_or(|before| before.load(Ordering::Relaxed) == self.cores.handles.len())
    }

    async fn ended(&mut self) -> Result<(), String> {
        while self.left > 0 {
            let Some(core) = self.ended.recv().await else { break };
            self.left -= 1;
            if !self.asked_to_end.get() {
                return Err(format!("core {} ended unexpectedly", core.0));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::hosts::AllowedHosts;

    #[test]
    fn clients_may_name_the_addresses_listened_on() {
        let settings = Settings { allowed_hosts: AllowedHosts::new(&[]), ..Settings::for_tests() };
        let handed_over = ["192.0.2.1:80".parse().expect("an address")];
        let hosts = within(&settings, Capacity::of(10), &handed_over).allowed_hosts;
        assert!(hosts.allow("192.0.2.1:8080") && !hosts.allow("192.0.2.2"));
    }
}
