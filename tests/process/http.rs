//! Plain HTTP/1.1 as bytes on a socket, as a client sees it before a WebSocket opens. Uses no library, so that
//! malformed requests can be sent too.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use serde_json::Value;

use crate::server::PATIENCE;

/// The key of RFC 6455 section 1.3 and its answer.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// An answer, read to the end of the connection.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Status line and fields, as sent.
    pub head: String,
    pub body: String,
}

impl Answer {
    /// A field's value.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.find(|(its_name, _)| its_name.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("the body is JSON ({error}): {self:?}"))
    }
}

/// A socket to the server that gives up after a while.
pub fn open(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the server accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream.set_nodelay(true).expect("delays can be turned off");
    stream
}

/// Reads until the peer ends the connection (by a reset, too). Panics when it does not.
pub fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut received = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return received,
            Ok(count) => received.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return received,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                panic!("the server does not end the connection ({error}): {:?}", String::from_utf8_lossy(&received))
            }
        }
    }
}

/// Reads exactly up to the end of a head.
pub fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut byte).expect("the server answers");
        assert!(count == 1, "the connection ended within the head: {:?}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("a head is text")
}

/// Sends bytes and reads the answer to the end of the connection.
pub fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = open(address);
    // A server that has seen enough may answer and close before it has read everything.
    let _ = stream.write_all(request);
    parse(&read_to_end(&mut stream))
}

/// Cuts an answer into its parts.
pub fn parse(received: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(received).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("there is a whole head: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("there is a status line: {text:?}"));
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// A `GET` without an upgrade.
pub fn get(address: SocketAddr, path: &str) -> Answer {
    exchange(address, format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())
}

/// A request with more fields, each ending in CRLF, and a body with its length.
pub fn send(address: SocketAddr, method: &str, path: &str, more: &str, body: &[u8]) -> Answer {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{more}{length}\r\n");
    exchange(address, &[head.as_bytes(), body].concat())
}

/// A JSON value, posted.
pub fn post(address: SocketAddr, path: &str, body: &Value) -> Answer {
    send(address, "POST", path, "Content-Type: application/json\r\n", body.to_string().as_bytes())
}

/// The head of a correct upgrade with more fields, each ending in CRLF.
pub fn upgrade_head(address: SocketAddr, path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
    )
}

/// A socket on which the WebSocket has just opened; nothing behind the 101 has been read.
pub fn open_websocket(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = open(address);
    stream.write_all(upgrade_head(address, path, "").as_bytes()).expect("the server reads");
    let head = read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream
}

/// A frame as a client sends it: masked.
pub fn client_frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first_byte];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Cuts whole server frames into first byte and payload.
pub fn server_frames(mut received: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, second, rest @ ..] = received {
        assert_eq!(second & 0x80, 0, "a server does not mask");
        let (length, rest) = match second {
            126 if rest.len() >= 2 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            127 if rest.len() >= 8 => (u64::from_be_bytes(rest[..8].try_into().expect("8 bytes")) as usize, &rest[8..]),
            126 | 127 => break,
            short => (usize::from(*short), rest),
        };
        if rest.len() < length {
            break;
        }
        frames.push((*first, rest[..length].to_vec()));
        received = &rest[length..];
    }
    frames
}

/// Reads until a frame's payload holds `part`, and gives it as text.
pub fn read_frame_with(stream: &mut TcpStream, part: &str) -> String {
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let frames = server_frames(&received);
        let found = frames.iter().map(|(_, payload)| String::from_utf8_lossy(payload)).find(|text| text.contains(part));
        if let Some(found) = found {
            return found.into_owned();
        }
        let count = stream.read(&mut buffer).expect("the server goes on");
        assert!(count > 0, "the connection ended before a frame with {part:?}: {frames:?}");
        received.extend_from_slice(&buffer[..count]);
    }
}

/// Reads to the end of the connection and gives the code of the close frame that must come before it.
pub fn close_code(stream: &mut TcpStream) -> u16 {
    let received = read_to_end(stream);
    let frames = server_frames(&received);
    let close = frames.iter().find(|(first, _)| *first == 0x88);
    let (_, payload) = close.unwrap_or_else(|| panic!("a close frame comes before the end: {frames:?}"));
    u16::from_be_bytes([payload[0], payload[1]])
}

/// Says that nothing more will be sent.
pub fn end(stream: &TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
}
