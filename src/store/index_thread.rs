//! The thread of the index: carries committed groups out, answers reads, removes what has expired, and makes the tables
//! durable from time to time. When the tables fail it opens them again, and carries out what the log has and they lack.
//!
//! While the tables cannot be used, groups are not carried out: the log has them. Loads are asked again by the owners, pages
//! are refused, and whoever waits for an answer is told that the store is unavailable.
//!
//! Time comes in as an argument, so that the simulation can do without the thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use tokio::sync::mpsc::UnboundedSender;

use super::change::Change;
use super::fault_log::FaultLog;
use super::figures::StoreFigures;
use super::group::{Ack, Asker, Entry, Load, Read};
use super::keeper::{Commit, ToIndex};
use super::messages::Report;
use super::reopen::Reopen;
use super::state::{Loaded, Outcome, Rules, Skipped, State, StateError};
use super::tables::rows::Tables;
use crate::base::ids::{CoreId, RoomName};
use crate::base::limits::STORE_RETRY_MS;
use crate::base::time::Now;
use crate::engine::kept::{DeadLetter, DeadLetterAsk, DeadLetterDone, KeptAnswer, KeptAsk};
use crate::engine::record::{PageAnswer, PageRequest, Record};
use crate::engine::store_port::StoreEvent;
use crate::io::clock;

/// How often rows that have expired are looked for.
const SWEEP_MS: u64 = 250;

/// Rows that one sweep looks at, beside twice as many as changes were carried out since the last.
const SWEEP_ROWS: usize = 256;

/// Changes of the groups that are carried out together.
const BATCH_ENTRIES: usize = 4_096;

/// How often the tables are made durable. The log keeps what is younger.
const PERSIST_MS: u64 = 5_000;

/// When the work that goes by time is due, monotonic milliseconds.
#[derive(Debug, Default)]
struct Due {
    sweep_ms: u64,
    persist_ms: u64,
    reopen_ms: u64,
    /// Changes that were carried out since the last sweep.
    changes: usize,
}

/// What the thread needs.
pub struct IndexParts<T: Tables> {
    /// Open, and up to date with the log.
    pub state: State<T>,
    /// Opens the state again after a failure.
    pub reopen: Box<dyn Reopen<T>>,
    /// The number of this boot.
    pub boot: u64,
    /// What the keeper wants.
    pub inbox: Receiver<ToIndex>,
    /// How long things are kept.
    pub rules: Rules,
    /// The same after each reload.
    pub new_rules: Receiver<Rules>,
    /// The results.
    pub reports: UnboundedSender<Report>,
    /// The last group that is durable in the tables.
    pub checkpoint: Arc<AtomicU64>,
    /// What an operator sees.
    pub figures: Arc<StoreFigures>,
}

/// See the module.
pub struct IndexThread<T: Tables> {
    /// `None` while the tables fail.
    state: Option<State<T>>,
    reopen: Box<dyn Reopen<T>>,
    boot: u64,
    inbox: Receiver<ToIndex>,
    rules: Rules,
    new_rules: Receiver<Rules>,
    reports: UnboundedSender<Report>,
    checkpoint: Arc<AtomicU64>,
    figures: Arc<StoreFigures>,
    due: Due,
    lines: FaultLog,
    /// The time of what is being done.
    now: Now,
}

impl<T: Tables> IndexThread<T> {
    /// Ready to run.
    #[must_use]
    pub fn new(parts: IndexParts<T>) -> Self {
        let IndexParts { state, reopen, boot, inbox, rules, new_rules, reports, checkpoint, figures } = parts;
        let (state, due, now) = (Some(state), Due::default(), Now { mono_us: 0, unix_ms: 0 });
        let lines = FaultLog::default();
        let mut thread =
            Self { state, reopen, boot, inbox, rules, new_rules, reports, checkpoint, figures, due, lines, now };
        thread.note_dead_letters();
        thread
    }

    /// Works until the keeper has ended, then makes everything durable.
    pub fn run(mut self) {
        loop {
            match self.inbox.recv_timeout(Duration::from_millis(SWEEP_MS)) {
                Ok(to) => self.carry_out(clock::now(), to),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.work_by_time(clock::now());
        }
        self.persist();
    }

    /// Does what the keeper wants; a group together with those that wait behind it in the inbox.
    pub fn carry_out(&mut self, now: Now, to: ToIndex) {
        self.now = now;
        match to {
            ToIndex::Apply(commit) => self.apply_with_following(commit),
            ToIndex::Read(read) => self.read(read),
        }
    }

    /// The state; `None` while the tables fail.
    #[must_use]
    pub fn state(&self) -> Option<&State<T>> {
        self.state.as_ref()
    }

    fn report(&self, report: Report) {
        // The keeper ends after this thread only.
        let _ = self.reports.send(report);
    }

    /// Carries out a group, and those that wait behind it, as one batch: when the index is behind, that is what lets it catch
    /// up.
    fn apply_with_following(&mut self, first: Commit) {
        let mut entries = first.group.entries.len();
        let mut commits = vec![first];
        let mut next = None;
        while entries < BATCH_ENTRIES {
            match self.inbox.try_recv() {
                Ok(ToIndex::Apply(commit)) => {
                    entries += commit.group.entries.len();
                    commits.push(commit);
                }
                Ok(ToIndex::Read(read)) => {
                    next = Some(read);
                    break;
                }
                Err(_) => break,
            }
        }
        self.apply(&commits);
        if let Some(read) = next {
            self.read(read);
        }
    }

    fn apply(&mut self, commits: &[Commit]) {
        let number = commits.last().map_or(0, |last| last.number);
        let entries = || commits.iter().flat_map(|commit| &commit.group.entries);
        let outcomes = match &mut self.state {
            // Carried out when the state was opened again.
            Some(state) if state.applied() >= number => None,
            Some(state) => match state.apply(number, entries().map(|entry| &entry.change)) {
                Ok(outcomes) => Some(outcomes),
                Err(error) => {
                    self.fail(&error);
                    None
                }
            },
            None => None,
        };
        self.due.changes += entries().count();
        match outcomes {
            Some(outcomes) => {
                self.note_outcomes(&outcomes);
                self.tell_outcomes(entries(), outcomes);
            }
            // They will be carried out from the log, or were; nobody can say with which outcome.
            None => self.tell_unavailable(entries()),
        }
        commits.iter().for_each(|_| self.report(Report::Applied));
    }

    /// Counts the dead letters that a group has added or dropped.
    fn note_outcomes(&mut self, outcomes: &[Outcome]) {
        let dones = outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Answer(KeptAnswer::DeadLetter(done)) => Some(done),
            _ => None,
        });
        let mut have_changed = false;
        for done in dones {
            have_changed = true;
            match done {
                DeadLetterDone::Added(Some(_)) => self.figures.dead_letters_added.add(1),
                DeadLetterDone::Added(None) => self.figures.dead_letters_lost.add(1),
                _ => {}
            }
        }
        if have_changed {
            self.note_dead_letters();
        }
    }

    fn note_dead_letters(&mut self) {
        if let Some(count) = self.try_read(State::dead_letters) {
            self.figures.dead_letters.set(count);
        }
    }

    fn tell_outcomes<'a>(&mut self, entries: impl Iterator<Item = &'a Entry>, outcomes: Vec<Outcome>) {
        for (Entry { change, ack }, outcome) in entries.zip(outcomes) {
            match (outcome, ack) {
                (Outcome::Answer(answer), Ack::Ask { from, token }) => self.answer(*from, *token, answer),
                (Outcome::Skipped(skipped), _) => self.note_skipped(change, skipped),
                _ => {}
            }
        }
    }

    fn tell_unavailable<'a>(&self, entries: impl Iterator<Item = &'a Entry>) {
        for Entry { ack, .. } in entries {
            if let Ack::Ask { from, token } = ack {
                self.answer(*from, *token, unavailable());
            }
        }
    }

    /// A record that does not fit what is kept was acknowledged all the same: it becomes a dead letter.
    fn note_skipped(&mut self, change: &Change, skipped: Skipped) {
        let Change::Append { room, epoch, record } = change else { return };
        let reason = match skipped {
            // Published while the room was being deleted.
            Skipped::Deleted | Skipped::Exists | Skipped::NotImported => return,
            Skipped::KeptAlready { .. } if self.is_kept(room, record) => return,
            Skipped::KeptAlready { .. } => format!("another message has the number {}", record.seq),
            Skipped::Gap { head } => format!("messages before {} are missing; the room ends at {head}", record.seq),
            Skipped::OtherEpoch { epoch } => format!("the room has the numbering {epoch}"),
        };
        self.figures.conflicts.add(1);
        tracing::error!(
            room = &**room,
            seq = record.seq,
            reason,
            "a message could not be stored; it is a dead letter now"
        );
        let letter = DeadLetter {
            id: 0,
            at: self.now.unix_ms,
            reason: reason.into(),
            room: room.clone(),
            epoch: *epoch,
            record: record.clone(),
        };
        self.report(Report::Change(Change::Ask(KeptAsk::DeadLetter(DeadLetterAsk::Add(letter)))));
    }

    /// Whether what is kept under a record's number is that record, given again after a failure. What has expired meanwhile
    /// counts as that.
    fn is_kept(&mut self, room: &RoomName, record: &Record) -> bool {
        let after = record.seq.saturating_sub(1);
        let held = self.try_read(|state| state.records(room, after, 1, usize::MAX)).unwrap_or_default();
        held.first().is_none_or(|held| held.seq != record.seq || held == record)
    }

    fn answer(&self, to: Asker, token: u64, answer: KeptAnswer) {
        self.report(match to {
            Asker::Core(core) => Report::Event(core, StoreEvent::Answered { token, answer }),
            Asker::Server => Report::Answer(token, answer),
        });
    }

    fn read(&mut self, read: Read) {
        self.perform(read);
        self.report(Report::Read);
    }

    fn perform(&mut self, read: Read) {
        match read {
            Read::Load { core, load, is_opened } => self.load(core, load, is_opened),
            Read::Page { core, request } => self.page(core, request),
            Read::Ask { from, token, ask } => {
                let answer = self.try_read(|state| state.ask(&ask));
                self.answer(from, token, answer.flatten().unwrap_or_else(unavailable));
            }
        }
    }

    fn load(&mut self, core: CoreId, load: Load, is_opened: bool) {
        let boot = self.boot;
        let must_open = match is_opened {
            true => Some(false),
            false => self.try_read(|state| state.needs_open(&load.room, boot)),
        };
        match must_open {
            Some(true) => return self.report(Report::NeedsOpen(core, load)),
            Some(false) => {}
            // The owner asks again.
            None => return,
        }
        let loaded = self.try_read(|state| state.load(&load.room, load.count, load.keys_since));
        if let Some(Loaded { stretch, first_seq, keys, created }) = loaded {
            let Load { attempt, room, .. } = load;
            self.report(Report::Event(core, StoreEvent::Loaded { attempt, room, stretch, first_seq, keys, created }));
        }
    }

    fn page(&mut self, core: CoreId, request: PageRequest) {
        let page = self.try_read(|state| state.page(&request));
        let PageRequest { token, room, .. } = request;
        let answer = PageAnswer { token, room, result: page.ok_or(STORE_RETRY_MS) };
        self.report(Report::Event(core, StoreEvent::Page(answer)));
    }

    /// Reads from the state. `None`: it cannot be read.
    fn try_read<V>(&mut self, read: impl FnOnce(&State<T>) -> Result<V, StateError>) -> Option<V> {
        match read(self.state.as_ref()?) {
            Ok(value) => Some(value),
            Err(error) => {
                self.fail(&error);
                None
            }
        }
    }

    /// The state cannot be used until it is opened again.
    fn fail(&mut self, error: &StateError) {
        self.state = None;
        self.due.reopen_ms = self.now.mono_ms() + STORE_RETRY_MS;
        self.note_fault(error.to_string());
    }

    fn note_fault(&mut self, fault: String) {
        if self.figures.set_index_fault(Some(fault.clone()))
            && let Some(held_back) = self.lines.failed(self.now.mono_ms())
        {
            let words = "the store's index fails; what is not in memory cannot be read";
            tracing::error!(error = fault, held_back, "{words}");
        }
    }

    /// Does what is due: opens the tables again, sweeps, persists.
    pub fn work_by_time(&mut self, now: Now) {
        self.now = now;
        if let Some(rules) = self.new_rules.try_iter().last() {
            self.rules = rules;
            if let Some(state) = &mut self.state {
                state.set_rules(self.rules.clone());
            }
        }
        if self.state.is_none() {
            if now.mono_ms() >= self.due.reopen_ms {
                self.open_again();
            }
            return;
        }
        if now.mono_ms() >= self.due.sweep_ms {
            self.due.sweep_ms = now.mono_ms() + SWEEP_MS;
            self.sweep(now.unix_ms);
        }
        if now.mono_ms() >= self.due.persist_ms {
            self.persist();
            self.due.persist_ms = now.mono_ms() + PERSIST_MS;
        }
    }

    fn sweep(&mut self, unix_ms: u64) {
        let budget = SWEEP_ROWS + 2 * std::mem::take(&mut self.due.changes);
        let Some(state) = &mut self.state else { return };
        match state.sweep(unix_ms, budget) {
            Ok(swept) => {
                self.figures.swept.add(swept.removed as u64);
                swept.forget.into_iter().for_each(|change| self.report(Report::Change(change)));
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Makes everything durable that is in the tables.
    pub fn persist(&mut self) {
        let Some(state) = &mut self.state else { return };
        let applied = state.applied();
        if applied == self.checkpoint.load(Ordering::Relaxed) {
            return;
        }
        match state.persist() {
            Ok(()) => {
                self.checkpoint.store(applied, Ordering::Relaxed);
                let sizes = state.sizes();
                self.figures.index_bytes.set(sizes.disk_bytes + sizes.memory_bytes);
            }
            Err(error) => self.fail(&error),
        }
    }

    fn open_again(&mut self) {
        match self.reopen.reopen(&self.rules) {
            Ok(state) => {
                self.state = Some(state);
                self.note_dead_letters();
                self.figures.set_index_fault(None);
                if self.lines.works() {
                    tracing::info!("the store's index works again");
                }
            }
            Err(error) => {
                self.note_fault(error.to_string());
                self.due.reopen_ms = self.now.mono_ms() + STORE_RETRY_MS;
            }
        }
    }
}

fn unavailable() -> KeptAnswer {
    KeptAnswer::Unavailable { retry_after_ms: STORE_RETRY_MS }
}

#[cfg(test)]
mod tests;
