//! Owns the rules of the architecture, each a function from a source to its violations. Never reads a file.

use std::collections::{BTreeMap, BTreeSet};

use super::circles::is_in;
use super::source::{Source, Token};

/// Floors from the bottom up. Floors on one level may not import each other.
const FLOORS: &[&[&str]] = &[&["base"], &["wire"], &["engine"], &["io"], &["link", "store", "control"], &["server"]];

/// Files of `src/` above all floors.
const ROOF: &[&str] = &["src/main.rs", "src/lib.rs"];

/// Words of code that only some floors may use, with the reason.
const WORDS: &[(&[&str], &[&str], &str)] = &[
    (&["glommio", "io_uring"], &["io"], "executor and ring stay replaceable"),
    (&["tokio"], &["link", "store", "control", "server"], "cores do not run on its threads"),
    (&["axum", "prometheus_client"], &["control", "server"], "only the control address uses an HTTP library"),
    (&["redis"], &["link"], "only the link uses Redis"),
    (&["rustls"], &["io", "link", "store", "control", "server"], "the engine sees plaintext only"),
    (&["async", "await"], &["io", "link", "store", "control", "server"], "a turn is synchronous"),
    (&["Mutex", "RwLock", "RefCell"], &["io", "link", "store", "control", "server"], "an engine is one plain value"),
    (&["Instant", "SystemTime"], &["io", "link", "store", "control", "server"], "time comes in as an argument"),
];

/// Files and folders that may use `unsafe`. A folder ends with `/`.
const UNSAFE: &[&str] = &["src/io/ring.rs", "src/io/ring/"];

/// Files that may read a clock, with the reason why they cannot use `io::clock`.
pub const CLOCKS: &[(&str, &str)] = &[
    ("src/io/clock.rs", "it is the clock"),
    ("src/server/boot.rs", "uptime starts with the process, before any core"),
    ("src/server/lifecycle.rs", "the service thread uses the clock of its runtime, which tests can stop"),
];

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

/// All violations of one file.
pub fn file_violations(source: &Source) -> Vec<String> {
    let rules: &[fn(&Source) -> Vec<String>] =
        &[imports, words, unsafety, clocks, opening, file_lengths, function_lengths, hop_docs];
    rules.iter().flat_map(|rule| rule(source)).collect()
}

/// The level of a floor.
fn height(floor: &str) -> Option<usize> {
    FLOORS.iter().position(|level| level.contains(&floor))
}

fn at(source: &Source, line: usize, what: impl std::fmt::Display) -> String {
    format!("{}:{line}: {what}", source.path)
}

/// Rule: a file imports only from its own floor and lower floors.
fn imports(source: &Source) -> Vec<String> {
    if ROOF.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let own = source.module().first().map_or("", |floor| *floor);
    let Some(own_height) = height(own) else {
        return vec![format!("{}: is on no floor", source.path)];
    };
    let mut wrong = Vec::new();
    for named in source.named_paths() {
        let Some(floor) = named.path.first() else { continue };
        match height(floor) {
            None if named.absolute => wrong.push(at(source, named.line, format!("crate::{floor} is on no floor"))),
            Some(other) if floor != own && other >= own_height => {
                wrong.push(at(source, named.line, format!("{own} imports {floor}, which is not below it")));
            }
            _ => {}
        }
    }
    wrong
}

/// Rule: floors use only words that belong to them.
fn words(source: &Source) -> Vec<String> {
    let Some(floor) = source.module().first().copied() else { return Vec::new() };
    let mut wrong = Vec::new();
    for token in source.tokens() {
        for (words, floors, why) in WORDS {
            if words.contains(&token.text) && !floors.contains(&floor) {
                wrong.push(at(source, token.line, format!("`{}` does not belong to {floor}: {why}", token.text)));
            }
        }
    }
    wrong
}

/// Rule: `unsafe` only in listed files, each with a `SAFETY` comment above it.
fn unsafety(source: &Source) -> Vec<String> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut wrong = Vec::new();
    for token in source.tokens().iter().filter(|token| token.text == "unsafe") {
        if !is_in(&source.path, UNSAFE) {
            wrong.push(at(source, token.line, "`unsafe` does not belong here"));
            continue;
        }
        let above = lines[..token.line - 1].iter().rev().map(|line| line.trim_start());
        let mut comment = above.take_while(|line| line.starts_with("//") || line.starts_with("#["));
        let documented = comment.any(|line| line.contains("SAFETY:") || line.contains("# Safety"));
        if !documented && !lines[token.line - 1].contains("// SAFETY:") {
            wrong.push(at(source, token.line, "`unsafe` without a `// SAFETY:` above it"));
        }
    }
    wrong
}

/// Rule: only listed files read a clock.
fn clocks(source: &Source) -> Vec<String> {
    if CLOCKS.iter().any(|(path, _)| *path == source.path) {
        return Vec::new();
    }
    let source = &source.without_tests();
    let tokens = source.tokens();
    let reads = |window: &[Token<'_>]| {
        let [first, second, third] = window else { return false };
        let now = matches!(first.text, "Instant" | "SystemTime") && second.text == "::" && third.text == "now";
        now || first.text == "clock_gettime"
    };
    let found = tokens.windows(3).filter(|window| reads(window));
    found.map(|window| at(source, window[0].line, "reads a clock, which only src/io/clock.rs does")).collect()
}

/// Rule: a file starts with a comment about itself.
fn opening(source: &Source) -> Vec<String> {
    if source.text.starts_with("//! ") { Vec::new() } else { vec![at(source, 1, "does not start with `//!`")] }
}

/// Rule: files are short.
fn file_lengths(source: &Source) -> Vec<String> {
    let count = source.text.lines().count();
    if count <= FILE_LINES_MAX {
        return Vec::new();
    }
    vec![at(source, count, format!("has more than {FILE_LINES_MAX} lines"))]
}

/// Rule: functions are short.
fn function_lengths(source: &Source) -> Vec<String> {
    let source = &source.without_tests();
    let tokens = source.tokens();
    let mut wrong = Vec::new();
    for (index, token) in tokens.iter().enumerate().filter(|(_, token)| token.text == "fn") {
        let Some(end) = end_of_function(&tokens[index..]) else { continue };
        let count = end - token.line + 1;
        if count > FUNCTION_LINES_MAX {
            let name = tokens.get(index + 1).map_or("", |name| name.text);
            wrong.push(at(source, token.line, format!("`{name}` has {count} lines, over {FUNCTION_LINES_MAX}")));
        }
    }
    wrong
}

/// The line of a function's closing brace; `None` for a declaration, a function pointer's type, or a closure's bound.
fn end_of_function(tokens: &[Token<'_>]) -> Option<usize> {
    let mut nested = 0_i32;
    let mut braces = 0_i32;
    for token in tokens {
        match token.text {
            "(" | "[" => nested += 1,
            ")" | "]" => {
                nested -= 1;
                if nested < 0 && braces == 0 {
                    return None;
                }
            }
            ";" if nested == 0 && braces == 0 => return None,
            "{" => braces += 1,
            "}" => {
                braces -= 1;
                if braces <= 0 {
                    return (braces == 0).then_some(token.line);
                }
            }
            _ => {}
        }
    }
    None
}

/// Rule: every variant of every enum in `Hop` documents the effect of a full lane.
fn hop_docs(source: &Source) -> Vec<String> {
    if source.module() != ["engine", "hop"] {
        return Vec::new();
    }
    let hops = variants_of(source, "Hop");
    if hops.is_empty() {
        return vec![format!("{}: has no enum `Hop` with a variant for each direction", source.path)];
    }
    let mut wrong = Vec::new();
    for (name, ..) in hops {
        let variants = variants_of(source, &name);
        if variants.is_empty() {
            wrong.push(format!("{}: has no enum `{name}` with variants", source.path));
        }
        for (variant, line, doc) in variants {
            if !doc.contains("Lane full") && !doc.contains("No answer") {
                wrong.push(at(source, line, format!("`{name}::{variant}` does not document a full lane")));
            }
        }
    }
    wrong
}

/// Name, line and doc of each variant of an enum.
fn variants_of(source: &Source, name: &str) -> Vec<(String, usize, String)> {
    let mut variants = Vec::new();
    let mut depth: Option<i32> = None;
    let mut doc = String::new();
    for (index, (text, code)) in source.text.lines().zip(source.code.lines()).enumerate() {
        let opened = depth.is_some();
        if depth.is_none() && code.contains(&format!("enum {name} ")) {
            depth = Some(0);
        }
        let Some(level) = depth.as_mut() else { continue };
        if *level == 1 && opened {
            let word: String = code.trim_start().chars().take_while(|next| next.is_alphanumeric()).collect();
            if let Some(line) = text.trim_start().strip_prefix("///") {
                doc.push_str(line);
            } else if word.starts_with(|first: char| first.is_uppercase()) {
                variants.push((word, index + 1, std::mem::take(&mut doc)));
            }
        }
        *level += code.matches(['{', '(']).count() as i32 - code.matches(['}', ')']).count() as i32;
        if *level == 0 && opened {
            break;
        }
    }
    variants
}

/// Rule: no two nouns of a folder import each other, even indirectly. A noun is a file with the folder of the same
/// name, or a folder with its `mod.rs`. `depth` is the number of segments in the path of a noun: 2 within a floor, 1 in
/// a crate without floors. The `mod.rs` above the nouns and tests are exempt.
pub fn cycles(sources: &[Source], depth: usize) -> Vec<String> {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources {
        let module = source.module();
        let Some(noun) = module.get(..depth) else { continue };
        let from = noun.join("::");
        let out = edges.entry(from.clone()).or_default();
        for named in source.without_tests().named_paths() {
            let Some(other) = named.path.get(..depth) else { continue };
            if other[..depth - 1] == noun[..depth - 1] && other.join("::") != from {
                out.insert(other.join("::"));
            }
        }
    }
    let mut wrong = Vec::new();
    let mut done = BTreeSet::new();
    for start in edges.keys() {
        visit(start, &edges, &mut Vec::new(), &mut done, &mut wrong);
    }
    wrong
}

fn visit(
    node: &str,
    edges: &BTreeMap<String, BTreeSet<String>>,
    trail: &mut Vec<String>,
    done: &mut BTreeSet<String>,
    wrong: &mut Vec<String>,
) {
    if let Some(start) = trail.iter().position(|earlier| earlier == node) {
        wrong.push(format!("these import each other: {} -> {node}", trail[start..].join(" -> ")));
        return;
    }
    if done.contains(node) {
        return;
    }
    trail.push(node.to_owned());
    for next in edges.get(node).into_iter().flatten() {
        visit(next, edges, trail, done, wrong);
    }
    trail.pop();
    done.insert(node.to_owned());
}

/// Rule: the load generator imports only `wire` and `base` of the server.
pub fn loadtest_violations(source: &Source) -> Vec<String> {
    let tokens = source.tokens();
    let mut wrong = Vec::new();
    for window in tokens.windows(3) {
        if window[0].text == "roomring" && window[1].text == "::" && !matches!(window[2].text, "wire" | "base") {
            wrong.push(at(source, window[0].line, format!("the load generator imports `{}`", window[2].text)));
        }
    }
    wrong
}

#[cfg(test)]
mod tests;
