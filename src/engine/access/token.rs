//! Takes a token apart, to tell which keys are worth trying. Never trusts anything that it finds.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::algorithms::algorithm;
use super::denied::{Cause, Denied};
use crate::base::limits::TOKEN_BYTES_MAX;

/// The three parts of a token.
#[derive(Debug)]
pub struct Token<'a> {
    /// The signed part: header and claims as written.
    pub(super) message: &'a str,
    pub(super) signature: &'a str,
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    pub(super) claims: Vec<u8>,
}

/// A token's header (RFC 7515 section 4). Other members are ignored, above all keys and addresses of keys.
#[derive(Deserialize)]
struct TokenHeader {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    crit: Option<IgnoredAny>,
}

impl<'a> Token<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// It is not a JWT, or its algorithm is not accepted.
    pub fn read(text: &'a str) -> Result<Self, Denied> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(Denied::new(Cause::Malformed, format!("the token is longer than {TOKEN_BYTES_MAX} bytes")));
        }
        let malformed = || Denied::new(Cause::Malformed, "the token is not a JWT of three parts");
        let (message, signature) = text.rsplit_once('.').ok_or_else(malformed)?;
        let (header, claims) = message.split_once('.').ok_or_else(malformed)?;
        let header = BASE64.decode(header).map_err(|_| malformed())?;
        let claims = BASE64.decode(claims).map_err(|_| malformed())?;
        let header: TokenHeader = serde_json::from_slice(&header).map_err(|_| {
            Denied::new(Cause::Malformed, "the token's header is not a JSON object with a string `alg`")
        })?;
        if header.crit.is_some() {
            return Err(Denied::new(
                Cause::Malformed,
                "the token's header has `crit`, and this server supports no extension",
            ));
        }
        let algorithm = algorithm(&header.alg).ok_or_else(|| {
            let accepted = "HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA";
            Denied::new(Cause::Algorithm, format!("the token's `alg` is not one of {accepted}"))
        })?;
        Ok(Self { message, signature, algorithm, key_id: header.kid, claims })
    }

    /// Whether it is signed with a secret, which is never in a key set.
    pub(super) fn is_by_secret(&self) -> bool {
        matches!(self.algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)
    }
}
