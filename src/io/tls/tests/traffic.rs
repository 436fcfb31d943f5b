//! Open connections: records in pieces, sends of any size, key updates, bounds on memory.

use rustls::SupportedCipherSuite;

use super::*;
use crate::base::limits::{SEND_BYTES_MAX, TLS_RECORD_BYTES_MAX};

#[test]
fn records_split_at_every_byte_arrive_whole() {
    let certificate = TestCertificate::new();
    for version in VERSIONS {
        let mut server = Server::new(certificate.server());
        let mut client = server.connect(0, &certificate.client(version));
        let mut expected = Vec::new();
        for split in 0.. {
            client.say(b"alpha");
            let mut bytes = client.take_output();
            client.say(b"beta");
            bytes.extend(client.take_output());
            if split > bytes.len() {
                server.receive(0, &bytes);
                break;
            }
            for piece in [&bytes[..split], &bytes[split..]].into_iter().filter(|piece| !piece.is_empty()) {
                server.receive(0, piece);
            }
            expected.extend_from_slice(b"alphabeta");
            assert_eq!(server.received(0), expected, "split at {split}");
            assert_eq!(server.tls.held_bytes(), 0, "nothing is held between records");
        }
        assert_eq!(server.told.last(), Some(&(0, ToldInput::Received(b"alphabeta".to_vec()))), "one receive, one call");
    }
}

#[test]
fn the_longest_records_arrive_and_hold_no_memory_afterwards() {
    let certificate = TestCertificate::new();
    let mut server = Server::new(certificate.server());
    let mut client = server.connect(0, &certificate.client(&TLS13));
    let data: Vec<u8> = (0..100_000).map(|n: u32| n as u8).collect();
    for piece in data.chunks(30_000) {
        client.say(piece);
        for piece in client.take_output().chunks(2_048) {
            server.receive(0, piece);
            assert!(server.tls.held_bytes() <= 2 * TLS_RECORD_BYTES_MAX as u64);
        }
    }
    assert_eq!(server.received(0), data);
    assert_eq!(server.tls.held_bytes(), 0);
}

#[test]
fn a_send_is_one_send_with_the_fewest_records() {
    let certificate = TestCertificate::new();
    for (version, overhead) in VERSIONS.into_iter().zip([24, 17]) {
        let mut server = Server::new(certificate.server());
        let mut client = server.connect(0, &certificate.client(version));
        for size in [1, 200, SEND_BYTES_MAX] {
            let before = server.wire.sends_made;
            server.send(0, &vec![7; size], false);
            server.finish_turn();
            let (_, bytes, _) = server.wire.sends.front().expect("it is in flight").clone();
            assert_eq!(records(&bytes), [(23, size + overhead)]);
            assert_eq!(server.tls.held_bytes(), bytes.len() as u64);
            server.talk(0, &mut client);
            assert_eq!(server.wire.sends_made, before + 1);
            assert_eq!(server.tls.held_bytes(), 0);
        }
        assert_eq!(client.heard, vec![7; 201 + SEND_BYTES_MAX]);
    }
}

#[test]
fn large_sends_go_in_bounded_pieces_and_are_answered_once() {
    let certificate = TestCertificate::new();
    for version in VERSIONS {
        let mut server = Server::new(certificate.server());
        let mut client = server.connect(0, &certificate.client(version));
        let data: Vec<u8> = (0..1_000_000_u32).map(|n| (n * 7) as u8).collect();
        let before = server.wire.sends_made;
        server.send(0, &data, false);
        while let Some(bytes) = server.take_send(0) {
            assert!(bytes.len() < TLS_SEND_BYTES_MAX + 200, "{}", bytes.len());
            client.hear(&bytes).expect("TLS");
        }
        assert!(client.heard == data, "all of it in order");
        assert_eq!(server.wire.sends_made - before, data.len().div_ceil(TLS_SEND_BYTES_MAX));
        assert_eq!(server.count_told(0, &ToldInput::Sent), 1);
    }
}

#[test]
fn tls_records_and_engine_bytes_share_a_send() {
    let certificate = TestCertificate::new();
    let mut server = Server::new(certificate.server());
    let mut client = MemoryClient::new(&certificate.client(&TLS13));
    server.accept(0);
    server.receive(0, &client.take_output());
    server.finish_turn();
    let flight = server.take_send(0).expect("the server's flight");
    client.hear(&flight).expect("TLS");
    client.say(b"GET");
    server.receive(0, &client.take_output());
    server.step();
    // The engine answers in the turn with the tickets.
    server.send(0, b"101", false);
    server.finish_turn();
    assert_eq!(server.wire.sends.len(), 1);
    let (_, bytes, _) = server.wire.sends.front().expect("it is in flight").clone();
    assert_eq!(records(&bytes).len(), 2, "the tickets and the answer");
    server.talk(0, &mut client);
    assert_eq!(client.heard, b"101");
    assert_eq!(server.count_told(0, &ToldInput::Sent), 1);
}

#[test]
fn the_engines_send_waits_for_the_send_in_flight() {
    let certificate = TestCertificate::new();
    let mut server = Server::new(certificate.server());
    let mut client = MemoryClient::new(&certificate.client(&TLS13));
    server.accept(0);
    server.receive(0, &client.take_output());
    server.finish_turn();
    let flight = server.take_send(0).expect("the server's flight");
    client.hear(&flight).expect("TLS");
    client.say(b"GET");
    server.receive(0, &client.take_output());
    server.finish_turn();
    server.send(0, b"101", false);
    server.finish_turn();
    assert_eq!(server.wire.sends.len(), 1, "the tickets are in flight");
    let tickets = server.take_send(0).expect("they are taken");
    assert_eq!(server.count_told(0, &ToldInput::Sent), 0, "not a send of the engine");
    client.hear(&tickets).expect("TLS");
    assert_eq!(client.heard, b"");
    server.talk(0, &mut client);
    assert_eq!(client.heard, b"101");
    assert_eq!(server.count_told(0, &ToldInput::Sent), 1);
}

#[test]
fn keys_are_updated_at_the_clients_request() {
    let certificate = TestCertificate::new();
    let mut server = Server::new(certificate.server());
    let mut client = server.connect(0, &certificate.client(&TLS13));
    for round in 0..3 {
        client.tls.refresh_traffic_keys().expect("TLS 1.3 can");
        client.say(b"x");
        server.talk(0, &mut client);
        assert_eq!(server.received(0).len(), round + 1);
        server.send(0, b"y", false);
        server.talk(0, &mut client);
        assert_eq!(client.heard.len(), round + 1);
    }
}

#[test]
fn a_flood_of_key_updates_ends_the_connection() {
    let certificate = TestCertificate::new();
    let mut server = Server::new(certificate.server());
    let mut client = server.connect(0, &certificate.client(&TLS13));
    for _ in 0..100 {
        client.tls.refresh_traffic_keys().expect("TLS 1.3 can");
    }
    let bytes = client.take_output();
    for piece in bytes.chunks(2_048) {
        server.receive(0, piece);
    }
    server.finish_turn();
    assert_eq!(server.count_told(0, &ToldInput::Broken), 1);
    let answered: usize = server.wire.sends.iter().map(|(_, bytes, _)| bytes.len()).sum();
    assert!(answered < 1_024, "not all requests are answered: {answered} bytes");
}

/// The default provider with one suite whose keys are exhausted after a few records.
fn soon_exhausted(version: &SupportedProtocolVersion) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    let suite = provider.cipher_suites.iter().find(|suite| suite.version() == version).copied();
    provider.cipher_suites = match suite.expect("there is one for each version") {
        SupportedCipherSuite::Tls12(suite) => {
            let common = rustls::crypto::CipherSuiteCommon { confidentiality_limit: 20, ..copy_of(&suite.common) };
            let suite = rustls::Tls12CipherSuite { common, ..*suite };
            vec![SupportedCipherSuite::Tls12(Box::leak(Box::new(suite)))]
        }
        SupportedCipherSuite::Tls13(suite) => {
            let common = rustls::crypto::CipherSuiteCommon { confidentiality_limit: 20, ..copy_of(&suite.common) };
            let suite = rustls::Tls13CipherSuite { common, ..*suite };
            vec![SupportedCipherSuite::Tls13(Box::leak(Box::new(suite)))]
        }
    };
    provider
}

fn copy_of(common: &rustls::crypto::CipherSuiteCommon) -> rustls::crypto::CipherSuiteCommon {
    rustls::crypto::CipherSuiteCommon { ..*common }
}

fn server_with_soon_exhausted_keys(
    certificate: &TestCertificate,
    version: &'static SupportedProtocolVersion,
) -> Server {
    let builder = ServerConfig::builder_with_provider(Arc::new(soon_exhausted(version)));
    let builder = builder.with_protocol_versions(&[version]).expect("known").with_no_client_auth();
    let config = builder.with_single_cert(vec![certificate.certificate.clone()], certificate.key.clone_key());
    Server::new(Arc::new(config.expect("they belong together")))
}

#[test]
fn exhausted_keys_are_changed_in_tls_1_3() {
    let certificate = TestCertificate::new();
    let mut server = server_with_soon_exhausted_keys(&certificate, &TLS13);
    let mut client = server.connect(0, &certificate.client(&TLS13));
    for _ in 0..100 {
        server.send(0, b"z", false);
        server.talk(0, &mut client);
    }
    assert_eq!(client.heard, [b'z'; 100]);
}

#[test]
fn exhausted_keys_end_the_connection_in_tls_1_2() {
    let certificate = TestCertificate::new();
    let mut server = server_with_soon_exhausted_keys(&certificate, &TLS12);
    let mut client = server.connect(0, &certificate.client(&TLS12));
    let mut sent = 0;
    while server.count_told(0, &ToldInput::Broken) == 0 {
        server.send(0, b"z", false);
        sent += 1;
        server.talk(0, &mut client);
        assert!(sent <= 30, "the keys have a bound");
    }
    assert!(client.ended, "the client gets the end");
    assert_eq!(client.heard.len(), sent - 1);
    server.take(Input::Disconnected { slot: 0 });
    server.finish_turn();
    server.assert_empty();
}

#[test]
fn the_largest_holders_of_incomplete_records_are_closed_first() {
    let certificate = TestCertificate::new();
    let mut server = Server::new(certificate.server());
    server.tls.partial_max.records = 20_000;
    let config = certificate.client(&TLS13);
    let mut clients: Vec<MemoryClient> = (0..4).map(|slot| server.connect(slot, &config)).collect();
    for (client, part) in clients.iter_mut().zip([1_000, 8_000, 2_000, 14_000]) {
        client.say(&[1; 16_000]);
        let bytes = client.take_output();
        let slot = [1_000, 8_000, 2_000, 14_000].iter().position(|its| *its == part).expect("it is there") as u32;
        server.receive(slot, &bytes[..part]);
    }
    server.finish_turn();
    let ended: Vec<u32> = (0..4).filter(|slot| server.count_told(*slot, &ToldInput::Disconnected) > 0).collect();
    assert_eq!(ended, [3]);
    assert!(server.tls.held_bytes() <= 15_000, "{}", server.tls.held_bytes());
}

#[test]
fn stalled_handshakes_close_neither_small_handshakes_nor_open_connections() {
    let certificate = TestCertificate::new();
    let mut server = Server::new(certificate.server());
    server.tls.partial_max = PartialBytes { handshakes: 400_000, records: 20_000 };
    let config = certificate.client(&TLS13);
    // An open connection in the middle of a record, with more bytes than any other.
    let mut open = server.connect(0, &config);
    open.say(&[1; 16_000]);
    let record = open.take_output();
    server.receive(0, &record[..15_000]);
    // A handshake with half of its first message.
    let mut bystander = MemoryClient::new(&config);
    let hello = bystander.take_output();
    server.accept(1);
    server.receive(1, &hello[..hello.len() / 2]);
    // All in one turn: each sends most of a first message of maximum length.
    let half = [&[22, 3, 1, 0x40, 0, 1, 0, 0xea, 0x60][..], &[0; 12_000]].concat();
    for slot in 2..200 {
        server.accept(slot);
        server.receive(slot, &half);
        let (held, max) = (server.tls.partial.handshakes, server.tls.partial_max.handshakes);
        assert!(held <= max, "{held} bytes are held by handshakes");
    }
    server.finish_turn();
    let ended = (2..200).filter(|slot| server.count_told(*slot, &ToldInput::Disconnected) > 0).count();
    assert!((165..180).contains(&ended), "as many as the bound requires: {ended}");
    assert!((0..2).all(|slot| server.count_told(slot, &ToldInput::Disconnected) == 0));
    server.receive(0, &record[15_000..]);
    assert_eq!(server.received(0).len(), 16_000);
    server.receive(1, &hello[hello.len() / 2..]);
    server.finish_turn();
    server.talk(1, &mut bystander);
    assert!(!bystander.tls.is_handshaking());
    (2..200).for_each(|slot| server.take(Input::Disconnected { slot }));
    server.take(Input::Disconnected { slot: 0 });
    server.take(Input::Disconnected { slot: 1 });
    server.carry_out();
    server.assert_empty();
}
