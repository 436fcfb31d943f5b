//! The keeper: takes the requests of all cores, makes groups of their changes for the log, and lets reads through when
//! everything that was asked before them is in the state. Sans-IO: time comes in as an argument, and what is to be done comes
//! out as [`KeeperOutput`]; `embedded` and the simulation carry it out. Never reads the state.
//!
//! # Commits
//!
//! One group is in the log at a time; what comes meanwhile forms the next. Where there is no log, a group is committed as
//! soon as it is made. A committed group goes to the index, in order, and its appends are acknowledged at once.
//!
//! # Failures
//!
//! When the log fails to append a group, the group and everything that waits behind it did not happen: publishers are
//! refused, and a breaker keeps further changes out. After a second one group passes as a trial; without any change to
//! keep, an empty one. Appends that an owner sent before it heard of the failure are dropped, since they would leave a hole:
//! the owner loads the room before it appends to it again, or counts up the attempt. Reads go on.
//!
//! # Bounds
//!
//! Changes that wait here are bounded by [`KEEPER_QUEUE_BYTES_MAX`]: over it [`Keeper::takes_requests`] says no, the lanes
//! fill, and owners refuse. So are reads ([`READS_WAITING_MAX`]), of which the index is given a few at a time. Groups that the index has not carried out are bounded by [`UNAPPLIED_BYTES_MAX`]: over it changes
//! are refused as if the log had failed, without a word to the breaker.

mod output;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

pub use self::output::{Commit, KeeperOutput, ToIndex};
use super::change::Change;
use super::group::{Ack, Asker, Entry, Group, Load, Read};
use crate::base::breaker::{Breaker, BreakerState};
use crate::base::ids::{CoreId, Epoch, RoomName, Seq};
use crate::base::limits::{
    GROUP_BYTES_MAX, GROUP_ENTRIES_MAX, KEEPER_QUEUE_BYTES_MAX, READS_AT_ONCE_MAX, READS_WAITING_MAX, STORE_RETRY_MS,
    UNAPPLIED_BYTES_MAX,
};
use crate::base::time::Now;
use crate::engine::kept::{KeptAnswer, KeptAsk};
use crate::engine::store_port::{StoreEvent, StoreRequest};

/// See the module's description.
#[derive(Debug)]
pub struct Keeper {
    /// Groups are appended to a log before they are committed.
    has_log: bool,
    /// Entries that are in no group yet, each with its number.
    queue: VecDeque<(u64, Entry)>,
    queue_bytes: usize,
    /// The number of the next entry.
    next_number: u64,
    /// The group in the log, and the number of its last entry.
    in_log: Option<(Arc<Group>, u64)>,
    /// The last group that was committed.
    last_commit: u64,
    /// Reads, each with the number of the last entry that it must see.
    reads: VecDeque<(u64, Read)>,
    /// Reads that the index has been given and has not done.
    reading: usize,
    /// Rooms whose appends have failed, with the attempt: see the module's description.
    failed: HashMap<RoomName, u64>,
    breaker: Breaker,
    /// Bytes of each group that the index has not carried out, in order.
    unapplied: VecDeque<usize>,
    unapplied_bytes: usize,
    /// Something that a core has numbered may be lost.
    is_unclean: bool,
}

impl Keeper {
    /// Nothing waits. `last_commit`: what the log held when it was opened, and the state has carried out.
    #[must_use]
    pub fn new(has_log: bool, last_commit: u64) -> Self {
        Self {
            has_log,
            queue: VecDeque::new(),
            queue_bytes: 0,
            next_number: 1,
            in_log: None,
            last_commit,
            reads: VecDeque::new(),
            reading: 0,
            failed: HashMap::default(),
            breaker: Breaker::new(1, STORE_RETRY_MS),
            unapplied: VecDeque::new(),
            unapplied_bytes: 0,
            is_unclean: false,
        }
    }

    /// Whether more requests should be taken from the lanes.
    #[must_use]
    pub fn takes_requests(&self) -> bool {
        self.queue_bytes < KEEPER_QUEUE_BYTES_MAX && self.reads.len() < READS_WAITING_MAX
    }

    /// Handles the requests of a core, in order.
    pub fn handle_requests(&mut self, now: Now, core: CoreId, requests: Vec<StoreRequest>, output: &mut KeeperOutput) {
        for request in requests {
            match request {
                StoreRequest::Load { attempt, room, count, keys_since, epoch } => {
                    // The owner has heard of a failure before it asks where the room stands.
                    self.failed.remove(&room);
                    let load = Load { attempt, room, count, keys_since, epoch };
                    self.read(Read::Load { core, load, is_opened: false });
                }
                StoreRequest::Page(request) => self.read(Read::Page { core, request }),
                StoreRequest::Append { attempt, room, epoch, record } => {
                    if self.failed.get(&room).is_some_and(|failed| attempt <= *failed) {
                        continue;
                    }
                    let entry =
                        Entry { change: Change::Append { room, epoch, record }, ack: Ack::Append { core, attempt } };
                    self.change(now, entry, output);
                }
                StoreRequest::Ask { token, ask } => self.ask(now, Asker::Core(core), token, ask, output),
            }
        }
        self.go_on(output);
    }

    /// Handles what another part of the server asks.
    pub fn handle_ask(&mut self, now: Now, token: u64, ask: KeptAsk, output: &mut KeeperOutput) {
        self.ask(now, Asker::Server, token, ask, output);
        self.go_on(output);
    }

    fn ask(&mut self, now: Now, from: Asker, token: u64, ask: KeptAsk, output: &mut KeeperOutput) {
        if ask.is_read() {
            return self.read(Read::Ask { from, token, ask });
        }
        let ack = if ask.is_answered() { Ack::Ask { from, token } } else { Ack::Nobody };
        self.change(now, Entry { change: Change::Ask(ask), ack }, output);
    }

    /// Keeps a change that nobody waits for.
    pub fn handle_change(&mut self, now: Now, change: Change, output: &mut KeeperOutput) {
        self.change(now, Entry { change, ack: Ack::Nobody }, output);
        self.go_on(output);
    }

    /// The state says that a room must be opened in the log before it is loaded.
    pub fn handle_needs_open(&mut self, now: Now, core: CoreId, load: Load, output: &mut KeeperOutput) {
        let change = Change::Open { room: load.room.clone(), epoch: load.epoch, at: now.unix_ms };
        self.change(now, Entry { change, ack: Ack::Open { core, load } }, output);
        self.go_on(output);
    }

    fn read(&mut self, read: Read) {
        self.reads.push_back((self.next_number - 1, read));
    }

    /// Queues a change, or refuses it while the log fails or the index is too far behind.
    fn change(&mut self, now: Now, entry: Entry, output: &mut KeeperOutput) {
        let is_down = match self.breaker.state() {
            BreakerState::Closed => false,
            // What comes behind the trial waits for its end.
            BreakerState::HalfOpen if self.in_log.is_some() || !self.queue.is_empty() => false,
            BreakerState::HalfOpen | BreakerState::Open => self.breaker.try_pass(now.mono_ms()).is_err(),
        };
        if is_down || self.unapplied_bytes >= UNAPPLIED_BYTES_MAX {
            return self.fail([entry], output);
        }
        self.enqueue(entry);
    }

    fn enqueue(&mut self, entry: Entry) {
        self.queue_bytes += bytes_of(&entry.change);
        self.queue.push_back((self.next_number, entry));
        self.next_number += 1;
    }

    /// The log has appended the group, or failed to.
    pub fn handle_logged(&mut self, now: Now, is_kept: bool, output: &mut KeeperOutput) {
        let Some((group, _)) = self.in_log.take() else {
            debug_assert!(false, "the log answers for the group that it was given");
            return;
        };
        if is_kept {
            self.breaker.succeeded();
            self.commit(group, output);
        } else {
            self.breaker.failed(now.mono_ms());
            let group = Arc::unwrap_or_clone(group).entries;
            let behind = std::mem::take(&mut self.queue);
            self.queue_bytes = 0;
            self.fail(group.into_iter().chain(behind.into_iter().map(|(_, entry)| entry)), output);
        }
        self.go_on(output);
    }

    /// The index has carried out the oldest group that it had not.
    pub fn handle_applied(&mut self, output: &mut KeeperOutput) {
        self.unapplied_bytes -= self.unapplied.pop_front().unwrap_or_default();
        self.go_on(output);
    }

    /// The index has done a read.
    pub fn handle_read(&mut self, output: &mut KeeperOutput) {
        self.reading -= 1;
        self.go_on(output);
    }

    /// Time has passed: lets a trial through, if it is time.
    pub fn tick(&mut self, now: Now, output: &mut KeeperOutput) {
        if self.breaker.state() != BreakerState::Closed
            && self.in_log.is_none()
            && self.queue.is_empty()
            && self.breaker.try_pass(now.mono_ms()).is_ok()
        {
            self.give_to_log(Group::default(), self.next_number - 1, output);
        }
        self.go_on(output);
    }

    /// Something was lost on its way here.
    pub fn note_loss(&mut self) {
        self.is_unclean = true;
    }

    /// Every core has ended, and all their requests have been handled: says in the log that this process ends, unless
    /// something that it has numbered is not kept. Afterwards [`Keeper::is_idle`] tells when everything is done.
    pub fn end(&mut self, output: &mut KeeperOutput) {
        if !self.is_unclean && self.failed.is_empty() && self.breaker.state() == BreakerState::Closed {
            self.enqueue(Entry { change: Change::End, ack: Ack::Nobody });
        }
        self.go_on(output);
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.in_log.is_none()
            && self.queue.is_empty()
            && self.reads.is_empty()
            && self.reading == 0
            && self.unapplied.is_empty()
    }

    /// Whether changes are kept now.
    #[must_use]
    pub fn breaker(&self) -> BreakerState {
        self.breaker.state()
    }

    /// Bytes that wait for the log.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queue_bytes + self.in_log.as_ref().map_or(0, |(group, _)| group.bytes)
    }

    /// Bytes that are committed, and that the index has not carried out.
    #[must_use]
    pub fn unapplied_bytes(&self) -> usize {
        self.unapplied_bytes
    }

    /// Makes the next group, if the log is free, and lets reads through that need not wait any longer.
    fn go_on(&mut self, output: &mut KeeperOutput) {
        while self.in_log.is_none() && !self.queue.is_empty() {
            let (group, last) = self.next_group();
            match self.has_log {
                true => self.give_to_log(group, last, output),
                false => self.commit(Arc::new(group), output),
            }
        }
        let first_pending = match &self.in_log {
            // A trial may be empty; then nothing is pending in it.
            Some((group, last)) if !group.entries.is_empty() => last + 1 - group.entries.len() as u64,
            _ => self.queue.front().map_or(self.next_number, |(number, _)| *number),
        };
        while self.reading < READS_AT_ONCE_MAX && self.reads.front().is_some_and(|(sees, _)| *sees < first_pending) {
            self.reading += 1;
            output.index.extend(self.reads.pop_front().map(|(_, read)| ToIndex::Read(read)));
        }
    }

    fn next_group(&mut self) -> (Group, u64) {
        let mut group = Group::default();
        let mut last = 0;
        while let Some((_, entry)) = self.queue.front() {
            let bytes = bytes_of(&entry.change);
            let is_full = group.entries.len() >= GROUP_ENTRIES_MAX || group.bytes + bytes > GROUP_BYTES_MAX;
            if is_full && !group.entries.is_empty() {
                break;
            }
            let Some((number, entry)) = self.queue.pop_front() else { break };
            last = number;
            group.bytes += bytes;
            group.entries.push(entry);
        }
        self.queue_bytes -= group.bytes;
        (group, last)
    }

    fn give_to_log(&mut self, group: Group, last: u64, output: &mut KeeperOutput) {
        let group = Arc::new(group);
        self.in_log = Some((group.clone(), last));
        debug_assert!(output.log.is_none(), "one group is in the log at a time");
        output.log = Some(group);
    }

    /// Acknowledges a group's appends, and passes it on to the index with what waits for it.
    fn commit(&mut self, group: Arc<Group>, output: &mut KeeperOutput) {
        self.last_commit += 1;
        self.unapplied.push_back(group.bytes);
        self.unapplied_bytes += group.bytes;
        // The last append of each room says that all before it are kept.
        let mut told: HashSet<&RoomName> = HashSet::default();
        let mut events = Vec::new();
        for Entry { change, ack } in group.entries.iter().rev() {
            let (Change::Append { room, epoch, record }, Ack::Append { core, attempt }) = (change, ack) else {
                continue;
            };
            if told.insert(room) {
                let (attempt, room, epoch, seq) = (*attempt, room.clone(), *epoch, record.seq);
                events.push((*core, StoreEvent::Committed { attempt, room, epoch, seq }));
            }
        }
        output.events.extend(events.into_iter().rev());
        output.index.push(ToIndex::Apply(Commit { number: self.last_commit, group: group.clone() }));
        for Entry { ack, .. } in &group.entries {
            if let Ack::Open { core, load } = ack {
                self.reading += 1;
                output.index.push(ToIndex::Read(Read::Load { core: *core, load: load.clone(), is_opened: true }));
            }
        }
    }

    /// These changes did not happen.
    fn fail(&mut self, entries: impl IntoIterator<Item = Entry>, output: &mut KeeperOutput) {
        let retry_after_ms = STORE_RETRY_MS;
        for Entry { change, ack } in entries {
            match (change, ack) {
                (Change::Append { room, epoch, record }, Ack::Append { core, attempt }) => {
                    // The first one that failed stands for all that follow.
                    if self.failed.get(&room).is_none_or(|failed| *failed < attempt) {
                        self.failed.insert(room.clone(), attempt);
                        let seq = record.seq;
                        output.events.push((core, failed(attempt, room, epoch, seq)));
                    }
                }
                (_, Ack::Ask { from, token }) => output.answer(from, token, KeptAnswer::Unavailable { retry_after_ms }),
                // The owner asks again.
                (_, Ack::Open { .. } | Ack::Append { .. } | Ack::Nobody) => {}
            }
        }
    }
}

fn failed(attempt: u64, room: RoomName, epoch: Epoch, seq: Seq) -> StoreEvent {
    StoreEvent::Failed { attempt, room, epoch, seq, retry_after_ms: STORE_RETRY_MS }
}

/// Memory that a change takes.
fn bytes_of(change: &Change) -> usize {
    size_of::<Entry>()
        + match change {
            Change::Append { record, .. } => record.data.len() + record.key.as_deref().map_or(0, str::len),
            _ => 256,
        }
}
