//! Each rule on samples that break it, and on similar samples that do not.

use super::*;

fn wrong(path: &str, body: &str) -> Vec<String> {
    file_violations(&Source::new(path, &format!("//! A sample.\n{body}\n")))
}

fn assert_wrong(path: &str, body: &str, part: &str) {
    let found = wrong(path, body);
    assert!(found.len() == 1 && found[0].contains(part), "{path}: {body}: {found:?} should be one with {part:?}");
}

fn assert_right(path: &str, body: &str) {
    assert_eq!(wrong(path, body), Vec::<String>::new(), "{path}: {body}");
}

#[test]
fn imports_go_down() {
    assert_right("src/server/boot.rs", "use crate::{base::ids, control::stats, engine::Engine, io::pump, wire};");
    assert_right("src/engine/room.rs", "use super::hop::Hop;\nuse crate::wire::form::Form;");
    assert_right("src/main.rs", "use roomring::server;");
    assert_wrong("src/wire/json.rs", "use crate::engine::hop::Hop;", "src/wire/json.rs:2: wire imports engine");
    assert_wrong("src/engine/room.rs", "fn f() { crate::io::pump::run() }", "engine imports io");
    assert_wrong("src/engine/room.rs", "use crate::{base::{ids}, server};", "engine imports server");
    assert_wrong("src/engine/room.rs", "use super::super::io::pump;", "engine imports io");
    assert_wrong("src/link/mod.rs", "use crate::store::Store;", "link imports store");
    assert_wrong("src/control/stats.rs", "use crate::link::Link;", "control imports link");
    assert_wrong("src/base/ids.rs", "use crate::Everything;", "crate::Everything is on no floor");
    assert_wrong("src/helpers.rs", "", "is on no floor");
    assert_wrong("src/misc/x.rs", "", "is on no floor");
}

#[test]
fn words_belong_to_floors() {
    assert_right("src/io/ring.rs", "use io_uring::IoUring;");
    assert_right("src/engine/room.rs", "// io_uring and glommio\nconst S: &str = \"tokio\";");
    assert_wrong("src/server/boot.rs", "use glommio::LocalExecutor;", "`glommio` does not belong to server");
    assert_wrong("src/engine/room.rs", "use io_uring::IoUring;", "`io_uring` does not belong to engine");
    assert_wrong("src/io/pump.rs", "use tokio::spawn;", "`tokio` does not belong to io");
    assert_wrong("src/store/mod.rs", "use axum::Router;", "`axum` does not belong to store");
    assert_wrong("src/engine/room.rs", "async fn f() {}", "`async` does not belong to engine");
    assert_wrong("src/wire/frame.rs", "use std::time::Instant;", "`Instant` does not belong to wire");
    assert_wrong("src/engine/room.rs", "use std::sync::Mutex;", "`Mutex` does not belong to engine");
}

#[test]
fn unsafe_code_is_rare_and_explained() {
    assert_right(
        "src/io/ring.rs",
        "fn f() {\n    // SAFETY: the buffer outlives\n    // the send.\n    unsafe { g() }\n}",
    );
    assert_right(
        "src/io/ring/buffers.rs",
        "// SAFETY: no pointer inside.\n#[expect(unsafe_code)]\nunsafe impl Send for X {}",
    );
    assert_right("src/engine/room.rs", "#![deny(unsafe_code)] // unsafe");
    assert_wrong("src/engine/room.rs", "// SAFETY: none.\nfn f() { unsafe { g() } }", "does not belong here");
    assert_wrong("src/wire/mask.rs", "// SAFETY: none.\nfn f() { unsafe { g() } }", "does not belong here");
    assert_wrong("src/io/ring.rs", "// SAFETY: far away.\nfn f() {\n    unsafe { g() }\n}", "without a `// SAFETY:`");
}

#[test]
fn one_file_reads_the_clock() {
    assert_right("src/io/clock.rs", "fn now() { std::time::Instant::now(); }");
    assert_right("src/io/pump.rs", "#[cfg(test)]\nmod tests { fn f() { Instant::now(); } }");
    assert_wrong("src/io/pump.rs", "fn f() { std::time::Instant::now(); }", "src/io/pump.rs:2: reads a clock");
    assert_wrong("src/server/drain.rs", "fn f() { SystemTime::now(); }", "reads a clock");
    assert_wrong("src/io/pump.rs", "fn f() { libc::clock_gettime(a, b); }", "reads a clock");
}

#[test]
fn files_start_with_a_comment_and_are_short() {
    let file = |text: &str| file_violations(&Source::new("src/base/x.rs", text));
    assert!(file("use std::fmt;\n")[0].contains("does not start"));
    assert!(file(&format!("//! Long.\n{}", "\n".repeat(600)))[0].contains("more than 600 lines"));
    assert!(file(&format!("//! Long.\n{}", "\n".repeat(599))).is_empty());
}

#[test]
fn functions_are_short() {
    let body = |lines: usize| format!("fn f(g: fn(u8) -> u8) -> u8 {{\n{}}}", "    g(1);\n".repeat(lines));
    assert_right("src/base/x.rs", &body(68));
    assert_wrong("src/base/x.rs", &body(69), "`f` has 71 lines");
    assert_right("src/base/x.rs", &format!("trait T {{\n    fn f();\n{}}}", "    fn g() {}\n".repeat(90)));
    assert_right("src/base/x.rs", &format!("struct S {{\n    f: fn(u8),\n{}}}", "    g: u8,\n".repeat(90)));
}

#[test]
fn hops_document_a_full_lane() {
    let hop = |doc: &str| {
        format!(
            "pub enum Hop {{\n    ToOwner(ToOwner),\n    ToHome(ToHome),\n}}\npub enum ToOwner {{\n    /// Joins.\n    /// Lane full: refused.\n    Join {{\n        /// Which.\n        room: u8,\n    }},\n    {doc}\n    Leave(u8),\n}}\npub enum ToHome {{\n    /// No answer.\n    Left,\n}}\npub enum Reason {{\n    /// No hop.\n    Full,\n}}"
        )
    };
    let path = "src/engine/hop.rs";
    assert_right(path, &hop("/// Lane full: staged."));
    assert_wrong(path, &hop("/// Leaves."), "`ToOwner::Leave` does not document");
    assert_wrong(path, "pub enum ToHome {\n    /// No answer.\n    A,\n}", "no enum `Hop`");
    assert_wrong(path, "pub enum Hop {\n    ToUser(ToUser),\n}", "no enum `ToUser`");
    let limiter =
        "pub enum Hop {\n    ToLimiter(ToLimiter),\n}\npub enum ToLimiter {\n    /// Forgets.\n    Forget(u8),\n}";
    assert_wrong(path, limiter, "`ToLimiter::Forget` does not document");
}

#[test]
fn nouns_of_a_floor_import_one_way() {
    let sample = |path: &str, text: &str| Source::new(path, text);
    let chain = [
        sample("src/engine/mod.rs", "use self::room::Room;"),
        sample("src/engine/room.rs", "use super::hop::Hop; use self::page::Page; use crate::wire::frame;"),
        sample("src/engine/room/page.rs", "use super::Room; use crate::engine::history::History;"),
        sample("src/engine/history.rs", "#[cfg(test)]\nmod tests { use crate::engine::room::Room; }"),
        sample("src/engine/hop.rs", ""),
    ];
    assert_eq!(cycles(&chain, 2), Vec::<String>::new());
    let circle = [
        sample("src/engine/room.rs", "use super::hop::Hop;"),
        sample("src/engine/hop.rs", "use super::history::History;"),
        sample("src/engine/history/mod.rs", "use crate::engine::room::Room;"),
    ];
    let found = cycles(&circle, 2);
    assert!(found.len() == 1 && found[0].contains("engine::history -> engine::room -> engine::hop"), "{found:?}");
}

#[test]
fn the_load_generator_imports_only_the_wire() {
    let found = |text: &str| loadtest_violations(&Source::new("loadtest/src/main.rs", text));
    assert!(found("use roomring::wire::frame;").is_empty());
    assert_eq!(found("use roomring::engine::Engine;").len(), 1);
}

#[test]
fn nouns_of_a_crate_without_floors_import_one_way() {
    let sample = |path: &str, text: &str| Source::new(path, text);
    let tree = [
        sample("loadtest/src/main.rs", "mod run; use run::Run; pub struct Stop;"),
        sample("loadtest/src/run/mod.rs", "use crate::report::title;"),
        sample("loadtest/src/report/title.rs", "use super::text; use crate::plan::Plan;"),
    ];
    assert_eq!(cycles(&tree, 1), Vec::<String>::new());
    let circle = [
        sample("loadtest/src/run/mod.rs", "use crate::report::title;"),
        sample("loadtest/src/report/text.rs", "use crate::run::options::Options;"),
    ];
    assert_eq!(cycles(&circle, 1).len(), 1);
}
