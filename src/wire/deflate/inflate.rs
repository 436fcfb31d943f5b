//! Inflates the payload of one message, within a bound. Never keeps a message's context for the next one.

use std::fmt;
use std::ops::Range;

use zlib_rs::{Inflate, InflateFlush, Status};

use super::FLUSH_TAIL;

/// Maximum bytes of the output buffer that is kept for the next message.
const OUTPUT_BYTES_KEPT: usize = 64 * 1024;

/// First guess of inflated bytes for each compressed byte. JSON rarely compresses better.
const FIRST_RATIO: usize = 4;

/// Maximum distance that deflate can refer back.
const WINDOW_BYTES_MAX: usize = 32 * 1024;

/// An empty block marked as the last, fed after the flush tail. Only an inflater that is between two blocks finds it, which
/// tells a complete message from a truncated one.
const LAST_BLOCK: [u8; 5] = [0x01, 0x00, 0x00, 0xff, 0xff];

/// Number of blocks that a message of any size may have.
const BLOCKS_FREE: usize = 32;

/// Bytes of a message, compressed and inflated together, that allow one block more. A block costs up to 2 us before its
/// first byte of output, so a message of empty blocks would take 40 times as long as one of text. The smallest blocks that
/// compressors make have 250 bytes (zlib with memory level 1, which ends a block after 127 symbols, on noise in base64).
const BYTES_PER_BLOCK: usize = 192;

/// Sizes of blocks that are not counted, such as the empty block of a flush. Expensive blocks, those with codes of their
/// own, have at least 11 bytes. Even smaller blocks are counted, because a message could hold too many of them.
const SMALL_BLOCK_BYTES: Range<usize> = 4..10;

/// Why a compressed message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// Its inflated size exceeds the bound.
    #[error("the compressed message exceeds the size limit")]
    TooBig,
    /// It has more blocks than any compressor makes of a message of its size.
    #[error("the compressed message has too many blocks")]
    TooManyBlocks,
    /// It is not a sequence of complete deflate blocks, or blocks follow more than one that is marked as the last.
    #[error("the compressed message is not valid deflate data")]
    Corrupt,
}

/// Inflates messages, one at a time, for any number of connections. Takes about 48 KiB and the output of the last message
/// from the first one on.
#[derive(Default)]
pub struct Inflater {
    state: Option<Box<InflateState>>,
}

struct InflateState {
    stream: Inflate,
    /// Kept at its full length, so that it is zeroed once and not for every message.
    output: Vec<u8>,
    filled: usize,
    /// Counted blocks of the message so far.
    blocks: usize,
}

impl fmt::Debug for Inflater {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Inflater").field("in_use", &self.state.is_some()).finish_non_exhaustive()
    }
}

impl Inflater {
    /// Inflates the compressed payload of a message (of all its frames) to at most `bytes_max`, and never holds more than
    /// that. The result is lent until the next call.
    ///
    /// # Errors
    /// [`InflateError`]; the next message can be inflated nevertheless.
    pub fn inflate(&mut self, payload: &[u8], bytes_max: usize) -> Result<&[u8], InflateError> {
        let state = self.state.get_or_insert_with(|| {
            Box::new(InflateState { stream: Inflate::new(false, 15), output: Vec::new(), filled: 0, blocks: 0 })
        });
        state.begin(payload.len(), bytes_max);
        match state.inflate(payload, bytes_max) {
            Ok(()) => Ok(&state.output[..state.filled]),
            // A payload above the bound is read only because its inflated message may be within the bound.
            Err(InflateError::Corrupt) if payload.len() > bytes_max => Err(InflateError::TooBig),
            Err(error) => Err(error),
        }
    }

    /// Frees the output buffer of a large message, once the caller no longer needs the message.
    pub fn let_go(&mut self) {
        if let Some(state) = &mut self.state
            && state.output.len() > OUTPUT_BYTES_KEPT
        {
            state.output = Vec::new();
        }
    }

    /// Bytes of the output buffer.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.state.as_ref().map_or(0, |state| state.output.capacity())
    }
}

/// The result of a step.
struct InflateStep {
    /// Bytes of input consumed.
    taken: usize,
    /// A block marked as the last has ended.
    is_last: bool,
    /// The output was filled, so the same input may have more.
    is_full: bool,
}

impl InflateState {
    fn begin(&mut self, payload_len: usize, bytes_max: usize) {
        self.stream.reset(false);
        (self.filled, self.blocks) = (0, 0);
        if self.output.len() > OUTPUT_BYTES_KEPT {
            self.output = Vec::new();
        }
        let wanted = payload_len.saturating_mul(FIRST_RATIO).clamp(1_024, OUTPUT_BYTES_KEPT);
        if self.output.len() < wanted.min(bytes_max) {
            self.output.resize(wanted.min(bytes_max), 0);
        }
    }

    fn inflate(&mut self, payload: &[u8], bytes_max: usize) -> Result<(), InflateError> {
        let mut rest = payload;
        let mut has_continued = false;
        while let (taken, true) = self.feed_blocks(rest, payload.len(), bytes_max)? {
            rest = &rest[taken..];
            match rest {
                // RFC 7692 section 7.2.3.4, with or without its padding byte.
                [] | [0] => return Ok(()),
                // More blocks may follow a last one (section 7.2.1), but continuing costs a copy of the window.
                _ if has_continued => return Err(InflateError::Corrupt),
                _ => self.continue_after_last()?,
            }
            has_continued = true;
        }
        for end in [&FLUSH_TAIL[..], &LAST_BLOCK] {
            if let (taken, true) = self.feed(end, bytes_max, InflateFlush::SyncFlush)? {
                return if taken == end.len() { Ok(()) } else { Err(InflateError::Corrupt) };
            }
        }
        Err(InflateError::Corrupt)
    }

    /// Inflates the `rest` of a payload of `payload_len` bytes, counting its blocks, up to the end of one marked as the
    /// last. Returns the number of bytes consumed, and whether such a block has ended.
    fn feed_blocks(
        &mut self,
        rest: &[u8],
        payload_len: usize,
        bytes_max: usize,
    ) -> Result<(usize, bool), InflateError> {
        let mut taken = 0;
        while taken < rest.len() {
            let (more, is_last) = self.feed(&rest[taken..], bytes_max, InflateFlush::Block)?;
            taken += more;
            if is_last {
                return Ok((taken, true));
            }
            self.blocks += usize::from(!SMALL_BLOCK_BYTES.contains(&more));
            if self.blocks > BLOCKS_FREE + (payload_len + self.filled) / BYTES_PER_BLOCK {
                return Err(InflateError::TooManyBlocks);
            }
        }
        // Some bits of the last byte may not have been read.
        let (_, is_last) = self.feed(&[], bytes_max, InflateFlush::SyncFlush)?;
        Ok((taken, is_last))
    }

    /// Inflates `input` up to the end of a block marked as the last, or as far as `flush` goes. Returns the number of bytes
    /// consumed, and whether such a block has ended.
    fn feed(&mut self, input: &[u8], bytes_max: usize, flush: InflateFlush) -> Result<(usize, bool), InflateError> {
        let mut taken = 0;
        loop {
            let step = self.step(&input[taken..], bytes_max, flush)?;
            taken += step.taken;
            if step.is_last || !step.is_full {
                return Ok((taken, step.is_last));
            }
        }
    }

    /// Inflates into the free part of the output or, once the bound is reached, into one byte that must stay unused.
    fn step(&mut self, input: &[u8], bytes_max: usize, flush: InflateFlush) -> Result<InflateStep, InflateError> {
        if self.filled == self.output.len() && self.filled < bytes_max {
            let larger = (self.output.len() * 2).clamp(1_024, bytes_max.max(1_024)).min(bytes_max);
            self.output.reserve_exact(larger - self.output.len());
            self.output.resize(larger, 0);
        }
        let room = self.output.len().min(bytes_max);
        let mut beyond = [0];
        let output = if self.filled < room { &mut self.output[self.filled..room] } else { &mut beyond[..] };
        let free = output.len();
        let (in_before, out_before) = (self.stream.total_in(), self.stream.total_out());
        let status = self.stream.decompress(input, output, flush).map_err(|_| InflateError::Corrupt)?;
        let taken = (self.stream.total_in() - in_before) as usize;
        let made = (self.stream.total_out() - out_before) as usize;
        if self.filled + made > bytes_max {
            return Err(InflateError::TooBig);
        }
        self.filled += made;
        Ok(InflateStep { taken, is_last: status == Status::StreamEnd, is_full: made == free })
    }

    /// Prepares for blocks after a last one, which may refer to the output before it.
    fn continue_after_last(&mut self) -> Result<(), InflateError> {
        self.stream.reset(false);
        let known = &self.output[..self.filled];
        let known = &known[known.len().saturating_sub(WINDOW_BYTES_MAX)..];
        if !known.is_empty() {
            self.stream.set_dictionary(known).map_err(|_| InflateError::Corrupt)?;
        }
        Ok(())
    }
}
