//! The limit on open files: raises it, and names it in errors. Opens no file.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit, which is low only for programs that use `select`, to the hard limit.
pub fn raise_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // If this fails the lower limit holds, and errors name it when it is reached.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// The text of a system error, with the limit if it is at fault.
pub fn explain(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EMFILE) => format!("the limit on open files (RLIMIT_NOFILE, ulimit -n) is too low ({error})"),
        _ => error.to_string(),
    }
}
