//! Handshakes: both versions, in pieces of any size; resumption; bounds and refusals.

use super::*;

#[test]
fn both_versions_handshake_and_talk() {
    let certificate = TestCertificate::new();
    for version in VERSIONS {
        let mut server = Server::new(certificate.server());
        let mut client = server.connect(0, &certificate.client(version));
        assert_eq!(client.tls.protocol_version(), Some(version.version));
        client.say(b"to the server");
        server.talk(0, &mut client);
        assert_eq!(server.told, [(0, ToldInput::Accepted), (0, ToldInput::Received(b"to the server".to_vec()))]);
        server.send(0, b"to the client", false);
        server.talk(0, &mut client);
        assert_eq!(client.heard, b"to the client");
        assert_eq!(server.count_told(0, &ToldInput::Sent), 1, "only for the engine's own send");
        assert_eq!(server.counters.tls_handshakes.get(), 1);
        assert_eq!(server.counters.tls_handshaking.get(), 0);
    }
}

#[test]
fn pieces_of_any_size_are_the_same_handshake() {
    let certificate = TestCertificate::new();
    for version in VERSIONS {
        for size in [1, 2, 3, 4, 5, 6, 7, 64, 100, 1_000] {
            let mut server = Server::new(certificate.server());
            let mut client = MemoryClient::new(&certificate.client(version));
            server.accept(0);
            client.say(b"first words");
            for _ in 0..4 {
                for piece in client.take_output().chunks(size) {
                    server.receive(0, piece);
                    server.finish_turn();
                }
                while let Some(bytes) = server.take_send(0) {
                    client.hear(&bytes).expect("the server sends TLS");
                }
            }
            assert_eq!(server.received(0), b"first words", "pieces of {size} bytes");
        }
    }
}

#[test]
fn bytes_after_the_handshake_arrive_at_once() {
    let certificate = TestCertificate::new();
    let mut server = Server::new(certificate.server());
    let mut client = MemoryClient::new(&certificate.client(&TLS13));
    server.accept(0);
    server.receive(0, &client.take_output());
    server.finish_turn();
    let flight = server.take_send(0).expect("the server's flight is one send");
    client.hear(&flight).expect("TLS");
    client.say(b"one ");
    let mut all = client.take_output();
    client.say(b"two");
    all.extend(client.take_output());
    server.receive(0, &all);
    assert_eq!(server.told, [(0, ToldInput::Accepted)], "a handshake waits for its step");
    server.step();
    assert_eq!(server.told[1..], [(0, ToldInput::Received(b"one two".to_vec()))], "in one piece");
}

#[test]
fn sessions_are_resumed_by_tickets_on_any_core() {
    let certificate = TestCertificate::new();
    let config = certificate.server();
    for (version, rounds) in VERSIONS.into_iter().zip(1..) {
        let client_config = certificate.client(version);
        let (mut first, mut second) = (Server::new(config.clone()), Server::new(config.clone()));
        let full = first.connect(0, &client_config);
        assert_eq!(full.tls.handshake_kind(), Some(rustls::HandshakeKind::Full), "{rounds}");
        let mut resumed = second.connect(0, &client_config);
        assert_eq!(resumed.tls.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
        resumed.say(b"again");
        second.talk(0, &mut resumed);
        assert_eq!(second.received(0), b"again");
        assert_eq!((first.counters.tls_resumed.get(), second.counters.tls_resumed.get()), (0, 1));
        // Another configuration has other tickets.
        let mut third = Server::new(certificate.server());
        let full = third.connect(0, &client_config);
        assert_eq!(full.tls.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}

#[test]
fn a_new_configuration_applies_to_new_handshakes() {
    let (old, new) = (TestCertificate::new(), TestCertificate::new());
    let mut server = Server::new(old.server());
    let mut there = server.connect(0, &old.client(&TLS13));
    server.tls.set_config(new.server());
    server.connect(1, &new.client(&TLS13));
    there.say(b"still here");
    server.talk(0, &mut there);
    assert_eq!(server.received(0), b"still here");
}

#[test]
fn the_application_protocol_is_http_1_1() {
    let certificate = TestCertificate::new();
    for (offered, agreed) in [(vec!["http/1.1"], true), (vec!["h2", "http/1.1"], true), (vec!["h2"], false)] {
        let mut config = (*certificate.client(&TLS13)).clone();
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let mut server = Server::new(certificate.server());
        let mut client = MemoryClient::new(&Arc::new(config));
        server.accept(0);
        server.receive(0, &client.take_output());
        server.finish_turn();
        let answer = server.take_send(0).expect("an answer");
        let heard = client.hear(&answer);
        assert_eq!(heard.is_ok(), agreed, "{offered:?}: {heard:?}");
        if agreed {
            assert_eq!(client.tls.alpn_protocol(), Some(&b"http/1.1"[..]));
        } else {
            let alert = rustls::AlertDescription::NoApplicationProtocol;
            assert_eq!(heard, Err(rustls::Error::AlertReceived(alert)));
            assert_eq!(server.count_told(0, &ToldInput::Broken), 1);
        }
    }
}

#[test]
fn each_step_is_one_handshake_and_the_first_comes_first() {
    let certificate = TestCertificate::new();
    let mut server = Server::new(certificate.server());
    let config = certificate.client(&TLS13);
    for slot in 0..3 {
        server.accept(slot);
        let hello = MemoryClient::new(&config).take_output();
        server.receive(slot, &hello);
    }
    for slot in 0..3 {
        assert!(server.tls.has_steps());
        assert!(server.step());
        server.carry_out();
        assert_eq!(server.wire.sends.back().map(|(to, ..)| *to), Some(slot));
        assert_eq!(server.wire.sends.len(), slot as usize + 1);
    }
    assert!(!server.tls.has_steps() && !server.step());
}

#[test]
fn handshakes_are_counted_until_they_end() {
    let certificate = TestCertificate::new();
    let mut server = Server::new(certificate.server());
    (0..3).for_each(|slot| server.accept(slot));
    assert_eq!(server.counters.tls_handshaking.get(), 3);
    // One completes, one gives up, and the engine closes one.
    let mut client = MemoryClient::new(&certificate.client(&TLS13));
    server.talk(0, &mut client);
    server.take(Input::Ended { slot: 1 });
    server.close(2);
    server.finish_turn();
    assert_eq!(server.counters.tls_handshaking.get(), 0);
    assert_eq!(server.wire.closes, [1, 2]);
    assert_eq!(server.counters.tls_handshakes_failed.get(), 0, "a silent socket is no attempt");
}

#[test]
fn half_handshakes_hold_their_bytes_until_the_engine_gives_up() {
    let certificate = TestCertificate::new();
    for version in VERSIONS {
        let hello = MemoryClient::new(&certificate.client(version)).take_output();
        for length in [0, 1, 5, 6, hello.len() - 1, hello.len()] {
            let mut server = Server::new(certificate.server());
            server.accept(0);
            if length > 0 {
                server.receive(0, &hello[..length]);
            }
            server.finish_turn();
            assert!(server.tls.held_bytes() < 8 * 1024);
            while server.take_send(0).is_some() {}
            // The time limit for request heads has passed.
            server.close(0);
            assert_eq!(server.wire.closes, [0]);
            assert_eq!(server.counters.tls_handshakes_failed.get(), u64::from(length > 0));
            server.assert_empty();
        }
    }
}

#[test]
fn an_endless_handshake_is_ended() {
    let certificate = TestCertificate::new();
    let mut server = Server::new(certificate.server());
    server.accept(0);
    // Records that carry one byte each of a message of 60,000 bytes.
    let mut sent = 0;
    let mut piece: Vec<u8> = [22, 3, 1, 0, 4, 1, 0, 0xea, 0x60].to_vec();
    while server.count_told(0, &ToldInput::Broken) == 0 {
        server.receive(0, &piece);
        server.finish_turn();
        sent += piece.len();
        assert!(sent <= TLS_HANDSHAKE_BYTES_LIMIT, "{sent} bytes");
        piece = [22, 3, 1, 0, 1, 0].repeat(300);
    }
    assert!(server.tls.held_bytes() <= 2 * TLS_HANDSHAKE_BYTES_LIMIT as u64);
}

const TLS_HANDSHAKE_BYTES_LIMIT: usize = crate::base::limits::TLS_HANDSHAKE_BYTES_MAX + 4_096;
