//! Compresses the payload of one message, if that makes it smaller. Never keeps a message's context for the next one.

use std::fmt;

use bytes::Bytes;
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Status};

use super::{COMPRESSED_BIT, FLUSH_TAIL, Window};
use crate::wire::frame::{append_server_frame, frames_of, header_len};

/// Maximum bytes of the output buffer that is kept for the next message.
const OUTPUT_BYTES_KEPT: usize = 64 * 1024;

/// Bytes of output space beside the part that grows with the payload.
const ROOM_BYTES_MIN: usize = 256;

/// Deflate's memory level. Higher levels do not compress messages better, and take longer to reset for each.
const MEMORY_LEVEL: i32 = 4;

/// Compresses messages, one at a time, for any number of connections. Takes 160 to 280 KiB for each window from its first
/// message on.
pub struct Compressor {
    level: u8,
    streams: [Option<Box<Deflate>>; Window::ALL.len()],
    /// Kept at its full length, so that it is zeroed once and not for every message.
    output: Vec<u8>,
}

/// Finished frames, at least one of them compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deflated {
    /// All frames.
    pub frames: Bytes,
    /// Number of compressed messages.
    pub messages: u32,
    /// Bytes of those messages' frames before compression.
    pub bytes_before: usize,
    /// Bytes of those messages' frames after compression.
    pub bytes_after: usize,
}

impl fmt::Debug for Compressor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let windows: Vec<_> = Window::ALL.iter().filter(|window| self.streams[window.index()].is_some()).collect();
        formatter
            .debug_struct("Compressor")
            .field("level", &self.level)
            .field("in_use", &windows)
            .finish_non_exhaustive()
    }
}

impl Compressor {
    /// A compressor of a level from 1 (fastest) to 9 (smallest).
    #[must_use]
    pub fn new(level: u8) -> Self {
        Self { level: level.clamp(1, 9), streams: Default::default(), output: Vec::new() }
    }

    /// Compresses a message's payload, without the tail that receivers add (RFC 7692 section 7.2.1). The result is lent
    /// until the next call; `None` if it is not smaller.
    pub fn compress(&mut self, window: Window, payload: &[u8]) -> Option<&[u8]> {
        // More than the worst case (9 bits a byte), because zlib-rs 0.6.8 panics at level 1 when its output is full.
        let room = payload.len() + payload.len() / 4 + ROOM_BYTES_MIN;
        if self.output.len() < room {
            self.output.resize(room, 0);
        } else if self.output.len() > OUTPUT_BYTES_KEPT && room <= OUTPUT_BYTES_KEPT {
            self.output.truncate(OUTPUT_BYTES_KEPT);
            self.output.shrink_to_fit();
        }
        let stream = match &mut self.streams[window.index()] {
            Some(stream) => {
                stream.reset();
                stream
            }
            none => none.insert(Box::new(Deflate::new_with_config(DeflateConfig {
                level: i32::from(self.level),
                window_bits: -i32::from(window.bits()),
                mem_level: MEMORY_LEVEL,
                ..DeflateConfig::default()
            }))),
        };
        let output = &mut self.output[..room];
        let status = stream.compress(payload, output, DeflateFlush::SyncFlush);
        let (taken, made) = (stream.total_in() as usize, stream.total_out() as usize);
        if status != Ok(Status::Ok) || taken < payload.len() || made == room {
            return None;
        }
        output[..made].strip_suffix(&FLUSH_TAIL).filter(|compressed| compressed.len() < payload.len())
    }

    /// Compresses those messages in a buffer of finished server frames that have `bytes_min` … `bytes_max` of payload and
    /// get smaller; `None` if there is no such message.
    pub fn compress_frames(
        &mut self,
        window: Window,
        frames: &[u8],
        bytes_min: usize,
        bytes_max: usize,
    ) -> Option<Deflated> {
        let is_due =
            |first: u8, payload: &[u8]| first & 0x08 == 0 && (bytes_min.max(1)..=bytes_max).contains(&payload.len());
        let mut deflated = Deflated { frames: Bytes::new(), messages: 0, bytes_before: 0, bytes_after: 0 };
        let mut out = Vec::new();
        // Once a message is compressed, `out` holds the frames up to here.
        let mut done = 0;
        for frame in frames_of(frames) {
            if !is_due(frame.first, frame.payload) {
                continue;
            }
            let Some(payload) = self.compress(window, frame.payload) else { continue };
            if deflated.messages == 0 {
                out.reserve_exact(frames.len() - frame.payload.len() + payload.len());
            }
            out.extend_from_slice(&frames[done..frame.start]);
            append_server_frame(&mut out, frame.first | COMPRESSED_BIT, payload);
            done = frame.end();
            deflated.messages += 1;
            deflated.bytes_before += frame.end() - frame.start;
            deflated.bytes_after += header_len(payload.len()) + payload.len();
        }
        if deflated.messages == 0 {
            return None;
        }
        out.extend_from_slice(&frames[done..]);
        out.shrink_to_fit();
        deflated.frames = Bytes::from(out);
        Some(deflated)
    }
}
