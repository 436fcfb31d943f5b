//! One simulated TCP connection: bytes in flight in both directions, split anywhere, and the ways in which it can end.
//! Carries bytes; never looks at them.

use std::collections::VecDeque;

use bytes::Bytes;

/// Towards the server.
#[derive(Debug)]
pub enum Up {
    /// Bytes.
    Bytes(Vec<u8>),
    /// The client's stream ends here; it still reads.
    End,
    /// The client has reset the connection.
    Reset,
}

/// A connection, from the client's connect to the end of both sides.
#[derive(Debug)]
pub struct Socket {
    /// Whose.
    pub client: usize,
    /// Where to: node, core and slot there once accepted.
    pub node: usize,
    /// Which core accepts it.
    pub core: usize,
    /// The slot, as long as the server holds it.
    pub slot: Option<u32>,
    /// Under way to the server, with the time of arrival, in order.
    pub up: VecDeque<(u64, Up)>,
    /// Arrivals are in order: nothing arrives before this.
    pub up_after_us: u64,
    /// The send that the kernel has not taken whole, and how much of it is taken.
    pub sending: Option<(Bytes, usize)>,
    /// Taken by the kernel, not yet by the reader.
    pub buffer: VecDeque<u8>,
    /// How much the kernel takes before the reader does.
    pub kernel_bytes: usize,
    /// The server sends no more.
    pub server_fin: bool,
    /// The server has said that nothing but its close follows.
    pub server_said_last: bool,
    /// The server has closed its side.
    pub server_closed: bool,
    /// The connection was cut: a crash, or a reset by the client.
    pub cut: bool,
    /// The client takes no bytes before this time.
    pub stuck_until_us: u64,
    /// The client is not there any more.
    pub client_gone: bool,
    /// When the client vanished without a word.
    pub vanished_us: Option<u64>,
    /// A read by the client is scheduled.
    pub reading: bool,
    /// When the `Ended` input was handed to the engine.
    pub told_ended_us: Option<u64>,
    /// The `Disconnected` input was handed to the engine.
    pub told_disconnected: bool,
}

impl Socket {
    /// A connection that is being made.
    pub fn new(client: usize, node: usize, core: usize, kernel_bytes: usize, now_us: u64) -> Self {
        Self {
            client,
            node,
            core,
            slot: None,
            up: VecDeque::new(),
            up_after_us: now_us,
            sending: None,
            buffer: VecDeque::new(),
            kernel_bytes,
            server_fin: false,
            server_said_last: false,
            server_closed: false,
            cut: false,
            stuck_until_us: 0,
            client_gone: false,
            vanished_us: None,
            reading: false,
            told_ended_us: None,
            told_disconnected: false,
        }
    }

    /// Moves bytes of the send that is out into the kernel's buffer; whether it was taken whole just now.
    pub fn fill(&mut self) -> bool {
        let Some((bytes, taken)) = &mut self.sending else { return false };
        // Where the kernel holds nothing, a send is taken when its reader has read all of it.
        let room =
            if self.kernel_bytes == 0 { usize::MAX } else { self.kernel_bytes.saturating_sub(self.buffer.len()) };
        let part = room.min(bytes.len() - *taken);
        self.buffer.extend(&bytes[*taken..*taken + part]);
        *taken += part;
        let whole = *taken == bytes.len() && (self.kernel_bytes > 0 || self.buffer.is_empty());
        if whole {
            self.sending = None;
        }
        whole
    }

    /// The client takes up to `count` bytes.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        let count = count.min(self.buffer.len());
        self.buffer.drain(..count).collect()
    }

    /// Whether the client, having read everything, sees the end of the stream.
    pub fn is_at_end(&self) -> bool {
        self.buffer.is_empty() && self.sending.is_none() && (self.server_fin || self.server_closed)
    }

    /// Whether the client reads now.
    pub fn can_read(&self, now_us: u64) -> bool {
        !self.client_gone && self.stuck_until_us <= now_us && (!self.buffer.is_empty() || self.is_at_end())
    }
}
