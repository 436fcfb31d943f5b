//! Owns the reasons why a core cannot start, in words for the operator. Each `Display` is one sentence that names the
//! sysctl, the limit or the setting at fault. Never decides how to react.

use std::fmt;
use std::fs;
use std::io;

use nix::sys::resource::{Resource, getrlimit};

/// The kernel's switch for io_uring (0: allowed, 1: allowed for one group, 2: forbidden).
const DISABLED_SYSCTL: &str = "/proc/sys/kernel/io_uring_disabled";

/// Bytes that glommio locks for one executor.
pub const EXECUTOR_MEMLOCK_BYTES: u64 = 512 * 1024;

/// A core's ring or executor cannot be created.
#[derive(Debug)]
pub enum StartError {
    /// The kernel has no io_uring (ENOSYS).
    Missing,
    /// `kernel.io_uring_disabled` forbids it; holds its value.
    Disabled(u32),
    /// Forbidden in another way, in practice by a seccomp profile (EPERM, EACCES).
    Forbidden,
    /// The kernel's io_uring lacks this feature.
    TooOld(&'static str),
    /// `RLIMIT_MEMLOCK` is too low; holds the limit in bytes.
    MemoryLock(u64),
    /// `RLIMIT_NOFILE` is too low.
    Files {
        /// The soft limit.
        limit: u64,
        /// The object that needed another descriptor.
        wanted: &'static str,
    },
    /// This process may not run on the CPU to pin to.
    NoCpu(usize),
    /// Another failure: the attempt, and the system's error.
    Other(&'static str, String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Missing => {
                f.write_str("this kernel has no io_uring: use Linux 6.1 or later built with CONFIG_IO_URING")
            }
            StartError::Disabled(value) => write!(
                f,
                "io_uring is forbidden by the sysctl kernel.io_uring_disabled = {value}: set it to 0 \
                 (sysctl -w kernel.io_uring_disabled=0)"
            ),
            StartError::Forbidden => f.write_str(
                "io_uring is forbidden for this process although kernel.io_uring_disabled allows it, usually by the \
                 seccomp profile of a container: allow io_uring_setup, io_uring_enter and io_uring_register",
            ),
            StartError::TooOld(what) => {
                write!(f, "this kernel's io_uring is too old ({what} is missing): use Linux 6.1 or later")
            }
            StartError::MemoryLock(limit) => write!(
                f,
                "the limit on locked memory (RLIMIT_MEMLOCK, ulimit -l) is {} KiB: io_uring needs at least {} KiB for \
                 each core, so raise it (LimitMEMLOCK=infinity in a systemd unit, --ulimit memlock=-1 for a container)",
                limit / 1024,
                EXECUTOR_MEMLOCK_BYTES / 1024
            ),
            StartError::Files { limit, wanted } => write!(
                f,
                "the limit on open files (RLIMIT_NOFILE, ulimit -n) is {limit}, too low for {wanted}: raise it \
                 (LimitNOFILE=1048576 in a systemd unit)"
            ),
            StartError::NoCpu(cpu) => {
                write!(f, "this process may not run on CPU {cpu}: change server.cores, or set server.pin = false")
            }
            StartError::Other(what, error) => write!(f, "{what} failed: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl StartError {
    /// Finds the cause of an error of `io_uring_setup` or `io_uring_register`.
    #[must_use]
    pub fn from_io_uring(what: &'static str, error: &io::Error) -> StartError {
        match error.raw_os_error() {
            Some(libc::ENOSYS) => StartError::Missing,
            Some(libc::EPERM | libc::EACCES) => match disabled_sysctl() {
                Some(value) if value > 0 => StartError::Disabled(value),
                _ => StartError::Forbidden,
            },
            Some(libc::EINVAL) => StartError::TooOld(what),
            Some(libc::ENOMEM) if memlock_limit() < u64::MAX => StartError::MemoryLock(memlock_limit()),
            Some(libc::EMFILE) => StartError::Files { limit: files_limit(), wanted: what },
            _ => StartError::Other(what, error.to_string()),
        }
    }

    /// Fails if the limit on locked memory is too low for an executor.
    ///
    /// # Errors
    /// [`StartError::MemoryLock`].
    pub fn check_memlock() -> Result<(), StartError> {
        let limit = memlock_limit();
        if limit < EXECUTOR_MEMLOCK_BYTES { Err(StartError::MemoryLock(limit)) } else { Ok(()) }
    }
}

/// The soft limit on open files.
#[must_use]
pub fn files_limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft)
}

fn memlock_limit() -> u64 {
    getrlimit(Resource::RLIMIT_MEMLOCK).map_or(u64::MAX, |(soft, _)| soft)
}

fn disabled_sysctl() -> Option<u32> {
    fs::read_to_string(DISABLED_SYSCTL).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(errno: i32) -> String {
        StartError::from_io_uring("the test", &io::Error::from_raw_os_error(errno)).to_string()
    }

    #[test]
    fn each_cause_is_named() {
        assert!(sentence(libc::ENOSYS).contains("CONFIG_IO_URING"));
        assert!(sentence(libc::EPERM).contains("kernel.io_uring_disabled"));
        assert!(sentence(libc::EINVAL).contains("the test is missing"));
        assert!(sentence(libc::EMFILE).contains("RLIMIT_NOFILE"));
        assert!(sentence(libc::EIO).starts_with("the test failed: "));
        assert!(StartError::Disabled(2).to_string().contains("kernel.io_uring_disabled = 2"));
        assert!(StartError::MemoryLock(65_536).to_string().contains("is 64 KiB"));
    }
}
