//! Masks and unmasks payloads in place (RFC 6455 section 5.3); the same XOR does both. Never sees a frame.

/// XORs `payload`, which begins at `offset` of a frame's payload, with the frame's mask key.
#[inline]
pub fn unmask(payload: &mut [u8], key: [u8; 4], offset: usize) {
    let mut key = key;
    key.rotate_left(offset % 4);
    let key_word = u32::from_ne_bytes(key);
    let key_double = (u64::from(key_word) << 32) | u64::from(key_word);

    // Arrays of a fixed size let the compiler use vector instructions without bounds checks.
    let (chunks, rest) = payload.as_chunks_mut::<32>();
    for chunk in chunks {
        let (words, _) = chunk.as_chunks_mut::<8>();
        for word in words {
            *word = (u64::from_ne_bytes(*word) ^ key_double).to_ne_bytes();
        }
    }
    let (words, tail) = rest.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ key_double).to_ne_bytes();
    }
    for (byte, key_byte) in tail.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key_byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_definition_at_every_length_and_offset() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for length in 0..=132 {
            for offset in 0..9 {
                let plain: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
                let expected: Vec<u8> = plain.iter().enumerate().map(|(i, b)| b ^ key[(i + offset) % 4]).collect();
                let mut payload = plain.clone();
                unmask(&mut payload, key, offset);
                assert_eq!(payload, expected, "length {length}, offset {offset}");
            }
        }
    }

    #[test]
    fn pieces_give_the_same_as_the_whole() {
        let key = [1, 2, 3, 4];
        let plain: Vec<u8> = (0..100).collect();
        let mut whole = plain.clone();
        unmask(&mut whole, key, 0);
        for cut in 0..=plain.len() {
            let mut pieces = plain.clone();
            let (first, second) = pieces.split_at_mut(cut);
            unmask(first, key, 0);
            unmask(second, key, cut);
            assert_eq!(pieces, whole, "cut at {cut}");
        }
    }
}
