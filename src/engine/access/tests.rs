//! Tokens against keys: every algorithm, confusions between them, key ids, times at their edges, claims of every type.

mod claims;
mod jwk;
mod signer;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::*;
use crate::base::limits::{
    KEY_FILE_BYTES_MAX, KEYS_PASSED_OVER_TOLD_MAX, TOKEN_BYTES_MAX, TOKEN_KEYS_MAX, TOKEN_KEYS_TRIED_MAX,
};
use signer::{Signer, forged, key_set};

const NOW_S: u64 = 1_700_000_000;
const NOW_MS: u64 = NOW_S * 1_000;

fn ann() -> Value {
    json!({"sub": "ann", "exp": NOW_S + 60})
}

fn keys_of(material: Material) -> Keys {
    Keys::new(material, Expected::default(), Renewal::None)
}

fn cause(keys: &Keys, token: &str) -> Cause {
    let denied = keys.verify(token, NOW_MS).expect_err("refused");
    assert!(!token.split('.').any(|part| part.len() > 8 && denied.message.contains(part)), "{denied:?}");
    denied.cause
}

#[test]
fn each_algorithm_is_verified_by_its_own_kind_of_key_alone() {
    use Algorithm::*;
    let signers = Signer::one_of_each();
    for signer in &signers {
        for algorithm in [HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA] {
            if !signer.algorithms().contains(&algorithm) {
                continue;
            }
            let token = signer.sign(algorithm, None, &ann());
            for other in &signers {
                let verified = keys_of(other.material()).verify(&token, NOW_MS);
                let is_same = std::ptr::eq(signer, other);
                assert_eq!(verified.is_ok(), is_same, "{algorithm:?} of {signer:?} by {other:?}: {verified:?}");
            }
        }
    }
    let all = signers.iter().try_fold(Material::new(), |all, one| all.and(one.material())).expect("few");
    let token = signers[3].sign(signers[3].algorithms()[0], None, &ann());
    assert_eq!(&*keys_of(all).verify(&token, NOW_MS).expect("one of them").user, "ann");
}

#[test]
fn a_public_key_is_never_the_secret_of_an_hmac() {
    for signer in Signer::one_of_each().iter().filter(|signer| signer.pem().is_some()) {
        let pem = signer.pem().expect("filtered");
        let keys = keys_of(signer.material());
        for secret in [pem.as_bytes(), pem.trim_end().as_bytes()] {
            for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
                let key = jsonwebtoken::EncodingKey::from_secret(secret);
                let header = jsonwebtoken::Header::new(algorithm);
                let token = jsonwebtoken::encode(&header, &ann(), &key).expect("signed");
                assert_eq!(cause(&keys, &token), Cause::Algorithm);
            }
        }
    }
    // Nor is a published symmetric key.
    let published = json!({"keys": [{"kty": "oct", "k": BASE64.encode("secret"), "alg": "HS256"}]}).to_string();
    assert!(Material::from_key_set(&published).is_err());
}

#[test]
fn none_is_no_algorithm_however_it_is_written() {
    let keys = keys_of(Material::from_secret("secret"));
    for name in ["none", "None", "NONE", "nOnE", "", "HS1", "hs256", "HS256 "] {
        for signature in ["", "AAAA"] {
            let token = forged(&json!({"alg": name, "typ": "JWT"}), &ann(), signature);
            assert_eq!(cause(&keys, &token), Cause::Algorithm, "{name}");
        }
    }
    for header in
        [json!({}), json!({"alg": null}), json!({"alg": 1}), json!({"alg": ["HS256"]}), json!([]), json!("HS256")]
    {
        assert_eq!(cause(&keys, &forged(&header, &ann(), "AAAA")), Cause::Malformed, "{header}");
    }
    let twice =
        format!("{}.{}.AAAA", BASE64.encode(r#"{"alg":"HS256","alg":"none"}"#), BASE64.encode(ann().to_string()));
    assert_eq!(cause(&keys, &twice), Cause::Malformed);
    let extended = forged(&json!({"alg": "HS256", "crit": ["b64"], "b64": false}), &ann(), "AAAA");
    assert_eq!(cause(&keys, &extended), Cause::Malformed);
}

#[test]
fn whatever_is_changed_in_a_token_is_noticed() {
    let signer = Signer::secret("secret");
    let keys = keys_of(signer.material());
    let token = signer.sign(Algorithm::HS256, None, &ann());
    assert!(keys.verify(&token, NOW_MS).is_ok());
    for at in 0..token.len() {
        for byte in [b'A', b'-', b'.', b'='] {
            let mut changed = token.clone().into_bytes();
            if std::mem::replace(&mut changed[at], byte) != byte {
                let changed = String::from_utf8(changed).expect("ASCII");
                assert!(keys.verify(&changed, NOW_MS).is_err(), "{at}: {changed}");
            }
        }
    }
    for cut in 0..token.len() {
        assert!(
            keys.verify(&token[..cut], NOW_MS).is_err() && keys.verify(&token[cut + 1..], NOW_MS).is_err(),
            "{cut}"
        );
    }
    for wrong in ["", ".", "..", "...", "a.b", "a.b.c.d", "ü.ü.ü"] {
        assert_eq!(cause(&keys, wrong), Cause::Malformed, "{wrong}");
    }
    assert_eq!(cause(&keys, &format!("{token}.")), Cause::Malformed);
    assert_eq!(cause(&keys, &"a".repeat(TOKEN_BYTES_MAX + 1)), Cause::Malformed);
    assert_eq!(cause(&keys_of(Material::from_secret("other")), &token), Cause::Signature);
}

/// RFC 7515 appendices A.2 and A.3, and RFC 7520's key for neither: signed by nobody here. The claims have no `sub`, which
/// is looked at after the signature.
#[test]
fn the_examples_of_the_standard_are_verified() {
    let payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let token = format!("eyJhbGciOiJFUzI1NiJ9.{payload}.{signature}");
    let set = json!({"keys": [{
        "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    }]});
    let keys = keys_of(Material::from_key_set(&set.to_string()).expect("a key"));
    let denied = keys.verify(&token, NOW_MS).expect_err("no `sub`");
    assert_eq!((denied.cause, &*denied.message), (Cause::Claim, "the token's claim `sub` is missing"));
    assert_eq!(cause(&keys, &token.replace("DtEh", "DtEi")), Cause::Signature);
}

#[test]
fn key_ids_choose_the_key_where_both_sides_have_one() {
    let (one, two, plain) = (Signer::p256(), Signer::p256(), Signer::p256());
    let set = |keys: &[(&Signer, Option<&str>)]| Material::from_key_set(&key_set(keys)).expect("keys");
    let keys = keys_of(set(&[(&one, Some("1")), (&two, Some("2")), (&plain, None)]));
    let verify = |signer: &Signer, id: Option<&str>| keys.verify(&signer.sign(Algorithm::ES256, id, &ann()), NOW_MS);
    for (signer, id) in
        [(&one, Some("1")), (&two, Some("2")), (&one, None), (&two, None), (&plain, None), (&plain, Some("9"))]
    {
        assert!(verify(signer, id).is_ok(), "{id:?}");
    }
    assert_eq!(verify(&one, Some("2")).expect_err("the key of another").cause, Cause::Signature);
    let strict = keys_of(set(&[(&one, Some("1"))]));
    let unknown = two.sign(Algorithm::ES256, Some("2"), &ann());
    assert_eq!(cause(&strict, &unknown), Cause::UnknownKey);
    // Rotation: the new set takes both, then the new one alone.
    let both = keys_of(set(&[(&one, Some("1")), (&two, Some("2"))]));
    let old = one.sign(Algorithm::ES256, Some("1"), &ann());
    assert!(both.verify(&unknown, NOW_MS).is_ok() && both.verify(&old, NOW_MS).is_ok());
    assert_eq!(cause(&keys_of(set(&[(&two, Some("2"))])), &old), Cause::UnknownKey);
    // With a set that is yet to come any key may be in it.
    let awaited = Keys::new(Material::from_secret("s"), Expected::default(), Renewal::Awaited);
    assert_eq!(cause(&awaited, &old), Cause::UnknownKey);
}

#[test]
fn keys_tried_on_one_token_are_bounded() {
    let (wrong, right) = (Signer::ed25519(), Signer::ed25519());
    let token = right.sign(Algorithm::EdDSA, None, &ann());
    let keys_before = |count: usize| {
        let mut keys = vec![(&wrong, None); count];
        keys.push((&right, None));
        keys_of(Material::from_key_set(&key_set(&keys)).expect("keys"))
    };
    assert!(keys_before(TOKEN_KEYS_TRIED_MAX - 1).verify(&token, NOW_MS).is_ok());
    assert_eq!(cause(&keys_before(TOKEN_KEYS_TRIED_MAX), &token), Cause::Signature);
    let too_many = key_set(&vec![(&wrong, None); TOKEN_KEYS_MAX + 1]);
    assert!(too_many.len() < KEY_FILE_BYTES_MAX && Material::from_key_set(&too_many).is_err());
    let full = Material::from_key_set(&key_set(&vec![(&wrong, None); TOKEN_KEYS_MAX])).expect("just as many");
    assert!(full.and(Material::from_secret("one more")).is_err());
}

/// However many keys may have signed a token: those that it names are tried first, then those for its algorithm alone.
#[test]
fn the_likeliest_keys_are_tried_first() {
    let (wrong, right) = (Signer::ed25519(), Signer::ed25519());
    let token = right.sign(Algorithm::EdDSA, Some("right"), &ann());
    let mut keys = vec![(&wrong, None); TOKEN_KEYS_TRIED_MAX];
    keys.push((&right, Some("right")));
    let keys = keys_of(Material::from_key_set(&key_set(&keys)).expect("keys"));
    assert!(keys.verify(&token, NOW_MS).is_ok());
    let count = |text: &str, which| keys.candidates(&Token::read(text).expect("a JWT"), which).count();
    assert_eq!(count(&token, Which::ALL), TOKEN_KEYS_TRIED_MAX as u32);
    assert_eq!(count(&token, Which::NONE), 0);
    assert_eq!(count(&Signer::p256().sign(Algorithm::ES256, None, &ann()), Which::ALL), 0, "of another kind");
    let signer = Signer::rsa();
    let mut set: Value = serde_json::from_str(&key_set(&vec![(signer, None); TOKEN_KEYS_TRIED_MAX + 1])).expect("JSON");
    for (place, key) in set["keys"].as_array_mut().expect("a list").iter_mut().enumerate() {
        match place {
            TOKEN_KEYS_TRIED_MAX => key["alg"] = json!("PS256"),
            // Another key of RSA: a byte in the middle of the modulus differs.
            _ => key["n"] = json!(key["n"].as_str().expect("text").replacen(['B', 'C', 'D'], "E", 1)),
        }
    }
    let keys = keys_of(Material::from_key_set(&set.to_string()).expect("keys"));
    assert!(keys.verify(&signer.sign(Algorithm::PS256, None, &ann()), NOW_MS).is_ok());
    assert_eq!(cause(&keys, &signer.sign(Algorithm::RS256, None, &ann())), Cause::Signature);
}

#[test]
fn keys_that_were_there_before_are_not_new() {
    let (one, two) = (Signer::p256(), Signer::rsa());
    let keys = |set: &[(&Signer, Option<&str>)]| keys_of(Material::from_key_set(&key_set(set)).expect("keys"));
    let before = keys(&[(&one, Some("1")), (two, None)]);
    assert_eq!(keys(&[(two, None), (&one, Some("1"))]).added_to(&before), Which::NONE);
    let same = Signer::one_of_each();
    let all = || same.iter().try_fold(Material::new(), |all, one| all.and(one.material())).expect("few");
    assert_eq!(keys_of(all()).added_to(&keys_of(all())), Which::NONE);
    let renamed = keys(&[(&one, Some("2")), (two, None)]);
    let token = one.sign(Algorithm::ES256, Some("2"), &ann());
    let added = renamed.added_to(&before);
    assert_ne!(added, Which::NONE);
    assert_eq!(renamed.candidates(&Token::read(&token).expect("a JWT"), added).count(), 1);
    assert_eq!(before.added_to(&keys_of(Material::new())), renamed.added_to(&keys_of(Material::new())));
}

#[test]
fn a_key_of_a_set_is_used_for_what_it_is_meant_for() {
    let signer = Signer::rsa();
    let set = |more: Value| {
        let mut set: Value = serde_json::from_str(&key_set(&[(signer, None)])).expect("JSON");
        set["keys"][0].as_object_mut().expect("a key").extend(more.as_object().expect("fields").clone());
        Material::from_key_set(&set.to_string())
    };
    for unused in [
        json!({"use": "enc"}),
        json!({"key_ops": ["encrypt"]}),
        json!({"alg": "RSA-OAEP"}),
        json!({"alg": "ES256"}),
        json!({"kty": "EC"}),
        json!({"n": "AQAB"}),
        json!({"n": 7}),
        json!({"kid": 7}),
    ] {
        assert!(set(unused.clone()).is_err(), "{unused}");
    }
    let narrow = keys_of(set(json!({"use": "sig", "key_ops": ["verify"], "alg": "PS384"})).expect("a key"));
    assert!(narrow.verify(&signer.sign(Algorithm::PS384, None, &ann()), NOW_MS).is_ok());
    assert_eq!(cause(&narrow, &signer.sign(Algorithm::RS256, None, &ann())), Cause::Algorithm);
    for no_set in ["", "[]", "{}", "null", r#"{"keys":{}}"#, r#"{"keys":[]}"#, r#"{"keys":[7,null,"x",{}]}"#] {
        assert!(Material::from_key_set(no_set).is_err(), "{no_set}");
    }
}

#[test]
fn pem_files_may_hold_several_keys_and_nothing_else() {
    let (one, two) = (Signer::p256(), Signer::p384());
    let text = format!("# keys\n{}\r\n\n{}trailing", one.pem().expect("public"), two.pem().expect("public"));
    let keys = keys_of(Material::from_pem(&text).expect("two keys"));
    assert_eq!(keys.count(), 2);
    for (signer, algorithm) in [(&one, Algorithm::ES256), (&two, Algorithm::ES384)] {
        assert!(keys.verify(&signer.sign(algorithm, Some("any"), &ann()), NOW_MS).is_ok());
    }
    let pem = one.pem().expect("public");
    for (text, words) in [
        (one.private_pem(), "holds a private key"),
        (pem.replace("PUBLIC KEY", "CERTIFICATE"), "holds a certificate"),
        (pem.replace("PUBLIC KEY", "DH PARAMETERS"), "not a public key"),
        (pem.replace("-----END", "----END"), "without an END line"),
        (pem.replace("MFk", "MFl"), "of another kind than RSA"),
        (String::new(), "no PEM block"),
        ("secret".into(), "no PEM block"),
    ] {
        let error = Material::from_pem(&text).expect_err(words).to_string();
        assert!(error.contains(words), "{words}: {error}");
    }
}
