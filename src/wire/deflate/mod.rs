//! permessage-deflate (RFC 7692): the payload of one message compressed, and inflated again within a bound. Always without
//! context takeover, so that one [`Compressor`] and one [`Inflater`] serve any number of connections and a compressed
//! message can be shared by all who read it. Knows no handshake and no connection.

mod compress;
mod inflate;
#[cfg(test)]
mod tests;

pub use compress::{Compressor, Deflated};
pub use inflate::{InflateError, Inflater};

/// What a sync flush ends with, which is not sent (RFC 7692 section 7.2.1).
const FLUSH_TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The first byte's bit that says that a message is compressed.
pub const COMPRESSED_BIT: u8 = 0x40;

/// The most bytes that any deflate makes of a message of `bytes_max`: one that finds nothing to compress and has no
/// memory for blocks that say so takes 9 bits for each byte and some more for each block. zlib's own bound is a little
/// lower (`deflateBound` for any memory level).
#[must_use]
pub const fn compressed_bytes_max(bytes_max: usize) -> usize {
    bytes_max.saturating_add(bytes_max / 8 + bytes_max / 64 + 64)
}

/// How far back a compressed message may refer: the part of an agreement that decides how the server compresses. A few
/// only, for each is a broadcast's compression of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// 32 KiB: whoever does not ask for less.
    Bits15,
    /// 4 KiB. The smallest here: with windows of 1 KiB and less zlib-rs may never come to an end (0.6.8, levels from 3 on).
    Bits12,
}

impl Window {
    /// The largest first.
    pub const ALL: [Window; 2] = [Window::Bits15, Window::Bits12];

    /// Its size, as the parameter `server_max_window_bits` tells it.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Window::Bits15 => 15,
            Window::Bits12 => 12,
        }
    }

    /// The largest that a client which holds only so many bits can read; `None` below 12.
    #[must_use]
    pub fn within(bits: u8) -> Option<Window> {
        Window::ALL.into_iter().find(|window| window.bits() <= bits)
    }

    /// Its place in [`Window::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}
