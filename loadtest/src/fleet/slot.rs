//! One client's place in a fleet.

use mio::net::TcpStream;
use roomring::wire::client::ServerDecoder;

/// How far a connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlotState {
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

/// A client's connection: 16 bytes while nothing waits for it.
#[derive(Debug, Default)]
pub struct ClientSlot {
    /// Its socket.
    pub stream: Option<TcpStream>,
    /// How far it is.
    pub state: SlotState,
    /// It does not read.
    pub stalled: bool,
    /// Messages may be compressed.
    pub deflate: bool,
    /// What waits, if anything does.
    pub held: Option<Box<SlotBuffers>>,
}

/// Bytes that wait for a client.
#[derive(Debug, Default)]
pub struct SlotBuffers {
    /// The beginning of the answer to its upgrade.
    pub head: Vec<u8>,
    /// The beginning of a frame or message, if there is one.
    pub decoder: Option<ServerDecoder>,
    /// What its socket has not taken.
    pub output: Vec<u8>,
}

/// Buffers above this are not kept for reuse.
const KEPT_BYTES_MAX: usize = 64 * 1024;

impl SlotBuffers {
    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.head.is_empty() && self.decoder.is_none() && self.output.is_empty()
    }

    /// Forgets all of it.
    pub fn clear(&mut self) {
        self.decoder = None;
        for buffer in [&mut self.head, &mut self.output] {
            buffer.clear();
            buffer.shrink_to(KEPT_BYTES_MAX);
        }
    }
}
