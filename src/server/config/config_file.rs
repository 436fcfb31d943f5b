//! Which configuration file there is. A file counts as absent only where nothing is in its place; understands nothing of
//! what is in one.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    /// Where.
    pub path: PathBuf,
    /// Nothing was written in it.
    pub is_empty: bool,
}

impl ConfigFile {
    /// The path as it is shown.
    #[must_use]
    pub fn shown(&self) -> String {
        shown(&self.path)
    }
}

/// A path without what could break out of the line.
pub(super) fn shown(path: &Path) -> String {
    path.display().to_string().replace(char::is_control, "?")
}

/// The first of these that is there.
///
/// # Errors
/// One before it that may be there, as it cannot be looked for; and why. Completes the sentence "`<path>` …".
pub fn first(candidates: &[PathBuf]) -> Result<Option<&PathBuf>, (&PathBuf, String)> {
    for path in candidates {
        match is_there(path) {
            Ok(true) => return Ok(Some(path)),
            Ok(false) => {}
            Err(why) => return Err((path, format!("cannot be looked for: {why}"))),
        }
    }
    Ok(None)
}

/// Whether anything has this path, be it a link that leads nowhere.
fn is_there(path: &Path) -> Result<bool, String> {
    for part in path.ancestors() {
        match part.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.to_string()),
            Ok(_) if part == path => return Ok(true),
            // The directory of a volume that is not mounted may be such a link: the file is then not absent but unseen.
            Ok(_) if part.metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound) => {
                return Err(format!("{} is a symbolic link to nothing", shown(part)));
            }
            Ok(_) => return Ok(false),
        }
    }
    Ok(false)
}
