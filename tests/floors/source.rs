//! Owns a Rust source file as the rules see it: text, code without comments and literals, tokens, paths. Never judges.

/// A source file.
pub struct Source {
    /// Path relative to the package, with `/`.
    pub path: String,
    /// Contents of the file.
    pub text: String,
    /// Contents with comments and literals blanked, on the same lines.
    pub code: String,
}

/// A word, a `::`, or another single character of code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// The text.
    pub text: &'a str,
    /// The line, from 1.
    pub line: usize,
}

/// A path in a file, from the crate's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Segments without `crate`.
    pub path: Vec<String>,
    /// The line, from 1.
    pub line: usize,
    /// Whether the path starts with `crate`, not with `self` or `super`.
    pub absolute: bool,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: blank_comments_and_literals(text) }
    }

    /// The file without `#[cfg(test)]` modules. A file of tests becomes empty.
    pub fn without_tests(&self) -> Self {
        let is_tests = self.path.ends_with("/tests.rs") || self.path.contains("/tests/");
        let code = if is_tests { String::new() } else { blank_test_modules(&self.code) };
        Self { path: self.path.clone(), text: self.text.clone(), code }
    }

    pub fn tokens(&self) -> Vec<Token<'_>> {
        tokens(&self.code)
    }

    /// The module path from the crate's root: `src/engine/room.rs` is `[engine, room]`, `src/engine/mod.rs` is
    /// `[engine]`.
    pub fn module(&self) -> Vec<&str> {
        let inner = self.path.split_once("src/").map_or(self.path.as_str(), |(_, inner)| inner).trim_end_matches(".rs");
        let mut segments: Vec<&str> = inner.split('/').collect();
        if segments.len() == 1 && matches!(segments[0], "main" | "lib") || segments.last() == Some(&"mod") {
            segments.pop();
        }
        segments
    }

    /// All paths of this crate in the file, in `use` trees and in code. Within an inline module one `super` is the file
    /// itself, so a path may be one level too high, never too low.
    pub fn named_paths(&self) -> Vec<Named> {
        let tokens = self.tokens();
        let mut named = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let starts = matches!(tokens[at].text, "crate" | "self" | "super") && text_at(&tokens, at + 1) == "::";
            let continues = at > 0 && tokens[at - 1].text == "::";
            if !starts || continues {
                at += 1;
                continue;
            }
            let absolute = tokens[at].text == "crate";
            let module = self.module();
            let mut base: Vec<String> =
                if absolute { Vec::new() } else { module.iter().map(ToString::to_string).collect() };
            while matches!(text_at(&tokens, at), "crate" | "self" | "super") && text_at(&tokens, at + 1) == "::" {
                if tokens[at].text == "super" {
                    base.pop();
                }
                at += 2;
            }
            at = unfold(&tokens, at, &base, absolute, &mut named);
        }
        named
    }
}

fn text_at<'a>(tokens: &[Token<'a>], at: usize) -> &'a str {
    tokens.get(at).map_or("", |token| token.text)
}

/// Whether a token is a name or a keyword.
pub fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Reads the rest of a path or `use` tree. Returns its end.
fn unfold(tokens: &[Token<'_>], mut at: usize, base: &[String], absolute: bool, named: &mut Vec<Named>) -> usize {
    let line = tokens.get(at).map_or(0, |token| token.line);
    let mut path = base.to_vec();
    loop {
        match text_at(tokens, at) {
            "{" => {
                at += 1;
                while !matches!(text_at(tokens, at), "}" | "") {
                    let before = at;
                    at = unfold(tokens, at, &path, absolute, named);
                    if at == before || text_at(tokens, at) == "," {
                        at += 1;
                    }
                }
                return at + 1;
            }
            "super" => {
                path.pop();
                at += 1;
            }
            "self" => at += 1,
            word if is_word(word) => {
                path.push(word.to_owned());
                at += 1;
            }
            _ => break,
        }
        if text_at(tokens, at) != "::" {
            break;
        }
        at += 1;
    }
    if text_at(tokens, at) == "as" {
        at += 2;
    }
    named.push(Named { path, line, absolute });
    at
}

/// Splits code into words, `::`, and other single characters.
fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let length = if first.is_alphanumeric() || first == '_' {
            rest.find(|next: char| !next.is_alphanumeric() && next != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (text, after) = rest.split_at(length);
        if first == '\n' {
            line += 1;
        } else if !first.is_whitespace() {
            tokens.push(Token { text, line });
        }
        rest = after;
    }
    tokens
}

/// Blanks everything except line ends, so that positions stay the same.
fn blank(bytes: &mut [u8]) {
    bytes.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
}

fn blank_comments_and_literals(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text.as_bytes()[at..];
        let after_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
        let length = if rest.starts_with(b"//") {
            rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            block_comment(rest)
        } else if rest[0] == b'"' {
            quoted(rest, b'"')
        } else if rest[0] == b'\'' {
            character(rest)
        } else if rest[0] == b'r' && (!after_word || matches!(bytes[at - 1], b'b' | b'c')) {
            raw_string(rest)
        } else {
            0
        };
        blank(&mut bytes[at..at + length]);
        at += length.max(1);
    }
    String::from_utf8(bytes).expect("only whole characters are blanked")
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at.min(rest.len())
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// Length of a character literal; 0 for a lifetime.
fn character(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        return quoted(rest, b'\'');
    }
    let text = std::str::from_utf8(&rest[1..]).unwrap_or("");
    match text.chars().next() {
        Some(first) if text[first.len_utf8()..].starts_with('\'') => first.len_utf8() + 2,
        _ => 0,
    }
}

/// Length of a raw string; 0 for a word that begins with `r`.
fn raw_string(rest: &[u8]) -> usize {
    let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let end = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let from = hashes + 2;
    let found = rest[from..].windows(end.len()).position(|window| window == end);
    found.map_or(rest.len(), |found| from + found + end.len())
}

fn blank_test_modules(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut bytes = code.as_bytes().to_vec();
    let mut from = 0;
    while let Some(found) = code[from..].find(MARK) {
        let start = from + found;
        let body = code[start..].find(['{', ';']).map_or(code.len(), |offset| start + offset);
        let mut end = body;
        if code[body..].starts_with('{') {
            let mut depth = 0;
            for (offset, character) in code[body..].char_indices() {
                depth += i32::from(character == '{') - i32::from(character == '}');
                if depth == 0 {
                    end = body + offset + 1;
                    break;
                }
            }
        }
        blank(&mut bytes[start..end]);
        from = end.max(start + MARK.len());
    }
    String::from_utf8(bytes).expect("only whole characters are blanked")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(path: &str, text: &str) -> Vec<String> {
        Source::new(path, text).named_paths().iter().map(|named| named.path.join("::")).collect()
    }

    #[test]
    fn comments_and_literals_are_blanked() {
        let text =
            "a // crate::io\n/* x /* y */ z */ b \"crate::io \\\" q\" r#\"\" crate::io\"# 'c' '\\'' '\"' &'a d b\"e\"";
        let source = Source::new("src/x.rs", text);
        let words: Vec<&str> = source.tokens().iter().map(|token| token.text).collect();
        assert_eq!(words, ["a", "b", "&", "'", "a", "d", "b"]);
        assert_eq!(source.code.len(), text.len());
        assert_eq!(source.tokens()[1].line, 2);
    }

    #[test]
    fn use_trees_and_inline_paths_are_found() {
        let text = "use crate::{base::{ids, limits as l}, io};\nfn f() -> crate::wire::Form { crate::server::run() }";
        let found = paths("src/engine/room.rs", text);
        assert_eq!(found, ["base::ids", "base::limits", "io", "wire::Form", "server::run"]);
    }

    #[test]
    fn relative_paths_are_resolved() {
        let text =
            "use super::hop::Hop; use super::super::io::ring; use self::inner::X; use super::{super::wire, budget};";
        let found = paths("src/engine/room.rs", text);
        assert_eq!(found, ["engine::hop::Hop", "io::ring", "engine::room::inner::X", "wire", "engine::budget"]);
        assert_eq!(paths("src/engine/mod.rs", "use self::hop::Hop; use super::io;"), ["engine::hop::Hop", "io"]);
    }

    #[test]
    fn test_modules_are_removed() {
        let text = "fn f() {}\n#[cfg(test)]\nmod tests { fn g() { {} } }\nfn h() {}\n#[cfg(test)]\nmod more;\n";
        let source = Source::new("src/engine/room.rs", text).without_tests();
        let names: Vec<&str> = source.tokens().iter().map(|token| token.text).filter(|text| is_word(text)).collect();
        assert_eq!(names, ["fn", "f", "fn", "h"]);
        assert!(Source::new("src/engine/room/tests.rs", text).without_tests().tokens().is_empty());
    }
}
