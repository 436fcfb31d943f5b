//! The kernel: its version, its clock and its io_uring. Changes nothing.

use super::finding::{Finding, Topic};
use super::host::HostFiles;
use super::subject::Subject;
use super::texts::{set, unit_line};
use super::wanted;
use crate::io::error::StartError;
use crate::io::ring_probe::RingSupport;

const SECCOMP: &str = "allow io_uring_setup, io_uring_enter, io_uring_register in the seccomp profile \
                       (SystemCallFilter= of the unit, --security-opt seccomp=… of the container)";

/// All checks of this topic.
pub fn checks(host: &HostFiles, subject: &Subject) -> Vec<Finding> {
    let mut findings = vec![release(host), clock(host)];
    findings.extend(sysctl(host));
    match &subject.ring {
        Ok(given) => findings.extend(operations(given)),
        Err(error) => findings.push(
            Finding::new(Topic::Kernel, "io_uring", error.to_string())
                .wants("a ring with the options of the server", "every core uses one")
                .fail_unless(false, fix(error)),
        ),
    }
    findings
}

fn release(host: &HostFiles) -> Finding {
    let found = host.sysctl("kernel.osrelease").unwrap_or_else(|| "unknown".into());
    let (major, minor) = wanted::KERNEL;
    let is_enough = version(&found).is_none_or(|version| version >= wanted::KERNEL);
    Finding::new(Topic::Kernel, "release", found)
        .wants(format!(">= {major}.{minor}"), "completions then run only when a core asks for them")
        .warn_unless(is_enough, format!("run Linux {major}.{minor} or later"))
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn sysctl(host: &HostFiles) -> Option<Finding> {
    // Kernels before 6.6 have no such switch. Its effect on this process shows in the ring.
    let found = host.sysctl(wanted::IO_URING.name)?;
    let holds = found == wanted::IO_URING.value;
    let finding = Finding::new(Topic::Kernel, wanted::IO_URING.name, found);
    Some(finding.wants(wanted::IO_URING.wanted(), wanted::IO_URING.why).warn_unless(holds, set(&wanted::IO_URING)))
}

fn operations(given: &RingSupport) -> Vec<Finding> {
    let mode = if given.deferred { "DEFER_TASKRUN" } else { "COOP_TASKRUN" };
    let mut findings = vec![
        Finding::new(Topic::Kernel, "completions", mode)
            .wants("DEFER_TASKRUN", "takes less CPU time per message")
            .warn_unless(given.deferred, "run Linux 6.1 or later"),
    ];
    let operations = Finding::new(Topic::Kernel, "io_uring", "every operation works")
        .wants("every operation", "each is tried on loopback: accept, poll, receive, send, shutdown, close");
    if given.missing.is_empty() {
        findings.push(operations.clone());
    }
    for (operation, error) in &given.missing {
        let mut failed =
            operations.clone().fail_unless(false, "run Linux 6.1 or later; if this is one, check seccomp and LSM");
        failed.found = format!("{operation}: {error}");
        findings.push(failed);
    }
    findings
}

/// The fix for a ring that cannot be made.
fn fix(error: &StartError) -> String {
    match error {
        StartError::Disabled(_) => set(&wanted::IO_URING),
        StartError::Forbidden => SECCOMP.into(),
        StartError::MemoryLock(_) => unit_line("LimitMEMLOCK=infinity"),
        StartError::Files { .. } => unit_line(&format!("LimitNOFILE={}", wanted::FILES)),
        StartError::NoCpu(_) => "server.cores in the configuration".into(),
        StartError::Missing | StartError::TooOld(_) | StartError::Other(..) => {
            "run Linux 6.1 or later with CONFIG_IO_URING".into()
        }
    }
}

fn clock(host: &HostFiles) -> Finding {
    const CLOCK: &str = "sys/devices/system/clocksource/clocksource0";
    let found = host.text(&format!("{CLOCK}/current_clocksource")).unwrap_or_else(|| "unknown".into());
    let available = host.text(&format!("{CLOCK}/available_clocksource")).unwrap_or_default();
    // These are read in user space; any other is a system call, and often slow hardware.
    let fast = ["tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "riscv_clocksource", "unknown"];
    let fix = if available.split_whitespace().any(|source| source == "tsc") {
        format!("echo tsc > /{CLOCK}/current_clocksource, and clocksource=tsc on the kernel's command line")
    } else {
        "the machine offers no tsc; check its firmware or hypervisor".into()
    };
    let is_fast = fast.contains(&found.as_str());
    Finding::new(Topic::Kernel, "clock source", found)
        .wants("tsc", "every turn of a core reads the clock")
        .warn_unless(is_fast, fix)
}
