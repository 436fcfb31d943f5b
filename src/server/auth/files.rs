//! Key files, up to a bound. What is in them is read by `engine::access`.

use crate::base::limits::KEY_FILE_BYTES_MAX;
use crate::engine::access::{KeyError, Material};
use crate::server::file;

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
    let text = file::read_text(path, KEY_FILE_BYTES_MAX)
        .map_err(|what| format!("{path:?} {what}; it must be the path of a file that the server may read"))?;
    keys(&text).map_err(|error| format!("{path:?} {error}"))
}
