//! Physical network cards that are up: their queues, the CPUs of their interrupts, how packets are spread. Changes
//! nothing.

use super::finding::{Finding, Topic};
use super::host::{HostFiles, list_text};
use super::processor::spare;
use super::subject::Subject;
use super::texts::grouped;

const NET: &str = "sys/class/net";

/// A device is named from this many interrupts since the start of the host on.
const BUSY: u64 = 10_000;

/// The script that places interrupts and queues.
const SCRIPT: &str = "tuning/host/irq-affinity";

/// All checks of this topic.
pub fn checks(host: &HostFiles, subject: &Subject) -> Vec<Finding> {
    let mut findings = Vec::new();
    let spare = spare(host, subject);
    let cards: Vec<Card> = host.names(NET).into_iter().filter_map(|name| Card::read(host, name)).collect();
    for card in &cards {
        findings.push(card.queues(subject, &spare));
        findings.extend(card.transmit());
        findings.extend(card.interrupts(host, subject, &spare));
        findings.extend(card.node(host, subject));
    }
    if !spare.is_empty() {
        findings.push(others(host, subject, &spare, &cards));
    }
    findings.push(balancer(host, subject, &spare));
    findings
}

struct Card {
    name: String,
    receive: usize,
    /// Receive queues that hand packets to other CPUs (RPS).
    steered: usize,
    transmit: usize,
    /// Transmit queues assigned to CPUs (XPS).
    placed: usize,
    interrupts: Vec<String>,
}

impl Card {
    /// `None` for a card that is virtual or down.
    fn read(host: &HostFiles, name: String) -> Option<Card> {
        let path = format!("{NET}/{name}");
        let is_up = host.text(&format!("{path}/operstate")).is_some_and(|state| state == "up" || state == "unknown");
        if !host.has(&format!("{path}/device")) || !is_up {
            return None;
        }
        let queues = host.names(&format!("{path}/queues"));
        let is_masked = |queue: &&String, file: &str| {
            let mask = host.text(&format!("{path}/queues/{queue}/{file}")).unwrap_or_default();
            mask.chars().any(|digit| !matches!(digit, '0' | ','))
        };
        let receive: Vec<&String> = queues.iter().filter(|queue| queue.starts_with("rx-")).collect();
        let transmit: Vec<&String> = queues.iter().filter(|queue| queue.starts_with("tx-")).collect();
        // A virtio card's interrupts belong to the device above it.
        let folders = [format!("{path}/device/msi_irqs"), format!("{path}/device/../msi_irqs")];
        let interrupts = folders.iter().map(|folder| host.names(folder)).find(|names| !names.is_empty());
        Some(Card {
            steered: receive.iter().filter(|queue| is_masked(queue, "rps_cpus")).count(),
            placed: transmit.iter().filter(|queue| is_masked(queue, "xps_cpus")).count(),
            receive: receive.len(),
            transmit: transmit.len(),
            interrupts: interrupts.unwrap_or_default(),
            name,
        })
    }

    fn queues(&self, subject: &Subject, spare: &[usize]) -> Finding {
        let wanted = if spare.is_empty() { subject.cores } else { spare.len() };
        let steering = if self.steered > 0 { "RPS on" } else { "RPS off" };
        let found = format!("{} receive, {} transmit, {steering}", self.receive, self.transmit);
        let fix =
            format!("ethtool -L {0} combined {wanted}; if the card has fewer queues: {SCRIPT} --rps {0}", self.name);
        Finding::new(Topic::Cards, &format!("{}: queues", self.name), found)
            .wants(format!(">= {wanted} receive queues, or RPS"), "spreads received packets over that many CPUs")
            .warn_unless(self.receive >= wanted || self.steered > 0, fix)
    }

    fn transmit(&self) -> Option<Finding> {
        let finding = Finding::new(
            Topic::Cards,
            &format!("{}: XPS", self.name),
            format!("{} of {} queues assigned to CPUs", self.placed, self.transmit),
        );
        let finding = finding.wants("queues assigned to CPUs", "cores do not wait for one another's queue");
        let fix = format!("{SCRIPT} {}", self.name);
        (self.transmit > 1).then(|| finding.warn_unless(self.placed > 0, fix))
    }

    /// Away from the server's CPUs if there are others, else spread over all of them.
    fn interrupts(&self, host: &HostFiles, subject: &Subject, spare: &[usize]) -> Option<Finding> {
        let mut used: Vec<usize> = self.interrupts.iter().flat_map(|irq| placement(host, irq)).collect();
        used.sort_unstable();
        used.dedup();
        if used.is_empty() {
            return None;
        }
        let found = format!("{} interrupts on CPUs {}", self.interrupts.len(), list_text(&used));
        let finding = Finding::new(Topic::Cards, &format!("{}: interrupts", self.name), found);
        if !spare.is_empty() {
            let disturbed = used.iter().any(|cpu| subject.cpus.contains(cpu));
            let fix = format!("{SCRIPT} --cpus {} {}", list_text(spare), self.name);
            let why = "each interrupt takes time from a core";
            return Some(finding.wants(format!("CPUs {}", list_text(spare)), why).warn_unless(!disturbed, fix));
        }
        let wanted = subject.cores.min(self.receive);
        let fix = format!("{SCRIPT} --cpus {} {}", list_text(&subject.cpus), self.name);
        let finding = finding.wants(
            if wanted > 1 { format!("spread over {wanted} CPUs") } else { "any".into() },
            "no core handles all of them",
        );
        Some(finding.warn_unless(used.len() >= wanted, fix))
    }

    fn node(&self, host: &HostFiles, subject: &Subject) -> Option<Finding> {
        let node = host.text(&format!("{NET}/{}/device/numa_node", self.name))?.parse::<usize>().ok()?;
        let near = host.cpus(&format!("sys/devices/system/node/node{node}/cpulist"));
        let is_near = subject.cpus.iter().any(|cpu| near.contains(cpu));
        let finding = Finding::new(Topic::Cards, &format!("{}: NUMA node", self.name), node.to_string());
        let finding = finding.wants("the node of the server's cores", "received packets lie in its memory");
        Some(finding.warn_unless(is_near, format!("server.cores = \"{}\" in the configuration", list_text(&near))))
    }
}

/// The CPUs that an interrupt goes to.
fn placement(host: &HostFiles, irq: &str) -> Vec<usize> {
    let effective = host.cpus(&format!("proc/irq/{irq}/effective_affinity_list"));
    if effective.is_empty() { host.cpus(&format!("proc/irq/{irq}/smp_affinity_list")) } else { effective }
}

/// Other devices that have interrupted the server's CPUs.
fn others(host: &HostFiles, subject: &Subject, spare: &[usize], cards: &[Card]) -> Finding {
    let text = host.text("proc/interrupts").unwrap_or_default();
    let mut lines = text.lines();
    let columns: Vec<usize> = lines.next().map_or_else(Vec::new, |head| {
        head.split_whitespace().filter_map(|cpu| cpu.strip_prefix("CPU")?.parse().ok()).collect()
    });
    let mut busy: Vec<(u64, String)> = lines.filter_map(|line| device(line, &columns, &subject.cpus)).collect();
    busy.retain(|(count, name)| {
        let irq = name.split(' ').next().unwrap_or_default();
        let is_there = placement(host, irq).iter().any(|cpu| subject.cpus.contains(cpu));
        *count >= BUSY && is_there && !cards.iter().any(|card| card.interrupts.iter().any(|of| of == irq))
    });
    busy.sort_unstable_by(|a, b| b.cmp(a));
    let found = match busy.first() {
        None => "few".to_owned(),
        Some((count, name)) => format!("{}, most by {name}: {}", busy.len(), grouped(*count)),
    };
    let why = "each interrupt takes time from a core";
    Finding::new(Topic::Cards, "other interrupts", found)
        .wants(format!("on CPUs {}", list_text(spare)), why)
        .warn_unless(busy.is_empty(), format!("{SCRIPT} --all --cpus {}", list_text(spare)))
}

/// How often a device has interrupted `cpus`, and its number and name. `None` for a line of no device.
fn device(line: &str, columns: &[usize], cpus: &[usize]) -> Option<(u64, String)> {
    let (irq, rest) = line.split_once(':')?;
    let irq: u32 = irq.trim().parse().ok()?;
    let mut fields = rest.split_whitespace();
    let mut count = 0u64;
    for cpu in columns {
        let times: u64 = fields.next()?.parse().ok()?;
        count = count.saturating_add(if cpus.contains(cpu) { times } else { 0 });
    }
    Some((count, format!("{irq} {}", fields.last().unwrap_or("?"))))
}

fn balancer(host: &HostFiles, subject: &Subject, spare: &[usize]) -> Finding {
    let is_running = host.names("proc").iter().any(|pid| {
        pid.bytes().all(|byte| byte.is_ascii_digit())
            && host.text(&format!("proc/{pid}/comm")).as_deref() == Some("irqbalance")
    });
    let list = list_text(&subject.cpus);
    let fix =
        format!("systemctl disable --now irqbalance, or IRQBALANCE_BANNED_CPULIST={list} in its environment file");
    let banned = ["etc/default/irqbalance", "etc/sysconfig/irqbalance"].iter().any(|file| {
        let text = host.text(file).unwrap_or_default();
        text.lines().any(|line| line.trim_start().starts_with("IRQBALANCE_BANNED_CPU"))
    });
    // It keeps off isolated CPUs by default.
    let isolated = host.cpus("sys/devices/system/cpu/isolated");
    let kept_off = banned || subject.cpus.iter().all(|cpu| isolated.contains(cpu));
    let found = match (is_running, kept_off) {
        (false, _) => "not running",
        (true, true) => "running, kept off some CPUs",
        (true, false) => "running",
    };
    Finding::new(Topic::Cards, "irqbalance", found)
        .wants("not running, or kept off the server's CPUs", "it moves interrupts back to the server's CPUs")
        .warn_unless(!is_running || kept_off || spare.is_empty(), fix)
}
