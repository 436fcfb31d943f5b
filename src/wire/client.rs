//! The client's side of the wire, for the load generator and for tests: writes masked frames, reads a server's frames
//! within a bound on memory. Never used by the server; never checks UTF-8 and close codes.

use super::deflate::{COMPRESSED_BIT, InflateError, Inflater};
use super::frame::{Opcode, SERVER_HEADER_BYTES_MAX, header_len, write_header_bits};
use super::mask::unmask;

/// Capacity that a decoder keeps for its next incomplete frame.
const FRAME_BYTES_KEPT: usize = 1_024;

/// The header line of an opening handshake that offers permessage-deflate without context takeover, so that one
/// [`Inflater`] serves any number of connections.
pub const DEFLATE_OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
                                 client_no_context_takeover\r\n";

/// Whether a server that was sent [`DEFLATE_OFFER`] compresses; `answer` is the `Sec-WebSocket-Extensions` of its response.
///
/// # Errors
/// The server chose something that was not offered, or context takeover: the connection must be failed.
pub fn deflate_agreed(answer: Option<&str>) -> Result<bool, ServerError> {
    let Some(answer) = answer.map(str::trim_ascii).filter(|answer| !answer.is_empty()) else { return Ok(false) };
    let mut parts = answer.split(';').map(str::trim_ascii);
    if !parts.next().is_some_and(|name| name.eq_ignore_ascii_case("permessage-deflate")) {
        return Err(ServerError("the server chose an extension that was not offered"));
    }
    let mut independent = false;
    for part in parts {
        match part.split_once('=').map_or(part, |(name, _)| name.trim_ascii()) {
            "server_no_context_takeover" => independent = true,
            "client_no_context_takeover" | "server_max_window_bits" => {}
            _ => return Err(ServerError("the server chose a parameter of permessage-deflate that was not offered")),
        }
    }
    if independent { Ok(true) } else { Err(ServerError("the server chose permessage-deflate with context takeover")) }
}

/// A finished, masked, final frame of a client.
#[must_use]
pub fn client_frame(opcode: Opcode, payload: &[u8], mask_key: [u8; 4]) -> Vec<u8> {
    let mut out = Vec::with_capacity(header_len(payload.len()) + mask_key.len() + payload.len());
    append_client_frame(&mut out, opcode, payload, mask_key);
    out
}

/// Appends a finished, masked, final frame, so that several may share one write.
pub fn append_client_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask_key: [u8; 4]) {
    append_masked(out, 0x80 | opcode as u8, payload, mask_key);
}

/// Appends a finished, masked, final frame with a [compressed](super::deflate::Compressor::compress) payload, for a server
/// that has agreed to compression.
pub fn append_compressed_client_frame(out: &mut Vec<u8>, opcode: Opcode, compressed: &[u8], mask_key: [u8; 4]) {
    append_masked(out, 0x80 | COMPRESSED_BIT | opcode as u8, compressed, mask_key);
}

fn append_masked(out: &mut Vec<u8>, first: u8, payload: &[u8], mask_key: [u8; 4]) {
    write_header_bits(out, first, payload.len(), 0x80);
    out.extend_from_slice(&mask_key);
    let start = out.len();
    out.extend_from_slice(payload);
    unmask(&mut out[start..], mask_key, 0);
}

/// A masked frame other than the last of its message.
#[must_use]
pub fn client_fragment(opcode: Opcode, payload: &[u8], mask_key: [u8; 4]) -> Vec<u8> {
    let mut out = client_frame(opcode, payload, mask_key);
    out[0] &= 0x7f;
    out
}

/// A server's message or control frame, borrowed from the input or from the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerMessage<'a> {
    /// Text, binary, close, ping or pong; never a continuation.
    pub opcode: Opcode,
    /// Its payload, inflated. Text is not checked.
    pub payload: &'a [u8],
    /// Whether it was sent compressed.
    pub compressed: bool,
}

/// The server violated the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ServerError(pub &'static str);

/// Decodes a server's byte stream into messages. Frames that lie whole in the input are not copied.
#[derive(Debug, Default)]
pub struct ServerDecoder {
    /// The first bytes, header included, of an incomplete frame.
    frame: Vec<u8>,
    /// The fragmented message under way.
    message: Option<Fragments>,
    /// The buffer that the last call lent and that the next one empties.
    lent: LentBytes,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LentBytes {
    #[default]
    Nothing,
    Frame,
    Message,
}

#[derive(Debug)]
struct Fragments {
    opcode: Opcode,
    compressed: bool,
    bytes: Vec<u8>,
    complete: bool,
}

/// Where the bytes of a complete message are.
enum MessagePlace {
    /// In the input, with these bounds.
    Input(ServerHeader),
    Frame(ServerHeader),
    Message,
}

#[derive(Clone, Copy)]
struct ServerHeader {
    fin: bool,
    compressed: bool,
    opcode: Opcode,
    start: usize,
    end: usize,
}

impl ServerHeader {
    /// Whether the frame is a complete message.
    fn is_message(&self, under_way: &Option<Fragments>) -> bool {
        self.opcode.is_control() || (self.fin && self.opcode != Opcode::Continuation && under_way.is_none())
    }
}

impl ServerDecoder {
    /// Takes the next message out of `input`: returns the number of bytes consumed, and the message if one is complete.
    /// Call again with the rest while there is a message or bytes remain. `max_message_bytes` bounds the memory held.
    ///
    /// # Errors
    /// The first violation; the decoder must not be used again.
    pub fn next<'a>(
        &'a mut self,
        input: &'a [u8],
        max_message_bytes: usize,
    ) -> Result<(usize, Option<ServerMessage<'a>>), ServerError> {
        let (used, found) = self.find(input, max_message_bytes, false)?;
        Ok((used, found.map(|found| self.found(&found, input).0)))
    }

    /// The same on a connection with permessage-deflate: inflates compressed messages to at most `max_message_bytes`. One
    /// `inflater` serves any number of decoders.
    ///
    /// # Errors
    /// The first violation; the decoder must not be used again.
    pub fn next_inflated<'a>(
        &'a mut self,
        input: &'a [u8],
        max_message_bytes: usize,
        inflater: &'a mut Inflater,
    ) -> Result<(usize, Option<ServerMessage<'a>>), ServerError> {
        let (used, found) = self.find(input, max_message_bytes, true)?;
        let Some(found) = found else { return Ok((used, None)) };
        let (mut message, compressed) = self.found(&found, input);
        if compressed {
            message.payload = inflater.inflate(message.payload, max_message_bytes).map_err(|error| match error {
                InflateError::TooBig => ServerError("the message exceeds the size limit"),
                InflateError::TooManyBlocks => ServerError("the compressed message has too many blocks"),
                InflateError::Corrupt => ServerError("the compressed message is not valid deflate data"),
            })?;
        }
        Ok((used, Some(message)))
    }

    /// Returns the number of bytes consumed, and where the next message is if it is complete. Inlined into both callers,
    /// because it runs for every message that a load generator receives.
    #[inline(always)]
    fn find(
        &mut self,
        input: &[u8],
        max: usize,
        may_compress: bool,
    ) -> Result<(usize, Option<MessagePlace>), ServerError> {
        self.free_lent();
        let mut used = 0;
        loop {
            let rest = &input[used..];
            if self.frame.is_empty() {
                let Some(header) = whole_frame(rest, max, may_compress)? else {
                    self.frame.extend_from_slice(rest);
                    return Ok((input.len(), None));
                };
                let header = ServerHeader { start: used + header.start, end: used + header.end, ..header };
                used = header.end;
                if header.is_message(&self.message) {
                    return Ok((used, Some(MessagePlace::Input(header))));
                }
                add_fragment(&mut self.message, header, &input[header.start..header.end], max)?;
            } else {
                used += self.fill(rest, max, may_compress)?;
                let Some(header) = whole_frame(&self.frame, max, may_compress)? else { return Ok((used, None)) };
                if header.is_message(&self.message) {
                    self.lent = LentBytes::Frame;
                    return Ok((used, Some(MessagePlace::Frame(header))));
                }
                let payload = &self.frame[header.start..header.end];
                add_fragment(&mut self.message, header, payload, max)?;
                self.frame.clear();
            }
            if self.message.as_ref().is_some_and(|message| message.complete) {
                self.lent = LentBytes::Message;
                return Ok((used, Some(MessagePlace::Message)));
            }
        }
    }

    /// The message at a place that `find` has returned, not inflated, and whether it is compressed.
    #[inline(always)]
    fn found<'a>(&'a self, found: &MessagePlace, input: &'a [u8]) -> (ServerMessage<'a>, bool) {
        let (opcode, payload, compressed) = match found {
            MessagePlace::Input(header) => (header.opcode, &input[header.start..header.end], header.compressed),
            MessagePlace::Frame(header) => (header.opcode, &self.frame[header.start..header.end], header.compressed),
            MessagePlace::Message => {
                let message = self.message.as_ref().expect("its last fragment has just been added");
                (message.opcode, &message.bytes[..], message.compressed)
            }
        };
        (ServerMessage { opcode, payload, compressed }, compressed)
    }

    /// Bytes held for an incomplete frame or message.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.frame.len() + self.message.as_ref().map_or(0, |message| message.bytes.len())
    }

    fn free_lent(&mut self) {
        match self.lent {
            LentBytes::Nothing => {}
            LentBytes::Frame => {
                self.frame.clear();
                self.frame.shrink_to(FRAME_BYTES_KEPT);
            }
            LentBytes::Message => self.message = None,
        }
        self.lent = LentBytes::Nothing;
    }

    /// Moves missing bytes of the incomplete frame from `rest` into `frame`: first the header's, then the payload's.
    fn fill(&mut self, rest: &[u8], max: usize, may_compress: bool) -> Result<usize, ServerError> {
        let mut used = 0;
        loop {
            let wanted = match parse_header(&self.frame, max, may_compress)? {
                Some(header) => header.end,
                None => self.frame.len() + 1,
            };
            let more = (wanted - self.frame.len()).min(rest.len() - used);
            if more == 0 {
                return Ok(used);
            }
            self.frame.extend_from_slice(&rest[used..used + more]);
            used += more;
        }
    }
}

fn add_fragment(
    message: &mut Option<Fragments>,
    header: ServerHeader,
    payload: &[u8],
    max_message_bytes: usize,
) -> Result<(), ServerError> {
    match (message, header.opcode) {
        (Some(Fragments { bytes, complete, .. }), Opcode::Continuation) => {
            if bytes.len() + payload.len() > max_message_bytes {
                return Err(ServerError("the message exceeds the size limit"));
            }
            bytes.extend_from_slice(payload);
            *complete = header.fin;
        }
        (none @ None, opcode @ (Opcode::Text | Opcode::Binary)) => {
            let compressed = header.compressed;
            *none = Some(Fragments { opcode, compressed, bytes: payload.to_vec(), complete: false });
        }
        (Some(_), _) => return Err(ServerError("a new message starts inside a fragmented one")),
        (None, _) => return Err(ServerError("the continuation frame continues no message")),
    }
    Ok(())
}

/// The header at the front of `bytes`, if the whole frame has arrived.
fn whole_frame(bytes: &[u8], max: usize, may_compress: bool) -> Result<Option<ServerHeader>, ServerError> {
    Ok(parse_header(bytes, max, may_compress)?.filter(|header| bytes.len() >= header.end))
}

fn parse_header(bytes: &[u8], max: usize, may_compress: bool) -> Result<Option<ServerHeader>, ServerError> {
    let Some((&[first, second], after)) = bytes.split_first_chunk::<2>() else { return Ok(None) };
    let fin = first & 0x80 != 0;
    let opcode = Opcode::from_bits(first & 0x0f).ok_or(ServerError("the frame has a reserved opcode"))?;
    let compressed = first & COMPRESSED_BIT != 0;
    let begins_message = matches!(opcode, Opcode::Text | Opcode::Binary);
    if first & 0x30 != 0 || compressed && !(may_compress && begins_message) {
        return Err(ServerError("the frame sets a reserved bit"));
    }
    if second & 0x80 != 0 {
        return Err(ServerError("the server's frame is masked"));
    }
    if opcode.is_control() && (!fin || second > 125) {
        return Err(ServerError("the control frame is fragmented or has more than 125 bytes"));
    }
    let (length, start) = match second {
        126 => {
            let Some(length) = after.first_chunk::<2>() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*length)), 4)
        }
        127 => {
            let Some(length) = after.first_chunk::<8>() else { return Ok(None) };
            (u64::from_be_bytes(*length), SERVER_HEADER_BYTES_MAX)
        }
        short => (u64::from(short), 2),
    };
    if length > max as u64 && !opcode.is_control() {
        return Err(ServerError("the message exceeds the size limit"));
    }
    Ok(Some(ServerHeader { fin, compressed, opcode, start, end: start.saturating_add(length as usize) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::deflate::{Compressor, Window};
    use crate::wire::frame::server_frame;

    const MAX: usize = 1 << 20;

    fn fragment(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mut frame = server_frame(opcode, payload).to_vec();
        frame[0] &= 0x7f;
        frame
    }

    fn decode(pieces: &[&[u8]]) -> Vec<(Opcode, Vec<u8>)> {
        let mut decoder = ServerDecoder::default();
        let mut messages = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            loop {
                let (used, message) = decoder.next(rest, MAX).expect("legal");
                rest = &rest[used..];
                match message {
                    Some(message) => messages.push((message.opcode, message.payload.to_vec())),
                    None if rest.is_empty() => break,
                    None => {}
                }
            }
        }
        assert_eq!(decoder.held_bytes(), 0, "everything was complete");
        messages
    }

    #[test]
    fn messages_are_decoded_however_the_bytes_are_cut() {
        let long = vec![9; 70_000];
        let mut stream = Vec::new();
        stream.extend(server_frame(Opcode::Text, b"one"));
        stream.extend(server_frame(Opcode::Binary, &[7; 300]));
        stream.extend(fragment(Opcode::Text, b"fr"));
        stream.extend(server_frame(Opcode::Ping, b"between"));
        stream.extend(fragment(Opcode::Continuation, b""));
        stream.extend(server_frame(Opcode::Continuation, b"ag"));
        stream.extend(server_frame(Opcode::Binary, &long));
        stream.extend(server_frame(Opcode::Text, b""));
        stream.extend(server_frame(Opcode::Close, b"\x03\xe8"));
        let expected = vec![
            (Opcode::Text, b"one".to_vec()),
            (Opcode::Binary, vec![7; 300]),
            (Opcode::Ping, b"between".to_vec()),
            (Opcode::Text, b"frag".to_vec()),
            (Opcode::Binary, long),
            (Opcode::Text, Vec::new()),
            (Opcode::Close, b"\x03\xe8".to_vec()),
        ];
        assert_eq!(decode(&[&stream]), expected);
        assert_eq!(decode(&stream.chunks(1).collect::<Vec<_>>()), expected);
        for size in [2, 3, 7, 100, 4_096] {
            assert_eq!(decode(&stream.chunks(size).collect::<Vec<_>>()), expected, "pieces of {size}");
        }
    }

    #[test]
    fn whole_frames_are_not_copied() {
        let stream = [server_frame(Opcode::Text, b"one"), server_frame(Opcode::Text, b"two")].concat();
        let mut decoder = ServerDecoder::default();
        let (used, message) = decoder.next(&stream, MAX).expect("legal");
        let payload = message.expect("whole").payload;
        assert_eq!((used, payload), (5, &b"one"[..]));
        assert!(stream.as_ptr_range().contains(&payload.as_ptr()));
    }

    #[test]
    fn violations_are_errors() {
        for (bytes, what) in [
            (&b"\x81\x80"[..], "masked"),
            (b"\xc1\x00", "reserved bit"),
            (b"\x83\x00", "reserved opcode"),
            (b"\x09\x00", "fragmented control"),
            (b"\x89\x7e\x00\x80", "long control"),
            (b"\x80\x00", "continuation of nothing"),
            (b"\x01\x00\x81\x00", "message inside a message"),
            (b"\x82\x7f\x00\x00\x00\x00\x01\x00\x00\x00", "over the limit"),
            (b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", "over the limit"),
        ] {
            assert!(ServerDecoder::default().next(bytes, MAX).is_err(), "{what}");
        }
        let endless = b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff";
        assert_eq!(ServerDecoder::default().next(endless, usize::MAX), Ok((10, None)), "without a limit it waits");
    }

    #[test]
    fn compressed_messages_are_inflated_however_the_bytes_are_cut() {
        let mut compressed = Compressor::new(1);
        let long = br#"{"type":"message"}"#.repeat(400);
        let frame = server_frame(Opcode::Text, &long);
        let deflated = compressed.compress_frames(Window::Bits15, &frame, 0, MAX).expect("smaller").frames;
        let mut stream = deflated.to_vec();
        stream.extend(server_frame(Opcode::Text, b"plain"));
        // RFC 7692 section 7.2.3.1, in two fragments.
        stream.extend(b"\x41\x03\xf2\x48\xcd");
        stream.extend(server_frame(Opcode::Ping, b"between"));
        stream.extend(b"\x80\x04\xc9\xc9\x07\x00");
        let expected = [&long[..], b"plain", b"between", b"Hello"];
        let mut inflater = Inflater::default();
        for size in [1, 2, 7, 100, 100_000] {
            let mut decoder = ServerDecoder::default();
            let mut payloads = Vec::new();
            for mut rest in stream.chunks(size) {
                loop {
                    let (used, message) = decoder.next_inflated(rest, MAX, &mut inflater).expect("legal");
                    rest = &rest[used..];
                    match message {
                        Some(message) => payloads.push(message.payload.to_vec()),
                        None if rest.is_empty() => break,
                        None => {}
                    }
                }
            }
            assert_eq!(payloads, expected, "pieces of {size}");
        }
        let mut next = |bytes: &[u8], max| ServerDecoder::default().next_inflated(bytes, max, &mut inflater).is_err();
        assert!(next(&deflated, long.len() - 1), "over the limit");
        assert!(next(b"\xc1\x01\x07", MAX), "corrupt");
        assert!(next(b"\xc9\x00", MAX), "a compressed ping");
        assert!(next(b"\x01\x00\xc0\x00", MAX), "a compressed continuation");
        assert!(next(b"\xa1\x00", MAX), "another reserved bit");
    }

    #[test]
    fn answers_to_the_offer_are_judged() {
        for answer in [None, Some(""), Some("  ")] {
            assert_eq!(deflate_agreed(answer), Ok(false), "{answer:?}");
        }
        for answer in [
            "permessage-deflate; server_no_context_takeover",
            "permessage-deflate;client_no_context_takeover ; server_no_context_takeover; server_max_window_bits=12",
        ] {
            assert_eq!(deflate_agreed(Some(answer)), Ok(true), "{answer}");
        }
        for answer in [
            "permessage-deflate",
            "permessage-bzip2; server_no_context_takeover",
            "permessage-deflate; server_no_context_takeover; client_max_window_bits=10",
        ] {
            assert!(deflate_agreed(Some(answer)).is_err(), "{answer}");
        }
    }

    #[test]
    fn client_frames_are_masked() {
        assert_eq!(
            client_frame(Opcode::Text, b"Hello", [0x37, 0xfa, 0x21, 0x3d]),
            [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58],
            "RFC 6455 section 5.7"
        );
        assert_eq!(client_fragment(Opcode::Binary, b"", [1, 2, 3, 4]), [0x02, 0x80, 1, 2, 3, 4]);
    }
}
