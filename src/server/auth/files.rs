//! Reads key files up to a maximum size. Parses nothing: `engine::access` does.

use crate::base::limits::KEY_FILE_BYTES_MAX;
use crate::engine::access::{KeyError, Material};
use crate::server::file;

/// Reads public keys in PEM.
///
/// # Errors
/// One sentence that begins with the path.
pub(super) fn read_pem(path: &str) -> Result<Material, String> {
    read(path, Material::from_pem)
}

/// Reads a key set.
///
/// # Errors
/// One sentence that begins with the path.
pub(super) fn read_key_set(path: &str) -> Result<Material, String> {
    read(path, Material::from_key_set)
}

fn read(path: &str, keys: fn(&str) -> Result<Material, KeyError>) -> Result<Material, String> {
    let text = file::read_text(path, KEY_FILE_BYTES_MAX)
        .map_err(|error| format!("{path:?} {error}; it must be the path of a file that the server may read"))?;
    keys(&text).map_err(|error| format!("{path:?} {error}"))
}
