//! Owns a run: starts the generator's processes, leads them through the phases, and reads the server's figures at the
//! right moments. Never judges the result.

mod judge;
mod kills;
mod progress;
mod series;
mod server;
mod shard;
pub mod single;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::measure::counters::Counters;
use crate::measure::host::{HostInfo, MemorySample};
use crate::plan::options::Options;
use crate::plan::{RunPhase, Scenario};
use crate::report::title::title;
use crate::results::durable::DurableFigures;
use crate::results::outcome::{Outcome, RunStage, plural, unit_of};
use crate::server::http;
use crate::server::launch::Launched;
use crate::worker::{Order, WorkerReport};
use judge::RunMark;
use progress::{Progress, ProgressView};
use series::Series;
use server::ServerReading;
use shard::Shard;

/// Interval at which the parent checks whether to stop.
const LOOK: Duration = Duration::from_millis(50);

/// Time without another ready client after which connecting fails.
const STUCK: Duration = Duration::from_secs(15);

/// Time without deliveries after which draining ends.
const QUIET: Duration = Duration::from_secs(5);

/// A run in progress.
struct ActiveRun<'a> {
    options: &'a Options,
    shards: Vec<Shard>,
    stop: Arc<AtomicBool>,
    series: Series,
    progress: Progress,
    /// The unit of work, in plural.
    unit: String,
    failure: Option<String>,
}

/// Executes a whole run. `server` is the server if it was started for the run. `stop` ends it early, with a result.
/// `progress` shows progress on standard error.
///
/// # Errors
/// The clients cannot connect, or a generator process fails.
pub fn execute(
    options: &Options,
    server: Option<&mut Launched>,
    stop: &Arc<AtomicBool>,
    progress: bool,
) -> anyhow::Result<Outcome> {
    let host = HostInfo::read();
    let empty = options.pid.and_then(MemorySample::of);
    if let (Some(pid), None) = (options.pid, empty) {
        bail!("--pid {pid}: expected a process that this user may read");
    }
    let program = server::program(options.pid, options.control)?;
    let shards = options.plans()?.iter().map(Shard::start).collect::<anyhow::Result<Vec<_>>>()?;
    let (unit, work) = unit_of(options.scenario);
    let begun = Instant::now();
    let mut run = ActiveRun {
        options,
        shards,
        stop: Arc::clone(stop),
        series: Series::start(options.pid, options.warmup + options.duration, work),
        progress: Progress::start(progress, &title(options)),
        unit: plural(unit),
        failure: None,
    };
    run.connect()?;
    let connected_in = begun.elapsed();
    run.pause(options.settle, RunStage::Settling)?;
    let full = options.pid.and_then(MemorySample::of);
    run.enter(RunPhase::Warm)?;
    run.pause(options.warmup, RunStage::Warming)?;
    run.enter(RunPhase::Measure)?;
    let from = run.mark(true)?;
    run.pause(options.duration, RunStage::Measuring)?;
    let to = run.mark(false)?;
    let loaded = options.pid.and_then(MemorySample::of);
    let kills = match (options.scenario, server) {
        (Scenario::Durable(load), Some(server)) => run.kill_and_check(&load, server)?,
        _ => Vec::new(),
    };
    run.drain()?;
    if let Scenario::Durable(_) = options.scenario {
        run.check()?;
    }
    let before_leaving = run.tell()?;
    run.enter(RunPhase::Leave)?;
    run.leave()?;
    let checked = options.control.filter(|_| matches!(options.scenario, Scenario::Soak(_)));
    let left = checked.map(|control| left_behind(control, &run.stop)).transpose()?;
    let findings = run.order(Order::Finish)?;
    let mut outcome = Outcome::new(options, host, connected_in, &from, &to, &before_leaving, findings)?;
    outcome.add_server(options, [empty, full, loaded]);
    outcome.program = program;
    if let Scenario::Durable(_) = options.scenario {
        let acknowledged = outcome.work().0;
        let written = to.server.since(&from.server).written.filter(|_| options.store.is_some());
        outcome.durable = Some(DurableFigures::of(kills, written, acknowledged));
    }
    outcome.left_behind = left.flatten();
    outcome.judge(options, run.stop.load(Ordering::Relaxed));
    outcome.series = run.series.take();
    Ok(outcome)
}

/// Checks that the server's `/stats` return to zero after all clients have left, and returns the counts if they do not.
/// Retries for some seconds because of the presence grace.
fn left_behind(control: SocketAddr, stop: &AtomicBool) -> anyhow::Result<Option<String>> {
    let since = Instant::now();
    loop {
        let stats: serde_json::Value = serde_json::from_str(&http::get(control, "/stats")?)?;
        let counts = ["connections", "members"].map(|name| (name, stats[name].as_u64()));
        if counts.iter().all(|(_, count)| *count == Some(0)) {
            return Ok(None);
        }
        if since.elapsed() > Duration::from_secs(10) || stop.load(Ordering::Relaxed) {
            return Ok(Some(format!("after all clients have left, /stats has {counts:?}")));
        }
        std::thread::sleep(LOOK);
    }
}

impl ActiveRun<'_> {
    fn connect(&mut self) -> anyhow::Result<()> {
        let wanted = u64::from(self.options.connections);
        let begun = Instant::now();
        let (mut best, mut since) = (0, begun);
        loop {
            let counters = self.tell()?;
            self.look(RunStage::Connecting, begun, None, &counters);
            if counters.ready >= wanted || self.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            if counters.ready > best {
                (best, since) = (counters.ready, Instant::now());
            }
            if since.elapsed() > STUCK {
                let why = self.failure.as_deref().unwrap_or("the server does not answer");
                bail!("only {best} of {wanted} clients could connect and join; last failure: {why}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits and takes samples; ends early if `stop` is set.
    fn pause(&mut self, time: Duration, stage: RunStage) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            let left = time.saturating_sub(begun.elapsed());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(LOOK).min(self.series.due_in()));
            if self.series.due_in().is_zero() {
                let counters = self.tell()?;
                self.look(stage, begun, Some(time), &counters);
            }
        }
        Ok(())
    }

    fn drain(&mut self) -> anyhow::Result<()> {
        self.enter(RunPhase::Drain)?;
        let begun = Instant::now();
        let mut last = self.tell()?;
        let mut since = begun;
        // Even if `stop` is set: messages in flight must not count as lost.
        while since.elapsed() < QUIET && last.outstanding > 0 {
            std::thread::sleep(LOOK);
            let counters = self.tell()?;
            if (counters.delivered, counters.outstanding) != (last.delivered, last.outstanding) {
                since = Instant::now();
            }
            last = counters;
            self.look(RunStage::Draining, begun, None, &last);
        }
        // Waits for duplicates after the last expected message.
        std::thread::sleep(LOOK * 2);
        Ok(())
    }

    fn leave(&mut self) -> anyhow::Result<()> {
        let since = Instant::now();
        while self.tell()?.open > 0 && since.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Reads all figures at the beginning or the end of the measured time. Requests to the server stay outside of the
    /// measured time because they cost CPU.
    fn mark(&mut self, beginning: bool) -> anyhow::Result<RunMark> {
        let mut server = if beginning { ServerReading::ask(self.options)? } else { ServerReading::default() };
        if let Some(pid) = self.options.pid {
            server.look_at(pid);
        }
        let at = Instant::now();
        let answers = self.order(Order::Tell)?;
        if !beginning {
            let ServerReading { metrics, floor, .. } = ServerReading::ask(self.options)?;
            server = ServerReading { metrics, floor, ..server };
        }
        let per_shard: Vec<Counters> = answers.iter().map(|answer| answer.counters).collect();
        let counters = per_shard.iter().fold(Counters::default(), |sum, counters| sum.plus(counters));
        Ok(RunMark { at, counters, per_shard, server })
    }

    fn enter(&mut self, phase: RunPhase) -> anyhow::Result<()> {
        self.order(Order::Enter(phase)).map(|_| ())
    }

    fn tell(&mut self) -> anyhow::Result<Counters> {
        let answers = self.order(Order::Tell)?;
        if let Some(failure) = answers.iter().find_map(|answer| answer.last_failure.clone()) {
            self.failure = Some(failure);
        }
        Ok(answers.iter().fold(Counters::default(), |sum, answer| sum.plus(&answer.counters)))
    }

    fn order(&mut self, order: Order) -> anyhow::Result<Vec<WorkerReport>> {
        for shard in &mut self.shards {
            shard.give(order)?;
        }
        let answers = self.shards.iter_mut().map(Shard::take_answer).collect::<anyhow::Result<Vec<_>>>()?;
        answers.iter().for_each(|answer| self.series.add(&answer.interval));
        Ok(answers)
    }

    /// Takes and shows a sample if one is due. `begun` is the start of the stage, `total` its length.
    fn look(&mut self, stage: RunStage, begun: Instant, total: Option<Duration>, counters: &Counters) {
        if !self.series.due_in().is_zero() {
            return;
        }
        let last = self.series.look(stage, counters);
        self.progress.show(&ProgressView {
            last: &last,
            elapsed: begun.elapsed(),
            total,
            wanted: u64::from(self.options.connections),
            counters,
            unit: &self.unit,
            failure: self.failure.as_deref(),
        });
    }
}
