//! The keys of this server and what it expects of a token: an immutable set that all cores share. A rotation makes a new
//! set. Verifying is a pure function of the set, the token and the time.
//!
//! Each key takes the algorithms of its own kind alone: a public key can never be used as the secret of an HMAC, and
//! `none` is no algorithm (RFC 8725 sections 2.1 and 3.1).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::claims::Claims;
use super::{Access, Cause, Denied, Material};
use crate::base::limits::{TOKEN_BYTES_MAX, TOKEN_KEYS_TRIED_MAX};

/// What a token must say beside being signed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// `aud` must name it; empty: `aud` is not looked at.
    pub audience: String,
    /// `iss` must be it; empty: `iss` is not looked at.
    pub issuer: String,
    /// Difference of clocks forgiven in `exp` and `nbf`.
    pub leeway_ms: u64,
}

/// Whether there may be more keys than those in the set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Renewal {
    /// The set is all there is.
    #[default]
    None,
    /// A key set is read again now and then; its keys of some time are here.
    Renewed,
    /// A key set is to be read and never has been yet.
    Awaited,
}

/// One key.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) id: Option<Box<str>>,
    /// Those it verifies.
    pub(super) algorithms: &'static [Algorithm],
    pub(super) key: DecodingKey,
}

/// Shown without the key itself.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).field("algorithms", &self.algorithms).finish_non_exhaustive()
    }
}

/// Verification keys and expectations.
#[derive(Debug)]
pub struct Keys {
    keys: Vec<Key>,
    expected: Expected,
    renewal: Renewal,
    as_of_ms: u64,
}

/// A token's header (RFC 7515 section 4). What else it may hold is not looked at: least of all keys or addresses of keys.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    crit: Option<IgnoredAny>,
}

impl Keys {
    /// All keys of `material`.
    #[must_use]
    pub fn new(material: Material, expected: Expected, renewal: Renewal) -> Self {
        Self { keys: material.into_keys(), expected, renewal, as_of_ms: u64::MAX }
    }

    /// The same, read when it was so late, monotonic milliseconds: a key that was missed later may be there by now.
    #[must_use]
    pub const fn as_of(mut self, mono_ms: u64) -> Self {
        self.as_of_ms = mono_ms;
        self
    }

    /// Up to when what was missed would be here if it could be had, monotonic milliseconds.
    #[must_use]
    pub const fn as_of_ms(&self) -> u64 {
        self.as_of_ms
    }

    /// Whether there may be more keys.
    #[must_use]
    pub const fn renewal(&self) -> Renewal {
        self.renewal
    }

    /// How many keys there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.keys.len()
    }

    /// Reads and verifies a token at a time.
    ///
    /// # Errors
    /// Why it is refused, in words that hold nothing of it.
    pub fn verify(&self, token: &str, now_unix_ms: u64) -> Result<Access, Denied> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Denied::new(Cause::Malformed, format!("the token is longer than {TOKEN_BYTES_MAX} bytes")));
        }
        let malformed = || Denied::new(Cause::Malformed, "the token is not a JWT of three parts");
        let (message, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, payload) = message.split_once('.').ok_or_else(malformed)?;
        let header = BASE64.decode(header).map_err(|_| malformed())?;
        let payload = BASE64.decode(payload).map_err(|_| malformed())?;
        let header = serde_json::from_slice(&header)
            .map_err(|_| Denied::new(Cause::Malformed, "the token's header is not a JSON object with a text `alg`"))?;
        self.check_signature(&header, message, signature)?;
        self.check_claims(Claims::read(&payload)?, now_unix_ms)
    }

    fn check_signature(&self, header: &Header, message: &str, signature: &str) -> Result<(), Denied> {
        if header.crit.is_some() {
            return Err(Denied::new(Cause::Malformed, "the token's header has `crit`, and no extension is understood"));
        }
        let algorithm = algorithm(&header.alg).ok_or_else(|| {
            let taken = "HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA";
            Denied::new(Cause::Algorithm, format!("the token's `alg` is not one of {taken}"))
        })?;
        let mut tried = 0;
        for key in self.keys.iter().filter(|key| key.may_have_signed(header.kid.as_deref(), algorithm)) {
            tried += 1;
            if tried > TOKEN_KEYS_TRIED_MAX {
                break;
            }
            // An error is a signature that cannot be read.
            if jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.key, algorithm) == Ok(true) {
                return Ok(());
            }
        }
        if tried > 0 {
            return Err(Denied::new(Cause::Signature, "the token's signature is wrong"));
        }
        let takes_algorithm = self.keys.iter().any(|key| key.algorithms.contains(&algorithm));
        Err(if takes_algorithm || self.renewal != Renewal::None {
            Denied::new(Cause::UnknownKey, "the token is signed with a key that this server does not know")
        } else {
            Denied::new(Cause::Algorithm, "the token's `alg` is not one that this server has a key for")
        })
    }

    fn check_claims(&self, claims: Claims, now_unix_ms: u64) -> Result<Access, Denied> {
        let Expected { audience, issuer, leeway_ms } = &self.expected;
        if !audience.is_empty() && !claims.audience.contains(audience) {
            return Err(Denied::new(Cause::Elsewhere, "the token's claim `aud` does not name this server's audience"));
        }
        if !issuer.is_empty() && claims.issuer.as_ref() != Some(issuer) {
            return Err(Denied::new(Cause::Elsewhere, "the token's claim `iss` is not the issuer expected"));
        }
        if claims.not_before.is_some_and(|not_before| now_unix_ms.saturating_add(*leeway_ms) < not_before) {
            return Err(Denied::new(Cause::Early, "the token's claim `nbf` is still to come"));
        }
        let ends_at = claims.expires_at.saturating_add(*leeway_ms);
        if now_unix_ms >= ends_at {
            return Err(Denied::new(Cause::Expired, "the token has expired"));
        }
        let Claims { user, expires_at, name, grants, .. } = claims;
        Ok(Access { user, name, expires_at, ends_at, grants })
    }
}

impl Key {
    fn may_have_signed(&self, id: Option<&str>, algorithm: Algorithm) -> bool {
        let ids_differ = matches!((id, self.id.as_deref()), (Some(one), Some(other)) if one != other);
        self.algorithms.contains(&algorithm) && !ids_differ
    }
}

/// The algorithms there are. `Ed25519` is what RFC 9864 calls `EdDSA` over that curve.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "Ed25519" => Some(Algorithm::EdDSA),
        name => name.parse().ok(),
    }
}
