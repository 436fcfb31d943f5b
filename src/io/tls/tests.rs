//! TLS between sockets in memory and an engine that records its inputs, against rustls's own client.

mod ends;
mod handshakes;
#[path = "../../../tests/support/random.rs"]
mod random;
mod traffic;

use std::io::{Read, Write};
use std::net::IpAddr;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

use super::*;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A certificate, with the configurations of clients and servers.
struct TestCertificate {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl TestCertificate {
    fn new() -> TestCertificate {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a valid name");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("PKCS #8");
        TestCertificate { certificate: made.cert.der().clone(), key }
    }

    fn server(&self) -> Arc<ServerConfig> {
        self.server_with(aws_lc_rs::default_provider())
    }

    fn server_with(&self, provider: CryptoProvider) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions();
        let builder = builder.expect("the provider has both").with_no_client_auth();
        let made = builder.with_single_cert(vec![self.certificate.clone()], self.key.clone_key());
        let mut config = made.expect("they belong together");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = aws_lc_rs::Ticketer::new().expect("there is randomness");
        Arc::new(config)
    }

    fn client(&self, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a certificate");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]);
        Arc::new(builder.expect("known").with_root_certificates(roots).with_no_client_auth())
    }
}

/// A client in memory.
struct MemoryClient {
    tls: ClientConnection,
    /// Decrypted bytes.
    heard: Vec<u8>,
    /// The server has ended its stream by close_notify.
    ended: bool,
}

impl MemoryClient {
    fn new(config: &Arc<ClientConfig>) -> MemoryClient {
        let name = ServerName::try_from("localhost").expect("valid");
        let tls = ClientConnection::new(config.clone(), name).expect("a valid configuration");
        MemoryClient { tls, heard: Vec::new(), ended: false }
    }

    fn say(&mut self, plain: &[u8]) {
        self.tls.writer().write_all(plain).expect("it has room");
    }

    /// Takes all pending output.
    fn take_output(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut out).expect("memory takes everything");
        }
        out
    }

    fn hear(&mut self, mut bytes: &[u8]) -> Result<(), rustls::Error> {
        while !bytes.is_empty() {
            self.tls.read_tls(&mut bytes).expect("memory gives everything");
            let state = self.tls.process_new_packets()?;
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            self.tls.reader().read_exact(&mut plain).expect("it is there");
            self.heard.extend_from_slice(&plain);
            self.ended |= state.peer_has_closed();
        }
        Ok(())
    }
}

/// Requests to the sockets that no test has looked at.
#[derive(Default)]
struct Wire {
    sends: VecDeque<(u32, Bytes, bool)>,
    shutdowns: Vec<u32>,
    closes: Vec<u32>,
    sends_made: usize,
}

impl Carrier for Wire {
    fn send(&mut self, slot: u32, bytes: Bytes, is_last: bool) {
        assert!(!bytes.is_empty(), "a send has bytes");
        assert!(self.sends.iter().all(|(other, ..)| *other != slot), "a slot has one send in flight");
        assert!(!self.closes.contains(&slot), "slot {slot} is closed");
        self.sends.push_back((slot, bytes, is_last));
        self.sends_made += 1;
    }

    fn shutdown(&mut self, slot: u32) {
        assert!(!self.closes.contains(&slot) && !self.shutdowns.contains(&slot), "slot {slot} ends once");
        self.shutdowns.push(slot);
    }

    fn close(&mut self, slot: u32) {
        assert!(!self.closes.contains(&slot), "slot {slot} is closed once");
        self.closes.push(slot);
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ToldInput {
    Accepted,
    Received(Vec<u8>),
    Sent,
    Ended,
    Broken,
    Disconnected,
}

/// TLS of one core, with sockets and engine around it.
struct Server {
    tls: Tls,
    wire: Wire,
    told: Vec<(u32, ToldInput)>,
    engine: FakeEngine,
    counters: Arc<CoreCounters>,
}

/// The output of an engine in response to its inputs.
#[derive(Default)]
struct FakeEngine {
    /// Slots closed in this turn.
    let_go: Vec<u32>,
    /// Slots half-closed in this turn.
    shuts: Vec<u32>,
    /// Answers peers that have ended their streams.
    owes_answers: bool,
}

impl FakeEngine {
    /// Records an input. Returns whether the engine closes the slot in response.
    fn hear(&mut self, slot: u32, input: Input<'_>, told: &mut Vec<(u32, ToldInput)>) -> bool {
        assert!(!self.let_go.contains(&slot), "input for a closed slot: {input:?}");
        let what = match input {
            Input::Accepted { .. } => ToldInput::Accepted,
            Input::Received { bytes, .. } => {
                assert!(!bytes.is_empty());
                ToldInput::Received(bytes.to_vec())
            }
            Input::Sent { .. } => ToldInput::Sent,
            Input::Ended { .. } => ToldInput::Ended,
            Input::Broken { .. } => ToldInput::Broken,
            Input::Disconnected { .. } => ToldInput::Disconnected,
            other => panic!("sockets never produce {other:?}"),
        };
        let ends = what == ToldInput::Disconnected || (what == ToldInput::Ended && !self.owes_answers);
        if what == ToldInput::Broken {
            self.shuts.push(slot);
        }
        told.push((slot, what));
        if ends {
            self.let_go.push(slot);
        }
        ends
    }
}

impl Server {
    fn new(config: Arc<ServerConfig>) -> Server {
        let counters = Arc::new(CoreCounters::default());
        let tls = Tls::new(config, counters.clone());
        Server { tls, wire: Wire::default(), told: Vec::new(), engine: FakeEngine::default(), counters }
    }

    fn take(&mut self, input: Input<'_>) {
        let Server { tls, told, engine, .. } = self;
        tls.take(input, &mut |slot, input| engine.hear(slot, input, told));
    }

    fn accept(&mut self, slot: u32) {
        self.take(Input::Accepted { slot, peer: IpAddr::from([192, 0, 2, 1]) });
    }

    /// Receives bytes in one piece.
    fn receive(&mut self, slot: u32, bytes: &[u8]) {
        self.take(Input::Received { slot, bytes: &mut bytes.to_vec() });
    }

    fn step(&mut self) -> bool {
        let Server { tls, told, engine, .. } = self;
        tls.step(&mut |slot, input| engine.hear(slot, input, told))
    }

    /// Ends a turn as the pump does.
    fn finish_turn(&mut self) {
        while self.step() {}
        self.carry_out();
    }

    fn carry_out(&mut self) {
        for slot in std::mem::take(&mut self.engine.shuts) {
            self.tls.shutdown(slot, &mut self.wire);
        }
        for slot in std::mem::take(&mut self.engine.let_go) {
            self.tls.close(slot, &mut self.wire);
        }
        self.tls.flush(&mut self.wire);
    }

    /// Sends bytes of the engine.
    fn send(&mut self, slot: u32, bytes: &[u8], is_last: bool) {
        self.tls.send(slot, Bytes::copy_from_slice(bytes), is_last, &mut self.wire);
    }

    /// Closes a slot by decision of the engine.
    fn close(&mut self, slot: u32) {
        self.engine.let_go.push(slot);
        self.carry_out();
    }

    /// Completes the send in flight of a slot. Returns its bytes.
    fn take_send(&mut self, slot: u32) -> Option<Bytes> {
        let at = self.wire.sends.iter().position(|(its, ..)| *its == slot)?;
        let (_, bytes, _) = self.wire.sends.remove(at).expect("it is there");
        if !self.wire.closes.contains(&slot) {
            self.take(Input::Sent { slot });
            self.finish_turn();
        }
        Some(bytes)
    }

    fn received(&self, slot: u32) -> Vec<u8> {
        let of_slot = self.told.iter().filter(|(its, _)| *its == slot);
        of_slot
            .flat_map(|(_, told)| if let ToldInput::Received(bytes) = told { bytes.clone() } else { Vec::new() })
            .collect()
    }

    fn count_told(&self, slot: u32, what: &ToldInput) -> usize {
        self.told.iter().filter(|(its, told)| *its == slot && told == what).count()
    }

    /// Accepts a client and completes its handshake.
    fn connect(&mut self, slot: u32, config: &Arc<ClientConfig>) -> MemoryClient {
        let mut client = MemoryClient::new(config);
        self.accept(slot);
        self.talk(slot, &mut client);
        assert!(!client.tls.is_handshaking(), "the handshake completes");
        client
    }

    fn talk(&mut self, slot: u32, client: &mut MemoryClient) {
        loop {
            let output = client.take_output();
            let is_quiet = output.is_empty();
            // Pieces as a ring's buffers produce them.
            for piece in output.chunks(2_048) {
                self.receive(slot, piece);
            }
            self.finish_turn();
            let mut was_quiet = true;
            while let Some(bytes) = self.take_send(slot) {
                client.hear(&bytes).expect("the server sends TLS");
                was_quiet = false;
            }
            if is_quiet && was_quiet {
                return;
            }
        }
    }

    /// Asserts that no state is left.
    fn assert_empty(&self) {
        assert!(self.tls.entries.iter().all(|entry| matches!(entry, TlsSlot::Free)), "every slot is free");
        assert_eq!((self.tls.held_bytes(), self.tls.handshaking), (0, 0));
        assert_eq!(self.counters.tls_handshaking.get(), 0);
    }
}

/// The record types and lengths of finished records.
fn records(mut bytes: &[u8]) -> Vec<(u8, usize)> {
    let mut records = Vec::new();
    while let [kind, _, _, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        records.push((*kind, length));
        bytes = &rest[length..];
    }
    assert!(bytes.is_empty(), "whole records");
    records
}
