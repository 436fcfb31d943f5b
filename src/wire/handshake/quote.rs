//! Quotes a client's text in an error.

/// Maximum bytes of a client's text that an error quotes.
const QUOTED_BYTES_MAX: usize = 80;

/// A client's text as an error quotes it, cut if it is long.
#[must_use]
pub fn quoted(text: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(&text[..text.len().min(QUOTED_BYTES_MAX)]))
}
