//! Owns a generator process: one thread runs a fleet and a scenario; the other reads the parent's orders from standard
//! input and writes reports to standard output, one JSON line each. Ends with its parent. Never judges.

use std::io::{BufRead as _, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use mio::Waker;
use serde::{Deserialize, Serialize};

use crate::clock::{self, MILLISECOND};
use crate::fleet::{Fleet, FleetEdge, FleetSettings};
use crate::measure::counters::{Counters, SharedCounters};
use crate::measure::pulse::{Interval, Pulse, PulseReader};
use crate::plan::{RunPhase, Scenario, WorkerPlan};
use crate::scenario::chat::ChatActor;
use crate::scenario::churn::ChurnActor;
use crate::scenario::durable::DurableActor;
use crate::scenario::echo::EchoActor;
use crate::scenario::fanout::FanoutActor;
use crate::scenario::idle::IdleActor;
use crate::scenario::mixed::MixedActor;
use crate::scenario::soak::SoakActor;
use crate::scenario::storm::StormActor;
use crate::scenario::{Actor, Findings};
use crate::tokens;

/// Interval between readings of the thread's CPU time.
const CPU_SAMPLE_NS: u64 = 20 * MILLISECOND;

/// Maximum wait of a report for current counters.
const TELL_WITHIN: Duration = Duration::from_millis(20);

/// An order of the parent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Order {
    /// Enter a phase.
    Enter(RunPhase),
    /// Report the current state.
    Tell,
    /// Report the findings and stop.
    Finish,
}

/// A report to the parent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WorkerReport {
    /// Current counters.
    pub counters: Counters,
    /// Latencies since the last report.
    pub interval: Interval,
    /// The last failure, if there is one.
    pub last_failure: Option<String>,
    /// Findings, after [`Order::Finish`].
    pub findings: Option<Findings>,
}

struct Shared {
    /// Phase that the parent wants.
    phase: AtomicU8,
    /// Phase that the scenario has entered.
    entered: AtomicU8,
    /// Number of requests for reports, and the last request that the counters reflect.
    asked: AtomicU32,
    shown: AtomicU32,
    finish: AtomicBool,
    counters: SharedCounters,
    last_failure: Mutex<Option<String>>,
}

/// Runs until the parent ends or has the findings.
///
/// # Errors
/// The input is invalid, or the kernel refuses resources.
pub fn run() -> anyhow::Result<()> {
    let mut lines = std::io::stdin().lock().lines();
    let first = lines.next().context("no plan on standard input")??;
    let plan: WorkerPlan = serde_json::from_str(&first).context("invalid plan on standard input")?;
    let shared = Arc::new(Shared {
        phase: AtomicU8::new(RunPhase::Connect as u8),
        entered: AtomicU8::new(RunPhase::Connect as u8),
        asked: AtomicU32::new(0),
        shown: AtomicU32::new(0),
        finish: AtomicBool::new(false),
        counters: SharedCounters::default(),
        last_failure: Mutex::new(None),
    });
    let (findings_in, findings) = mpsc::channel();
    let (waker_in, waker) = mpsc::channel();
    let theirs = Arc::clone(&shared);
    let thread = std::thread::Builder::new().name("clients".into());
    let clients = thread.spawn(move || {
        let result = drive(plan, &theirs, &waker_in);
        // Fails only if the parent has ended.
        let _ = findings_in.send(result);
    })?;
    let Ok((waker, pulse)) = waker.recv() else { return findings.recv()?.map(|_| ()) };
    let mut intervals = PulseReader::default();
    let mut out = std::io::stdout().lock();
    for line in lines {
        let order: Order = serde_json::from_str(&line?).context("invalid order on standard input")?;
        let mut answer = WorkerReport::default();
        match order {
            Order::Enter(phase) => shared.phase.store(phase as u8, Ordering::Release),
            Order::Tell => shared.asked.store(shared.asked.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release),
            Order::Finish => shared.finish.store(true, Ordering::Release),
        }
        waker.wake()?;
        match order {
            // The report needs the counters of the new phase.
            Order::Enter(phase) => {
                while shared.entered.load(Ordering::Acquire) != phase as u8 && !clients.is_finished() {
                    std::thread::sleep(Duration::from_micros(100));
                }
            }
            // Clients with nothing to do have counters of long ago; busy ones answer soon enough by themselves.
            Order::Tell => {
                let since = Instant::now();
                while shared.shown.load(Ordering::Acquire) != shared.asked.load(Ordering::Relaxed)
                    && since.elapsed() < TELL_WITHIN
                    && !clients.is_finished()
                {
                    std::thread::sleep(Duration::from_micros(100));
                }
            }
            Order::Finish => {
                answer.findings = Some(findings.recv().context("the clients' thread has ended")??);
            }
        }
        answer.counters = shared.counters.load();
        answer.interval = intervals.take(&pulse);
        answer.last_failure = shared.last_failure.lock().expect("no holder of this lock panics").clone();
        serde_json::to_writer(&mut out, &answer)?;
        out.write_all(b"\n")?;
        out.flush()?;
    }
    Ok(())
}

fn drive(
    plan: WorkerPlan,
    shared: &Shared,
    waker: &mpsc::Sender<(Arc<Waker>, Arc<Pulse>)>,
) -> anyhow::Result<Findings> {
    if let Some(core) = plan.core {
        anyhow::ensure!(
            core_affinity::set_for_current(core_affinity::CoreId { id: core }),
            "cannot pin a generator thread to CPU {core}"
        );
    }
    let mut fleet = Fleet::new(FleetSettings {
        targets: plan.targets.clone(),
        clients: plan.clients,
        shard: plan.shard,
        sources: plan.sources,
        connecting_max: plan.connecting_max,
        seed: plan.seed,
        edge: FleetEdge::of(plan.edge, tokens::sign(&plan)?),
    })?;
    fleet.lines = plan.dialect.divides_lines();
    waker.send((fleet.waker()?, Arc::clone(&fleet.pulse))).context("the control thread is gone")?;
    match plan.scenario {
        Scenario::Idle => act(IdleActor::new(plan), fleet, shared),
        Scenario::Fanout { pace, stalled_per_mille } => {
            act(FanoutActor::new(plan, pace, stalled_per_mille), fleet, shared)
        }
        Scenario::Echo { pace } => act(EchoActor::new(plan, pace), fleet, shared),
        Scenario::Chat(load) => act(ChatActor::new(plan, load), fleet, shared),
        Scenario::Churn => act(ChurnActor::new(plan), fleet, shared),
        Scenario::Soak(load) => act(SoakActor::new(plan, load), fleet, shared),
        Scenario::Storm(load) => act(StormActor::new(plan, load), fleet, shared),
        Scenario::Durable(load) => act(DurableActor::new(plan, load), fleet, shared),
        Scenario::Mixed(load) => act(MixedActor::new(plan, load), fleet, shared),
    }
}

fn act(mut actor: impl Actor, mut fleet: Fleet, shared: &Shared) -> anyhow::Result<Findings> {
    let mut phase = RunPhase::Connect;
    let begun = fleet.clock.now();
    actor.enter(&mut fleet, phase, begun);
    let mut sampled = 0;
    while !shared.finish.load(Ordering::Acquire) {
        let now = fleet.clock.now();
        let wanted = RunPhase::from_number(shared.phase.load(Ordering::Acquire));
        if wanted != phase {
            phase = wanted;
            actor.enter(&mut fleet, phase, now);
            // Before the turn, which may wait.
            shared.counters.store(&fleet.counters);
            shared.entered.store(phase as u8, Ordering::Release);
        }
        fleet.turn(&mut actor).context("epoll")?;
        let asked = shared.asked.load(Ordering::Acquire);
        let is_asked = asked != shared.shown.load(Ordering::Relaxed);
        if is_asked || now.saturating_sub(sampled) >= CPU_SAMPLE_NS || sampled == 0 {
            sampled = now;
            fleet.counters.cpu_ns = clock::thread_cpu_ns();
            fleet.counters.waited_ns = clock::thread_waited_ns();
        }
        shared.counters.store(&fleet.counters);
        if is_asked {
            shared.shown.store(asked, Ordering::Release);
        }
        if let Some(failure) = fleet.last_failure.take() {
            *shared.last_failure.lock().expect("no holder of this lock panics") = Some(failure);
        }
    }
    let findings = actor.finish(&mut fleet);
    shared.counters.store(&fleet.counters);
    Ok(findings)
}
