//! Checks the rules of the architecture (`src/lib.rs`) that the compiler cannot check: floors, circles of files, words,
//! clocks, `unsafe`, sizes, prose. Each rule is also tested on bad samples: a rule that cannot fail proves nothing.

mod circles;
mod imports;
mod prose;
mod rules;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use source::Source;

/// Path and text of all text files at or below a path of the package, sorted.
fn files_below(place: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut waiting: Vec<PathBuf> = vec![root.join(place)];
    let mut files = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder of the package can be read");
            waiting.extend(entries.map(|entry| entry.expect("an entry can be read").path()));
        } else if let Ok(text) = fs::read_to_string(&path) {
            let inner = path.strip_prefix(root).expect("it is below the package");
            files.push((inner.to_string_lossy().into_owned(), text));
        }
    }
    files.sort();
    files
}

/// All `.rs` files below a folder of the package, sorted.
fn sources_below(folder: &str) -> Vec<Source> {
    let sources = files_below(folder).into_iter().filter(|(path, _)| path.ends_with(".rs"));
    sources.map(|(path, text)| Source::new(&path, &text)).collect()
}

fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

#[test]
fn every_file_keeps_the_rules() {
    let sources = sources_below("src");
    assert!(sources.iter().any(|source| source.path == "src/engine/hop.rs"), "the rules find the sources");
    assert_none(&sources.iter().flat_map(rules::file_violations).collect::<Vec<_>>());
}

#[test]
fn prose_has_no_banned_phrases() {
    let files: Vec<_> = ["src", "README.md", "docs", "tuning"].into_iter().flat_map(files_below).collect();
    assert!(files.iter().any(|(path, _)| path == "README.md"), "the rule finds the files");
    assert_none(&files.iter().flat_map(|(path, text)| prose::banned_phrases(path, text)).collect::<Vec<_>>());
}

#[test]
fn no_two_nouns_of_a_floor_import_each_other() {
    assert_none(&rules::cycles(&sources_below("src"), 2));
    assert_none(&rules::cycles(&sources_below("loadtest/src"), 1));
}

#[test]
fn no_files_are_in_a_circle() {
    for folder in ["src", "loadtest/src"] {
        let found = circles::circles(&sources_below(folder));
        assert_none(&found.iter().map(ToString::to_string).collect::<Vec<_>>());
    }
}

#[test]
fn the_load_generator_shares_only_the_wire() {
    let sources = sources_below("loadtest/src");
    assert!(!sources.is_empty(), "the rule finds the sources");
    assert_none(&sources.iter().flat_map(rules::loadtest_violations).collect::<Vec<_>>());
}

#[test]
fn every_allowed_clock_exists() {
    for (path, why) in rules::CLOCKS {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        assert!(file.is_file(), "{path} may read a clock ({why}) but does not exist: remove it from the list");
    }
}

/// The package's folder holds these entries, hidden files, and files that git ignores.
#[test]
fn the_top_level_has_known_entries_only() {
    const KEPT: &[&str] = &[
        "Cargo.toml",
        "Cargo.lock",
        "src",
        "benches",
        "docs",
        "loadtest",
        "tuning",
        "tests",
        "web",
        "Dockerfile",
        "README.md",
        "LICENSE",
    ];
    const NOT_KEPT: &[&str] = &["target", "data", "roomring.toml"];
    let entries = fs::read_dir(env!("CARGO_MANIFEST_DIR")).expect("the package can be read");
    let names = entries.map(|entry| entry.expect("an entry can be read").file_name().to_string_lossy().into_owned());
    let is_known = |name: &str| name.starts_with('.') || KEPT.contains(&name) || NOT_KEPT.contains(&name);
    assert_none(&names.filter(|name| !is_known(name)).collect::<Vec<_>>());
}
