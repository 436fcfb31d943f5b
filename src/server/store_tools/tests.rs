//! The report as text, and what is refused without a store.

use crate::server::config::load::{Sources, load};
use crate::server::config::lower::plan;
use crate::server::config::machine::HostMachine;
use crate::server::store_tools::{StoreCommand, StoreOutcome, report, run};
use crate::store::check::{CheckReport, Damage, HoldingsLine, IndexLine, SegmentLine, TornTail};

fn checked(sets: &[&str]) -> StoreOutcome {
    let sources = Sources { sets: sets.iter().map(ToString::to_string).collect(), ..Sources::default() };
    let (config, mistakes) = load(&sources);
    assert_eq!(mistakes, []);
    let plan = plan(&config, &HostMachine::detect()).expect("a plan");
    run(&StoreCommand::Check { json: false }, &plan)
}

#[test]
fn nothing_is_checked_without_a_store() {
    let StoreOutcome::Refused(sentence) = checked(&["store.kind=memory"]) else { panic!("memory has no directory") };
    assert!(sentence.contains("store.kind"), "{sentence}");
    let parent = tempfile::tempdir().expect("a directory");
    let path = parent.path().join("missing");
    let StoreOutcome::Refused(sentence) = checked(&["store.kind=embedded", &format!("store.path={}", path.display())])
    else {
        panic!("there is no store")
    };
    assert!(
        sentence.starts_with("store.path: there is no store in ") && sentence.ends_with("does not exist"),
        "{sentence}"
    );
    assert!(!path.exists(), "nothing is made");
}

#[test]
fn a_report_is_plain_text() {
    let segment = SegmentLine {
        file: "/data/log/log-1.rrl".into(),
        first_commit: 1,
        last_commit: 7,
        groups: 7,
        changes: 20,
        bytes: 8_192,
        used_bytes: 5_000,
        torn_tail: Some(TornTail { offset: 5_000, bytes: 30 }),
    };
    let holdings = HoldingsLine { rooms: 2, messages: 9, ..HoldingsLine::default() };
    let damage = Damage { part: "index", file: None, offset: None, message: "room a lacks a record".into() };
    let report = CheckReport {
        path: "/data".into(),
        sound: false,
        segments: vec![segment],
        index: IndexLine { applied_commit: Some(6), holdings },
        faults: 3,
        damage: vec![damage],
        notes: vec!["the index is behind".into()],
    };
    let text = report::render(&report);
    for part in [
        "  /data/log/log-1.rrl: 7 groups, 1 to 7, with 20 changes; 5000 of 8192 bytes used, then a torn tail of 30 bytes at offset 5000\n",
        "  has carried out the log up to group 6\n  rooms: 2\n  messages: 9\n",
        "\nnotes\n  the index is behind\n",
        "\ndamage\n  index: room a lacks a record\n  and 2 more\n",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(text.ends_with("\nthe store is damaged"), "{text}");
}
