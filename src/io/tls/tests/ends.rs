//! Ends of connections: close_notify on both sides, failures with their alerts, and sockets that stay open for a while.

use super::random::Random;
use super::*;

/// A close_notify in its record.
fn is_closed_by(client: &mut MemoryClient, bytes: &[u8]) -> bool {
    client.hear(bytes).expect("TLS");
    client.ended
}

#[test]
fn the_last_send_carries_the_close_notify() {
    let certificate = TestCertificate::new();
    for version in VERSIONS {
        let mut server = Server::new(certificate.server());
        let mut client = server.connect(0, &certificate.client(version));
        server.send(0, b"farewell", true);
        server.finish_turn();
        assert_eq!(server.wire.sends.len(), 1);
        assert!(server.wire.sends[0].2, "the close can go in the same packet");
        let bytes = server.take_send(0).expect("one send");
        assert_eq!(records(&bytes).len(), 2);
        assert!(is_closed_by(&mut client, &bytes));
        assert_eq!(client.heard, b"farewell");
        server.close(0);
        assert_eq!((server.wire.closes.as_slice(), server.wire.sends.len()), (&[0][..], 0), "sent once");
        server.assert_empty();
    }
}

#[test]
fn a_half_close_sends_one_close_notify() {
    let certificate = TestCertificate::new();
    for is_last in [false, true] {
        let mut server = Server::new(certificate.server());
        let mut client = server.connect(0, &certificate.client(&TLS13));
        server.send(0, b"refused", is_last);
        let first = server.take_send(0).expect("the answer");
        assert_eq!(is_closed_by(&mut client, &first), is_last);
        server.tls.shutdown(0, &mut server.wire);
        server.finish_turn();
        assert_eq!(server.wire.shutdowns, [0]);
        if let Some(bytes) = server.take_send(0) {
            assert!(!is_last);
            client.hear(&bytes).expect("TLS");
        }
        assert!(client.ended);
        assert_eq!(server.wire.shutdowns, [0]);
        // Bytes of the client still arrive.
        client.say(b"on");
        server.talk(0, &mut client);
        assert_eq!(server.received(0), b"on");
        server.take(Input::Ended { slot: 0 });
        server.finish_turn();
        server.assert_empty();
    }
}

#[test]
fn an_unexpected_close_sends_a_close_notify_if_there_is_room() {
    let certificate = TestCertificate::new();
    let mut server = Server::new(certificate.server());
    let mut client = server.connect(0, &certificate.client(&TLS13));
    server.close(0);
    assert_eq!(server.wire.closes, [0]);
    let bytes = server.take_send(0).expect("a close_notify");
    assert!(is_closed_by(&mut client, &bytes));
    // A stalled reader gets none.
    let mut client = server.connect(1, &certificate.client(&TLS13));
    server.send(1, b"never read", false);
    server.finish_turn();
    server.close(1);
    assert_eq!(server.wire.closes, [0, 1]);
    let bytes = server.take_send(1).expect("the send in flight");
    assert!(!is_closed_by(&mut client, &bytes));
    server.assert_empty();
}

#[test]
fn the_clients_close_notify_comes_after_its_last_bytes() {
    let certificate = TestCertificate::new();
    for version in VERSIONS {
        let mut server = Server::new(certificate.server());
        let mut client = server.connect(0, &certificate.client(version));
        client.say(b"last words");
        client.tls.send_close_notify();
        let mut bytes = client.take_output();
        bytes.extend_from_slice(b"and nobody's bytes");
        server.receive(0, &bytes);
        assert_eq!(server.told[1..], [(0, ToldInput::Received(b"last words".to_vec())), (0, ToldInput::Ended)]);
        server.finish_turn();
        assert_eq!(server.wire.closes, [0]);
        let answer = server.take_send(0).expect("a close_notify for a close_notify");
        assert!(is_closed_by(&mut client, &answer));
        server.assert_empty();
    }
}

#[test]
fn an_engine_that_closes_within_a_receive_gets_no_end() {
    let certificate = TestCertificate::new();
    let mut server = Server::new(certificate.server());
    let mut client = server.connect(0, &certificate.client(&TLS13));
    client.say(b"close");
    client.tls.send_close_notify();
    let mut bytes = client.take_output();
    let mut told = 0;
    server.tls.take(Input::Received { slot: 0, bytes: &mut bytes }, &mut |_, input| {
        assert!(matches!(input, Input::Received { .. }), "{input:?}");
        told += 1;
        true
    });
    assert_eq!(told, 1);
    server.take(Input::Ended { slot: 0 });
    server.close(0);
    assert_eq!(server.count_told(0, &ToldInput::Ended), 0);
    server.assert_empty();
}

#[test]
fn garbage_gets_an_alert_and_the_socket_waits_for_its_end() {
    let certificate = TestCertificate::new();
    let garbage: [&[u8]; 4] = [&[0; 64], &[22, 3, 1, 0, 5, 1, 0, 0, 1, 0], &[23, 3, 3, 0, 1, 0], &[0xff; 3_000]];
    for (garbage, ends) in garbage.into_iter().flat_map(|garbage| [(garbage, true), (garbage, false)]) {
        let mut server = Server::new(certificate.server());
        server.accept(0);
        server.receive(0, garbage);
        server.finish_turn();
        assert_eq!(server.told, [(0, ToldInput::Accepted), (0, ToldInput::Broken)], "{garbage:?}");
        assert_eq!(server.wire.shutdowns, [0]);
        assert_eq!(server.wire.closes, [] as [u32; 0], "a close now could lose the alert");
        assert_eq!(server.counters.tls_handshakes_failed.get(), 1);
        assert_eq!((server.counters.tls_handshaking.get(), server.tls.partial.handshakes), (0, 0));
        let alert = server.take_send(0).expect("an alert");
        assert_eq!(records(&alert), [(21, 2)]);
        server.receive(0, b"later bytes are ignored");
        // The peer ends its stream, or the engine has waited long enough.
        if ends {
            server.take(Input::Ended { slot: 0 });
        } else {
            server.engine.let_go.push(0);
        }
        server.finish_turn();
        assert_eq!(server.told.len(), if ends { 3 } else { 2 });
        assert_eq!(server.wire.closes, [0]);
        assert_eq!(server.counters.tls_handshakes_failed.get(), 1);
        assert_eq!(server.wire.shutdowns, [0]);
        server.assert_empty();
    }
}

#[test]
fn a_changed_record_ends_the_connection() {
    let certificate = TestCertificate::new();
    for version in VERSIONS {
        let mut server = Server::new(certificate.server());
        let mut client = server.connect(0, &certificate.client(version));
        client.say(b"good");
        let mut bytes = client.take_output();
        client.say(b"bad");
        let changed = client.take_output();
        bytes.extend_from_slice(&changed);
        *bytes.last_mut().expect("it is not empty") ^= 1;
        server.receive(0, &bytes);
        server.finish_turn();
        assert_eq!(server.told[1..], [(0, ToldInput::Received(b"good".to_vec())), (0, ToldInput::Broken)]);
        let alert = server.take_send(0).expect("an alert");
        let heard = client.hear(&alert);
        assert_eq!(heard, Err(rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac)));
    }
}

#[test]
fn seeded_garbage_never_panics_and_always_ends() {
    let certificate = TestCertificate::new();
    let config = certificate.server();
    let mut random = Random(1);
    let hello = MemoryClient::new(&certificate.client(&TLS13)).take_output();
    for _ in 0..400 {
        let mut server = Server::new(config.clone());
        server.accept(0);
        let mut bytes = hello.clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            bytes[at] = random.next() as u8;
        }
        for piece in bytes.chunks(1 + random.below(700)) {
            server.receive(0, piece);
            server.finish_turn();
        }
        while server.take_send(0).is_some() {}
        server.take(Input::Ended { slot: 0 });
        server.finish_turn();
        assert_eq!(server.wire.closes, [0]);
        server.assert_empty();
    }
}

#[test]
fn garbage_followed_by_an_end_of_stream_also_gets_an_alert() {
    let certificate = TestCertificate::new();
    let mut server = Server::new(certificate.server());
    server.accept(0);
    server.receive(0, &[0; 64]);
    server.take(Input::Ended { slot: 0 });
    server.finish_turn();
    assert_eq!(server.told[1..], [(0, ToldInput::Broken), (0, ToldInput::Ended)]);
    assert_eq!(server.wire.closes, [0]);
    assert_eq!(records(&server.take_send(0).expect("an alert")), [(21, 2)]);
    server.assert_empty();
}

#[test]
fn a_flood_before_the_handshake_still_gets_an_alert() {
    let certificate = TestCertificate::new();
    let mut server = Server::new(certificate.server());
    server.accept(0);
    for _ in 0..100 {
        server.receive(0, &[0xff; 2_048]);
    }
    assert!(server.tls.held_bytes() <= 128 * 1024, "{}", server.tls.held_bytes());
    server.finish_turn();
    assert_eq!(server.count_told(0, &ToldInput::Broken), 1);
    assert_eq!(records(&server.take_send(0).expect("an alert")), [(21, 2)]);
    // A flood that could become a handshake also ends.
    server.accept(1);
    let mut hello = MemoryClient::new(&certificate.client(&TLS13)).take_output();
    hello.extend_from_slice(&[22, 3, 3, 0x3f, 0xff]);
    server.receive(1, &hello);
    for _ in 0..100 {
        server.receive(1, &[0; 2_048]);
    }
    server.finish_turn();
    assert_eq!(server.count_told(1, &ToldInput::Broken), 1);
    assert_eq!(server.counters.tls_handshakes.get(), 0);
}

#[test]
fn plain_http_is_refused_in_plain_http() {
    let certificate = TestCertificate::new();
    let mut server = Server::new(certificate.server());
    server.accept(0);
    server.receive(0, b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n");
    server.finish_turn();
    let answer = server.take_send(0).expect("an answer");
    let answer = String::from_utf8(answer.to_vec()).expect("text");
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.contains(r#"{"error":"bad_request","message":"this address accepts only TLS"#), "{answer}");
    assert_eq!(server.wire.shutdowns, [0]);
    server.take(Input::Ended { slot: 0 });
    server.finish_turn();
    server.assert_empty();
}

#[test]
fn a_client_that_has_ended_its_stream_is_still_answered() {
    let certificate = TestCertificate::new();
    // Ends by close_notify, by the end of the socket's stream, or by both; together with the end of the handshake, or
    // later.
    for version in VERSIONS {
        for (notifies, ends, at_once) in
            [(true, false, false), (false, true, false), (true, true, false), (true, true, true), (false, true, true)]
        {
            let mut server = Server::new(certificate.server());
            server.engine.owes_answers = true;
            let mut client = MemoryClient::new(&certificate.client(version));
            server.accept(0);
            if at_once {
                // All flights but the last.
                while client.tls.is_handshaking() {
                    let output = client.take_output();
                    server.receive(0, &output);
                    server.finish_turn();
                    while let Some(bytes) = server.take_send(0) {
                        client.hear(&bytes).expect("TLS");
                    }
                }
            } else {
                server.talk(0, &mut client);
            }
            client.say(b"request");
            if notifies {
                client.tls.send_close_notify();
            }
            let output = client.take_output();
            server.receive(0, &output);
            if notifies {
                server.receive(0, b"nobody's bytes");
            }
            if ends {
                server.take(Input::Ended { slot: 0 });
            }
            server.finish_turn();
            assert_eq!(server.told[1..], [(0, ToldInput::Received(b"request".to_vec())), (0, ToldInput::Ended)]);
            server.send(0, b"answer", true);
            server.finish_turn();
            while let Some(bytes) = server.take_send(0) {
                client.hear(&bytes).expect("TLS");
            }
            assert!(client.heard == b"answer" && client.ended, "{notifies} {ends} {at_once}");
            assert_eq!(server.told[3..], [(0, ToldInput::Sent)]);
            server.close(0);
            server.assert_empty();
        }
    }
}

#[test]
fn a_stream_that_ends_within_the_handshake_is_not_answered() {
    let certificate = TestCertificate::new();
    let hello = MemoryClient::new(&certificate.client(&TLS13)).take_output();
    for length in [0, 1, hello.len() - 1, hello.len()] {
        let mut server = Server::new(certificate.server());
        server.engine.owes_answers = true;
        server.accept(0);
        server.receive(0, &hello[..length]);
        server.take(Input::Ended { slot: 0 });
        server.finish_turn();
        assert_eq!(server.told[1..], [(0, ToldInput::Disconnected)], "{length}");
        server.assert_empty();
    }
}
