//! What publications carry: a stamp that says which publish of which room this is, and padding, or a chat message around
//! it. ASCII, so that it fits a JSON string and a binary message alike.

mod chat;
mod stamp;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub use stamp::{STAMP_BYTES, Stamp};

/// What stands around the stamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum PayloadKind {
    /// Dots: the cheapest to make, and no measure for compression.
    #[default]
    Dots,
    /// A JSON object with a name and the words of a chat, other ones in each message.
    Json,
}

/// The payload of one publication, but for its stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Bytes of it; those of the smallest one of its kind if that is more.
    pub bytes: usize,
    /// What it holds.
    pub kind: PayloadKind,
    /// Which words.
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
