//! Owns figures of the server's process and of the host, read from `/proc`. Never fails: an unreadable figure is
//! absent.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::edge;

/// Clock ticks in `/proc/PID/stat` are 10 ms on every Linux architecture.
const TICK_NS: u64 = 10_000_000;

/// CPU time and context switches of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSample {
    /// CPU time of all threads, in nanoseconds.
    pub cpu_ns: u64,
    /// The user part, in nanoseconds (in ticks of 10 ms).
    pub user_ns: u64,
    /// The kernel part, in nanoseconds (in ticks of 10 ms).
    pub system_ns: u64,
    /// Voluntary context switches.
    pub switches_voluntary: u64,
    /// Involuntary context switches.
    pub switches_involuntary: u64,
}

/// Memory of a process and of the kernel, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemorySample {
    /// Resident set size of the process.
    pub rss: u64,
    /// Proportional set size of the process.
    pub pss: u64,
    /// Private pages of the process.
    pub private: u64,
    /// The kernel's slab of the whole host, which includes both ends of connections on one host.
    pub slab: u64,
}

/// The program of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramInfo {
    /// Its command line.
    pub command: Vec<String>,
    /// Its CPUs, such as `0,2-5`.
    pub cpus: String,
    /// Number of threads.
    pub threads: u64,
    /// Its version, if it reports one.
    pub version: Option<String>,
}

/// The host of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HostInfo {
    /// Kernel release.
    pub kernel: String,
    /// CPU model.
    pub cpu: String,
    /// CPUs available to this process.
    pub cpus: usize,
    /// Memory, in bytes.
    pub memory: u64,
    /// Load average over one minute at the start of the run.
    pub load: String,
    /// Sysctls that affect the figures.
    pub sysctls: Vec<(String, String)>,
    /// Soft limit of open files.
    pub open_files: u64,
    /// Start of the run, in Unix seconds.
    #[serde(default)]
    pub began_unix_s: u64,
    /// The generator's command line.
    #[serde(default)]
    pub command: Vec<String>,
}

impl ProcessSample {
    /// Reads a process and its descendants together; `None` if it does not exist.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let mut sum = Self::of_one(pid)?;
        for sample in descendants(pid).into_iter().filter_map(Self::of_one) {
            sum.cpu_ns += sample.cpu_ns;
            sum.user_ns += sample.user_ns;
            sum.system_ns += sample.system_ns;
            sum.switches_voluntary += sample.switches_voluntary;
            sum.switches_involuntary += sample.switches_involuntary;
        }
        Some(sum)
    }

    fn of_one(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let after_name = stat.rsplit_once(')')?.1;
        let mut fields = after_name.split_whitespace().skip(11).map(|field| field.parse().unwrap_or(0));
        let (user, system): (u64, u64) = (fields.next()?, fields.next()?);
        let (switches_voluntary, switches_involuntary) = context_switches(pid);
        Some(ProcessSample {
            cpu_ns: clock::process_cpu_ns(pid)?,
            user_ns: user * TICK_NS,
            system_ns: system * TICK_NS,
            switches_voluntary,
            switches_involuntary,
        })
    }

    /// The change since `earlier`, by field.
    #[must_use]
    pub fn since(&self, earlier: &ProcessSample) -> ProcessSample {
        ProcessSample {
            cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns),
            user_ns: self.user_ns.saturating_sub(earlier.user_ns),
            system_ns: self.system_ns.saturating_sub(earlier.system_ns),
            switches_voluntary: self.switches_voluntary.saturating_sub(earlier.switches_voluntary),
            switches_involuntary: self.switches_involuntary.saturating_sub(earlier.switches_involuntary),
        }
    }
}

/// All descendants of a process.
fn descendants(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut at = 0;
    while let Some(pid) = found.get(at) {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for thread in threads {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        at += 1;
    }
    found.remove(0);
    found
}

fn context_switches(pid: u32) -> (u64, u64) {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return (0, 0) };
    let mut switches = (0, 0);
    for thread in threads.flatten() {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        switches.0 += field(&status, "voluntary_ctxt_switches:");
        switches.1 += field(&status, "nonvoluntary_ctxt_switches:");
    }
    switches
}

impl MemorySample {
    /// Reads a process, with those under it, and the host; `None` when the process cannot be read.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let rollup_of = |pid: u32| fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
        let host = fs::read_to_string("/proc/meminfo").ok()?;
        let mut sum = MemorySample { slab: field(&host, "Slab:") * 1024, ..MemorySample::default() };
        let under = descendants(pid).into_iter().filter_map(|pid| rollup_of(pid).ok());
        for rollup in std::iter::once(rollup_of(pid).ok()?).chain(under) {
            sum.rss += field(&rollup, "Rss:") * 1024;
            sum.pss += field(&rollup, "Pss:") * 1024;
            sum.private += (field(&rollup, "Private_Clean:") + field(&rollup, "Private_Dirty:")) * 1024;
        }
        Some(sum)
    }
}

/// CPU time of a process and those under it, in nanoseconds: cheaper than [`ProcessSample::of`], for looking often.
#[must_use]
pub fn cpu_ns(pid: u32) -> Option<u64> {
    let under: u64 = descendants(pid).into_iter().filter_map(clock::process_cpu_ns).sum();
    Some(clock::process_cpu_ns(pid)? + under)
}

/// Resident set of a process and those under it, in bytes: cheaper than [`MemorySample::of`], for looking often.
#[must_use]
pub fn resident(pid: u32) -> Option<u64> {
    let status_of = |pid: u32| fs::read_to_string(format!("/proc/{pid}/status"));
    let under = descendants(pid).into_iter().filter_map(|pid| status_of(pid).ok());
    let all = std::iter::once(status_of(pid).ok()?).chain(under);
    Some(all.map(|status| field(&status, "VmRSS:") * 1024).sum())
}

/// Bytes that a process has caused to be written to storage (`/proc/PID/io`); `None` if it cannot be read.
#[must_use]
pub fn written(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    Some(field(&text, "write_bytes:"))
}

impl ProgramInfo {
    /// Reads a process; `None` if it does not exist.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let cpus = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let words = command.split(|byte| *byte == 0).filter(|word| !word.is_empty());
        Some(ProgramInfo {
            command: words.map(|word| String::from_utf8_lossy(word).into_owned()).collect(),
            cpus: cpus.trim().to_owned(),
            threads: field(&status, "Threads:"),
            version: None,
        })
    }
}

impl HostInfo {
    /// Reads this host.
    #[must_use]
    pub fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let cpuinfo = text("/proc/cpuinfo");
        let cpu = cpuinfo.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
        let sysctl = |name: &str| {
            let path = format!("/proc/sys/{}", name.replace('.', "/"));
            (name.to_owned(), text(&path).split_whitespace().collect::<Vec<_>>().join(" "))
        };
        let limits = text("/proc/self/limits");
        HostInfo {
            kernel: text("/proc/sys/kernel/osrelease"),
            cpu: cpu.map_or_else(String::new, |(_, model)| model.to_owned()),
            cpus: std::thread::available_parallelism().map_or(0, std::num::NonZeroUsize::get),
            memory: field(&text("/proc/meminfo"), "MemTotal:") * 1024,
            load: text("/proc/loadavg").split_whitespace().next().unwrap_or_default().to_owned(),
            sysctls: vec![
                sysctl("net.core.somaxconn"),
                sysctl("net.core.default_qdisc"),
                sysctl("net.ipv4.tcp_congestion_control"),
                sysctl("net.ipv4.ip_local_port_range"),
                sysctl("net.ipv4.tcp_rmem"),
                sysctl("net.ipv4.tcp_wmem"),
                sysctl("net.ipv4.tcp_max_tw_buckets"),
                sysctl("net.ipv4.tcp_mem"),
                sysctl("net.core.rmem_max"),
                sysctl("net.core.wmem_max"),
                sysctl("net.core.netdev_max_backlog"),
                sysctl("kernel.io_uring_disabled"),
                sysctl("kernel.sched_autogroup_enabled"),
            ],
            open_files: field(&limits, "Max open files"),
            began_unix_s: clock::unix_seconds(),
            command: edge::masked(std::env::args()),
        }
    }
}

/// The first number after `name` at the start of a line.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_this_process() {
        let pid = std::process::id();
        let block = std::hint::black_box(vec![1u8; 8 << 20]);
        let memory = MemorySample::of(pid).expect("own process");
        assert!(memory.private >= block.len() as u64, "{memory:?}");
        assert!(memory.rss >= memory.private && memory.slab > 0, "{memory:?}");
        let sample = ProcessSample::of(pid).expect("own process");
        assert!(sample.cpu_ns > 0);
        assert_eq!(sample.since(&sample), ProcessSample::default());
        assert!(ProcessSample::of(0x007f_ffff).is_none());
        assert!(resident(pid).expect("own process") >= block.len() as u64);
        let program = ProgramInfo::of(pid).expect("own process");
        assert!(program.threads > 0 && !program.cpus.is_empty(), "{program:?}");
        assert!(program.command[0].contains("loadtest"), "{program:?}");
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep is everywhere");
        assert!(descendants(pid).contains(&child.id()));
        child.kill().and_then(|()| child.wait()).expect("it runs");
        assert!(written(pid).is_some() && written(0x007f_ffff).is_none());
        let host = HostInfo::read();
        assert!(host.cpus > 0 && host.memory > 1 << 20 && host.open_files > 0, "{host:?}");
    }
}
