//! Takes a store's directory for this process: makes it, checks whose it is, locks it. Never looks at what the store keeps
//! in it.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::lock::{DirectoryLock, LockError};
use super::real::sync_directory;
use super::version::{VersionError, claim, is_store};

/// A directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum DirectoryError {
    /// It does not exist and cannot be made.
    #[error("cannot create the directory {directory}: {reason}")]
    Create { directory: String, reason: io::Error },
    /// Another process has it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// It belongs to another program or version.
    #[error(transparent)]
    Version(#[from] VersionError),
}

/// Takes a directory, which is made if it does not exist. It is this process's as long as the lock is held.
pub fn take_directory(directory: &Path) -> Result<DirectoryLock, DirectoryError> {
    let made = make_directory(directory);
    made.map_err(|reason| DirectoryError::Create { directory: directory.display().to_string(), reason })?;
    // Before the lock: no file of ours appears in another program's directory.
    is_store(directory)?;
    let lock = DirectoryLock::take(directory)?;
    claim(directory)?;
    Ok(lock)
}

/// Makes a directory and those above it, so that they are there after a crash.
fn make_directory(directory: &Path) -> io::Result<()> {
    let missing: Vec<&Path> =
        directory.ancestors().filter(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    for path in missing {
        let above = path.parent().filter(|above| !above.as_os_str().is_empty());
        sync_directory(above.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::take_directory;

    #[test]
    fn a_directory_is_made_taken_and_taken_again() {
        let parent = tempfile::tempdir().expect("a directory");
        let directory = parent.path().join("a/b");
        let lock = take_directory(&directory).expect("it is made");
        assert!(directory.join("VERSION").exists());
        let error = take_directory(&directory).expect_err("it is held").to_string();
        assert!(error.contains("is in use by the process"), "{error}");
        drop(lock);
        take_directory(&directory).expect("it is ours");
    }

    #[test]
    fn nothing_is_made_in_the_directory_of_another_program() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("notes.txt"), "").expect("it can be written");
        take_directory(directory.path()).expect_err("it is not empty");
        assert!(!directory.path().join("lock").exists());
    }

    #[test]
    fn a_file_in_the_place_of_the_directory_is_an_error() {
        let parent = tempfile::tempdir().expect("a directory");
        let file = parent.path().join("data");
        fs::write(&file, "").expect("it can be written");
        let error = take_directory(&file).expect_err("it is a file").to_string();
        assert!(error.starts_with(&format!("cannot create the directory {}", file.display())), "{error}");
    }
}
