//! One client's place in a fleet.

use mio::net::TcpStream;

/// How far a connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// No connection.
    #[default]
    Empty,
    /// TCP is connecting; the upgrade request waits.
    Connecting,
    /// The request is sent.
    Upgrading,
    /// WebSocket.
    Open,
    /// A close frame was sent.
    Closing,
}

/// A client: 24 bytes while nothing waits for it.
#[derive(Debug, Default)]
pub struct Slot {
    /// Its socket.
    pub stream: Option<TcpStream>,
    /// How far it is.
    pub state: State,
    /// It does not read.
    pub stalled: bool,
    /// What waits, if anything does.
    pub held: Option<Box<Held>>,
}

/// Bytes that wait for a client.
#[derive(Debug, Default)]
pub struct Held {
    /// The beginning of a frame.
    pub input: Vec<u8>,
    /// Frames of a message whose last has not come.
    pub message: Vec<u8>,
    /// What its socket has not taken.
    pub output: Vec<u8>,
}

/// Buffers above this are not kept for reuse.
const KEPT_BYTES_MAX: usize = 64 * 1024;

impl Held {
    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.input.is_empty() && self.message.is_empty() && self.output.is_empty()
    }

    /// Forgets all of it.
    pub fn clear(&mut self) {
        for buffer in [&mut self.input, &mut self.message, &mut self.output] {
            buffer.clear();
            buffer.shrink_to(KEPT_BYTES_MAX);
        }
    }
}

const _: () = assert!(size_of::<Slot>() <= 24);
