//! A run: starts the generator's processes, leads them through the phases, reads the server's figures at the right
//! moments, and puts the result together.

pub mod options;
mod outcome;
mod shard;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::measure::counters::Counters;
use crate::measure::host::{HostInfo, MemorySample, ProcessSample};
use crate::plan::{Phase, Scenario};
use crate::server::{floor, http};
use crate::worker::{Answer, Order};
use options::Options;
use outcome::Mark;
pub use outcome::{Outcome, ServerFigures};
use shard::Shard;

/// How often the parent looks.
const LOOK: Duration = Duration::from_millis(100);

/// Connecting is given up when no client more is ready for this long.
const STUCK: Duration = Duration::from_secs(15);

/// Draining ends when nothing more arrives for this long.
const QUIET: Duration = Duration::from_secs(5);

/// A run under way.
struct Run<'a> {
    options: &'a Options,
    shards: Vec<Shard>,
    stop: Arc<AtomicBool>,
    progress: bool,
    told: Instant,
    last: Counters,
    failure: Option<String>,
}

/// Does a whole run. `stop` ends it early, with a result; `progress` writes a line per second to standard error.
///
/// # Errors
/// The clients cannot connect, or a generator process fails.
pub fn execute(options: &Options, stop: &Arc<AtomicBool>, progress: bool) -> anyhow::Result<Outcome> {
    let host = HostInfo::read();
    let empty = options.pid.and_then(MemorySample::of);
    if let (Some(pid), None) = (options.pid, empty) {
        bail!("--pid {pid}: there is no such process, or it may not be read");
    }
    let shards = options.plans()?.iter().map(Shard::start).collect::<anyhow::Result<Vec<_>>>()?;
    let told = Instant::now();
    let stop = Arc::clone(stop);
    let mut run = Run { options, shards, stop, progress, told, last: Counters::default(), failure: None };
    let begun = Instant::now();
    run.connect()?;
    let connected_in = begun.elapsed();
    run.pause(options.settle, "settling")?;
    let full = options.pid.and_then(MemorySample::of);
    run.enter(Phase::Warm)?;
    run.pause(options.warmup, "warming up")?;
    run.enter(Phase::Measure)?;
    let from = run.mark()?;
    run.pause(options.duration, "measuring")?;
    let to = run.mark()?;
    let loaded = options.pid.and_then(MemorySample::of);
    run.drain()?;
    let before_leaving = run.tell()?;
    run.enter(Phase::Leave)?;
    run.leave()?;
    let left = options.control.map(|control| left_behind(control, &run.stop)).transpose()?;
    let findings = run.finish()?;
    let mut outcome = Outcome::new(options, host, connected_in, &from, &to, &before_leaving, findings)?;
    outcome.add_server(options, [empty, full, loaded]);
    outcome.left_behind = left.flatten();
    outcome.judge(options, run.stop.load(Ordering::Relaxed));
    Ok(outcome)
}

/// What the server's `/stats` still count when all clients have gone: `None` when they are back at zero. Presence has a
/// grace, so it is asked for some seconds.
fn left_behind(control: SocketAddr, stop: &AtomicBool) -> anyhow::Result<Option<String>> {
    let since = Instant::now();
    loop {
        let stats: serde_json::Value = serde_json::from_str(&http::get(control, "/stats")?)?;
        let counts = ["connections", "members"].map(|name| (name, stats[name].as_u64()));
        if counts.iter().all(|(_, count)| *count == Some(0)) {
            return Ok(None);
        }
        if since.elapsed() > Duration::from_secs(10) || stop.load(Ordering::Relaxed) {
            return Ok(Some(format!("after everyone has gone, /stats say {counts:?}")));
        }
        std::thread::sleep(LOOK);
    }
}

impl Run<'_> {
    fn connect(&mut self) -> anyhow::Result<()> {
        let wanted = u64::from(self.options.connections);
        let (mut best, mut since) = (0, Instant::now());
        loop {
            let counters = self.tell()?;
            if counters.ready >= wanted || self.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            if counters.ready > best {
                (best, since) = (counters.ready, Instant::now());
            }
            if since.elapsed() > STUCK {
                let why = self.failure.as_deref().unwrap_or("the server does not answer");
                bail!("only {best} of {wanted} clients could connect and join; the last failure: {why}");
            }
            self.report(&format!("connecting {}/{wanted}", counters.ready), &counters);
            std::thread::sleep(LOOK.min(Duration::from_millis(20)));
        }
    }

    /// Waits, looking at the clients now and then; ends early when asked.
    fn pause(&mut self, time: Duration, what: &str) -> anyhow::Result<()> {
        let until = Instant::now() + time;
        while !self.stop.load(Ordering::Relaxed) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(LOOK));
            if self.told.elapsed() >= Duration::from_secs(1) {
                let counters = self.tell()?;
                let elapsed = (time.saturating_sub(left)).as_secs_f64();
                self.report(&format!("{what} {elapsed:.0}/{:.0} s", time.as_secs_f64()), &counters);
            }
        }
        Ok(())
    }

    fn drain(&mut self) -> anyhow::Result<()> {
        self.enter(Phase::Drain)?;
        let mut last = self.tell()?;
        let mut since = Instant::now();
        // Also when asked to end early: what is still on its way must not count as lost.
        while since.elapsed() < QUIET && last.outstanding > 0 {
            std::thread::sleep(LOOK);
            let counters = self.tell()?;
            if (counters.delivered, counters.outstanding) != (last.delivered, last.outstanding) {
                since = Instant::now();
            }
            last = counters;
            self.report(&format!("draining, {} to come", last.outstanding), &last);
        }
        // A duplicate would come behind the last expected one.
        std::thread::sleep(LOOK);
        Ok(())
    }

    fn leave(&mut self) -> anyhow::Result<()> {
        let since = Instant::now();
        while self.tell()?.open > 0 && since.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn mark(&mut self) -> anyhow::Result<Mark> {
        let server = self.options.pid.and_then(ProcessSample::of);
        let at = Instant::now();
        let answers = self.order(Order::Tell)?;
        let per_shard: Vec<Counters> = answers.iter().map(|answer| answer.counters).collect();
        let counters = per_shard.iter().fold(Counters::default(), |sum, counters| sum.plus(counters));
        let floor = self.options.floor.map(floor::counters).transpose()?;
        Ok(Mark { at, counters, per_shard, server, floor })
    }

    fn enter(&mut self, phase: Phase) -> anyhow::Result<()> {
        self.order(Order::Enter(phase)).map(|_| ())
    }

    fn tell(&mut self) -> anyhow::Result<Counters> {
        let answers = self.order(Order::Tell)?;
        if let Some(failure) = answers.iter().find_map(|answer| answer.last_failure.clone()) {
            self.failure = Some(failure);
        }
        Ok(answers.iter().fold(Counters::default(), |sum, answer| sum.plus(&answer.counters)))
    }

    fn finish(&mut self) -> anyhow::Result<Vec<Answer>> {
        self.order(Order::Finish)
    }

    fn order(&mut self, order: Order) -> anyhow::Result<Vec<Answer>> {
        for shard in &mut self.shards {
            shard.give(order)?;
        }
        self.shards.iter_mut().map(Shard::take_answer).collect()
    }

    fn report(&mut self, what: &str, counters: &Counters) {
        let elapsed = self.told.elapsed();
        if elapsed < Duration::from_secs(1) {
            return;
        }
        let change = counters.since(&self.last);
        self.told = Instant::now();
        self.last = *counters;
        if !self.progress {
            return;
        }
        let per_second = |count: u64| count as f64 / elapsed.as_secs_f64();
        let work = match self.options.scenario {
            Scenario::Idle => format!("{:.0} messages/s", per_second(change.other_messages)),
            Scenario::Churn => format!("{:.0} cycles/s", per_second(change.cycles)),
            _ => format!(
                "{:.0} published/s, {:.0} delivered/s",
                per_second(change.published),
                per_second(change.delivered)
            ),
        };
        let busy = per_second(change.cpu_ns) / 1e9 * 100.0;
        let trouble = counters.duplicated + counters.out_of_order + counters.misrouted + counters.wrong;
        let trouble = if trouble > 0 { format!(", {trouble} WRONG") } else { String::new() };
        let failure = self.failure.as_ref().map_or_else(String::new, |failure| format!(" ({failure})"));
        eprintln!("{what}: {work}, generator {busy:.0} % of a CPU{trouble}{failure}");
    }
}
