//! TCP: queues, buffers, port ranges and the tables of connections. Changes nothing.

use super::finding::{Finding, Topic};
use super::host::HostFiles;
use super::subject::Subject;
use super::texts::{SYSCTL_FILE, grouped, mib, set};
use super::wanted::{self, CONNTRACK, SYSCTLS, Sysctl};

/// Bytes that a stalled reader's socket holds beyond `tcp_notsent_lowat`: one more segment of the largest size.
const SEGMENT_BYTES: u64 = 64 << 10;

/// All checks of this topic.
pub fn checks(host: &HostFiles, subject: &Subject) -> Vec<Finding> {
    let mut findings: Vec<Finding> = SYSCTLS.iter().filter_map(|wanted| plain(host, wanted)).collect();
    findings.extend(tcp_mem(host, subject));
    findings.extend(established(host, subject));
    findings.push(conntrack(host, subject));
    findings
}

/// A sysctl that is compared as it stands.
pub fn plain(host: &HostFiles, sysctl: &Sysctl) -> Option<Finding> {
    let Some(found) = host.sysctl(sysctl.name) else {
        let missing = Finding::new(Topic::Network, sysctl.name, "missing").wants(sysctl.wanted(), sysctl.why);
        return (!sysctl.optional).then(|| missing.warn_unless(false, "mount /proc; a container may hide it"));
    };
    let holds = host.sysctl_numbers(sysctl.name).is_some_and(|numbers| sysctl.holds(&numbers));
    let finding = Finding::new(Topic::Network, sysctl.name, found).wants(sysctl.wanted(), sysctl.why);
    Some(finding.warn_unless(holds, set(sysctl)))
}

/// The memory that TCP needs when many readers stop at once, against its limit.
fn tcp_mem(host: &HostFiles, subject: &Subject) -> Option<Finding> {
    let limit = host.sysctl_numbers("net.ipv4.tcp_mem")?.get(2)?.checked_mul(subject.page_bytes)?;
    // The size that the server sets on its own sockets overrides the size for all sockets.
    let own = (subject.socket_send_bytes > 0).then_some(subject.socket_send_bytes);
    let buffer = own.map(|own| 2 * own).or_else(|| host.sysctl_numbers("net.ipv4.tcp_wmem")?.get(2).copied())?;
    let system = || host.sysctl_numbers("net.ipv4.tcp_notsent_lowat").and_then(|numbers| numbers.first().copied());
    let unsent = own.or_else(system);
    let each = unsent.map_or(buffer, |unsent| buffer.min(unsent.saturating_add(SEGMENT_BYTES)));
    let stalled = subject.connections().min(wanted::STALLED);
    let needed = stalled.saturating_mul(each);
    let why = format!("{} stalled readers take {} KiB each", grouped(stalled), each >> 10);
    let [low, pressure, high] = wanted::tcp_mem(subject.memory_bytes, subject.page_bytes);
    let fix = if high * subject.page_bytes >= needed {
        format!("net.ipv4.tcp_mem = {low} {pressure} {high} in /etc/sysctl.d (a quarter of the memory)")
    } else if own.is_some() {
        "lower limits.socket_send_bytes".to_owned()
    } else {
        format!("lower net.ipv4.tcp_notsent_lowat and tcp_wmem, as {} does", SYSCTL_FILE)
    };
    let finding = Finding::new(Topic::Network, "net.ipv4.tcp_mem", format!("at most {}", mib(limit)));
    Some(finding.wants(format!(">= {}", mib(needed)), why).warn_unless(limit >= needed, fix))
}

/// The table in which each packet finds its connection.
fn established(host: &HostFiles, subject: &Subject) -> Option<Finding> {
    // Missing before Linux 6.1; negative in a namespace without a table of its own.
    let buckets = host.sysctl("net.ipv4.tcp_ehash_entries")?.parse::<i64>().ok()?.unsigned_abs();
    let wanted = subject.connections().div_ceil(wanted::CHAIN).next_power_of_two();
    let finding = Finding::new(Topic::Network, "net.ipv4.tcp_ehash_entries", grouped(buckets))
        .wants(format!(">= {}", grouped(wanted)), "each packet looks its connection up in this table");
    Some(finding.warn_unless(buckets >= wanted, format!("thash_entries={wanted} on the kernel's command line")))
}

/// Connection tracking, if loaded, follows every connection.
fn conntrack(host: &HostFiles, subject: &Subject) -> Finding {
    let Some(found) = host.sysctl_numbers(CONNTRACK.name).and_then(|numbers| numbers.first().copied()) else {
        return Finding::new(Topic::Network, "nf_conntrack", "not loaded")
            .wants("not loaded", "it adds work to every packet");
    };
    let count = host.number("proc/sys/net/netfilter/nf_conntrack_count").unwrap_or(0);
    let wanted = subject.connections() + subject.connections() / 4;
    let finding =
        Finding::new(Topic::Network, CONNTRACK.name, format!("{} ({} in use)", grouped(found), grouped(count)));
    let fix = format!("{}, or notrack rules for the server's ports (tuning/README.md)", set(&CONNTRACK));
    finding.wants(format!(">= {}", grouped(wanted)), CONNTRACK.why).warn_unless(found >= wanted, fix)
}
