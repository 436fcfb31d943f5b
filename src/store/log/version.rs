//! The file that says which program and which version a store's directory belongs to. Never changes a directory that is not
//! new.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use super::lock::LOCK_FILE;
use super::real::sync_directory;

/// Name of the file.
pub const VERSION_FILE: &str = "VERSION";

/// The version that this program reads and writes.
pub const STORE_VERSION: u32 = 1;

/// What stands before the version.
const PROGRAM: &str = "roomring store ";

/// The file until it is whole.
const UNFINISHED: &str = "VERSION.new";

/// Names that a new directory may hold: the root of a file system has the last one.
const ALLOWED: [&str; 3] = [LOCK_FILE, UNFINISHED, "lost+found"];

/// Most bytes read of the file; ours has fewer.
const BYTES_MAX: u64 = 64;

/// A directory is not this program's.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum VersionError {
    /// Written by a later Roomring.
    #[error(
        "{file}: the store has version {found}, and this Roomring reads version {STORE_VERSION}: \
         use the Roomring that wrote it, or a later one"
    )]
    Newer { file: String, found: u32 },
    /// Written by an earlier Roomring.
    #[error(
        "{file}: the store has version {found}, and this Roomring reads version {STORE_VERSION} and cannot convert it: \
         use the Roomring that wrote it, or another directory"
    )]
    Older { file: String, found: u32 },
    /// Not Roomring's.
    #[error(
        "{file}: expected \"roomring store {STORE_VERSION}\", got \"{found}\": the directory belongs to another program"
    )]
    Foreign { file: String, found: String },
    /// Something is in it, and no version.
    #[error(
        "the directory {directory} has no file VERSION and is not empty (it holds \"{entry}\"): use an empty directory"
    )]
    NotEmpty { directory: String, entry: String },
    /// The system refused something.
    #[error("cannot {action} {file}: {reason}")]
    Io { action: &'static str, file: String, reason: io::Error },
}

/// Whether a directory is a store's already. An error: it belongs to another program or version. Changes nothing.
pub fn is_store(directory: &Path) -> Result<bool, VersionError> {
    let path = directory.join(VERSION_FILE);
    let mut bytes = Vec::new();
    match File::open(&path).and_then(|file| file.take(BYTES_MAX).read_to_end(&mut bytes)) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return is_empty(directory).map(|()| false),
        Err(error) => return Err(io_error("read", &path)(error)),
    }
    let text = String::from_utf8_lossy(&bytes);
    let file = path.display().to_string();
    match text.strip_prefix(PROGRAM).and_then(|rest| rest.strip_suffix('\n')).and_then(|version| version.parse().ok()) {
        Some(STORE_VERSION) => Ok(true),
        Some(found) if found > STORE_VERSION => Err(VersionError::Newer { file, found }),
        Some(found) => Err(VersionError::Older { file, found }),
        None => Err(VersionError::Foreign { file, found: text.trim_end().escape_debug().to_string() }),
    }
}

/// Makes a new directory a store's, and checks another one. To be called with the directory's lock.
pub fn claim(directory: &Path) -> Result<(), VersionError> {
    if !is_store(directory)? {
        let unfinished = directory.join(UNFINISHED);
        let mut file = File::create(&unfinished).map_err(io_error("create", &unfinished))?;
        let written = writeln!(file, "{PROGRAM}{STORE_VERSION}").and_then(|()| file.sync_all());
        written.map_err(io_error("write", &unfinished))?;
        fs::rename(&unfinished, directory.join(VERSION_FILE)).map_err(io_error("rename", &unfinished))?;
    }
    // Also if it was there: the process that made it may have been killed before this.
    sync_directory(directory).map_err(io_error("sync", directory))
}

fn is_empty(directory: &Path) -> Result<(), VersionError> {
    for entry in fs::read_dir(directory).map_err(io_error("list", directory))? {
        let name = entry.map_err(io_error("list", directory))?.file_name();
        if !ALLOWED.iter().any(|allowed| *name == **allowed) {
            let entry = name.to_string_lossy().into_owned();
            return Err(VersionError::NotEmpty { directory: directory.display().to_string(), entry });
        }
    }
    Ok(())
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> VersionError {
    let file = path.display().to_string();
    move |reason| VersionError::Io { action, file, reason }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{claim, is_store};

    #[test]
    fn a_new_directory_becomes_a_store() {
        let directory = tempfile::tempdir().expect("a directory");
        for leftover in ["lock", "lost+found", "VERSION.new"] {
            fs::write(directory.path().join(leftover), "roomr").expect("it can be written");
        }
        assert!(!is_store(directory.path()).expect("it is new"));
        claim(directory.path()).expect("it is new");
        let text = fs::read_to_string(directory.path().join("VERSION")).expect("it was made");
        assert_eq!(text, "roomring store 1\n");
        assert!(!directory.path().join("VERSION.new").exists(), "only the finished file is left");
        assert!(is_store(directory.path()).expect("it is ours"));
        claim(directory.path()).expect("it is ours");
    }

    #[test]
    fn other_versions_and_programs_are_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("VERSION");
        let expected = [
            ("roomring store 2\n", "the store has version 2, and this Roomring reads version 1: use"),
            ("roomring store 0\n", "the store has version 0, and this Roomring reads version 1 and cannot convert it"),
            ("14\n", "expected \"roomring store 1\", got \"14\": the directory belongs to another program"),
            ("", "expected \"roomring store 1\", got \"\""),
            ("roomring store 1", "expected \"roomring store 1\", got \"roomring store 1\""),
            ("roomring store 1\nand\n", "got \"roomring store 1\\nand\""),
        ];
        for (text, words) in expected {
            fs::write(&file, text).expect("it can be written");
            let error = claim(directory.path()).expect_err(text).to_string();
            assert!(error.starts_with(&file.display().to_string()) && error.contains(words), "{error}");
            assert_eq!(fs::read_to_string(&file).expect("it is there"), text, "nothing is changed");
        }
    }

    #[test]
    fn a_directory_with_other_files_is_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("notes.txt"), "").expect("it can be written");
        let error = claim(directory.path()).expect_err("it is not empty").to_string();
        assert!(error.contains("is not empty (it holds \"notes.txt\")"), "{error}");
        assert!(!directory.path().join("VERSION").exists(), "nothing is made");
    }
}
