//! TLS on the data address: handshakes, chat, resumption, renewal by SIGHUP, and invalid input (OPERATIONS,
//! "Configuration").

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned, SupportedProtocolVersion};
use serde_json::json;

use crate::client::{Arrived, Client, Stream};
use crate::command_line::{assert_failed, run};
use crate::http;
use crate::server::{PATIENCE, Server, eventually, program, scratch};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A pair of files that the server is shown.
pub struct Pair {
    certificate: PathBuf,
    key: PathBuf,
}

impl Pair {
    /// A new certificate in files of this name.
    pub fn write(name: &str) -> (Pair, CertificateDer<'static>) {
        let folder = scratch("tls");
        let pair = Pair { certificate: folder.join(format!("{name}.crt")), key: folder.join(format!("{name}.key")) };
        let der = pair.renew();
        (pair, der)
    }

    /// Another certificate in the same files.
    fn renew(&self) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a valid name");
        std::fs::write(&self.certificate, made.cert.pem()).expect("it can be written");
        std::fs::write(&self.key, made.signing_key.serialize_pem()).expect("it can be written");
        made.cert.der().clone()
    }

    pub fn settings(&self) -> [String; 2] {
        [format!("tls.certificate={}", self.certificate.display()), format!("tls.key={}", self.key.display())]
    }
}

/// A server with a certificate of its own, and what its clients go by.
pub fn start(name: &str, more: &[&str]) -> (Server, Pair, CertificateDer<'static>) {
    let (pair, der) = Pair::write(name);
    let [certificate, key] = pair.settings();
    let settings = [&[certificate.as_str(), key.as_str()], more].concat();
    (Server::start(&settings), pair, der)
}

pub fn trusting(der: &CertificateDer<'static>, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(der.clone()).expect("a certificate");
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_protocol_versions(&[version]).expect("known");
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// A stream whose handshake is complete, or why it is not.
pub fn handshake(server: &Server, config: &Arc<ClientConfig>) -> std::io::Result<TlsStream> {
    let name = ServerName::try_from("localhost").expect("valid");
    let mut tls = ClientConnection::new(config.clone(), name).expect("a valid configuration");
    let mut stream = http::open(server.listen);
    while tls.is_handshaking() {
        tls.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(tls, stream))
}

/// A stream whose client knows all that it needs and has not sent its last flight.
pub fn handshake_but_last_flight(server: &Server, config: &Arc<ClientConfig>) -> TlsStream {
    let name = ServerName::try_from("localhost").expect("valid");
    let mut tls = ClientConnection::new(config.clone(), name).expect("a valid configuration");
    let mut stream = http::open(server.listen);
    while tls.is_handshaking() {
        while tls.wants_write() {
            tls.write_tls(&mut stream).expect("the server reads");
        }
        tls.read_tls(&mut stream).expect("the server answers");
        tls.process_new_packets().expect("the server speaks TLS");
    }
    StreamOwned::new(tls, stream)
}

pub fn connect(server: &Server, config: &Arc<ClientConfig>, user: &str) -> Client {
    let stream = Stream::Tls(Box::new(handshake(server, config).expect("the handshake completes")));
    let mut client = Client::over(stream, server.listen, &format!("/ws?user={user}"), None);
    client.welcome = client.expect("welcome");
    client
}

pub fn tls_of(client: &mut Client) -> &mut TlsStream {
    match client.over_what() {
        Stream::Tls(stream) => stream,
        Stream::Plain(_) => unreachable!("every client of these tests speaks TLS"),
    }
}

fn chat(one: &mut Client, other: &mut Client, text: &str) {
    let seq = one.publish("lobby", json!(text));
    for client in [one, other] {
        let message = &client.messages("lobby", 1)[0];
        assert_eq!((&message["seq"], &message["data"]), (&json!(seq), &json!(text)));
    }
}

#[test]
fn members_chat_over_both_versions() {
    let (server, _, der) = start("chat", &["server.cores=2"]);
    let (mut old, mut new) =
        (connect(&server, &trusting(&der, &TLS12), "old"), connect(&server, &trusting(&der, &TLS13), "new"));
    for (client, version) in [(&mut old, TLS12.version), (&mut new, TLS13.version)] {
        assert_eq!(tls_of(client).conn.protocol_version(), Some(version));
        client.join("lobby");
    }
    for round in 0..50 {
        chat(&mut old, &mut new, &format!("round {round}"));
    }
    // Longer than a record, and a reply longer than a send.
    let long = "x".repeat(40_000);
    for _ in 0..20 {
        chat(&mut new, &mut old, &long);
    }
    let history = old.request(json!({"type": "history", "room": "lobby", "limit": 20}));
    assert!(history["messages"].as_array().expect("messages").iter().all(|message| message["data"] == json!(long)));
    assert_eq!(server.metric("roomring_tls_handshakes_total", ""), 2.0);
    assert_eq!(server.metric("roomring_tls_handshaking", ""), 0.0);
    assert!(server.metric("roomring_tls_certificate_expiry_timestamp_seconds", "") > 1.7e9);
    old.close();
    new.close();
    server.wait_until_empty();
}

#[test]
fn the_end_is_announced_by_close_notify() {
    for version in VERSIONS {
        let (mut server, _, der) = start(&format!("end{:?}", version.version), &[]);
        let config = trusting(&der, version);
        // After an answer of HTTP, after a closing handshake, after a drain.
        let mut stream = handshake(&server, &config).expect("the handshake completes");
        write!(stream, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an end without a close_notify would be an error");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(r#"{"status":"ok"}"#), "{answer}");
        let mut client = connect(&server, &config, "asks");
        client.send_message(tungstenite::Message::Close(None));
        assert!(matches!(client.next(), Arrived::Close(_)));
        assert_eq!(tls_of(&mut client).read(&mut [0; 16]).expect("a close_notify"), 0);
        let mut client = connect(&server, &config, "stays");
        client.join("lobby");
        server.signal("TERM");
        assert_eq!(client.expect("reconnect")["reason"], "draining");
        assert_eq!(client.close_code(), 1012);
        client.wait_for("the end", |arrived| *arrived == Arrived::End);
        assert_eq!(tls_of(&mut client).read(&mut [0; 16]).expect("a close_notify"), 0);
        assert_eq!(server.wait().code(), Some(0));
    }
}

#[test]
fn the_application_protocol_is_http_1_1() {
    let (server, _, der) = start("alpn", &[]);
    for (offered, agreed) in [(vec!["http/1.1"], true), (vec!["h2", "http/1.1"], true), (vec!["h2"], false)] {
        let mut config = (*trusting(&der, &TLS13)).clone();
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        match handshake(&server, &Arc::new(config)) {
            Ok(stream) if agreed => assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..])),
            Err(error) if !agreed => {
                assert!(error.to_string().contains("NoApplicationProtocol"), "the alert arrives: {error}")
            }
            other => panic!("{offered:?}: {other:?}"),
        }
    }
}

#[test]
fn sessions_are_resumed_whatever_core_they_come_to() {
    let (server, _, der) = start("resumption", &["server.cores=2"]);
    for (version, expected) in VERSIONS.into_iter().zip([9.0, 18.0]) {
        let config = trusting(&der, version);
        for round in 0..10 {
            let mut client = connect(&server, &config, "again");
            let kind = tls_of(&mut client).conn.handshake_kind();
            assert_eq!(kind == Some(HandshakeKind::Resumed), round > 0, "{round}: {kind:?}");
            client.close();
        }
        assert_eq!(server.metric("roomring_tls_resumed_total", ""), expected);
    }
}

/// Whether a new client that trusts this certificate gets through.
fn is_served_with(server: &Server, der: &CertificateDer<'static>) -> bool {
    match handshake(server, &trusting(der, &TLS13)) {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::InvalidData => false,
        Err(error) => panic!("neither served nor refused: {error}"),
    }
}

#[test]
fn a_hang_up_renews_the_certificate_and_keeps_the_connections() {
    let (server, pair, old) = start("renewal", &["server.cores=2"]);
    let config = trusting(&old, &TLS13);
    let (mut one, mut other) = (connect(&server, &config, "one"), connect(&server, &config, "other"));
    one.join("lobby");
    other.join("lobby");
    let new = pair.renew();
    assert!(is_served_with(&server, &old), "nobody has asked for a reload");
    server.signal("HUP");
    // Each core takes it in its own turn: several in a row have met both.
    eventually("the new certificate is shown", || is_served_with(&server, &new).then_some(()));
    eventually("every core shows it", || (0..8).all(|_| is_served_with(&server, &new)).then_some(()));
    assert!(server.stderr.get().contains("TLS certificate replaced"), "{}", server.stderr.get());
    chat(&mut one, &mut other, "still here");
    // A ticket of the old one does not hide the new one.
    assert!(handshake(&server, &config).is_err(), "what a client trusted is not resumed");
}

#[test]
fn a_bad_renewal_changes_nothing_and_says_so() {
    let (server, pair, old) = start("refusal", &[]);
    let mut there = connect(&server, &trusting(&old, &TLS13), "there");
    there.join("lobby");
    let good_key = std::fs::read(&pair.key).expect("it is there");
    let good_certificate = std::fs::read(&pair.certificate).expect("it is there");
    for (round, says) in
        ["does not belong to the certificate", "holds no private key", "cannot be read"].iter().enumerate()
    {
        match round {
            0 => pair.renew_key_only(),
            1 => std::fs::write(&pair.key, "none").expect("it can be written"),
            _ => std::fs::remove_file(&pair.certificate).expect("it can be removed"),
        }
        server.signal("HUP");
        let line = eventually("the mistake is logged", || {
            let log = server.stderr.get();
            log.lines().find(|line| line.contains(says)).map(str::to_owned)
        });
        assert!(line.contains("keeping the previous configuration") && line.contains("refusal."), "{line}");
        assert!(is_served_with(&server, &old), "round {round}");
    }
    std::fs::write(&pair.certificate, good_certificate).expect("it can be written");
    std::fs::write(&pair.key, good_key).expect("it can be written");
    there.publish("lobby", json!("still here"));
    let new = pair.renew();
    server.signal("HUP");
    eventually("a good pair is taken after all", || is_served_with(&server, &new).then_some(()));
}

impl Pair {
    /// A key that belongs to another certificate.
    fn renew_key_only(&self) {
        let key = rcgen::KeyPair::generate().expect("a key");
        std::fs::write(&self.key, key.serialize_pem()).expect("it can be written");
    }
}

#[test]
fn turning_tls_on_waits_for_the_next_start() {
    let (pair, der) = Pair::write("switch");
    let file = scratch("tls").join("switch.toml");
    std::fs::write(&file, "").expect("it can be written");
    let mut command = program();
    command.arg("--config").arg(&file).args(["--set", "server.cores=1", "--set", "server.pin=false"]);
    let server = Server::spawn(command);
    let table = format!("[tls]\ncertificate = {:?}\nkey = {:?}\n", pair.certificate, pair.key);
    std::fs::write(&file, table).expect("it can be written");
    server.signal("HUP");
    let line = eventually("the reload is logged", || {
        let log = server.stderr.get();
        log.lines().find(|line| line.contains("configuration reloaded")).map(str::to_owned)
    });
    assert!(line.contains(r#""needs_restart":"tls.certificate,tls.key""#), "{line}");
    Client::connect(&server, "plain").close();
    assert!(handshake(&server, &trusting(&der, &TLS13)).is_err());
}

#[test]
fn what_is_not_tls_gets_an_answer_and_an_end() {
    let (server, _, der) = start("garbage", &[]);
    let mut healthy = connect(&server, &trusting(&der, &TLS13), "healthy");
    let answer = http::get(server.listen, "/health");
    assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some("bad_request")), "{answer:?}");
    assert!(answer.body.contains("TLS"), "{answer:?}");
    for garbage in [vec![0; 300], vec![0xff; 100_000]] {
        let mut stream = http::open(server.listen);
        let _ = stream.write_all(&garbage);
        let received = http::read_to_end(&mut stream);
        assert_eq!(received.first(), Some(&21), "an alert: {received:?}");
    }
    healthy.join("lobby");
    eventually("all are counted", || (server.metric("roomring_tls_handshakes_failed_total", "") == 3.0).then_some(()));
    assert_eq!(server.metric("roomring_tls_handshaking", ""), 0.0);
}

/// The first message of a handshake.
pub fn hello(config: &Arc<ClientConfig>) -> Vec<u8> {
    let name = ServerName::try_from("localhost").expect("valid");
    let mut tls = ClientConnection::new(config.clone(), name).expect("a valid configuration");
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).expect("memory takes everything");
    hello
}

#[test]
fn stalled_handshakes_end_and_hinder_nobody() {
    let (server, _, der) = start("stalled", &[]);
    let config = trusting(&der, &TLS13);
    let (mut one, mut other) = (connect(&server, &config, "one"), connect(&server, &config, "other"));
    one.join("lobby");
    other.join("lobby");
    let hello = hello(&config);
    let began = Instant::now();
    let mut stalled: Vec<TcpStream> = (0..300)
        .map(|round| {
            let mut stream = http::open(server.listen);
            // Silent, in the middle of the first message, and after it.
            let part = [0, 1, 100, hello.len()][round % 4];
            stream.write_all(&hello[..part]).expect("it is sent");
            stream
        })
        .collect();
    eventually("all are there", || (server.metric("roomring_tls_handshaking", "") == 300.0).then_some(()));
    chat(&mut one, &mut other, "among them");
    connect(&server, &config, "newcomer").close();
    for stream in &mut stalled {
        http::read_to_end(stream);
    }
    let waited = began.elapsed();
    assert!(waited >= Duration::from_secs(9) && waited < Duration::from_secs(10) + PATIENCE, "{waited:?}");
    chat(&mut one, &mut other, "without them");
    eventually("nothing is left", || (server.metric("roomring_tls_handshaking", "") == 0.0).then_some(()));
}

#[test]
fn a_flood_of_handshakes_leaves_the_others_their_turn() {
    let (server, _, der) = start("flood", &[]);
    let config = trusting(&der, &TLS13);
    let (mut one, mut other) = (connect(&server, &config, "one"), connect(&server, &config, "other"));
    one.join("lobby");
    other.join("lobby");
    let hello = hello(&config);
    let flood: Vec<TcpStream> = (0..2_000)
        .map(|_| {
            let mut stream = http::open(server.listen);
            stream.write_all(&hello).expect("it is sent");
            stream
        })
        .collect();
    // Each round is answered in a turn of its own, however many handshakes wait.
    for round in 0..20 {
        chat(&mut one, &mut other, &format!("round {round}"));
    }
    drop(flood);
    eventually("nothing is left", || (server.metric("roomring_tls_handshaking", "") == 0.0).then_some(()));
    connect(&server, &config, "newcomer").close();
}

#[test]
fn check_config_names_the_files_at_fault() {
    let (pair, _) = Pair::write("check");
    let [certificate, key] = pair.settings();
    let fine = run(&["check-config", "--set", &certificate, "--set", &key]);
    assert_eq!(fine.code, 0, "{fine:?}");
    let alone = run(&["check-config", "--set", &certificate]);
    assert_failed(&alone, 2, &["tls.key", "is empty"]);
    pair.renew_key_only();
    let mismatch = run(&["check-config", "--set", &certificate, "--set", &key]);
    assert_failed(&mismatch, 2, &["--set tls.key", "check.key", "does not belong to", "check.crt"]);
    std::fs::write(&pair.key, "").expect("it can be written");
    std::fs::remove_file(&pair.certificate).expect("it can be removed");
    for command in ["check-config", "serve"] {
        let both = run(&[command, "--set", &certificate, "--set", &key]);
        assert_failed(
            &both,
            2,
            &["tls.certificate", "check.crt", "No such file", "tls.key", "check.key", "no private key"],
        );
    }
}

#[test]
fn a_certificate_that_ends_soon_is_warned_of() {
    let (pair, _) = Pair::write("expiry");
    for (year, says) in [(2020, "the TLS certificate has expired"), (2049, "")] {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".into()]).expect("a valid name");
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        std::fs::write(&pair.certificate, certificate.pem()).expect("it can be written");
        std::fs::write(&pair.key, key.serialize_pem()).expect("it can be written");
        let [certificate, key] = pair.settings();
        let mut server = Server::start(&[&certificate, &key]);
        server.signal("TERM");
        assert_eq!(server.wait().code(), Some(0));
        let log = server.stderr.get();
        assert_eq!(log.contains("WARN"), !says.is_empty(), "{log}");
        assert!(log.contains(says), "{log}");
    }
}
