//! The same changes in the same order always lead to the same state and the same answers, wherever a state was lost and made
//! again from an older copy, and however often, or seldom, either was swept.

use std::collections::{BTreeMap, BTreeSet};

use super::{disk, scratch};
use crate::base::chat::{ReceiptKind, Role, Visibility};
use crate::base::ids::{Epoch, RoomName};
use crate::base::limits::KEY_WINDOW_MS;
use crate::engine::kept::{
    AccountAsk, Actor, DeadLetter, DeadLetterAsk, KeptAccount, KeptAsk, KeptSession, RoomAct, RoomAsk, SessionId,
};
use crate::engine::record::Record;
use crate::store::change::Change;
use crate::store::conformance::say::{record, room, user};
use crate::store::conformance::subject::Conditions;
use crate::store::state::{Bounds, Keep, Outcome, Setup, State};
use crate::store::tables::memory::MemoryTables;
use crate::store::tables::rows::{Direction, Row, Rows, Span, Tables};
use crate::store::tables::table::Table;

use crate::store::random::Random;

const ROOMS: [&str; 5] = ["a", "b", "c", "@ann", "@bob"];
const USERS: [&str; 4] = ["ann", "bob", "cid", "dan"];

fn conditions(sessions: Option<u64>) -> Conditions {
    let retention = |name: &RoomName| Keep {
        count: if &**name == "a" { 5 } else { 20 },
        ttl_ms: 400_000,
        numbering_ttl_ms: 700_000,
    };
    let (room_members, room_invites, room_receipts, user_rooms, dead_letters) = (3, 2, 2, 2, 3);
    let bounds = Bounds { room_members, room_invites, room_receipts, user_rooms, dead_letters, sessions };
    Conditions { retention, session_ttl_ms: 100_000, bounds, ..Conditions::default() }
}

fn open<T: Tables>(tables: T, conditions: &Conditions) -> State<T> {
    let setup = Setup { keeps_records: true, bounds: conditions.bounds, began_at: 1_000_000 };
    State::open(tables, setup, super::rules(conditions)).expect("a state that opens")
}

/// Makes up changes that fit the state that they meet, most of the time.
struct Maker {
    random: Random,
    now: u64,
    made: u64,
}

impl Maker {
    fn new(seed: u64) -> Self {
        Self { random: Random(seed), now: 1_000_000, made: 0 }
    }

    fn group(&mut self, state: &State<MemoryTables>) -> Vec<Change> {
        self.now += self.random.below(60_000) as u64;
        let mut heads = BTreeMap::new();
        (0..1 + self.random.below(6)).map(|_| self.change(state, &mut heads)).collect()
    }

    fn at(&mut self) -> u64 {
        self.now - self.random.below(3_000) as u64
    }

    fn change(&mut self, state: &State<MemoryTables>, heads: &mut BTreeMap<&str, (u64, u64)>) -> Change {
        self.made += 1;
        let name = *self.random.pick(&ROOMS);
        let head = state.load(&room(name), 0, 0).expect("readable").stretch.head;
        let (epoch, seq) = heads.entry(name).or_insert(head.map_or((900, 0), |head| (head.epoch.0, head.seq)));
        match self.random.below(20) {
            0 => Change::Begin { boot: self.made, is_behind: self.random.below(2) == 0 },
            1 => Change::End,
            2..4 => Change::Open { room: room(name), epoch: Epoch(1_000 + self.made), at: self.now },
            4..12 => {
                *seq += 1;
                let off = if self.random.below(20) == 0 { self.random.below(3) as u64 } else { 0 };
                let key = (self.random.below(2) == 0).then(|| format!("k{}", self.made).into());
                let record = Record { key, ..record(*seq + off, self.now, "data") };
                Change::Append { room: room(name), epoch: Epoch(*epoch), record }
            }
            _ => {
                // Rooms without messages can be created.
                let silent = *self.random.pick(&["x", "y", name]);
                Change::Ask(self.ask(silent))
            }
        }
    }

    fn ask(&mut self, name: &str) -> KeptAsk {
        let (by, other) = (user(USERS[self.random.below(4)]), user(USERS[self.random.below(4)]));
        let session = SessionId(self.random.below(8) as u128);
        let id = self.random.below(8) as u64;
        match self.random.below(24) {
            0 => {
                let kept = KeptSession { user: by, node: "node".into(), opened_at: self.at() };
                KeptAsk::SaveSession { session, kept }
            }
            1 => KeptAsk::EndSession { session, at: self.at() },
            2 => KeptAsk::FindSession { session, at: self.at() },
            3 => KeptAsk::ListRooms { user: by, after: None, limit: 10 },
            4 => KeptAsk::Account(AccountAsk::Add(KeptAccount {
                user: by,
                name: None,
                password_hash: "hash".into(),
                created_at: self.now,
                is_locked: false,
            })),
            5 => KeptAsk::Account(AccountAsk::SetLocked(by, id.is_multiple_of(2))),
            6 => {
                let (reason, room) = ("reason".into(), room(name));
                let letter = DeadLetter { id, at: 1, reason, room, epoch: Epoch(1), record: record(1, 1, "") };
                KeptAsk::DeadLetter(DeadLetterAsk::Add(letter))
            }
            7 => KeptAsk::DeadLetter(DeadLetterAsk::Drop(id)),
            _ => {
                let act = self.act(other);
                let actor = Actor { user: by, is_admin: self.random.below(4) == 0 };
                KeptAsk::Room(RoomAsk { room: room(name), actor, at: self.at(), act })
            }
        }
    }

    fn act(&mut self, other: crate::base::ids::UserName) -> RoomAct {
        let kind = *self.random.pick(&[ReceiptKind::Read, ReceiptKind::Delivered]);
        let code: Box<str> = format!("c{}", self.random.below(4)).into();
        match self.random.below(14) {
            0..3 => RoomAct::Create { visibility: Visibility::Private, title: "".into() },
            3 => RoomAct::Delete,
            4 => RoomAct::Info,
            5..7 => RoomAct::Enter { invite: Some(code) },
            7..9 => {
                let expires_at = self.now + self.random.below(200_000) as u64;
                RoomAct::Invite { code, uses_max: self.random.below(3) as u32, expires_at }
            }
            9..11 => {
                RoomAct::SetRole { user: other, role: *self.random.pick(&[Role::Member, Role::Admin, Role::Owner]) }
            }
            11 => RoomAct::Remove { user: other },
            12 => RoomAct::FindReceipt { kind },
            _ => RoomAct::Receipt { kind, seq: self.random.below(60) as u64 },
        }
    }
}

fn contents(rows: &dyn Rows, table: Table) -> Vec<Row> {
    rows.scan(table, Span::all(), Direction::Up).collect::<Result<_, _>>().expect("readable")
}

type Log = Vec<(Vec<Change>, Vec<Outcome>)>;

/// Applies what a state has not applied, which must have the outcomes that it had.
fn catch_up<T: Tables>(state: &mut State<T>, log: &Log) {
    for (commit, (changes, outcomes)) in (1..).zip(log).skip(state.applied() as usize) {
        assert_eq!(state.apply(commit, changes).expect("applied"), *outcomes, "commit {commit}: {changes:?}");
    }
}

#[test]
fn a_state_that_is_made_again_from_an_older_copy_is_the_same() {
    let conditions = conditions(Some(5));
    let directory = scratch();
    let mut on_disk = Some(open(disk(directory.path()), &conditions));
    let mut reached = BTreeSet::new();
    for seed in 1..=6 {
        let mut maker = Maker::new(seed);
        let mut state = open(MemoryTables::new(), &conditions);
        let mut again = open(MemoryTables::new(), &conditions);
        let mut copy = again.tables().clone();
        let mut log = Log::new();
        for _ in 0..400 {
            let changes = maker.group(&state);
            let outcomes = state.apply(log.len() as u64 + 1, &changes).expect("applied");
            log.push((changes, outcomes));
            match maker.random.below(30) {
                0 => {
                    catch_up(&mut again, &log);
                    copy = again.tables().clone();
                }
                1 => again = open(copy.clone(), &conditions),
                2 if seed == 1 => {
                    catch_up(on_disk.as_mut().expect("open"), &log);
                    if maker.random.below(2) == 0 {
                        on_disk.as_mut().expect("open").persist().expect("durable");
                    }
                    drop(on_disk.take());
                    on_disk = Some(open(disk(directory.path()), &conditions));
                }
                _ => {}
            }
        }
        catch_up(&mut again, &log);
        for table in Table::ALL {
            let expected = contents(state.tables(), table);
            if !expected.is_empty() {
                reached.insert(table);
            }
            assert_eq!(contents(again.tables(), table), expected, "seed {seed}, table {}", table.name());
            if seed == 1 {
                let on_disk = on_disk.as_mut().expect("open");
                catch_up(on_disk, &log);
                assert_eq!(contents(on_disk.tables(), table), expected, "on disk, table {}", table.name());
            }
        }
    }
    assert_eq!(reached.len(), Table::ALL.len(), "only {reached:?}");
}

/// Sweeps until nothing is left to remove; what it proposes.
fn sweep_all(state: &mut State<MemoryTables>, now: u64) -> Vec<Change> {
    let mut forget = Vec::new();
    let mut rounds = 0;
    loop {
        let swept = state.sweep(now, 100_000).expect("swept");
        forget.extend(swept.forget);
        rounds = if swept.removed == 0 { rounds + usize::from(swept.is_round_done) } else { 0 };
        // The first round may have begun in an earlier sweep.
        if rounds == 2 {
            forget.sort_by_key(|change| format!("{change:?}"));
            forget.dedup();
            return forget;
        }
    }
}

#[test]
fn no_answer_depends_on_what_has_been_swept() {
    // Sessions without a bound: over one, it is the sweep that makes room.
    let conditions = conditions(None);
    let (mut forgotten, mut swept_rows) = (0, 0);
    for seed in 1..=12 {
        let mut maker = Maker::new(100 + seed);
        let mut state = open(MemoryTables::new(), &conditions);
        let mut never = open(MemoryTables::new(), &conditions);
        let mut again = open(MemoryTables::new(), &conditions);
        let mut copy = again.tables().clone();
        let mut log = Log::new();
        let mut forget = Vec::new();
        for _ in 0..500 {
            if maker.random.below(40) == 0 {
                maker.now += 700_000;
            }
            let mut changes = maker.group(&state);
            forgotten += forget.len();
            changes.append(&mut forget);
            let outcomes = state.apply(log.len() as u64 + 1, &changes).expect("applied");
            log.push((changes, outcomes));
            match maker.random.below(12) {
                0..5 => {
                    let budget = 1 + maker.random.below(200);
                    let swept = state.sweep(maker.now, budget).expect("swept");
                    swept_rows += swept.removed;
                    forget = swept.forget;
                }
                5 => {
                    catch_up(&mut again, &log);
                    let _ = again.sweep(maker.now, 50).expect("swept");
                    copy = again.tables().clone();
                }
                6 => again = open(copy.clone(), &conditions),
                _ => {}
            }
        }
        catch_up(&mut again, &log);
        catch_up(&mut never, &log);
        let now = maker.now + KEY_WINDOW_MS;
        let proposed = sweep_all(&mut state, now);
        for other in [&mut again, &mut never] {
            assert_eq!(sweep_all(other, now), proposed, "seed {seed}");
            for table in Table::ALL {
                let rows = |state: &State<MemoryTables>| {
                    let mut rows = contents(state.tables(), table);
                    // When a user's rooms were last counted is no answer.
                    rows.retain(|(key, _)| table != Table::UserRooms || key.contains(&0));
                    rows
                };
                assert_eq!(rows(other), rows(&state), "seed {seed}, table {}", table.name());
            }
        }
    }
    assert!(forgotten > 20 && swept_rows > 1_000, "{forgotten} forgotten, {swept_rows} rows swept");
}
