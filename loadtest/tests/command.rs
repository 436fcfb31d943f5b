//! The program as a person runs it: a short run, its files, and the report of them. No test depends on the speed of the
//! host: a run of a few hundred milliseconds may be invalid for that reason alone.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_loadtest");

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("loadtest-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        Folder(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn loadtest(arguments: &[&str], files: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(arguments);
    for (option, path) in files {
        command.arg(option).arg(path);
    }
    command.output().expect("the program was built")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_run_is_shown_saved_and_rendered_again() {
    let folder = Folder::new("run");
    let (json, html, again) = (folder.path("run.json"), folder.path("run.html"), folder.path("again.html"));
    let arguments = "floor --connections 20 --room-size 10 --settle 100ms --warmup 100ms --duration 700ms --seed 5";
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let output = loadtest(&arguments, &[("--json", &json), ("--html", &html)]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(matches!(output.status.code(), Some(0 | 1)), "{out}{err}");
    for wanted in ["floor  fanout: 20 connections in rooms of 10", "latency", "seed 5", "CPU per send", "VALID"] {
        assert!(out.contains(wanted), "{wanted:?} is not in\n{out}");
    }
    assert!(!out.contains('\u{1b}') && !err.contains('\u{1b}'), "no colors and no cursor movement without a terminal");
    assert!(err.contains("deliveries/s"), "progress lines: {err}");
    let kept: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&json).expect("kept")).expect("JSON");
    assert_eq!((kept["kind"].as_str(), kept["options"]["seed"].as_u64()), (Some("run"), Some(5)));
    let published = kept["total"]["published"].as_u64().expect("counted");
    assert_eq!(kept["total"]["delivered"].as_u64(), Some(10 * published), "all members got all publications");
    let series = kept["series"].as_array().expect("a series");
    assert!(series.iter().any(|sample| sample["stage"] == "measuring" && sample["p99"].as_f64() > Some(0.0)));
    assert!(kept["program"]["command"][1].as_str() == Some("floor-server"), "{}", kept["program"]);
    let output = Command::new(PROGRAM).arg("report").arg(&json).arg("--html").arg(&again).output().expect("built");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let (html, again) = (std::fs::read_to_string(&html), std::fs::read_to_string(&again));
    assert_eq!(html.expect("written"), again.expect("written"), "a saved result holds everything on the page");
}

#[test]
fn errors_are_one_sentence() {
    let folder = Folder::new("wrong");
    let nonsense = folder.path("nonsense.json");
    std::fs::write(&nonsense, "{\"kind\": \"poem\"}").expect("written");
    let html = folder.path("out.html");
    let output = Command::new(PROGRAM).arg("report").arg(&nonsense).arg("--html").arg(&html).output().expect("built");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("expected a result saved with --json"), "{}", text(&output.stderr));
    assert!(!html.exists());
    let output = loadtest(&["idle", "--url", "ws://127.0.0.1:1/", "--control", "127.0.0.1:1", "--quiet"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("GET 127.0.0.1:1/metrics"), "{}", text(&output.stderr));
    let said = |line: &str| {
        let output = loadtest(&line.split(' ').collect::<Vec<_>>(), &[]);
        assert_eq!(output.status.code(), Some(2), "{line}");
        text(&output.stderr)
    };
    for (line, wanted) in [
        ("idle --limits on", "--limits on: expected --server roomring"),
        ("idle --jwt", "expected --jwt-secret SECRET"),
        ("idle --jwt-secret x", "--jwt"),
        ("fanout --payload json --size 30", "--size must be at least"),
        ("idle --url ws://127.0.0.1:1/ --url wss://127.0.0.1:2/", "expected wss:// in all URLs or in none"),
        ("idle --url http://127.0.0.1:1/", "ws:// or wss://"),
        ("fanout --server floor --tls", "floor: --tls needs a roomring"),
        (
            "compare roomring+tsl -- idle",
            "expected one of tls, tls-resume, deflate, jwt, limits, all, memory, behind, commit; got \"tsl\"",
        ),
        (
            "idle --dialect raw --payload json --raw-publish [{data}]",
            "expected --raw-publish {data}, since JSON has quotes; got \"[{data}]\"",
        ),
        ("edge --server floor", "edge needs a roomring"),
        ("edge --only nothing", "expected part of a scenario's name: fanout, 1 in flight; "),
    ] {
        let said = said(line);
        assert!(said.contains(wanted), "{line}: {said}");
    }
    let missing = format!("roomring={}", folder.path("roomring").display());
    let output = loadtest(&["suite", "--quick", "--server", &missing], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("is missing: run `cargo build --release`"), "{}", text(&output.stderr));
}
