//! Owns the stamp that identifies the publish in a message, wherever it is. Never knows the message's format.

/// Bytes of a stamp: the marker, 8 hex digits of the number, 8 of the room.
pub const STAMP_BYTES: usize = MARKER.len() + 16;

/// Begins every stamp; never appears in names of the generator.
pub const MARKER: &[u8; 4] = b"~rr1";

/// The identity of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Number of the publish in its room, from 0.
    pub number: u32,
    /// Index of the room in the run.
    pub room: u32,
}

impl Stamp {
    /// Writes the stamp and padding: `size` bytes, but at least the stamp.
    pub fn write(self, size: usize, out: &mut Vec<u8>) {
        let end = out.len() + size.max(STAMP_BYTES);
        out.extend_from_slice(MARKER);
        out.extend_from_slice(&hex(self.number));
        out.extend_from_slice(&hex(self.room));
        out.resize(end, b'.');
    }

    /// Reads the stamp at the start of `bytes`.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let stamp = bytes.get(..STAMP_BYTES)?;
        if &stamp[..4] != MARKER {
            return None;
        }
        Some(Stamp { number: unhex(&stamp[4..12])?, room: unhex(&stamp[12..20])? })
    }

    /// Finds a stamp anywhere in `message`. Tries `hint` first and sets it to the position.
    pub fn find(message: &[u8], hint: &mut usize) -> Option<Self> {
        if let Some(stamp) = message.get(*hint..).and_then(Stamp::read) {
            return Some(stamp);
        }
        let at = memchr::memmem::find(message, MARKER)?;
        *hint = at;
        Stamp::read(&message[at..])
    }
}

fn hex(number: u32) -> [u8; 8] {
    let mut digits = [0; 8];
    for (index, digit) in digits.iter_mut().enumerate() {
        let nibble = (number >> (28 - 4 * index)) & 0xf;
        *digit = b"0123456789abcdef"[nibble as usize];
    }
    digits
}

/// Parses eight lower-case hex digits at once, since this runs for every delivery.
fn unhex(digits: &[u8]) -> Option<u32> {
    let word = u64::from_be_bytes(digits.try_into().ok()?);
    let letters = (word >> 6) & 0x0101_0101_0101_0101;
    let nibbles = (word & 0x0f0f_0f0f_0f0f_0f0f).wrapping_add(letters * 9);
    let pairs = (nibbles | (nibbles >> 4)) & 0x00ff_00ff_00ff_00ff;
    let quads = (pairs | (pairs >> 8)) & 0x0000_ffff_0000_ffff;
    u32::try_from((quads | (quads >> 16)) & 0xffff_ffff).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_found_anywhere() {
        for number in [0, 1, 9, 10, 0xdead_beef, u32::MAX] {
            let stamp = Stamp { number, room: number.rotate_left(7) };
            let mut message = b"{\"data\":\"".to_vec();
            stamp.write(128, &mut message);
            assert_eq!(message.len(), 9 + 128);
            let mut hint = 0;
            assert_eq!(Stamp::find(&message, &mut hint), Some(stamp));
            assert_eq!(hint, 9);
            assert_eq!(Stamp::find(&message, &mut hint), Some(stamp));
            assert_eq!(Stamp::read(&message), None);
        }
    }

    #[test]
    fn an_incomplete_stamp_is_not_found() {
        let mut message = Vec::new();
        Stamp { number: 1, room: 2 }.write(0, &mut message);
        assert_eq!(message.len(), STAMP_BYTES);
        message.pop();
        assert_eq!(Stamp::find(&message, &mut 0), None);
        assert_eq!(Stamp::find(b"", &mut 77), None);
    }
}
