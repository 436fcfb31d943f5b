//! Compresses the messages of a core: one compressor for all of its connections and rooms. A room's owner compresses a
//! broadcast once for each reading that its members have. Decides which messages are worth it. Never sends.

use std::sync::Arc;

use bytes::Bytes;

use super::settings::Compression;
use crate::base::counters::CoreCounters;
use crate::base::limits::COMPRESS_BYTES_MAX;
use crate::wire::deflate::{Compressor, Window};
use crate::wire::form::Frames;
use crate::wire::reading::{Readings, Variants};

/// The compressor of a core. Takes no memory until the first message.
#[derive(Debug)]
pub struct Packer {
    compressor: Compressor,
    min_bytes: usize,
}

impl Packer {
    /// A packer with these settings. `None` compresses nothing, because no connection has negotiated a window.
    #[must_use]
    pub fn new(compression: Option<Compression>) -> Self {
        let Compression { min_bytes, level } = compression.unwrap_or(Compression { min_bytes: usize::MAX, level: 1 });
        Self { compressor: Compressor::new(level), min_bytes }
    }

    /// Compresses the messages in finished frames. `None` if no message is large enough, or none gets smaller.
    pub fn pack(&mut self, window: Window, frames: &[u8], counters: &CoreCounters) -> Option<Bytes> {
        let deflated = self.compressor.compress_frames(window, frames, self.min_bytes, COMPRESS_BYTES_MAX)?;
        counters.compressed_messages.add(u64::from(deflated.messages));
        counters.compressed_bytes_before.add(deflated.bytes_before as u64);
        counters.compressed_bytes_after.add(deflated.bytes_after as u64);
        Some(deflated.frames)
    }

    /// Compresses frames for each reading with compression. `None` if every reading gets the plain ones.
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
