//! Tokens, and the keys that verify them, as outsiders and operators may write them.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use roomring::base::ids::check_name;
use roomring::engine::access::{Allowed, Expected, Keys, Material, Renewal};
use serde_json::Value;

use super::byte_of;

/// What tokens and keys are made of.
pub const WORDS: &[&[u8]] = &[
    b"eyJhbGciOiJIUzI1NiJ9",
    b"eyJhbGciOiJub25lIn0",
    b".",
    b"\"alg\":\"none\"",
    b"\"alg\":\"RS256\"",
    b"\"kid\":\"1\"",
    b"\"crit\":[]",
    b"\"exp\":1e300",
    b"\"nbf\":-1",
    b"\"aud\":[\"a\"]",
    b"\"rooms\":{\"*\":[\"admin\"]}",
    b"null",
    b"-----BEGIN PUBLIC KEY-----\n",
    b"-----END PUBLIC KEY-----",
    b"-----BEGIN RSA PUBLIC KEY-----\n",
    b"\"kty\":\"EC\",\"crv\":\"P-256\"",
    b"\"use\":\"sig\"",
    b"AAAA",
];

/// Unix milliseconds of the runs.
const NOW_MS: u64 = 1_700_000_000_000;

/// A key of RFC 8037 appendix A, of RFC 7515 appendix A.3, and one of RSA.
const PEM: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
                   -----END PUBLIC KEY-----\n";
const KEY_SET: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"1","use":"sig","alg":"ES256",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
    {"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},{"kty":"oct","k":"AAAA"}]}"#;

struct Ours {
    signs: EncodingKey,
    keys: Keys,
    strict: Keys,
}

/// Made once: they never change.
static OURS: LazyLock<Ours> = LazyLock::new(|| {
    let material = || {
        let public = Material::from_pem(PEM).and_then(|pem| pem.and(Material::from_key_set(KEY_SET)?));
        public.and_then(|public| public.and(Material::from_secret("fuzz"))).expect("good keys")
    };
    let strict = Expected { audience: "a".to_owned(), issuer: "i".to_owned(), leeway_ms: 30_000 };
    Ours {
        signs: EncodingKey::from_secret(b"fuzz"),
        keys: Keys::new(material(), Expected::default(), Renewal::None),
        strict: Keys::new(material(), strict, Renewal::Renewed),
    }
});

/// The first byte says what the rest is: a token, a payload that is signed, or a header that is.
pub fn run_tokens(input: &[u8]) {
    let (choice, rest) = byte_of(input);
    let sign = |header: &[u8], payload: &[u8]| {
        let message = format!("{}.{}", BASE64.encode(header), BASE64.encode(payload));
        let signature = crypto::sign(message.as_bytes(), &OURS.signs, Algorithm::HS256).expect("it signs anything");
        format!("{message}.{signature}")
    };
    let token = match choice % 3 {
        0 => String::from_utf8_lossy(rest).into_owned(),
        1 => sign(br#"{"alg":"HS256"}"#, rest),
        _ => sign(rest, br#"{"sub":"alice","exp":4102444800}"#),
    };
    let (plain, strict) = (OURS.keys.verify(&token, NOW_MS), OURS.strict.verify(&token, NOW_MS));
    assert!(plain.is_ok() || strict.is_err() || choice % 3 == 1, "what is expected beside only refuses more");
    for access in plain.iter().chain(&strict) {
        check_name(&access.user).expect("names are checked");
        assert!(access.ends_at > NOW_MS && access.ends_at >= access.expires_at);
        let [header, payload] = [0, 1].map(|part| {
            let part = token.split('.').nth(part).expect("three parts");
            serde_json::from_slice::<Value>(&BASE64.decode(part).expect("base64")).ok()
        });
        // Its values cannot hold all that is JSON; what they can is what was understood.
        if let Some(payload) = payload {
            assert_eq!(payload["sub"], *access.user);
            assert_eq!(payload["name"].as_str(), access.name.as_deref());
            assert!(payload["rooms"].is_null() || !access.grants.allow("\u{1}", Allowed::ADMIN) || has_star(&payload));
        }
        assert!(header.is_none_or(|header| header["alg"] != "none" && header["crit"].is_null()));
    }
    for denied in [plain.err(), strict.err()].into_iter().flatten() {
        assert!(!denied.message.is_empty() && denied.message.len() < 400, "{}", denied.message);
    }
}

/// Whether the payload names a pattern that could match a room whose name is a control character.
fn has_star(payload: &Value) -> bool {
    payload["rooms"].as_object().is_some_and(|rooms| rooms.keys().any(|pattern| pattern.contains('*')))
}

pub fn token_seeds() -> Vec<Vec<u8>> {
    let tokens = [
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSIsImV4cCI6NDEwMjQ0NDgwMH0.QbiwXhnmNKRqEXxlb-maSNB6snWsn0-Pfn0LAzGV31U",
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSIsImV4cCI6NDEwMjQ0NDgwMH0.",
        "..",
    ];
    let payloads = [
        r#"{"sub":"alice","exp":4102444800.5,"nbf":1,"aud":"a","iss":"i","name":"Alice Ä.","rooms":["*","a:*"]}"#,
        r#"{"sub":"bob","exp":4102444800,"aud":["b","a"],"iss":"i","rooms":{"news:*":["join"],"*":["admin"]}}"#,
        r#"{"exp":1700000000,"sub":"c\u0061rol","later":{"sub":1}}"#,
    ];
    let headers = [
        r#"{"alg":"HS256","typ":"JWT","kid":"x"}"#,
        r#"{"alg":"ES256","kid":"1"}"#,
        r#"{"alg":"EdDSA"}"#,
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
    ];
    let of = |kind: u8, texts: &[&str]| -> Vec<Vec<u8>> {
        texts.iter().map(|text| [&[kind], text.as_bytes()].concat()).collect()
    };
    [of(0, &tokens), of(1, &payloads), of(2, &headers)].concat()
}

/// Files of keys: taken or refused in words that hold nothing of them, and what is taken verifies nothing by accident.
pub fn run_keys(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for material in [Material::from_pem(text), Material::from_key_set(text)] {
        match material {
            Ok(material) => {
                assert!((1..=64).contains(&material.count()));
                let keys = Keys::new(material, Expected::default(), Renewal::None);
                for alg in ["HS256", "RS256", "PS384", "ES256", "ES384", "EdDSA"] {
                    let header = BASE64.encode(format!(r#"{{"alg":"{alg}"}}"#));
                    let payload = "eyJzdWIiOiJhbGljZSIsImV4cCI6NDEwMjQ0NDgwMH0";
                    keys.verify(&format!("{header}.{payload}.{payload}"), NOW_MS).expect_err("nobody signed it");
                }
            }
            Err(error) => assert!(error.to_string().len() < 300, "{error}"),
        }
    }
}

pub fn key_seeds() -> Vec<Vec<u8>> {
    let rsa = format!(r#"{{"keys":[{{"kty":"RSA","n":"{}","e":"AQAB"}}]}}"#, "x".repeat(342));
    let empty = "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----";
    [PEM, KEY_SET, &rsa, r#"{"keys":[]}"#, empty, &PEM.repeat(2)].map(|text| text.as_bytes().to_vec()).to_vec()
}
