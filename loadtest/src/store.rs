//! Owns the store of a Roomring that `loadtest` starts: which kind, its configuration, and the folder of its files. Never
//! starts a server.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

/// A kind of store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum StoreMode {
    /// No files.
    #[default]
    Memory,
    /// The embedded store, written after the publish was answered (`store.durability = "memory"`).
    Behind,
    /// The embedded store, written before the publish is answered (`store.durability = "store"`).
    Commit,
}

/// The words for the kinds, as options and after a server's name.
pub const WORDS: [&str; 3] = ["memory", "behind", "commit"];

impl StoreMode {
    /// The kind with this word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        let place = WORDS.iter().position(|known| *known == word)?;
        Some([StoreMode::Memory, StoreMode::Behind, StoreMode::Commit][place])
    }

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        WORDS[self as usize]
    }

    /// Roomring's `--set` values, with the files in `folder`.
    #[must_use]
    pub fn settings(self, folder: Option<&DataFolder>) -> Vec<String> {
        // Older versions of Roomring know this value and no other key.
        let (StoreMode::Behind | StoreMode::Commit, Some(folder)) = (self, folder) else {
            return vec!["store.kind=\"memory\"".to_owned()];
        };
        let durability = if self == StoreMode::Commit { "store" } else { "memory" };
        vec![
            "store.kind=\"embedded\"".to_owned(),
            format!("store.path=\"{}\"", folder.path().display()),
            format!("store.durability=\"{durability}\""),
        ]
    }
}

/// The folder of a store's files, removed with the last copy of this value.
#[derive(Clone, Debug)]
pub struct DataFolder {
    folder: Arc<TempDir>,
    filesystem: String,
}

impl DataFolder {
    /// Creates an empty folder with a new name in `parent`, or in the folder for temporary files.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub fn new(parent: Option<&Path>) -> anyhow::Result<Self> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let folder = tempfile::Builder::new().prefix("loadtest-store-").tempdir_in(&parent);
        let folder = folder.with_context(|| format!("--data {}: cannot create a folder", parent.display()))?;
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let place = parent.canonicalize().unwrap_or(parent);
        let filesystem = filesystem(&mounts, &place).unwrap_or("unknown").to_owned();
        Ok(DataFolder { folder: Arc::new(folder), filesystem })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Kind of its file system, such as `ext4`.
    #[must_use]
    pub fn filesystem(&self) -> &str {
        &self.filesystem
    }

    /// Bytes of its files on the disk. Files that vanish meanwhile do not count.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let mut waiting: Vec<PathBuf> = vec![self.path().to_path_buf()];
        let mut bytes = 0;
        while let Some(folder) = waiting.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.metadata() {
                    Ok(kind) if kind.is_dir() => waiting.push(entry.path()),
                    // The kernel counts blocks of 512 bytes, whatever the file system's block size is.
                    Ok(file) => bytes += file.blocks() * 512,
                    Err(_vanished) => {}
                }
            }
        }
        bytes
    }
}

/// The kind of the file system at an absolute path, from the text of `/proc/self/mounts`.
fn filesystem<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let place = fields.next()?;
        path.starts_with(place).then_some((place.len(), fields.next()?))
    });
    // Of several mounts at one place, the last one hides the others.
    mounts.max_by_key(|(length, _)| *length).map(|(_, kind)| kind)
}

/// The store of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreInUse {
    /// Its kind.
    pub mode: StoreMode,
    /// Kind of the file system under its files.
    pub filesystem: Option<String>,
    /// Values of `--server-set` that override it.
    pub overrides: Vec<String>,
}

impl StoreInUse {
    /// The store of a server with this kind, folder and `--set` values.
    #[must_use]
    pub fn of(mode: StoreMode, folder: Option<&DataFolder>, set: &[String]) -> Self {
        StoreInUse {
            mode,
            filesystem: folder.map(|folder| folder.filesystem().to_owned()),
            overrides: set.iter().filter(|set| set.starts_with("store.")).cloned().collect(),
        }
    }

    /// Whether syncs of its files reach no disk, so that latencies say nothing about one.
    #[must_use]
    pub fn is_without_disk(&self) -> bool {
        matches!(self.filesystem.as_deref(), Some("tmpfs" | "ramfs"))
    }
}

impl fmt::Display for StoreInUse {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mode {
            StoreMode::Memory => write!(out, "memory")?,
            StoreMode::Behind => write!(out, "behind (embedded, durability = memory)")?,
            StoreMode::Commit => write!(out, "commit (embedded, durability = store)")?,
        }
        if let Some(filesystem) = &self.filesystem {
            write!(out, " on {filesystem}")?;
        }
        match self.overrides.is_empty() {
            true => Ok(()),
            false => write!(out, ", with {}", self.overrides.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_word_and_settings() {
        let folder = DataFolder::new(None).expect("a temporary folder");
        for (word, wanted) in
            [("memory", None), ("behind", Some("durability=\"memory\"")), ("commit", Some("durability=\"store\""))]
        {
            let mode = StoreMode::named(word).expect("known");
            assert_eq!(mode.word(), word);
            let settings = mode.settings(Some(&folder)).join(" ");
            match wanted {
                None => assert_eq!(settings, "store.kind=\"memory\""),
                Some(wanted) => {
                    assert!(settings.contains("store.kind=\"embedded\"") && settings.contains(wanted), "{settings}");
                    assert!(settings.contains(&folder.path().display().to_string()), "{settings}");
                }
            }
        }
        assert_eq!(StoreMode::named("disk"), None);
    }

    #[test]
    fn a_folder_is_measured_and_removed_with_its_last_copy() {
        let folder = DataFolder::new(None).expect("a temporary folder");
        let (copy, path) = (folder.clone(), folder.path().to_path_buf());
        let before = folder.bytes();
        std::fs::create_dir(path.join("inner")).expect("writable");
        std::fs::write(path.join("inner/file"), vec![1u8; 100_000]).expect("writable");
        assert!(folder.bytes() >= before + 100_000, "{} after {before}", folder.bytes());
        drop(folder);
        assert!(copy.path().exists());
        drop(copy);
        assert!(!path.exists());
        let missing = DataFolder::new(Some(Path::new("/nowhere"))).expect_err("it does not exist").to_string();
        assert!(missing.contains("--data /nowhere"), "{missing}");
    }

    #[test]
    fn the_innermost_mount_counts() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmp/big xfs rw 0 0\n";
        let of = |path: &str| filesystem(mounts, Path::new(path));
        assert_eq!((of("/tmp/x"), of("/tmp/big/x"), of("/tmpfoo")), (Some("tmpfs"), Some("xfs"), Some("ext4")));
        let store = StoreInUse { mode: StoreMode::Commit, filesystem: Some("tmpfs".into()), overrides: Vec::new() };
        assert!(store.is_without_disk() && store.to_string().ends_with("on tmpfs"), "{store}");
        let set = ["store.path=\"x\"".to_owned(), "log.level=\"info\"".to_owned()];
        let store = StoreInUse::of(StoreMode::Memory, None, &set);
        assert_eq!(store.to_string(), "memory, with store.path=\"x\"");
        assert!(!store.is_without_disk());
    }
}
