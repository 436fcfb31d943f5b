//! Owns the rule against phrases that have plain words. Never reads a file.

/// Phrases that may not appear in prose, in lower case, with the plain words to use instead.
const BANNED: &[(&str, &str)] = &[
    ("as many as it may", "the maximum number of"),
    ("counts for so many", "bytes of"),
    ("gives back what", "frees"),
    ("made good", "repaired"),
    ("no more patience", "a shorter time limit"),
    ("put out of", "removed from"),
    ("refuses nobody", "refuses no connection"),
    ("regardless of its rate", "over its rate limit"),
    ("sign of life", "heartbeat"),
    ("taken for done", "a no-op"),
    ("unmakes", "removes"),
    ("who read so", "with this compression"),
    ("whose word", "trusted"),
    ("worst laggard", "slowest consumer"),
];

/// The banned phrases of a file, also those that continue on the next line.
pub fn banned_phrases(path: &str, text: &str) -> Vec<String> {
    let lines: Vec<String> = text.lines().map(plain).collect();
    let mut wrong = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let next = lines.get(index + 1).map_or("", String::as_str);
        let both = format!("{line} {next}");
        for (phrase, instead) in BANNED {
            if both.match_indices(phrase).any(|(at, _)| at < line.len()) {
                wrong.push(format!("{path}:{}: write \"{instead}\" instead of \"{phrase}\"", index + 1));
            }
        }
    }
    wrong
}

/// A line in lower case, without the mark of a comment.
fn plain(line: &str) -> String {
    let line = line.trim_start().trim_start_matches(['/', '!', '#', '-']);
    line.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

#[test]
fn phrases_are_found_in_any_case_and_across_lines() {
    let found = banned_phrases("a.rs", "//! No Sign of Life.\n/// A hop is taken\n/// for done.\nlet signs = 1;\n");
    let expected = [
        "a.rs:1: write \"heartbeat\" instead of \"sign of life\"",
        "a.rs:2: write \"a no-op\" instead of \"taken for done\"",
    ];
    assert_eq!(found, expected);
}
