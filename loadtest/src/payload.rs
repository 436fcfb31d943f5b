//! Owns the payload of publications: a stamp that identifies the publish, with padding or within a chat message. ASCII,
//! so that it fits a JSON string and a binary message. Never checks deliveries.

mod chat;
mod stamp;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub use stamp::{STAMP_BYTES, Stamp};

/// The contents around the stamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum PayloadKind {
    /// Dots: cheapest to generate, but unsuited to measure compression.
    #[default]
    Dots,
    /// A JSON object with a name and random words of a chat.
    Json,
}

/// The payload of one publication, without its stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Size in bytes; at least that of the smallest payload of its kind.
    pub bytes: usize,
    /// The contents.
    pub kind: PayloadKind,
    /// Seed of the words.
    pub seed: u64,
}

impl PayloadKind {
    /// Bytes of the smallest payload of this kind.
    #[must_use]
    pub const fn bytes_min(self) -> usize {
        match self {
            PayloadKind::Dots => STAMP_BYTES,
            PayloadKind::Json => chat::BYTES_MIN,
        }
    }
}

impl Payload {
    /// Bytes that [`Payload::write`] appends.
    #[must_use]
    pub fn len(self) -> usize {
        self.bytes.max(self.kind.bytes_min())
    }

    /// Appends the payload.
    pub fn write(self, stamp: Stamp, out: &mut Vec<u8>) {
        match self.kind {
            PayloadKind::Dots => stamp.write(self.bytes, out),
            PayloadKind::Json => chat::write(stamp, self.len(), self.seed, out),
        }
    }

    /// Appends the payload as a JSON value.
    pub fn write_value(self, stamp: Stamp, out: &mut Vec<u8>) {
        match self.kind {
            PayloadKind::Dots => {
                out.push(b'"');
                self.write(stamp, out);
                out.push(b'"');
            }
            PayloadKind::Json => self.write(stamp, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_have_their_size_and_are_json_values() {
        let stamp = Stamp { number: 77, room: 3 };
        for kind in [PayloadKind::Dots, PayloadKind::Json] {
            for bytes in [0, 20, 64, 127, 128, 5_000, 200_000] {
                let payload = Payload { bytes, kind, seed: 9 };
                let (mut plain, mut value) = (Vec::new(), Vec::new());
                payload.write(stamp, &mut plain);
                payload.write_value(stamp, &mut value);
                assert_eq!(plain.len(), bytes.max(kind.bytes_min()), "{kind:?}");
                assert_eq!(plain.len(), payload.len());
                let value: serde_json::Value = serde_json::from_slice(&value).expect("JSON");
                assert_eq!(value.is_object(), kind == PayloadKind::Json);
                assert_eq!(Stamp::find(&plain, &mut 0), Some(stamp));
            }
        }
    }
}
