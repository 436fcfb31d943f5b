//! The store of one machine, made of the real parts: keeper, log, index and state, driven step by step in virtual time. Under
//! the log is a model of a disk, under the index tables in memory with a durable copy. Slow; the disk and the tables fail, and
//! a crash loses what was not synced, at any operation, those of a start too. Held against [`truth`].

mod disk;
mod life;
mod tables;
mod truth;

use std::sync::Arc;

use bytes::Bytes;
use roomring::base::ids::RoomName;
use roomring::base::limits::STORE_RETRY_MS;
use roomring::base::time::Now;
use roomring::engine::kept::SessionId;
use roomring::engine::record::Record;
use roomring::engine::settings::Settings;
use roomring::engine::store_port::{StoreEvent, StoreRequest};
use roomring::store::log::error::LogError;
use roomring::store::log::model::Failure;
use roomring::store::log::writer::{Log, Options};
use roomring::store::reopen::{ReopenError, begin, beginning, catch_up};
use roomring::store::state::{Keep, Rules, Setup, State};

use self::disk::SimDisk;
use self::life::{Ask, Life};
use self::tables::{ModelTables, TablesDisk};
use self::truth::{Kept, Truth};
use super::canary::Canary;
use super::link::{CoreAt, Later};
use super::profile::{Mode, Profile};
use super::rng::Rng;

/// Time between two looks at what goes by time, while faults happen and afterwards.
const WATCH_US: u64 = STORE_RETRY_MS * 1_000 / 4;
const WATCH_CALM_US: u64 = 2_000_000;

/// Longest time that a disk is full, read-only or does not sync.
const TROUBLE_US: u64 = 1_500_000;

/// A disk that goes back in time goes back by so many groups at most.
const FORGOTTEN_GROUPS: u64 = 5;

/// The group after which one is said to have failed, for a canary.
const REPLAYED_AFTER: u64 = 20;

/// The store of one machine.
pub struct Store {
    rng: Rng,
    delay_us: u64,
    loss: f64,
    fail: f64,
    is_behind: bool,
    options: Options,
    rules: Rules,
    /// The clock jumps, so a record may be removed that is not old.
    has_jumps: bool,
    disk: SimDisk,
    tables: TablesDisk,
    truth: Truth,
    /// `None` while the machine is down.
    life: Option<Life>,
    /// When the next work is scheduled.
    scheduled_us: Option<u64>,
    /// A failure of the disk lasts until then.
    trouble_until_us: u64,
    canary: Option<Canary>,
    /// The canary has had its chance.
    pub sung: bool,
    /// The disk as it was some groups ago, for a canary.
    earlier: Option<(u64, SimDisk)>,
    /// A group is there that is said to have failed, for a canary.
    is_replayed: bool,
    /// And a later one has succeeded.
    is_followed: bool,
    /// The rest of a group that was being written when the power went, for a canary.
    torn: Option<Bytes>,
}

/// What some work brought about.
#[derive(Debug, Default)]
pub struct Done {
    /// Events for cores, with their delays.
    pub later: Vec<Later<StoreEvent>>,
    /// Rooms whose records stand under another epoch now: the old one, the new one, and the last record.
    pub renumbered: Vec<(RoomName, u64, u64, u64)>,
    /// Records that were committed just now.
    pub committed: Vec<(RoomName, u64, Record)>,
    /// Records that were taken for failed and are there after all.
    pub found: Vec<(RoomName, u64, Record)>,
    /// A room lost its numbering.
    pub is_numbering_lost: bool,
    /// What the engine asked against the rules, or the store did.
    pub wrong: Option<String>,
    /// When there is more to do.
    pub wake_us: Option<u64>,
    /// How much of what.
    pub met: Met,
}

/// What a store has met: one that met nothing proves nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Met {
    /// Groups that the log failed to append.
    pub failed: u64,
    /// Groups that were taken for failed, and found at a start.
    pub found: u64,
    /// Starts that did not get through.
    pub cut_off: u64,
    /// Starts with a log that has forgotten its oldest groups.
    pub forgotten: u64,
    /// Times that the index failed and came back.
    pub reopened: u64,
}

impl Done {
    /// Notes what a group has brought about; `is_found`: at a start.
    fn note(&mut self, kept: Kept, is_found: bool) {
        let Kept { records, renumbered, is_numbering_lost, wrong } = kept;
        self.renumbered.extend(renumbered);
        if is_found { &mut self.found } else { &mut self.committed }.extend(records);
        self.is_numbering_lost |= is_numbering_lost;
        self.wrong = self.wrong.take().or(wrong);
    }
}

/// Keeps each record for as long as its room's history says, however many there are.
fn rules(settings: Arc<Settings>) -> Rules {
    let retention = move |room: &RoomName| {
        let room = settings.room(room);
        Keep { count: u64::MAX, ttl_ms: room.history_ttl_ms, numbering_ttl_ms: room.numbering_ttl_ms }
    };
    Rules { retention: Arc::new(retention), session_ttl_ms: 86_400_000 }
}

impl Store {
    /// An empty store of a machine that is down.
    pub fn new(profile: &Profile, node: usize, canary: Option<Canary>) -> Self {
        let mut rng = Rng::salted(profile.seed, "store", node as u64);
        let segment_bytes = if canary.is_some() { 1 << 20 } else { *rng.pick(&[8_192, 32_768, 1 << 18]) };
        Self {
            delay_us: profile.faults.service_delay_us.max(100),
            loss: profile.faults.service_loss,
            fail: profile.faults.store_fail,
            is_behind: profile.mode == Mode::Behind,
            options: Options { segment_bytes, salt: 0 },
            rules: rules(profile.settings(node)),
            has_jumps: profile.faults.wall_jump > 0.0,
            disk: SimDisk::new(rng.next()),
            tables: TablesDisk::default(),
            truth: Truth::new(),
            life: None,
            scheduled_us: None,
            trouble_until_us: 0,
            canary,
            sung: false,
            earlier: None,
            is_replayed: false,
            is_followed: false,
            torn: None,
            rng,
        }
    }

    /// Faults stop.
    pub fn heal(&mut self) {
        (self.delay_us, self.loss, self.fail, self.trouble_until_us) = (1_000, 0.0, 0.0, 0);
        self.disk.model.set_failure(None);
        self.tables.fail_in(None);
    }

    /// The machine starts: opens what is there, as often as it takes.
    pub fn start(&mut self, now: Now, now_us: u64) -> Done {
        let mut done = Done::default();
        self.truth.forget_tokens();
        self.sung |= self.is_followed;
        // What is found at the start is no defect, if nothing came after it.
        self.is_replayed = self.is_followed;
        if self.canary == Some(Canary::AckBeforeSync) {
            self.disk.lies.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        while self.fail > 0.0 && self.rng.chance(0.3) {
            self.start_and_fail(now, &mut done);
        }
        let opened = self.open(now).and_then(|(mut log, mut state)| {
            self.verify(&log, &state, &mut done)?;
            let boot = begin(&mut log, &mut state, self.is_behind).map_err(|error| error.to_string())?;
            let mut payload = Vec::new();
            beginning(boot, self.is_behind).encode(&mut payload);
            self.truth.keep(payload.into(), &[]);
            Ok((log, state, boot))
        });
        match opened {
            Ok((log, state, boot)) => {
                let setup = Setup::with_records(now.unix_ms);
                let parts = (log, state, boot);
                let (rules, rng) = (self.rules.clone(), Rng::salted(self.rng.next(), "reopen", 0));
                let life = Life::new(parts, setup, rules, (self.tables.clone(), rng));
                self.life = Some(life);
                self.hand_out(now, now_us, &mut done);
            }
            Err(wrong) => done.wrong = done.wrong.take().or(Some(wrong)),
        }
        (self.scheduled_us, self.torn) = (Some(now_us), None);
        done.wake_us = Some(now_us);
        done
    }

    /// A start that is cut off at any operation.
    fn start_and_fail(&mut self, now: Now, done: &mut Done) {
        self.disk.model.set_failure(Some(Failure::From(self.rng.below(24))));
        self.tables.fail_in(self.rng.chance(0.3).then(|| self.rng.below(40) as u32));
        let Err(error) = self.try_open(now) else { return self.lose_power() };
        if !error.is_told() {
            done.wrong = Some(format!("the store does not start: {error}"));
        } else {
            done.met.cut_off += 1;
        }
        self.lose_power();
    }

    /// The process is gone, and mostly the machine with it.
    fn lose_power(&mut self) {
        self.trouble_until_us = 0;
        self.disk.model.set_failure(None);
        self.tables.fail_in(None);
        let seed = self.rng.next();
        if self.rng.chance(0.5) || self.canary.is_some() {
            self.disk.model.crash(seed);
            self.sung |= self.canary == Some(Canary::AckBeforeSync);
        }
    }

    fn open(&mut self, now: Now) -> Result<(Log<SimDisk>, State<ModelTables>), String> {
        self.try_open(now).map_err(|error| format!("the store does not start: {error}"))
    }

    /// As `store::threads` does it.
    fn try_open(&mut self, now: Now) -> Result<(Log<SimDisk>, State<ModelTables>), StartError> {
        let options = Options { salt: self.rng.next(), ..self.options };
        let (mut log, found) = Log::open(self.disk.clone(), options)?;
        if let Some(torn) = self.torn.take() {
            log.append(&[std::io::IoSlice::new(&torn)]).map_err(LogError::from)?;
        }
        if found.oldest == 1 && self.fail > 0.0 && self.rng.chance(0.1) {
            // Damage: the index is made again.
            self.tables.clear();
        }
        let tables = self.tables.open(self.rng.next()).map_err(ReopenError::from)?;
        let setup = Setup::with_records(now.unix_ms);
        let mut state = State::open(tables, setup, self.rules.clone()).map_err(ReopenError::from)?;
        let mut groups = log.groups(state.applied())?;
        catch_up(&mut state, &mut groups)?;
        Ok((log, state))
    }

    /// Holds what was opened against what was acknowledged.
    fn verify(&mut self, log: &Log<SimDisk>, state: &State<ModelTables>, done: &mut Done) -> Result<(), String> {
        let oldest = log.figures().oldest;
        done.met.forgotten += u64::from(oldest > 1);
        let groups = log.groups(oldest - 1).map_err(|error| error.to_string())?;
        if self.canary == Some(Canary::ForgetfulStore) {
            // Not caught here, so that it is caught by what clients see.
            self.truth = Truth::new();
        }
        let is_forgetful = self.canary == Some(Canary::ForgetfulStore);
        let found = if is_forgetful { read_all(groups)? } else { self.truth.compare_log(oldest, groups)? };
        for payload in found {
            let kept = self.truth.keep(payload, &[]);
            if !is_forgetful {
                done.met.found += 1;
                done.note(kept, true);
            }
        }
        self.truth.compare_state(state)
    }

    /// Takes a request; the store wants to work at the returned time.
    pub fn ask(&mut self, now_us: u64, from: CoreAt, request: StoreRequest) -> u64 {
        let Some(life) = &mut self.life else { return now_us };
        let after_us = life.requests.back().map_or(now_us, |ask| ask.ready_us);
        let ready_us = (now_us + 1 + self.rng.below(self.delay_us)).max(after_us);
        life.requests.push_back(Ask { ready_us, from, request });
        ready_us
    }

    /// Does what is due.
    pub fn work(&mut self, now: Now, now_us: u64) -> Done {
        let mut done = Done::default();
        self.scheduled_us = self.scheduled_us.filter(|scheduled_us| *scheduled_us > now_us);
        while done.wrong.is_none() && self.step(now, now_us, now_us, &mut done) {}
        let due_us = self.life.as_ref().map(Life::due_us);
        if let Some(due_us) = due_us.filter(|due_us| self.scheduled_us.is_none_or(|scheduled| *due_us < scheduled)) {
            self.scheduled_us = Some(due_us);
            done.wake_us = Some(due_us);
        }
        done
    }

    /// Does one thing that is ready by `until_us`; whether there was one.
    fn step(&mut self, now: Now, now_us: u64, until_us: u64, done: &mut Done) -> bool {
        let Some(life) = &mut self.life else { return false };
        let ready = life.ready(until_us);
        if ready.is_empty() {
            return false;
        }
        match *self.rng.pick(&ready) {
            life::Part::Cores => self.take_request(now, now_us),
            life::Part::Log => self.append(now, now_us, done),
            life::Part::Index => self.index(now),
            life::Part::Time => {
                let watch_us = if self.fail > 0.0 { WATCH_US } else { WATCH_CALM_US };
                let persists = self.rng.chance(0.3);
                self.disturb_tables();
                if let Some(life) = &mut self.life {
                    let was_gone = life.state().is_none();
                    life.pass_time(now, persists);
                    done.met.reopened += u64::from(was_gone && life.state().is_some());
                    life.watch_us = now_us + watch_us;
                }
                self.tables.fail_in(None);
            }
        }
        self.reports(now);
        self.hand_out(now, now_us, done);
        true
    }

    fn take_request(&mut self, now: Now, now_us: u64) {
        let Some(life) = &mut self.life else { return };
        let Some(Ask { from, request, .. }) = life.requests.pop_front() else { return };
        if self.canary == Some(Canary::EarlyRead) {
            self.sung |= life.read_early(now, now_us, from, request, &self.truth);
        } else {
            life.take(now, from, request);
        }
    }

    /// The log appends a group, or fails to.
    fn append(&mut self, now: Now, now_us: u64, done: &mut Done) {
        self.disturb_disk(now_us);
        let is_replayed =
            self.canary == Some(Canary::ReplayedGroup) && self.truth.newest() >= REPLAYED_AFTER && !self.is_replayed;
        let Some(life) = &mut self.life else { return };
        let Some((payload, tokens, mut is_kept)) = life.append() else { return };
        if now_us >= self.trouble_until_us {
            self.disk.model.set_failure(None);
        }
        if is_replayed && is_kept {
            // It is there, and said to have failed.
            (is_kept, self.is_replayed) = (false, true);
        }
        if is_kept {
            self.is_followed |= self.is_replayed;
            done.note(self.truth.keep(payload, &tokens), false);
        } else {
            done.met.failed += 1;
            self.truth.doubt(payload);
        }
        life.logged(now, is_kept);
        if self.canary == Some(Canary::ForgetfulStore) {
            let newest = self.truth.newest();
            if self.earlier.as_ref().is_none_or(|(number, _)| newest > number + FORGOTTEN_GROUPS) {
                let copy = SimDisk { model: self.disk.model.fork(), ..self.disk.clone() };
                self.earlier = Some((newest, copy));
            }
        }
    }

    fn index(&mut self, now: Now) {
        self.disturb_tables();
        let more = if self.rng.chance(0.3) { self.rng.index(6) } else { 0 };
        if let Some(life) = &mut self.life {
            life.index(now, more);
        }
        self.tables.fail_in(None);
    }

    /// What the index and the log have to say reaches the keeper; answers are held against the truth.
    fn reports(&mut self, now: Now) {
        if let Some(life) = &mut self.life {
            life.take_reports(now);
        }
    }

    /// Gives out what the keeper wants.
    fn hand_out(&mut self, now: Now, now_us: u64, done: &mut Done) {
        let Some(life) = &mut self.life else { return };
        let log_us = 1 + self.rng.below(self.delay_us / 2 + 1);
        let index_us = if self.rng.chance(0.3) { self.rng.below(self.delay_us / 2 + 1) } else { 0 };
        let events = life.hand_out(now_us, (log_us, index_us));
        for (from, mut event) in events {
            let fresh_ms = if self.has_jumps { u64::MAX } else { now.unix_ms };
            let wrong = life.check(&event, &self.truth, fresh_ms, &self.rules);
            done.wrong = done.wrong.take().or(wrong);
            let may_be_lost = matches!(event, StoreEvent::Loaded { .. } | StoreEvent::Page(_));
            if may_be_lost && self.rng.chance(self.loss) {
                continue;
            }
            if self.canary == Some(Canary::HolePage)
                && let StoreEvent::Page(answer) = &mut event
                && let Ok(page) = &mut answer.result
                && page.records.len() > 2
            {
                page.records.remove(page.records.len() / 2);
                self.sung = true;
            }
            done.later.push((1, from, event));
        }
    }

    /// Draws whether the next append meets a failure, and which.
    fn disturb_disk(&mut self, now_us: u64) {
        if now_us < self.trouble_until_us || !self.rng.chance(self.fail / 6.0) {
            return;
        }
        let failure = match self.rng.below(8) {
            0 => Failure::Full,
            1 => Failure::ReadOnly,
            2 => Failure::Syncs,
            _ => Failure::Once(self.rng.below(4)),
        };
        if !matches!(failure, Failure::Once(_)) {
            self.trouble_until_us = now_us + self.rng.below(TROUBLE_US);
        }
        self.disk.model.set_failure(Some(failure));
    }

    /// Draws whether the tables fail in what comes next.
    fn disturb_tables(&mut self) {
        if self.rng.chance(self.fail / 12.0) {
            self.tables.fail_in(Some(self.rng.below(12) as u32));
        }
    }

    /// The machine has crashed: what was asked may have been taken in, up to any point; nobody hears of it.
    pub fn crash(&mut self, now: Now, now_us: u64) -> Done {
        let mut done = Done::default();
        let is_torn = self.canary == Some(Canary::TornGroup);
        let steps = if is_torn { 1 } else { 8 };
        for _ in 0..self.rng.below(steps) {
            // Often in the middle of an append.
            if self.life.as_ref().is_some_and(Life::appends) && self.rng.chance(0.7) {
                break;
            }
            self.step(now, now_us, u64::MAX, &mut done);
        }
        if let Some(mut life) = self.life.take() {
            // The write is cut off, mostly the sync of it, or what comes after.
            let at = if is_torn { self.rng.below(2) } else { *self.rng.pick(&[0, 1, 1, 1, 2]) };
            self.disk.model.set_failure(Some(Failure::From(at)));
            if let Some((payload, _, is_kept)) = life.append() {
                if is_kept {
                    done.note(self.truth.keep(payload, &[]), false);
                } else {
                    self.tear(&payload);
                    self.truth.doubt(payload);
                }
            }
        }
        self.lose_power();
        if let Some((_, earlier)) = self.earlier.take() {
            (self.disk, self.sung) = (earlier, true);
            self.tables.clear();
        }
        done.later.clear();
        done
    }

    /// For a canary: a part of a group is not on the disk, and it counts all the same.
    fn tear(&mut self, payload: &Bytes) {
        if self.canary == Some(Canary::TornGroup) && payload.len() > 100 {
            let mut torn = payload.to_vec();
            let half = torn.len() / 2;
            torn[half..].fill(0);
            (self.torn, self.sung) = (Some(torn.into()), true);
        }
    }

    /// The machine ends in order. `is_settled`: nobody waits for the store any more; otherwise some of what the cores have
    /// asked is lost.
    pub fn stop(&mut self, mut now: Now, now_us: u64, is_settled: bool) -> Done {
        let mut done = Done::default();
        let Some(life) = &mut self.life else { return done };
        if !is_settled {
            let kept = self.rng.index(life.requests.len() + 1);
            let lost = life.requests.split_off(kept);
            let is_append = |ask: &Ask| matches!(ask.request, StoreRequest::Append { .. });
            if self.canary == Some(Canary::FalseEnd) {
                self.sung |= lost.iter().any(is_append);
            } else {
                life.keeper.note_loss();
            }
        }
        let mut has_ended = false;
        loop {
            now.mono_us += 1_000;
            let Some(life) = self.life.as_mut().filter(|life| !has_ended && life.requests.is_empty()) else {
                if self.step(now, now_us, u64::MAX, &mut done) {
                    continue;
                }
                break;
            };
            has_ended = true;
            life.keeper.end(&mut life.output);
            self.hand_out(now, now_us, &mut done);
        }
        if let Some(life) = self.life.take() {
            let is_idle = life.keeper.is_idle();
            done.wrong = done.wrong.take().or((!is_idle).then(|| "the store ends with something under way".to_owned()));
            life.end();
        }
        self.trouble_until_us = 0;
        self.disk.model.set_failure(None);
        done.later.clear();
        done
    }

    /// Whether the last process has said that everything is kept that it has shown of a room.
    pub fn vouches_for(&self, room: &str) -> bool {
        let is_told = !self.is_behind || self.truth.has_ended;
        is_told && self.truth.has_opened(room)
    }

    /// Where a room stands.
    pub fn head(&self, room: &str) -> Option<(u64, u64)> {
        self.truth.head(room)
    }

    /// One of the sessions that it keeps.
    pub fn pick_session(&self, pick: u64) -> Option<SessionId> {
        self.truth.pick_session(pick)
    }

    /// Holds the state against the truth, when nothing is under way.
    pub fn compare(&self) -> Option<String> {
        let life = self.life.as_ref()?;
        let Some(state) = life.state() else { return Some("the index does not come back".to_owned()) };
        if !life.keeper.is_idle() {
            return Some("something is under way in the store for ever".to_owned());
        }
        self.truth.compare_state(state).err()
    }
}

/// The groups of a log.
fn read_all(mut groups: roomring::store::log::groups::Groups<SimDisk>) -> Result<Vec<Bytes>, String> {
    let mut all = Vec::new();
    while let Some(group) = groups.next_group().map_err(|error| error.to_string())? {
        all.push(Bytes::copy_from_slice(group.payload));
    }
    Ok(all)
}

/// A store does not start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Index(#[from] ReopenError),
}

impl StartError {
    /// Whether the disk or the tables were told to fail.
    fn is_told(&self) -> bool {
        let is_io = |error: &LogError| matches!(error, LogError::Io { .. } | LogError::Append(_));
        match self {
            StartError::Log(error) | StartError::Index(ReopenError::Log(error)) => is_io(error),
            StartError::Index(ReopenError::State(error)) => !error.is_damage(),
            StartError::Index(_) => false,
        }
    }
}
