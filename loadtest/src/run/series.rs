//! Owns the samples of a run over time: one every quarter of a second from the first connect to the end of draining,
//! and the last second for live display. Reads only cheap figures of the server's process; never sends a request.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::measure::counters::Counters;
use crate::measure::host;
use crate::measure::pulse::Interval;
use crate::results::outcome::{RunStage, Sample};

/// Time between samples; longer if a run would have more than [`SAMPLES_MAX`].
const SAMPLE: Duration = Duration::from_millis(250);

/// Approximate maximum number of samples of a run.
const SAMPLES_MAX: u32 = 2_400;

/// Time span of the live display.
const WINDOW: Duration = Duration::from_secs(1);

/// Readings at one time.
#[derive(Clone, Debug)]
struct SeriesReading {
    at: Instant,
    counters: Counters,
    server_cpu_ns: Option<u64>,
    /// Latencies since the last reading.
    interval: Interval,
}

/// The samples of a run.
pub struct Series {
    pid: Option<u32>,
    work: fn(&Counters) -> u64,
    begun: Instant,
    every: Duration,
    pending: Interval,
    /// The last second, oldest first; never empty.
    window: VecDeque<SeriesReading>,
    samples: Vec<Sample>,
}

impl Series {
    /// Starts the samples of a run. `expected` is the length of its load; `work` counts its units.
    #[must_use]
    pub fn start(pid: Option<u32>, expected: Duration, work: fn(&Counters) -> u64) -> Self {
        let begun = Instant::now();
        let first = SeriesReading {
            at: begun,
            counters: Counters::default(),
            server_cpu_ns: pid.and_then(host::cpu_ns),
            interval: Interval::default(),
        };
        Series {
            pid,
            work,
            begun,
            every: SAMPLE.max(expected / SAMPLES_MAX),
            pending: Interval::default(),
            window: VecDeque::from([first]),
            samples: Vec::new(),
        }
    }

    /// Adds latencies from a generator process.
    pub fn add(&mut self, interval: &Interval) {
        self.pending.merge(interval);
    }

    /// Time until the next sample is due.
    #[must_use]
    pub fn due_in(&self) -> Duration {
        self.every.saturating_sub(self.last().at.elapsed())
    }

    /// Takes a sample. Returns the last second for live display.
    pub fn look(&mut self, stage: RunStage, counters: &Counters) -> Sample {
        let reading = SeriesReading {
            at: Instant::now(),
            counters: *counters,
            server_cpu_ns: self.pid.and_then(host::cpu_ns),
            interval: std::mem::take(&mut self.pending),
        };
        let resident = self.pid.and_then(host::resident);
        let sample = self.between(self.last(), &reading, &reading.interval, stage, resident);
        self.samples.push(sample);
        self.window.push_back(reading);
        while self.window.get(1).is_some_and(|second| second.at.elapsed() >= WINDOW) {
            self.window.pop_front();
        }
        let mut interval = Interval::default();
        self.window.iter().skip(1).for_each(|reading| interval.merge(&reading.interval));
        self.between(&self.window[0], self.last(), &interval, stage, resident)
    }

    /// All samples.
    #[must_use]
    pub fn take(self) -> Vec<Sample> {
        self.samples
    }

    fn last(&self) -> &SeriesReading {
        self.window.back().expect("never empty")
    }

    fn between(
        &self,
        from: &SeriesReading,
        to: &SeriesReading,
        interval: &Interval,
        stage: RunStage,
        resident: Option<u64>,
    ) -> Sample {
        let seconds = to.at.duration_since(from.at).as_secs_f64().max(1e-3);
        let change = to.counters.since(&from.counters);
        let rate = |count: u64| rounded(count as f64 / seconds);
        let cpus = |ns: u64| rounded(ns as f64 / 1e9 / seconds);
        let server = from.server_cpu_ns.zip(to.server_cpu_ns);
        let quantile = |quantile| interval.quantile_us(quantile).map(rounded);
        Sample {
            at_s: rounded(to.at.duration_since(self.begun).as_secs_f64()),
            seconds: rounded(seconds),
            stage,
            ready: to.counters.ready,
            published: rate(change.published),
            done: rate((self.work)(&change)),
            p50: quantile(0.5),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: quantile(1.0),
            generator_cpus: cpus(change.cpu_ns),
            server_cpus: server.map(|(from, to)| cpus(to.saturating_sub(from))),
            server_resident: resident,
        }
    }
}

/// Rounds to a thousandth, to keep results short.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::pulse::{Pulse, PulseReader};

    #[test]
    fn samples_are_changes_and_the_window_is_of_the_last_second() {
        let mut series = Series::start(Some(std::process::id()), Duration::from_secs(1), |counters| counters.delivered);
        assert!(series.due_in() <= SAMPLE);
        let (pulse, mut reader) = (Pulse::default(), PulseReader::default());
        let mut counters = Counters { ready: 5, ..Counters::default() };
        for round in 1..=3 {
            pulse.record(1_000_000 * round);
            series.add(&reader.take(&pulse));
            counters.delivered += 100;
            std::thread::sleep(Duration::from_millis(20));
            let shown = series.look(RunStage::Measuring, &counters);
            assert!(shown.max.expect("recorded") >= 980.0 * round as f64, "the window holds all rounds: {shown:?}");
            assert!(shown.server_cpus.is_some() && shown.server_resident.is_some_and(|bytes| bytes > 0));
        }
        let idle = series.look(RunStage::Draining, &counters);
        assert!(idle.p50.is_some(), "the last second had latencies");
        let samples = series.take();
        assert_eq!(samples.len(), 4);
        assert!(samples.windows(2).all(|pair| pair[0].at_s <= pair[1].at_s));
        assert!(samples[..3].iter().all(|sample| sample.done > 0.0 && sample.ready == 5), "{samples:?}");
        assert_eq!((samples[3].done, samples[3].p50, samples[3].stage), (0.0, None, RunStage::Draining));
        let all: f64 = samples.iter().map(|sample| sample.done * sample.seconds).sum();
        assert!((all - 300.0).abs() < 15.0, "rates times lengths are the counts: {all}");
    }

    #[test]
    fn long_runs_are_sampled_less_often() {
        let series = Series::start(None, Duration::from_secs(86_400), |_| 0);
        assert!(series.every > Duration::from_secs(30));
    }
}
