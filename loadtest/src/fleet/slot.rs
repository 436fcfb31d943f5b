//! Owns the state of one client's connection. Never acts.

use mio::net::TcpStream;
use roomring::wire::client::ServerDecoder;

/// The state of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlotState {
    /// No connection.
    #[default]
    Empty,
    /// TCP connects; the upgrade request waits.
    Connecting,
    /// The upgrade request is sent.
    Upgrading,
    /// The WebSocket is open.
    Open,
    /// A close frame was sent.
    Closing,
}

/// A client's connection: 16 bytes without buffers.
#[derive(Debug, Default)]
pub struct ClientSlot {
    /// Its socket.
    pub stream: Option<TcpStream>,
    /// Its state.
    pub state: SlotState,
    /// Whether the client does not read.
    pub stalled: bool,
    /// Whether messages may be compressed.
    pub deflate: bool,
    /// Its buffers, if any hold bytes.
    pub held: Option<Box<SlotBuffers>>,
}

/// Buffers of a client.
#[derive(Debug, Default)]
pub struct SlotBuffers {
    /// Incomplete answer to the upgrade request.
    pub head: Vec<u8>,
    /// Decoder with an incomplete frame or message.
    pub decoder: Option<ServerDecoder>,
    /// Bytes that the socket has not taken.
    pub output: Vec<u8>,
}

/// Maximum size of a recycled buffer.
const KEPT_BYTES_MAX: usize = 64 * 1024;

impl SlotBuffers {
    /// Whether all buffers are empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.head.is_empty() && self.decoder.is_none() && self.output.is_empty()
    }

    /// Empties all buffers.
    pub fn clear(&mut self) {
        self.decoder = None;
        for buffer in [&mut self.head, &mut self.output] {
            buffer.clear();
            buffer.shrink_to(KEPT_BYTES_MAX);
        }
    }
}
