//! Makes keys of what operators have: a secret, a PEM file, a JSON Web Key Set (RFC 7517). Reads text; never opens a file or
//! an address.

use std::fmt;

use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use serde::Deserialize;
use serde_json::Value;

use super::algorithms::{ED25519, HMAC, RSA, RSA_BYTES, curve_of_point, is_on_curve};
use super::jwk;
use super::verification_key::VerificationKey;
use crate::base::limits::{KEYS_PASSED_OVER_TOLD_MAX, TOKEN_KEYS_MAX};

/// Why a text gives no key. Completes the sentence "the file …" and quotes nothing of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyError(String);

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeyError {}

fn error(text: impl Into<String>) -> KeyError {
    KeyError(text.into())
}

/// A key of a key set that is passed over, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// Its `kid`, or its place in the set.
    pub key: String,
    /// A sentence.
    pub why: String,
}

/// Keys, from any source.
#[derive(Clone, Debug, Default)]
pub struct Material {
    keys: Vec<VerificationKey>,
    passed_over: Vec<PassedOver>,
}

impl Material {
    /// No keys.
    #[must_use]
    pub const fn new() -> Self {
        Self { keys: Vec::new(), passed_over: Vec::new() }
    }

    /// The number of keys.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.keys.len()
    }

    /// The first keys of a set that are for signatures and cannot be used.
    #[must_use]
    pub fn passed_over(&self) -> &[PassedOver] {
        &self.passed_over
    }

    /// The keys of both.
    ///
    /// # Errors
    /// More than [`TOKEN_KEYS_MAX`].
    pub fn and(mut self, other: Material) -> Result<Self, KeyError> {
        self.keys.extend(other.keys);
        self.passed_over.extend(other.passed_over);
        if self.keys.len() > TOKEN_KEYS_MAX {
            return Err(error(format!("brings the number of keys over {TOKEN_KEYS_MAX}")));
        }
        Ok(self)
    }

    pub(super) fn into_keys(self) -> Vec<VerificationKey> {
        self.keys
    }

    /// A secret for HS256, HS384 and HS512, byte for byte as written.
    #[must_use]
    pub fn from_secret(secret: &str) -> Self {
        let key = DecodingKey::from_secret(secret.as_bytes());
        Self { keys: vec![VerificationKey { id: None, algorithms: HMAC, key }], ..Self::default() }
    }

    /// Public keys in PEM: RSA (`PUBLIC KEY` or `RSA PUBLIC KEY`), P-256, P-384 or Ed25519 (`PUBLIC KEY`), one or more.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let mut keys = Vec::new();
        let mut rest = text;
        while let Some(begin) = rest.find("-----BEGIN ") {
            let block = &rest[begin..];
            let label = block["-----BEGIN ".len()..].split("-----").next().unwrap_or_default();
            let end_line = format!("-----END {label}-----");
            let end =
                block.find(&end_line).ok_or_else(|| error("has a PEM block without an END line"))? + end_line.len();
            keys.push(key_of_pem(label, &block[..end])?);
            rest = &block[end..];
        }
        match keys.len() {
            0 => Err(error("holds no PEM block, such as -----BEGIN PUBLIC KEY-----")),
            1..=TOKEN_KEYS_MAX => Ok(Self { keys, ..Self::default() }),
            _ => Err(error(format!("holds more than {TOKEN_KEYS_MAX} keys"))),
        }
    }

    /// The public signature keys of a JSON Web Key Set. Keys for other uses are ignored; keys that cannot be used are passed
    /// over, symmetric ones too, since a published secret protects nothing.
    ///
    /// # Errors
    /// It is not a key set, or has no usable key for signatures.
    pub fn from_key_set(text: &str) -> Result<Self, KeyError> {
        #[derive(Deserialize)]
        struct KeySet {
            keys: Vec<Value>,
        }
        let set: KeySet =
            serde_json::from_str(text).map_err(|_| error("is not a JSON Web Key Set, an object with a list `keys`"))?;
        let mut read = Self::default();
        for (place, value) in set.keys.iter().enumerate() {
            match jwk::read(value) {
                Ok(key) => read.keys.extend(key),
                Err(why) if read.passed_over.len() < KEYS_PASSED_OVER_TOLD_MAX => {
                    read.passed_over.push(PassedOver { key: jwk::name(value, place), why });
                }
                Err(_) => {}
            }
        }
        match (read.keys.len(), read.passed_over.first()) {
            (0, None) => {
                Err(error("holds no public key for signatures (RSA of 2048 bits or more, P-256, P-384, Ed25519)"))
            }
            (0, Some(PassedOver { key, why })) => {
                Err(error(format!("holds no usable public key for signatures: {key}: {why}")))
            }
            (1..=TOKEN_KEYS_MAX, _) => Ok(read),
            _ => Err(error(format!("holds more than {TOKEN_KEYS_MAX} keys"))),
        }
    }
}

fn key_of_pem(label: &str, block: &str) -> Result<VerificationKey, KeyError> {
    match label {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => {}
        label if label.ends_with("PRIVATE KEY") => {
            return Err(error(
                "holds a private key; the server needs only the public one (openssl pkey -pubout writes it)",
            ));
        }
        "CERTIFICATE" => {
            return Err(error("holds a certificate; its public key is needed (openssl x509 -pubkey -noout writes it)"));
        }
        _ => return Err(error("holds a PEM block that is not a public key")),
    }
    let bytes = block.as_bytes();
    let unusable = || error("holds a public key of another kind than RSA, P-256, P-384 or Ed25519");
    if let Ok(key) = DecodingKey::from_rsa_pem(bytes) {
        let der = key.try_get_as_bytes().map_err(|_| unusable())?;
        let (modulus, _) = (DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(der)
            .map_err(|_| error("holds an RSA key that cannot be read"))?;
        if !RSA_BYTES.contains(&modulus.len()) {
            return Err(error("holds an RSA key that is not of 2048 to 8192 bits"));
        }
        return Ok(VerificationKey { id: None, algorithms: RSA, key });
    }
    let (key, algorithms) = match (DecodingKey::from_ec_pem(bytes), DecodingKey::from_ed_pem(bytes)) {
        (Ok(key), _) => {
            let point = key.try_get_as_bytes().map_err(|_| unusable())?;
            let algorithms = curve_of_point(point).ok_or_else(unusable)?;
            if !is_on_curve(algorithms, point) {
                return Err(error("holds a public key whose point is not on its curve"));
            }
            (key, algorithms)
        }
        (_, Ok(key)) if key.try_get_as_bytes().is_ok_and(|point| point.len() == 32) => (key, ED25519),
        _ => return Err(unusable()),
    };
    Ok(VerificationKey { id: None, algorithms, key })
}
