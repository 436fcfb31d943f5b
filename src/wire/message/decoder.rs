//! Finds the next message in a client's bytes. Lends a message from the input if it lies whole in it; keeps what is
//! incomplete until the rest arrives.

use super::assembly::Assembly;
use super::error::ProtocolError;
use super::event::{Decoded, Whole, whole_event};
use super::header::Header;
use super::unfinished::{EventPlace, LentPart, MessageLimits, Unfinished};
use crate::wire::deflate::Inflater;
use crate::wire::mask::unmask;

/// Decodes one client's byte stream. Takes eight bytes while no message is incomplete.
#[derive(Debug, Default)]
pub struct Decoder {
    unfinished: Option<Box<Unfinished>>,
}

const _: () = assert!(size_of::<Decoder>() == size_of::<usize>(), "an idle connection's decoder is one null pointer");

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
