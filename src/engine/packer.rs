//! Compression of what a core sends: one compressor for all of its connections and rooms. A broadcast is compressed by
//! its room's owner, once for each reading that some member has. Decides what is worth it; never sends.

use std::sync::Arc;

use bytes::Bytes;

use super::settings::Compression;
use crate::base::counters::CoreCounters;
use crate::base::limits::COMPRESS_BYTES_MAX;
use crate::wire::deflate::{Compressor, Window};
use crate::wire::form::Frames;
use crate::wire::reading::{Readings, Variants};

/// The compressor of a core. Holds no memory for it before the first message.
#[derive(Debug)]
pub struct Packer {
    compressor: Compressor,
    min_bytes: usize,
}

impl Packer {
    /// Compresses as configured. Where that is not at all, nobody has a window to compress for.
    #[must_use]
    pub fn new(compression: Option<Compression>) -> Self {
        let Compression { min_bytes, level } = compression.unwrap_or(Compression { min_bytes: usize::MAX, level: 1 });
        Self { compressor: Compressor::new(level), min_bytes }
    }

    /// Finished frames with their messages compressed; `None` if none is large enough, or gets smaller by it.
    pub fn pack(&mut self, window: Window, frames: &[u8], counters: &CoreCounters) -> Option<Bytes> {
        let deflated = self.compressor.compress_frames(window, frames, self.min_bytes, COMPRESS_BYTES_MAX)?;
        counters.compressed_messages.add(u64::from(deflated.messages));
        counters.compressed_bytes_before.add(deflated.bytes_before as u64);
        counters.compressed_bytes_after.add(deflated.bytes_after as u64);
        Some(deflated.frames)
    }

    /// The same frames for each reading with compression; `None` if nobody would get others than the plain ones.
    pub fn variants(&mut self, readings: Readings, frames: &Frames, counters: &CoreCounters) -> Option<Arc<Variants>> {
        let mut variants = Variants::default();
        for reading in readings.compressed() {
            if let (Some(window), Some(plain)) = (reading.window(), frames.get(reading.form()))
                && let Some(packed) = self.pack(window, plain, counters)
            {
                variants.add(reading, packed);
            }
        }
        (!variants.is_empty()).then(|| Arc::new(variants))
    }
}

#[cfg(test)]
mod tests;
