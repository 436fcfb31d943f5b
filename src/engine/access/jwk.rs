//! Reads one key of a JSON Web Key Set (RFC 7517, RFC 7518 section 6, RFC 8037 section 2). Accepts deviations of well-known
//! libraries: padding, the other base64 alphabet, integers with superfluous or missing leading zeros. Never skips a key
//! without saying why.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use super::algorithms::{ED25519, P256, P384, RSA, RSA_BYTES, algorithm, is_on_curve};
use super::verification_key::VerificationKey;

/// Characters quoted of a text from outside.
const QUOTED_MAX: usize = 32;

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Algorithms that encrypt: a key for one of them is never for signatures.
const ENCRYPTION: [&str; 3] = ["RSA-OAEP", "RSA1_5", "ECDH-ES"];

/// Reads a key. `None` for one that is not for signatures.
///
/// # Errors
/// Why it cannot be used.
pub(super) fn read(value: &Value) -> Result<Option<VerificationKey>, String> {
    if !value.is_object() {
        return Err("it is not a JSON object".into());
    }
    let alg = text(value, "alg")?;
    if text(value, "use")?.is_some_and(|usage| usage != "sig")
        || !may_verify(value)?
        || alg.is_some_and(|name| ENCRYPTION.iter().any(|encryption| name.starts_with(encryption)))
    {
        return Ok(None);
    }
    let id = text(value, "kid")?.map(Box::from);
    let (algorithms, key) = match (required(value, "kty")?, text(value, "crv")?) {
        ("RSA", _) => (RSA, rsa(value)?),
        ("EC", Some("P-256")) => (P256, elliptic(value, P256, 32)?),
        ("EC", Some("P-384")) => (P384, elliptic(value, P384, 48)?),
        ("OKP", Some("Ed25519")) => (ED25519, edwards(value)?),
        ("EC" | "OKP", None) => return Err("it has no `crv`".into()),
        ("EC" | "OKP", Some(curve)) => {
            return Err(format!("its `crv` is {}; expected P-256, P-384 or Ed25519", quoted(curve)));
        }
        ("oct", _) => return Err("it is symmetric, and a published secret protects nothing".into()),
        (kind, _) => return Err(format!("its `kty` is {}; expected RSA, EC or OKP", quoted(kind))),
    };
    let algorithms = match alg {
        None => algorithms,
        // The one it is for (RFC 7517 section 4.4).
        Some(name) => {
            let meant = algorithm(name).and_then(|meant| algorithms.iter().position(|known| *known == meant));
            let at =
                meant.ok_or_else(|| format!("its `alg` is {}, which does not fit its kind of key", quoted(name)))?;
            &algorithms[at..=at]
        }
    };
    Ok(Some(VerificationKey { id, algorithms, key }))
}

/// The name of a key in the log: its `kid`, or its place in the set.
pub(super) fn name(value: &Value, place: usize) -> String {
    let id = value.get("kid").and_then(Value::as_str);
    id.map_or_else(|| format!("number {} (without a `kid`)", place + 1), quoted)
}

fn quoted(text: &str) -> String {
    let mut shown: String = text.escape_default().take(QUOTED_MAX + 1).collect();
    if shown.len() > QUOTED_MAX {
        shown.truncate(QUOTED_MAX);
        shown.push('…');
    }
    format!("\"{shown}\"")
}

fn text<'a>(value: &'a Value, name: &str) -> Result<Option<&'a str>, String> {
    match value.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("its `{name}` is not a string")),
    }
}

fn required<'a>(value: &'a Value, name: &str) -> Result<&'a str, String> {
    text(value, name)?.ok_or_else(|| format!("it has no `{name}`"))
}

fn may_verify(value: &Value) -> Result<bool, String> {
    match value.get("key_ops") {
        None | Some(Value::Null) => Ok(true),
        Some(Value::Array(uses)) => Ok(uses.iter().any(|one| one == "verify")),
        Some(_) => Err("its `key_ops` is not a list".into()),
    }
}

fn bytes(value: &Value, name: &str) -> Result<Vec<u8>, String> {
    let text = required(value, name)?.replace('+', "-").replace('/', "_");
    LENIENT.decode(text).map_err(|_| format!("its `{name}` is not base64url"))
}

/// An unsigned integer without leading zeros.
fn integer(value: &Value, name: &str) -> Result<Vec<u8>, String> {
    let mut bytes = bytes(value, name)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.drain(..zeros);
    Ok(bytes)
}

fn rsa(value: &Value) -> Result<DecodingKey, String> {
    let (modulus, exponent) = (integer(value, "n")?, integer(value, "e")?);
    if !RSA_BYTES.contains(&modulus.len()) {
        return Err(format!("its `n` has {} bits; expected 2048 to 8192", modulus.len() * 8));
    }
    let is_odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    if !is_odd(&modulus) {
        return Err("its `n` is even; an RSA modulus is odd".into());
    }
    if !is_odd(&exponent) || exponent == [1] || exponent.len() > 4 {
        return Err("its `e` is not an odd number from 3 to 2^32".into());
    }
    Ok(DecodingKey::from_rsa_raw_components(&modulus, &exponent))
}

fn elliptic(value: &Value, algorithms: &[Algorithm], length: usize) -> Result<DecodingKey, String> {
    let mut point = vec![4];
    for name in ["x", "y"] {
        let coordinate = integer(value, name)?;
        if coordinate.len() > length {
            return Err(format!("its `{name}` has {} bytes; expected at most {length}", coordinate.len()));
        }
        point.resize(point.len() + length - coordinate.len(), 0);
        point.extend(coordinate);
    }
    if !is_on_curve(algorithms, &point) {
        return Err("its `x` and `y` are not a point of its curve".into());
    }
    Ok(DecodingKey::from_ec_der(&point))
}

/// Its bytes are not an integer (RFC 8032 section 5.1.2), so leading zeros stay.
fn edwards(value: &Value) -> Result<DecodingKey, String> {
    let point = bytes(value, "x")?;
    match point.len() {
        32 => Ok(DecodingKey::from_ed_der(&point)),
        length => Err(format!("its `x` has {length} bytes; expected 32")),
    }
}
