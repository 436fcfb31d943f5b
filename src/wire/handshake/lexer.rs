//! Reads tokens and quoted strings of header fields (RFC 9110 sections 5.6.2 to 5.6.4). Never interprets a field.

/// The unread rest of a field's value.
#[derive(Clone, Copy, Debug)]
pub struct Lexer<'a>(pub &'a [u8]);

impl<'a> Lexer<'a> {
    /// The next byte.
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// Skips spaces and tabs.
    pub fn skip_blanks(&mut self) {
        let end = self.0.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(self.0.len());
        self.0 = &self.0[end..];
    }

    /// Skips `separator`; `false` if it is not next.
    pub fn skip(&mut self, separator: u8) -> bool {
        let is_next = self.peek() == Some(separator);
        self.0 = &self.0[usize::from(is_next)..];
        is_next
    }

    /// Skips `separator` and the blanks around it; `false` if it is not next.
    pub fn take(&mut self, separator: u8) -> bool {
        self.skip_blanks();
        let is_next = self.skip(separator);
        if is_next {
            self.skip_blanks();
        }
        is_next
    }

    /// Reads a token.
    pub fn token(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| !is_token(*byte)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    /// Reads a quoted string and returns its content, each quoted pair as its second byte.
    pub fn quoted(&mut self) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        let mut bytes = self.0.strip_prefix(b"\"")?.iter().copied().enumerate();
        loop {
            let (at, byte) = bytes.next()?;
            match byte {
                b'"' => {
                    self.0 = &self.0[at + 2..];
                    return Some(content);
                }
                b'\\' => content.push(bytes.next().map(|(_, byte)| byte).filter(|byte| is_text(*byte))?),
                byte if is_text(byte) => content.push(byte),
                _ => return None,
            }
        }
    }

    /// Reads a token, or a quoted string's content.
    pub fn token_or_quoted(&mut self) -> Option<Vec<u8>> {
        if self.peek() == Some(b'"') { self.quoted() } else { self.token().map(<[u8]>::to_vec) }
    }
}

/// Whether a token may contain a byte.
pub const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

/// Whether a quoted string may contain a byte, by itself or in a pair.
const fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_strings_are_read_to_their_end() {
        for (text, content, rest) in [
            ("\"\"", "", ""),
            ("\"a, b;c\", d", "a, b;c", ", d"),
            (r#""\"\\\a"x"#, r#""\a"#, "x"),
            ("\"\u{fc}\t\"", "\u{fc}\t", ""),
        ] {
            let mut lexer = Lexer(text.as_bytes());
            assert_eq!(lexer.quoted().as_deref(), Some(content.as_bytes()), "{text}");
            assert_eq!(lexer.0, rest.as_bytes());
        }
        for text in ["", "a", "\"", "\"a", "\"a\\", "\"a\\\"", "\"\n\"", "\"\\\u{7f}\""] {
            assert_eq!(Lexer(text.as_bytes()).quoted(), None, "{text:?}");
        }
    }

    #[test]
    fn separators_may_have_blanks_around_them() {
        let mut lexer = Lexer(b"a \t; b=c");
        assert_eq!(lexer.token(), Some(&b"a"[..]));
        assert!(!lexer.take(b',') && lexer.take(b';') && !lexer.take(b';'));
        assert_eq!(lexer.token(), Some(&b"b"[..]));
        assert!(lexer.skip(b'=') && lexer.token_or_quoted().as_deref() == Some(b"c"));
        assert_eq!((lexer.token(), lexer.peek()), (None, None));
    }
}
