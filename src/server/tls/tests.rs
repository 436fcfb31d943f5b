//! Pairs of files, right and wrong.

use std::fs;
use std::path::Path;

use rcgen::{CertificateParams, Issuer, KeyPair};

use super::*;

/// A folder of files in PEM.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Files {
        Files { folder: tempfile::tempdir().expect("a scratch directory") }
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("it can be written");
        path.display().to_string()
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn certificate(key: &KeyPair) -> String {
    let params = CertificateParams::new(vec!["localhost".into()]).expect("a valid name");
    params.self_signed(key).expect("a certificate").pem()
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn refused(certificate: &str, key: &str) -> (&'static str, String) {
    let mut wrong = TlsIdentity::load(certificate, key).expect_err("it is wrong");
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    let TlsMistake { key, text } = wrong.remove(0);
    (key, text)
}

#[test]
fn a_matching_pair_is_accepted() {
    let files = Files::new();
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let (cert, private) = (files.write("a.crt", certificate(&key)), files.write("a.key", key.serialize_pem()));
        let identity = TlsIdentity::load(&cert, &private).expect("they fit");
        assert_eq!(identity.config.alpn_protocols, [b"http/1.1"]);
        assert!(identity.is_same_as(&TlsIdentity::load(&cert, &private).expect("they fit")));
        assert!(identity.validity.ends_s > identity.validity.begins_s);
    }
}

#[test]
fn a_chain_is_valid_while_all_its_certificates_are() {
    let files = Files::new();
    let (authority_key, own_key) = (key(), key());
    let mut authority = CertificateParams::new(Vec::new()).expect("valid");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.not_after = rcgen::date_time_ymd(2030, 1, 1);
    let authority_pem = authority.self_signed(&authority_key).expect("a certificate").pem();
    let issuer = Issuer::new(authority, authority_key);
    let own = CertificateParams::new(vec!["localhost".into()]).expect("a valid name");
    let own_pem = own.signed_by(&own_key, &issuer).expect("a certificate").pem();
    let chain = files.write("chain.pem", format!("Its owner's notes\n{own_pem}{authority_pem}"));
    let private = files.write("own.key", own_key.serialize_pem());
    let identity = TlsIdentity::load(&chain, &private).expect("they fit");
    assert_eq!((identity.chain.len(), identity.validity.ends_s), (2, 1_893_456_000));
    let turned = files.write("turned.pem", authority_pem + &own_pem);
    let (at_fault, text) = refused(&turned, &private);
    assert_eq!(at_fault, "tls.key");
    assert!(text.contains("own.key\" does not belong to the certificate in ") && text.contains("turned.pem"), "{text}");
}

#[test]
fn byte_order_marks_are_skipped() {
    let files = Files::new();
    let (own, other) = (key(), key());
    let chain = files.write("a.crt", format!("\u{feff}{}\u{feff}{}", certificate(&own), certificate(&other)));
    let private = files.write("a.key", format!("\u{feff}{}", own.serialize_pem()));
    assert_eq!(TlsIdentity::load(&chain, &private).expect("they fit").chain.len(), 2);
}

#[test]
fn every_mistake_names_its_file() {
    let files = Files::new();
    let (own, other) = (key(), key());
    let good = (files.write("a.crt", certificate(&own)), files.write("a.key", own.serialize_pem()));
    let nowhere = files.path().join("none").display().to_string();
    let folder = files.path().display().to_string();
    let empty = files.write("empty.pem", "");
    let text = files.write("text.pem", "nothing of the kind");
    let binary = files.write("binary.pem", [0x30, 0x82, 0xff, 0x00]);
    let cut = files.write("cut.pem", &certificate(&own)[..200]);
    let body = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let no_certificate = files.write("no.crt", body);
    let others = files.write("other.key", other.serialize_pem());
    let encrypted = files
        .write("encrypted.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    let strange = files.write("strange.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    for (certificate, file, says) in [
        (&nowhere, "none", "cannot be read: No such file"),
        (&folder, folder.as_str(), "is a directory, not a file"),
        (&empty, "empty.pem", "holds no certificate"),
        (&text, "text.pem", "holds no certificate"),
        (&binary, "binary.pem", "holds no certificate"),
        (&cut, "cut.pem", "is damaged"),
        (&no_certificate, "no.crt", "certificate 1 of"),
        (&good.1, "a.key", "holds a private key and no certificate"),
    ] {
        let (at_fault, text) = refused(certificate, &good.1);
        assert_eq!(at_fault, "tls.certificate", "{text}");
        assert!(text.contains(file) && text.contains(says) && text.contains("it must be"), "{text}");
    }
    for (key, file, says) in [
        (&nowhere, "none", "cannot be read: No such file"),
        (&empty, "empty.pem", "holds no private key"),
        (&good.0, "a.crt", "holds no private key"),
        (&others, "other.key", "does not belong to the certificate in"),
        (&encrypted, "encrypted.key", "is encrypted"),
        (&strange, "strange.key", "holds a key that cannot be used"),
    ] {
        let (at_fault, text) = refused(&good.0, key);
        assert_eq!(at_fault, "tls.key", "{text}");
        assert!(text.contains(file) && text.contains(says) && text.contains("it must be"), "{text}");
        assert!(!text.contains("AAAA"), "nothing of a key is shown: {text}");
    }
    let both = TlsIdentity::load(&cut, &encrypted).expect_err("both are wrong");
    assert_eq!(both.iter().map(|wrong| wrong.key).collect::<Vec<_>>(), ["tls.certificate", "tls.key"]);
}
