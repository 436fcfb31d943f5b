//! The lock of a store's directory: one process at a time. Never waits for it.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Name of the locked file. It stays when the lock goes: a file that is removed could be locked by two processes, each of
/// which has opened another one.
pub const LOCK_FILE: &str = "lock";

/// Most bytes of a pid with its end of line.
const PID_BYTES_MAX: u64 = 16;

/// A directory cannot be locked.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum LockError {
    /// By another process, or by this one already.
    #[error("the directory {directory} is in use by {}", holder(*pid))]
    Held { directory: String, pid: Option<u32> },
    /// The system refused something.
    #[error("cannot {action} {file}: {reason}")]
    Io { action: &'static str, file: String, reason: io::Error },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("the process {pid}"))
}

/// Holds the directory until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Locks a directory, which must exist.
    pub fn take(directory: &Path) -> Result<Self, LockError> {
        let path = directory.join(LOCK_FILE);
        let io_error = |action| {
            let file = path.display().to_string();
            move |reason| LockError::Io { action, file, reason }
        };
        let options = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = options.map_err(io_error("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held { directory: directory.display().to_string(), pid: read_pid(&mut file) });
            }
            Err(TryLockError::Error(reason)) => return Err(io_error("lock")(reason)),
        }
        // The pid only helps whoever finds the directory locked.
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(io_error("write"))?;
        Ok(Self { _file: file })
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(PID_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{DirectoryLock, LockError};

    #[test]
    fn a_directory_is_held_by_one_lock_at_a_time() {
        let directory = tempfile::tempdir().expect("a directory");
        let lock = DirectoryLock::take(directory.path()).expect("nobody holds it");
        let error = DirectoryLock::take(directory.path()).expect_err("it is held");
        let expected =
            format!("the directory {} is in use by the process {}", directory.path().display(), std::process::id());
        assert_eq!(error.to_string(), expected);
        drop(lock);
        DirectoryLock::take(directory.path()).expect("it is free again");
    }

    #[test]
    fn a_pid_that_cannot_be_read_is_left_out() {
        let directory = tempfile::tempdir().expect("a directory");
        let _lock = DirectoryLock::take(directory.path()).expect("nobody holds it");
        std::fs::write(directory.path().join("lock"), "what?").expect("it can be written");
        let error = DirectoryLock::take(directory.path()).expect_err("it is held");
        assert!(matches!(error, LockError::Held { pid: None, .. }), "{error}");
        assert!(error.to_string().ends_with("is in use by another process"), "{error}");
    }

    #[test]
    fn a_long_pid_of_an_earlier_process_leaves_no_digits() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("lock"), "99999999999\n").expect("it can be written");
        let _lock = DirectoryLock::take(directory.path()).expect("nobody holds it");
        let text = std::fs::read_to_string(directory.path().join("lock")).expect("it can be read");
        assert_eq!(text, format!("{}\n", std::process::id()));
    }

    #[test]
    fn a_missing_directory_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let missing = directory.path().join("missing");
        let error = DirectoryLock::take(&missing).expect_err("it does not exist");
        assert!(error.to_string().starts_with(&format!("cannot open {}", missing.join("lock").display())), "{error}");
    }
}
