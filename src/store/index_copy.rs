//! A copy of an index that can be opened and thrown away: opening the tables writes to their directory, and a check changes
//! nothing. Files of rows never change once they are written, so the copy shares them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Directories whose files the tables never change, but only make and remove.
const IMMUTABLE: [&str; 2] = ["tables", "blobs"];

/// The copy's directory, which goes with it.
#[derive(Debug)]
pub struct IndexCopy {
    path: PathBuf,
}

impl IndexCopy {
    /// Copies an index to a directory, which must be on the same file system to share files. What an earlier copy has left
    /// there is removed.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn make(index: &Path, path: PathBuf) -> io::Result<Self> {
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        let copy = Self { path };
        copy_directory(index, &copy.path, false)?;
        Ok(copy)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for IndexCopy {
    fn drop(&mut self) {
        // The next copy removes what is left.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn copy_directory(from: &Path, to: &Path, is_immutable: bool) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            let is_immutable = IMMUTABLE.iter().any(|name| *entry.file_name() == **name);
            copy_directory(&source, &target, is_immutable)?;
        } else if !is_immutable || fs::hard_link(&source, &target).is_err() {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::IndexCopy;

    #[test]
    fn a_copy_shares_only_what_never_changes_and_goes_away() {
        let directory = tempfile::tempdir().expect("a directory");
        let index = directory.path().join("index");
        fs::create_dir_all(index.join("keyspaces/1/tables")).expect("made");
        for file in ["0.jnl", "keyspaces/1/current", "keyspaces/1/tables/7"] {
            fs::write(index.join(file), file).expect("written");
        }
        let to = directory.path().join("copy");
        fs::create_dir(&to).expect("left by an earlier copy");
        fs::write(to.join("old"), "").expect("left by an earlier copy");
        let copy = IndexCopy::make(&index, to.clone()).expect("copied");
        assert!(!to.join("old").exists());
        for file in ["0.jnl", "keyspaces/1/current"] {
            fs::write(copy.path().join(file), "changed").expect("written");
            assert_eq!(fs::read_to_string(index.join(file)).expect("there"), file, "the copy is apart");
        }
        fs::remove_file(copy.path().join("keyspaces/1/tables/7")).expect("shared");
        assert!(index.join("keyspaces/1/tables/7").exists());
        drop(copy);
        assert!(!to.exists());
    }
}
