//! The state over both kinds of tables: the checks that every store passes, what only this one does, and that the same changes
//! always lead to the same state.

mod audits;
mod memory_mode;
mod replays;
mod sweeps;

use std::path::Path;

use super::{Loaded, Outcome, Rules, Setup, State};
use crate::base::ids::{Epoch, RoomName};
use crate::engine::kept::{KeptAnswer, KeptAsk};
use crate::engine::record::{PageRequest, Record, RecordPage};
use crate::store::change::Change;
use crate::store::conformance::conformance;
use crate::store::conformance::subject::{Conditions, End, StoreUnderTest};
use crate::store::tables::disk::{DiskOptions, DiskTables};
use crate::store::tables::memory::MemoryTables;
use crate::store::tables::rows::Tables;

/// A directory in memory where there is one: the tests wait for no disk.
pub(super) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory")
}

pub(super) fn disk(path: &Path) -> DiskTables {
    let options = DiskOptions { cache_bytes: 1 << 20, memtable_bytes: 64 << 10, journal_bytes: 64 << 20, threads: 1 };
    DiskTables::open(path, &options).expect("tables that open")
}

pub(super) fn rules(conditions: &Conditions) -> Rules {
    Rules { retention: std::sync::Arc::new(conditions.retention), session_ttl_ms: conditions.session_ttl_ms }
}

/// A store of one state and a log that keeps everything.
struct Logged<T> {
    conditions: Conditions,
    state: Option<State<T>>,
    /// Opens the tables again, after they were closed.
    reopen: Box<dyn Fn(Option<T>) -> T>,
    log: Vec<Change>,
    boot: u64,
}

impl<T: Tables> Logged<T> {
    fn new(conditions: Conditions, reopen: impl Fn(Option<T>) -> T + 'static) -> Self {
        let mut store = Self { conditions, state: None, reopen: Box::new(reopen), log: Vec::new(), boot: 0 };
        store.begin(conditions.is_behind, conditions.began_at);
        store
    }

    fn begin(&mut self, is_behind: bool, began_at: u64) {
        let tables = (self.reopen)(self.state.take().map(State::into_tables));
        let setup = Setup { keeps_records: true, bounds: self.conditions.bounds, began_at };
        let mut state = State::open(tables, setup, rules(&self.conditions)).expect("a state that opens");
        for (commit, change) in (1..).zip(&self.log).skip(state.applied() as usize) {
            state.apply(commit, std::slice::from_ref(change)).expect("applied again");
        }
        let mut faults = Vec::new();
        state.audit(&mut |fault| faults.push(fault)).expect("readable");
        assert_eq!(faults, [""; 0], "what changes and sweeps leave is sound");
        self.state = Some(state);
        self.boot += 1;
        self.change(Change::Begin { boot: self.boot, is_behind });
    }

    fn state(&mut self) -> &mut State<T> {
        self.state.as_mut().expect("open but in a restart")
    }

    fn change(&mut self, change: Change) -> Outcome {
        self.log.push(change.clone());
        let commit = self.log.len() as u64;
        self.state().apply(commit, &[change]).expect("applied").remove(0)
    }
}

impl<T: Tables> StoreUnderTest for Logged<T> {
    fn load(&mut self, room: &RoomName, count: usize, keys_since: u64, epoch: Epoch, at: u64) -> Loaded {
        let boot = self.boot;
        if self.state().needs_open(room, boot).expect("readable") {
            self.change(Change::Open { room: room.clone(), epoch, at });
        }
        assert!(!self.state().needs_open(room, boot).expect("readable"), "once in a boot");
        self.state().load(room, count, keys_since).expect("readable")
    }

    fn append(&mut self, room: &RoomName, epoch: Epoch, record: Record) -> bool {
        match self.change(Change::Append { room: room.clone(), epoch, record }) {
            Outcome::Done => true,
            Outcome::Skipped(_) => false,
            Outcome::Answer(answer) => panic!("no answer was asked for: {answer:?}"),
        }
    }

    fn page(&mut self, request: &PageRequest) -> RecordPage {
        self.state().page(request).expect("readable")
    }

    fn ask(&mut self, ask: KeptAsk) -> Option<KeptAnswer> {
        let read = self.state().ask(&ask).expect("readable");
        assert_eq!(read.is_some(), ask.is_read(), "{ask:?}");
        let answer = match self.change(Change::Ask(ask)) {
            Outcome::Answer(answer) => Some(answer),
            outcome => {
                assert_eq!(outcome, Outcome::Done);
                None
            }
        };
        // A read that comes as a change has the same answer.
        assert!(read.is_none() || read == answer, "{read:?} and {answer:?}");
        answer
    }

    fn restart(&mut self, end: End, is_behind: bool, at: u64) {
        if end == End::Clean {
            self.change(Change::End);
            self.state().persist().expect("durable");
        }
        self.begin(is_behind, at);
    }

    fn trim(&mut self, now: u64) {
        // Small steps, so that every place to go on from is used.
        for step in 0.. {
            assert!(step < 10_000, "a sweep ends");
            let swept = self.state().sweep(now, 7).expect("swept");
            for change in swept.forget {
                self.change(change);
            }
            if swept.is_round_done && self.state().sweep(now, 1_000).expect("swept").removed == 0 {
                return;
            }
        }
    }
}

mod over_memory {
    use super::*;

    conformance!(|conditions: Conditions| -> Box<dyn StoreUnderTest> {
        Box::new(Logged::new(conditions, |tables: Option<MemoryTables>| tables.unwrap_or_default()))
    });
}

/// As if nothing had been durable: the log is all that is left.
mod over_memory_that_is_lost {
    use super::*;

    conformance!(|conditions: Conditions| -> Box<dyn StoreUnderTest> {
        Box::new(Logged::new(conditions, |_: Option<MemoryTables>| MemoryTables::new()))
    });
}

mod over_disk {
    use super::*;

    conformance!(|conditions: Conditions| -> Box<dyn StoreUnderTest> {
        let directory = scratch();
        Box::new(Logged::new(conditions, move |tables: Option<DiskTables>| {
            drop(tables);
            disk(directory.path())
        }))
    });
}

#[test]
fn a_commit_is_applied_once() {
    let mut state = State::open(MemoryTables::new(), Setup::with_records(0), rules(&Conditions::default()))
        .expect("a state that opens");
    state.apply(5, &[Change::End]).expect("applied");
    let error = state.apply(5, &[Change::End]).expect_err("a second time");
    assert_eq!(error.to_string(), "commit 5 cannot be applied after commit 5");
    state.apply(6, &[]).expect("a commit without changes");
    assert_eq!(state.applied(), 6);
}
