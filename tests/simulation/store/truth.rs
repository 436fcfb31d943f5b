//! What the log of a machine has acknowledged, which no crash may change: the groups themselves, and the state to which their
//! changes lead, over tables that never fail and never forget. The store is held against it, and so is everything that
//! clients see.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use roomring::base::ids::{Position, RoomName};
use roomring::engine::kept::{KeptAnswer, KeptAsk, SessionId};
use roomring::engine::record::Record;
use roomring::store::change::Change;
use roomring::store::group::Group;
use roomring::store::log::groups::Groups;
use roomring::store::state::{Keep, Loaded, Outcome, Rules, Setup, Skipped, State};
use roomring::store::tables::memory::MemoryTables;
use roomring::store::tables::rows::Tables;

use super::disk::SimDisk;

/// More than there is of anything.
const ALL: usize = 1_000_000;

/// See the module.
pub struct Truth {
    state: State<MemoryTables>,
    /// The groups from number 1 on.
    groups: Vec<Bytes>,
    /// Groups that the log was given since the last one that it acknowledged, and failed to append: the next start may find
    /// one of them.
    unsure: Vec<Bytes>,
    /// The process of the last boot has ended, and everything was kept.
    pub has_ended: bool,
    /// Rooms that the process of the last boot has opened.
    opened: BTreeSet<RoomName>,
    /// Sessions that were saved.
    sessions: BTreeSet<u128>,
    /// Answers to what was asked, by token.
    answers: BTreeMap<u64, KeptAnswer>,
}

/// What a group has brought about.
#[derive(Debug, Default)]
pub struct Kept {
    /// Records that stand from now on.
    pub records: Vec<(RoomName, u64, Record)>,
    /// Rooms whose records stand under another epoch now: the old one, the new one, and the last record.
    pub renumbered: Vec<(RoomName, u64, u64, u64)>,
    /// A room lost its numbering, by its deletion or because nothing was left of it.
    pub is_numbering_lost: bool,
    /// What the group holds and nobody may ask for.
    pub wrong: Option<String>,
}

fn keep_all() -> Rules {
    let keep = Keep { count: u64::MAX, ttl_ms: u64::MAX, numbering_ttl_ms: u64::MAX };
    Rules { retention: Arc::new(move |_| keep), session_ttl_ms: u64::MAX }
}

impl Truth {
    /// Nothing.
    pub fn new() -> Self {
        let state = State::open(MemoryTables::new(), Setup::with_records(0), keep_all());
        Self {
            state: state.expect("tables in memory do not fail"),
            groups: Vec::new(),
            unsure: Vec::new(),
            has_ended: false,
            opened: BTreeSet::new(),
            sessions: BTreeSet::new(),
            answers: BTreeMap::new(),
        }
    }

    /// A process begins: the tokens of the one before mean nothing any more.
    pub fn forget_tokens(&mut self) {
        self.answers.clear();
    }

    /// Groups that are acknowledged.
    pub fn newest(&self) -> u64 {
        self.groups.len() as u64
    }

    /// The log has failed to append a group, or nobody knows.
    pub fn doubt(&mut self, payload: Bytes) {
        self.unsure.push(payload);
    }

    /// The log has a group from now on. `tokens`: of the entries that are answered.
    pub fn keep(&mut self, payload: Bytes, tokens: &[Option<u64>]) -> Kept {
        let mut kept = Kept::default();
        let changes = match Group::decode(&payload) {
            Ok(changes) => changes,
            Err(why) => {
                kept.wrong = Some(format!("group {} of the log: {why}", self.newest() + 1));
                return kept;
            }
        };
        self.groups.push(payload);
        self.unsure.clear();
        let before: Vec<_> = changes.iter().map(|change| self.position_before(change)).collect();
        let outcomes = self.state.apply(self.newest(), &changes).expect("tables in memory do not fail");
        for ((change, outcome), (at, before)) in changes.iter().zip(outcomes).zip(before.into_iter().enumerate()) {
            self.note(change, before, &outcome, &mut kept);
            if let (Outcome::Answer(answer), Some(Some(token))) = (outcome, tokens.get(at)) {
                self.answers.insert(*token, answer);
            }
        }
        kept
    }

    /// Where a room stands that the change may number anew.
    fn position_before(&self, change: &Change) -> Option<Position> {
        match change {
            Change::Open { room, .. } | Change::Forget { room, .. } => self.position(room),
            Change::Ask(KeptAsk::Room(ask)) => self.position(&ask.room),
            _ => None,
        }
    }

    fn note(&mut self, change: &Change, before: Option<Position>, outcome: &Outcome, kept: &mut Kept) {
        match (change, outcome) {
            (Change::Begin { .. }, _) => {
                self.has_ended = false;
                self.opened.clear();
            }
            (Change::Open { room, .. }, _) => drop(self.opened.insert(room.clone())),
            (Change::End, _) => self.has_ended = true,
            (Change::Ask(KeptAsk::SaveSession { session, .. }), _) => {
                self.sessions.insert(session.0);
            }
            (Change::Append { room, epoch, record }, Outcome::Done) => {
                kept.records.push((room.clone(), epoch.0, record.clone()));
            }
            (Change::Append { room, record, .. }, Outcome::Skipped(Skipped::KeptAlready { .. })) => {
                let held = self.record(room, record.seq);
                if held.as_ref().is_some_and(|held| held != record) {
                    kept.wrong = Some(format!("{room} {}: {held:?} is kept, {record:?} comes", record.seq));
                }
            }
            (
                Change::Append { room, epoch, record },
                Outcome::Skipped(skipped @ (Skipped::Gap { .. } | Skipped::OtherEpoch { .. })),
            ) => {
                let seq = record.seq;
                kept.wrong = Some(format!("{room} {epoch} {seq} is acknowledged and not kept: {skipped:?}"));
            }
            _ => {}
        }
        let room = match change {
            Change::Open { room, .. } | Change::Forget { room, .. } => room,
            Change::Ask(KeptAsk::Room(ask)) => &ask.room,
            _ => return,
        };
        let Some(before) = before else { return };
        match self.position(room) {
            Some(after) if after.epoch == before.epoch => {}
            Some(after) => kept.renumbered.push((room.clone(), before.epoch.0, after.epoch.0, before.seq)),
            None => kept.is_numbering_lost = true,
        }
    }

    fn load(&self, room: &RoomName) -> Loaded {
        self.state.load(room, 0, u64::MAX).expect("tables in memory do not fail")
    }

    fn position(&self, room: &RoomName) -> Option<Position> {
        let rooms = self.state.rooms(None, ALL).expect("tables in memory do not fail");
        rooms.into_iter().find(|summary| summary.room == *room)?.head
    }

    /// Where a room stands.
    pub fn head(&self, room: &str) -> Option<(u64, u64)> {
        let head = self.position(&RoomName::new(room).expect("rooms have valid names"))?;
        Some((head.epoch.0, head.seq))
    }

    /// Whether the process of the last boot has opened a room. A room that it has not may still get another numbering, for what
    /// one before it has lost.
    pub fn has_opened(&self, room: &str) -> bool {
        self.opened.contains(room)
    }

    /// A record of a room.
    pub fn record(&self, room: &RoomName, seq: u64) -> Option<Record> {
        let records = self.state.records(room, seq.checked_sub(1)?, 1, ALL).expect("tables in memory do not fail");
        records.into_iter().next().filter(|record| record.seq == seq)
    }

    /// One of the sessions.
    pub fn pick_session(&self, pick: u64) -> Option<SessionId> {
        let kept = self.sessions.iter().nth(pick as usize % self.sessions.len().max(1))?;
        Some(SessionId(*kept))
    }

    /// Whether an answer of the store to a change is what came of it.
    pub fn agrees(&self, token: u64, answer: &KeptAnswer) -> bool {
        let is_unsure = matches!(answer, KeptAnswer::Unavailable { .. });
        is_unsure || self.answers.get(&token).is_none_or(|truth| truth == answer)
    }

    /// Holds the groups of a log that was opened against those that were acknowledged; those that it has found beyond them.
    ///
    /// # Errors
    /// What is lost, changed or invented.
    pub fn compare_log(&self, oldest: u64, mut groups: Groups<SimDisk>) -> Result<Vec<Bytes>, String> {
        let (mut number, mut found) = (oldest, Vec::new());
        while let Some(group) = groups.next_group().map_err(|error| error.to_string())? {
            let known = self.groups.get(number as usize - 1);
            if known.is_some_and(|known| **known != *group.payload) {
                return Err(format!("group {number} of the log is not the one that was acknowledged"));
            }
            if known.is_none() {
                found.push(Bytes::copy_from_slice(group.payload));
            }
            number += 1;
        }
        if number <= self.newest() {
            return Err(format!("the log ends before group {number}, and group {} was acknowledged", self.newest()));
        }
        let is_invented = |payload: &Bytes| !self.unsure.contains(payload);
        if found.len() > 1 || found.iter().any(is_invented) {
            return Err(format!("the log holds {} groups behind {} that nobody gave it", found.len(), self.newest()));
        }
        Ok(found)
    }

    /// Holds the state of the store against this one: everything that it shows of each room.
    ///
    /// # Errors
    /// What is different.
    pub fn compare_state<T: Tables>(&self, state: &State<T>) -> Result<(), String> {
        let why = |error: &dyn std::fmt::Display| format!("the state cannot be read: {error}");
        if state.applied() != self.newest() {
            return Err(format!("the state has applied group {} of {}", state.applied(), self.newest()));
        }
        let rooms = self.state.rooms(None, ALL).expect("tables in memory do not fail");
        for summary in rooms {
            let name = &summary.room;
            let (own, truth) = (state.load(name, ALL, 0).map_err(|error| why(&error))?, self.load(name));
            let same = own.stretch.head == truth.stretch.head && own.created == truth.created;
            let members = state.members(name, None, ALL).map_err(|error| why(&error))?;
            let receipts = state.receipts(name, None, ALL).map_err(|error| why(&error))?;
            let same = same
                && Ok(members) == self.state.members(name, None, ALL).map_err(|_| ())
                && Ok(receipts) == self.state.receipts(name, None, ALL).map_err(|_| ());
            let wrong =
                own.stretch.records.iter().find(|record| self.record(name, record.seq).as_ref() != Some(record));
            if !same || wrong.is_some() {
                return Err(format!("the state says of {name}: {own:?}, but {truth:?} was acknowledged"));
            }
        }
        Ok(())
    }
}
