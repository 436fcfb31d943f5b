//! The CPUs, the memory and the name that this host gives the process. Reads /proc and /sys; decides nothing.

use std::fs;
use std::path::{Path, PathBuf};

use super::keys::is_node;

/// The machine that a configuration is checked against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostMachine {
    /// The CPUs that this process may run on, ascending.
    pub cpus: Vec<usize>,
    /// How many of them it may keep busy at a time, which a CPU quota may limit. At least 1.
    pub parallelism: usize,
    /// Bytes of memory: of the machine, or of the control group if that is less.
    pub memory_bytes: u64,
    /// The host's name, if it can name a node.
    pub host: Option<String>,
}

impl HostMachine {
    /// This host, as this process sees it.
    #[must_use]
    pub fn detect() -> Self {
        let parallelism = std::thread::available_parallelism().map_or(1, usize::from);
        let mut cpus: Vec<usize> =
            core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
        cpus.sort_unstable();
        if cpus.is_empty() {
            cpus = (0..parallelism).collect();
        }
        let root = Path::new("/");
        Self { cpus, parallelism, memory_bytes: memory_bytes(root), host: host(root) }
    }
}

fn host(root: &Path) -> Option<String> {
    let name = fs::read_to_string(root.join("proc/sys/kernel/hostname")).ok()?;
    let name: String = name.trim().chars().take(64).collect();
    is_node(&name).then_some(name)
}

/// The smallest of the machine's memory and the limits of the control groups that hold this process.
fn memory_bytes(root: &Path) -> u64 {
    let machine = fs::read_to_string(root.join("proc/meminfo")).ok().and_then(|text| total_bytes(&text));
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().flat_map(|line| group_limits(root, line));
    // Without /proc: the smallest machine that makes sense.
    machine.into_iter().chain(limits).filter(|bytes| *bytes > 0).min().unwrap_or(512 << 20)
}

fn total_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The limits of the group in one line of /proc/self/cgroup and of its ancestors. Inside a container the path may be the
/// host's, of which only the root is visible here.
fn group_limits(root: &Path, line: &str) -> Vec<u64> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { return Vec::new() };
    let mounts: &[(&str, &str)] = if controllers.is_empty() {
        &[("sys/fs/cgroup", "memory.max"), ("sys/fs/cgroup/unified", "memory.max")]
    } else if controllers.split(',').any(|controller| controller == "memory") {
        &[("sys/fs/cgroup/memory", "memory.limit_in_bytes")]
    } else {
        return Vec::new();
    };
    let group: PathBuf = path.split('/').filter(|part| !part.is_empty() && *part != "..").collect();
    let read = |directory: PathBuf, file: &str| fs::read_to_string(directory.join(file)).ok()?.trim().parse().ok();
    mounts
        .iter()
        .flat_map(|(mount, file)| group.ancestors().filter_map(move |part| read(root.join(mount).join(part), file)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a scratch directory");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("under the root")).expect("writable");
            fs::write(path, text).expect("writable");
        }
        root
    }

    #[test]
    fn the_least_limit_counts() {
        let meminfo = ("proc/meminfo", "MemFree: 1 kB\nMemTotal:    8192 kB\n");
        assert_eq!(memory_bytes(tree(&[meminfo]).path()), 8 << 20);
        let second = tree(&[
            meminfo,
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/memory.max", "4194304\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
        ]);
        assert_eq!(memory_bytes(second.path()), 4 << 20);
        let first = tree(&[
            meminfo,
            ("proc/self/cgroup", "5:cpu:/x\n4:memory:/docker/abc\n0::/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "2097152\n"),
            ("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/cpu/x/memory.max", "1\n"),
        ]);
        assert_eq!(memory_bytes(first.path()), 2 << 20);
    }

    #[test]
    fn this_host_has_something() {
        let machine = HostMachine::detect();
        assert!(!machine.cpus.is_empty() && machine.parallelism > 0 && machine.memory_bytes > 16 << 20);
    }

    #[test]
    fn only_plain_host_names_name_nodes() {
        assert_eq!(host(tree(&[("proc/sys/kernel/hostname", "web-1.example\n")]).path()), Some("web-1.example".into()));
        assert_eq!(host(tree(&[("proc/sys/kernel/hostname", "(none)\n")]).path()), None);
    }
}
