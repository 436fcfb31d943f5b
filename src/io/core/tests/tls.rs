//! The same cores with TLS between their sockets and the relay.

use std::io::ErrorKind;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::*;

type TlsClient = StreamOwned<ClientConnection, TcpStream>;

fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a valid name");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("PKCS #8");
    let provider = Arc::new(aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let server = server.expect("both").with_no_client_auth();
    let mut server = server.with_single_cert(vec![made.cert.der().clone()], key).expect("they belong together");
    server.ticketer = aws_lc_rs::Ticketer::new().expect("there is randomness");
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a certificate");
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let client = client.expect("both").with_root_certificates(roots).with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> TlsClient {
    let stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    let name = ServerName::try_from("localhost").expect("valid");
    StreamOwned::new(ClientConnection::new(config.clone(), name).expect("a valid configuration"), stream)
}

fn echoed(client: &mut TlsClient, text: &[u8]) {
    client.write_all(text).expect("written");
    let mut answer = vec![0; text.len()];
    client.read_exact(&mut answer).expect("answered");
    assert!(answer == text, "the same comes back");
}

#[test]
fn many_come_and_go_in_every_way() {
    let (server, config) = configs();
    let running = RunningCores::start_with(2, None, Some(server));
    let address = running.address;
    let threads: Vec<_> = (0..4_u16)
        .map(|thread| {
            let config = config.clone();
            thread::spawn(move || {
                for round in 0..60_u16 {
                    match round % 6 {
                        0 => {
                            // More than one record arrives, and the first makes the server close.
                            let mut client = connect(address, &config);
                            let _ = client.write_all(b"!");
                            let _ = client.write_all(&[b'x'; 20_000]);
                            let _ = client.read_to_end(&mut Vec::new());
                        }
                        1 => {
                            let mut stream = TcpStream::connect(address).expect("connects");
                            let _ = stream.write_all(&[b'x'; 20_000]);
                            let _ = stream.read_to_end(&mut Vec::new());
                        }
                        2 => drop(TcpStream::connect(address).expect("connects")),
                        3 => {
                            // Clients wait for an answer before they send much.
                            let mut client = connect(address, &config);
                            echoed(&mut client, b"hello");
                            echoed(&mut client, &vec![thread as u8 + b'a'; 150_000]);
                        }
                        _ => {
                            let mut client = connect(address, &config);
                            echoed(&mut client, format!("{thread}/{round};").as_bytes());
                            client.conn.send_close_notify();
                            let _ = client.flush();
                            let end = client.read(&mut [0; 1]);
                            assert!(
                                matches!(&end, Ok(0))
                                    || matches!(&end, Err(error) if error.kind() != ErrorKind::UnexpectedEof),
                                "a close_notify is answered by one: {end:?}"
                            );
                        }
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("nothing is confused");
    }
    let sum = |read: fn(&CoreCounters) -> u64| running.counters.iter().map(|counters| read(counters)).sum::<u64>();
    let began = Instant::now();
    while sum(|counters| counters.tls_handshaking.get()) > 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "the core closes sockets of clients that have gone");
        thread::sleep(Duration::from_millis(5));
    }
    running.tell(|| Control::Drain { window_ms: 0, hands_over: false });
    running.wait_for_end();
    assert_eq!(sum(|counters| counters.tls_handshakes.get()), 4 * 40);
    assert_eq!(sum(|counters| counters.tls_handshakes_failed.get()), 4 * 10);
    assert!(sum(|counters| counters.tls_resumed.get()) > 0);
}

#[test]
fn a_peer_that_stops_reading_keeps_nobody_waiting() {
    let (server, config) = configs();
    let running = RunningCores::start_with(1, None, Some(server));
    let mut stalled = connect(running.address, &config);
    // Clients wait for an answer before they send much.
    echoed(&mut stalled, b"hello");
    // More answers than the sockets take.
    for _ in 0..200 {
        stalled.write_all(&[b'x'; 100_000]).expect("the relay takes everything");
    }
    let mut healthy = connect(running.address, &config);
    for round in 0..100 {
        echoed(&mut healthy, format!("{round};").as_bytes());
    }
    drop(stalled);
    running.tell(|| Control::Drain { window_ms: 0, hands_over: false });
    running.wait_for_end();
}
