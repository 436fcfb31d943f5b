//! Finds the configuration file. A file is absent only if nothing is in its place. Never reads its text.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The configuration file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    /// The path, as named or found.
    pub path: PathBuf,
    /// Whether it holds nothing but blanks.
    pub is_empty: bool,
}

impl ConfigFile {
    /// The path as messages show it.
    #[must_use]
    pub fn shown(&self) -> String {
        shown(&self.path)
    }
}

/// A path without control characters, which could break out of the line of a message.
pub(super) fn shown(path: &Path) -> String {
    path.display().to_string().replace(char::is_control, "?")
}

/// The first of these files that exists.
///
/// # Errors
/// An earlier file that may exist but cannot be accessed, and why. Completes the sentence "`<path>` …".
pub fn first(candidates: &[PathBuf]) -> Result<Option<&PathBuf>, (&PathBuf, String)> {
    for path in candidates {
        match is_there(path) {
            Ok(true) => return Ok(Some(path)),
            Ok(false) => {}
            Err(why) => return Err((path, format!("cannot be accessed: {why}"))),
        }
    }
    Ok(None)
}

/// Whether anything has this path; a symbolic link to nothing counts.
fn is_there(path: &Path) -> Result<bool, String> {
    for part in path.ancestors() {
        match part.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.to_string()),
            Ok(_) if part == path => return Ok(true),
            // A link to the directory of a volume that is not mounted: the file may exist there.
            Ok(_) if part.metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound) => {
                return Err(format!("{} is a symbolic link to nothing", shown(part)));
            }
            Ok(_) => return Ok(false),
        }
    }
    Ok(false)
}
