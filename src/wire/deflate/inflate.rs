//! One message's payload inflated, never beyond a bound. Keeps nothing of a message for the next one.

use std::fmt;
use std::ops::Range;

use zlib_rs::{Inflate, InflateFlush, Status};

use super::FLUSH_TAIL;

/// Bytes of output kept for the next message. What a larger one needed is given back after it.
const OUTPUT_BYTES_KEPT: usize = 64 * 1024;

/// The first try at a message's size. JSON shrinks to a fourth at most.
const FIRST_RATIO: usize = 4;

/// How far back deflate refers at most.
const WINDOW_BYTES_MAX: usize = 32 * 1024;

/// An empty block that is the last one, behind the tail of the flush: it is found there by an inflater that stands between
/// two blocks, and only then, so a message that was cut short is told from a whole one.
const LAST_BLOCK: [u8; 5] = [0x01, 0x00, 0x00, 0xff, 0xff];

/// Blocks that any message may have.
const BLOCKS_FREE: usize = 32;

/// Bytes of a message, compressed and inflated together, for each block beyond them. A block costs up to 2 us before it
/// says anything, so a message of nothing but blocks would take 40 times as long as one of text. The smallest blocks that
/// compressors make have 250 bytes (zlib with memory level 1, which ends a block after 127 symbols, on noise in base64).
const BYTES_PER_BLOCK: usize = 192;

/// Bytes of blocks that are not counted: those with codes of their own, which are what costs, have at least 11. Such is the
/// empty block that a flush leaves behind. Of smaller ones there would be too many.
const SMALL_BLOCK_BYTES: Range<usize> = 4..10;

/// A compressed message that cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// It is larger than the bound.
    #[error("a compressed message over the limit")]
    TooBig,
    /// It has more blocks than any compressor makes of so many bytes.
    #[error("a compressed message of too many blocks")]
    TooManyBlocks,
    /// It is not whole deflate blocks, or more than one that is marked as the last is followed by others.
    #[error("a compressed message that cannot be inflated")]
    Corrupt,
}

/// Inflates messages, one after another, of any number of connections. Holds nothing until the first one, then about
/// 48 KiB and the output of the last.
#[derive(Default)]
pub struct Inflater {
    state: Option<Box<State>>,
}

struct State {
    stream: Inflate,
    /// Initialised to its length, so that it is zeroed once and not for every message.
    output: Vec<u8>,
    filled: usize,
    /// Blocks of the message so far that count.
    blocks: usize,
}

impl fmt::Debug for Inflater {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Inflater").field("in_use", &self.state.is_some()).finish_non_exhaustive()
    }
}

impl Inflater {
    /// The message whose compressed payload (of all its frames) this is, lent until the next one. At most `bytes_max`; of
    /// a larger one no more than that is ever held.
    ///
    /// # Errors
    /// [`InflateError`]; the next message can be inflated all the same.
    pub fn inflate(&mut self, payload: &[u8], bytes_max: usize) -> Result<&[u8], InflateError> {
        let state = self.state.get_or_insert_with(|| {
            Box::new(State { stream: Inflate::new(false, 15), output: Vec::new(), filled: 0, blocks: 0 })
        });
        state.begin(payload.len(), bytes_max);
        match state.inflate(payload, bytes_max) {
            Ok(()) => Ok(&state.output[..state.filled]),
            // Larger than the bound it was taken only because what it says may be within.
            Err(InflateError::Corrupt) if payload.len() > bytes_max => Err(InflateError::TooBig),
            Err(error) => Err(error),
        }
    }

    /// Gives back what a large message needed: for when the last one that was lent is done with.
    pub fn let_go(&mut self) {
        if let Some(state) = &mut self.state
            && state.output.len() > OUTPUT_BYTES_KEPT
        {
            state.output = Vec::new();
        }
    }

    /// Bytes of output held, beside what the algorithm itself needs.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.state.as_ref().map_or(0, |state| state.output.capacity())
    }
}

/// What a step did.
struct Step {
    /// Bytes of input that were taken.
    taken: usize,
    /// A block marked as the last has ended.
    is_last: bool,
    /// No output was left free: more may come of the same input.
    is_full: bool,
}

impl State {
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
        let mut has_gone_on = false;
        while let (taken, true) = self.feed_blocks(rest, payload.len(), bytes_max)? {
            rest = &rest[taken..];
            match rest {
                // RFC 7692 section 7.2.3.4, with the padding byte that it asks for or without.
                [] | [0] => return Ok(()),
                // Others may follow a last block (section 7.2.1). Each time costs as much as the window is long.
                _ if has_gone_on => return Err(InflateError::Corrupt),
                _ => self.go_on_after_last()?,
            }
            has_gone_on = true;
        }
        for end in [&FLUSH_TAIL[..], &LAST_BLOCK] {
            if let (taken, true) = self.feed(end, bytes_max, InflateFlush::SyncFlush)? {
                return if taken == end.len() { Ok(()) } else { Err(InflateError::Corrupt) };
            }
        }
        Err(InflateError::Corrupt)
    }

    /// Inflates `rest` of a payload of `payload_len` bytes, counting its blocks, up to the end of one marked as the last.
    /// How many bytes were taken, and whether such a block has ended.
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
        // Of the last byte some bits may not have been looked at.
        let (_, is_last) = self.feed(&[], bytes_max, InflateFlush::SyncFlush)?;
        Ok((taken, is_last))
    }

    /// Inflates `input` up to the end of a block marked as the last, or as far as `flush` goes. How many bytes were taken, and
    /// whether such a block has ended.
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

    /// One step into what is free of the output, or into a byte that must stay unused when the bound is reached.
    fn step(&mut self, input: &[u8], bytes_max: usize, flush: InflateFlush) -> Result<Step, InflateError> {
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
        Ok(Step { taken, is_last: status == Status::StreamEnd, is_full: made == free })
    }

    /// Blocks that follow a last one refer to what is before it like any others.
    fn go_on_after_last(&mut self) -> Result<(), InflateError> {
        self.stream.reset(false);
        let known = &self.output[..self.filled];
        let known = &known[known.len().saturating_sub(WINDOW_BYTES_MAX)..];
        if !known.is_empty() {
            self.stream.set_dictionary(known).map_err(|_| InflateError::Corrupt)?;
        }
        Ok(())
    }
}
