//! Memory: enough of it, in small pages, none of it swapped out. Changes nothing.

use super::finding::{Finding, Topic};
use super::host::HostFiles;
use super::subject::Subject;
use super::texts::{grouped, mib, unit_line};
use super::wanted;

/// All checks of this topic.
pub fn checks(host: &HostFiles, subject: &Subject) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(available(host, subject));
    findings.push(huge_pages(host));
    findings.push(swap(host));
    findings
}

fn available(host: &HostFiles, subject: &Subject) -> Option<Finding> {
    let free = host.field("proc/meminfo", "MemAvailable")?;
    let free = free.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)?.min(subject.memory_bytes);
    let sockets = subject.connections() * (wanted::CONNECTION_USER_BYTES + wanted::CONNECTION_KERNEL_BYTES);
    let needed = sockets + subject.memory_budget_bytes;
    let why = format!(
        "{} connections take {}, limits.memory_budget is {}",
        grouped(subject.connections()),
        mib(sockets),
        mib(subject.memory_budget_bytes)
    );
    let finding = Finding::new(Topic::Memory, "available", format!("{} of {}", mib(free), mib(subject.memory_bytes)));
    let fix = if sockets < free {
        format!("limits.memory_budget = \"{}MiB\" in the configuration", ((free - sockets) >> 20).max(16))
    } else {
        let fits = free / 2 / (wanted::CONNECTION_USER_BYTES + wanted::CONNECTION_KERNEL_BYTES);
        format!("server.max_connections = {fits} in the configuration, or more memory")
    };
    Some(finding.wants(format!(">= {}", mib(needed)), why).warn_unless(free >= needed, fix))
}

/// The server turns huge pages off for itself; if that is refused, the setting of the host counts.
fn huge_pages(host: &HostFiles) -> Finding {
    let setting = host.text("sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_else(|| "[never]".into());
    let chosen = setting.split(['[', ']']).nth(1).unwrap_or("unknown").to_owned();
    let own = host.field("proc/self/status", "THP_enabled");
    let is_small = chosen != "always" || own.as_deref() == Some("0");
    let found = match own.as_deref() {
        Some("0") => format!("{chosen}, off for this process"),
        _ => chosen,
    };
    Finding::new(Topic::Memory, "transparent huge pages", found)
        .wants("off for the server", "a few connections would keep whole pages of 2 MiB in memory")
        .warn_unless(is_small, "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled")
}

fn swap(host: &HostFiles) -> Finding {
    let swaps = host.text("proc/swaps").unwrap_or_default();
    let sizes = swaps.lines().skip(1).filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
    let total = sizes.sum::<u64>() * 1024;
    let is_kept_in =
        host.groups().iter().any(|group| host.text(&format!("{group}/memory.swap.max")).as_deref() == Some("0"));
    let found = match (total, is_kept_in) {
        (0, _) => "none".to_owned(),
        (_, true) => format!("{}, not for this process", mib(total)),
        (_, false) => mib(total),
    };
    Finding::new(Topic::Memory, "swap", found)
        .wants("none for the server", "a core that waits for a page delays all its connections")
        .warn_unless(total == 0 || is_kept_in, format!("swapoff -a, or {}", unit_line("MemorySwapMax=0")))
}
