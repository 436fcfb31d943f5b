//! Metrics of this process from the operating system. Leaves out those that the system does not provide.

use std::fmt::Error;
use std::fs;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeVal;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::sample::{counter, gauge};
use crate::io::clock;

/// The values of one scrape.
#[derive(Debug)]
pub(super) struct Process {
    /// User time and system time.
    cpu_s: Option<(f64, f64)>,
    resident_bytes: Option<u64>,
    descriptors: Option<u64>,
    descriptors_max: Option<u64>,
    /// Unix seconds.
    started_s: f64,
}

impl Process {
    pub fn read() -> Self {
        let now = clock::now();
        Self {
            cpu_s: cpu_seconds(),
            resident_bytes: resident_bytes(),
            // One of them is the directory that is being read.
            descriptors: fs::read_dir("/proc/self/fd").ok().map(|open| (open.count() as u64).saturating_sub(1)),
            descriptors_max: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
            started_s: now.unix_ms as f64 / 1e3 - now.mono_us as f64 / 1e6,
        }
    }

    pub fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        if let Some((user, system)) = self.cpu_s {
            let help = "CPU time of the process, by mode, in seconds.";
            let mut metric =
                encoder.encode_descriptor("roomring_process_cpu_seconds", help, None, MetricType::Counter)?;
            counter(&mut metric.encode_family(&[("mode", "user")])?, &user)?;
            counter(&mut metric.encode_family(&[("mode", "system")])?, &system)?;
        }
        if let Some(bytes) = self.resident_bytes {
            let help = "Resident memory of the process, in bytes.";
            gauge(encoder, "roomring_process_resident_memory_bytes", help, &bytes)?;
        }
        if let Some(open) = self.descriptors {
            let help = "Open file descriptors of the process. Sockets of clients use none.";
            gauge(encoder, "roomring_process_open_fds", help, &open)?;
        }
        if let Some(most) = self.descriptors_max {
            let help = "Limit on open file descriptors of the process, and on sockets of each core.";
            gauge(encoder, "roomring_process_max_fds", help, &most)?;
        }
        let help = "Start time of the process, in Unix seconds.";
        gauge(encoder, "roomring_process_start_time_seconds", help, &self.started_s)
    }
}

fn cpu_seconds() -> Option<(f64, f64)> {
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    Some((seconds(usage.user_time()), seconds(usage.system_time())))
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
