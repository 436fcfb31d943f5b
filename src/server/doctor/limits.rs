//! Limits of the process, of the host's file tables, and of the unit that starts the server. Changes nothing.

use super::finding::{Finding, Topic};
use super::host::HostFiles;
use super::subject::Subject;
use super::texts::{cores_text, grouped, unit_line};
use super::wanted;
use crate::io::error::EXECUTOR_MEMLOCK_BYTES;

/// Paths of the unit; the first that exists counts.
const UNITS: [&str; 3] = [
    "etc/systemd/system/roomring.service",
    "usr/lib/systemd/system/roomring.service",
    "lib/systemd/system/roomring.service",
];

/// All checks of this topic.
pub fn checks(host: &HostFiles, subject: &Subject) -> Vec<Finding> {
    let mut findings = vec![files(host, subject), memlock(host)];
    findings.extend(nr_open(host));
    findings.extend(file_max(host, subject));
    findings.extend(unit(host, subject));
    findings
}

/// The server raises the soft limit to the hard one, which then bounds each core's table of sockets.
fn files(host: &HostFiles, subject: &Subject) -> Finding {
    let Some((_, hard)) = host.limit("Max open files") else {
        return Finding::new(Topic::Limits, "RLIMIT_NOFILE", "unknown");
    };
    let wanted = subject.slots_wanted();
    let holds = subject.connections();
    let found = if hard == u64::MAX { "unlimited".to_owned() } else { grouped(hard) };
    let why = format!(
        "limits the sockets of each core: {} of {} connections fit on {}",
        grouped(holds),
        grouped(u64::from(subject.max_connections)),
        cores_text(subject.cores)
    );
    let finding = Finding::new(Topic::Limits, "RLIMIT_NOFILE", found).wants(format!(">= {}", grouped(wanted)), why);
    finding.warn_unless(hard >= wanted, unit_line(&format!("LimitNOFILE={}", wanted::FILES)))
}

fn memlock(host: &HostFiles) -> Finding {
    let Some((soft, _)) = host.limit("Max locked memory") else {
        return Finding::new(Topic::Limits, "RLIMIT_MEMLOCK", "unknown");
    };
    let found = if soft == u64::MAX { "unlimited".to_owned() } else { format!("{} KiB", soft >> 10) };
    Finding::new(Topic::Limits, "RLIMIT_MEMLOCK", found)
        .wants(format!(">= {} KiB", EXECUTOR_MEMLOCK_BYTES >> 10), "the rings of an executor are locked memory")
        .fail_unless(soft >= EXECUTOR_MEMLOCK_BYTES, unit_line("LimitMEMLOCK=infinity"))
}

fn nr_open(host: &HostFiles) -> Option<Finding> {
    let found = host.sysctl_numbers("fs.nr_open")?.first().copied()?;
    let finding = Finding::new(Topic::Limits, "fs.nr_open", grouped(found));
    let finding = finding.wants(format!(">= {}", grouped(wanted::FILES)), "upper bound of LimitNOFILE");
    Some(finding.warn_unless(found >= wanted::FILES, format!("sysctl -w fs.nr_open={}", wanted::FILES)))
}

/// Every socket is an open file of the host, even without a descriptor in the process.
fn file_max(host: &HostFiles, subject: &Subject) -> Option<Finding> {
    let found = host.sysctl_numbers("fs.file-max")?.first().copied()?;
    let used = host.sysctl_numbers("fs.file-nr").and_then(|numbers| numbers.first().copied()).unwrap_or(0);
    let wanted = subject.connections() + wanted::FILES_SPARE;
    let shown = if found > 1 << 40 { "unlimited".to_owned() } else { grouped(found) };
    let finding = Finding::new(Topic::Limits, "fs.file-max", format!("{shown} ({} in use)", grouped(used)));
    let finding = finding.wants(format!(">= {}", grouped(wanted)), "each connection is an open file of the host");
    let fix = format!("sysctl -w fs.file-max={}, also in /etc/sysctl.d", wanted.next_power_of_two());
    Some(finding.warn_unless(found >= wanted, fix))
}

/// A setting of the unit: its value and its place.
struct UnitSetting {
    value: String,
    at: String,
}

/// The last setting of `key` in the unit and its drop-ins.
fn setting(host: &HostFiles, unit: &str, key: &str) -> Option<UnitSetting> {
    let folder = format!("{unit}.d");
    let drop_ins = host.names(&folder).into_iter().filter(|name| name.ends_with(".conf"));
    let files = std::iter::once(unit.to_owned()).chain(drop_ins.map(|name| format!("{folder}/{name}")));
    let mut last = None;
    for file in files {
        for (number, line) in host.text(&file).unwrap_or_default().lines().enumerate() {
            if let Some((name, value)) = line.split_once('=')
                && name.trim() == key
            {
                last = Some(UnitSetting { value: value.trim().to_owned(), at: format!("/{file}:{}", number + 1) });
            }
        }
    }
    last
}

fn unit(host: &HostFiles, subject: &Subject) -> Vec<Finding> {
    let Some(unit) = UNITS.into_iter().find(|path| host.has(path)) else {
        return Vec::new();
    };
    let get = |key| setting(host, unit, key);
    let at = |line: &Option<UnitSetting>| line.as_ref().map_or_else(|| format!("/{unit}"), |line| line.at.clone());
    let found = |line: &Option<UnitSetting>| line.as_ref().map_or_else(|| "not set".into(), |line| line.value.clone());

    let files = get("LimitNOFILE");
    let hard = files.as_ref().and_then(|line| limit(&line.value)).unwrap_or(524_288);
    let wanted_files = subject.slots_wanted();
    let stop = get("TimeoutStopSec");
    let stop_ms = stop.as_ref().map_or(Some(90_000), |line| span_ms(&line.value)).unwrap_or(u64::MAX);
    let lock = get("LimitMEMLOCK");
    // Without the setting, the default of the service manager is in effect: 8 MiB.
    let locked = lock.as_ref().and_then(|line| limit(&line.value)).unwrap_or(8 << 20);
    vec![
        Finding::new(Topic::Limits, "unit: LimitNOFILE", found(&files))
            .wants(format!(">= {}", grouped(wanted_files)), "limits the sockets of each core")
            .warn_unless(hard >= wanted_files, format!("{}: LimitNOFILE={}", at(&files), wanted::FILES)),
        Finding::new(Topic::Limits, "unit: LimitMEMLOCK", found(&lock))
            .wants(format!(">= {} KiB", EXECUTOR_MEMLOCK_BYTES >> 10), "the rings of an executor are locked memory")
            .fail_unless(locked >= EXECUTOR_MEMLOCK_BYTES, format!("{}: LimitMEMLOCK=infinity", at(&lock))),
        Finding::new(Topic::Limits, "unit: TimeoutStopSec", found(&stop))
            .wants(
                format!("> {} s", subject.shutdown_grace_ms.div_ceil(1_000)),
                "a drain takes up to server.shutdown_grace",
            )
            .warn_unless(
                stop_ms > subject.shutdown_grace_ms,
                format!("{}: TimeoutStopSec={}", at(&stop), subject.shutdown_grace_ms.div_ceil(1_000) + 10),
            ),
    ]
}

/// `1048576`, `1024:524288` (the hard one counts), `infinity`, with the suffixes of systemd.
fn limit(value: &str) -> Option<u64> {
    let hard = value.rsplit(':').next()?.trim();
    if hard == "infinity" {
        return Some(u64::MAX);
    }
    let (digits, shift) = match hard.chars().last()? {
        'K' => (&hard[..hard.len() - 1], 10),
        'M' => (&hard[..hard.len() - 1], 20),
        'G' => (&hard[..hard.len() - 1], 30),
        _ => (hard, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// `40`, `40s`, `1min 30s`, `infinity`, in milliseconds.
fn span_ms(value: &str) -> Option<u64> {
    if value == "infinity" || value == "0" {
        return Some(u64::MAX);
    }
    let mut sum = 0u64;
    for part in value.split_whitespace() {
        let split = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let scale = match &part[split..] {
            "ms" => 1,
            "" | "s" | "sec" => 1_000,
            "m" | "min" => 60_000,
            "h" | "hr" => 3_600_000,
            _ => return None,
        };
        sum = sum.checked_add(part[..split].parse::<u64>().ok()?.checked_mul(scale)?)?;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_units_are_read() {
        assert_eq!(limit("1048576"), Some(1_048_576));
        assert_eq!(limit("1024:524288"), Some(524_288));
        assert_eq!(limit("64M"), Some(64 << 20));
        assert_eq!(limit("infinity"), Some(u64::MAX));
        assert_eq!(limit("many"), None);
        assert_eq!(span_ms("40"), Some(40_000));
        assert_eq!(span_ms("1min 30s"), Some(90_000));
        assert_eq!(span_ms("infinity"), Some(u64::MAX));
        assert_eq!(span_ms("soon"), None);
    }
}
