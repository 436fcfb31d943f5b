//! The data directory of the embedded store: writable, on a local disk with space, which writes fast enough. Changes nothing.

use std::path::Path;

use super::finding::{Finding, Topic};
use super::host::HostFiles;
use super::store_trial::StoreTrial;
use super::subject::Subject;
use super::texts::mib;
use super::wanted;

/// File systems in memory, whose files are gone after a restart of the host.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

/// File systems over a network.
const OVER_NETWORK: [&str; 11] =
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "afs", "fuse.sshfs"];

/// All checks of this topic; none without a data directory.
pub fn checks(host: &HostFiles, subject: &Subject) -> Vec<Finding> {
    let Some(trial) = &subject.store else { return Vec::new() };
    let mut findings = vec![directory(trial)];
    findings.extend(free_space(trial));
    findings.extend(file_system(host, trial));
    findings.extend(sync_time(trial));
    findings
}

fn directory(trial: &StoreTrial) -> Finding {
    let (path, existing) = (trial.path.display(), trial.existing.display());
    let found = match (&trial.sync_us, trial.exists()) {
        (Ok(_), true) => format!("{path}"),
        (Ok(_), false) => format!("{path}, to be made"),
        (Err(why), _) => format!("{path}: cannot write to {existing}: {why}"),
    };
    let fix = format!("install -d -m 700 -o USER {path}, with the server's user, or set store.path");
    Finding::new(Topic::Store, "data directory", found)
        .wants("writable", "the store keeps rooms there")
        .fail_unless(trial.sync_us.is_ok(), fix)
}

fn free_space(trial: &StoreTrial) -> Option<Finding> {
    let free = trial.free_bytes?;
    let finding = Finding::new(Topic::Store, "free space", mib(free));
    let why = "when the disk is full, publishes that the store must keep are refused";
    Some(finding.wants(format!(">= {}", mib(wanted::STORE_FREE_BYTES)), why).warn_unless(
        free >= wanted::STORE_FREE_BYTES,
        format!("free space on the file system of {}, or set store.path", trial.existing.display()),
    ))
}

fn file_system(host: &HostFiles, trial: &StoreTrial) -> Option<Finding> {
    let kind = kind_of(&host.text("proc/self/mountinfo")?, &trial.existing)?;
    let (is_memory, is_network) = (IN_MEMORY.contains(&&*kind), OVER_NETWORK.contains(&&*kind));
    let why = if is_network {
        "locks and syncs over a network are slow, and not all servers keep their word"
    } else {
        "what is in memory is gone after a restart of the host"
    };
    let finding = Finding::new(Topic::Store, "file system", kind);
    let fix = "store.path on a local disk (ext4 or xfs)";
    Some(finding.wants("on a local disk", why).warn_unless(!is_memory && !is_network, fix))
}

fn sync_time(trial: &StoreTrial) -> Option<Finding> {
    let us = *trial.sync_us.as_ref().ok()?;
    let found = format!("{}.{} ms", us / 1_000, us % 1_000 / 100);
    let finding = Finding::new(Topic::Store, "write and fdatasync", found);
    let most = wanted::STORE_SYNC_US_MAX;
    let why = "with store.durability = \"store\" each publish waits as long";
    let fix = "a disk with power-loss protection (its cache is safe), or store.durability = \"memory\"";
    Some(finding.wants(format!("<= {} ms", most / 1_000), why).warn_unless(us <= most, fix))
}

/// The kind of the file system that holds a path, by the lines of `mountinfo`.
fn kind_of(mounts: &str, path: &Path) -> Option<String> {
    let mut best: Option<(usize, &str)> = None;
    for line in mounts.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let (Some(point), Some(kind)) = (before.split(' ').nth(4), after.split(' ').next()) else { continue };
        // A later mount on the same place covers an earlier one.
        let point = point.replace("\\040", " ");
        if path.starts_with(&point) && best.is_none_or(|(length, _)| point.len() >= length) {
            best = Some((point.len(), kind));
        }
    }
    best.map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_counts() {
        let mounts = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                      30 22 0:26 / /srv rw,nosuid shared:5 - nfs4 server:/ rw\n\
                      31 30 8:2 / /srv/a\\040b rw - xfs /dev/sda2 rw\n\
                      32 31 0:27 / /srv/a\\040b rw - tmpfs none rw\n";
        for (path, expected) in [
            ("/var/lib", "ext4"),
            ("/srvx", "ext4"),
            ("/srv", "nfs4"),
            ("/srv/data", "nfs4"),
            ("/srv/a b/data", "tmpfs"),
        ] {
            assert_eq!(kind_of(mounts, Path::new(path)).as_deref(), Some(expected), "{path}");
        }
        assert_eq!(kind_of("what?", Path::new("/")), None);
    }
}
