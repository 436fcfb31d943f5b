//! The threads of a store: opened, connected to the cores, started, ended. Decides nothing that they do.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};
use tokio::sync::mpsc;

use super::change::Change;
use super::figures::StoreFigures;
use super::index_thread::{IndexParts, IndexThread};
use super::keeper::{Keeper, ToIndex};
use super::keeper_thread::{self, Inlets, Outlets, ServerAsk, StoreHandle, StoreLanes};
use super::log::lock::DirectoryLock;
use super::log::real::RealDisk;
use super::log::writer::Log;
use super::log_thread::LogThread;
use super::messages::{LogJob, Report};
use super::open::{INDEX, OpenedStore, StoreError};
use super::reopen::{Reopen, ReopenDisk, ReopenNothing, begin};
use super::state::{Rules, Setup, State};
use super::tables::disk::DiskTables;
use super::tables::memory::MemoryTables;
use super::tables::rows::Tables;
use crate::engine::store_port::{StoreEvent, StoreRequest};
use crate::io::clock;
use crate::io::service_lane::{CoreEnd, service_lanes};
use crate::io::wake::Wake;

/// The parts that only an embedded store has.
struct OnDisk {
    log: Log<RealDisk>,
    jobs: Receiver<LogJob>,
    send_jobs: Sender<LogJob>,
    lock: DirectoryLock,
}

/// A state, in memory or on disk.
enum AnyState {
    Memory(State<MemoryTables>),
    Disk(State<DiskTables>, ReopenDisk),
}

/// An open store whose threads have not started.
pub struct PreparedStore {
    state: AnyState,
    disk: Option<OnDisk>,
    boot: u64,
    last_commit: u64,
    rules: Rules,
    figures: Arc<StoreFigures>,
    handle: StoreHandle,
    asks: mpsc::Receiver<ServerAsk>,
    lanes: Option<StoreLanes>,
}

impl PreparedStore {
    /// Opens the store in a directory, which is made if there is none. `is_behind`: publications are acknowledged before
    /// they are kept.
    ///
    /// # Errors
    /// The directory cannot be used, or what is in it is damaged.
    pub fn open(path: &Path, is_behind: bool, rules: Rules) -> Result<Self, StoreError> {
        let OpenedStore { mut log, mut state, setup, lock, .. } = OpenedStore::open(path, &rules)?;
        let boot = begin(&mut log, &mut state, is_behind)?;
        let newest = log.figures().newest;
        let (send_jobs, jobs) = unbounded();
        let reopen = ReopenDisk { path: path.join(INDEX), setup, log: send_jobs.clone() };
        let disk = OnDisk { log, jobs, send_jobs, lock };
        Ok(Self::of(AnyState::Disk(state, reopen), Some(disk), (boot, newest), rules))
    }

    /// A store that ends with the process and keeps no publications.
    ///
    /// # Errors
    /// Never, as it stands; the state says so of any tables.
    pub fn in_memory(rules: Rules) -> Result<Self, StoreError> {
        let setup = Setup::without_records(clock::now().unix_ms);
        let mut state = State::open(MemoryTables::default(), setup, rules.clone())?;
        state.apply(1, [&Change::Begin { boot: 1, is_behind: false }])?;
        Ok(Self::of(AnyState::Memory(state), None, (1, 1), rules))
    }

    fn of(state: AnyState, disk: Option<OnDisk>, (boot, last_commit): (u64, u64), rules: Rules) -> Self {
        let (handle, asks) = StoreHandle::new();
        let figures = Arc::default();
        Self { state, disk, boot, last_commit, rules, figures, handle, asks, lanes: None }
    }

    /// What an operator sees.
    #[must_use]
    pub fn figures(&self) -> Arc<StoreFigures> {
        self.figures.clone()
    }

    /// For other parts of the server.
    #[must_use]
    pub fn handle(&self) -> StoreHandle {
        self.handle.clone()
    }

    /// The ends of the cores with these wake-ups.
    pub fn connect(&mut self, wakes: &[Arc<Wake>]) -> Vec<CoreEnd<StoreRequest, StoreEvent>> {
        let (lanes, cores) = service_lanes(wakes);
        self.lanes = Some(lanes);
        cores
    }

    /// Starts the threads.
    ///
    /// # Panics
    /// If no core was connected, or the system has no thread left.
    #[must_use]
    pub fn start(self) -> RunningStore {
        let (send_reports, reports) = mpsc::unbounded_channel();
        let (send_index, inbox) = unbounded();
        let (send_rules, new_rules) = unbounded();
        let checkpoint: Arc<AtomicU64> = Arc::default();
        let lanes = self.lanes.expect("the cores are connected first");
        let keeper = Keeper::new(self.disk.is_some(), self.last_commit);
        let mut threads = Vec::new();
        let (mut to_log, mut lock) = (None, None);
        if let Some(OnDisk { log, jobs, send_jobs, lock: held }) = self.disk {
            (to_log, lock) = (Some(send_jobs), Some(held));
            let (reports, checkpoint, figures) = (send_reports.clone(), checkpoint.clone(), self.figures.clone());
            let log = LogThread::new(log, reports, checkpoint, figures);
            threads.push(spawn("store-log", move || log.run(&jobs)));
        }
        let index = IndexSeat {
            boot: self.boot,
            inbox,
            rules: self.rules,
            new_rules,
            reports: send_reports,
            checkpoint,
            figures: self.figures.clone(),
        };
        threads.push(match self.state {
            AnyState::Memory(state) => index.spawn(state, Box::new(ReopenNothing)),
            AnyState::Disk(state, reopen) => index.spawn(state, Box::new(reopen)),
        });
        let inlets = Inlets { reports, asks: self.asks };
        let outlets = Outlets { log: to_log, index: send_index };
        let figures = self.figures;
        threads.push(spawn("store", move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let runtime = runtime.expect("a runtime without sockets needs nothing of the system");
            runtime.block_on(keeper_thread::run(keeper, lanes, inlets, outlets, figures));
        }));
        RunningStore { threads, rules: send_rules, _lock: lock }
    }
}

/// What the thread of an index needs beside its state.
struct IndexSeat {
    boot: u64,
    inbox: Receiver<ToIndex>,
    rules: Rules,
    new_rules: Receiver<Rules>,
    reports: mpsc::UnboundedSender<Report>,
    checkpoint: Arc<AtomicU64>,
    figures: Arc<StoreFigures>,
}

impl IndexSeat {
    fn spawn<T: Tables + Send + 'static>(self, state: State<T>, reopen: Box<dyn Reopen<T>>) -> JoinHandle<()> {
        let IndexSeat { boot, inbox, rules, new_rules, reports, checkpoint, figures } = self;
        let parts = IndexParts { state, reopen, boot, inbox, rules, new_rules, reports, checkpoint, figures };
        // Here, so that its figures are there once the server is ready.
        let index = IndexThread::new(parts);
        spawn("store-index", move || index.run())
    }
}

/// The threads of an open store.
pub struct RunningStore {
    threads: Vec<JoinHandle<()>>,
    rules: Sender<Rules>,
    /// Held until everything is written.
    _lock: Option<DirectoryLock>,
}

impl RunningStore {
    /// Keeps things by other rules from now on.
    pub fn set_rules(&self, rules: Rules) {
        // The thread ends with the store only.
        let _ = self.rules.send(rules);
    }

    /// Waits until the cores have ended and everything that they have asked is kept.
    pub async fn finish(self) {
        let Self { threads, rules, _lock } = self;
        drop(rules);
        let joined = tokio::task::spawn_blocking(move || threads.into_iter().all(|thread| thread.join().is_ok()));
        if !joined.await.unwrap_or(false) {
            tracing::error!("a thread of the store has panicked");
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    thread::Builder::new().name(name.to_owned()).spawn(work).expect("the system has a thread left at the start")
}
