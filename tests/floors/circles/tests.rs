//! Circles of every kind, and similar trees without one.

use super::*;

/// Circles among files of `src/`, as text.
fn found(files: &[(&str, &str)]) -> Vec<String> {
    let sources: Vec<Source> = files.iter().map(|(path, text)| Source::new(&format!("src/{path}"), text)).collect();
    circles(&sources).iter().map(ToString::to_string).collect()
}

fn assert_circle(files: &[(&str, &str)], way: &str) {
    assert_eq!(found(files), [way], "{files:?}");
}

fn assert_none(files: &[(&str, &str)]) {
    assert_eq!(found(files), Vec::<String>::new(), "{files:?}");
}

#[test]
fn siblings_that_import_each_other_are_a_circle() {
    assert_circle(
        &[
            ("a/one.rs", "use super::two::Two;"),
            ("a/two.rs", "use crate::a::one::One;"),
            ("a/mod.rs", "mod one;\nmod two;"),
        ],
        "src/a/one.rs:1 -> src/a/two.rs:1 -> src/a/one.rs",
    );
    assert_circle(
        &[
            ("a.rs", "\nuse crate::{b::B, c};"),
            ("b.rs", "fn f() -> super::c::C {}"),
            ("c.rs", "use crate::a;\n\nfn f() { a::g() }"),
        ],
        "src/a.rs:2 -> src/b.rs:1 -> src/c.rs:3 -> src/a.rs",
    );
    assert_none(&[("a/one.rs", "use super::two::Two;"), ("a/two.rs", "use super::three::Three;"), ("a/three.rs", "")]);
}

#[test]
fn a_parent_that_builds_on_a_child_which_imports_it_is_a_circle() {
    let parent = "mod part;\nuse part::Part;\npub struct Home { part: Part }";
    assert_circle(
        &[("home/mod.rs", parent), ("home/part.rs", "use super::Home;\npub struct Part;")],
        "src/home/mod.rs:2 -> src/home/part.rs:1 -> src/home/mod.rs",
    );
    assert_circle(
        &[("home/mod.rs", parent), ("home/part.rs", "pub struct Part;\nimpl super::Home {}")],
        "src/home/mod.rs:2 -> src/home/part.rs:2 -> src/home/mod.rs",
    );
    assert_circle(
        &[("home.rs", "mod part;\npub struct Home;\nfn f() { part::run() }"), ("home/part.rs", "use super::*;")],
        "src/home.rs:3 -> src/home/part.rs:1 -> src/home.rs",
    );
    // A child may extend its parent's type if the parent does not import the child.
    assert_none(&[
        ("home/mod.rs", "mod commands;\npub mod part;\nuse part::Part;\npub struct Home { part: Part }"),
        ("home/commands.rs", "use super::Home;\nimpl Home {}"),
        ("home/part.rs", "pub struct Part;"),
    ]);
}

#[test]
fn names_are_followed_to_the_file_that_defines_them() {
    // The parent re-exports both, and a child takes `Plan` from it.
    let files = |parent: &'static str| {
        [
            ("home/mod.rs", parent),
            ("home/part.rs", "use super::Plan;\npub struct Part;"),
            ("home/plan.rs", "pub struct Plan;"),
        ]
    };
    assert_none(&files("mod part;\nmod plan;\npub use part::Part;\npub use plan::Plan;"));
    assert_none(&files("mod part;\nmod plan;\nuse part::Part;\nuse plan::Plan;\nfn f(_: Part, _: Plan) {}"));
    assert_circle(
        &files("mod part;\npub use part::Part;\npub struct Plan(Part);"),
        "src/home/mod.rs:2 -> src/home/part.rs:1 -> src/home/mod.rs",
    );
    // Renames, globs, and other crates.
    assert_circle(
        &[
            ("a.rs", "pub use crate::b::*;"),
            ("b.rs", "use crate::c::C as Other;\npub struct B;"),
            ("c.rs", "use crate::a::B as Other;\nfn f(_: Other) {}\npub struct C;"),
        ],
        "src/b.rs:1 -> src/c.rs:1 -> src/b.rs",
    );
    assert_none(&[
        ("a/mod.rs", "mod b;\nuse anyhow::Context as _;\nuse serde::Serialize;\npub use b::B;"),
        ("a/b.rs", "use super::Serialize;\npub struct B;"),
    ]);
}

#[test]
fn modules_themselves_and_tests_are_no_imports() {
    assert_none(&[
        ("a/mod.rs", "pub mod b;\npub mod c;\npub struct A;"),
        ("a/b.rs", "use super::c;\nfn f() { c::g() }"),
        ("a/c.rs", "use crate::a;\n#[cfg(test)]\nmod tests { use crate::a::b::B; }"),
    ]);
    assert_none(&[("a.rs", "mod tests;\npub struct A;\nuse tests::T;"), ("a/tests.rs", "use super::A;")]);
    assert_none(&[("lib.rs", "pub mod a;"), ("main.rs", "use lib::a::A;"), ("a.rs", "pub struct A;")]);
    assert_circle(
        &[
            ("main.rs", "mod a;\nfn main() { a::run() }\npub fn start() {}"),
            ("a.rs", "use crate::start;\npub fn run() {}"),
        ],
        "src/main.rs:2 -> src/a.rs:1 -> src/main.rs",
    );
}

#[test]
fn each_circle_is_listed_once_with_its_files() {
    let sources: Vec<Source> = [
        ("src/a/x.rs", "use super::y::Y;"),
        ("src/a/y.rs", "use super::x::X;\nuse super::z::Z;"),
        ("src/a/z.rs", "use super::x::X;"),
        ("src/b/x.rs", "use super::y::Y;"),
        ("src/b/y.rs", "use super::x::X;"),
    ]
    .map(|(path, text)| Source::new(path, text))
    .into();
    let all = circles(&sources);
    assert_eq!(all.len(), 2);
    assert_eq!(all[0].files, ["src/a/x.rs", "src/a/y.rs", "src/a/z.rs"]);
    assert_eq!(all[1].files, ["src/b/x.rs", "src/b/y.rs"]);
    assert!(all[0].to_string().contains("a circle of 3 files: src/a/x.rs, src/a/y.rs"), "{}", all[0]);
}
