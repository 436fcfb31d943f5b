//! Keeps the bytes of an incomplete header, frame or message, and adds those that follow. Never reads a byte ahead of a
//! frame's first.

use super::assembly::Assembly;
use super::error::ProtocolError;
use super::event::check_close_so_far;
use super::header::{CLIENT_HEADER_BYTES_MAX, Context, FragmentsBefore, Header};
use crate::base::codes::CloseCode;
use crate::base::limits::EMPTY_FRAGMENTS_MAX;
use crate::wire::frame::{CONTROL_BYTES_MAX, Opcode};
use crate::wire::mask::unmask;

/// The bytes of an incomplete header, frame or message that have arrived.
#[derive(Debug)]
pub(super) struct Unfinished {
    /// The first bytes of an incomplete header.
    header: [u8; CLIENT_HEADER_BYTES_MAX],
    pub(super) header_len: u8,
    /// A frame with a complete header and an incomplete payload.
    pub(super) frame: Option<FrameUnderWay>,
    /// The data message whose last frame is not complete.
    pub(super) message: Option<Assembly>,
    /// Frames of the message so far.
    fragments: usize,
    /// Payload of the control frame in `frame`.
    control: [u8; CONTROL_BYTES_MAX],
    pub(super) control_len: u8,
    /// Fragments without payload that [`Decoder::take_empty_fragments`] has not returned yet.
    pub(super) empty_fragments: u32,
    /// The part that the last call lent to its caller and that the next call frees.
    pub(super) lent: LentPart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LentPart {
    Nothing,
    Message,
    Control,
}

#[derive(Debug)]
pub(super) struct FrameUnderWay {
    pub(super) header: Header,
    pub(super) arrived: usize,
}

/// Where the bytes of a complete event are.
pub(super) enum EventPlace {
    /// In the input, not copied.
    Input { opcode: Opcode, compressed: bool, start: usize, end: usize },
    /// In the unfinished message.
    Message,
    /// In the unfinished control frame.
    Control(Opcode),
}

/// Limits on every frame of a connection.
#[derive(Clone, Copy)]
pub(super) struct MessageLimits {
    /// Maximum bytes of a message.
    pub(super) max: usize,
    /// Compression was negotiated.
    pub(super) may_compress: bool,
}

impl MessageLimits {
    pub(super) fn after(self, message: Option<&Assembly>) -> Context {
        Context {
            message: message
                .map(|message| FragmentsBefore { bytes: message.len(), compressed: message.is_compressed() }),
            max_message_bytes: self.max,
            may_compress: self.may_compress,
        }
    }
}

impl Unfinished {
    pub(super) fn boxed() -> Box<Self> {
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

    pub(super) fn control(&self) -> &[u8] {
        &self.control[..usize::from(self.control_len)]
    }

    /// Keeps bytes of an incomplete header; the caller has checked that they do not complete it.
    pub(super) fn keep_header(&mut self, bytes: &[u8]) {
        let from = usize::from(self.header_len);
        self.header[from..from + bytes.len()].copy_from_slice(bytes);
        self.header_len += bytes.len() as u8;
    }

    /// Continues a header that began in an earlier input.
    pub(super) fn take_header(
        &mut self,
        rest: &[u8],
        used: &mut usize,
        limits: MessageLimits,
    ) -> Result<(), ProtocolError> {
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

    pub(super) fn begin_frame(&mut self, header: Header) {
        self.begin_message(header);
        self.frame = Some(FrameUnderWay { header, arrived: 0 });
    }

    /// Begins a message, if the frame is the first of one.
    pub(super) fn begin_message(&mut self, header: Header) {
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
    pub(super) fn take_payload(
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
    pub(super) fn add(
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
