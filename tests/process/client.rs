//! A blocking client over tungstenite, an implementation of RFC 6455 that is independent of the server's. Keeps
//! messages that arrive while it waits for others, in order.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, Message, WebSocket};

use crate::http;
use crate::server::{PATIENCE, Server};

/// A received message or end.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrived {
    Json(Value),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16),
    /// The connection ended without a close frame.
    End,
}

/// The transport of a connection.
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_ref(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}

/// A connection to the server.
pub struct Client {
    socket: WebSocket<Stream>,
    kept: VecDeque<Arrived>,
    last_id: u64,
    /// The welcome, if one was read.
    pub welcome: Value,
}

impl Client {
    /// A user of the JSON form.
    pub fn connect(server: &Server, user: &str) -> Self {
        Self::connect_at(server, &format!("/ws?user={user}"))
    }

    /// A path with its query; reads the welcome.
    pub fn connect_at(server: &Server, path: &str) -> Self {
        let mut client = Self::open(server.listen, path, None);
        client.welcome = client.expect("welcome");
        client
    }

    /// A connection with a subprotocol; nothing has been read.
    pub fn open(address: SocketAddr, path: &str, subprotocol: Option<&str>) -> Self {
        Self::over(Stream::Plain(http::open(address)), address, path, subprotocol)
    }

    /// The same over an existing stream.
    pub fn over(stream: Stream, address: SocketAddr, path: &str, subprotocol: Option<&str>) -> Self {
        let mut request = format!("ws://{address}{path}").into_client_request().expect("a valid address");
        if let Some(subprotocol) = subprotocol {
            let value = subprotocol.parse().expect("a valid field");
            request.headers_mut().insert("Sec-WebSocket-Protocol", value);
        }
        let config = WebSocketConfig::default().read_buffer_size(4096).max_message_size(Some(64 << 20));
        let opened = tungstenite::client::client_with_config(request, stream, Some(config));
        let (socket, _) = opened.unwrap_or_else(|error| panic!("the WebSocket opens at {path}: {error}"));
        Self { socket, kept: VecDeque::new(), last_id: 0, welcome: Value::Null }
    }

    /// Sends a JSON value.
    pub fn send(&mut self, command: &Value) {
        self.send_message(Message::text(command.to_string()));
    }

    /// Sends JSON values in one write, so that they come in as few segments as they fit into.
    pub fn send_at_once(&mut self, commands: &[Value]) {
        for command in commands {
            self.socket.write(Message::text(command.to_string())).expect("the connection is open");
        }
        self.socket.flush().expect("the connection is open");
    }

    pub fn send_message(&mut self, message: Message) {
        self.socket.send(message).expect("the connection is open");
    }

    /// Sends, whether or not the server still reads.
    pub fn try_send(&mut self, command: &Value) -> bool {
        self.socket.send(Message::text(command.to_string())).is_ok()
    }

    /// Sends a command with an `id` and returns its reply.
    pub fn request(&mut self, mut command: Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        command["id"] = json!(id);
        self.send(&command);
        self.json_where(&format!("the reply to {command}"), |message| message["id"] == id)
    }

    /// The same, where the reply must be an error with this code.
    pub fn refused(&mut self, command: Value, code: &str) -> Value {
        let reply = self.request(command);
        assert_eq!((&reply["type"], &reply["code"]), (&json!("error"), &json!(code)), "{reply}");
        reply
    }

    pub fn join(&mut self, room: &str) -> Value {
        let reply = self.request(json!({"type": "join", "room": room}));
        assert_eq!(reply["type"], "joined", "{reply}");
        reply
    }

    /// Publishes and returns the seq.
    pub fn publish(&mut self, room: &str, data: Value) -> u64 {
        let reply = self.request(json!({"type": "publish", "room": room, "data": data}));
        assert_eq!(reply["type"], "published", "{reply}");
        reply["seq"].as_u64().expect("a published message has a seq")
    }

    /// The next message, kept or new.
    pub fn next(&mut self) -> Arrived {
        match self.kept.pop_front() {
            Some(arrived) => arrived,
            None => self.read(Instant::now() + PATIENCE).expect("something arrives"),
        }
    }

    /// The next JSON message of a type. Keeps earlier ones.
    pub fn expect(&mut self, kind: &str) -> Value {
        self.json_where(kind, |message| message["type"] == kind)
    }

    /// The next `count` messages of the room, which must be its next ones.
    pub fn messages(&mut self, room: &str, count: usize) -> Vec<Value> {
        (0..count)
            .map(|_| self.json_where("a message", |message| message["type"] == "message" && message["room"] == room))
            .collect()
    }

    /// The next JSON message that matches. Keeps earlier ones.
    pub fn json_where(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let arrived = self.wait_for(what, |arrived| matches!(arrived, Arrived::Json(message) if fits(message)));
        let Arrived::Json(message) = arrived else { unreachable!("only JSON fits") };
        message
    }

    /// The next binary message with this op, without the op. Keeps earlier ones.
    pub fn op(&mut self, op: u32) -> Vec<u8> {
        let fits =
            |arrived: &Arrived| matches!(arrived, Arrived::Binary(bytes) if bytes.starts_with(&op.to_le_bytes()));
        let Arrived::Binary(bytes) = self.wait_for(&format!("op {op}"), fits) else { unreachable!("only binary fits") };
        bytes[4..].to_vec()
    }

    /// Reads to the close frame and returns its code.
    pub fn close_code(&mut self) -> u16 {
        let Arrived::Close(code) = self.wait_for("a close frame", |arrived| matches!(arrived, Arrived::Close(_)))
        else {
            unreachable!("only a close frame fits")
        };
        code
    }

    /// The kept messages: everything received and not asked for.
    pub fn kept(&self) -> impl Iterator<Item = &Arrived> {
        self.kept.iter()
    }

    /// Whether a JSON message of a type has been kept.
    pub fn has_kept(&self, kind: &str) -> bool {
        self.kept().any(|arrived| matches!(arrived, Arrived::Json(message) if message["type"] == kind))
    }

    /// The next message that matches. Keeps earlier ones.
    pub fn wait_for(&mut self, what: &str, fits: impl Fn(&Arrived) -> bool) -> Arrived {
        if let Some(at) = self.kept.iter().position(&fits) {
            return self.kept.remove(at).expect("it is there");
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Some(arrived) = self.read(deadline) else {
                panic!("did not arrive within {PATIENCE:?}: {what}; kept: {:?}", self.kept);
            };
            if fits(&arrived) {
                return arrived;
            }
            assert!(!matches!(arrived, Arrived::End), "the connection ended before {what}; kept: {:?}", self.kept);
            self.kept.push_back(arrived);
        }
    }

    /// The next message by the deadline, if any. Answers pings, as tungstenite does with every read.
    pub fn read(&mut self, deadline: Instant) -> Option<Arrived> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.stream().set_read_timeout(Some(left)).expect("a timeout can be set");
            return Some(match self.socket.read() {
                Ok(Message::Text(text)) => {
                    Arrived::Json(serde_json::from_str(&text).unwrap_or_else(|error| panic!("JSON ({error}): {text}")))
                }
                Ok(Message::Binary(bytes)) => Arrived::Binary(bytes.to_vec()),
                Ok(Message::Ping(payload)) => Arrived::Ping(payload.to_vec()),
                Ok(Message::Pong(payload)) => Arrived::Pong(payload.to_vec()),
                Ok(Message::Close(frame)) => Arrived::Close(frame.map_or(1005, |frame| frame.code.into())),
                Ok(Message::Frame(_)) => unreachable!("a read gives whole messages"),
                Err(Error::Io(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if Instant::now() < deadline {
                        continue;
                    }
                    return None;
                }
                Err(_) => Arrived::End,
            });
        }
    }

    /// Closes as a well-behaved client does and waits for the answer.
    pub fn close(mut self) {
        let _ = self.socket.close(None);
        while !matches!(self.read(Instant::now() + PATIENCE), None | Some(Arrived::End | Arrived::Close(_))) {}
    }

    /// The socket itself.
    pub fn stream(&self) -> &TcpStream {
        self.socket.get_ref().tcp()
    }

    /// The transport.
    pub fn over_what(&mut self) -> &mut Stream {
        self.socket.get_mut()
    }

    /// Ends by a reset; unread bytes are lost.
    pub fn reset(self) {
        let socket = socket2::SockRef::from(self.stream());
        socket.set_linger(Some(Duration::ZERO)).expect("linger can be set");
    }
}

/// A binary command.
pub fn command(op: u32, parts: &[&[u8]]) -> Message {
    Message::binary([&op.to_le_bytes(), parts.concat().as_slice()].concat())
}

/// A binary publish.
pub fn publish_command(room: &str, data: &[u8]) -> Message {
    command(3, &[&(room.len() as u16).to_le_bytes(), room.as_bytes(), data])
}
