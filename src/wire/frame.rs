//! Server frames (RFC 6455 section 5.2): a finished frame is header and payload in one shared buffer.

use bytes::Bytes;

/// A frame's opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// More of the message before.
    Continuation = 0,
    /// UTF-8.
    Text = 1,
    /// Any bytes.
    Binary = 2,
    /// Close handshake.
    Close = 8,
    /// Are you there?
    Ping = 9,
    /// I am.
    Pong = 10,
}

/// A finished, unmasked, final frame.
#[must_use]
pub fn server_frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    let _ = (opcode, payload);
    todo!()
}

/// Payload of a finished frame that [`server_frame`] or an encoder of this floor made (one frame, no mask).
#[must_use]
pub fn payload_of(frame: &Bytes) -> Bytes {
    let _ = frame;
    todo!()
}

/// A finished close frame.
#[must_use]
pub fn close_frame(code: u16, reason: &str) -> Bytes {
    let _ = (code, reason);
    todo!()
}

/// How many finished frames stand in `bytes`, one after another.
#[must_use]
pub fn count_frames(bytes: &Bytes) -> u32 {
    let _ = bytes;
    todo!()
}
