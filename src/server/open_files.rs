//! The limit on open files: raises it, checks it before the server starts, and names it in errors.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::io::error::files_limit;

/// Descriptors of the service threads: epoll, signals, log, control address, and some clients of the latter.
const OF_SERVICES: usize = 64;

/// Descriptors of one core: its rings, its eventfds, and a few connections. Each listening socket is one more.
const OF_CORE: usize = 16;

/// Raises the soft limit, which is low only for programs that use `select`, to the hard limit.
pub fn raise_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // If this fails the lower limit holds, and errors name it when it is reached.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Fails if the process cannot open what a server of so many cores and listening addresses opens at its start. Found out
/// later, the same limit would end the server halfway, at a place that depends on what it inherited.
///
/// # Errors
/// One sentence with the limit and what is needed.
pub fn check(cores: usize, listening: usize) -> anyhow::Result<()> {
    // The directory cannot be read if not even one descriptor is left.
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let (needed, limit) = (open + OF_SERVICES + cores * (OF_CORE + listening), files_limit());
    anyhow::ensure!(
        needed as u64 <= limit,
        "the limit on open files (RLIMIT_NOFILE, ulimit -n) is {limit}: this server needs {needed} before its first \
         client, so raise it (LimitNOFILE=1048576 in a systemd unit)"
    );
    Ok(())
}

/// The text of a system error, with the limit if it is at fault.
pub fn explain(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EMFILE) => format!("the limit on open files (RLIMIT_NOFILE, ulimit -n) is too low ({error})"),
        _ => error.to_string(),
    }
}
