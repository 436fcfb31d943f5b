//! The parts of a store from one start of its process to the end: what its threads do, one thing at a time. Decides nothing
//! about faults.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded, never, unbounded};
use roomring::base::ids::{CoreId, Epoch, RoomName};
use roomring::base::time::Now;
use roomring::engine::record::PageRequest;
use roomring::engine::store_port::{StoreEvent, StoreRequest};
use roomring::store::figures::StoreFigures;
use roomring::store::group::{Ack, Group, Load, Read};
use roomring::store::index_thread::{IndexParts, IndexThread};
use roomring::store::keeper::{Keeper, KeeperOutput, ToIndex};
use roomring::store::keeper_thread::hear;
use roomring::store::log::writer::Log;
use roomring::store::log_thread::LogThread;
use roomring::store::messages::{LogJob, Report};
use roomring::store::reopen::{Reopen, ReopenError, catch_up};
use roomring::store::state::{Rules, Setup, State};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::super::link::CoreAt;
use super::super::rng::Rng;
use super::disk::SimDisk;
use super::tables::{ModelTables, TablesDisk};
use super::truth::Truth;

/// A request of a core, not to be handled before its time.
#[derive(Debug)]
pub struct Ask {
    /// When.
    pub ready_us: u64,
    /// Who.
    pub from: CoreAt,
    /// What.
    pub request: StoreRequest,
}

/// Who may do something.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    /// The keeper, with a request of a core.
    Cores,
    /// The log.
    Log,
    /// The index.
    Index,
    /// What goes by time.
    Time,
}

/// What a read must see of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sees {
    epoch: Epoch,
    seq: u64,
}

/// A page that was asked for.
struct AskedPage {
    request: PageRequest,
    sees: Option<Sees>,
}

/// A store that runs.
pub struct Life {
    /// The real one.
    pub keeper: Keeper,
    /// What it wants.
    pub output: KeeperOutput,
    log: Arc<Mutex<LogThread<SimDisk>>>,
    index: IndexThread<ModelTables>,
    reports: UnboundedReceiver<Report>,
    send_index: Sender<ToIndex>,
    inbox: Receiver<ToIndex>,
    /// Reads under way of which the keeper does not know, for a canary.
    early: u32,
    /// From the cores, in order.
    pub requests: VecDeque<Ask>,
    job: Option<(u64, Arc<Group>)>,
    to_index: VecDeque<(u64, ToIndex)>,
    /// When time is looked at again.
    pub watch_us: u64,
    /// Cores by number, as they have asked.
    cores: BTreeMap<u16, CoreAt>,
    /// The last append that each room's owner has asked for.
    appended: BTreeMap<RoomName, Sees>,
    /// The attempt of a room's appends that has failed.
    failed: BTreeMap<RoomName, u64>,
    /// What the loads and pages that are under way must see.
    loads: BTreeMap<RoomName, VecDeque<Option<Sees>>>,
    pages: BTreeMap<(RoomName, u64), AskedPage>,
}

/// Opens the tables again, as `ReopenDisk` does.
struct ReopenModel {
    tables: TablesDisk,
    setup: Setup,
    log: Arc<Mutex<LogThread<SimDisk>>>,
    rng: Rng,
}

impl Reopen<ModelTables> for ReopenModel {
    fn reopen(&mut self, rules: &Rules) -> Result<State<ModelTables>, ReopenError> {
        let mut state = State::open(self.tables.open(self.rng.next())?, self.setup, rules.clone())?;
        let (lend, lent) = bounded(1);
        let mut log = self.log.lock().expect("nothing panics while it holds the log");
        log.carry_out(LogJob::Lend { after: state.applied(), to: lend });
        let mut groups = lent.recv().map_err(|_| ReopenError::Ended)??;
        catch_up(&mut state, &mut groups)?;
        Ok(state)
    }
}

impl Life {
    /// Begins, over what was opened.
    pub fn new(
        (log, state, boot): (Log<SimDisk>, State<ModelTables>, u64),
        setup: Setup,
        rules: Rules,
        (tables, rng): (TablesDisk, Rng),
    ) -> Self {
        let (send, reports) = unbounded_channel();
        let (send_index, inbox) = unbounded();
        let checkpoint: Arc<AtomicU64> = Arc::default();
        let figures: Arc<StoreFigures> = Arc::default();
        let keeper = Keeper::new(true, log.figures().newest);
        let log = Arc::new(Mutex::new(LogThread::new(log, send.clone(), checkpoint.clone(), figures.clone())));
        let reopen = Box::new(ReopenModel { tables, setup, log: log.clone(), rng });
        let index = IndexThread::new(IndexParts {
            state,
            reopen,
            boot,
            inbox: inbox.clone(),
            rules,
            new_rules: never(),
            reports: send,
            checkpoint,
            figures,
        });
        let output = KeeperOutput::default();
        Self {
            keeper,
            output,
            log,
            index,
            reports,
            send_index,
            inbox,
            early: 0,
            requests: VecDeque::new(),
            job: None,
            to_index: VecDeque::new(),
            watch_us: 0,
            cores: BTreeMap::new(),
            appended: BTreeMap::new(),
            failed: BTreeMap::new(),
            loads: BTreeMap::new(),
            pages: BTreeMap::new(),
        }
    }

    /// Ends in order.
    pub fn end(mut self) {
        self.index.persist();
        drop(self.index);
        let log = Arc::into_inner(self.log).and_then(|log| log.into_inner().ok());
        log.expect("only the index had it too").end();
    }

    /// The state, unless its tables fail.
    pub fn state(&self) -> Option<&State<ModelTables>> {
        self.index.state()
    }

    /// Whether the log has a group to append.
    pub fn appends(&self) -> bool {
        self.job.is_some()
    }

    /// Who has something to do by a time.
    pub fn ready(&self, until_us: u64) -> Vec<Part> {
        let is_ready = |due_us: Option<u64>| due_us.is_some_and(|due_us| due_us <= until_us);
        let requests = self.requests.front().filter(|_| self.keeper.takes_requests());
        let mut ready = Vec::new();
        ready.extend(is_ready(requests.map(|ask| ask.ready_us)).then_some(Part::Cores));
        ready.extend(is_ready(self.job.as_ref().map(|job| job.0)).then_some(Part::Log));
        ready.extend(is_ready(self.to_index.front().map(|to| to.0)).then_some(Part::Index));
        // Time alone is no reason to go on for ever.
        ready.extend((is_ready(Some(self.watch_us)) && until_us != u64::MAX).then_some(Part::Time));
        ready
    }

    /// When there is something to do.
    pub fn due_us(&self) -> u64 {
        let requests = self.requests.front().filter(|_| self.keeper.takes_requests());
        let due = [
            requests.map(|ask| ask.ready_us),
            self.job.as_ref().map(|job| job.0),
            self.to_index.front().map(|to| to.0),
        ];
        due.into_iter().flatten().min().unwrap_or(u64::MAX).min(self.watch_us)
    }

    /// The keeper takes a request.
    pub fn take(&mut self, now: Now, from: CoreAt, request: StoreRequest) {
        self.note(from, &request);
        self.keeper.handle_requests(now, CoreId(from.core as u16), vec![request], &mut self.output);
    }

    /// Notes what the answer to a read must show.
    fn note(&mut self, from: CoreAt, request: &StoreRequest) {
        self.cores.insert(from.core as u16, from);
        match request {
            StoreRequest::Append { attempt, room, epoch, record } => {
                // Those of an attempt that has failed are dropped.
                if self.failed.get(room).is_none_or(|failed| failed < attempt) {
                    self.appended.insert(room.clone(), Sees { epoch: *epoch, seq: record.seq });
                }
            }
            StoreRequest::Load { room, .. } => {
                self.failed.remove(room);
                let sees = self.appended.get(room).copied();
                self.loads.entry(room.clone()).or_default().push_back(sees);
            }
            StoreRequest::Page(request) => {
                let sees = self.appended.get(&request.room).copied();
                let asked = AskedPage { request: request.clone(), sees };
                self.pages.entry((request.room.clone(), request.token)).or_insert(asked);
            }
            StoreRequest::Ask { .. } => {}
        }
    }

    /// For a canary: as [`Life::take`], but a read does not wait for what was asked before it. Whether that matters.
    pub fn read_early(&mut self, now: Now, now_us: u64, from: CoreAt, request: StoreRequest, truth: &Truth) -> bool {
        let core = CoreId(from.core as u16);
        let (room, read) = match &request {
            StoreRequest::Page(request) => (&request.room, Read::Page { core, request: request.clone() }),
            StoreRequest::Load { attempt, room, count, keys_since, epoch } => {
                let (attempt, count, keys_since, epoch) = (*attempt, *count, *keys_since, *epoch);
                let load = Load { attempt, room: room.clone(), count, keys_since, epoch };
                (room, Read::Load { core, load, is_opened: false })
            }
            _ => {
                self.take(now, from, request);
                return false;
            }
        };
        let kept = truth.head(room).map_or(0, |(_, head)| head);
        let matters = self.appended.get(room).is_some_and(|sees| self.is_undecided(room, *sees, kept));
        self.note(from, &request);
        // Before all that waits for the index; the keeper knows nothing of it.
        self.early += 1;
        self.to_index.push_front((now_us, ToIndex::Read(read)));
        matters
    }

    /// The log appends the group that it was given. The group, the tokens of its entries, and whether it is kept.
    pub fn append(&mut self) -> Option<(Bytes, Vec<Option<u64>>, bool)> {
        let (_, group) = self.job.take()?;
        let mut payload = Vec::new();
        group.encode(&mut payload);
        let tokens = group.entries.iter().map(|entry| match entry.ack {
            Ack::Ask { token, .. } => Some(token),
            _ => None,
        });
        let tokens = tokens.collect();
        self.log.lock().expect("nothing panics while it holds the log").carry_out(LogJob::Append(group));
        let report = self.reports.try_recv();
        let Ok(Report::Logged { is_kept }) = report else { panic!("the log reports each group, not {report:?}") };
        Some((payload.into(), tokens, is_kept))
    }

    /// The keeper hears of the group that was appended, or was not.
    pub fn logged(&mut self, now: Now, is_kept: bool) {
        hear(now, Report::Logged { is_kept }, &mut self.keeper, &mut self.output);
    }

    /// The index does the next thing, and perhaps more with it.
    ///
    /// Up to `more` things that wait behind it are in the inbox by then.
    pub fn index(&mut self, now: Now, more: usize) {
        let count = self.to_index.len().min(1 + more);
        for (_, to) in self.to_index.drain(..count) {
            self.send_index.send(to).expect("both ends are here");
        }
        while let Ok(to) = self.inbox.try_recv() {
            self.index.carry_out(now, to);
        }
    }

    /// Time has passed.
    pub fn pass_time(&mut self, now: Now, persists: bool) {
        self.keeper.tick(now, &mut self.output);
        self.index.work_by_time(now);
        if persists {
            self.index.persist();
        }
    }

    /// The keeper hears of what the index has done.
    pub fn take_reports(&mut self, now: Now) {
        while let Ok(report) = self.reports.try_recv() {
            if self.early > 0 && matches!(report, Report::Read) {
                self.early -= 1;
                continue;
            }
            hear(now, report, &mut self.keeper, &mut self.output);
        }
    }

    /// Gives out what the keeper wants: to the log and to the index after a time. Returns what the cores are told.
    pub fn hand_out(&mut self, now_us: u64, (log_us, index_us): (u64, u64)) -> Vec<(CoreAt, StoreEvent)> {
        if let Some(group) = self.output.log.take() {
            self.job = Some((now_us + log_us, group));
        }
        for to in self.output.index.drain(..) {
            let after_us = self.to_index.back().map_or(0, |last| last.0);
            self.to_index.push_back((after_us.max(now_us + index_us), to));
        }
        let cores = &self.cores;
        let known = |(core, event): (CoreId, StoreEvent)| (cores[&core.0], event);
        self.output.events.drain(..).map(known).collect()
    }

    /// What is wrong with an answer: it must show what was asked to be kept before, as far as that is kept and, at `unix_ms`, not
    /// too old.
    pub fn check(&mut self, event: &StoreEvent, truth: &Truth, unix_ms: u64, rules: &Rules) -> Option<String> {
        match event {
            StoreEvent::Loaded { room, stretch, .. } => {
                let asked = self.loads.get_mut(room)?;
                let sees = asked.pop_front().flatten()?;
                let (epoch, kept) = truth.head(room)?;
                let must = sees.seq.min(kept);
                let head = stretch.head?;
                if self.is_undecided(room, sees, kept) {
                    return Some(format!("a load of {room} is answered before the append of {} before it", sees.seq));
                }
                let lacks = sees.epoch.0 == epoch && head.epoch == sees.epoch && head.seq < must;
                lacks.then(|| format!("a load of {room} shows {head:?}, and {must} was kept before it was asked for"))
            }
            StoreEvent::Page(answer) => {
                let AskedPage { request, sees } = self.pages.remove(&(answer.room.clone(), answer.token))?;
                let (page, sees) = (answer.result.as_ref().ok()?, sees?);
                let (epoch, kept) = truth.head(&answer.room)?;
                if self.is_undecided(&answer.room, sees, kept) {
                    let room = &answer.room;
                    return Some(format!("a page of {room} is answered before the append of {} before it", sees.seq));
                }
                let must = sees.seq.min(kept).min(request.before.saturating_sub(1));
                let applies = request.after.is_none() && sees.epoch.0 == epoch && request.epoch == sees.epoch;
                let record = truth.record(&answer.room, must).filter(|_| applies && request.count > 0)?;
                let ttl_ms = (rules.retention)(&answer.room).ttl_ms;
                let is_fresh = record.at > request.expired_at && record.at.saturating_add(ttl_ms) > unix_ms;
                let shown = page.records.last().map_or(0, |last| last.seq);
                let lacks = is_fresh && shown < must;
                lacks.then(|| {
                    format!("a page of {} ends at {shown}, and {must} was kept before it was asked for", answer.room)
                })
            }
            StoreEvent::Answered { token, answer } => {
                let agrees = truth.agrees(*token, answer);
                (!agrees).then(|| format!("the answer to {token} is {answer:?}, which is not what came of it"))
            }
            StoreEvent::Failed { attempt, room, .. } => {
                self.failed.insert(room.clone(), *attempt);
                self.appended.remove(room);
                None
            }
            StoreEvent::Committed { .. } => None,
        }
    }

    /// Whether an append is neither kept nor has failed.
    fn is_undecided(&self, room: &RoomName, sees: Sees, kept: u64) -> bool {
        let waits = self.appended.get(room).is_some_and(|last| last.epoch == sees.epoch && last.seq >= sees.seq);
        waits && sees.seq > kept
    }
}
