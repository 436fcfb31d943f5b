//! The rules of DESIGN's floors, each a function from a source to what is wrong with it. Reads no file.

use std::collections::{BTreeMap, BTreeSet};

use super::circles::is_in;
use super::source::{Source, Token};

/// Floors from the ground up. Those on one line stand side by side and may not import one another.
const FLOORS: &[&[&str]] = &[&["base"], &["wire"], &["engine"], &["io"], &["link", "store", "control"], &["server"]];

/// Files of `src/` that are on no floor: they assemble.
const ROOF: &[&str] = &["src/main.rs", "src/lib.rs"];

/// Words of code that belong to a few floors only, and why.
const WORDS: &[(&[&str], &[&str], &str)] = &[
    (&["glommio", "io_uring"], &["io"], "so that the executor and the ring can be replaced"),
    (&["tokio"], &["link", "store", "control", "server"], "the cores are not its threads"),
    (&["axum", "prometheus_client"], &["control", "server"], "only the control address speaks HTTP by a library"),
    (&["redis"], &["link"], "only the link speaks to Redis"),
    (&["rustls"], &["io", "link", "store", "control", "server"], "the engine sees plaintext only"),
    (&["async", "await"], &["io", "link", "store", "control", "server"], "a turn is synchronous"),
    (&["Mutex", "RwLock", "RefCell"], &["io", "link", "store", "control", "server"], "an engine is one plain value"),
    (&["Instant", "SystemTime"], &["io", "link", "store", "control", "server"], "time comes in as an argument"),
];

/// Files that may hold `unsafe`, and what of it cannot be had safely. A folder ends with `/`.
const UNSAFE: &[&str] = &["src/io/ring.rs", "src/io/ring/"];

/// Files that may read a clock, and why the clock of `io` does not serve there.
pub const CLOCKS: &[(&str, &str)] = &[
    ("src/io/clock.rs", "it is the clock"),
    ("src/server/boot.rs", "uptime counts from the start of the process, when there is no core yet"),
    ("src/server/lifecycle.rs", "the service thread goes by its own runtime's clock, which tests can stop"),
];

/// Files and folders with circles among them that are not yet undone, and what each circle turns on.
pub const CIRCLES: &[(&[&str], &str)] = &[
    (&["src/engine/access/"], "keys are values of the set that checks with them"),
    (&["src/engine/home/"], "parts of a home import `Home`"),
    (&["src/engine/outbox.rs", "src/engine/outbox/"], "queues hold what `outbox.rs` defines"),
    (&["src/engine/owner/"], "parts of a room import `Room` and `Owner`"),
    (&["src/wire/handshake/"], "readers import the refusal and the request that `mod.rs` defines"),
    (&["src/wire/message/"], "header and assembly import the errors that `mod.rs` defines"),
];

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

/// Everything that is wrong with one file.
pub fn file_violations(source: &Source) -> Vec<String> {
    let rules: &[fn(&Source) -> Vec<String>] =
        &[imports, words, unsafety, clocks, opening, file_lengths, function_lengths, hop_docs];
    rules.iter().flat_map(|rule| rule(source)).collect()
}

/// How high the floor stands.
fn height(floor: &str) -> Option<usize> {
    FLOORS.iter().position(|level| level.contains(&floor))
}

fn at(source: &Source, line: usize, what: impl std::fmt::Display) -> String {
    format!("{}:{line}: {what}", source.path)
}

/// A file imports only from its own floor and from floors below.
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

/// Some words belong to some floors.
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

/// `unsafe` only where it must be, each with its reason in the comment above it.
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

/// One file reads the clock.
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

/// A file says what it is.
fn opening(source: &Source) -> Vec<String> {
    if source.text.starts_with("//! ") { Vec::new() } else { vec![at(source, 1, "does not open with `//!`")] }
}

/// A file can be taken in at once.
fn file_lengths(source: &Source) -> Vec<String> {
    let count = source.text.lines().count();
    if count <= FILE_LINES_MAX {
        return Vec::new();
    }
    vec![at(source, count, format!("has more than {FILE_LINES_MAX} lines"))]
}

/// A function can be taken in at once.
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

/// Each hop says what happens when its lane is full: every variant of every enum that `Hop` carries.
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
                wrong.push(at(source, line, format!("`{name}::{variant}` does not say what a full lane means")));
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

/// Nouns of a folder import one way: no two of them import each other, however indirectly. A noun is a file of the
/// folder with the folder of the same name, or a folder with its `mod.rs`; `depth` says how many segments of a module's
/// path name one: 2 for the nouns of a floor, 1 for those of a crate without floors. The `mod.rs` above the nouns
/// assembles them, and tests may look anywhere.
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

/// The load generator shares only the wire (and the words it is written in) with the server.
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
