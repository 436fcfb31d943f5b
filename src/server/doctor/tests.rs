//! The doctor on hosts that are directories of files: a good host, and one with each fault.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::finding::{CheckStatus, Topic};
use super::wanted::{Rule, Sysctl, all_sysctls};
use super::*;
use crate::io::error::StartError;
use crate::io::ring_probe::RingSupport;
use crate::io::sockets::Capacity;

/// A host to be changed before it is examined.
struct FakeHost {
    root: tempfile::TempDir,
    subject: Subject,
}

impl FakeHost {
    /// Eight CPUs of which six serve, everything as wanted.
    fn good() -> FakeHost {
        let given = RingSupport { slots: 300_000, connections: 200_000, deferred: true, missing: Vec::new() };
        let subject = Subject {
            cores: 6,
            cpus: (2..8).collect(),
            pinned: true,
            max_connections: 1_000_000,
            max_connections_per_core: 200_000,
            listen: vec!["10.0.0.5:8080".parse().expect("an address")],
            control_listen: "127.0.0.1:8081".parse().expect("an address"),
            lacks_hosts: false,
            memory_budget_bytes: 8 << 30,
            memory_bytes: 32 << 30,
            page_bytes: 4_096,
            socket_send_bytes: 0,
            shutdown_grace_ms: 30_000,
            ring: Ok(given),
            store: Some(StoreTrial {
                path: "/var/lib/roomring".into(),
                existing: "/var/lib".into(),
                free_bytes: Some(1 << 40),
                sync_us: Ok(900),
            }),
        };
        let fake = FakeHost { root: tempfile::tempdir().expect("a scratch directory"), subject };
        for sysctl in all_sysctls() {
            fake.sysctl(sysctl.name, &sysctl.value.replace(' ', "\t"));
        }
        for (name, value) in [
            ("kernel.osrelease", "6.12.1-amd64"),
            ("net.ipv4.tcp_mem", "1048576 1398101 2097152"),
            ("net.ipv4.tcp_ehash_entries", "524288"),
            ("net.netfilter.nf_conntrack_count", "7"),
            ("net.ipv4.ip_local_reserved_ports", "8080-8081"),
            ("fs.nr_open", "1048576"),
            ("fs.file-max", "9223372036854775807"),
            ("fs.file-nr", "1000\t0\t9223372036854775807"),
        ] {
            fake.sysctl(name, value);
        }
        fake.file("proc/self/limits", &limits("1048576", "unlimited"));
        fake.file("proc/self/status", "Cpus_allowed_list:\t0-7\nTHP_enabled:\t0\nCapEff:\t0000000000000000\n");
        fake.file("proc/self/cgroup", "0::/system.slice/roomring.service\n");
        fake.file("proc/meminfo", "MemTotal: 33554432 kB\nMemAvailable:   31457280 kB\n");
        fake.file("proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n");
        fake.file("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n");
        fake.file("proc/cmdline", "quiet isolcpus=managed_irq,domain,2-7 rcu_nocbs=2-7");
        fake.file("proc/net/tcp", "  sl  local_address rem_address\n");
        fake.file(
            "proc/net/fib_trie",
            "Main:\n  |-- 10.0.0.5\n     /32 host LOCAL\n  |-- 127.0.0.0\n     /8 host LOCAL\n",
        );
        fake.file("proc/interrupts", "      CPU0 CPU1 CPU2 CPU3 CPU4 CPU5 CPU6 CPU7\n");
        fake.file("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never");
        fake.file("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc");
        fake.file("sys/devices/system/clocksource/clocksource0/available_clocksource", "tsc hpet acpi_pm");
        fake.file("sys/devices/system/cpu/online", "0-7");
        fake.file("sys/devices/system/cpu/isolated", "2-7");
        fake.file("sys/devices/system/node/online", "0");
        for cpu in 0..8 {
            fake.file(&format!("sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"), &cpu.to_string());
            fake.file(&format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"), "performance");
        }
        fake.file("sys/fs/cgroup/system.slice/roomring.service/cpuset.cpus.effective", "0-7");
        fake.card("eth0", 2, &[0, 1]);
        fake.file("sys/class/net/lo/operstate", "unknown");
        fake.file(
            "etc/systemd/system/roomring.service",
            "[Service]\nLimitNOFILE=1048576\nLimitMEMLOCK=infinity\nTimeoutStopSec=40\n",
        );
        fake
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("writable");
        fs::write(path, text).expect("writable");
    }

    fn sysctl(&self, name: &str, value: &str) {
        self.file(&format!("proc/sys/{}", name.replace('.', "/")), value);
    }

    /// A card with `queues` queues each way whose interrupts go to `cpus`.
    fn card(&self, name: &str, queues: usize, cpus: &[usize]) {
        self.file(&format!("sys/class/net/{name}/operstate"), "up");
        for queue in 0..queues {
            self.file(&format!("sys/class/net/{name}/queues/rx-{queue}/rps_cpus"), "00");
            self.file(&format!("sys/class/net/{name}/queues/tx-{queue}/xps_cpus"), "3c");
        }
        for (index, cpu) in cpus.iter().enumerate() {
            let irq = 30 + index;
            self.file(&format!("sys/class/net/{name}/device/msi_irqs/{irq}"), "msix");
            self.file(&format!("proc/irq/{irq}/effective_affinity_list"), &cpu.to_string());
        }
    }

    fn process(&self, pid: u32, name: &str, inode: u64) {
        self.file(&format!("proc/{pid}/comm"), &format!("{name}\n"));
        let folder = self.root.path().join(format!("proc/{pid}/fd"));
        fs::create_dir_all(&folder).expect("writable");
        symlink(format!("socket:[{inode}]"), folder.join("7")).expect("writable");
    }

    fn examine(&self) -> Vec<Finding> {
        examine(&HostFiles::at(self.root.path()), &self.subject)
    }

    /// The one finding about `name`.
    fn finding(&self, name: &str) -> Finding {
        let mut about: Vec<Finding> = self.examine().into_iter().filter(|finding| finding.name == name).collect();
        assert_eq!(about.len(), 1, "{name}: {about:?}");
        about.remove(0)
    }

    /// Asserts the finding about `name` and its fix.
    fn assert_wrong(&self, name: &str, status: CheckStatus, found: &str, fix: &str) {
        let finding = self.finding(name);
        assert_eq!(finding.status, status, "{finding:?}");
        assert!(finding.found.contains(found), "{found:?}: {finding:?}");
        assert!(finding.fix.contains(fix), "{fix:?}: {finding:?}");
    }
}

fn limits(files: &str, memlock: &str) -> String {
    format!(
        "Limit                     Soft Limit           Hard Limit           Units\n\
         Max open files            1024                 {files}              files\n\
         Max locked memory         {memlock}            {memlock}            bytes\n"
    )
}

/// A listening socket in the words of /proc/net/tcp.
fn listening(address: [u8; 4], port: u16, inode: u64) -> String {
    let word = u32::from_ne_bytes(address);
    format!("head\n   0: {word:08X}:{port:04X} 00000000:0000 0A 0:0 00:0 0 1000 0 {inode} 1 0 100 0 0 10 0\n")
}

const WARN: CheckStatus = CheckStatus::Warn;
const FAIL: CheckStatus = CheckStatus::Fail;

#[test]
fn a_good_host_has_nothing_to_fix() {
    let findings = FakeHost::good().examine();
    let wrong: Vec<&Finding> = findings.iter().filter(|finding| finding.status != CheckStatus::Ok).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(findings.iter().all(|finding| finding.fix.is_empty() && !finding.found.is_empty()), "{findings:#?}");
    let topics = [Topic::Kernel, Topic::Limits, Topic::Addresses, Topic::Network, Topic::Memory, Topic::Processor];
    for topic in topics.into_iter().chain([Topic::Store]) {
        assert!(findings.iter().any(|finding| finding.topic == topic), "{topic:?}");
    }
    assert!(findings.iter().any(|finding| finding.name == "eth0: queues"));
    assert!(!findings.iter().any(|finding| finding.name.starts_with("lo")), "loopback is no card");
}

#[test]
fn an_empty_host_causes_no_panic_and_no_failure() {
    let mut fake = FakeHost::good();
    fake.root = tempfile::tempdir().expect("a scratch directory");
    let failed: Vec<Finding> = fake.examine().into_iter().filter(|finding| finding.status == FAIL).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(report::text(&fake.examine(), "nothing").contains("the server can serve"));
}

#[test]
fn every_sysctl_is_judged_by_its_rule() {
    for sysctl in all_sysctls() {
        let fake = FakeHost::good();
        fake.file("sys/devices/system/node/online", "0-1");
        fake.file("sys/devices/system/node/node0/cpulist", "0-7");
        let bad = match sysctl.rule {
            Rule::AtLeast => "0",
            Rule::AtMost => "4294967295",
            Rule::LastAtMost => "4096 16384 33554432",
            Rule::Exactly => {
                if sysctl.value == "0" {
                    "1"
                } else {
                    "0"
                }
            }
            Rule::Covers => "32768 60999",
        };
        fake.sysctl(sysctl.name, bad);
        fake.assert_wrong(sysctl.name, WARN, "", &format!("sysctl -w {}=", sysctl.name));
    }
}

#[test]
fn kernels_and_rings() {
    let mut fake = FakeHost::good();
    fake.sysctl("kernel.osrelease", "5.15.0-91-generic");
    fake.assert_wrong("release", WARN, "5.15", "6.1");
    let given = |deferred, missing| Ok(RingSupport { slots: 9, connections: 9, deferred, missing });
    fake.subject.ring = given(false, Vec::new());
    fake.assert_wrong("completions", WARN, "COOP_TASKRUN", "6.1");
    fake.subject.ring = given(true, vec![("multishot receive", "Invalid argument".into())]);
    fake.assert_wrong("io_uring", FAIL, "multishot receive: Invalid argument", "Linux 6.1");
    fake.subject.ring = Err(StartError::Forbidden);
    fake.assert_wrong("io_uring", FAIL, "forbidden", "seccomp");
    fake.subject.ring = Err(StartError::Disabled(2));
    fake.assert_wrong("io_uring", FAIL, "kernel.io_uring_disabled = 2", "sysctl -w kernel.io_uring_disabled=0");
    fake.subject.ring = Err(StartError::Files { limit: 12, wanted: "a ring" });
    fake.assert_wrong("io_uring", FAIL, "is 12", "LimitNOFILE=1048576");
    fake.file("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet");
    fake.assert_wrong("clock source", WARN, "hpet", "echo tsc");
}

#[test]
fn limits_of_process_and_unit() {
    let mut fake = FakeHost::good();
    fake.file("proc/self/limits", &limits("20000", "65536"));
    fake.subject.ring = Ok(RingSupport { slots: 20_000, connections: 18_976, deferred: true, missing: Vec::new() });
    fake.assert_wrong("RLIMIT_NOFILE", WARN, "20,000", "LimitNOFILE=1048576");
    assert!(fake.finding("RLIMIT_NOFILE").why.contains("113,856 of 1,000,000"), "{:?}", fake.finding("RLIMIT_NOFILE"));
    fake.assert_wrong("RLIMIT_MEMLOCK", FAIL, "64 KiB", "LimitMEMLOCK=infinity");
    fake.sysctl("fs.nr_open", "65536");
    fake.assert_wrong("fs.nr_open", WARN, "65,536", "fs.nr_open=1048576");
    fake.sysctl("fs.file-max", "100000");
    fake.assert_wrong("fs.file-max", WARN, "100,000", "fs.file-max=262144");
    fake.file(
        "etc/systemd/system/roomring.service",
        "[Service]\nTimeoutStopSec=1min\n# LimitNOFILE=1\nLimitMEMLOCK=64K\n",
    );
    fake.file(
        "etc/systemd/system/roomring.service.d/10-mine.conf",
        "[Service]\nTimeoutStopSec=20s\nLimitNOFILE=4096\n",
    );
    fake.assert_wrong("unit: LimitNOFILE", WARN, "4096", "/etc/systemd/system/roomring.service.d/10-mine.conf:3:");
    fake.assert_wrong("unit: TimeoutStopSec", WARN, "20s", "10-mine.conf:2: TimeoutStopSec=40");
    fake.assert_wrong("unit: LimitMEMLOCK", FAIL, "64K", "roomring.service:4: LimitMEMLOCK=infinity");
}

#[test]
fn addresses_in_use_not_there_or_not_allowed() {
    let mut fake = FakeHost::good();
    fake.file("proc/net/tcp", &listening([0, 0, 0, 0], 8080, 4242));
    fake.assert_wrong("server.listen", FAIL, "in use", "ss -ltnp");
    fake.process(77, "nginx", 4242);
    fake.assert_wrong("server.listen", FAIL, "in use by nginx (pid 77)", "stop nginx (pid 77)");
    fake.process(77_000, "roomring", 1);
    fake.assert_wrong("server.listen", FAIL, "in use by nginx (pid 77)", "stop nginx (pid 77)");
    fs::remove_dir_all(fake.root.path().join("proc/77")).expect("it is there");
    fake.assert_wrong("server.listen", WARN, "perhaps by roomring (pid 77000)", "as root");
    fake.process(78, "roomring", 4242);
    let served = fake.finding("server.listen");
    assert!(served.status == CheckStatus::Ok && served.found.contains("served by roomring (pid 78)"), "{served:?}");

    fake.subject.listen = vec!["10.0.0.6:8080".parse().expect("an address")];
    fake.assert_wrong("server.listen", FAIL, "not an address of this host", "0.0.0.0");
    fake.subject.listen = vec!["0.0.0.0:443".parse().expect("an address")];
    fake.assert_wrong("server.listen", FAIL, "may not bind", "CAP_NET_BIND_SERVICE");
    fake.file("proc/self/status", "CapEff:\t0000000000000400\n");
    assert_eq!(fake.finding("server.listen").status, CheckStatus::Ok);
    fake.sysctl("net.ipv4.ip_local_reserved_ports", "");
    fake.subject.listen = vec!["127.0.0.9:40000".parse().expect("an address")];
    fake.assert_wrong("server.listen", WARN, "40000 free", "ip_local_reserved_ports = 40000");
    fake.subject.lacks_hosts = true;
    fake.assert_wrong("server.allowed_hosts", WARN, "empty", "chat.example.com");
}

#[test]
fn memory_for_connections_and_for_stalled_readers() {
    let mut fake = FakeHost::good();
    fake.sysctl("net.ipv4.tcp_notsent_lowat", "4294967295");
    fake.sysctl("net.ipv4.tcp_wmem", "4096 16384 4194304");
    fake.assert_wrong("net.ipv4.tcp_mem", WARN, "8,192 MiB", "lower net.ipv4.tcp_notsent_lowat");
    fake.subject.socket_send_bytes = 128 << 10;
    assert_eq!(fake.finding("net.ipv4.tcp_mem").status, CheckStatus::Ok, "the server's own bound goes first");
    fake.subject.socket_send_bytes = 16 << 20;
    fake.assert_wrong("net.ipv4.tcp_mem", WARN, "8,192 MiB", "lower limits.socket_send_bytes");
    fake.subject.socket_send_bytes = 0;
    fake.sysctl("net.ipv4.tcp_notsent_lowat", "131072");
    fake.sysctl("net.ipv4.tcp_mem", "10000 20000 30000");
    fake.assert_wrong("net.ipv4.tcp_mem", WARN, "117 MiB", "net.ipv4.tcp_mem = 1048576 1398101 2097152");
    fake.sysctl("net.ipv4.tcp_ehash_entries", "-8192");
    fake.assert_wrong("net.ipv4.tcp_ehash_entries", WARN, "8,192", "thash_entries=262144");
    fake.file("proc/meminfo", "MemAvailable: 8388608 kB\n");
    fake.assert_wrong("available", WARN, "8,192 MiB of 32,768 MiB", "limits.memory_budget = \"3900MiB\"");
    fake.subject.memory_bytes = 1 << 30;
    fake.assert_wrong("available", WARN, "1,024 MiB of 1,024 MiB", "server.max_connections");
    fake.file("proc/swaps", "Filename Type Size Used Priority\n/dev/sda2 partition 2097152 0 -2\n");
    fake.assert_wrong("swap", WARN, "2,048 MiB", "swapoff -a");
    fake.file("sys/fs/cgroup/system.slice/memory.swap.max", "0\n");
    assert_eq!(fake.finding("swap").status, CheckStatus::Ok);
    fake.file("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never");
    assert_eq!(
        fake.finding("transparent huge pages").status,
        CheckStatus::Ok,
        "the server has turned them off for itself"
    );
    fake.file("proc/self/status", "THP_enabled:\t1\n");
    fake.assert_wrong("transparent huge pages", WARN, "always", "echo madvise");
    fs::remove_dir_all(fake.root.path().join("proc/sys/net/netfilter")).expect("it is there");
    assert_eq!(fake.finding("nf_conntrack").found, "not loaded");
}

#[test]
fn cores_that_are_shared_slowed_or_far_apart() {
    let mut fake = FakeHost::good();
    fake.file("sys/devices/system/cpu/isolated", "");
    fake.assert_wrong("isolation", WARN, "isolated none", "isolcpus=managed_irq,domain,2-7 rcu_nocbs=2-7");
    fake.file("sys/fs/cgroup/system.slice/roomring.service/cpuset.cpus.effective", "2-7");
    fake.file("sys/fs/cgroup/system.slice/roomring.service/cpuset.cpus.partition", "isolated");
    assert_eq!(fake.finding("isolation").status, CheckStatus::Ok, "a cgroup isolates as well as the command line");
    fake.file("sys/fs/cgroup/system.slice/roomring.service/cpuset.cpus.effective", "0-3");
    fake.assert_wrong("CPUs of this process", WARN, "cpuset 0-3", "AllowedCPUs=2-7");
    fake.file("sys/fs/cgroup/system.slice/cpu.max", "250000 100000");
    fake.assert_wrong("CPU quota", WARN, "2.5 CPUs", "600%");
    fake.file("sys/devices/system/cpu/cpu3/cpufreq/scaling_governor", "powersave");
    fake.assert_wrong("governor", WARN, "performance, powersave", "cpupower");
    for cpu in [2, 6] {
        fake.file(&format!("sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"), "2,6");
    }
    fake.assert_wrong("SMT siblings", WARN, "CPUs 2,6", "server.cores = \"2-5,7\"");
    fake.file("sys/devices/system/node/online", "0-1");
    fake.file("sys/devices/system/node/node0/cpulist", "0-3");
    fake.file("sys/devices/system/node/node1/cpulist", "4-7");
    fake.assert_wrong("NUMA nodes", WARN, "2 of 2: 0-1", "server.cores = \"4-7\"");
    fake.subject.cpus = (0..8).collect();
    fake.subject.cores = 8;
    fake.assert_wrong("server.cores", WARN, "8 cores on CPUs 0-7 of 8", "server.cores = \"2-7\"");
    fake.subject.pinned = false;
    fake.assert_wrong("server.cores", WARN, "any of CPUs", "server.pin = true");
}

#[test]
fn interrupts_on_the_servers_cores() {
    let mut fake = FakeHost::good();
    fake.card("eth1", 1, &[1, 5]);
    fake.assert_wrong("eth1: queues", WARN, "1 receive", "ethtool -L eth1 combined 2");
    fake.assert_wrong("eth1: interrupts", WARN, "CPUs 1,5", "tuning/host/irq-affinity --cpus 0-1 eth1");
    fake.file("sys/class/net/eth1/queues/rx-0/rps_cpus", "00000000,00000003");
    assert_eq!(fake.finding("eth1: queues").status, CheckStatus::Ok, "RPS spreads what one queue receives");
    fake.file("sys/class/net/eth1/device/numa_node", "3");
    fake.assert_wrong("eth1: NUMA node", WARN, "3", "server.cores");
    fake.file("sys/class/net/eth2/operstate", "down");
    fake.file("sys/class/net/eth2/device/vendor", "0x8086");
    assert!(!fake.examine().iter().any(|finding| finding.name.starts_with("eth2")), "it is down");

    let line = " 90:  5 0 0 50000 0 0 0 0 PCI-MSIX-0000 1-edge nvme0q1\n 91: 90000 0 0 0 0 0 0 0 PCI 1-edge nvme0q2\n";
    fake.file("proc/interrupts", &format!("  CPU0 CPU1 CPU2 CPU3 CPU4 CPU5 CPU6 CPU7\n{line}LOC: 1 2 3\n"));
    fake.file("proc/irq/90/effective_affinity_list", "3");
    fake.file("proc/irq/91/effective_affinity_list", "0");
    fake.assert_wrong("other interrupts", WARN, "1, most by 90 nvme0q1: 50,000", "--all --cpus 0-1");

    fake.process(60, "irqbalance", 1);
    assert_eq!(fake.finding("irqbalance").status, CheckStatus::Ok, "it keeps off isolated CPUs by itself");
    fake.file("sys/devices/system/cpu/isolated", "");
    fake.assert_wrong("irqbalance", WARN, "running", "IRQBALANCE_BANNED_CPULIST=2-7");
    fake.file("etc/default/irqbalance", "IRQBALANCE_BANNED_CPULIST=2-7\n");
    assert_eq!(fake.finding("irqbalance").status, CheckStatus::Ok);

    fake.subject.cpus = (0..8).collect();
    fake.card("eth0", 4, &[0, 0, 0, 0]);
    fake.assert_wrong("eth0: interrupts", WARN, "CPUs 0", "--cpus 0-7 eth0");
}

/// The folder that sets a host up, and the doctor that examines it, say the same.
#[test]
fn tuning_sets_exactly_what_the_doctor_wants() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning");
    let text = fs::read_to_string(folder.join("sysctl.d/90-roomring.conf")).expect("the file is there");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut set: Vec<(String, String)> = lines
        .map(|line| {
            let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("not NAME = VALUE: {line}"));
            (name.trim().to_owned(), value.trim().to_owned())
        })
        .collect();
    // With a dash in front a name that this kernel lacks is no error.
    let marked = |sysctl: Sysctl| {
        let mark = if sysctl.optional { "-" } else { "" };
        (format!("{mark}{}", sysctl.name), sysctl.value.to_owned())
    };
    let mut wanted: Vec<(String, String)> = all_sysctls().map(marked).collect();
    set.sort();
    wanted.sort();
    assert_eq!(set, wanted);
    let unit = fs::read_to_string(folder.join("systemd/roomring.service")).expect("the file is there");
    assert!(unit.lines().any(|line| line == format!("LimitNOFILE={}", wanted::FILES)), "{unit}");
    assert!(unit.lines().any(|line| line == "LimitMEMLOCK=infinity"), "{unit}");
}

/// A profile is taken as it stands on a machine of its size, and leaves to the host what the doctor wants left.
#[test]
fn profiles_suit_machines_of_their_size() {
    use super::super::config::load::{Sources, load};
    use super::super::config::lower::plan;
    for (cpus, memory_gib) in [(2, 4u64), (8, 16), (32, 64), (96, 192)] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tuning/profiles/{cpus}-cores.toml"));
        let (config, mistakes) = load(&Sources { file: Some(file), ..Sources::default() });
        assert!(mistakes.is_empty(), "{mistakes:?}");
        let machine =
            HostMachine { cpus: (0..cpus).collect(), parallelism: cpus, memory_bytes: memory_gib << 30, host: None };
        let plan = plan(&config, &machine).unwrap_or_else(|mistakes| panic!("{cpus}: {mistakes:?}"));
        let served: Vec<Option<usize>> = (wanted::house_cpus(cpus)..cpus).map(Some).collect();
        assert_eq!(plan.cpus, served, "{cpus}");

        let slots = Capacity::unlimited(plan.settings.max_connections_per_core).slots;
        assert!(u64::from(slots) <= wanted::FILES, "{cpus}: the unit's LimitNOFILE holds {slots} sockets a core");
        let most = u64::from(config.get("server", "max_connections").count());
        let memory = most * (wanted::CONNECTION_USER_BYTES + wanted::CONNECTION_KERNEL_BYTES)
            + plan.settings.memory_budget_bytes * plan.cpus.len() as u64;
        assert!(memory <= machine.memory_bytes * 9 / 10, "{cpus}: {memory} of {}", machine.memory_bytes);
        let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning/systemd/roomring.service");
        let unit = fs::read_to_string(unit).expect("the file is there");
        let stop = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).expect("it is set");
        assert!(stop.parse::<u64>().expect("seconds") * 1_000 > plan.shutdown_grace_ms, "{cpus}");
    }
}

#[test]
fn the_data_directory_is_judged() {
    let wrong = |change: fn(&mut StoreTrial)| {
        let mut fake = FakeHost::good();
        change(fake.subject.store.as_mut().expect("a good host has one"));
        fake
    };
    wrong(|trial| trial.free_bytes = Some(1 << 29)).assert_wrong("free space", WARN, "512 MiB", "store.path");
    wrong(|trial| trial.sync_us = Ok(20_900)).assert_wrong("write and fdatasync", WARN, "20.9 ms", "durability");
    let unwritable = wrong(|trial| trial.sync_us = Err("Permission denied".into()));
    unwritable.assert_wrong("data directory", FAIL, "cannot write to /var/lib: Permission denied", "/var/lib/roomring");
    assert!(!unwritable.examine().iter().any(|finding| finding.name == "write and fdatasync"));
    for kind in ["tmpfs", "nfs4"] {
        let fake = FakeHost::good();
        fake.file("proc/self/mountinfo", &format!("22 1 8:1 / /var rw - {kind} none rw\n"));
        fake.assert_wrong("file system", WARN, kind, "local disk");
    }
    let mut without = FakeHost::good();
    without.subject.store = None;
    assert!(!without.examine().iter().any(|finding| finding.topic == Topic::Store));
}
