//! The cores, addresses, connections and memory that a host is judged for. Judges nothing.

use std::net::SocketAddr;

use super::host::{HostFiles, list_text};
use super::store_trial::StoreTrial;
use super::texts::{cores_text, grouped};
use crate::io::error::StartError;
use crate::io::ring_probe::RingSupport;
use crate::io::sockets::Capacity;
use crate::server::config::Config;
use crate::server::config::check::lacks_hosts;
use crate::server::config::lower::Plan;
use crate::server::config::machine::HostMachine;

/// The server that a host is judged for.
#[derive(Debug)]
pub struct Subject {
    /// Executors.
    pub cores: usize,
    /// Their CPUs; if they are not pinned, all CPUs that they may use.
    pub cpus: Vec<usize>,
    pub pinned: bool,
    /// `server.max_connections`.
    pub max_connections: u32,
    /// The share of each core.
    pub max_connections_per_core: u32,
    pub listen: Vec<SocketAddr>,
    pub control_listen: SocketAddr,
    /// Whether clients can use no host name but its addresses.
    pub lacks_hosts: bool,
    /// `limits.memory_budget`, in bytes.
    pub memory_budget_bytes: u64,
    /// Memory of the machine or the control group.
    pub memory_bytes: u64,
    pub page_bytes: u64,
    /// `limits.socket_send_bytes`; 0 is the bound of the kernel.
    pub socket_send_bytes: u64,
    pub shutdown_grace_ms: u64,
    /// What the kernel gave to a trial core.
    pub ring: Result<RingSupport, StartError>,
    /// The data directory, where the configuration has one.
    pub store: Option<StoreTrial>,
}

impl Subject {
    pub fn new(
        host: &HostFiles,
        config: &Config,
        plan: &Plan,
        machine: &HostMachine,
        ring: Result<RingSupport, StartError>,
    ) -> Self {
        let pinned: Option<Vec<usize>> = plan.cpus.iter().copied().collect();
        let page = host.field("proc/self/smaps", "KernelPageSize");
        let page = page.and_then(|size| size.strip_suffix("kB")?.trim().parse::<u64>().ok());
        Subject {
            cores: plan.cpus.len(),
            pinned: pinned.is_some(),
            cpus: pinned.unwrap_or_else(|| machine.cpus.clone()),
            max_connections: config.get("server", "max_connections").count(),
            max_connections_per_core: plan.settings.max_connections_per_core,
            listen: plan.listen.clone(),
            control_listen: plan.control_listen,
            lacks_hosts: lacks_hosts(config),
            memory_budget_bytes: plan.settings.memory_budget_bytes * plan.cpus.len() as u64,
            memory_bytes: machine.memory_bytes,
            page_bytes: page.unwrap_or(4) * 1024,
            socket_send_bytes: u64::from(plan.socket_send_bytes),
            shutdown_grace_ms: plan.shutdown_grace_ms,
            ring,
            store: None,
        }
    }

    /// Connections that all cores hold together under the limits of this process.
    pub fn connections(&self) -> u64 {
        let each = self.ring.as_ref().map_or(self.max_connections_per_core, |given| given.connections);
        u64::from(self.max_connections).min(u64::from(each) * self.cores as u64)
    }

    /// Sockets that each core's table must hold for `server.max_connections`.
    pub fn slots_wanted(&self) -> u64 {
        u64::from(Capacity::unlimited(self.max_connections_per_core).slots)
    }

    /// The server in one line.
    pub fn summary(&self) -> String {
        let cores = cores_text(self.cores);
        let place = if self.pinned { format!("CPUs {}", list_text(&self.cpus)) } else { "any CPU".to_owned() };
        let (holds, asked) = (self.connections(), u64::from(self.max_connections));
        let of = if holds < asked { format!(" of {} configured", grouped(asked)) } else { String::new() };
        format!("{cores} on {place}, {} connections{of}", grouped(holds))
    }
}
