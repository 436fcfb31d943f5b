//! Decodes a client's bytes into WebSocket messages: incrementally, in place, and failing at the first wrong byte (RFC 6455
//! sections 5 and 8.1). Holds memory only while a message is incomplete. Never allocates for bytes that have not arrived.

mod assembly;
mod header;
#[cfg(test)]
mod tests;

use assembly::Assembly;
use header::{CLIENT_HEADER_BYTES_MAX, Context, FragmentsBefore, Header};

use super::deflate::{InflateError, Inflater};
use super::frame::{CONTROL_BYTES_MAX, Opcode};
use super::mask::unmask;
use crate::base::codes::CloseCode;
use crate::base::limits::EMPTY_FRAGMENTS_MAX;

/// The result of one call of [`Decoder::next`].
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// Bytes of the input that were consumed. Call again with the rest while there is an event or bytes remain.
    pub used: usize,
    /// A complete message or control frame.
    pub event: Option<Event<'a>>,
}

/// A complete message or control frame, unmasked; borrowed from the input or from the decoder.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A text message, valid UTF-8.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping's payload, at most 125 bytes.
    Ping(&'a [u8]),
    /// A pong's payload, at most 125 bytes.
    Pong(&'a [u8]),
    /// A close frame's status code and reason, if it has them. The code may be sent back unchanged.
    Close(Option<(u16, &'a str)>),
}

/// A complete message or control frame, before it is inflated.
enum Whole<'a> {
    Event(Event<'a>),
    Compressed { opcode: Opcode, payload: &'a [u8] },
}

/// The client violated the protocol: its connection must be closed with `code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct ProtocolError {
    /// 1002, 1007 or 1009.
    pub code: CloseCode,
    /// Text for the log and the close reason.
    pub what: &'static str,
}

impl ProtocolError {
    const fn violation(what: &'static str) -> Self {
        Self { code: CloseCode::Protocol, what }
    }

    const fn invalid_utf8(what: &'static str) -> Self {
        Self { code: CloseCode::InvalidUtf8, what }
    }
}

impl From<InflateError> for ProtocolError {
    /// Invalid compressed data is data that is inconsistent with its message's type (RFC 6455 section 7.4.1: 1007).
    fn from(error: InflateError) -> Self {
        match error {
            InflateError::TooBig => {
                Self { code: CloseCode::TooBig, what: "the compressed message exceeds the size limit" }
            }
            InflateError::TooManyBlocks => {
                Self { code: CloseCode::TooBig, what: "the compressed message has too many blocks" }
            }
            InflateError::Corrupt => Self::invalid_utf8("the compressed message is not valid deflate data"),
        }
    }
}

/// Decodes one client's byte stream. Takes eight bytes while no message is incomplete.
#[derive(Debug, Default)]
pub struct Decoder {
    unfinished: Option<Box<Unfinished>>,
}

const _: () = assert!(size_of::<Decoder>() == size_of::<usize>(), "an idle connection's decoder is one null pointer");

/// The bytes of an incomplete header, frame or message that have arrived.
#[derive(Debug)]
struct Unfinished {
    /// The first bytes of an incomplete header.
    header: [u8; CLIENT_HEADER_BYTES_MAX],
    header_len: u8,
    /// A frame with a complete header and an incomplete payload.
    frame: Option<FrameUnderWay>,
    /// The data message whose last frame is not complete.
    message: Option<Assembly>,
    /// Frames of the message so far.
    fragments: usize,
    /// Payload of the control frame in `frame`.
    control: [u8; CONTROL_BYTES_MAX],
    control_len: u8,
    /// Fragments without payload that [`Decoder::take_empty_fragments`] has not returned yet.
    empty_fragments: u32,
    /// The part that the last call lent to its caller and that the next call frees.
    lent: LentPart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LentPart {
    Nothing,
    Message,
    Control,
}

#[derive(Debug)]
struct FrameUnderWay {
    header: Header,
    arrived: usize,
}

/// Where the bytes of a complete event are.
enum EventPlace {
    /// In the input, not copied.
    Input { opcode: Opcode, compressed: bool, start: usize, end: usize },
    /// In the unfinished message.
    Message,
    /// In the unfinished control frame.
    Control(Opcode),
}

/// Limits on every frame of a connection.
#[derive(Clone, Copy)]
struct MessageLimits {
    /// Maximum bytes of a message.
    max: usize,
    /// Compression was negotiated.
    may_compress: bool,
}

impl MessageLimits {
    fn after(self, message: Option<&Assembly>) -> Context {
        Context {
            message: message
                .map(|message| FragmentsBefore { bytes: message.len(), compressed: message.is_compressed() }),
            max_message_bytes: self.max,
            may_compress: self.may_compress,
        }
    }
}

impl Decoder {
    /// Takes the next message out of `input`, unmasking in place. A message that lies whole in `input` is lent from there.
    /// Bytes of any other message are copied; the call after the one that lends the message frees them.
    ///
    /// # Errors
    /// The first violation, at the first byte that proves it; the decoder must not be used again.
    pub fn next<'a>(&'a mut self, input: &'a mut [u8], max_message_bytes: usize) -> Result<Decoded<'a>, ProtocolError> {
        let (used, found) = self.find(input, max_message_bytes, false)?;
        let Some(found) = found else { return Ok(Decoded { used, event: None }) };
        match self.whole(&found, input)? {
            Whole::Event(event) => Ok(Decoded { used, event: Some(event) }),
            Whole::Compressed { .. } => unreachable!("refused at its header"),
        }
    }

    /// The same on a connection with permessage-deflate: a complete compressed message is inflated and lent by `inflater`,
    /// which serves any number of decoders. `max_message_bytes` bounds the inflated message; the compressed one may be
    /// larger by as much as deflate can enlarge it.
    ///
    /// # Errors
    /// Those of [`Decoder::next`], and 1007 for invalid compressed data.
    pub fn next_inflated<'a>(
        &'a mut self,
        input: &'a mut [u8],
        max_message_bytes: usize,
        inflater: &'a mut Inflater,
    ) -> Result<Decoded<'a>, ProtocolError> {
        let (used, found) = self.find(input, max_message_bytes, true)?;
        let Some(found) = found else { return Ok(Decoded { used, event: None }) };
        let event = match self.whole(&found, input)? {
            Whole::Event(event) => event,
            Whole::Compressed { opcode, payload } => {
                whole_event(opcode, inflater.inflate(payload, max_message_bytes)?)?
            }
        };
        Ok(Decoded { used, event: Some(event) })
    }

    /// Returns the number of bytes consumed, and where the next message is if it is complete.
    #[inline]
    fn find(
        &mut self,
        input: &mut [u8],
        max: usize,
        may_compress: bool,
    ) -> Result<(usize, Option<EventPlace>), ProtocolError> {
        self.let_go();
        let limits = MessageLimits { max, may_compress };
        let mut used = 0;
        loop {
            let rest = &mut input[used..];
            let found = match &mut self.unfinished {
                Some(unfinished) if unfinished.frame.is_some() => unfinished.take_payload(rest, &mut used, max)?,
                Some(unfinished) if unfinished.header_len > 0 => {
                    unfinished.take_header(rest, &mut used, limits)?;
                    None
                }
                _ => self.take_frame(rest, &mut used, limits)?,
            };
            match found {
                Some(found) => return Ok((used, Some(found))),
                None if self.needs_more() && used == input.len() => return Ok((used, None)),
                None => {}
            }
        }
    }

    /// The complete message at a place that `find` has returned.
    #[inline]
    fn whole<'a>(&'a self, found: &EventPlace, input: &'a [u8]) -> Result<Whole<'a>, ProtocolError> {
        let event = match *found {
            EventPlace::Input { opcode, compressed: true, start, end } => {
                return Ok(Whole::Compressed { opcode, payload: &input[start..end] });
            }
            EventPlace::Input { opcode, compressed: false, start, end } => whole_event(opcode, &input[start..end])?,
            EventPlace::Message => {
                let message = self.unfinished.as_ref().and_then(|unfinished| unfinished.message.as_ref());
                return Ok(message.expect("just completed").whole());
            }
            EventPlace::Control(opcode) => {
                let unfinished = self.unfinished.as_ref().expect("just completed");
                whole_event(opcode, unfinished.control())?
            }
        };
        Ok(Whole::Event(event))
    }

    /// Bytes of memory held for an incomplete message, for the memory budget.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        match &self.unfinished {
            None => 0,
            Some(unfinished) => size_of::<Unfinished>() + unfinished.message.as_ref().map_or(0, Assembly::capacity),
        }
    }

    /// Number of fragments without payload since the last call. They add no bytes to a message, so no size limit bounds
    /// them.
    pub fn take_empty_fragments(&mut self) -> u32 {
        self.unfinished.as_mut().map_or(0, |unfinished| std::mem::take(&mut unfinished.empty_fragments))
    }

    /// Frees the part that the last call lent.
    fn let_go(&mut self) {
        let Some(unfinished) = &mut self.unfinished else { return };
        match unfinished.lent {
            LentPart::Nothing => return,
            LentPart::Message => unfinished.message = None,
            LentPart::Control => unfinished.control_len = 0,
        }
        unfinished.lent = LentPart::Nothing;
        if unfinished.message.is_none() && unfinished.frame.is_none() && unfinished.header_len == 0 {
            self.unfinished = None;
        }
    }

    /// Whether an empty input cannot complete anything. (An empty payload is complete without another byte.)
    fn needs_more(&self) -> bool {
        match self.unfinished.as_ref().and_then(|unfinished| unfinished.frame.as_ref()) {
            Some(frame) => frame.arrived < frame.header.payload_len,
            None => true,
        }
    }

    /// Starts at a frame's first byte: returns the frame if it is a complete message, otherwise keeps what has arrived.
    fn take_frame(
        &mut self,
        rest: &mut [u8],
        used: &mut usize,
        limits: MessageLimits,
    ) -> Result<Option<EventPlace>, ProtocolError> {
        if rest.is_empty() {
            return Ok(None);
        }
        let message = self.unfinished.as_ref().and_then(|unfinished| unfinished.message.as_ref());
        let context = limits.after(message);
        let Some(header) = Header::parse(rest, context)? else {
            self.unfinished.get_or_insert_with(Unfinished::boxed).keep_header(rest);
            *used += rest.len();
            return Ok(None);
        };
        let end = header.len + header.payload_len;
        if rest.len() >= end && header.is_message() {
            unmask(&mut rest[header.len..end], header.key, 0);
            let (start, end) = (*used + header.len, *used + end);
            *used = end;
            return Ok(Some(EventPlace::Input { opcode: header.opcode, compressed: header.compressed, start, end }));
        }
        let unfinished = self.unfinished.get_or_insert_with(Unfinished::boxed);
        if rest.len() >= end {
            // Adding a whole fragment at once is cheaper than keeping its frame, which matters for small fragments.
            let payload = &mut rest[header.len..end];
            unmask(payload, header.key, 0);
            *used += end;
            unfinished.begin_message(header);
            return unfinished.add(payload, header.payload_len, header.fin, limits.max);
        }
        *used += header.len;
        unfinished.begin_frame(header);
        Ok(None)
    }
}

impl Unfinished {
    fn boxed() -> Box<Self> {
        Box::new(Self {
            header: [0; CLIENT_HEADER_BYTES_MAX],
            header_len: 0,
            frame: None,
            message: None,
            fragments: 0,
            control: [0; CONTROL_BYTES_MAX],
            control_len: 0,
            empty_fragments: 0,
            lent: LentPart::Nothing,
        })
    }

    fn control(&self) -> &[u8] {
        &self.control[..usize::from(self.control_len)]
    }

    /// Keeps bytes of an incomplete header; the caller has checked that they do not complete it.
    fn keep_header(&mut self, bytes: &[u8]) {
        let from = usize::from(self.header_len);
        self.header[from..from + bytes.len()].copy_from_slice(bytes);
        self.header_len += bytes.len() as u8;
    }

    /// Continues a header that began in an earlier input.
    fn take_header(&mut self, rest: &[u8], used: &mut usize, limits: MessageLimits) -> Result<(), ProtocolError> {
        let before = usize::from(self.header_len);
        let more = rest.len().min(CLIENT_HEADER_BYTES_MAX - before);
        let mut bytes = self.header;
        bytes[before..before + more].copy_from_slice(&rest[..more]);
        let context = limits.after(self.message.as_ref());
        match Header::parse(&bytes[..before + more], context)? {
            Some(header) => {
                *used += header.len - before;
                self.header_len = 0;
                self.begin_frame(header);
            }
            None => {
                self.keep_header(&rest[..more]);
                *used += more;
            }
        }
        Ok(())
    }

    fn begin_frame(&mut self, header: Header) {
        self.begin_message(header);
        self.frame = Some(FrameUnderWay { header, arrived: 0 });
    }

    /// Begins a message, if the frame is the first of one.
    fn begin_message(&mut self, header: Header) {
        self.message = Some(match header.opcode {
            opcode if header.compressed => Assembly::compressed(opcode),
            Opcode::Text => Assembly::text(),
            Opcode::Binary => Assembly::binary(),
            Opcode::Continuation | Opcode::Close | Opcode::Ping | Opcode::Pong => return,
        });
        self.fragments = 0;
    }

    /// Counts a frame that is not the last of its message.
    fn count_fragment(&mut self) -> Result<(), ProtocolError> {
        self.fragments += 1;
        let bytes = self.message.as_ref().map_or(0, Assembly::len);
        if self.fragments > EMPTY_FRAGMENTS_MAX + bytes {
            return Err(ProtocolError { code: CloseCode::TooBig, what: "the message has too many empty fragments" });
        }
        Ok(())
    }

    /// Continues the payload of the frame under way.
    fn take_payload(
        &mut self,
        rest: &mut [u8],
        used: &mut usize,
        max: usize,
    ) -> Result<Option<EventPlace>, ProtocolError> {
        let frame = self.frame.as_mut().expect("the caller has checked that there is one");
        let missing = frame.header.payload_len - frame.arrived;
        let more = rest.len().min(missing);
        let chunk = &mut rest[..more];
        unmask(chunk, frame.header.key, frame.arrived);
        frame.arrived += more;
        *used += more;
        let (fin, opcode) = (frame.header.fin, frame.header.opcode);
        let complete = more == missing;
        if complete {
            self.frame = None;
        }
        if !opcode.is_control() {
            return self.add(chunk, missing, fin, max);
        }
        let from = usize::from(self.control_len);
        self.control[from..from + more].copy_from_slice(chunk);
        self.control_len += more as u8;
        if opcode == Opcode::Close {
            check_close_so_far(self.control())?;
        }
        if !complete {
            return Ok(None);
        }
        self.lent = LentPart::Control;
        Ok(Some(EventPlace::Control(opcode)))
    }

    /// Adds a chunk of a frame's payload to the message; `missing` bytes of the payload were missing before it.
    #[inline]
    fn add(
        &mut self,
        chunk: &[u8],
        missing: usize,
        fin: bool,
        max: usize,
    ) -> Result<Option<EventPlace>, ProtocolError> {
        let message = self.message.as_mut().expect("a data frame has begun it");
        // The final frame gives the message's size; until then only the limit bounds it.
        let total_max = if fin { message.len() + missing } else { message.bytes_max(max) };
        message.append(chunk, total_max)?;
        if chunk.len() < missing {
            return Ok(None);
        }
        if !fin {
            self.count_fragment()?;
            self.empty_fragments += u32::from(missing == 0);
            return Ok(None);
        }
        message.check_end()?;
        self.lent = LentPart::Message;
        Ok(Some(EventPlace::Message))
    }
}

/// The event of a complete, unmasked frame that is a message by itself.
fn whole_event(opcode: Opcode, payload: &[u8]) -> Result<Event<'_>, ProtocolError> {
    Ok(match opcode {
        Opcode::Text => Event::Text(
            simdutf8::basic::from_utf8(payload)
                .map_err(|_| ProtocolError::invalid_utf8("the text message is not UTF-8"))?,
        ),
        Opcode::Binary => Event::Binary(payload),
        Opcode::Ping => Event::Ping(payload),
        Opcode::Pong => Event::Pong(payload),
        Opcode::Close => Event::Close(close_payload(payload)?),
        Opcode::Continuation => unreachable!("a continuation is never a message by itself"),
    })
}

/// Reads a complete close payload. A payload of one byte is refused by its header.
fn close_payload(payload: &[u8]) -> Result<Option<(u16, &str)>, ProtocolError> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else { return Ok(None) };
    let code = u16::from_be_bytes(*code);
    if !may_be_sent(code) {
        return Err(ProtocolError::violation("the close code is reserved and must not be sent"));
    }
    let reason =
        std::str::from_utf8(reason).map_err(|_| ProtocolError::invalid_utf8("the close reason is not UTF-8"))?;
    Ok(Some((code, reason)))
}

/// Checks the first bytes of an incomplete close payload.
fn check_close_so_far(payload: &[u8]) -> Result<(), ProtocolError> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else { return Ok(()) };
    let reason = match std::str::from_utf8(reason) {
        Err(error) if error.error_len().is_none() => &reason[..error.valid_up_to()],
        _ => reason,
    };
    let mut checked = [0; CONTROL_BYTES_MAX];
    checked[..2].copy_from_slice(code);
    checked[2..2 + reason.len()].copy_from_slice(reason);
    close_payload(&checked[..2 + reason.len()]).map(|_| ())
}

/// Close codes that an endpoint may send (RFC 6455 section 7.4 and the IANA registry).
const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
