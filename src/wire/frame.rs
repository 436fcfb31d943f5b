//! Server frames (RFC 6455 section 5.2): a finished frame is header and payload in one shared buffer.
//! Never masks: `message` reads the frames of clients, `client` writes them.

use bytes::Bytes;

use super::writer::Writer;

/// A frame's opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    /// The opcode in the low four bits of a frame's first byte; `None` for reserved opcodes.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Opcode> {
        match bits {
            0 => Some(Opcode::Continuation),
            1 => Some(Opcode::Text),
            2 => Some(Opcode::Binary),
            8 => Some(Opcode::Close),
            9 => Some(Opcode::Ping),
            10 => Some(Opcode::Pong),
            _ => None,
        }
    }

    /// Whether it is a close, ping or pong.
    #[must_use]
    pub const fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

/// Maximum bytes of a control frame's payload (RFC 6455 section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// Bytes of the longest header that a server writes: 64-bit length, no mask.
pub const SERVER_HEADER_BYTES_MAX: usize = 10;

/// Bytes of the unmasked header for a payload of `payload_len` bytes.
#[must_use]
pub const fn header_len(payload_len: usize) -> usize {
    match payload_len {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => SERVER_HEADER_BYTES_MAX,
    }
}

/// Writes the header of a final frame in its shortest form. `mask_bit` is 0x80 if a mask key follows, otherwise 0.
pub(super) fn write_header(out: &mut Vec<u8>, opcode: Opcode, payload_len: usize, mask_bit: u8) {
    write_header_bits(out, 0x80 | opcode as u8, payload_len, mask_bit);
}

/// The same with a given first byte.
pub(super) fn write_header_bits(out: &mut Vec<u8>, first: u8, payload_len: usize, mask_bit: u8) {
    match payload_len {
        0..=125 => out.extend_from_slice(&[first, mask_bit | payload_len as u8]),
        126..=0xffff => {
            out.extend_from_slice(&[first, mask_bit | 126]);
            out.extend_from_slice(&(payload_len as u16).to_be_bytes());
        }
        _ => {
            out.extend_from_slice(&[first, mask_bit | 127]);
            out.extend_from_slice(&(payload_len as u64).to_be_bytes());
        }
    }
}

/// Appends a finished, unmasked frame with a given first byte.
pub(super) fn append_server_frame(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    write_header_bits(out, first, payload.len(), 0);
    out.extend_from_slice(payload);
}

/// A finished, unmasked, final frame. A control frame's payload must not exceed [`CONTROL_BYTES_MAX`].
#[must_use]
pub fn server_frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    debug_assert!(!opcode.is_control() || payload.len() <= CONTROL_BYTES_MAX, "control payload too long");
    let mut out = Vec::with_capacity(header_len(payload.len()) + payload.len());
    write_header(&mut out, opcode, payload.len(), 0);
    out.extend_from_slice(payload);
    Bytes::from(out)
}

/// A finished frame with the payload that `write` writes, in one buffer of exactly its size. `write` runs twice, to measure
/// and to write, and must write the same both times.
pub(super) fn frame_of(opcode: Opcode, write: impl Fn(&mut Writer<'_>)) -> Bytes {
    let payload_len = Writer::measure(&write);
    let mut out = Vec::with_capacity(header_len(payload_len) + payload_len);
    append_frame(&mut out, opcode, payload_len, write);
    Bytes::from(out)
}

/// Appends a finished frame with the payload that `write` writes, measured before as `payload_len` bytes.
pub(super) fn append_frame(out: &mut Vec<u8>, opcode: Opcode, payload_len: usize, write: impl Fn(&mut Writer<'_>)) {
    write_header(out, opcode, payload_len, 0);
    let start = out.len();
    write(&mut Writer::to(out));
    assert_eq!(out.len() - start, payload_len, "the payload must have its measured length");
}

/// The payload of a finished, unmasked frame.
#[must_use]
pub fn payload_of(frame: &Bytes) -> Bytes {
    frame.slice(payload_start(frame)..)
}

/// The offset of a finished, unmasked frame's payload.
pub(super) fn payload_start(frame: &[u8]) -> usize {
    match frame[1] & 0x7f {
        127 => SERVER_HEADER_BYTES_MAX,
        126 => 4,
        _ => 2,
    }
}

/// A finished close frame. `reason` is cut between characters if it is too long.
#[must_use]
pub fn close_frame(code: u16, reason: &str) -> Bytes {
    let reason = &reason[..reason.floor_char_boundary(CONTROL_BYTES_MAX - 2)];
    let mut payload = [0; CONTROL_BYTES_MAX];
    payload[..2].copy_from_slice(&code.to_be_bytes());
    payload[2..2 + reason.len()].copy_from_slice(reason.as_bytes());
    server_frame(Opcode::Close, &payload[..2 + reason.len()])
}

/// One frame in a buffer of finished server frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameAt<'a> {
    /// Its first byte: FIN, reserved bits and opcode.
    pub(super) first: u8,
    /// The offset of its header.
    pub(super) start: usize,
    header_len: usize,
    pub(super) payload: &'a [u8],
}

impl FrameAt<'_> {
    /// The offset behind its last byte.
    pub(super) const fn end(&self) -> usize {
        self.start + self.header_len + self.payload.len()
    }
}

/// The frames in a buffer of finished server frames; ends at the first incomplete one.
pub(super) fn frames_of(frames: &[u8]) -> impl Iterator<Item = FrameAt<'_>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let [first, length, rest @ ..] = &frames[start..] else { return None };
        let (length, extended) = match (length & 0x7f, rest) {
            (126, [a, b, ..]) => (usize::from(u16::from_be_bytes([*a, *b])), 2_usize),
            (127, [a, b, c, d, e, f, g, h, ..]) => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as usize, 8),
            (length, _) => (usize::from(length), 0),
        };
        let payload = rest.get(extended..extended.saturating_add(length))?;
        let frame = FrameAt { first: *first, start, header_len: 2 + extended, payload };
        start = frame.end();
        Some(frame)
    })
}

/// Number of messages in a buffer of finished server frames; control frames do not count.
#[must_use]
pub fn count_messages(frames: &[u8]) -> u32 {
    frames_of(frames).map(|frame| u32::from(frame.first & 0x08 == 0)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_and_control_frames_are_not() {
        let mut frames = Vec::new();
        for length in [0, 125, 126, 65_535, 65_536] {
            frames.extend_from_slice(&server_frame(Opcode::Text, &vec![b'x'; length]));
            frames.extend_from_slice(&server_frame(Opcode::Ping, b"x"));
        }
        assert_eq!(count_messages(&frames), 5);
        assert_eq!(count_messages(&[]), 0);
    }

    #[test]
    fn lengths_are_minimal_and_payloads_come_back() {
        for (length, header) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10), (70_000, 10)] {
            let payload = vec![7; length];
            let frame = server_frame(Opcode::Binary, &payload);
            assert_eq!(frame.len(), header + length);
            assert_eq!(header_len(length), header);
            assert_eq!(frame[0], 0x82);
            assert_eq!(frame[1] & 0x80, 0, "a server never masks");
            assert_eq!(payload_of(&frame), payload);
        }
    }

    #[test]
    fn headers_are_those_of_tungstenite() {
        use tungstenite::protocol::frame::FrameHeader;
        use tungstenite::protocol::frame::coding::{Data, OpCode};
        for length in [0usize, 1, 125, 126, 127, 65_535, 65_536, 1 << 20] {
            let mut expected = Vec::new();
            FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() }
                .format(length as u64, &mut expected)
                .expect("a vector takes every write");
            let mut written = Vec::new();
            write_header(&mut written, Opcode::Text, length, 0);
            assert_eq!(written, expected);
        }
    }

    #[test]
    fn close_reasons_are_cut_at_a_character() {
        let frame = close_frame(1000, &"ä".repeat(100));
        assert_eq!(frame.len(), 2 + 2 + 122);
        assert_eq!(&frame[..4], &[0x88, 124, 0x03, 0xe8]);
        assert_eq!(std::str::from_utf8(&frame[4..]), Ok("ä".repeat(61).as_str()));
        assert_eq!(&close_frame(4408, "late")[..], b"\x88\x06\x11\x38late");
        assert_eq!(&close_frame(1001, "")[..], b"\x88\x02\x03\xe9");
    }

    #[test]
    fn opcodes_read_back() {
        for bits in 0..16 {
            match Opcode::from_bits(bits) {
                Some(opcode) => assert_eq!(opcode as u8, bits),
                None => assert!(matches!(bits, 3..=7 | 11..=15)),
            }
        }
    }
}
