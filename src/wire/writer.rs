//! Writes the pieces of payloads: JSON text, little-endian integers, base64. The same code measures and writes, so that a
//! frame gets one buffer of exactly its size. Never sees a command, push or reply.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Takes the pieces of a payload, and either counts their bytes or appends them to a buffer.
pub(super) struct Writer<'a> {
    measured: usize,
    out: Option<&'a mut Vec<u8>>,
}

impl<'a> Writer<'a> {
    /// Appends to `out`.
    pub(super) fn to(out: &'a mut Vec<u8>) -> Self {
        Self { measured: 0, out: Some(out) }
    }

    /// Number of bytes that `write` writes.
    pub(super) fn measure(write: impl Fn(&mut Writer<'_>)) -> usize {
        let mut counter = Writer { measured: 0, out: None };
        write(&mut counter);
        counter.measured
    }

    /// Writes bytes unchanged.
    #[inline]
    pub(super) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        match &mut self.out {
            Some(out) => out.extend_from_slice(bytes),
            None => self.measured += bytes.len(),
        }
        self
    }

    /// Writes text unchanged.
    #[inline]
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.raw(text.as_bytes())
    }

    /// Writes a decimal integer.
    #[inline]
    pub(super) fn integer(&mut self, value: u64) -> &mut Self {
        match &mut self.out {
            Some(out) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
            None => self.measured += value.checked_ilog10().unwrap_or(0) as usize + 1,
        }
        self
    }

    /// Writes `true` or `false`.
    #[inline]
    pub(super) fn boolean(&mut self, value: bool) -> &mut Self {
        self.text(if value { "true" } else { "false" })
    }

    /// Writes a quoted JSON string with only those characters escaped that RFC 8259 section 7 requires.
    #[inline]
    pub(super) fn string(&mut self, text: &str) -> &mut Self {
        self.raw(b"\"");
        let mut clean_from = 0;
        for (at, byte) in text.bytes().enumerate() {
            if needs_escape(byte) {
                self.raw(&text.as_bytes()[clean_from..at]);
                self.escaped(byte);
                clean_from = at + 1;
            }
        }
        self.raw(&text.as_bytes()[clean_from..]).raw(b"\"")
    }

    #[cold]
    fn escaped(&mut self, byte: u8) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        match byte {
            b'"' => self.raw(b"\\\""),
            b'\\' => self.raw(b"\\\\"),
            b'\n' => self.raw(b"\\n"),
            b'\r' => self.raw(b"\\r"),
            b'\t' => self.raw(b"\\t"),
            _ => self.raw(&[b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        };
    }

    /// Writes a quoted string of standard base64 with padding.
    pub(super) fn base64_string(&mut self, bytes: &[u8]) -> &mut Self {
        let encoded_len = bytes.len().div_ceil(3) * 4;
        self.raw(b"\"");
        match &mut self.out {
            Some(out) => {
                let start = out.len();
                out.resize(start + encoded_len, 0);
                BASE64.encode_slice(bytes, &mut out[start..]).expect("the buffer has the encoded length");
            }
            None => self.measured += encoded_len,
        }
        self.raw(b"\"")
    }

    /// Writes a little-endian integer.
    #[inline]
    pub(super) fn u16(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Writes a little-endian integer.
    #[inline]
    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Writes a little-endian integer.
    #[inline]
    pub(super) fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }
}

const fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Writer<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut Writer::to(&mut out));
        assert_eq!(out.len(), Writer::measure(&write), "measure and write agree");
        out
    }

    #[test]
    fn strings_read_back_with_serde_json() {
        let every_low_character: String = (0..=0x7f_u8).map(char::from).collect();
        for text in ["", "plain", "\"", "a\\b\"c", "ümlaut \u{2028} 🦀", "\u{0}x", every_low_character.as_str()] {
            let json = written(|out| {
                out.string(text);
            });
            assert_eq!(serde_json::from_slice::<String>(&json).expect("valid JSON"), text);
        }
    }

    #[test]
    fn integers_are_measured_exactly() {
        for value in [0, 1, 9, 10, 99, 100, 999, 1_000, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let text = written(|out| {
                out.integer(value);
            });
            assert_eq!(text, value.to_string().into_bytes());
        }
    }

    #[test]
    fn base64_is_padded() {
        for (bytes, expected) in [(&b""[..], "\"\""), (b"f", "\"Zg==\""), (b"fo", "\"Zm8=\""), (b"foo", "\"Zm9v\"")] {
            let text = written(|out| {
                out.base64_string(bytes);
            });
            assert_eq!(text, expected.as_bytes());
        }
    }
}
