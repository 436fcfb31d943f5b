//! What is exported comes back the same; a wrong line is named, and then nothing is imported.

use std::io::Cursor;
use std::path::Path;

use bytes::Bytes;

use super::error::TransferError;
use super::export::{Exported, export};
use super::import::{Imported, import};
use crate::base::chat::{ReceiptKind, Role, Visibility};
use crate::base::ids::Epoch;
use crate::engine::kept::{AccountAsk, Actor, DeadLetter, DeadLetterAsk, KeptAccount, KeptAsk, RoomAct, RoomAsk};
use crate::store::change::Change;
use crate::store::check::check;
use crate::store::conformance::say::{record, room, user};
use crate::store::group::{Ack, Entry, Group};
use crate::store::open::OpenedStore;
use crate::store::state::{Keep, Rules};
use crate::wire::publication::DataKind;

fn rules() -> Rules {
    let keep = Keep { count: 1_000_000, ttl_ms: u64::MAX / 4, numbering_ttl_ms: u64::MAX / 4 };
    Rules { retention: std::sync::Arc::new(move |_| keep), session_ttl_ms: 1 }
}

/// Makes changes durable in a directory, as a server does.
fn change(path: &Path, changes: Vec<Change>) {
    let OpenedStore { mut log, mut state, lock: _lock, .. } = OpenedStore::open(path, &rules()).expect("it opens");
    for part in changes.chunks(1_000) {
        let entries = part.iter().map(|change| Entry { change: change.clone(), ack: Ack::Nobody }).collect();
        let mut bytes = Vec::new();
        Group { entries, bytes: 0 }.encode(&mut bytes);
        let commit = log.append(&[std::io::IoSlice::new(&bytes)]).expect("appended");
        state.apply(commit, part).expect("applied");
    }
    state.persist().expect("durable");
}

fn act(by: &str, name: &str, act: RoomAct) -> Change {
    let actor = Actor { user: user(by), is_admin: false };
    Change::Ask(KeptAsk::Room(RoomAsk { room: room(name), actor, at: 2_000, act }))
}

fn append(name: &str, epoch: u64, seq: u64) -> Change {
    Change::Append { room: room(name), epoch: Epoch(epoch), record: record(seq, 2_000 + seq, r#"{"n": 1.0}"#) }
}

fn letter() -> DeadLetter {
    let (reason, room) = ("a gap".into(), room("club"));
    DeadLetter { id: 0, at: 5, reason, room, epoch: Epoch(7), record: record(9, 2_000, "null") }
}

/// A store with something of everything.
fn filled(path: &Path) {
    let create = RoomAct::Create { visibility: Visibility::Private, title: "A \"title\"".into() };
    let mut binary = record(6, 3_000, "\u{0}raw");
    (binary.kind, binary.key) = (DataKind::Binary, Some("key".into()));
    let mut broken = record(7, 3_001, "[1,\n2]");
    broken.key = Some("other".into());
    let account = |name: &str| KeptAccount {
        user: user(name),
        name: Some("Ann".into()),
        password_hash: "$argon2id$v=19$m=1$c2FsdA$aGFzaA".into(),
        created_at: 1,
        is_locked: true,
    };
    let mut changes = vec![
        Change::Begin { boot: 1, is_behind: false },
        act("ann", "club", create),
        act("ann", "club", RoomAct::SetRole { user: user("bob"), role: Role::Admin }),
        act("ann", "club", RoomAct::Invite { code: "a".into(), uses_max: 2, expires_at: 9_000 }),
        act("ann", "club", RoomAct::Invite { code: "b".into(), uses_max: 0, expires_at: 9_000 }),
        Change::Open { room: room("club"), epoch: Epoch(7), at: 2_000 },
        Change::Open { room: room("empty"), epoch: Epoch(8), at: 2_000 },
        // A room whose older records are gone, and which has been forgotten in between.
        append("late", 9, 101),
        append("late", 9, 102),
    ];
    changes.extend((1..=5).map(|seq| append("club", 7, seq)));
    changes.extend([binary, broken].map(|record| Change::Append { room: room("club"), epoch: Epoch(7), record }));
    changes.extend([
        act("bob", "club", RoomAct::Receipt { kind: ReceiptKind::Read, seq: 4 }),
        act("ann", "club", RoomAct::Receipt { kind: ReceiptKind::Delivered, seq: 7 }),
        Change::Ask(KeptAsk::Account(AccountAsk::Add(account("ann")))),
        Change::Ask(KeptAsk::Account(AccountAsk::Add(account("bob")))),
        Change::Ask(KeptAsk::DeadLetter(DeadLetterAsk::Add(letter()))),
        Change::End,
    ]);
    change(path, changes);
}

fn exported(path: &Path, rooms: &[&str]) -> (String, Exported) {
    let rooms: Vec<_> = rooms.iter().map(|name| room(name)).collect();
    let mut out = Vec::new();
    let done = export(path, &rules(), &rooms, &mut out).expect("exported");
    (String::from_utf8(out).expect("text"), done)
}

fn imported(path: &Path, text: &str) -> Result<Imported, TransferError> {
    import(path, &rules(), false, &mut Cursor::new(text.as_bytes()))
}

fn assert_sound(path: &Path) {
    let report = check(path, &rules()).expect("it can be checked");
    assert!(report.sound, "{report:?}");
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory")
}

#[test]
fn an_export_comes_back_the_same() {
    let (one, other) = (directory(), directory());
    filled(one.path());
    let (text, done) = exported(one.path(), &[]);
    assert_eq!(done, Exported { rooms: 3, messages: 9, accounts: 2, dead_letters: 1 });
    for line in [
        r#"{"kind":"header","version":1}"#,
        r#"{"kind":"room","room":"club","epoch":"0000000000000007","head":7,"used_at":3001,"visibility":"private","title":"A \"title\""}"#,
        r#"{"kind":"member","user":"bob","role":"admin"}"#,
        r#"{"kind":"invite","code":"a","uses_left":2,"expires_at":9000}"#,
        r#"{"kind":"receipt","user":"bob","read":4,"delivered":0}"#,
        r#"{"kind":"record","seq":1,"at":2001,"from":"ann","data":{"n": 1.0}}"#,
        r#"{"kind":"record","seq":6,"at":3000,"from":"ann","data_b64":"AHJhdw==","key":"key"}"#,
        r#"{"kind":"record","seq":7,"at":3001,"from":"ann","data":[1, 2],"key":"other"}"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    let done = imported(other.path(), &text).expect("imported");
    assert_eq!(done, Imported { rooms: 3, messages: 9, accounts: 2, dead_letters: 1 });
    assert_eq!(exported(other.path(), &[]).0, text);
    assert_sound(other.path());
    let OpenedStore { state, .. } = OpenedStore::open(other.path(), &rules()).expect("it opens");
    let loaded = state.load(&room("club"), 100, 0).expect("readable");
    assert_eq!((loaded.stretch.records.len(), loaded.keys.len()), (7, 2), "keys come with their records");
    assert_eq!(loaded.stretch.records[5].data, Bytes::from_static(b"\0raw"));
}

#[test]
fn some_rooms_are_exported_without_accounts() {
    let directory = directory();
    filled(directory.path());
    let (text, done) = exported(directory.path(), &["late", "empty", "late"]);
    assert_eq!(done, Exported { rooms: 2, messages: 2, accounts: 0, dead_letters: 0 });
    assert!(text.find("\"empty\"") < text.find("\"late\""), "{text}");
    let error = export(directory.path(), &rules(), &[room("nowhere")], &mut Vec::new()).expect_err("no such room");
    assert_eq!(error.to_string(), "there is no room \"nowhere\" in the store");
    let missing = directory.path().join("missing");
    assert!(matches!(export(&missing, &rules(), &[], &mut Vec::new()), Err(TransferError::NoStore { .. })));
    assert!(!missing.exists());
}

#[test]
fn what_is_there_already_is_refused_before_anything_is_written() {
    let (one, other) = (directory(), directory());
    filled(one.path());
    let (text, _) = exported(one.path(), &[]);
    change(other.path(), vec![Change::Begin { boot: 1, is_behind: false }, append("late", 5, 1)]);
    let before = exported(other.path(), &[]).0;
    let error = imported(other.path(), &text).expect_err("late is there").to_string();
    assert!(error.contains("there is a room \"late\" in the store already; nothing was imported"), "{error}");
    assert_eq!(exported(other.path(), &[]).0, before);
    let accounts = "{\"kind\":\"header\",\"version\":1}\n{\"kind\":\"account\",\"user\":\"bob\",\"password_hash\":\"$x\",\"created_at\":1,\"locked\":false}\n{\"kind\":\"end\",\"lines\":2}\n";
    let error = imported(one.path(), accounts).expect_err("bob is there").to_string();
    assert!(error.starts_with("line 2: there is an account of user \"bob\""), "{error}");
    // Beside other rooms, the rest comes in.
    let (club, _) = exported(one.path(), &["club", "empty"]);
    imported(other.path(), &club).expect("imported");
    assert_eq!(exported(other.path(), &["club", "empty"]).0, club);
    assert_sound(other.path());
}

#[test]
fn a_room_whose_end_was_lost_gets_another_epoch() {
    let (one, other) = (directory(), directory());
    let begin = Change::Begin { boot: 1, is_behind: true };
    change(one.path(), vec![begin, append("a", 7, 1)]);
    let (text, _) = exported(one.path(), &[]);
    assert!(text.contains(r#""needs_epoch":true"#), "the process may have acknowledged more: {text}");
    imported(other.path(), &text).expect("imported");
    assert_eq!(exported(other.path(), &[]).0, text);
    let epoch_of = |path: &Path| {
        let open = Change::Open { room: room("a"), epoch: Epoch(99), at: 3_000 };
        let boot = OpenedStore::open(path, &rules()).expect("it opens").state.boot().expect("readable") + 1;
        change(path, vec![Change::Begin { boot, is_behind: false }, open]);
        let OpenedStore { state, .. } = OpenedStore::open(path, &rules()).expect("it opens");
        state.find_room(&room("a")).expect("readable").expect("there").head.expect("numbered").epoch
    };
    assert_eq!(epoch_of(other.path()), Epoch(99));
    let (clean, asked) = (directory(), directory());
    let text = text.replace(r#","needs_epoch":true"#, "");
    imported(clean.path(), &text).expect("imported");
    assert_eq!(epoch_of(clean.path()), Epoch(7), "clients recover across the import");
    import(asked.path(), &rules(), true, &mut Cursor::new(text.as_bytes())).expect("imported");
    assert_eq!(epoch_of(asked.path()), Epoch(99), "as the operator has asked");
}

#[test]
fn a_wrong_line_is_named_and_nothing_is_imported() {
    let one = directory();
    filled(one.path());
    let (text, _) = exported(one.path(), &[]);
    let lines: Vec<&str> = text.lines().collect();
    let at = |start: &str| lines.iter().position(|line| line.starts_with(start)).expect("there");
    let (room, record) = (at(r#"{"kind":"room","room":"club""#), at(r#"{"kind":"record","seq":3"#));
    let without = |index: usize| {
        lines.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, line)| *line).collect::<Vec<_>>().join("\n")
    };
    let with = |index: usize, line: &str| {
        let mut lines = lines.clone();
        lines[index] = line;
        lines.join("\n")
    };
    let owner = at(r#"{"kind":"member","user":"ann""#);
    for (wrong, line, named) in [
        (without(0), 1, "must be of kind header"),
        (with(0, r#"{"kind":"header","version":2}"#), 1, "version 2"),
        (without(record), record + 1, "record 4 of room \"club\" stands behind record 2"),
        (without(lines.len() - 1), lines.len(), "it is not whole"),
        (without(at(r#"{"kind":"account""#)), lines.len() - 1, "it is not whole"),
        (with(record, "{"), record + 1, "not a line of an export"),
        (with(record, r#"{"kind":"song"}"#), record + 1, "the kind \"song\" is unknown"),
        (with(record, r#"{"kind":"record","seq":3,"at":1,"from":"ann"}"#), record + 1, "either `data` or `data_b64`"),
        (with(record, r#"{"kind":"record","seq":3,"at":1,"from":"","data":1}"#), record + 1, "`from`"),
        (with(record, lines[owner]), record + 1, "stands too late"),
        (without(owner), at(r#"{"kind":"room","room":"empty""#), "has no owner"),
        (with(room + 2, lines[owner]), room + 3, "each once"),
        (
            with(at(r#"{"kind":"room","room":"empty""#), lines[room]),
            at(r#"{"kind":"room","room":"empty""#) + 1,
            "each once",
        ),
        (with(room, &lines[room].replace("0000000000000007", "7")), room + 1, "16 hex digits"),
        (
            with(room, &lines[room].replace("\"head\":7", "\"head\":6")),
            at(r#"{"kind":"receipt","user":"ann""#) + 1,
            "above the head",
        ),
        (
            with(room, &lines[room].replace("\"head\":7", "\"head\":8")),
            at(r#"{"kind":"room","room":"empty""#) + 1,
            "end at 7, but its head is 8",
        ),
        (
            with(at(r#"{"kind":"account""#), &lines[at(r#"{"kind":"account""#)].replace('$', "")),
            at(r#"{"kind":"account""#) + 1,
            "PHC",
        ),
        (format!("{text}\n"), lines.len() + 1, "follows the line of kind end"),
    ] {
        let other = directory();
        let error = imported(other.path(), &wrong).expect_err(named).to_string();
        assert!(error.starts_with(&format!("line {line}: ")) && error.contains(named), "{named}: {error}");
        assert_eq!(exported(other.path(), &[]).1, Exported::default());
    }
}

#[test]
fn a_room_that_the_store_does_not_take_leaves_nothing() {
    let one = directory();
    filled(one.path());
    let (text, _) = exported(one.path(), &["club"]);
    let other = directory();
    let rooms = crate::base::limits::USER_ROOMS_MAX;
    let create = || RoomAct::Create { visibility: Visibility::Public, title: "".into() };
    let mut changes = vec![Change::Begin { boot: 1, is_behind: false }];
    changes.extend((0..rooms).map(|number| act("bob", &format!("x{number}"), create())));
    change(other.path(), changes);
    let error = imported(other.path(), &text).expect_err("bob has too many rooms").to_string();
    assert!(
        error.contains("room \"club\" was not imported, because user \"bob\" is a member of too many rooms"),
        "{error}"
    );
    assert_sound(other.path());
    assert!(matches!(
        export(other.path(), &rules(), &[room("club")], &mut Vec::new()),
        Err(TransferError::NoRoom { .. })
    ));
}

#[test]
fn an_import_that_was_cut_off_leaves_nothing() {
    use crate::store::change::ImportStep;
    let directory = directory();
    let head = Some(crate::base::ids::Position { epoch: Epoch(7), seq: 2 });
    let created = Some((Visibility::Public, "".into()));
    let start = ImportStep::Start { room: room("a"), head, needs_epoch: false, used_at: 1, created };
    let steps =
        [start, ImportStep::Member { user: user("ann"), role: Role::Owner }, ImportStep::Record(record(1, 1, "1"))];
    let mut changes = vec![Change::Begin { boot: 1, is_behind: false }];
    changes.extend(steps.map(Change::Import));
    change(directory.path(), changes);
    assert_sound(directory.path());
    assert_eq!(exported(directory.path(), &[]).1.rooms, 0);
    change(directory.path(), vec![Change::Begin { boot: 2, is_behind: false }]);
    assert_sound(directory.path());
    let OpenedStore { mut state, lock: _lock, .. } = OpenedStore::open(directory.path(), &rules()).expect("it opens");
    assert_eq!(state.sweep(1, 1_000).expect("swept").removed, 3, "the member, the record, and the mark of the garbage");
    drop((state, _lock));
    assert_sound(directory.path());
}

#[test]
fn many_records_come_in_several_groups() {
    let (one, other) = (directory(), directory());
    let mut changes = vec![Change::Begin { boot: 1, is_behind: false }];
    changes.extend((1..=5_000).map(|seq| append("a", 7, seq)));
    changes.push(Change::End);
    change(one.path(), changes);
    let (text, done) = exported(one.path(), &[]);
    assert_eq!(done.messages, 5_000);
    imported(other.path(), &text).expect("imported");
    assert_eq!(exported(other.path(), &[]).0, text);
    let report = check(other.path(), &rules()).expect("it can be checked");
    assert!(report.sound && report.segments[0].groups > 4, "{report:?}");
}
