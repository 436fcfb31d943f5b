//! The client's half of RFC 6455, written independently of the server's so that each checks the other: masked frames
//! out, server frames in, both strict. Knows nothing of rooms.

use super::rng::Rng;

/// Opcodes that a client writes or expects.
pub mod opcode {
    /// More of the message before.
    pub const CONTINUATION: u8 = 0;
    /// UTF-8.
    pub const TEXT: u8 = 1;
    /// Any bytes.
    pub const BINARY: u8 = 2;
    /// Close handshake.
    pub const CLOSE: u8 = 8;
    /// Are you there?
    pub const PING: u8 = 9;
    /// I am.
    pub const PONG: u8 = 10;
}

/// Appends one masked client frame.
pub fn write_frame(to: &mut Vec<u8>, first_byte: u8, payload: &[u8], rng: &mut Rng) {
    to.push(first_byte);
    match payload.len() {
        len @ 0..=125 => to.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            to.push(0x80 | 126);
            to.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            to.push(0x80 | 127);
            to.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    let mask = (rng.next() as u32).to_be_bytes();
    to.extend_from_slice(&mask);
    to.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
}

/// Appends one message as a single frame.
pub fn write_message(to: &mut Vec<u8>, opcode: u8, payload: &[u8], rng: &mut Rng) {
    write_frame(to, 0x80 | opcode, payload, rng);
}

/// Appends one message cut into frames, now and then with a ping between two of them. Returns the pings' payloads.
pub fn write_fragments(to: &mut Vec<u8>, opcode: u8, payload: &[u8], rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut pings = Vec::new();
    let mut rest = payload;
    let mut kind = opcode;
    for _ in 0..rng.range(1, 3) {
        let (part, after) = rest.split_at(rng.index(rest.len() + 1));
        write_frame(to, kind, part, rng);
        kind = opcode::CONTINUATION;
        rest = after;
        if rng.chance(0.3) {
            let len = rng.index(20);
            let ping = rng.bytes(len);
            write_message(to, opcode::PING, &ping, rng);
            pings.push(ping);
        }
    }
    write_frame(to, 0x80 | kind, rest, rng);
    pings
}

/// One frame from the server.
#[derive(Debug)]
pub struct ServerFrame {
    /// Which kind.
    pub opcode: u8,
    /// It came compressed.
    pub compressed: bool,
    /// What, inflated.
    pub payload: Vec<u8>,
}

/// Takes the first whole frame off `received`; `None` while it is incomplete.
///
/// # Errors
/// What RFC 6455 forbids a server to send, and what this server never does: fragments.
pub fn take_frame(received: &mut Vec<u8>) -> Result<Option<ServerFrame>, String> {
    let Some(header) = read_header(received)? else { return Ok(None) };
    if received.len() < header.total() {
        return Ok(None);
    }
    let payload = payload_of(received, &header)?;
    received.drain(..header.total());
    Ok(Some(ServerFrame { opcode: header.opcode, compressed: header.compressed, payload }))
}

/// The payload of a whole frame, inflated (RFC 7692 section 7.2.2, each message by itself).
///
/// # Errors
/// What cannot be inflated.
pub fn payload_of(frame: &[u8], header: &Header) -> Result<Vec<u8>, String> {
    let payload = &frame[header.len..header.total()];
    if !header.compressed {
        return Ok(payload.to_vec());
    }
    let input = [payload, &[0, 0, 0xff, 0xff]].concat();
    // What the server compresses, it makes smaller; deflate makes nothing smaller than a thousandth.
    let mut output = vec![0; 1_100 * input.len()];
    let mut stream = zlib_rs::Inflate::new(false, 15);
    let status = stream.decompress(&input, &mut output, zlib_rs::InflateFlush::SyncFlush);
    let (taken, made) = (stream.total_in() as usize, stream.total_out() as usize);
    if !matches!(status, Ok(zlib_rs::Status::Ok)) || taken < input.len() || made <= payload.len() {
        return Err(format!("a compressed frame of {} bytes: {status:?}, {taken} taken, {made} made", payload.len()));
    }
    output.truncate(made);
    Ok(output)
}

/// Appends one compressed message as a single frame; as it is if that is smaller.
pub fn write_compressed(to: &mut Vec<u8>, opcode: u8, payload: &[u8], rng: &mut Rng) {
    let mut stream = zlib_rs::Deflate::new(6, false, 15);
    let mut output = vec![0; payload.len() + 64];
    let flush = if rng.chance(0.5) { zlib_rs::DeflateFlush::SyncFlush } else { zlib_rs::DeflateFlush::Finish };
    stream.compress(payload, &mut output, flush).expect("there is room");
    output.truncate(stream.total_out() as usize);
    match output.strip_suffix(&[0, 0, 0xff, 0xff]) {
        Some(stripped) => output.truncate(stripped.len()),
        // A block marked as the last is followed by an empty one (RFC 7692 section 7.2.3.4).
        None => output.push(0),
    }
    write_frame(to, 0xc0 | opcode, &output, rng);
}

/// Sizes of a server frame.
#[derive(Debug)]
pub struct Header {
    /// Which kind.
    pub opcode: u8,
    /// The payload is compressed.
    pub compressed: bool,
    /// Bytes of the header.
    pub len: usize,
    /// Bytes of the payload.
    pub payload: usize,
}

impl Header {
    /// Bytes of the frame.
    pub fn total(&self) -> usize {
        self.len + self.payload
    }
}

/// Reads a frame's header; `None` while it is incomplete.
///
/// # Errors
/// As [`take_frame`].
pub fn read_header(received: &[u8]) -> Result<Option<Header>, String> {
    let [first, second, ..] = *received else { return Ok(None) };
    let opcode = first & 0x0f;
    let compressed = first & 0x40 != 0;
    if first & 0x30 != 0 || (compressed && opcode >= 8) || second & 0x80 != 0 {
        return Err(format!("a server frame with reserved bits or a mask: {first:#04x} {second:#04x}"));
    }
    if first & 0x80 == 0 || !matches!(opcode, 1 | 2 | 8 | 9 | 10) {
        return Err(format!("a server frame that is no whole message: {first:#04x}"));
    }
    let (len, payload) = match second {
        126 => {
            let Some(bytes) = received.get(2..4) else { return Ok(None) };
            (4, u64::from(u16::from_be_bytes(bytes.try_into().expect("two bytes"))))
        }
        127 => {
            let Some(bytes) = received.get(2..10) else { return Ok(None) };
            (10, u64::from_be_bytes(bytes.try_into().expect("eight bytes")))
        }
        short => (2, u64::from(short)),
    };
    let minimal = match payload {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    };
    if len != minimal || (opcode >= 8 && payload > 125) || payload > 1 << 28 {
        return Err(format!("a server frame of opcode {opcode} with a length of {payload} in {len} bytes"));
    }
    Ok(Some(Header { opcode, compressed, len, payload: payload as usize }))
}

/// An HTTP answer's head and, when it has one, body.
#[derive(Debug)]
pub struct HttpAnswer {
    /// Status code.
    pub status: u16,
    /// Header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Bytes after the head: a body, or the first frames.
    pub rest: Vec<u8>,
}

impl HttpAnswer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Reads an HTTP answer; `None` while its head is incomplete.
///
/// # Errors
/// What is wrong with it.
pub fn read_http(received: &[u8]) -> Result<Option<HttpAnswer>, String> {
    let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&received[..end]).map_err(|_| "an HTTP head that is not UTF-8".to_owned())?;
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| format!("an HTTP status line {status_line:?}"))?;
    let headers = lines
        .map(|line| line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())))
        .collect::<Option<_>>()
        .ok_or_else(|| format!("an HTTP head {head:?}"))?;
    Ok(Some(HttpAnswer { status, headers, rest: received[end + 4..].to_vec() }))
}
