//! The keys of this server and what it expects of a token: an immutable set that all cores share. A rotation makes a new
//! set. Verifying is a pure function of the set, the token and the time.
//!
//! Each key takes the algorithms of its own kind alone: a public key can never be used as the secret of an HMAC, and
//! `none` is no algorithm (RFC 8725 sections 2.1 and 3.1).

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use smallvec::SmallVec;

use super::claims::Claims;
use super::{Access, Cause, Denied, Material, Token};
use crate::base::limits::{TOKEN_KEYS_MAX, TOKEN_KEYS_TRIED_MAX};

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

/// Some keys of one [`Keys`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Which(u64);

const _: () = assert!(TOKEN_KEYS_MAX <= u64::BITS as usize, "each key has its bit");

impl Which {
    /// None of them.
    pub const NONE: Which = Which(0);
    /// All of them.
    pub const ALL: Which = Which(u64::MAX);

    const fn has(self, place: usize) -> bool {
        self.0 >> place & 1 == 1
    }
}

/// The keys that may have signed a token, the likeliest first: their places.
#[derive(Clone, Debug)]
pub struct Candidates(SmallVec<[u8; TOKEN_KEYS_TRIED_MAX]>);

impl Candidates {
    /// How many: the signature checks that verifying may take.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.0.len() as u32
    }
}

/// One key.
#[derive(Clone)]
pub(super) struct VerificationKey {
    pub(super) id: Option<Box<str>>,
    /// Those it verifies.
    pub(super) algorithms: &'static [Algorithm],
    pub(super) key: DecodingKey,
}

/// Shown without the key itself.
impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerificationKey")
            .field("id", &self.id)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}

/// Verification keys and expectations.
#[derive(Debug)]
pub struct Keys {
    keys: Vec<VerificationKey>,
    expected: Expected,
    renewal: Renewal,
    as_of_ms: u64,
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

    /// The keys that `before` does not have.
    #[must_use]
    pub fn added_to(&self, before: &Keys) -> Which {
        let is_new = |key: &VerificationKey| !before.keys.iter().any(|known| known.is_same_as(key));
        let added = self.keys.iter().enumerate().filter(|(_, key)| is_new(key));
        Which(added.fold(0, |added, (place, _)| added | 1 << place))
    }

    /// The keys among `which` that may have signed a token: those that it names, then those for its algorithm alone, then
    /// the rest of its kind; at most [`TOKEN_KEYS_TRIED_MAX`].
    #[must_use]
    pub fn candidates(&self, token: &Token<'_>, which: Which) -> Candidates {
        let id = token.key_id.as_deref();
        let mut ranked: SmallVec<[(u8, u8); TOKEN_KEYS_TRIED_MAX]> = self
            .keys
            .iter()
            .enumerate()
            .filter(|(place, key)| which.has(*place) && key.may_have_signed(id, token.algorithm))
            .map(|(place, key)| {
                let is_named = id.is_some() && key.id.as_deref() == id;
                let rank = if is_named { 0 } else { key.algorithms.len() as u8 };
                (rank, place as u8)
            })
            .collect();
        ranked.sort_unstable();
        Candidates(ranked.into_iter().take(TOKEN_KEYS_TRIED_MAX).map(|(_, place)| place).collect())
    }

    /// Reads and verifies a token at a time.
    ///
    /// # Errors
    /// Why it is refused, in words that hold nothing of it.
    pub fn verify(&self, token: &str, now_unix_ms: u64) -> Result<Access, Denied> {
        let token = Token::read(token)?;
        self.verify_by(&self.candidates(&token, Which::ALL), &token, now_unix_ms)
    }

    /// Verifies a token at a time by its [`Keys::candidates`].
    ///
    /// # Errors
    /// Why it is refused, in words that hold nothing of it.
    pub fn verify_by(&self, candidates: &Candidates, token: &Token<'_>, now_unix_ms: u64) -> Result<Access, Denied> {
        let has_signed = |place: &u8| {
            let key = &self.keys[usize::from(*place)].key;
            // An error is a signature that cannot be read.
            jsonwebtoken::crypto::verify(token.signature, token.message.as_bytes(), key, token.algorithm) == Ok(true)
        };
        if !candidates.0.iter().any(has_signed) {
            return Err(self.unverified(candidates, token));
        }
        self.check_claims(Claims::read(&token.claims)?, now_unix_ms)
    }

    fn unverified(&self, candidates: &Candidates, token: &Token<'_>) -> Denied {
        if candidates.count() > 0 {
            return Denied::new(Cause::Signature, "the token's signature is wrong");
        }
        let may_come = self.renewal != Renewal::None && !token.is_by_secret();
        if may_come || self.keys.iter().any(|key| key.algorithms.contains(&token.algorithm)) {
            Denied::new(Cause::UnknownKey, "the token is signed with a key that this server does not know")
        } else {
            Denied::new(Cause::Algorithm, "the token's `alg` is not one that this server has a key for")
        }
    }

    /// Whether a token that no key fits may be good by a key that is yet to come: one that is not refused whatever signed
    /// it.
    #[must_use]
    pub fn may_come_to_fit(&self, token: &Token<'_>, now_unix_ms: u64) -> bool {
        self.renewal != Renewal::None
            && !token.is_by_secret()
            && Claims::read(&token.claims).and_then(|claims| self.check_claims(claims, now_unix_ms)).is_ok()
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

impl VerificationKey {
    fn may_have_signed(&self, id: Option<&str>, algorithm: Algorithm) -> bool {
        let ids_differ = matches!((id, self.id.as_deref()), (Some(one), Some(other)) if one != other);
        self.algorithms.contains(&algorithm) && !ids_differ
    }

    /// Whether it verifies exactly what the other one does.
    fn is_same_as(&self, other: &VerificationKey) -> bool {
        let is_same = match (self.key.kind(), other.key.kind()) {
            (DecodingKeyKind::SecretOrDer(one), DecodingKeyKind::SecretOrDer(other)) => one == other,
            (
                DecodingKeyKind::RsaModulusExponent { n, e },
                DecodingKeyKind::RsaModulusExponent { n: other_n, e: other_e },
            ) => n == other_n && e == other_e,
            _ => false,
        };
        is_same && self.id == other.id && self.algorithms == other.algorithms
    }
}

/// The algorithms there are. `Ed25519` is what RFC 9864 calls `EdDSA` over that curve.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "Ed25519" => Some(Algorithm::EdDSA),
        name => name.parse().ok(),
    }
}
