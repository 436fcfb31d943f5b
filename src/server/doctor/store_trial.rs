//! What a data directory is made of: where it is or would be, its free space, and how long writes take. Writes one file, which
//! it removes at once. Judges nothing.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use crate::io::clock;

/// Writes of a trial, of which the slowest and the fastest half count for nothing.
const WRITES: usize = 9;

/// Bytes of one write: a small group of messages.
const WRITE_BYTES: usize = 4_096;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreTrial {
    /// `store.path`, absolute.
    pub path: PathBuf,
    /// The directory, or the nearest one above it that exists.
    pub existing: PathBuf,
    /// Bytes that this process may still write there.
    pub free_bytes: Option<u64>,
    /// Median time of one write and fdatasync there, or why nothing can be written.
    pub sync_us: Result<u64, String>,
}

impl StoreTrial {
    /// Tries a directory, which need not exist.
    #[must_use]
    pub fn run(path: &Path) -> Self {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let existing = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        // The mount point is that of the directory behind symbolic links.
        let existing = existing.canonicalize().unwrap_or_else(|_| existing.to_owned());
        let space = statvfs(&existing).ok();
        let free_bytes = space.map(|space| space.blocks_available() * space.fragment_size());
        let sync_us = time_writes(&existing).map_err(|error| error.to_string());
        Self { path, existing, free_bytes, sync_us }
    }

    /// Whether the directory is there already.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.path.canonicalize().is_ok_and(|path| path == self.existing)
    }
}

fn time_writes(directory: &Path) -> io::Result<u64> {
    let path = directory.join(format!(".roomring-doctor-{}", std::process::id()));
    let file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
    // Without a name it goes with this process, however that ends.
    fs::remove_file(&path)?;
    let bytes = [1; WRITE_BYTES];
    // As in the log: the blocks are there before.
    file.write_all_at(&[0; WRITE_BYTES * WRITES], 0)?;
    file.sync_all()?;
    let mut times = Vec::with_capacity(WRITES);
    for index in 0..WRITES {
        let began_us = clock::now().mono_us;
        file.write_all_at(&bytes, (index * WRITE_BYTES) as u64)?;
        file.sync_data()?;
        times.push(clock::now().mono_us - began_us);
    }
    times.sort_unstable();
    Ok(times[WRITES / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_leaves_nothing_and_makes_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a/b");
        let trial = StoreTrial::run(&path);
        let existing = directory.path().canonicalize().expect("it is there");
        assert_eq!((&trial.path, &trial.existing), (&path, &existing));
        assert!(!trial.exists() && trial.sync_us.is_ok() && trial.free_bytes > Some(0), "{trial:?}");
        assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 0);
        assert!(StoreTrial::run(directory.path()).exists());
    }

    #[test]
    fn a_file_in_the_place_of_the_directory_cannot_be_written_to() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        assert!(StoreTrial::run(file.path()).sync_us.is_err());
    }
}
