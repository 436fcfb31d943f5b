//! The kernel: its version, its clock, and what its io_uring gives a core.

use super::Subject;
use super::finding::{Finding, Topic};
use super::host::Host;
use super::wanted;
use crate::io::error::StartError;
use crate::io::ring_probe::RingSupport;

const SECCOMP: &str = "allow io_uring_setup, io_uring_enter, io_uring_register in the seccomp profile \
                       (SystemCallFilter= of the unit, --security-opt seccomp=… of the container)";

/// All checks of this topic.
pub fn checks(host: &Host, subject: &Subject) -> Vec<Finding> {
    let mut findings = vec![release(host), clock(host)];
    findings.extend(sysctl(host));
    match &subject.ring {
        Ok(given) => findings.extend(operations(given)),
        Err(error) => findings.push(
            Finding::new(Topic::Kernel, "io_uring", error.to_string())
                .wants("a ring as the server makes it", "every core lives on one")
                .fail_unless(false, mend(error)),
        ),
    }
    findings
}

fn release(host: &Host) -> Finding {
    let found = host.sysctl("kernel.osrelease").unwrap_or_else(|| "unknown".into());
    let (major, minor) = wanted::KERNEL;
    let is_enough = version(&found).is_none_or(|version| version >= wanted::KERNEL);
    Finding::new(Topic::Kernel, "release", found)
        .wants(format!(">= {major}.{minor}"), "completions run only when a core asks for them")
        .warn_unless(is_enough, format!("run Linux {major}.{minor} or later"))
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn sysctl(host: &Host) -> Option<Finding> {
    // Kernels before 6.6 have no such switch. What it means for this process shows in the ring.
    let found = host.sysctl(wanted::IO_URING.name)?;
    let holds = found == wanted::IO_URING.value;
    let finding = Finding::new(Topic::Kernel, wanted::IO_URING.name, found);
    Some(
        finding
            .wants(wanted::IO_URING.wanted(), wanted::IO_URING.why)
            .warn_unless(holds, super::set(&wanted::IO_URING)),
    )
}

fn operations(given: &RingSupport) -> Vec<Finding> {
    let mode = if given.deferred { "DEFER_TASKRUN" } else { "COOP_TASKRUN" };
    let mut findings = vec![
        Finding::new(Topic::Kernel, "completions", mode)
            .wants("DEFER_TASKRUN", "each message costs less CPU time")
            .warn_unless(given.deferred, "run Linux 6.1 or later"),
    ];
    let operations = Finding::new(Topic::Kernel, "io_uring", "every operation works")
        .wants("every operation", "tried on loopback: accept, poll, receive, send, shutdown, close");
    if given.missing.is_empty() {
        findings.push(operations.clone());
    }
    for (operation, error) in &given.missing {
        let mut failed =
            operations.clone().fail_unless(false, "run Linux 6.1 or later; if it is, look at seccomp and LSM");
        failed.found = format!("{operation}: {error}");
        findings.push(failed);
    }
    findings
}

/// What mends a ring that cannot be made.
fn mend(error: &StartError) -> String {
    match error {
        StartError::Disabled(_) => super::set(&wanted::IO_URING),
        StartError::Forbidden => SECCOMP.into(),
        StartError::MemoryLock(_) => super::unit_line("LimitMEMLOCK=infinity"),
        StartError::Files { .. } => super::unit_line(&format!("LimitNOFILE={}", wanted::FILES)),
        StartError::NoCpu(_) => "server.cores in the configuration".into(),
        StartError::Missing | StartError::TooOld(_) | StartError::Other(..) => {
            "run Linux 6.1 or later with CONFIG_IO_URING".into()
        }
    }
}

fn clock(host: &Host) -> Finding {
    const CLOCK: &str = "sys/devices/system/clocksource/clocksource0";
    let found = host.text(&format!("{CLOCK}/current_clocksource")).unwrap_or_else(|| "unknown".into());
    let available = host.text(&format!("{CLOCK}/available_clocksource")).unwrap_or_default();
    // These are read in user space; any other is a system call, and often slow hardware.
    let fast = ["tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "riscv_clocksource", "unknown"];
    let mend = if available.split_whitespace().any(|source| source == "tsc") {
        format!("echo tsc > /{CLOCK}/current_clocksource, and clocksource=tsc on the kernel's command line")
    } else {
        "the machine offers no tsc: look at its firmware or hypervisor".into()
    };
    let is_fast = fast.contains(&found.as_str());
    Finding::new(Topic::Kernel, "clock source", found)
        .wants("tsc", "each turn of a core reads the clock")
        .warn_unless(is_fast, mend)
}
