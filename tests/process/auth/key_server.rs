//! A tiny identity provider: publishes a key set over HTTP, changes it, and fails when told to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ED25519};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::claims;

/// A key with its id, if it has one, which signs.
pub struct Key {
    pair: KeyPair,
    id: Option<&'static str>,
}

impl Key {
    pub fn new(id: &'static str) -> Self {
        Self { id: Some(id), ..Self::unnamed() }
    }

    /// Neither its tokens nor the set say which key it is.
    pub fn unnamed() -> Self {
        Self { pair: KeyPair::generate_for(&PKCS_ED25519).expect("a key"), id: None }
    }

    pub fn pem(&self) -> String {
        self.pair.public_key_pem()
    }

    pub fn token(&self, user: &str) -> String {
        let header = Header { kid: self.id.map(str::to_owned), ..Header::new(Algorithm::EdDSA) };
        let key = EncodingKey::from_ed_pem(self.pair.serialize_pem().as_bytes()).expect("its own key");
        encode(&header, &claims(user, 600, json!({})), &key).expect("signed")
    }
}

pub fn key_set(keys: &[&Key]) -> String {
    let jwk = |key: &&Key| -> Value {
        let x = BASE64.encode(key.pair.public_key_raw());
        let mut jwk = json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "x": x});
        if let Some(id) = key.id {
            jwk["kid"] = json!(id);
        }
        jwk
    };
    json!({"keys": keys.iter().map(jwk).collect::<Vec<_>>()}).to_string()
}

/// A request head that fits into one read is all that is ever sent here.
fn exchange(stream: &mut (impl Read + Write), answer: &str) {
    let _ = stream.read(&mut [0; 4096]);
    let _ = stream.write_all(answer.as_bytes());
}

/// Serves until the process ends.
pub struct KeyServer {
    pub address: SocketAddr,
    answer: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl KeyServer {
    pub fn start(keys: &[&Key]) -> Self {
        Self::start_with(keys, None)
    }

    /// Over TLS, with a certificate for 127.0.0.1 that is given back in PEM.
    pub fn start_tls(keys: &[&Key]) -> (Self, String) {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key);
        (Self::start_with(keys, Some(Arc::new(config.expect("fits together")))), made.cert.pem())
    }

    fn start_with(keys: &[&Key], tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let server = Self {
            address: listener.local_addr().expect("it is bound"),
            answer: Arc::default(),
            asked: Arc::default(),
        };
        server.publish(keys);
        let (answer, asked) = (server.answer.clone(), server.asked.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                asked.fetch_add(1, Ordering::SeqCst);
                let answer = answer.lock().expect("no writer panics").clone();
                match &tls {
                    None => exchange(&mut stream, &answer),
                    Some(config) => {
                        let connection = ServerConnection::new(config.clone()).expect("a good configuration");
                        let mut stream = StreamOwned::new(connection, stream);
                        exchange(&mut stream, &answer);
                        stream.conn.send_close_notify();
                        let _ = stream.flush();
                    }
                }
            }
        });
        server
    }

    pub fn tls_setting(&self) -> String {
        format!("auth.jwks=https://{}/keys.json", self.address)
    }

    pub fn setting(&self) -> String {
        format!("auth.jwks=http://{}/keys.json", self.address)
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub fn publish(&self, keys: &[&Key]) {
        self.say("200 OK", &key_set(keys));
    }

    pub fn fail(&self) {
        self.say("500 Internal Server Error", "out of order");
    }

    pub fn say(&self, status: &str, body: &str) {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        *self.answer.lock().expect("no writer panics") = answer;
    }
}
