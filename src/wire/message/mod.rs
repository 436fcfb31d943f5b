//! Socket bytes -> WebSocket messages: incremental, in place, fail-fast (RFC 6455 sections 5 and 8.1).
//! Holds memory only while a message is incomplete, and then for what has arrived, never for what was announced.

mod assembly;
mod header;
#[cfg(test)]
mod tests;

use assembly::Assembly;
use header::{Begun, CLIENT_HEADER_BYTES_MAX, Context, Header};

use super::deflate::{InflateError, Inflater};
use super::frame::{CONTROL_BYTES_MAX, Opcode};
use super::mask::unmask;
use crate::base::codes::CloseCode;
use crate::base::limits::EMPTY_FRAGMENTS_MAX;

/// What one call of [`Decoder::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// Bytes of the input that are done with. Call again with the rest while an event comes or bytes remain.
    pub used: usize,
    /// A complete message or control frame, if there is one.
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
    /// A close frame: its status code and reason, if it had any. The code may be sent back as it is.
    Close(Option<(u16, &'a str)>),
}

/// A complete message or control frame as it was sent.
enum Whole<'a> {
    Event(Event<'a>),
    Compressed { opcode: Opcode, payload: &'a [u8] },
}

/// The peer broke a rule: the connection must be closed with `code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct ProtocolError {
    /// 1002, 1007 or 1009.
    pub code: CloseCode,
    /// Plain words for the log.
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
    /// Data that cannot be inflated is not consistent with its message (RFC 6455 section 7.4.1: 1007).
    fn from(error: InflateError) -> Self {
        match error {
            InflateError::TooBig => Self { code: CloseCode::TooBig, what: "a compressed message over the limit" },
            InflateError::TooManyBlocks => {
                Self { code: CloseCode::TooBig, what: "a compressed message of too many blocks" }
            }
            InflateError::Corrupt => Self::invalid_utf8("a compressed message that cannot be inflated"),
        }
    }
}

/// A client's byte stream being turned into messages. Eight bytes while no message is incomplete.
#[derive(Debug, Default)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
}

const _: () = assert!(size_of::<Decoder>() == size_of::<usize>(), "idle connections hold a null pointer");

/// What has arrived of an incomplete header, frame or message.
#[derive(Debug)]
struct Partial {
    /// A header of which more bytes must come.
    header: [u8; CLIENT_HEADER_BYTES_MAX],
    header_len: u8,
    /// A frame whose header is whole and whose payload is not.
    frame: Option<Frame>,
    /// The data message that is not final yet.
    message: Option<Assembly>,
    /// Frames of it that have come.
    fragments: usize,
    /// Payload of the control frame in `frame`.
    control: [u8; CONTROL_BYTES_MAX],
    control_len: u8,
    /// Fragments without payload that have come and not been counted.
    empty_fragments: u32,
    /// What the last call lent to its caller and the next one lets go.
    lent: Lent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lent {
    Nothing,
    Message,
    Control,
}

#[derive(Debug)]
struct Frame {
    header: Header,
    arrived: usize,
}

/// Where a complete event is.
enum Found {
    /// In the input: nothing was copied.
    Input { opcode: Opcode, compressed: bool, start: usize, end: usize },
    /// The partial's message.
    Message,
    /// The partial's control frame, of this kind.
    Control(Opcode),
}

/// What holds for every frame of a connection.
#[derive(Clone, Copy)]
struct Limits {
    /// Most bytes of a whole message.
    max: usize,
    /// Compression was negotiated.
    may_compress: bool,
}

impl Limits {
    fn after(self, message: Option<&Assembly>) -> Context {
        Context {
            message: message.map(|message| Begun { bytes: message.len(), compressed: message.is_compressed() }),
            max_message_bytes: self.max,
            may_compress: self.may_compress,
        }
    }
}

impl Decoder {
    /// Takes the next message out of `input`, unmasking in place. A message that lies whole in `input` is lent from
    /// there; of any other, what has arrived is copied, and let go by the call after the one that lent it.
    ///
    /// # Errors
    /// The first violation, as soon as a byte shows it; the decoder must not be used again.
    pub fn next<'a>(&'a mut self, input: &'a mut [u8], max_message_bytes: usize) -> Result<Decoded<'a>, ProtocolError> {
        let (used, found) = self.find(input, max_message_bytes, false)?;
        let Some(found) = found else { return Ok(Decoded { used, event: None }) };
        match self.whole(&found, input)? {
            Whole::Event(event) => Ok(Decoded { used, event: Some(event) }),
            Whole::Compressed { .. } => unreachable!("refused at its header"),
        }
    }

    /// The same on a connection with permessage-deflate: a compressed message is inflated once it is complete, and lent
    /// by `inflater`, which serves any number of decoders. `max_message_bytes` bounds it inflated; compressed it may be as
    /// much larger as deflate can make it.
    ///
    /// # Errors
    /// As [`Decoder::next`], and 1007 for what cannot be inflated.
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

    /// How many bytes of `input` are done with, and where the next message is if it is complete.
    #[inline]
    fn find(
        &mut self,
        input: &mut [u8],
        max: usize,
        may_compress: bool,
    ) -> Result<(usize, Option<Found>), ProtocolError> {
        self.let_go();
        let limits = Limits { max, may_compress };
        let mut used = 0;
        loop {
            let rest = &mut input[used..];
            let found = match &mut self.partial {
                Some(partial) if partial.frame.is_some() => partial.take_payload(rest, &mut used, max)?,
                Some(partial) if partial.header_len > 0 => {
                    partial.take_header(rest, &mut used, limits)?;
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

    /// A message that was found.
    #[inline]
    fn whole<'a>(&'a self, found: &Found, input: &'a [u8]) -> Result<Whole<'a>, ProtocolError> {
        let event = match *found {
            Found::Input { opcode, compressed: true, start, end } => {
                return Ok(Whole::Compressed { opcode, payload: &input[start..end] });
            }
            Found::Input { opcode, compressed: false, start, end } => whole_event(opcode, &input[start..end])?,
            Found::Message => {
                let message = self.partial.as_ref().and_then(|partial| partial.message.as_ref());
                return Ok(message.expect("just completed").whole());
            }
            Found::Control(opcode) => {
                let partial = self.partial.as_ref().expect("just completed");
                whole_event(opcode, partial.control())?
            }
        };
        Ok(Whole::Event(event))
    }

    /// Bytes of memory held for an incomplete message: charged to the memory budget.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        match &self.partial {
            None => 0,
            Some(partial) => size_of::<Partial>() + partial.message.as_ref().map_or(0, Assembly::capacity),
        }
    }

    /// How many fragments without payload have come since this was last asked. They bring a message no further, so that
    /// nothing else bounds them.
    pub fn take_empty_fragments(&mut self) -> u32 {
        self.partial.as_mut().map_or(0, |partial| std::mem::take(&mut partial.empty_fragments))
    }

    /// Frees what the last call lent.
    fn let_go(&mut self) {
        let Some(partial) = &mut self.partial else { return };
        match partial.lent {
            Lent::Nothing => return,
            Lent::Message => partial.message = None,
            Lent::Control => partial.control_len = 0,
        }
        partial.lent = Lent::Nothing;
        if partial.message.is_none() && partial.frame.is_none() && partial.header_len == 0 {
            self.partial = None;
        }
    }

    /// Whether nothing can come of an empty input. An empty payload is complete without another byte.
    fn needs_more(&self) -> bool {
        match self.partial.as_ref().and_then(|partial| partial.frame.as_ref()) {
            Some(frame) => frame.arrived < frame.header.payload_len,
            None => true,
        }
    }

    /// At a frame's first byte: lends the frame if it is whole and a message by itself, otherwise begins a partial.
    fn take_frame(
        &mut self,
        rest: &mut [u8],
        used: &mut usize,
        limits: Limits,
    ) -> Result<Option<Found>, ProtocolError> {
        if rest.is_empty() {
            return Ok(None);
        }
        let message = self.partial.as_ref().and_then(|partial| partial.message.as_ref());
        let context = limits.after(message);
        let Some(header) = Header::parse(rest, context)? else {
            self.partial.get_or_insert_with(Partial::boxed).keep_header(rest);
            *used += rest.len();
            return Ok(None);
        };
        let end = header.len + header.payload_len;
        if rest.len() >= end && header.is_message() {
            unmask(&mut rest[header.len..end], header.key, 0);
            let (start, end) = (*used + header.len, *used + end);
            *used = end;
            return Ok(Some(Found::Input { opcode: header.opcode, compressed: header.compressed, start, end }));
        }
        let partial = self.partial.get_or_insert_with(Partial::boxed);
        if rest.len() >= end {
            // A whole fragment: small ones cost less than a frame that is kept.
            let payload = &mut rest[header.len..end];
            unmask(payload, header.key, 0);
            *used += end;
            partial.begin_message(header);
            return partial.add(payload, header.payload_len, header.fin, limits.max);
        }
        *used += header.len;
        partial.begin_frame(header);
        Ok(None)
    }
}

impl Partial {
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
            lent: Lent::Nothing,
        })
    }

    fn control(&self) -> &[u8] {
        &self.control[..usize::from(self.control_len)]
    }

    /// Keeps bytes of an incomplete header; the caller has seen that they are too few to be a whole one.
    fn keep_header(&mut self, bytes: &[u8]) {
        let from = usize::from(self.header_len);
        self.header[from..from + bytes.len()].copy_from_slice(bytes);
        self.header_len += bytes.len() as u8;
    }

    /// Goes on with a header that began in an earlier input.
    fn take_header(&mut self, rest: &[u8], used: &mut usize, limits: Limits) -> Result<(), ProtocolError> {
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
        self.frame = Some(Frame { header, arrived: 0 });
    }

    /// At a frame that may be the first of a message.
    fn begin_message(&mut self, header: Header) {
        self.message = Some(match header.opcode {
            opcode if header.compressed => Assembly::compressed(opcode),
            Opcode::Text => Assembly::text(),
            Opcode::Binary => Assembly::binary(),
            Opcode::Continuation | Opcode::Close | Opcode::Ping | Opcode::Pong => return,
        });
        self.fragments = 0;
    }

    /// A frame of a message has come that is not its last.
    fn count_fragment(&mut self) -> Result<(), ProtocolError> {
        self.fragments += 1;
        let bytes = self.message.as_ref().map_or(0, Assembly::len);
        if self.fragments > EMPTY_FRAGMENTS_MAX + bytes {
            return Err(ProtocolError { code: CloseCode::TooBig, what: "a message of too many empty fragments" });
        }
        Ok(())
    }

    /// Goes on with the payload of the frame that has begun.
    fn take_payload(&mut self, rest: &mut [u8], used: &mut usize, max: usize) -> Result<Option<Found>, ProtocolError> {
        let frame = self.frame.as_mut().expect("the caller has seen it");
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
        self.lent = Lent::Control;
        Ok(Some(Found::Control(opcode)))
    }

    /// Adds to the message what has come of a frame's payload, of which `missing` bytes were missing.
    #[inline]
    fn add(&mut self, chunk: &[u8], missing: usize, fin: bool, max: usize) -> Result<Option<Found>, ProtocolError> {
        let message = self.message.as_mut().expect("a data frame has begun it");
        // A final frame bounds the message; before it only the limit does.
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
        self.lent = Lent::Message;
        Ok(Some(Found::Message))
    }
}

/// The event of a whole, unmasked frame that is a message by itself.
fn whole_event(opcode: Opcode, payload: &[u8]) -> Result<Event<'_>, ProtocolError> {
    Ok(match opcode {
        Opcode::Text => Event::Text(
            simdutf8::basic::from_utf8(payload)
                .map_err(|_| ProtocolError::invalid_utf8("a text message is not UTF-8"))?,
        ),
        Opcode::Binary => Event::Binary(payload),
        Opcode::Ping => Event::Ping(payload),
        Opcode::Pong => Event::Pong(payload),
        Opcode::Close => Event::Close(close_payload(payload)?),
        Opcode::Continuation => unreachable!("a continuation is never a message by itself"),
    })
}

/// Reads a whole close payload. The header has shown that it is not one byte.
fn close_payload(payload: &[u8]) -> Result<Option<(u16, &str)>, ProtocolError> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else { return Ok(None) };
    let code = u16::from_be_bytes(*code);
    if !may_be_sent(code) {
        return Err(ProtocolError::violation("a close code that must not be sent"));
    }
    let reason = std::str::from_utf8(reason).map_err(|_| ProtocolError::invalid_utf8("a close reason is not UTF-8"))?;
    Ok(Some((code, reason)))
}

/// Finds what is wrong already in the first bytes of a close payload.
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
