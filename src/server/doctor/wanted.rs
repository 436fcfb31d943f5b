//! The values that a dedicated host should have. `tuning/` sets the same values, which a test checks. Reads no host.

/// How a sysctl's value is compared with the one wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Every number is at least this.
    AtLeast,
    /// Every number is at most this.
    AtMost,
    /// The last number is at most this one's last.
    LastAtMost,
    /// The same.
    Exactly,
    /// A range at least as wide.
    Covers,
}

/// A sysctl that a dedicated host should have set.
#[derive(Clone, Copy, Debug)]
pub struct Sysctl {
    /// Its name.
    pub name: &'static str,
    /// The value wanted, as `sysctl.d` writes it.
    pub value: &'static str,
    /// How values compare.
    pub rule: Rule,
    /// Whether some kernels lack it (a module, an option of the build, an older version).
    pub optional: bool,
    /// The reason, in few words.
    pub why: &'static str,
}

const fn sysctl(name: &'static str, value: &'static str, rule: Rule, why: &'static str) -> Sysctl {
    Sysctl { name, value, rule, optional: false, why }
}

const fn optional(name: &'static str, value: &'static str, rule: Rule, why: &'static str) -> Sysctl {
    Sysctl { name, value, rule, optional: true, why }
}

/// Free bytes on the file system of the data directory: room for the log, and for the index while it is written anew.
pub const STORE_FREE_BYTES: u64 = 1 << 30;

/// Time of one write and fdatasync in the data directory.
pub const STORE_SYNC_US_MAX: u64 = 20_000;

/// `kernel.io_uring_disabled`.
pub const IO_URING: Sysctl = optional("kernel.io_uring_disabled", "0", Rule::Exactly, "every core uses an io_uring");

/// `kernel.numa_balancing`.
pub const NUMA_BALANCING: Sysctl = optional(
    "kernel.numa_balancing",
    "0",
    Rule::Exactly,
    "it unmaps pages to see which CPU uses them, which only costs pinned cores time",
);

/// `net.netfilter.nf_conntrack_max`: a quarter more than the connections that [`FILES`] allows one core.
pub const CONNTRACK: Sysctl = optional(
    "net.netfilter.nf_conntrack_max",
    "1310720",
    Rule::AtLeast,
    "a new connection that cannot be tracked is dropped",
);

/// Sysctls that are compared as they stand.
pub const SYSCTLS: [Sysctl; 9] = [
    sysctl(
        "net.core.somaxconn",
        "65535",
        Rule::AtLeast,
        "limits the connections that wait to be accepted by each core",
    ),
    sysctl(
        "net.ipv4.tcp_max_syn_backlog",
        "65535",
        Rule::AtLeast,
        "limits half-open connections in a storm of reconnects",
    ),
    sysctl("net.ipv4.tcp_syncookies", "1", Rule::AtLeast, "a flood of SYNs does not keep clients out"),
    // A container does not see it.
    optional(
        "net.core.netdev_max_backlog",
        "16384",
        Rule::AtLeast,
        "limits packets that wait for a CPU after loopback or RPS",
    ),
    sysctl(
        "net.ipv4.tcp_notsent_lowat",
        "131072",
        Rule::AtMost,
        "limits the bytes that the kernel takes before it can send them",
    ),
    sysctl("net.ipv4.tcp_wmem", "4096 16384 262144", Rule::LastAtMost, "limits the kernel memory of one slow consumer"),
    sysctl("net.ipv4.tcp_rmem", "4096 131072 1048576", Rule::LastAtMost, "limits the kernel memory of one sender"),
    sysctl(
        "net.ipv4.tcp_slow_start_after_idle",
        "0",
        Rule::Exactly,
        "rooms are quiet, then burst: a burst must not start slowly",
    ),
    sysctl(
        "net.ipv4.ip_local_port_range",
        "10240 65535",
        Rule::Covers,
        "ports for outgoing connections: a proxy, Redis, a load test",
    ),
];

/// Every one, as `tuning/sysctl.d/90-roomring.conf` sets them.
#[cfg(test)]
pub fn all_sysctls() -> impl Iterator<Item = Sysctl> {
    [IO_URING, NUMA_BALANCING, CONNTRACK].into_iter().chain(SYSCTLS)
}

impl Sysctl {
    /// The numbers wanted.
    #[must_use]
    pub fn numbers(&self) -> Vec<u64> {
        self.value.split(' ').map(|number| number.parse().expect("written in this file")).collect()
    }

    /// Whether these numbers are as wanted.
    #[must_use]
    pub fn holds(&self, found: &[u64]) -> bool {
        let wanted = self.numbers();
        if found.len() != wanted.len() {
            return false;
        }
        let each =
            |compare: fn(u64, u64) -> bool| found.iter().zip(&wanted).all(|(found, want)| compare(*found, *want));
        match self.rule {
            Rule::AtLeast => each(|found, want| found >= want),
            Rule::AtMost => each(|found, want| found <= want),
            Rule::Exactly => each(|found, want| found == want),
            Rule::LastAtMost => found.last() <= wanted.last(),
            Rule::Covers => found[0] <= wanted[0] && found.last() >= wanted.last(),
        }
    }

    /// The value wanted, as a person reads it.
    #[must_use]
    pub fn wanted(&self) -> String {
        match self.rule {
            Rule::AtLeast => format!(">= {}", self.value),
            Rule::AtMost => format!("<= {}", self.value),
            Rule::LastAtMost => format!("max <= {}", self.numbers().last().expect("not empty")),
            Rule::Exactly | Rule::Covers => self.value.to_owned(),
        }
    }
}

/// Oldest kernel that has everything the server uses.
pub const KERNEL: (u32, u32) = (6, 1);

/// `LimitNOFILE=` of the unit: sockets in each core's table, and what `fs.nr_open` must allow.
pub const FILES: u64 = 1 << 20;

/// Open files of the host beside the connections of the server.
pub const FILES_SPARE: u64 = 100_000;

/// User-space memory of an idle connection that is a member of a room, in bytes (README, "Measured", rounded up).
pub const CONNECTION_USER_BYTES: u64 = 400;

/// Kernel memory of one idle socket, with its poll, in bytes (Linux 6.18, slab).
pub const CONNECTION_KERNEL_BYTES: u64 = 4_100;

/// Readers that stop reading at the same time; memory for sockets must suffice for them.
pub const STALLED: u64 = 10_000;

/// Connections for each bucket of the kernel's table of established ones: each packet walks a chain of this length.
pub const CHAIN: u64 = 4;

/// CPUs of a dedicated host that are left to interrupts, the service thread and everything else.
#[must_use]
pub const fn house_cpus(cpus: usize) -> usize {
    match cpus {
        0..=3 => 0,
        4..=7 => 1,
        8..=15 => 2,
        16..=47 => 4,
        _ => 8,
    }
}

/// `net.ipv4.tcp_mem` for a host with this much memory: pages below which the kernel allocates freely, from which it saves,
/// and which it never exceeds.
#[must_use]
pub fn tcp_mem(memory_bytes: u64, page_bytes: u64) -> [u64; 3] {
    let pages = memory_bytes / page_bytes;
    [pages / 8, pages / 6, pages / 4]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_compare_by_their_rule() {
        let find = |name: &str| all_sysctls().find(|sysctl| sysctl.name == name).expect("in the list");
        let somaxconn = find("net.core.somaxconn");
        assert!(somaxconn.holds(&[65_535]) && somaxconn.holds(&[100_000]) && !somaxconn.holds(&[4_096]));
        assert!(!somaxconn.holds(&[]) && !somaxconn.holds(&[65_535, 1]));
        let wmem = find("net.ipv4.tcp_wmem");
        assert!(wmem.holds(&[4_096, 16_384, 262_144]) && wmem.holds(&[4_096, 87_380, 65_536]));
        assert!(!wmem.holds(&[4_096, 16_384, 4_194_304]));
        let ports = find("net.ipv4.ip_local_port_range");
        assert!(ports.holds(&[10_240, 65_535]) && ports.holds(&[1_024, 65_535]));
        assert!(!ports.holds(&[32_768, 60_999]) && !ports.holds(&[1_024, 60_999]));
        assert!(!find("net.ipv4.tcp_slow_start_after_idle").holds(&[1]));
        assert!(!find("net.ipv4.tcp_notsent_lowat").holds(&[4_294_967_295]));
        assert!(all_sysctls().all(|sysctl| sysctl.holds(&sysctl.numbers())));
    }
}
