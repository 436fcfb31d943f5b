//! Keys of key sets as well-known libraries write them, and the errors for keys that cannot be used.

use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};

use super::*;

/// How a library writes the bytes of a member.
type Write = fn(Vec<u8>) -> String;

/// A key set of one key, with some of its members as `change` makes them.
fn set_with(signer: &Signer, change: impl Fn(&mut Value)) -> Result<Material, KeyError> {
    let mut set: Value = serde_json::from_str(&key_set(&[(signer, Some("k"))])).expect("JSON");
    change(&mut set["keys"][0]);
    Material::from_key_set(&set.to_string())
}

/// The bytes of a member, written anew.
fn rewrite(key: &mut Value, name: &str, write: impl Fn(Vec<u8>) -> String) {
    let bytes = BASE64.decode(key[name].as_str().expect("text")).expect("base64url");
    key[name] = json!(write(bytes));
}

#[test]
fn members_are_read_however_their_bytes_are_written() {
    let members = |signer: &Signer| -> &[&str] {
        match signer.algorithms()[0] {
            Algorithm::RS256 => &["n", "e"],
            Algorithm::EdDSA => &["x"],
            _ => &["x", "y"],
        }
    };
    for signer in Signer::one_of_each().iter().filter(|signer| signer.pem().is_some()) {
        let token = signer.sign(signer.algorithms()[0], Some("k"), &ann());
        let is_integer = signer.algorithms()[0] != Algorithm::EdDSA;
        let writings: [(&str, Write, bool); 6] = [
            ("padded", |bytes| URL_SAFE.encode(bytes), true),
            ("the other alphabet", |bytes| STANDARD_NO_PAD.encode(bytes), true),
            ("the other alphabet, padded", |bytes| STANDARD.encode(bytes), true),
            ("a zero in front", |bytes| BASE64.encode([vec![0], bytes].concat()), is_integer),
            ("many zeros in front", |bytes| BASE64.encode([vec![0; 7], bytes].concat()), is_integer),
            ("both", |bytes| STANDARD.encode([vec![0], bytes].concat()), is_integer),
        ];
        for (why, write, works) in &writings {
            let set = set_with(signer, |key| {
                for name in members(signer) {
                    rewrite(key, name, write);
                }
            });
            let verified = set.is_ok_and(|set| keys_of(set).verify(&token, NOW_MS).is_ok());
            assert_eq!(verified, *works, "{why}: {signer:?}");
        }
    }
}

/// One key of 256 has a coordinate that begins with a zero, which some libraries leave out.
#[test]
fn coordinates_without_their_zeros_are_whole() {
    let begins_with_zero = |signer: &Signer| {
        let set: Value = serde_json::from_str(&key_set(&[(signer, None)])).expect("JSON");
        let x = set["keys"][0]["x"].as_str().expect("text").to_owned();
        BASE64.decode(x).expect("base64url")[0] == 0
    };
    let signer = (0..100_000).map(|_| Signer::p256()).find(begins_with_zero).expect("one of 256 on average");
    let short = set_with(&signer, |key| rewrite(key, "x", |bytes| BASE64.encode(&bytes[1..]))).expect("a key");
    assert!(keys_of(short).verify(&signer.sign(Algorithm::ES256, None, &ann()), NOW_MS).is_ok());
}

#[test]
fn keys_that_cannot_be_used_are_named_with_what_is_wrong() {
    let (rsa, curve, edwards) = (Signer::rsa(), Signer::p384(), Signer::ed25519());
    for (signer, member, value, words) in [
        (rsa, "n", json!("$$$"), "its `n` is not base64url"),
        (rsa, "n", json!(7), "its `n` is not a string"),
        (rsa, "n", Value::Null, "it has no `n`"),
        (rsa, "n", json!(BASE64.encode([0xff; 128])), "its `n` has 1024 bits; expected 2048 to 8192"),
        (rsa, "n", json!(BASE64.encode([0xfe; 256])), "its `n` is even"),
        (rsa, "e", json!("AQ"), "its `e` is not an odd number from 3 to 2^32"),
        (rsa, "e", json!(""), "its `e` is not"),
        (rsa, "e", json!("AQABAQAB"), "its `e` is not"),
        (rsa, "alg", json!("ES256"), "its `alg` is \"ES256\", which does not fit its kind of key"),
        (rsa, "alg", json!(["RS256"]), "its `alg` is not a string"),
        (rsa, "kty", Value::Null, "it has no `kty`"),
        (rsa, "kty", json!("DSA"), "its `kty` is \"DSA\"; expected RSA, EC or OKP"),
        (rsa, "kty", json!("oct"), "it is symmetric"),
        (rsa, "key_ops", json!("verify"), "its `key_ops` is not a list"),
        (&curve, "crv", json!("P-521"), "its `crv` is \"P-521\"; expected P-256, P-384 or Ed25519"),
        (&curve, "crv", Value::Null, "it has no `crv`"),
        (&curve, "crv", json!("P-256"), "its `x` has 48 bytes; expected at most 32"),
        (&curve, "x", json!("AQAB"), "its `x` and `y` are not a point of its curve"),
        (&edwards, "x", json!("AQAB"), "its `x` has 3 bytes; expected 32"),
    ] {
        let good = curve_key();
        let mut set: Value = serde_json::from_str(&key_set(&[(signer, Some("bad")), (&good, None)])).expect("JSON");
        set["keys"][0][member] = value;
        let material = Material::from_key_set(&set.to_string()).expect("the other one is good");
        let [passed_over] = material.passed_over() else { panic!("{words}: {material:?}") };
        assert_eq!(passed_over.key, "\"bad\"", "{words}");
        assert!(passed_over.why.starts_with(words), "{words}: {}", passed_over.why);
        // Alone it makes the set useless, which says why.
        set["keys"].as_array_mut().expect("a list").pop();
        let error = Material::from_key_set(&set.to_string()).expect_err("no key").to_string();
        assert!(error.contains(words) && error.contains("bad"), "{error}");
    }
}

fn curve_key() -> Signer {
    Signer::p256()
}

#[test]
fn keys_for_other_uses_are_no_mistakes() {
    for (member, value) in [
        ("use", json!("enc")),
        ("key_ops", json!(["encrypt"])),
        ("alg", json!("RSA-OAEP")),
        ("alg", json!("RSA-OAEP-256")),
        ("alg", json!("ECDH-ES+A128KW")),
    ] {
        let good = curve_key();
        let mut set: Value = serde_json::from_str(&key_set(&[(Signer::rsa(), None), (&good, None)])).expect("JSON");
        set["keys"][0][member] = value;
        let material = Material::from_key_set(&set.to_string()).expect("the other one is good");
        assert_eq!((material.count(), material.passed_over()), (1, [].as_slice()), "{set}");
    }
}

/// Texts of a key set go to the log in a few words, whatever they are.
#[test]
fn names_are_shown_short_and_without_control_characters() {
    for (id, shown) in [
        (json!("a\nb\u{1b}[31m\"c"), r#""a\nb\u{1b}[31m\"c""#.to_owned()),
        (json!("ü".repeat(1_000)), format!("\"{}…\"", "\\u{fc}".repeat(6)[..32].to_owned())),
        (Value::Null, "number 2 (without a `kid`)".to_owned()),
        (json!(7), "number 2 (without a `kid`)".to_owned()),
    ] {
        let mut set: Value =
            serde_json::from_str(&key_set(&[(&curve_key(), None), (&curve_key(), None)])).expect("JSON");
        set["keys"][1]["kid"] = id;
        set["keys"][1]["x"] = json!("");
        let material = Material::from_key_set(&set.to_string()).expect("one is good");
        assert_eq!(material.passed_over()[0].key, shown);
    }
    let set = json!({"keys": vec![json!({"kty": "no"}); 1_000]});
    assert!(Material::from_key_set(&set.to_string()).expect_err("no key").to_string().len() < 300);
    let good: Value = serde_json::from_str(&key_set(&[(&curve_key(), None)])).expect("JSON");
    let mut keys = vec![json!(7); 1_000];
    keys.push(good["keys"][0].clone());
    let material = Material::from_key_set(&json!({"keys": keys}).to_string()).expect("one is good");
    assert_eq!((material.count(), material.passed_over().len()), (1, KEYS_PASSED_OVER_TOLD_MAX));
}
