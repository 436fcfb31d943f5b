//! Records from sockets that speak TLS, or do not: whatever they say, each ends by itself and leaves nothing behind.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use roomring::base::counters::CoreCounters;
use roomring::engine::input::Input;
use roomring::io::tls::{Carrier, Tls};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};

use super::byte_of;

/// Records and messages at their beginnings.
pub const WORDS: &[&[u8]] = &[
    b"\x16\x03\x01\x40\0",
    b"\x16\x03\x03\0\x04\x10\0\0\0",
    b"\x14\x03\x03\0\x01\x01",
    b"\x15\x03\x03\0\x02\x02\x28",
    b"\x15\x03\x03\0\x02\x01\0",
    b"\x17\x03\x03\x48\0",
    b"\x01\0\x02\0\x03\x03",
    b"\0\x2b\0\x03\x02\x03\x04",
    b"GET / HTTP/1.1\r\n",
];

/// Of one server with its own certificate, and a client that trusts it. Made once: a key takes its time.
static ENDS: LazyLock<(Arc<ServerConfig>, Arc<ClientConfig>)> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a valid name");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("PKCS #8");
    let provider = Arc::new(aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let server = server.expect("the provider has both").with_no_client_auth();
    let server = server.with_single_cert(vec![made.cert.der().clone()], key).expect("they belong together");
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a certificate");
    let client = client.expect("the provider has both").with_root_certificates(roots).with_no_client_auth();
    (Arc::new(server), Arc::new(client))
});

/// The sockets below: what was asked of the only one.
#[derive(Default)]
struct Wire {
    sent: Vec<u8>,
    sending: bool,
    shut: bool,
    closed: bool,
}

impl Carrier for Wire {
    fn send(&mut self, _: u32, bytes: Bytes, _: bool) {
        assert!(!self.sending && !self.closed && !bytes.is_empty(), "one send at a time, before the close");
        self.sending = true;
        self.sent.extend_from_slice(&bytes);
    }

    fn shutdown(&mut self, _: u32) {
        assert!(!self.shut && !self.closed, "it ends once");
        self.shut = true;
    }

    fn close(&mut self, _: u32) {
        assert!(!self.closed, "it is closed once");
        self.closed = true;
    }
}

/// One socket over the layer, and an engine that lets go of whoever ends.
struct Server {
    tls: Tls,
    wire: Wire,
    let_go: bool,
    /// It is to be half-closed.
    shuts: bool,
    heard: usize,
}

impl Server {
    fn take(&mut self, input: Input<'_>) {
        let Self { tls, let_go, shuts, heard, .. } = self;
        tls.take(input, &mut |_, input| note(&input, (let_go, shuts), heard));
        self.finish_turn();
    }

    fn finish_turn(&mut self) {
        for _ in 0..100 {
            let Self { tls, let_go, shuts, heard, .. } = self;
            if !tls.step(&mut |_, input| note(&input, (let_go, shuts), heard)) {
                break;
            }
        }
        assert!(!self.tls.has_steps(), "handshakes come to an end");
    }

    /// Carries out what the turn came to; the kernel takes every send.
    fn carry_out(&mut self, closing: &mut bool) {
        if std::mem::take(&mut self.shuts) && !*closing {
            self.tls.shutdown(0, &mut self.wire);
        }
        if self.let_go && !std::mem::replace(closing, true) {
            self.tls.close(0, &mut self.wire);
        }
        self.tls.flush(&mut self.wire);
        while !self.wire.closed && std::mem::take(&mut self.wire.sending) {
            self.take(Input::Sent { slot: 0 });
            self.tls.flush(&mut self.wire);
        }
        if self.let_go && !std::mem::replace(closing, true) {
            self.tls.close(0, &mut self.wire);
        }
    }
}

fn note(input: &Input<'_>, (let_go, shuts): (&mut bool, &mut bool), heard: &mut usize) -> bool {
    assert!(!*let_go, "nothing is said about a slot that was let go of: {input:?}");
    match input {
        Input::Received { bytes, .. } => {
            assert!(!bytes.is_empty());
            *heard += bytes.len();
        }
        Input::Ended { .. } | Input::Disconnected { .. } => *let_go = true,
        Input::Broken { .. } => assert!(!std::mem::replace(shuts, true), "it breaks once"),
        _ => {}
    }
    *let_go
}

/// The first byte says how the rest is cut, and whether it comes behind a handshake.
pub fn run(input: &[u8]) {
    let (choice, rest) = byte_of(input);
    let counters = Arc::new(CoreCounters::default());
    let tls = Tls::new(ENDS.0.clone(), counters.clone());
    let mut server = Server { tls, wire: Wire::default(), let_go: false, shuts: false, heard: 0 };
    let mut closing = false;
    server.take(Input::Accepted { slot: 0, peer: IpAddr::V4(Ipv4Addr::LOCALHOST) });
    if choice & 0x80 != 0 {
        greet(&mut server, &mut closing);
    }
    for piece in rest.chunks(1 + usize::from(choice & 0x7f) * 40) {
        if server.wire.closed {
            break;
        }
        server.take(Input::Received { slot: 0, bytes: &mut piece.to_vec() });
        server.carry_out(&mut closing);
    }
    assert_eq!(server.heard, 0, "what nobody encrypted is not heard");
    if !server.wire.closed {
        server.take(Input::Ended { slot: 0 });
        server.carry_out(&mut closing);
    }
    assert!(server.wire.closed, "it ends");
    assert_eq!((server.tls.held_bytes(), counters.tls_handshaking.get()), (0, 0), "nothing is left");
}

/// A whole handshake, before which nothing is amiss.
fn greet(server: &mut Server, closing: &mut bool) {
    let name = ServerName::try_from("localhost").expect("valid");
    let mut client = ClientConnection::new(ENDS.1.clone(), name).expect("a valid configuration");
    while client.is_handshaking() {
        let mut out = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut out).expect("memory takes everything");
        }
        server.take(Input::Received { slot: 0, bytes: &mut out });
        server.carry_out(closing);
        let sent = std::mem::take(&mut server.wire.sent);
        let mut sent = &sent[..];
        while !sent.is_empty() {
            client.read_tls(&mut sent).expect("memory gives everything");
            client.process_new_packets().expect("the server speaks TLS");
        }
    }
    let mut out = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut out).expect("memory takes everything");
    }
    server.take(Input::Received { slot: 0, bytes: &mut out });
    server.carry_out(closing);
    assert!(!server.let_go, "they understand each other");
}

pub fn seeds() -> Vec<Vec<u8>> {
    let name = ServerName::try_from("localhost").expect("valid");
    let mut client = ClientConnection::new(ENDS.1.clone(), name).expect("a valid configuration");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("memory takes everything");
    let records = [
        hello.clone(),
        [&hello[..], b"\x14\x03\x03\0\x01\x01\x17\x03\x03\0\x05hello"].concat(),
        b"GET /ws HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        b"\x17\x03\x03\0\x20abcdefghijklmnopqrstuvwxyz012345\x15\x03\x03\0\x02\x01\0".to_vec(),
        b"\x80\x2e\x01\x03\x01\0\x15\0\0\0\x10".to_vec(),
    ];
    [0, 1, 0x7f, 0x85]
        .iter()
        .flat_map(|cut| records.iter().map(move |record| [&[*cut], &record[..]].concat()))
        .collect()
}
