//! The cores of this process as the service thread sees them: started together, told together, ended together.

use std::cell::Cell;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use crossbeam_channel::Sender;
use tokio::sync::mpsc;

use super::config::lower::Plan;
use super::life;
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
use crate::engine::trace::Span;
use crate::engine::trusted::Trusted;
use crate::io::clock;
use crate::io::core::{CoreConfig, CoreHandle, start as start_core};
use crate::io::lanes::Lanes;
use crate::io::listener::ListeningSockets;
use crate::io::services::{CallForKeys, Control, Services};
use crate::io::sockets::Capacity;
use crate::io::wake::Wake;

/// Speaks to every core of this process.
#[derive(Clone, Debug)]
pub struct Cores {
    handles: Arc<[CoreHandle]>,
    /// What fits into each.
    capacity: Capacity,
    /// What is listened on: as configured, or as it was handed over.
    listen: Arc<[SocketAddr]>,
}

/// What cores need to verify tokens.
#[derive(Debug)]
pub struct Tokens {
    /// The keys to begin with.
    pub keys: Arc<Keys>,
    /// How a core asks for more.
    pub call: CallForKeys,
}

/// What cores are started with beside the plan.
pub struct Parts<'a> {
    /// Listening sockets that were handed over; none: `server.listen` is bound.
    pub inherited: Vec<TcpListener>,
    /// `None`: anyone may connect.
    pub tokens: Option<&'a Tokens>,
    /// Where the spans of sampled publishes go; `None`: nothing is traced.
    pub spans: Option<Sender<Span>>,
}

impl Cores {
    /// What speaks to each.
    #[must_use]
    pub fn handles(&self) -> Arc<[CoreHandle]> {
        self.handles.clone()
    }

    /// Other settings hold from now on.
    pub fn configure(&self, settings: &Settings) {
        if settings.max_connections_per_core > self.capacity.connections_max {
            let (connections_max, each_core) = (settings.max_connections, self.capacity.connections_max);
            tracing::warn!(
                connections_max,
                each_core,
                "server.max_connections is above what the cores' socket tables hold, which are made at the start: \
                 restart the server to raise it further"
            );
        }
        let settings = Arc::new(within(settings, self.capacity, &self.listen));
        self.tell(|| Control::Settings(settings.clone()));
    }

    fn tell(&self, control: impl Fn() -> Control) {
        for (core, handle) in self.handles.iter().enumerate() {
            // A core that has ended needs no word, and nobody else fills its channel.
            if let Err(control) = handle.try_tell(control()) {
                tracing::debug!(core, ?control, "not told");
            }
        }
    }
}

/// The settings as far as this process goes with them.
fn within(settings: &Settings, capacity: Capacity, listen: &[SocketAddr]) -> Settings {
    let settings = settings.clone();
    let max_connections_per_core = settings.max_connections_per_core.min(capacity.connections_max);
    let allowed_hosts = settings.allowed_hosts.listening_on(listen.iter().map(SocketAddr::ip));
    Settings { max_connections_per_core, sockets_max: capacity.slots, allowed_hosts, ..settings }
}

/// Every core of this process, from start to end.
pub struct Running {
    cores: Cores,
    /// Each core's last word.
    ended: mpsc::Receiver<CoreId>,
    /// Cores whose last word has not come.
    left: usize,
    /// The listening sockets stay open in other hands.
    hands_over: bool,
    /// What the cores that live have counted up since they were last asked to.
    beats: Cell<Option<Arc<AtomicUsize>>>,
    asked_to_end: Cell<bool>,
}

/// Binds the listening sockets, unless some were handed over, and starts a core for each entry of the plan, with its
/// counters. Gives back the addresses that are listened on, in the order of the plan or of the sockets.
///
/// # Errors
/// The first thing that cannot be had; what was started ends with the process.
pub fn start(
    plan: &Plan,
    counters: &[Arc<CoreCounters>],
    Parts { inherited, tokens, spans }: Parts<'_>,
) -> anyhow::Result<(Running, Vec<SocketAddr>)> {
    let hands_over = !inherited.is_empty();
    let listeners = listeners(plan, inherited)?;
    let capacity = Capacity::of(plan.settings.max_connections_per_core);
    if capacity.connections_max < plan.settings.max_connections_per_core {
        let (wanted, connections_max) = (plan.settings.max_connections_per_core, capacity.connections_max);
        tracing::info!(wanted, connections_max, "RLIMIT_NOFILE bounds the connections of each core");
    }
    let listen: Arc<[SocketAddr]> = listeners.addresses.as_slice().into();
    let settings = Arc::new(within(&plan.settings, capacity, &listen));
    let proxies = if plan.proxy_protocol { settings.trusted_proxies.clone() } else { Trusted::default() };
    let wakes = plan.cpus.iter().map(|_| Wake::new().map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
    let secrets = choose_secrets()?;
    let places: Arc<Places> = Arc::default();
    let (sender, ended) = mpsc::channel(plan.cpus.len());
    let mut handles = Vec::new();
    let parts = Lanes::mesh(&wakes).into_iter().zip(wakes).zip(listeners.by_core).zip(&plan.cpus).zip(counters);
    for ((((lanes, wake), listeners), cpu), counters) in parts {
        let (core, slots, counters) = (lanes.core(), capacity.slots, counters.clone());
        let tls = plan.tls.as_ref().map(|identity| identity.config.clone());
        let keys = tokens.map(|tokens| tokens.call.clone());
        let services = Services { keys, spans: spans.clone(), ..Services::default() };
        let keys = tokens.map(|tokens| tokens.keys.clone());
        let (cpu, proxies) = (*cpu, proxies.clone());
        let of_core = counters.clone();
        let config = CoreConfig { cpu, slots, listeners, tls, lanes, proxies, wake, services, counters: of_core };
        let (settings, secrets, sender) = (settings.clone(), secrets.clone(), sender.clone());
        let places = places.clone();
        let engine = move || {
            let mut engine = Engine::new(settings, core, secrets, counters).sharing(places);
            // Before the first connection is accepted.
            if let Some(keys) = keys {
                engine.handle(clock::now(), Input::Keys(keys), &mut Output::default());
            }
            engine
        };
        // The channel has room for every core's one word.
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

/// What the random choices of this process follow from, out of the operating system's randomness.
fn choose_secrets() -> anyhow::Result<Secrets> {
    let mut bytes = [0; 32 + 32 + 16];
    getrandom::fill(&mut bytes).context("the operating system gives no random numbers")?;
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
            .context("LISTEN_FDS: the sockets cannot be shared by the cores")?,
    };
    listeners.bound_sends(plan.socket_send_bytes).context("limits.socket_send_bytes cannot be set")?;
    Ok(listeners)
}

impl Running {
    /// Speaks to them.
    #[must_use]
    pub fn cores(&self) -> Cores {
        self.cores.clone()
    }

    fn tell_to_end(&self, control: impl Fn() -> Control) {
        self.asked_to_end.set(true);
        self.cores.tell(control);
    }
}

impl life::Cores for Running {
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
                return Err(format!("core {} ended without being asked to", core.0));
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
    fn clients_may_ask_for_what_is_listened_on() {
        let settings = Settings { allowed_hosts: AllowedHosts::new(&[]), ..Settings::for_tests() };
        let handed_over = ["192.0.2.1:80".parse().expect("an address")];
        let hosts = within(&settings, Capacity::of(10), &handed_over).allowed_hosts;
        assert!(hosts.allow("192.0.2.1:8080") && !hosts.allow("192.0.2.2"));
    }
}
