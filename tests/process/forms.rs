//! The binary form, alone and mixed with JSON on one connection (PROTOCOL section 6).

use serde_json::{Value, json};
use tungstenite::Message;

use crate::client::{Arrived, Client, command, publish_command};
use crate::server::Server;

const BINARY: &str = "roomring.v1.binary";

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

/// A binary `message`: seq, room, from, data.
fn message(bytes: &[u8]) -> (u64, String, String, Vec<u8>) {
    let (room_length, from_length) = (u16_at(bytes, 16), u16_at(bytes, 18));
    let (room, rest) = bytes[20..].split_at(room_length);
    let (from, data) = rest.split_at(from_length);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("a name is text");
    (u64_at(bytes, 0), text(room), text(from), data.to_vec())
}

/// A user who reads pushes in binary, past the welcome.
fn connect(server: &Server, user: &str) -> (Client, Value) {
    let mut client = Client::open(server.listen, &format!("/ws?user={user}"), Some(BINARY));
    let welcome = serde_json::from_slice(&client.op(128)).expect("the welcome is JSON");
    (client, welcome)
}

#[test]
fn a_whole_conversation_in_binary() {
    let server = Server::start(&["rooms.presence=false"]);
    let (mut alice, welcome) = connect(&server, "alice");
    assert_eq!((&welcome["type"], &welcome["user"]), (&json!("welcome"), &json!("alice")));
    alice.send_message(command(1, &[b"lobby"]));
    let joined = alice.op(129);
    assert_eq!((u64_at(&joined, 8), joined[16], &joined[21..]), (0, 0, b"lobby".as_slice()));
    let data: Vec<u8> = (0..=255).collect();
    alice.send_message(publish_command("lobby", &data));
    alice.send_message(publish_command("lobby", b""));
    let published = alice.op(132);
    assert_eq!((u64_at(&published, 0), &published[8..]), (1, b"lobby".as_slice()));
    assert_eq!(u64_at(&alice.op(132), 0), 2);
    assert_eq!(message(&alice.op(131)), (1, "lobby".into(), "alice".into(), data.clone()));
    assert_eq!(message(&alice.op(131)), (2, "lobby".into(), "alice".into(), Vec::new()));
    alice.send_message(command(5, &[&0xdead_beef_u64.to_le_bytes()]));
    assert_eq!(u64_at(&alice.op(133), 0), 0xdead_beef);

    let (mut bob, _) = connect(&server, "bob");
    bob.send_message(command(4, &[&1_u64.to_le_bytes(), &0_u64.to_le_bytes(), b"lobby"]));
    let recovered = bob.op(129);
    assert_eq!((u64_at(&recovered, 8), recovered[16], &recovered[17..21]), (2, 1, 1_u32.to_le_bytes().as_slice()));
    let Arrived::Binary(next) = bob.next() else { panic!("the messages of a joined follow it directly") };
    assert_eq!(next[..4], 131_u32.to_le_bytes());
    assert_eq!(message(&next[4..]), (2, "lobby".into(), "alice".into(), Vec::new()));
    bob.send_message(command(4, &[&1_u64.to_le_bytes(), &(u64_at(&recovered, 0) ^ 1).to_le_bytes(), b"lobby"]));
    assert_eq!(bob.op(129)[16], 0, "another epoch cannot be recovered");

    alice.send_message(command(2, &[b"lobby"]));
    assert_eq!(alice.op(130), b"lobby");
    alice.send_message(publish_command("lobby", b"x"));
    let error = alice.op(135);
    assert_eq!(u16_at(&error, 0), 3, "not_joined");
}

#[test]
fn each_member_reads_in_its_own_form() {
    let server = Server::start(&["rooms.presence=false"]);
    let mut text = Client::connect(&server, "text");
    let (mut binary, _) = connect(&server, "binary");
    text.join("lobby");
    binary.send_message(command(1, &[b"lobby"]));
    binary.op(129);
    text.send_message(Message::text(r#"{"type":"publish","room":"lobby","data":{"a" : [1, 2.50]}}"#));
    assert_eq!(message(&binary.op(131)).3, br#"{"a" : [1, 2.50]}"#, "byte for byte as sent");
    assert_eq!(text.messages("lobby", 1)[0]["data"], json!({"a": [1, 2.5]}));
    binary.send_message(publish_command("lobby", &[0, 1, 2, 255]));
    let push = text.messages("lobby", 1).remove(0);
    assert_eq!((&push["data_b64"], push.get("data")), (&json!("AAEC/w=="), None));
    let page = text.request(json!({"type": "history", "room": "lobby"}));
    assert_eq!(page["messages"][0]["data"], json!({"a": [1, 2.5]}));
    assert_eq!(page["messages"][1]["data_b64"], "AAEC/w==");
    let (mut late, _) = connect(&server, "late");
    late.send_message(command(1, &[b"lobby"]));
    late.op(129);
    assert_eq!(message(&late.op(131)).3, br#"{"a" : [1, 2.50]}"#);
    assert_eq!(message(&late.op(131)).3, [0, 1, 2, 255]);
}

#[test]
fn replies_take_the_form_of_their_command_and_pushes_that_of_the_connection() {
    let server = Server::start(&["rooms.presence=false"]);
    let (mut client, _) = connect(&server, "alice");
    assert_eq!(client.join("lobby")["seq"], 0, "a JSON command on a binary connection is answered in JSON");
    assert_eq!(client.publish("lobby", json!(1)), 1);
    assert_eq!(message(&client.op(131)).3, b"1", "its pushes stay binary");
    let mut text = Client::connect(&server, "bob");
    text.send_message(command(1, &[b"lobby"]));
    assert_eq!(u64_at(&text.op(129), 8), 1, "a binary command on a JSON connection is answered in binary");
    text.send_message(publish_command("lobby", b"\xff"));
    assert_eq!(u64_at(&text.op(132), 0), 2);
    assert_eq!(text.messages("lobby", 1)[0]["data_b64"], "/w==");
}

#[test]
fn binary_connections_are_told_of_status_by_op_136() {
    let server = Server::start(&[]);
    let (mut alice, _) = connect(&server, "alice");
    alice.send_message(command(1, &[b"lobby"]));
    alice.op(129);
    let mut bob = Client::connect(&server, "bob");
    bob.join("lobby");
    loop {
        let push: Value = serde_json::from_slice(&alice.op(136)).expect("op 136 is JSON");
        if push["type"] == "status" && push["user"] == "bob" {
            assert_eq!((&push["room"], &push["status"]), (&json!("lobby"), &json!("online")));
            break;
        }
    }
}

#[test]
fn a_short_or_unknown_binary_message_is_an_error() {
    let server = Server::start(&[]);
    let (mut client, _) = connect(&server, "alice");
    let long = u16::MAX.to_le_bytes();
    let bad: [(Vec<u8>, usize); 9] = [
        (vec![], 1),
        (vec![1, 0, 0], 1),
        (vec![1, 0, 0, 0], 1),
        (vec![5, 0, 0, 0, 1, 2, 3], 1),
        (vec![4, 0, 0, 0, 1, 2, 3], 1),
        ([3_u32.to_le_bytes().as_slice(), &long, b"lobby"].concat(), 1),
        ([1_u32.to_le_bytes().as_slice(), b"\xff\xfe"].concat(), 1),
        (99_u32.to_le_bytes().to_vec(), 2),
        (128_u32.to_le_bytes().to_vec(), 2),
    ];
    for (bytes, code) in bad {
        client.send_message(Message::binary(bytes.clone()));
        let error = client.op(135);
        assert_eq!(u16_at(&error, 0), code, "{bytes:?}: {}", String::from_utf8_lossy(&error[2..]));
    }
    client.send_message(command(5, &[&7_u64.to_le_bytes()]));
    assert_eq!(u64_at(&client.op(133), 0), 7, "an error never closes the connection");
}

#[test]
fn the_first_known_subprotocol_is_chosen() {
    let server = Server::start(&[]);
    for (offered, chosen) in [
        ("roomring.v1.json", Some("roomring.v1.json")),
        ("roomring.v1.binary, roomring.v1.json", Some("roomring.v1.binary")),
        ("mqtt, roomring.v1.json, roomring.v1.binary", Some("roomring.v1.json")),
        ("mqtt", None),
    ] {
        let mut stream = crate::http::open(server.listen);
        let more = format!("Sec-WebSocket-Protocol: {offered}\r\n");
        let head = crate::http::upgrade_head(server.listen, "/ws", &more);
        std::io::Write::write_all(&mut stream, head.as_bytes()).expect("the server reads");
        let answer = crate::http::parse(crate::http::read_head(&mut stream).as_bytes());
        assert_eq!((answer.status, answer.field("Sec-WebSocket-Protocol")), (101, chosen), "{offered}");
    }
}
