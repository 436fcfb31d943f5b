//! Signs tokens for tests: one key and the algorithms that it can sign with.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};

use super::Material;

/// A key with its private half.
pub struct Signer {
    algorithms: &'static [Algorithm],
    key: EncodingKey,
    secret: Option<&'static str>,
    pair: Option<KeyPair>,
}

/// Made once: an RSA key takes its time.
static RSA: LazyLock<Signer> = LazyLock::new(|| {
    use Algorithm::*;
    let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key");
    let key = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).expect("its own key");
    Signer { algorithms: &[RS256, RS384, RS512, PS256, PS384, PS512], key, secret: None, pair: Some(pair) }
});

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Signer").field(&self.algorithms).finish()
    }
}

impl Signer {
    pub fn secret(secret: &'static str) -> Self {
        let key = EncodingKey::from_secret(secret.as_bytes());
        let algorithms = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
        Self { algorithms, key, secret: Some(secret), pair: None }
    }

    pub fn rsa() -> &'static Self {
        &RSA
    }

    pub fn p256() -> Self {
        Self::elliptic(&PKCS_ECDSA_P256_SHA256, &[Algorithm::ES256])
    }

    pub fn p384() -> Self {
        Self::elliptic(&PKCS_ECDSA_P384_SHA384, &[Algorithm::ES384])
    }

    fn elliptic(kind: &'static rcgen::SignatureAlgorithm, algorithms: &'static [Algorithm]) -> Self {
        let pair = KeyPair::generate_for(kind).expect("a key");
        let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).expect("its own key");
        Self { algorithms, key, secret: None, pair: Some(pair) }
    }

    pub fn ed25519() -> Self {
        let pair = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let key = EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).expect("its own key");
        Self { algorithms: &[Algorithm::EdDSA], key, secret: None, pair: Some(pair) }
    }

    /// Of each kind, and a second secret and curve key.
    pub fn one_of_each() -> Vec<Self> {
        let rsa = Signer { algorithms: RSA.algorithms, key: RSA.key.clone(), secret: None, pair: None };
        let rsa = Signer { pair: Some(KeyPair::from_pem(&RSA.private_pem()).expect("its own PEM")), ..rsa };
        let (one, two) = (Self::secret("one"), Self::secret("two"));
        vec![one, two, rsa, Self::p256(), Self::p256(), Self::p384(), Self::ed25519()]
    }

    pub fn algorithms(&self) -> &'static [Algorithm] {
        self.algorithms
    }

    pub fn sign(&self, algorithm: Algorithm, id: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: id.map(str::to_owned), ..Header::new(algorithm) };
        encode(&header, claims, &self.key).expect("signed")
    }

    pub fn pem(&self) -> Option<String> {
        self.pair.as_ref().map(KeyPair::public_key_pem)
    }

    pub fn private_pem(&self) -> String {
        self.pair.as_ref().expect("no secret").serialize_pem()
    }

    fn jwk(&self) -> Value {
        let public = self.pair.as_ref().expect("no secret").public_key_raw();
        match (self.algorithms[0], public) {
            (Algorithm::EdDSA, x) => json!({"kty": "OKP", "crv": "Ed25519", "x": BASE64.encode(x)}),
            (Algorithm::ES256, [4, point @ ..]) => {
                let (x, y) = point.split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": BASE64.encode(x), "y": BASE64.encode(y)})
            }
            (Algorithm::ES384, [4, point @ ..]) => {
                let (x, y) = point.split_at(48);
                json!({"kty": "EC", "crv": "P-384", "x": BASE64.encode(x), "y": BASE64.encode(y)})
            }
            (algorithm, _) => {
                let jwk = Jwk::from_encoding_key(&self.key, algorithm).expect("an RSA key");
                json!({"kty": "RSA", "n": serde_json::to_value(&jwk).expect("JSON")["n"], "e": "AQAB"})
            }
        }
    }

    /// What verifies its tokens.
    pub fn material(&self) -> Material {
        match self.secret {
            Some(secret) => Material::from_secret(secret),
            None => Material::from_pem(&self.pem().expect("public")).expect("its own PEM"),
        }
    }
}

/// A key set as an identity provider publishes it.
pub fn key_set(keys: &[(&Signer, Option<&str>)]) -> String {
    let jwk = |(signer, id): &(&Signer, Option<&str>)| {
        let mut jwk = signer.jwk();
        if let Some(id) = id {
            jwk["kid"] = json!(id);
        }
        jwk
    };
    json!({"keys": keys.iter().map(jwk).collect::<Vec<_>>()}).to_string()
}

/// A token with whatever header and signature.
pub fn forged(header: &Value, claims: &Value, signature: &str) -> String {
    format!("{}.{}.{signature}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()))
}
