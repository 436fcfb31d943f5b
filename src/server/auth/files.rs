//! Key files, read whole up to a bound. What is in them is read by `engine::access`.

use std::fs::File;
use std::io::Read;

use crate::base::limits::KEY_FILE_BYTES_MAX;
use crate::engine::access::{KeyError, Material};

/// Public keys in PEM.
///
/// # Errors
/// What is wrong with the file, as a sentence that begins with its name.
pub(super) fn read_pem(path: &str) -> Result<Material, String> {
    read(path, Material::from_pem)
}

/// A key set.
///
/// # Errors
/// What is wrong with the file, as a sentence that begins with its name.
pub(super) fn read_key_set(path: &str) -> Result<Material, String> {
    read(path, Material::from_key_set)
}

fn read(path: &str, keys: fn(&str) -> Result<Material, KeyError>) -> Result<Material, String> {
    let text = read_text(path)
        .map_err(|what| format!("{path:?} {what}; it must be the path of a file that the server may read"))?;
    keys(&text).map_err(|error| format!("{path:?} {error}"))
}

fn read_text(path: &str) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let file = File::open(path).map_err(cannot)?;
    // Opening a pipe or a device and reading it might never end.
    if !file.metadata().map_err(cannot)?.is_file() {
        return Err("is not a file".into());
    }
    let mut bytes = Vec::new();
    file.take(KEY_FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() > KEY_FILE_BYTES_MAX {
        return Err(format!("is larger than {} KiB", KEY_FILE_BYTES_MAX >> 10));
    }
    String::from_utf8(bytes).map_err(|_| "is not text".into())
}
