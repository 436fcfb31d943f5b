//! Owns seeded mutations of a corpus. Never runs a target.

use crate::random::Random;

/// Bytes with a special meaning for parsers.
const EDGES: [u8; 16] = [0, 1, 9, 10, 13, 32, b'"', b',', b'.', b'\\', b'{', 0x7e, 0x7f, 0x80, 0xfe, 0xff];

/// Maximum size of a mutated input.
const INPUT_BYTES_MAX: usize = 16 * 1024;

/// An input of `corpus` with one to six changes.
pub fn mutated(random: &mut Random, corpus: &[Vec<u8>], words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = random.pick(corpus).clone();
    for _ in 0..=random.below(6) {
        mutate(random, &mut bytes, corpus, words);
    }
    bytes.truncate(INPUT_BYTES_MAX);
    bytes
}

fn mutate(random: &mut Random, bytes: &mut Vec<u8>, corpus: &[Vec<u8>], words: &[&[u8]]) {
    let at = random.below(bytes.len() + 1);
    let end = at + random.below((bytes.len() - at).min(64) + 1);
    match random.below(9) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = *random.pick(&EDGES),
        2 => bytes.insert(at, random.next() as u8),
        3 => drop(bytes.drain(at..end)),
        4 => bytes.truncate(at),
        5 => {
            let copied = bytes[at..end].to_vec();
            let to = random.below(bytes.len() + 1);
            bytes.splice(to..to, copied);
        }
        6 => {
            let other = random.pick(corpus);
            let from = random.below(other.len() + 1);
            let to = from + random.below((other.len() - from).min(256) + 1);
            bytes.splice(at..end, other[from..to].iter().copied());
        }
        7 if !words.is_empty() => drop(bytes.splice(at..end, random.pick(words).iter().copied())),
        _ => {
            let number = random.next() >> random.below(64);
            let width = 1 << random.below(4);
            bytes.splice(at..end, number.to_be_bytes()[8 - width..].iter().copied());
        }
    }
}
