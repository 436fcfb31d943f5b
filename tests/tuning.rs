//! The files of `tuning/` are accepted by the programs that they are written for. Tests of the doctor check that both
//! want the same values.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ROOMRING: &str = env!("CARGO_BIN_EXE_roomring");

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether this host has a program.
fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Profiles name CPUs that this host may lack, which is overridden here. Tests of the doctor check them against machines of
/// their size.
#[test]
fn the_server_takes_every_profile() {
    for cpus in [2, 8, 32, 96] {
        let profile = folder().join(format!("profiles/{cpus}-cores.toml"));
        let mut command = Command::new(ROOMRING);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ROOMRING_")) {
            command.env_remove(name);
        }
        let checked = command.args(["check-config", "--set", "server.cores=auto", "--config"]).arg(&profile).output();
        let checked = checked.expect("the server's program can be started");
        assert!(checked.status.success(), "{}: {}", profile.display(), text(&checked));
    }
}

#[test]
fn the_kernel_has_every_sysctl_that_is_not_marked_as_optional() {
    let conf = read(&folder().join("sysctl.d/90-roomring.conf"));
    let mut names = 0;
    for line in conf.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, value) = line.split_once(" = ").unwrap_or_else(|| panic!("not `name = value`: {line}"));
        names += 1;
        let optional = name.strip_prefix('-');
        let file = Path::new("/proc/sys").join(optional.unwrap_or(name).replace('.', "/"));
        match fs::read_to_string(&file) {
            Ok(now) => {
                let count = |text: &str| text.split_whitespace().count();
                assert_eq!(count(&now), count(value), "{name} holds as many numbers as it is set to: {now}");
            }
            Err(error) => assert!(optional.is_some(), "{name}: {error}"),
        }
    }
    assert!(names >= 10, "the file was read: {names}");
}

/// Each `Key=value` of a unit with its section.
fn settings(unit: &str) -> Vec<(String, String, String)> {
    let (mut settings, mut section) = (Vec::new(), String::new());
    for line in unit.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
        } else {
            let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("not `Key=value`: {line}"));
            settings.push((section.clone(), key.to_owned(), value.to_owned()));
        }
    }
    settings
}

#[test]
fn the_unit_says_what_the_server_needs() {
    let unit = read(&folder().join("systemd/roomring.service"));
    let settings = settings(&unit);
    let get = |key: &str| {
        let found: Vec<&str> =
            settings.iter().filter(|setting| setting.1 == key).map(|setting| setting.2.as_str()).collect();
        assert_eq!(found.len(), 1, "{key} is set once: {found:?}");
        found[0]
    };
    let sections: Vec<&str> = settings.iter().map(|setting| setting.0.as_str()).collect();
    assert!(sections.iter().all(|section| ["Unit", "Service", "Install"].contains(section)), "{sections:?}");
    assert_eq!(get("Type"), "notify", "the server tells when it is ready");
    assert!(get("WatchdogSec").parse::<u32>().is_ok_and(|seconds| seconds >= 10), "a slow moment is no death");
    assert!(get("RestrictAddressFamilies").contains("AF_UNIX"), "by a socket");
    assert_eq!(get("RestartPreventExitStatus"), "2", "a bad configuration stays bad");
    let filter: Vec<&str> = get("SystemCallFilter").split(' ').collect();
    for call in ["@system-service", "io_uring_setup", "io_uring_enter", "io_uring_register"] {
        assert!(filter.contains(&call), "{call}: {filter:?}");
    }
    for command in ["ExecStartPre", "ExecStart"] {
        assert!(get(command).ends_with("--config /etc/roomring/roomring.toml"), "{}", get(command));
    }
}

/// With a sandbox that hides /proc or /sys, the server would have to guess its CPUs and memory.
#[test]
fn the_units_sandbox_leaves_the_server_what_it_reads() {
    let unit = read(&folder().join("systemd/roomring.service"));
    for forbidden in ["ProcSubset", "PrivateNetwork", "InaccessiblePaths=/proc", "InaccessiblePaths=/sys"] {
        let lines = unit.lines().filter(|line| !line.starts_with('#'));
        assert!(!lines.clone().any(|line| line.starts_with(forbidden)), "{forbidden}");
    }
}

/// Systemd passes listening TCP sockets to the unit of the same name.
#[test]
fn the_socket_unit_is_for_the_server() {
    let settings = settings(&read(&folder().join("systemd/roomring.socket")));
    let get = |key: &str| settings.iter().find(|setting| setting.1 == key).map(|setting| setting.2.as_str());
    assert!(get("ListenStream").is_some_and(|address| address.parse::<std::net::SocketAddr>().is_ok()));
    assert_eq!((get("Accept"), get("Service")), (None, None), "one server for all, of the same name");
    let sections: Vec<&str> = settings.iter().map(|setting| setting.0.as_str()).collect();
    assert!(sections.iter().all(|section| ["Unit", "Socket", "Install"].contains(section)), "{sections:?}");
    let conf = read(&folder().join("sysctl.d/90-roomring.conf"));
    assert!(conf.contains(&format!("net.core.somaxconn = {}", get("Backlog").expect("set"))), "the same backlog");
}

/// Checked by systemd itself, if it is installed.
#[test]
fn systemd_takes_the_unit() {
    let unit = read(&folder().join("systemd/roomring.service"));
    assert!(unit.contains("/usr/local/bin/roomring"), "it is replaced below");
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let file = scratch.path().join("roomring.service");
    fs::write(&file, unit.replace("/usr/local/bin/roomring", ROOMRING)).expect("writable");
    let socket = scratch.path().join("roomring.socket");
    fs::copy(folder().join("systemd/roomring.socket"), &socket).expect("writable");
    if has("systemd-analyze") {
        let verify = Command::new("systemd-analyze").arg("verify").args([&file, &socket]).output();
        let verified = verify.expect("it is there");
        assert!(verified.status.success() && text(&verified).trim().is_empty(), "{}", text(&verified));
    }
}

/// A host of four CPUs, the last two isolated, with one card of two queues.
fn fake_host() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a scratch directory");
    for (path, value) in [
        ("sys/devices/system/cpu/online", "0-3\n"),
        ("sys/devices/system/cpu/isolated", "2-3\n"),
        ("sys/class/net/eth0/operstate", "up\n"),
        ("sys/class/net/eth0/device/msi_irqs/40", "msix\n"),
        ("sys/class/net/eth0/device/msi_irqs/41", "msix\n"),
        ("sys/class/net/eth0/device/msi_irqs/100", "msix\n"),
        ("sys/class/net/eth0/queues/rx-0/rps_cpus", "0\n"),
        ("sys/class/net/eth0/queues/rx-1/rps_cpus", "0\n"),
        ("sys/class/net/eth0/queues/tx-0/xps_cpus", "0\n"),
        ("sys/class/net/eth0/queues/tx-1/xps_cpus", "0\n"),
        ("sys/class/net/lo/operstate", "unknown\n"),
        ("proc/irq/default_smp_affinity", "f\n"),
        ("proc/irq/9/smp_affinity_list", "0-3\n"),
        ("proc/irq/40/smp_affinity_list", "0-3\n"),
        ("proc/irq/41/smp_affinity_list", "0-3\n"),
        ("proc/irq/100/smp_affinity_list", "0-3\n"),
    ] {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("writable");
        fs::write(path, value).expect("writable");
    }
    root
}

fn irq_affinity(root: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(folder().join("host/irq-affinity"));
    command.env("IRQ_AFFINITY_ROOT", root).args(arguments).output().expect("the script can be started")
}

#[test]
fn interrupts_and_queues_are_placed_once() {
    let host = fake_host();
    let value = |path: &str| read(&host.path().join(path)).trim().to_owned();
    let irq = |number: u32| value(&format!("proc/irq/{number}/smp_affinity_list"));

    let planned = irq_affinity(host.path(), &["--dry-run", "--rps", "--all"]);
    assert!(planned.status.success(), "{}", text(&planned));
    assert!(text(&planned).contains("would be eth0 interrupt 41: 1 (now 0-3)"), "{}", text(&planned));
    assert_eq!(irq(41), "0-3", "a dry run writes nothing");

    let placed = irq_affinity(host.path(), &["--rps", "--all"]);
    assert!(placed.status.success(), "{}", text(&placed));
    assert_eq!([40, 41, 100].map(irq), ["0", "1", "0"], "in turn on the CPUs that are not isolated");
    assert_eq!(irq(9), "0,1", "other devices may use all of those");
    assert_eq!(value("proc/irq/default_smp_affinity"), "00000003");
    let queue = |name: &str| value(&format!("sys/class/net/eth0/queues/{name}"));
    assert_eq!(["rx-0/rps_cpus", "rx-1/rps_cpus"].map(queue), ["00000003"; 2]);
    assert_eq!(
        ["tx-0/xps_cpus", "tx-1/xps_cpus"].map(queue),
        ["00000005", "0000000a"],
        "all CPUs send, isolated ones too"
    );

    let again = irq_affinity(host.path(), &["--rps", "--all"]);
    let lines = text(&again);
    assert!(lines.lines().count() >= 9 && lines.lines().all(|line| line.starts_with("is ")), "{lines}");

    let moved = irq_affinity(host.path(), &["--cpus", "1", "eth0"]);
    assert!(moved.status.success(), "{}", text(&moved));
    assert_eq!([40, 41, 100].map(irq), ["1"; 3]);
}

#[test]
fn masks_of_many_cpus_are_written_in_groups() {
    let host = fake_host();
    fs::write(host.path().join("sys/devices/system/cpu/online"), "0-95\n").expect("writable");
    let placed = irq_affinity(host.path(), &["--cpus", "0,31-32,64", "--rps", "eth0"]);
    assert!(placed.status.success(), "{}", text(&placed));
    let mask = read(&host.path().join("sys/class/net/eth0/queues/rx-0/rps_cpus"));
    assert_eq!(mask.trim(), "00000001,00000001,80000001");
}

#[test]
fn a_mistake_is_named_and_nothing_is_written() {
    let host = fake_host();
    for (arguments, named) in [
        (&["--cpus", "7"][..], "CPU 7 is not online"),
        (&["--cpus", "a-b"], "a-b is not a list"),
        (&["--cpus", "3-1"], "3-1 is not a list"),
        (&["--cpus"], "--cpus needs"),
        (&["--fast"], "--fast is not one of"),
        (&["eth7"], "no network card eth7"),
    ] {
        let refused = irq_affinity(host.path(), arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {}", text(&refused));
        assert!(text(&refused).contains(named), "{arguments:?}: {}", text(&refused));
    }
    assert_eq!(read(&host.path().join("proc/irq/40/smp_affinity_list")).trim(), "0-3");
}

#[test]
fn the_script_is_clean_shell() {
    let script = folder().join("host/irq-affinity");
    let parsed = Command::new("sh").arg("-n").arg(&script).output().expect("there is a shell");
    assert!(parsed.status.success(), "{}", text(&parsed));
    if has("shellcheck") {
        let checked = Command::new("shellcheck").arg(&script).output().expect("it is there");
        assert!(checked.status.success(), "{}", text(&checked));
    }
}

/// The path of promtool: the variable `PROMTOOL`, else where `./tests/run` installs it.
fn promtool() -> PathBuf {
    let builds = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in the build's folder");
    let here = builds.join("promtool/usr/bin/promtool");
    let program = std::env::var_os("PROMTOOL").map_or(here, PathBuf::from);
    assert!(program.is_file(), "promtool is not at {}; ./tests/run brings it", program.display());
    program
}

fn prometheus_takes(arguments: &[&str], within: &Path) {
    let output = Command::new(promtool()).args(arguments).current_dir(within).output();
    let output = output.expect("the tool can be started");
    assert!(output.status.success(), "{arguments:?}: {}", text(&output));
}

#[test]
fn prometheus_takes_every_alert_and_each_fires_when_it_should() {
    let within = folder().join("prometheus");
    prometheus_takes(&["check", "rules", "alerts.yml"], &within);
    prometheus_takes(&["test", "rules", "alerts_test.yml"], &within);
    let (alerts, tests) = (read(&within.join("alerts.yml")), read(&within.join("alerts_test.yml")));
    let names: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        for case in ["fires", "stays silent"] {
            assert!(tests.contains(&format!("- name: {name} {case}\n")), "{name} has a case where it {case}");
        }
    }
}

/// Every `expr` at any depth of a value, as Grafana sends it.
fn expressions(value: &serde_json::Value, into: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if name == "expr" => {
                        into.push(text.replace("$__rate_interval", "5m").replace("$instance", ".*"));
                    }
                    _ => expressions(value, into),
                }
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| expressions(value, into)),
        _ => {}
    }
}

#[test]
fn prometheus_takes_every_expression_of_the_dashboard() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&read(&folder().join("grafana/roomring.json"))).expect("the dashboard is JSON");
    let panels = dashboard["panels"].as_array().expect("a list");
    let mut ids: Vec<u64> = panels.iter().map(|panel| panel["id"].as_u64().expect("a number")).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    let mut all = Vec::new();
    expressions(&dashboard, &mut all);
    assert!(all.len() > 40, "they were found: {}", all.len());
    // As rules, in JSON, which is valid YAML.
    let rules: Vec<_> = all
        .iter()
        .enumerate()
        .map(|(index, expr)| serde_json::json!({"record": format!("dashboard:{index}"), "expr": expr}))
        .collect();
    let scratch = tempfile::tempdir().expect("a folder");
    let file = scratch.path().join("rules.yml");
    let text = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string();
    fs::write(file, text).expect("the folder can be written");
    prometheus_takes(&["check", "rules", "rules.yml"], scratch.path());
}
