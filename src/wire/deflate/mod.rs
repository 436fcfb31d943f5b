//! permessage-deflate (RFC 7692): compresses the payload of one message, and inflates it within a bound. Always without
//! context takeover, so that one [`Compressor`] and one [`Inflater`] serve any number of connections, and all readers of a
//! compressed message share it. Never sees a handshake or a connection.

mod compress;
mod inflate;
#[cfg(test)]
mod tests;

pub use compress::{Compressor, Deflated};
pub use inflate::{InflateError, Inflater};

/// The end of a sync flush, which is not sent (RFC 7692 section 7.2.1).
const FLUSH_TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The bit of a frame's first byte that marks a compressed message.
pub const COMPRESSED_BIT: u8 = 0x40;

/// Maximum bytes that any deflate implementation makes of a message of `bytes_max`. One that cannot compress, and has too
/// little memory for stored blocks, needs 9 bits for each byte and a few more for each block. zlib's own bound is slightly
/// lower (`deflateBound` for any memory level).
#[must_use]
pub const fn compressed_bytes_max(bytes_max: usize) -> usize {
    bytes_max.saturating_add(bytes_max / 8 + bytes_max / 64 + 64)
}

/// How far back a compressed message may refer; clients negotiate it. There are only a few windows, because a broadcast is
/// compressed once for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// 32 KiB: the default.
    Bits15,
    /// 4 KiB: the smallest on offer, because zlib-rs may loop forever with windows up to 1 KiB (0.6.8, from level 3 on).
    Bits12,
}

impl Window {
    /// Every window, the largest first.
    pub const ALL: [Window; 2] = [Window::Bits15, Window::Bits12];

    /// Its size as a value of the parameter `server_max_window_bits`.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Window::Bits15 => 15,
            Window::Bits12 => 12,
        }
    }

    /// The largest window of at most this many bits; `None` below 12.
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
