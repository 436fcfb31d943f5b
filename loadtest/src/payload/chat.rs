//! Owns chat messages as JSON objects, with realistic words so that compression figures are meaningful. The same stamp
//! and seed give the same message. Never parses one.

use std::sync::LazyLock;

use fastrand::Rng;

use super::stamp::{STAMP_BYTES, Stamp};

const BEFORE_STAMP: &[u8] = b"{\"id\":\"";
const BEFORE_NAME: &[u8] = b"\",\"by\":\"";
const BEFORE_TEXT: &[u8] = b"\",\"text\":\"";
const AFTER_TEXT: &[u8] = b"\"}";

/// Names of equal length, so that a message's size does not depend on its author.
const NAMES: [&[u8; 6]; 12] = [
    b"amelie", b"bonnie", b"carlos", b"dmitri", b"esther", b"fatima", b"gunnar", b"hassan", b"ingrid", b"joanna",
    b"keiko_", b"louise",
];

/// Size of a message with empty text.
pub const BYTES_MIN: usize =
    BEFORE_STAMP.len() + STAMP_BYTES + BEFORE_NAME.len() + NAMES[0].len() + BEFORE_TEXT.len() + AFTER_TEXT.len();

/// Most frequent first.
const WORDS: &str = "the i you to a and it is that of in for on me my do we have be was what so not are this just \
    with but no can like at if your get know up all think one about good time they out go will how there now see \
    when some as yes then want from would need really did here she he too more going got also has been had them back \
    why could who day still make today or an right much because work over well say even thanks only tomorrow great \
    maybe sure where something should home people way take off after new please any first before last night again \
    him her let nice next never week very yeah sorry look thing always our long find done meeting later tonight call \
    already than does things other doing idea wait down into nothing bit feel minutes best made left better friend \
    actually start looks weekend someone everyone hope which photo probably around coffee help love year morning \
    little dinner train same money being house world game remember guess file weather happened different question \
    deploy server link project report ticket branch review birthday kitchen doctor dentist garage garden holiday \
    concert keyboard umbrella recipe airport station platform delayed monday tuesday wednesday thursday friday \
    saturday sunday january september office upstairs downstairs cinema theatre mountain bicycle breakfast lunch \
    yesterday afternoon quarter customer database release version screenshot password invoice contract deadline";

const POOL_BYTES: usize = 128 * 1024;

/// Text of the chat, without quotes, longer than ordinary messages.
static POOL: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let mut rng = Rng::with_seed(0x636861);
    let mut pool = String::with_capacity(POOL_BYTES + 64);
    let mut left = 0;
    while pool.len() < POOL_BYTES {
        // Approximates Zipf's law: the logarithm of the rank is uniform.
        let rank = (words.len() as f64).powf(rng.f64()) as usize - 1;
        pool.push_str(words[rank.min(words.len() - 1)]);
        if left == 0 {
            left = rng.usize(3..14);
            pool.push_str(["?", "!", ".", ".", " :)", "...", ", ok", " 10:30.", " #42."][rng.usize(..9)]);
        }
        left -= 1;
        pool.push(' ');
    }
    pool.into_bytes()
});

/// Appends the message of a stamp: `size` bytes, but at least [`BYTES_MIN`].
pub fn write(stamp: Stamp, size: usize, seed: u64, out: &mut Vec<u8>) {
    // Knuth's multiplier separates consecutive publishes.
    let key = (u64::from(stamp.room) << 32 | u64::from(stamp.number)) ^ seed;
    let spread = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let end = out.len() + size.max(BYTES_MIN);
    out.extend_from_slice(BEFORE_STAMP);
    stamp.write(0, out);
    out.extend_from_slice(BEFORE_NAME);
    out.extend_from_slice(NAMES[(spread >> 60) as usize % NAMES.len()]);
    out.extend_from_slice(BEFORE_TEXT);
    let text_end = end - AFTER_TEXT.len();
    let mut at = (spread >> 20) as usize % POOL.len();
    while out.len() < text_end {
        let piece = &POOL[at..];
        out.extend_from_slice(&piece[..piece.len().min(text_end - out.len())]);
        at = 0;
    }
    out.extend_from_slice(AFTER_TEXT);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u32, seed: u64) -> String {
        let mut out = Vec::new();
        write(Stamp { number, room: 1 }, 300, seed, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn messages_are_repeatable_and_differ_from_each_other() {
        assert_eq!(message(5, 1), message(5, 1));
        let text = |message: &str| message.split("\"text\":").nth(1).map(str::to_owned);
        assert_ne!(text(&message(5, 1)), text(&message(6, 1)));
        assert_ne!(text(&message(5, 1)), text(&message(5, 2)));
        assert!(POOL.iter().all(|byte| byte.is_ascii() && !b"\"\\~".contains(byte) && *byte >= b' '));
    }
}
