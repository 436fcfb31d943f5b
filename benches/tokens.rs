//! Cost on a core of verifying a token at an upgrade or a refresh, by algorithm, and of refusing one. `cargo bench
//! --bench tokens`.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use divan::{AllocProfiler, Bencher, black_box};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize};
use roomring::engine::access::{Allowed, Expected, Keys, Material, Renewal};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const SECRET: &str = "a secret of 32 bytes or even more";
const NOW_MS: u64 = 1_700_000_000_000;

fn main() {
    divan::Divan::default().min_time(Duration::from_millis(200)).config_with_args().main();
}

/// A token and the keys that verify it.
struct Case {
    token: String,
    keys: Keys,
}

impl Case {
    fn of(algorithm: Algorithm, key: &EncodingKey, material: Material) -> Self {
        let rooms = json!({"news:*": ["join"], "chat:*": ["join", "publish"]});
        let claims = json!({"sub": "alice", "exp": NOW_MS / 1_000 + 60, "iat": 1, "aud": "chat", "rooms": rooms});
        let token = encode(&Header::new(algorithm), &claims, key).expect("signed");
        let expected = Expected { audience: "chat".into(), ..Expected::default() };
        Self { token, keys: Keys::new(material, expected, Renewal::None) }
    }

    fn hmac(algorithm: Algorithm) -> Self {
        Self::of(algorithm, &EncodingKey::from_secret(SECRET.as_bytes()), Material::from_secret(SECRET))
    }

    fn pair(algorithm: Algorithm, pair: &KeyPair) -> Self {
        let private = pair.serialize_pem();
        let key = match algorithm {
            Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(private.as_bytes()),
            Algorithm::EdDSA => EncodingKey::from_ed_pem(private.as_bytes()),
            _ => EncodingKey::from_rsa_pem(private.as_bytes()),
        };
        let material = Material::from_pem(&pair.public_key_pem()).expect("its own PEM");
        Self::of(algorithm, &key.expect("its own key"), material)
    }
}

fn case(name: &str) -> Case {
    let elliptic = |kind| KeyPair::generate_for(kind).expect("a key");
    let rsa = |bits| KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, bits).expect("a key");
    match name {
        "HS256" => Case::hmac(Algorithm::HS256),
        "HS512" => Case::hmac(Algorithm::HS512),
        "RS256, 2048 bits" => Case::pair(Algorithm::RS256, &rsa(RsaKeySize::_2048)),
        "RS256, 4096 bits" => Case::pair(Algorithm::RS256, &rsa(RsaKeySize::_4096)),
        "PS256, 2048 bits" => Case::pair(Algorithm::PS256, &rsa(RsaKeySize::_2048)),
        "ES256" => Case::pair(Algorithm::ES256, &elliptic(&PKCS_ECDSA_P256_SHA256)),
        "ES384" => Case::pair(Algorithm::ES384, &elliptic(&PKCS_ECDSA_P384_SHA384)),
        "EdDSA" => Case::pair(Algorithm::EdDSA, &elliptic(&PKCS_ED25519)),
        other => unreachable!("{other} is not in the list"),
    }
}

const ALGORITHMS: [&str; 8] =
    ["HS256", "HS512", "RS256, 2048 bits", "RS256, 4096 bits", "PS256, 2048 bits", "ES256", "ES384", "EdDSA"];

/// A good token.
#[divan::bench(args = ALGORITHMS)]
fn verified(bencher: Bencher<'_, '_>, name: &str) {
    let Case { token, keys } = case(name);
    keys.verify(&token, NOW_MS).expect("a good token");
    bencher.bench_local(|| drop(black_box(keys.verify(black_box(&token), NOW_MS))));
}

/// A wrong signature of the right length: the cost of forged tokens.
#[divan::bench(args = ALGORITHMS)]
fn forged(bencher: Bencher<'_, '_>, name: &str) {
    let Case { token, keys } = case(name);
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let mut signature = BASE64.decode(signature).expect("base64url");
    signature[20] ^= 1;
    let forged = format!("{message}.{}", BASE64.encode(signature));
    assert!(keys.verify(&forged, NOW_MS).is_err());
    bencher.bench_local(|| drop(black_box(keys.verify(black_box(&forged), NOW_MS))));
}

/// Refused before any signature is checked.
#[divan::bench]
fn no_token(bencher: Bencher<'_, '_>) {
    let Case { keys, .. } = case("HS256");
    bencher.bench_local(|| drop(black_box(keys.verify(black_box("not.a.token"), NOW_MS))));
}

/// Checks whether a publish is permitted, by number of patterns.
#[divan::bench(args = [1, 8, 64])]
fn allowed(bencher: Bencher<'_, '_>, patterns: usize) {
    let rooms: Vec<String> = (0..patterns).map(|number| format!("room:{number}:*")).collect();
    let claims = json!({"sub": "alice", "exp": NOW_MS / 1_000 + 60, "rooms": rooms});
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = encode(&Header::new(Algorithm::HS256), &claims, &key).expect("signed");
    let keys = Keys::new(Material::from_secret(SECRET), Expected::default(), Renewal::None);
    let grants = keys.verify(&token, NOW_MS).expect("a good token").grants;
    let last = format!("room:{}:general", patterns - 1);
    assert!(grants.allow(&last, Allowed::PUBLISH));
    bencher.bench_local(|| black_box(grants.allow(black_box(&last), Allowed::PUBLISH)));
}
