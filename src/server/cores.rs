//! The cores of this process as the service thread sees them: started together, told together, ended together.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use crossbeam_channel::Sender;
use tokio::sync::mpsc;

use super::config::lower::Plan;
use super::life;
use crate::base::counters::CoreCounters;
use crate::base::ids::CoreId;
use crate::engine::Engine;
use crate::engine::settings::Settings;
use crate::engine::trace::Span;
use crate::io::core::{CoreConfig, CoreHandle, start as start_core};
use crate::io::lanes::Lanes;
use crate::io::listener::Listeners;
use crate::io::services::{Control, Services};
use crate::io::sockets::Capacity;
use crate::io::wake::Wake;

/// Speaks to every core of this process.
#[derive(Clone, Debug)]
pub struct Cores {
    handles: Arc<[CoreHandle]>,
    /// What `RLIMIT_NOFILE` allows each.
    connections_max: u32,
}

impl Cores {
    /// Other settings hold from now on.
    pub fn configure(&self, settings: &Settings) {
        let settings = Arc::new(within(settings, self.connections_max));
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

fn within(settings: &Settings, connections_max: u32) -> Settings {
    Settings { connections_max: settings.connections_max.min(connections_max), ..settings.clone() }
}

/// Every core of this process, from start to end.
pub struct Running {
    cores: Cores,
    /// Each core's last word.
    ended: mpsc::Receiver<CoreId>,
    /// Cores whose last word has not come.
    left: usize,
    asked_to_end: Cell<bool>,
}

/// Binds the listening sockets and starts a core for each entry of the plan, with its counters. Gives back the addresses
/// that are listened on, in the order of the plan.
///
/// # Errors
/// The first thing that cannot be had; what was started ends with the process.
pub fn start(
    plan: &Plan,
    counters: &[Arc<CoreCounters>],
    spans: Option<Sender<Span>>,
) -> anyhow::Result<(Running, Vec<SocketAddr>)> {
    let cores = plan.settings.cores;
    let listeners = Listeners::bind(&plan.listen, cores).context("server.listen")?;
    let capacity = Capacity::of(plan.settings.connections_max);
    if capacity.connections_max < plan.settings.connections_max {
        let (wanted, connections_max) = (plan.settings.connections_max, capacity.connections_max);
        tracing::info!(wanted, connections_max, "RLIMIT_NOFILE bounds the connections of each core");
    }
    let settings = Arc::new(within(&plan.settings, capacity.connections_max));
    let wakes = plan.cpus.iter().map(|_| Wake::new().map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
    // Keyed by the operating system's randomness, so that nobody can tell what the engines will choose.
    let seeds = RandomState::new();
    let (sender, ended) = mpsc::channel(plan.cpus.len());
    let mut handles = Vec::new();
    let parts = Lanes::mesh(&wakes).into_iter().zip(wakes).zip(listeners.by_core).zip(&plan.cpus).zip(counters);
    for ((((lanes, wake), listeners), cpu), counters) in parts {
        let (core, slots, counters) = (lanes.core(), capacity.slots, counters.clone());
        let services = Services { spans: spans.clone(), ..Services::default() };
        let config = CoreConfig { cpu: *cpu, slots, listeners, lanes, wake, services, counters: counters.clone() };
        let (settings, seed, sender) = (settings.clone(), seeds.hash_one(core.0), sender.clone());
        let engine = move || Engine::new(settings, core, seed, counters);
        // The channel has room for every core's one word.
        let ended = move || {
            let _ = sender.try_send(core);
        };
        handles.push(start_core(config, engine, ended)?);
    }
    let left = handles.len();
    let cores = Cores { handles: handles.into(), connections_max: capacity.connections_max };
    Ok((Running { cores, ended, left, asked_to_end: Cell::new(false) }, listeners.addresses))
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
        self.tell_to_end(|| Control::Drain { window_ms });
    }

    fn stop(&self) {
        self.tell_to_end(|| Control::Stop);
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
