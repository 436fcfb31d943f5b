//! Content negotiation by `Accept` (RFC 9110 section 12.5.1). Knows no route.

use crate::wire::handshake::lexer::Lexer;

/// A media type that a response can have.
#[derive(Clone, Copy, Debug)]
pub struct Media {
    /// The part before the slash.
    pub kind: &'static str,
    /// The part after the slash.
    pub subtype: &'static str,
    /// Its parameter `version`. A range that names another version does not match.
    pub version: &'static str,
}

/// How well a media type suits the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preference {
    /// The range's quality in thousandths; 0: not acceptable.
    pub quality: u16,
    /// How specific the matching range is: 3 with type and version, 2 with the type, 1 `kind/*`, 0 `*/*` or none.
    pub specificity: u8,
}

/// How well `media` suits the client, by all `Accept` headers of a request. The most specific matching range decides, and
/// the first one of several. Without ranges everything is acceptable. A header is read up to its first syntax error.
pub fn preference(headers: &[&[u8]], media: Media) -> Preference {
    let (mut best, mut ranges) = (None::<Preference>, 0);
    for header in headers {
        let mut lexer = Lexer(header);
        while let Some(range) = next_range(&mut lexer) {
            ranges += 1;
            if let Some(specificity) = range.specificity(media)
                && best.is_none_or(|best| specificity > best.specificity)
            {
                best = Some(Preference { quality: range.quality, specificity });
            }
        }
    }
    best.unwrap_or(Preference { quality: if ranges == 0 { 1_000 } else { 0 }, specificity: 0 })
}

struct MediaRange<'a> {
    kind: &'a [u8],
    subtype: &'a [u8],
    version: Option<Vec<u8>>,
    quality: u16,
}

impl MediaRange<'_> {
    /// As in [`Preference`]; `None` if the range does not match.
    fn specificity(&self, media: Media) -> Option<u8> {
        let is = |found: &[u8], wanted: &str| found.eq_ignore_ascii_case(wanted.as_bytes());
        match (self.kind, self.subtype, &self.version) {
            (b"*", b"*", _) => Some(0),
            (kind, b"*", _) if is(kind, media.kind) => Some(1),
            (kind, subtype, version) if is(kind, media.kind) && is(subtype, media.subtype) => match version {
                None => Some(2),
                Some(version) => is(version, media.version).then_some(3),
            },
            _ => None,
        }
    }
}

/// The next range of a list; `None` at its end or at a syntax error.
fn next_range<'a>(lexer: &mut Lexer<'a>) -> Option<MediaRange<'a>> {
    lexer.skip_blanks();
    while lexer.take(b',') {}
    let kind = lexer.token()?;
    if !lexer.skip(b'/') {
        return None;
    }
    let mut range = MediaRange { kind, subtype: lexer.token()?, version: None, quality: 1_000 };
    while lexer.take(b';') {
        let name = lexer.token()?;
        if !lexer.skip(b'=') {
            return None;
        }
        let value = lexer.token_or_quoted()?;
        if name.eq_ignore_ascii_case(b"q") {
            range.quality = quality(&value)?;
        } else if name.eq_ignore_ascii_case(b"version") {
            range.version = Some(value);
        }
    }
    matches!(lexer.peek(), None | Some(b',')).then_some(range)
}

/// A quality from 0 to 1, with up to three decimals (RFC 9110 section 12.4.2), in thousandths.
fn quality(text: &[u8]) -> Option<u16> {
    let (whole, decimals) = text.split_first()?;
    let decimals = if decimals.is_empty() { decimals } else { decimals.strip_prefix(b".")? };
    if decimals.len() > 3 || !matches!(whole, b'0' | b'1') || !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |at: usize| decimals.get(at).map_or(0, |digit| u16::from(digit - b'0'));
    let thousandths = u16::from(whole - b'0') * 1_000 + digit(0) * 100 + digit(1) * 10 + digit(2);
    (thousandths <= 1_000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Media = Media { kind: "text", subtype: "plain", version: "0.0.4" };

    fn preferred(headers: &[&str]) -> (u16, u8) {
        let headers: Vec<&[u8]> = headers.iter().map(|header| header.as_bytes()).collect();
        let Preference { quality, specificity } = preference(&headers, TEXT);
        (quality, specificity)
    }

    #[test]
    fn the_most_specific_range_decides() {
        for (headers, expected) in [
            (&[][..], (1_000, 0)),
            (&[""], (1_000, 0)),
            (&["*/*"], (1_000, 0)),
            (&["text/*;q=0.5, */*"], (500, 1)),
            (&["*/*;q=0.1", "TEXT/Plain ; Q=0.25"], (250, 2)),
            (&["text/plain;version=0.0.4;q=0.125, text/plain;q=0.9"], (125, 3)),
            (&["text/plain; charset=\"a,b;q=0\"; version=\"0.0.4\""], (1_000, 3)),
            (&["text/plain;version=1.0.0"], (0, 0)),
            (&["text/plain;q=0, */*"], (0, 2)),
            (&["application/json"], (0, 0)),
            (&["application/json, , text/plain;q=1.000"], (1_000, 2)),
            (&["application/json;q=2, text/plain"], (1_000, 0)),
            (&["application/json, text/plain;q=0.1234"], (0, 0)),
            (&["application/json text/plain"], (1_000, 0)),
        ] {
            assert_eq!(preferred(headers), expected, "{headers:?}");
        }
        for (text, expected) in
            [("1", Some(1_000)), ("0.", Some(0)), ("0.07", Some(70)), ("1.001", None), (".5", None), ("-1", None)]
        {
            assert_eq!(quality(text.as_bytes()), expected, "{text}");
        }
    }
}
