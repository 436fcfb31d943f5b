//! Input that violates RFC 6455 closes the sender's connection and affects no other client.

use std::io::Write;
use std::net::TcpStream;

use serde_json::json;
use tungstenite::Message;

use crate::client::Client;
use crate::http::{self, client_frame, close_code, open_websocket};
use crate::random::Random;
use crate::server::Server;

/// Opens a WebSocket, sends raw bytes and gives the close code that answers them.
fn code_for(server: &Server, bytes: &[u8]) -> u16 {
    let mut stream = open_websocket(server.listen, "/ws");
    // The server may close before it has read everything.
    let _ = stream.write_all(bytes);
    close_code(&mut stream)
}

#[test]
fn violations_of_the_framing_close_with_1002() {
    let server = Server::start(&[]);
    let mut unmasked = client_frame(0x81, b"hi");
    unmasked[1] &= 0x7f;
    let long_ping = client_frame(0x89, &[0; 126]);
    let mut huge = vec![0x82, 0xff];
    huge.extend_from_slice(&(1_u64 << 63).to_be_bytes());
    huge.extend_from_slice(&[0; 4]);
    let cases: [(&str, Vec<u8>); 12] = [
        ("an unmasked frame", unmasked),
        ("a reserved bit", client_frame(0xc1, b"hi")),
        ("a reserved opcode", client_frame(0x83, b"hi")),
        ("a reserved control opcode", client_frame(0x8b, b"hi")),
        ("a fragmented ping", client_frame(0x09, b"hi")),
        ("a ping over 125 bytes", long_ping),
        ("a continuation of nothing", client_frame(0x80, b"hi")),
        ("a message within a message", [client_frame(0x01, b"a"), client_frame(0x81, b"b")].concat()),
        ("a close with one byte", client_frame(0x88, &[3])),
        ("a close with a code that may not be sent", client_frame(0x88, &1005_u16.to_be_bytes())),
        ("a close with a code out of range", client_frame(0x88, &999_u16.to_be_bytes())),
        ("a length with its highest bit set", huge),
    ];
    for (what, bytes) in cases {
        assert_eq!(code_for(&server, &bytes), 1002, "{what}");
    }
    server.wait_until_empty();
    assert!(server.metric("roomring_closed_protocol_total", "") >= 12.0);
}

#[test]
fn text_must_be_utf8_and_fails_as_soon_as_it_is_not() {
    let server = Server::start(&[]);
    assert_eq!(code_for(&server, &client_frame(0x81, b"\xff")), 1007);
    assert_eq!(code_for(&server, &client_frame(0x81, b"\xc3")), 1007, "cut within a character");
    assert_eq!(code_for(&server, &[client_frame(0x01, b"\xe2\x82"), client_frame(0x80, b"x")].concat()), 1007);
    assert_eq!(code_for(&server, &client_frame(0x01, b"fragment \xed\xa0\x80")), 1007, "before the message is whole");
    let reason = [1000_u16.to_be_bytes().as_slice(), b"\xff"].concat();
    assert_eq!(code_for(&server, &client_frame(0x88, &reason)), 1007, "a close reason is text too");
}

#[test]
fn a_message_over_the_limit_closes_with_1009() {
    let server = Server::start(&["server.max_message_bytes=1KiB"]);
    assert_eq!(code_for(&server, &client_frame(0x82, &[1; 1025])), 1009);
    let parts = [client_frame(0x02, &[1; 600]), client_frame(0x00, &[1; 600])].concat();
    assert_eq!(code_for(&server, &parts), 1009, "in fragments too");
    let mut announced = vec![0x82, 0xff];
    announced.extend_from_slice(&(1_u64 << 40).to_be_bytes());
    announced.extend_from_slice(&[0; 4]);
    assert_eq!(code_for(&server, &announced), 1009, "at the announcement");
    let mut client = Client::connect(&server, "alice");
    client.send_message(Message::text("x".repeat(1024)));
    assert_eq!(client.expect("error")["code"], "bad_command", "just at the limit it is taken");
}

#[test]
fn the_close_handshake_is_answered_in_kind() {
    let server = Server::start(&[]);
    let code = |code: u16| code_for(&server, &client_frame(0x88, &code.to_be_bytes()));
    assert_eq!([code(1000), code(1001), code(3000), code(4999)], [1000, 1001, 3000, 4999]);
    let mut stream = open_websocket(server.listen, "/ws");
    stream.write_all(&client_frame(0x88, b"")).expect("the server reads");
    let frames = http::server_frames(&http::read_to_end(&mut stream));
    assert_eq!(frames.last().map(|(first, _)| *first), Some(0x88), "{frames:?}");
}

#[test]
fn pings_and_fragments_are_served() {
    let server = Server::start(&[]);
    let mut stream = open_websocket(server.listen, "/ws");
    let bytes = [
        client_frame(0x01, br#"{"type":"pi"#),
        client_frame(0x89, b"between fragments"),
        client_frame(0x00, br#"ng","#),
        client_frame(0x8a, b"a pong nobody asked for"),
        client_frame(0x80, br#""id":7}"#),
        client_frame(0x88, b""),
    ];
    for byte in bytes.concat() {
        stream.write_all(&[byte]).expect("the server reads");
    }
    let frames = http::server_frames(&http::read_to_end(&mut stream));
    assert!(frames.contains(&(0x8a, b"between fragments".to_vec())), "{frames:?}");
    let is_reply = |text: String| text.contains("pong") && text.contains(r#""id":7"#);
    assert!(frames.iter().any(|(_, payload)| is_reply(String::from_utf8_lossy(payload).into_owned())), "{frames:?}");
}

#[test]
fn garbage_costs_the_sender_its_connection_at_most() {
    let server = Server::start(&[]);
    let mut healthy = Client::connect(&server, "healthy");
    healthy.join("lobby");
    let mut random = Random(0x5eed_0001);
    for round in 0..200 {
        let count = 1 + random.below(2000);
        let garbage = random.bytes(count);
        let mut stream: TcpStream =
            if round % 2 == 0 { http::open(server.listen) } else { open_websocket(server.listen, "/ws?room=lobby") };
        let _ = stream.write_all(&garbage);
        http::end(&stream);
        http::read_to_end(&mut stream);
        assert_eq!(healthy.request(json!({"type": "ping"}))["type"], "pong", "round {round}");
    }
    healthy.close();
    server.wait_until_empty();
}

#[test]
fn torn_frames_leave_nothing_behind() {
    let server = Server::start(&[]);
    let whole = [
        http::upgrade_head(server.listen, "/ws?user=torn&room=lobby", "").into_bytes(),
        client_frame(0x81, br#"{"type":"publish","room":"lobby","data":1}"#),
        client_frame(0x01, br#"{"type":"publish","#),
        client_frame(0x80, br#""room":"lobby","data":2}"#),
    ]
    .concat();
    for cut in (0..whole.len()).step_by(7) {
        let mut stream = http::open(server.listen);
        stream.write_all(&whole[..cut]).expect("the server reads");
        if cut % 2 == 0 {
            let socket = socket2::SockRef::from(&stream);
            socket.set_linger(Some(std::time::Duration::ZERO)).expect("linger can be set");
        }
    }
    server.wait_until_empty();
}

#[test]
fn a_flood_of_small_frames_does_not_starve_others() {
    let server = Server::start(&["limits.command_rate=0"]);
    let mut healthy = Client::connect(&server, "healthy");
    let flood: Vec<u8> = client_frame(0x89, b"").repeat(10_000);
    let mut streams: Vec<TcpStream> = (0..4).map(|_| open_websocket(server.listen, "/ws")).collect();
    for stream in &mut streams {
        stream.set_nonblocking(true).expect("it can be set");
        // As much as the server and the kernel take; the pongs are never read.
        let mut sent = 0;
        while let Ok(count @ 1..) = stream.write(&flood[sent % 6..]) {
            sent += count;
            if sent > 1 << 20 {
                break;
            }
        }
    }
    for _ in 0..50 {
        assert_eq!(healthy.request(json!({"type": "ping"}))["type"], "pong");
    }
    drop(streams);
    healthy.close();
    server.wait_until_empty();
}
