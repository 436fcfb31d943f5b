//! Owns the floor server: the minimum work of a fan-out. One thread sends the same bytes to every socket of a room by
//! plain `send`, without queues, limits or numbers. The cost of a delivery elsewhere ÷ the cost of a send here is the
//! floor ratio. Never queues bytes.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use roomring::wire::frame::{Opcode, close_frame, server_frame};
use roomring::wire::handshake::{Head, HttpRequest, accept_response, json_response, parse_head};
use roomring::wire::message::{Decoder, Event};
use serde::{Deserialize, Serialize};

use crate::clock;

const LISTENER: Token = Token(usize::MAX);
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// Counters of the floor server, returned by `GET /floor`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloorCounters {
    /// Calls of `send`.
    pub sends: u64,
    /// Frames in these sends.
    pub frames: u64,
    /// Bytes in these sends.
    pub bytes: u64,
    /// Sends that a socket did not take completely, which falsify the result.
    pub refused: u64,
    /// CPU time of the `send` loops only, in nanoseconds.
    pub send_cpu_ns: u64,
}

impl FloorCounters {
    /// The change since `earlier`, by field.
    #[must_use]
    pub fn since(&self, earlier: &FloorCounters) -> FloorCounters {
        FloorCounters {
            sends: self.sends - earlier.sends,
            frames: self.frames - earlier.frames,
            bytes: self.bytes - earlier.bytes,
            refused: self.refused - earlier.refused,
            send_cpu_ns: self.send_cpu_ns - earlier.send_cpu_ns,
        }
    }
}

struct FloorConnection {
    stream: TcpStream,
    room: Option<usize>,
    head: Vec<u8>,
    decoder: Decoder,
}

struct Floor {
    poll: Poll,
    listener: TcpListener,
    connections: Vec<Option<FloorConnection>>,
    free: Vec<usize>,
    names: HashMap<String, usize>,
    rooms: Vec<Vec<usize>>,
    out: Vec<u8>,
    counters: FloorCounters,
}

/// Serves rooms at `/room/NAME` until the process ends.
///
/// # Errors
/// The kernel refuses a listening socket or an epoll.
pub fn run() -> anyhow::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let poll = Poll::new().context("epoll")?;
    let mut listener = listen(address).context("listening socket")?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("floor ready listen={}", listener.local_addr()?);
    let mut floor = Floor {
        poll,
        listener,
        connections: Vec::new(),
        free: Vec::new(),
        names: HashMap::new(),
        rooms: Vec::new(),
        out: Vec::new(),
        counters: FloorCounters::default(),
    };
    let mut events = Events::with_capacity(1_024);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match floor.poll.poll(&mut events, None) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context("epoll"),
        }
        for event in &events {
            if event.token() == LISTENER {
                floor.accept();
            } else {
                floor.read(event.token().0, &mut buffer);
            }
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4_096)?;
    Ok(TcpListener::from_std(socket.into()))
}

impl Floor {
    fn accept(&mut self) {
        loop {
            let Ok((mut stream, _)) = self.listener.accept() else { return };
            let index = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let registered = self.poll.registry().register(&mut stream, Token(index), Interest::READABLE);
            if registered.and_then(|()| stream.set_nodelay(true)).is_err() {
                self.free.push(index);
                continue;
            }
            let decoder = Decoder::default();
            self.connections[index] = Some(FloorConnection { stream, room: None, head: Vec::new(), decoder });
        }
    }

    fn read(&mut self, index: usize, buffer: &mut [u8]) {
        while let Some(connection) = &mut self.connections[index] {
            let open = match connection.stream.read(buffer) {
                Ok(0) => false,
                Ok(count) if connection.room.is_some() => self.publish(index, &mut buffer[..count]),
                Ok(count) => self.upgrade(index, &buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_broken) => false,
            };
            if !open {
                self.end(index);
            }
        }
    }

    /// Takes bytes of a request head. Returns false to end the connection.
    fn upgrade(&mut self, index: usize, received: &[u8]) -> bool {
        let Some(connection) = &mut self.connections[index] else { return false };
        connection.head.extend_from_slice(received);
        let request = match parse_head(&connection.head) {
            Head::Incomplete => return true,
            Head::Complete { request, .. } => request,
            Head::Refused { .. } => return false,
        };
        let upgrade = match request {
            HttpRequest::Upgrade(upgrade) => upgrade,
            HttpRequest::BadUpgrade { .. } | HttpRequest::Account(_) => return false,
            HttpRequest::Get { .. } => {
                let body = serde_json::to_string(&self.counters).expect("plain integers");
                let answer = json_response(200, &body, clock::unix_seconds() * 1_000);
                let _ = connection.stream.write_all(&answer);
                return false;
            }
        };
        if connection.stream.write_all(&accept_response(&upgrade)).is_err() {
            return false;
        }
        connection.head = Vec::new();
        let room = *self.names.entry(upgrade.path).or_insert_with(|| {
            self.rooms.push(Vec::new());
            self.rooms.len() - 1
        });
        connection.room = Some(room);
        self.rooms[room].push(index);
        true
    }

    /// Takes frames and sends them in one piece to every member of the room. Returns false to end the connection.
    fn publish(&mut self, index: usize, mut received: &mut [u8]) -> bool {
        let Some(FloorConnection { room: Some(room), decoder, stream, .. }) = &mut self.connections[index] else {
            return false;
        };
        let room = *room;
        self.out.clear();
        let mut frames = 0;
        loop {
            let rest = std::mem::take(&mut received);
            let Ok(decoded) = decoder.next(rest, MESSAGE_BYTES_MAX) else { return false };
            let used = decoded.used;
            let (opcode, payload) = match decoded.event {
                None => break,
                Some(Event::Text(text)) => (Opcode::Text, text.as_bytes()),
                Some(Event::Binary(bytes)) => (Opcode::Binary, bytes),
                Some(Event::Close(_)) => {
                    let _ = stream.write_all(&close_frame(1000, ""));
                    return false;
                }
                Some(Event::Ping(_) | Event::Pong(_)) => {
                    received = &mut rest[used..];
                    continue;
                }
            };
            self.out.extend(server_frame(opcode, payload));
            frames += 1;
            received = &mut rest[used..];
        }
        if frames > 0 {
            self.send(room, frames);
        }
        true
    }

    fn send(&mut self, room: usize, frames: u64) {
        let begun = clock::thread_cpu_ns();
        let mut refused = 0;
        for &member in &self.rooms[room] {
            if let Some(FloorConnection { stream, .. }) = &mut self.connections[member] {
                refused += u64::from(!matches!(stream.write(&self.out), Ok(sent) if sent == self.out.len()));
            }
        }
        let members = self.rooms[room].len() as u64;
        self.counters.send_cpu_ns += clock::thread_cpu_ns() - begun;
        self.counters.sends += members;
        self.counters.frames += members * frames;
        self.counters.bytes += members * self.out.len() as u64;
        self.counters.refused += refused;
    }

    fn end(&mut self, index: usize) {
        if let Some(connection) = self.connections[index].take() {
            self.free.push(index);
            if let Some(room) = connection.room {
                self.rooms[room].retain(|&member| member != index);
            }
        }
    }
}

/// Requests the counters of a floor server.
///
/// # Errors
/// The server does not answer.
pub fn counters(address: SocketAddr) -> anyhow::Result<FloorCounters> {
    let body = super::http::get(address, "/floor")?;
    serde_json::from_str(&body).context("invalid answer of the floor server")
}
