//! The keys that tokens are verified with, as an operator gives them: a secret, a PEM file, a key set in a file or at an
//! address. Read at the start, on SIGHUP, and the key set again while serving; verified with on the cores.

mod fetch;
mod files;
mod keeper;
mod schedule;

use std::fmt;

use crate::engine::access::{Expected, Material};

pub use keeper::{Keeper, KeySetState, Reloads};

/// Bytes of a secret that HS256 asks for at least (RFC 7518 section 3.2).
const SECRET_BYTES_MIN: usize = 32;

/// Where keys come from and what tokens must say. Empty texts stand for what is not configured.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// `auth.hmac_secret`.
    pub hmac_secret: String,
    /// `auth.public_key_file`.
    pub public_key_file: String,
    /// `auth.jwks`.
    pub jwks: String,
    /// `auth.audience`, `auth.issuer`, `auth.leeway`.
    pub expected: Expected,
}

/// Shown without the secret and without what an address may hold of one.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("has_secret", &!self.hmac_secret.is_empty())
            .field("public_key_file", &self.public_key_file)
            .field("has_key_set", &!self.jwks.is_empty())
            .field("expected", &self.expected)
            .finish()
    }
}

/// What is wrong with the value of one key of `[auth]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Its name in the section.
    pub key: &'static str,
    /// What is wrong and what would be right.
    pub text: String,
}

impl Settings {
    /// Whether there is anything to verify a token with.
    #[must_use]
    pub fn have_keys(&self) -> bool {
        !(self.hmac_secret.is_empty() && self.public_key_file.is_empty() && self.jwks.is_empty())
    }

    /// Everything wrong with the files.
    #[must_use]
    pub fn check(&self) -> Vec<Wrong> {
        let fixed = self.read_fixed().err();
        let key_set = (!self.jwks.is_empty() && !fetch::is_address(&self.jwks))
            .then(|| files::read_key_set(&self.jwks).err())
            .flatten()
            .map(|text| Wrong { key: "jwks", text });
        fixed.into_iter().chain(key_set).collect()
    }

    /// The keys that do not change by themselves.
    ///
    /// # Errors
    /// What is wrong with the PEM file.
    pub fn read_fixed(&self) -> Result<Material, Wrong> {
        let wrong = |text| Wrong { key: "public_key_file", text };
        let secret =
            if self.hmac_secret.is_empty() { Material::new() } else { Material::from_secret(&self.hmac_secret) };
        if self.public_key_file.is_empty() {
            return Ok(secret);
        }
        let public = files::read_pem(&self.public_key_file).map_err(wrong)?;
        secret.and(public).map_err(|error| wrong(format!("{:?} {error}", self.public_key_file)))
    }

    /// Says what is allowed and weak.
    pub fn warn(&self) {
        if (1..SECRET_BYTES_MIN).contains(&self.hmac_secret.len()) {
            let bytes = self.hmac_secret.len();
            tracing::warn!(
                bytes,
                "auth.hmac_secret is shorter than 32 bytes: whoever has a token can try secrets until one fits; \
                 `openssl rand -base64 32` makes a good one"
            );
        }
        if fetch::is_plain_and_remote(&self.jwks) {
            tracing::warn!("auth.jwks is read over http: whoever is on the way can put keys into it; use https");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_shown() {
        let settings = Settings {
            hmac_secret: "hunter2".into(),
            jwks: "https://me:hunter2@idp/keys?token=hunter2".into(),
            ..Settings::default()
        };
        assert!(!format!("{settings:?}").contains("hunter2"));
        let material = settings.read_fixed().expect("a secret is a key");
        assert!(!format!("{material:?}").contains("hunter2") && !format!("{material:?}").contains("104, 117"));
        assert!(settings.have_keys() && !Settings::default().have_keys());
    }
}
