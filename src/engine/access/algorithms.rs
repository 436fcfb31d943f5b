//! Owns the signature algorithms by kind of key, with the sizes and curves that are accepted. Never holds a key.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ParsedPublicKey};
use jsonwebtoken::Algorithm;

pub(super) const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
pub(super) const RSA: &[Algorithm] =
    &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];
pub(super) const P256: &[Algorithm] = &[Algorithm::ES256];
pub(super) const P384: &[Algorithm] = &[Algorithm::ES384];
pub(super) const ED25519: &[Algorithm] = &[Algorithm::EdDSA];

/// Bytes of an RSA modulus that are accepted (RFC 7518 section 3.3: at least 2048 bits).
pub(super) const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// An algorithm by its name. `Ed25519` is RFC 9864's name of `EdDSA` over that curve.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "Ed25519" => Some(Algorithm::EdDSA),
        name => name.parse().ok(),
    }
}

/// The curve of an uncompressed point, whose first byte is 4.
pub(super) fn curve_of_point(point: &[u8]) -> Option<&'static [Algorithm]> {
    match (point.first(), point.len()) {
        (Some(4), 65) => Some(P256),
        (Some(4), 97) => Some(P384),
        _ => None,
    }
}

/// Whether an uncompressed point is on the curve of these algorithms.
pub(super) fn is_on_curve(algorithms: &[Algorithm], point: &[u8]) -> bool {
    let verification = if algorithms == P384 { &ECDSA_P384_SHA384_FIXED } else { &ECDSA_P256_SHA256_FIXED };
    ParsedPublicKey::new(verification, point).is_ok()
}
