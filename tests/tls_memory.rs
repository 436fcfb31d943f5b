//! The memory of an idle connection under TLS: the layer holds rustls's state and no buffer.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use roomring::engine::input::Input;
use roomring::io::tls::{Carrier, Tls};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};

const CONNECTIONS: u32 = 2_000;

/// Takes every send at once.
#[derive(Default)]
struct Wire(Vec<u8>);

impl Carrier for Wire {
    fn send(&mut self, _slot: u32, bytes: Bytes, _is_last: bool) {
        self.0.extend_from_slice(&bytes);
    }

    fn shutdown(&mut self, slot: u32) {
        panic!("slot {slot} goes on");
    }

    fn close(&mut self, slot: u32) {
        panic!("slot {slot} stays");
    }
}

/// A new client handshakes, sends a request and receives the answer; then it is idle.
fn connect(tls: &mut Tls, slot: u32, config: &Arc<ClientConfig>) {
    let name = ServerName::try_from("localhost").expect("valid");
    let mut client = ClientConnection::new(config.clone(), name).expect("a valid configuration");
    let mut wire = Wire::default();
    let mut heard = 0;
    tls.take(Input::Accepted { slot, peer: IpAddr::from([192, 0, 2, 1]) }, &mut |_, _| false);
    std::io::Write::write_all(&mut client.writer(), b"GET /ws HTTP/1.1").expect("it has room");
    while heard == 0 {
        let mut out = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut out).expect("memory takes everything");
        }
        let mut hear = |_, input: Input<'_>| {
            heard += usize::from(matches!(input, Input::Received { .. }));
            false
        };
        if !out.is_empty() {
            tls.take(Input::Received { slot, bytes: &mut out }, &mut hear);
        }
        while tls.step(&mut hear) {}
        tls.flush(&mut wire);
        while !wire.0.is_empty() {
            let sent = std::mem::take(&mut wire.0);
            client.read_tls(&mut sent.as_slice()).expect("memory gives everything");
            client.process_new_packets().expect("the server speaks TLS");
            tls.take(Input::Sent { slot }, &mut |_, _| false);
            tls.flush(&mut wire);
        }
    }
    assert!(!client.is_handshaking());
    tls.send(slot, Bytes::from_static(&[7; 16 * 1024]), false, &mut wire);
    tls.take(Input::Sent { slot }, &mut |_, _| false);
}

/// A new client starts its handshake and goes silent.
fn begin(tls: &mut Tls, slot: u32, hello: &[u8]) {
    let mut wire = Wire::default();
    tls.take(Input::Accepted { slot, peer: IpAddr::from([192, 0, 2, 1]) }, &mut |_, _| false);
    tls.take(Input::Received { slot, bytes: &mut hello.to_vec() }, &mut |_, _| false);
    while tls.step(&mut |_, _| false) {}
    tls.flush(&mut wire);
    assert!(!wire.0.is_empty(), "the server has answered");
    tls.take(Input::Sent { slot }, &mut |_, _| false);
}

fn resident_bytes() -> i64 {
    let status = std::fs::read_to_string("/proc/self/statm").expect("the kernel tells");
    status.split(' ').nth(1).and_then(|pages| pages.parse::<i64>().ok()).expect("a number of pages") * 4096
}

#[test]
fn an_idle_connection_holds_no_buffer() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a valid name");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("PKCS #8");
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a certificate");
    let provider = Arc::new(aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let server = server.expect("the provider has both").with_no_client_auth();
    let server = Arc::new(server.with_single_cert(vec![made.cert.der().clone()], key).expect("they belong together"));
    // None is freed before the end, so a change of resident memory is from new connections.
    let mut kept = Vec::new();
    for version in [&TLS12, &TLS13] {
        let client = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[version]);
        let client = Arc::new(client.expect("known").with_root_certificates(roots.clone()).with_no_client_auth());
        let mut tls = Tls::new(server.clone(), Arc::default());
        // Memory allocated once is allocated now.
        connect(&mut tls, 0, &client);
        let resident = resident_bytes();
        let counted =
            allocation_counter::measure(|| (1..=CONNECTIONS).for_each(|slot| connect(&mut tls, slot, &client)));
        let each = counted.bytes_current / i64::from(CONNECTIONS);
        let resident = (resident_bytes() - resident) / i64::from(CONNECTIONS);
        println!("{:?}: {each} bytes of heap, {resident} resident", version.version);
        assert_eq!(tls.held_bytes(), 0);
        kept.push(tls);
        assert!(each <= 6 * 1024, "{:?}: {each} bytes of heap", version.version);
        assert!(resident <= 10 * 1024, "{:?}: {resident} bytes resident", version.version);
        let name = ServerName::try_from("localhost").expect("valid");
        let mut hello = Vec::new();
        let mut asking = ClientConnection::new(client, name).expect("a valid configuration");
        asking.write_tls(&mut hello).expect("memory takes everything");
        let mut tls = Tls::new(server.clone(), Arc::default());
        let counted = allocation_counter::measure(|| (0..500).for_each(|slot| begin(&mut tls, slot, &hello)));
        let each = counted.bytes_current / 500;
        println!("{:?}: {each} bytes of heap in the middle of a handshake", version.version);
        assert!(each <= 12 * 1024, "{:?}: {each} bytes of heap in the middle of a handshake", version.version);
    }
}
