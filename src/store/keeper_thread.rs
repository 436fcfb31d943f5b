//! The thread of the keeper: takes the requests of the cores and the results of the other threads as they come, and hands out
//! what the keeper wants. Decides nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use super::figures::StoreFigures;
use super::keeper::{Keeper, KeeperOutput, ToIndex};
use super::messages::{LogJob, Report};
use crate::base::ids::CoreId;
use crate::base::limits::{SERVER_ASKS_MAX, STORE_RETRY_MS};
use crate::base::time::Now;
use crate::engine::kept::{KeptAnswer, KeptAsk};
use crate::engine::store_port::{StoreEvent, StoreRequest};
use crate::io::clock;
use crate::io::service_lane::{CoreRequests, ServiceEnd};

/// How often the keeper is asked whether it is time for a trial.
const TICK: Duration = Duration::from_millis(STORE_RETRY_MS / 4);

/// Batches that are taken before what they lead to is handed out.
const BATCHES_AT_ONCE: usize = 64;

/// The lanes to the cores.
pub type StoreLanes = ServiceEnd<StoreRequest, StoreEvent>;

/// Something that a part of the server beside the cores asks.
#[derive(Debug)]
pub struct ServerAsk {
    ask: KeptAsk,
    answer: oneshot::Sender<KeptAnswer>,
}

/// Asks the store, from any thread.
#[derive(Clone, Debug)]
pub struct StoreHandle(mpsc::Sender<ServerAsk>);

impl StoreHandle {
    /// A handle, and where its asks come out.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<ServerAsk>) {
        let (sender, receiver) = mpsc::channel(SERVER_ASKS_MAX);
        (Self(sender), receiver)
    }

    /// Asks the store, and waits for its answer: `Unavailable` if it has ended, or too much waits already.
    pub async fn ask(&self, ask: KeptAsk) -> KeptAnswer {
        let unavailable = KeptAnswer::Unavailable { retry_after_ms: STORE_RETRY_MS };
        let (answer, answered) = oneshot::channel();
        if self.0.try_send(ServerAsk { ask, answer }).is_err() {
            return unavailable;
        }
        answered.await.unwrap_or(unavailable)
    }
}

/// Where the keeper's output goes.
#[derive(Debug)]
pub struct Outlets {
    /// To the log; `None`: there is none.
    pub log: Option<Sender<LogJob>>,
    /// To the index.
    pub index: Sender<ToIndex>,
}

/// What comes in beside the lanes.
#[derive(Debug)]
pub struct Inlets {
    /// From the other threads.
    pub reports: mpsc::UnboundedReceiver<Report>,
    /// From the server.
    pub asks: mpsc::Receiver<ServerAsk>,
}

/// Runs until every core has ended and everything that they have asked is done.
pub async fn run(
    mut keeper: Keeper,
    mut lanes: StoreLanes,
    mut inlets: Inlets,
    outlets: Outlets,
    figures: Arc<StoreFigures>,
) {
    let mut desk = Desk { outlets, figures, answers: HashMap::new(), next_token: 0, by_core: Vec::new() };
    let mut output = KeeperOutput::default();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut have_cores_ended = false;
    while !(have_cores_ended && keeper.is_idle()) {
        tokio::select! {
            biased;
            Some(report) = inlets.reports.recv() => {
                hear(clock::now(), report, &mut keeper, &mut output);
                let more = std::iter::from_fn(|| inlets.reports.try_recv().ok());
                more.take(BATCHES_AT_ONCE).for_each(|report| hear(clock::now(), report, &mut keeper, &mut output));
            }
            requests = lanes.recv(), if keeper.takes_requests() && !have_cores_ended => match requests {
                Some(requests) => {
                    desk.requests(&mut keeper, requests, &mut output);
                    for _ in 0..BATCHES_AT_ONCE {
                        let Some(requests) = lanes.try_recv().filter(|_| keeper.takes_requests()) else { break };
                        desk.requests(&mut keeper, requests, &mut output);
                    }
                }
                None => {
                    have_cores_ended = true;
                    if lanes.has_lost_requests() {
                        keeper.note_loss();
                    }
                    keeper.end(&mut output);
                }
            },
            Some(ServerAsk { ask, answer }) = inlets.asks.recv() => {
                let token = desk.expect_answer(answer);
                keeper.handle_ask(clock::now(), token, ask, &mut output);
            }
            _ = tick.tick() => keeper.tick(clock::now(), &mut output),
        }
        desk.hand_out(&mut output, &mut lanes);
        desk.note(&keeper);
    }
}

/// Tells the keeper what another thread reports, or lets it out.
pub fn hear(now: Now, report: Report, keeper: &mut Keeper, output: &mut KeeperOutput) {
    match report {
        Report::Logged { is_kept } => keeper.handle_logged(now, is_kept, output),
        Report::Applied => keeper.handle_applied(output),
        Report::Read => keeper.handle_read(output),
        Report::NeedsOpen(core, load) => keeper.handle_needs_open(now, core, load, output),
        Report::Change(change) => keeper.handle_change(now, change, output),
        Report::Event(core, event) => output.events.push((core, event)),
        Report::Answer(token, answer) => output.answers.push((token, answer)),
    }
}

/// Knows who waits for what.
struct Desk {
    outlets: Outlets,
    figures: Arc<StoreFigures>,
    answers: HashMap<u64, oneshot::Sender<KeptAnswer>>,
    next_token: u64,
    /// Events by core, so that each core gets one batch. Kept to reuse its memory.
    by_core: Vec<Vec<StoreEvent>>,
}

impl Desk {
    fn requests(&self, keeper: &mut Keeper, batch: CoreRequests<StoreRequest>, output: &mut KeeperOutput) {
        keeper.handle_requests(clock::now(), batch.core, batch.requests, output);
    }

    fn expect_answer(&mut self, answer: oneshot::Sender<KeptAnswer>) -> u64 {
        // Whoever no longer waits needs no place.
        self.answers.retain(|_, answer| !answer.is_closed());
        self.next_token += 1;
        self.answers.insert(self.next_token, answer);
        self.next_token
    }

    fn hand_out(&mut self, output: &mut KeeperOutput, lanes: &mut StoreLanes) {
        if let (Some(group), Some(log)) = (output.log.take(), &self.outlets.log) {
            // The thread ends after this one.
            let _ = log.send(LogJob::Append(group));
        }
        for to in output.index.drain(..) {
            let _ = self.outlets.index.send(to);
        }
        for (core, event) in output.events.drain(..) {
            if self.by_core.len() <= core.index() {
                self.by_core.resize_with(core.index() + 1, Vec::new);
            }
            self.by_core[core.index()].push(event);
        }
        for (core, events) in self.by_core.iter_mut().enumerate().filter(|(_, events)| !events.is_empty()) {
            lanes.tell(CoreId(core as u16), events.drain(..));
        }
        for (token, answer) in output.answers.drain(..) {
            if let Some(waiting) = self.answers.remove(&token) {
                let _ = waiting.send(answer);
            }
        }
    }

    fn note(&self, keeper: &Keeper) {
        self.figures.set_breaker(keeper.breaker());
        self.figures.queued_bytes.set(keeper.queued_bytes() as u64);
        self.figures.unapplied_bytes.set(keeper.unapplied_bytes() as u64);
    }
}
