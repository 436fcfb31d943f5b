//! The settings of `[auth]` for tokens, and the check of its key files. Fetches no URL.

use std::fmt;

use super::{fetch, files};
use crate::engine::access::{Expected, Material};

/// Minimum bytes of a secret for HS256 (RFC 7518 section 3.2).
const SECRET_BYTES_MIN: usize = 32;

/// The sources of keys, and the claims that tokens must have. Empty texts are not configured.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AuthSettings {
    /// `auth.hmac_secret`.
    pub hmac_secret: String,
    /// `auth.public_key_file`.
    pub public_key_file: String,
    /// `auth.jwks`.
    pub jwks: String,
    /// `auth.audience`, `auth.issuer`, `auth.leeway`.
    pub expected: Expected,
}

/// Shows neither the secret nor the URL, which may hold a password.
impl fmt::Debug for AuthSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthSettings")
            .field("has_secret", &!self.hmac_secret.is_empty())
            .field("public_key_file", &self.public_key_file)
            .field("has_key_set", &!self.jwks.is_empty())
            .field("expected", &self.expected)
            .finish()
    }
}

/// A mistake in the value of one key of `[auth]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthMistake {
    /// The name of the key in its section.
    pub key: &'static str,
    /// What is wrong, and what would be right.
    pub text: String,
}

impl AuthSettings {
    /// Whether any source of keys is configured.
    #[must_use]
    pub fn have_keys(&self) -> bool {
        !(self.hmac_secret.is_empty() && self.public_key_file.is_empty() && self.jwks.is_empty())
    }

    /// All mistakes in the files.
    #[must_use]
    pub fn check(&self) -> Vec<AuthMistake> {
        let fixed = self.read_fixed().err();
        let key_set = (!self.jwks.is_empty() && !fetch::is_url(&self.jwks))
            .then(|| files::read_key_set(&self.jwks).err())
            .flatten()
            .map(|text| AuthMistake { key: "jwks", text });
        fixed.into_iter().chain(key_set).collect()
    }

    /// Reads the keys outside of the key set.
    ///
    /// # Errors
    /// The mistake in the PEM file.
    pub fn read_fixed(&self) -> Result<Material, AuthMistake> {
        let mistake = |text| AuthMistake { key: "public_key_file", text };
        let secret =
            if self.hmac_secret.is_empty() { Material::new() } else { Material::from_secret(&self.hmac_secret) };
        if self.public_key_file.is_empty() {
            return Ok(secret);
        }
        let public = files::read_pem(&self.public_key_file).map_err(mistake)?;
        secret.and(public).map_err(|error| mistake(format!("{:?} {error}", self.public_key_file)))
    }

    /// Logs warnings about weak settings.
    pub fn warn(&self) {
        if (1..SECRET_BYTES_MIN).contains(&self.hmac_secret.len()) {
            let bytes = self.hmac_secret.len();
            tracing::warn!(
                bytes,
                "auth.hmac_secret is shorter than 32 bytes: the owner of a token can find it by trying; generate one with \
                 `openssl rand -base64 32`"
            );
        }
        if fetch::is_plain_and_remote(&self.jwks) {
            tracing::warn!("auth.jwks uses plain http: anyone on the network path can insert keys; use https");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let settings = AuthSettings {
            hmac_secret: "hunter2".into(),
            jwks: "https://me:hunter2@idp/keys?token=hunter2".into(),
            ..AuthSettings::default()
        };
        assert!(!format!("{settings:?}").contains("hunter2"));
        let material = settings.read_fixed().expect("a secret is a key");
        assert!(!format!("{material:?}").contains("hunter2") && !format!("{material:?}").contains("104, 117"));
        assert!(settings.have_keys() && !AuthSettings::default().have_keys());
    }
}
