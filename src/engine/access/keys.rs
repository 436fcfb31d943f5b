//! Verifies tokens with an immutable set of keys, which all cores share; a rotation makes a new set. Verification is a pure
//! function of the set, the token and the time. Never fetches or reads a key.
//!
//! Each key verifies only the algorithms of its own kind: a public key can never be used as the secret of an HMAC, and
//! `none` is not an algorithm (RFC 8725 sections 2.1 and 3.1).

use smallvec::SmallVec;

use super::claims::Claims;
use super::denied::{Cause, Denied};
use super::grants::Grants;
use super::material::Material;
use super::token::Token;
use super::verification_key::VerificationKey;
use crate::base::ids::UserName;
use crate::base::limits::{TOKEN_KEYS_MAX, TOKEN_KEYS_TRIED_MAX};

/// What a verified token gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// `sub`.
    pub user: UserName,
    /// `name`: how the user is shown.
    pub name: Option<Box<str>>,
    /// `exp`, Unix milliseconds.
    pub expires_at: u64,
    /// When the token ends, Unix milliseconds: `exp` and the leeway.
    pub ends_at: u64,
    /// What it allows.
    pub grants: Grants,
}

/// The claims that a token must have besides its signature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// `aud` must contain it; empty: `aud` is ignored.
    pub audience: String,
    /// `iss` must be equal to it; empty: `iss` is ignored.
    pub issuer: String,
    /// Tolerance for different clocks in `exp` and `nbf`.
    pub leeway_ms: u64,
}

/// Whether further keys may come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Renewal {
    /// The set is complete.
    #[default]
    None,
    /// A key set is fetched again now and then; its last state is here.
    Renewed,
    /// A key set is to be fetched and has not come yet.
    Awaited,
    /// A secret is to come from the store and has not come yet.
    AwaitedSecret,
}

impl Renewal {
    /// Whether the first keys have not come yet.
    #[must_use]
    pub const fn is_awaited(self) -> bool {
        matches!(self, Renewal::Awaited | Renewal::AwaitedSecret)
    }

    /// Whether a key that may have signed a token is yet to come. No key set holds a secret.
    fn may_bring(self, token: &Token<'_>) -> bool {
        match self {
            Renewal::None => false,
            Renewal::Renewed | Renewal::Awaited => !token.is_by_secret(),
            Renewal::AwaitedSecret => token.is_by_secret(),
        }
    }
}

/// Some keys of one [`Keys`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Which(u64);

const _: () = assert!(TOKEN_KEYS_MAX <= u64::BITS as usize, "each key has its bit");

impl Which {
    /// No key.
    pub const NONE: Which = Which(0);
    /// All keys.
    pub const ALL: Which = Which(u64::MAX);

    const fn has(self, place: usize) -> bool {
        self.0 >> place & 1 == 1
    }
}

/// The places of the keys that may have signed a token, the likeliest first.
#[derive(Clone, Debug)]
pub struct Candidates(SmallVec<[u8; TOKEN_KEYS_TRIED_MAX]>);

impl Candidates {
    /// How many there are: the most signature checks that verification takes.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.0.len() as u32
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
    /// A set of all keys of `material`.
    #[must_use]
    pub fn new(material: Material, expected: Expected, renewal: Renewal) -> Self {
        Self { keys: material.into_keys(), expected, renewal, as_of_ms: u64::MAX }
    }

    /// Notes when the set was fetched, monotonic milliseconds.
    #[must_use]
    pub const fn as_of(mut self, mono_ms: u64) -> Self {
        self.as_of_ms = mono_ms;
        self
    }

    /// When the set was fetched, monotonic milliseconds: a key that was missing after that may exist by now.
    #[must_use]
    pub const fn as_of_ms(&self) -> u64 {
        self.as_of_ms
    }

    /// Whether further keys may come.
    #[must_use]
    pub const fn renewal(&self) -> Renewal {
        self.renewal
    }

    /// The number of keys.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.keys.len()
    }

    /// The keys that `before` lacks.
    #[must_use]
    pub fn added_to(&self, before: &Keys) -> Which {
        let is_new = |key: &VerificationKey| !before.keys.iter().any(|known| known.is_same_as(key));
        let added = self.keys.iter().enumerate().filter(|(_, key)| is_new(key));
        Which(added.fold(0, |added, (place, _)| added | 1 << place))
    }

    /// The keys among `which` that may have signed a token: those that the token names, then those for its algorithm only,
    /// then the others of its kind; at most [`TOKEN_KEYS_TRIED_MAX`].
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
    /// Why it is refused, in words that quote nothing of it.
    pub fn verify(&self, token: &str, now_unix_ms: u64) -> Result<Access, Denied> {
        let token = Token::read(token)?;
        self.verify_by(&self.candidates(&token, Which::ALL), &token, now_unix_ms)
    }

    /// Verifies a token at a time by its [`Keys::candidates`].
    ///
    /// # Errors
    /// Why it is refused, in words that quote nothing of it.
    pub fn verify_by(&self, candidates: &Candidates, token: &Token<'_>, now_unix_ms: u64) -> Result<Access, Denied> {
        let has_signed = |place: &u8| {
            let key = &self.keys[usize::from(*place)].key;
            // An error means a signature that cannot be read.
            jsonwebtoken::crypto::verify(token.signature, token.message.as_bytes(), key, token.algorithm) == Ok(true)
        };
        if !candidates.0.iter().any(has_signed) {
            return Err(self.unverified(candidates, token));
        }
        self.check_claims(Claims::read(&token.claims)?, now_unix_ms)
    }

    fn unverified(&self, candidates: &Candidates, token: &Token<'_>) -> Denied {
        if candidates.count() > 0 {
            return Denied::new(Cause::Signature, "the token's signature is invalid");
        }
        if self.renewal.may_bring(token) || self.keys.iter().any(|key| key.algorithms.contains(&token.algorithm)) {
            Denied::new(Cause::UnknownKey, "the token is signed with a key that is unknown to this server")
        } else {
            Denied::new(Cause::Algorithm, "this server has no key for the token's `alg`")
        }
    }

    /// Whether a key that is yet to come may verify a token: one that would not be refused for its claims.
    #[must_use]
    pub fn may_come_to_fit(&self, token: &Token<'_>, now_unix_ms: u64) -> bool {
        self.renewal.may_bring(token)
            && Claims::read(&token.claims).and_then(|claims| self.check_claims(claims, now_unix_ms)).is_ok()
    }

    fn check_claims(&self, claims: Claims, now_unix_ms: u64) -> Result<Access, Denied> {
        let Expected { audience, issuer, leeway_ms } = &self.expected;
        if !audience.is_empty() && !claims.audience.contains(audience) {
            return Err(Denied::new(Cause::Elsewhere, "the token's claim `aud` does not name this server's audience"));
        }
        if !issuer.is_empty() && claims.issuer.as_ref() != Some(issuer) {
            return Err(Denied::new(Cause::Elsewhere, "the token's claim `iss` is not the expected issuer"));
        }
        if claims.not_before.is_some_and(|not_before| now_unix_ms.saturating_add(*leeway_ms) < not_before) {
            return Err(Denied::new(Cause::Early, "the token is not valid yet: its claim `nbf` is in the future"));
        }
        let ends_at = claims.expires_at.saturating_add(*leeway_ms);
        if now_unix_ms >= ends_at {
            return Err(Denied::new(Cause::Expired, "the token has expired"));
        }
        let Claims { user, expires_at, name, grants, .. } = claims;
        Ok(Access { user, name, expires_at, ends_at, grants })
    }
}
