//! The limit on open files: raised at the start, and named where it is met.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit, which is low for the sake of programs that use `select`, to the hard one.
pub fn raise_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // Where it cannot be raised the lower limit holds, and is named when it is met.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// The system's error, with the limit where it is at fault.
pub fn explain(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EMFILE) => format!("the limit on open files (RLIMIT_NOFILE, ulimit -n) is too low ({error})"),
        _ => error.to_string(),
    }
}
