//! The CPUs of the server: which, how many, and what else uses them. Changes nothing.

use super::finding::{Finding, Topic};
use super::host::{HostFiles, list_text, parse_list};
use super::subject::Subject;
use super::texts::{cores_text, unit_line};
use super::wanted::{self, NUMA_BALANCING};

const CPUS: &str = "sys/devices/system/cpu";

/// All checks of this topic.
pub fn checks(host: &HostFiles, subject: &Subject) -> Vec<Finding> {
    let mut findings = vec![cores(host, subject)];
    findings.extend(allowed(host, subject));
    findings.extend(quota(host, subject));
    findings.push(isolation(host, subject));
    findings.push(governor(host, subject));
    findings.push(siblings(host, subject));
    findings.extend(nodes(host, subject));
    findings
}

/// The CPUs of the host that run no core.
#[must_use]
pub fn spare(host: &HostFiles, subject: &Subject) -> Vec<usize> {
    if !subject.pinned {
        return Vec::new();
    }
    host.cpus(&format!("{CPUS}/online")).into_iter().filter(|cpu| !subject.cpus.contains(cpu)).collect()
}

fn cores(host: &HostFiles, subject: &Subject) -> Finding {
    let online = host.cpus(&format!("{CPUS}/online"));
    let house = wanted::house_cpus(online.len());
    let served: Vec<usize> = online.iter().copied().skip(house).collect();
    let list = list_text(&subject.cpus);
    let why = "interrupts, the service thread and the rest of the host need CPUs of their own";
    let line = format!("server.cores = \"{}\" in the configuration", list_text(&served));
    if !subject.pinned {
        let found = format!("{}, on any of CPUs {list}", cores_text(subject.cores));
        return Finding::new(Topic::Processor, "server.cores", found)
            .wants("one CPU for each core", "a core that moves to another CPU loses its caches")
            .warn_unless(false, "server.pin = true in the configuration");
    }
    let found = format!("{} on CPUs {list} of {}", cores_text(subject.cores), online.len());
    let wanted = if house == 0 { "one CPU for each core".into() } else { format!(">= {house} CPUs left to the host") };
    let left = online.len().saturating_sub(subject.cpus.len());
    Finding::new(Topic::Processor, "server.cores", found).wants(wanted, why).warn_unless(left >= house, line)
}

/// The CPUs that cgroups and affinity leave to this process, as `server.cores = "auto"` counts them.
fn allowed(host: &HostFiles, subject: &Subject) -> Option<Finding> {
    let allowed = parse_list(&host.field("proc/self/status", "Cpus_allowed_list")?);
    let groups = host.groups();
    let group =
        groups.iter().map(|group| host.cpus(&format!("{group}/cpuset.cpus.effective"))).find(|cpus| !cpus.is_empty());
    let missing: Vec<usize> =
        subject.cpus.iter().copied().filter(|cpu| group.as_ref().is_some_and(|group| !group.contains(cpu))).collect();
    let found = match &group {
        Some(group) => format!("affinity {}, cpuset {}", list_text(&allowed), list_text(group)),
        None => format!("affinity {}, no cpuset", list_text(&allowed)),
    };
    let fix = unit_line(&format!("AllowedCPUs={}", list_text(&subject.cpus)));
    let finding = Finding::new(Topic::Processor, "CPUs of this process", found);
    Some(
        finding
            .wants(format!("CPUs {}", list_text(&subject.cpus)), "server.cores uses them")
            .warn_unless(missing.is_empty(), fix),
    )
}

/// A quota stops all cores for the rest of each period once it is used up.
fn quota(host: &HostFiles, subject: &Subject) -> Option<Finding> {
    let limits = host.groups().into_iter().filter_map(|group| {
        let text = host.text(&format!("{group}/cpu.max"))?;
        let mut numbers = text.split_whitespace().map(|number| number.parse::<f64>().ok());
        Some(numbers.next()?? / numbers.next()??)
    });
    let cpus = limits.min_by(f64::total_cmp)?;
    let finding = Finding::new(Topic::Processor, "CPU quota", format!("{cpus:.1} CPUs"));
    let finding = finding.wants("none", "once it is used up, every core stops until the period ends");
    let fix = format!("CPUQuota= of the unit (--cpus of the container): none, or at least {}00%", subject.cores);
    Some(finding.warn_unless(cpus >= subject.cores as f64, fix))
}

fn isolation(host: &HostFiles, subject: &Subject) -> Finding {
    let spare = spare(host, subject);
    let mut isolated = host.cpus(&format!("{CPUS}/isolated"));
    let is_partition = |group: &String| {
        host.text(&format!("{group}/cpuset.cpus.partition")).is_some_and(|kind| kind.starts_with("isolated"))
    };
    for group in host.groups().into_iter().filter(is_partition) {
        isolated.extend(host.cpus(&format!("{group}/cpuset.cpus.effective")));
    }
    let command_line = host.text("proc/cmdline").unwrap_or_default();
    let option = |name: &str| command_line.split_whitespace().find_map(|word| word.strip_prefix(name));
    let callbacks = option("rcu_nocbs=").map_or_else(Vec::new, parse_list);
    let tickless = host.cpus(&format!("{CPUS}/nohz_full"));
    let found = format!(
        "isolated {}, rcu_nocbs {}, nohz_full {}",
        list_text(&isolated),
        option("rcu_nocbs=").unwrap_or("none"),
        list_text(&tickless)
    );
    let finding = Finding::new(Topic::Processor, "isolation", found);
    if spare.is_empty() {
        return finding.wants("none", "every CPU serves a core, or none is reserved for one");
    }
    let list = list_text(&subject.cpus);
    let all = option("rcu_nocbs=") == Some("all");
    let holds = subject.cpus.iter().all(|cpu| isolated.contains(cpu) && (all || callbacks.contains(cpu)));
    finding
        .wants(format!("isolated and rcu_nocbs {list}"), "nothing else is scheduled on the server's CPUs")
        .warn_unless(holds, format!("isolcpus=managed_irq,domain,{list} rcu_nocbs={list} on the kernel's command line"))
}

fn governor(host: &HostFiles, subject: &Subject) -> Finding {
    let path = |cpu: &usize| format!("{CPUS}/cpu{cpu}/cpufreq/scaling_governor");
    let mut found: Vec<String> = subject.cpus.iter().filter_map(|cpu| host.text(&path(cpu))).collect();
    found.sort();
    found.dedup();
    let holds = found.iter().all(|governor| governor == "performance");
    let shown = if found.is_empty() { "set by the machine".to_owned() } else { found.join(", ") };
    Finding::new(Topic::Processor, "governor", shown)
        .wants("performance", "a CPU that was idle answers at full speed")
        .warn_unless(holds, "cpupower frequency-set -g performance")
}

/// Two cores on the threads of one processor core share its execution units and caches.
fn siblings(host: &HostFiles, subject: &Subject) -> Finding {
    let mut shared = Vec::new();
    let mut threads = 1;
    for cpu in &subject.cpus {
        let together = host.cpus(&format!("{CPUS}/cpu{cpu}/topology/thread_siblings_list"));
        threads = threads.max(together.len());
        let pair: Vec<usize> = together.into_iter().filter(|cpu| subject.cpus.contains(cpu)).collect();
        if pair.len() > 1 && !shared.contains(&pair) {
            shared.push(pair);
        }
    }
    let found = match (threads, shared.len()) {
        (1, _) => "no SMT".to_owned(),
        (_, 0) => "each core has a processor core of its own".to_owned(),
        (_, pairs) => format!("{pairs} shared, such as CPUs {}", list_text(&shared[0])),
    };
    let first: Vec<usize> =
        subject.cpus.iter().copied().filter(|cpu| !shared.iter().any(|pair| pair[1..].contains(cpu))).collect();
    Finding::new(Topic::Processor, "SMT siblings", found)
        .wants(
            "one thread of each processor core",
            "two threads share caches and execution units, which is slower and less even",
        )
        .warn_unless(
            shared.is_empty(),
            format!(
                "server.cores = \"{}\" in the configuration, if latency matters more than throughput",
                list_text(&first)
            ),
        )
}

/// Memory of another node is slower, and each core allocates where it runs.
fn nodes(host: &HostFiles, subject: &Subject) -> Vec<Finding> {
    let all = host.cpus("sys/devices/system/node/online");
    let of = |node: &usize| host.cpus(&format!("sys/devices/system/node/node{node}/cpulist"));
    let mut spanned: Vec<(usize, Vec<usize>)> = all.iter().map(|node| (*node, of(node))).collect();
    spanned.retain(|(_, cpus)| cpus.iter().any(|cpu| subject.cpus.contains(cpu)));
    if all.len() < 2 {
        return vec![Finding::new(Topic::Processor, "NUMA nodes", "1").wants("1", "all memory is equally near")];
    }
    let numbers: Vec<usize> = spanned.iter().map(|(node, _)| *node).collect();
    let found = format!("{} of {}: {}", numbers.len(), all.len(), list_text(&numbers));
    let near: Vec<usize> = spanned
        .iter()
        .max_by_key(|(_, cpus)| cpus.len())
        .map_or_else(Vec::new, |(_, cpus)| subject.cpus.iter().copied().filter(|cpu| cpus.contains(cpu)).collect());
    let fix = format!(
        "server.cores = \"{}\" in the configuration, and one more server for each further node",
        list_text(&near)
    );
    let mut findings = vec![
        Finding::new(Topic::Processor, "NUMA nodes", found)
            .wants("1", "hops and shared frames cross to remote memory")
            .warn_unless(numbers.len() <= 1, fix),
    ];
    findings.extend(super::network::plain(host, &NUMA_BALANCING).map(|mut finding| {
        finding.topic = Topic::Processor;
        finding
    }));
    findings
}
