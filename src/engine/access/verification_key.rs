//! Owns one key that verifies tokens, of any source. Never shows the key itself.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};

/// One key.
#[derive(Clone)]
pub(super) struct VerificationKey {
    pub(super) id: Option<Box<str>>,
    /// The algorithms that it verifies.
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

impl VerificationKey {
    pub(super) fn may_have_signed(&self, id: Option<&str>, algorithm: Algorithm) -> bool {
        let ids_differ = matches!((id, self.id.as_deref()), (Some(one), Some(other)) if one != other);
        self.algorithms.contains(&algorithm) && !ids_differ
    }

    /// Whether it verifies exactly the same tokens as the other one.
    pub(super) fn is_same_as(&self, other: &VerificationKey) -> bool {
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
