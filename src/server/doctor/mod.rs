//! `roomring doctor`: what of this host keeps the server from serving, or from serving as much and as fast as it could,
//! and what mends it. Looks through [`host::Host`] and one trial of a ring; changes nothing.

mod addresses;
mod cards;
mod finding;
mod host;
mod kernel;
mod limits;
mod memory;
mod network;
mod processor;
mod report;
mod wanted;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::process::ExitCode;

use self::finding::Finding;
use self::host::{Host, list_text};
use self::report::Summary;
use self::wanted::Sysctl;
use super::config::Config;
use super::config::check::lacks_hosts;
use super::config::lower::Plan;
use super::config::machine::Machine;
use crate::io::error::StartError;
use crate::io::ring_probe::{self, RingSupport};
use crate::io::sockets::Capacity;

/// Where the sysctls are kept, and the file of this project that holds them.
const SYSCTL_FILE: &str = "tuning/sysctl.d/90-roomring.conf";

/// What a host is judged for.
#[derive(Debug)]
struct Subject {
    /// Executors.
    cores: usize,
    /// Their CPUs; all that they may use where they are not pinned.
    cpus: Vec<usize>,
    pinned: bool,
    /// `server.max_connections`.
    connections_max: u32,
    /// What each core is to hold of them.
    connections_per_core: u32,
    listen: Vec<SocketAddr>,
    control: SocketAddr,
    /// Clients can ask for it by its addresses alone.
    lacks_hosts: bool,
    /// `limits.memory_budget`, in bytes.
    budget_bytes: u64,
    /// Of the machine or the control group, in bytes.
    memory_bytes: u64,
    page_bytes: u64,
    /// `limits.socket_send_bytes`; 0: the kernel's own bounds.
    send_bytes: u64,
    grace_ms: u64,
    /// What the kernel gave to a core that tried.
    ring: Result<RingSupport, StartError>,
}

impl Subject {
    fn new(
        host: &Host,
        config: &Config,
        plan: &Plan,
        machine: &Machine,
        ring: Result<RingSupport, StartError>,
    ) -> Self {
        let pinned: Option<Vec<usize>> = plan.cpus.iter().copied().collect();
        let page = host.field("proc/self/smaps", "KernelPageSize");
        let page = page.and_then(|size| size.strip_suffix("kB")?.trim().parse::<u64>().ok());
        Subject {
            cores: plan.cpus.len(),
            pinned: pinned.is_some(),
            cpus: pinned.unwrap_or_else(|| machine.cpus.clone()),
            connections_max: config.get("server", "max_connections").count(),
            connections_per_core: plan.settings.max_connections_per_core,
            listen: plan.listen.clone(),
            control: plan.control_listen,
            lacks_hosts: lacks_hosts(config),
            budget_bytes: plan.settings.memory_budget_bytes * plan.cpus.len() as u64,
            memory_bytes: machine.memory_bytes,
            page_bytes: page.unwrap_or(4) * 1024,
            send_bytes: u64::from(plan.socket_send_bytes),
            grace_ms: plan.shutdown_grace_ms,
            ring,
        }
    }

    /// Connections that all cores hold together under the limits of this process.
    fn connections(&self) -> u64 {
        let each = self.ring.as_ref().map_or(self.connections_per_core, |given| given.connections);
        u64::from(self.connections_max).min(u64::from(each) * self.cores as u64)
    }

    /// Sockets that each core's table must hold for `server.max_connections`.
    fn slots_wanted(&self) -> u64 {
        u64::from(Capacity::unlimited(self.connections_per_core).slots)
    }

    /// In one line.
    fn summary(&self) -> String {
        let cores = if self.cores == 1 { "1 core".to_owned() } else { format!("{} cores", self.cores) };
        let place = if self.pinned { format!("CPUs {}", list_text(&self.cpus)) } else { "any CPU".to_owned() };
        let (holds, asked) = (self.connections(), u64::from(self.connections_max));
        let of = if holds < asked { format!(" of {} asked for", grouped(asked)) } else { String::new() };
        format!("{cores} on {place}, {} connections{of}", grouped(holds))
    }
}

/// Examines this host for a configuration, and says what was found. The exit code is 0, or 1 if the server could not
/// serve.
pub fn run(config: &Config, plan: &Plan, machine: &Machine, json: bool) -> ExitCode {
    // As the server does before it looks at them.
    super::boot::raise_files_limit();
    let host = Host::here();
    let ring = ring_probe::run(plan.settings.max_connections_per_core);
    let subject = Subject::new(&host, config, plan, machine, ring);
    let findings = examine(&host, &subject);
    let text = if json {
        report::json(&findings, &subject.summary())
    } else {
        Ok(report::text(&findings, &subject.summary()))
    };
    let printed = match text {
        Ok(text) => super::print(text.trim_end()),
        Err(error) => {
            super::complain(format_args!("roomring: the report cannot be written: {error}"));
            return ExitCode::from(super::FAILED);
        }
    };
    if Summary::of(&findings).fail > 0 { ExitCode::from(super::FAILED) } else { printed }
}

fn examine(host: &Host, subject: &Subject) -> Vec<Finding> {
    type Checks = fn(&Host, &Subject) -> Vec<Finding>;
    let topics: [Checks; 7] = [
        kernel::checks,
        limits::checks,
        addresses::checks,
        network::checks,
        memory::checks,
        processor::checks,
        cards::checks,
    ];
    let mut findings: Vec<Finding> = topics.iter().flat_map(|checks| checks(host, subject)).collect();
    report::sort(&mut findings);
    findings
}

/// The command that sets a sysctl as wanted, and the file that keeps it.
fn set(sysctl: &Sysctl) -> String {
    let quoted = if sysctl.value.contains(' ') { format!("'{}'", sysctl.value) } else { sysctl.value.to_owned() };
    format!("sysctl -w {}={quoted} (kept by {SYSCTL_FILE})", sysctl.name)
}

/// A line of the unit, and where it belongs.
fn unit_line(line: &str) -> String {
    format!("{line} in [Service] of roomring.service")
}

/// 1234567 as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes as whole MiB.
fn mib(bytes: u64) -> String {
    format!("{} MiB", grouped(bytes >> 20))
}
