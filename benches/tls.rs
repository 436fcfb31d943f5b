//! Cost of TLS on a core apart from the kernel's work: the server's part of a handshake, a send, a receive.

use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use roomring::engine::input::Input;
use roomring::io::tls::{Carrier, Tls};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedProtocolVersion};

fn main() {
    divan::main();
}

/// Takes every send at once.
#[derive(Default)]
struct Wire(Vec<Bytes>);

impl Carrier for Wire {
    fn send(&mut self, _slot: u32, bytes: Bytes, _is_last: bool) {
        self.0.push(bytes);
    }

    fn shutdown(&mut self, _slot: u32) {}

    fn close(&mut self, _slot: u32) {}
}

#[derive(Clone, Copy, Debug)]
enum Key {
    EcdsaP256,
    Rsa2048,
}

struct World {
    server: Arc<ServerConfig>,
    certificate: CertificateDer<'static>,
}

impl World {
    fn new(key: Key) -> World {
        let pair = match key {
            Key::EcdsaP256 => rcgen::KeyPair::generate(),
            Key::Rsa2048 => rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048),
        };
        let pair = pair.expect("a key");
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a valid name");
        let certificate = params.self_signed(&pair).expect("a certificate").der().clone();
        let key = PrivateKeyDer::try_from(pair.serialize_der()).expect("PKCS #8");
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("both").with_no_client_auth();
        let mut server = builder.with_single_cert(vec![certificate.clone()], key).expect("they belong together");
        server.ticketer = aws_lc_rs::Ticketer::new().expect("there is randomness");
        World { server: Arc::new(server), certificate }
    }

    fn client(&self, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a certificate");
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_protocol_versions(&[version]).expect("known");
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

fn connection(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from("localhost").expect("valid");
    ClientConnection::new(config.clone(), name).expect("a valid configuration")
}

fn output(client: &mut ClientConnection) -> Vec<u8> {
    let mut out = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut out).expect("memory takes everything");
    }
    out
}

/// One receive by the server and everything that follows from it.
fn receive(tls: &mut Tls, bytes: &mut [u8], wire: &mut Wire) {
    tls.take(Input::Received { slot: 0, bytes }, &mut |_, _| false);
    while tls.step(&mut |_, _| false) {}
    tls.flush(wire);
}

fn connect(tls: &mut Tls, config: &Arc<ClientConfig>) -> ClientConnection {
    let (mut client, mut wire) = (connection(config), Wire::default());
    tls.take(Input::Accepted { slot: 0, peer: IpAddr::from([192, 0, 2, 1]) }, &mut |_, _| false);
    loop {
        let mut out = output(&mut client);
        if out.is_empty() {
            return client;
        }
        receive(tls, &mut out, &mut wire);
        for bytes in std::mem::take(&mut wire.0) {
            client.read_tls(&mut &bytes[..]).expect("memory gives everything");
            client.process_new_packets().expect("the server speaks TLS");
            tls.take(Input::Sent { slot: 0 }, &mut |_, _| false);
        }
    }
}

fn handshake(bencher: Bencher<'_, '_>, world: &World, config: &Arc<ClientConfig>) {
    let input = || {
        let mut tls = Tls::new(world.server.clone(), Arc::default());
        tls.take(Input::Accepted { slot: 0, peer: IpAddr::from([192, 0, 2, 1]) }, &mut |_, _| false);
        (tls, output(&mut connection(config)), Wire::default())
    };
    bencher.with_inputs(input).bench_local_values(|(mut tls, mut hello, mut wire)| {
        receive(&mut tls, &mut hello, &mut wire);
        (tls, wire)
    });
}

/// The answer to a first message: key exchange and signature.
#[divan::bench(args = [Key::EcdsaP256, Key::Rsa2048])]
fn full_handshake(bencher: Bencher<'_, '_>, key: Key) {
    let world = World::new(key);
    handshake(bencher, &world, &world.client(&TLS13));
}

/// The same without a signature.
#[divan::bench]
fn resumed_handshake(bencher: Bencher<'_, '_>) {
    let world = World::new(Key::EcdsaP256);
    let config = world.client(&TLS13);
    let ticket = || drop(connect(&mut Tls::new(world.server.clone(), Arc::default()), &config));
    let input = || {
        ticket();
        let mut tls = Tls::new(world.server.clone(), Arc::default());
        tls.take(Input::Accepted { slot: 0, peer: IpAddr::from([192, 0, 2, 1]) }, &mut |_, _| false);
        (tls, output(&mut connection(&config)), Wire::default())
    };
    bencher.with_inputs(input).bench_local_values(|(mut tls, mut hello, mut wire)| {
        receive(&mut tls, &mut hello, &mut wire);
        (tls, wire)
    });
}

#[divan::bench(args = [200, 1_024, 16 * 1_024])]
fn send(bencher: Bencher<'_, '_>, size: usize) {
    let world = World::new(Key::EcdsaP256);
    let mut tls = Tls::new(world.server.clone(), Arc::default());
    connect(&mut tls, &world.client(&TLS13));
    let plain = Bytes::from(vec![7; size]);
    let mut wire = Wire::default();
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        tls.send(0, plain.clone(), false, &mut wire);
        black_box(&wire.0);
        wire.0.clear();
        tls.take(Input::Sent { slot: 0 }, &mut |_, _| false);
    });
}

#[divan::bench(args = [&TLS12, &TLS13])]
fn receive_200(bencher: Bencher<'_, '_>, version: &'static SupportedProtocolVersion) {
    let world = World::new(Key::EcdsaP256);
    let mut tls = Tls::new(world.server.clone(), Arc::default());
    let mut client = connect(&mut tls, &world.client(version));
    let input = || {
        client.writer().write_all(&[7; 200]).expect("it has room");
        output(&mut client)
    };
    // One at a time, since each record is the next of its connection.
    bencher.with_inputs(input).input_counter(|_| BytesCount::new(200_usize)).bench_local_values(|mut record| {
        tls.take(Input::Received { slot: 0, bytes: &mut record }, &mut |_, input| {
            black_box(input);
            false
        });
    });
}
