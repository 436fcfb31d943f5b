//! Signs the tokens of accounts: HS256 with a key that the store keeps, with the claims of mode `jwt`. Verifies none.

use std::fmt;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value, json};

use super::settings::AccountSettings;
use crate::base::ids::UserName;
use crate::engine::access::{Keys, Material, Renewal};

/// The key that signs tokens, as the text of its bytes in hexadecimal digits.
#[derive(Clone)]
pub(super) struct Signer(String);

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(…)")
    }
}

/// A token, and when it expires.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Signed {
    pub(super) token: Box<str>,
    /// Unix milliseconds.
    pub(super) expires_at: u64,
}

impl Signer {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self(key.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The keys that verify the tokens.
    pub(super) fn keys(&self, settings: &AccountSettings) -> Keys {
        Keys::new(Material::from_secret(&self.0), settings.expected.clone(), Renewal::None)
    }

    /// Signs a token that is valid from now on. `None` after a fault of the library, which is logged.
    pub(super) fn sign(
        &self,
        user: &UserName,
        name: Option<&str>,
        settings: &AccountSettings,
        now_unix_ms: u64,
    ) -> Option<Signed> {
        // Rounded up: tokens last a fraction of a second longer rather than shorter.
        let expires_s = (now_unix_ms + settings.token_ttl_ms).div_ceil(1_000);
        let mut claims = Map::new();
        claims.insert("sub".into(), json!(&**user));
        claims.insert("iat".into(), json!(now_unix_ms / 1_000));
        claims.insert("exp".into(), json!(expires_s));
        let expected = &settings.expected;
        for (claim, text) in [("name", name.unwrap_or("")), ("aud", &expected.audience), ("iss", &expected.issuer)] {
            if !text.is_empty() {
                claims.insert(claim.into(), json!(text));
            }
        }
        let key = EncodingKey::from_secret(self.0.as_bytes());
        match jsonwebtoken::encode(&Header::new(Algorithm::HS256), &Value::Object(claims), &key) {
            Ok(token) => Some(Signed { token: token.into(), expires_at: expires_s * 1_000 }),
            Err(error) => {
                tracing::error!(%error, "cannot sign a token");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::access::Expected;

    #[test]
    fn tokens_verify_with_their_own_key_alone() {
        let expected = Expected { audience: "chat".into(), issuer: "me".into(), leeway_ms: 0 };
        let settings = AccountSettings { token_ttl_ms: 90_000, password_chars_min: 1, expected };
        let (signer, user) = (Signer::new(&[7; 32]), UserName::new("zoë").expect("valid"));
        let signed = signer.sign(&user, Some("Zoë"), &settings, 1_700_000_000_500).expect("signed");
        let access = signer.keys(&settings).verify(&signed.token, 1_700_000_000_500).expect("its own token");
        assert_eq!((access.user, access.name.as_deref()), (user, Some("Zoë")));
        assert_eq!((signed.expires_at, access.expires_at), (1_700_000_091_000, 1_700_000_091_000));
        assert!(signer.keys(&settings).verify(&signed.token, 1_700_000_091_000).is_err(), "it has expired");
        assert!(Signer::new(&[8; 32]).keys(&settings).verify(&signed.token, 1_700_000_000_500).is_err());
        assert!(!format!("{signer:?}").contains("07"));
    }
}
