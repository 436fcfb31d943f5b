//! Owns the verdict: builds the result of a run from the reports of its processes, and judges whether it is valid.
//! Never measures.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::server::{ServerReading, per_unit};
use crate::measure::counters::Counters;
use crate::measure::histogram::Durations;
use crate::measure::host::{HostInfo, MemorySample};
use crate::plan::options::Options;
use crate::plan::{DurableLoad, MixedLoad, PublishPace, Scenario, StormLoad};
use crate::results::outcome::{Outcome, ServerFigures, Verdict};
use crate::results::storm::StormFigures;
use crate::store::StoreInUse;
use crate::worker::WorkerReport;

/// Figures at one end of the measured time.
pub struct RunMark {
    /// The time.
    pub at: Instant,
    /// Sum over all generator processes.
    pub counters: Counters,
    /// By generator process.
    pub per_shard: Vec<Counters>,
    /// Figures of the server.
    pub server: ServerReading,
}

impl Outcome {
    /// Builds the result from the reports of all generator processes.
    ///
    /// # Errors
    /// A histogram is invalid.
    pub fn new(
        options: &Options,
        host: HostInfo,
        connected_in: Duration,
        from: &RunMark,
        to: &RunMark,
        before_leaving: &Counters,
        answers: Vec<WorkerReport>,
    ) -> anyhow::Result<Self> {
        let server = to.server.since(&from.server);
        let measured = to.at.duration_since(from.at).as_secs_f64();
        let share = |ns: fn(&Counters) -> u64| {
            let changes = from.per_shard.iter().zip(&to.per_shard).map(|(from, to)| ns(to).saturating_sub(ns(from)));
            changes.max().unwrap_or(0) as f64 / 1e9 / measured
        };
        let mut merged: BTreeMap<String, Durations> = BTreeMap::new();
        let (mut complaints, mut total) = (Vec::new(), Counters::default());
        for answer in answers {
            total = total.plus(&answer.counters);
            let findings = answer.findings.unwrap_or_default();
            complaints.extend(findings.complaints);
            for (name, text) in findings.histograms {
                merged.entry(name).or_default().merge(&Durations::decode(&text)?);
            }
        }
        // Counters of the leave phase do not matter, except those that are only known at the end.
        let Counters { holes, stranded, cut_off, unsent, .. } = total;
        let total = Counters { holes, stranded, cut_off, unsent, ..*before_leaving };
        Ok(Outcome {
            loadtest: env!("CARGO_PKG_VERSION").to_owned(),
            options: options.clone(),
            host,
            connected_in_s: connected_in.as_secs_f64(),
            measured_s: measured,
            measured: to.counters.since(&from.counters),
            total,
            generator_busy: share(|counters| counters.cpu_ns),
            generator_waited: share(|counters| counters.waited_ns),
            durations: merged.iter().map(|(name, durations)| (name.clone(), durations.summary())).collect(),
            histograms: merged.iter().map(|(name, durations)| (name.clone(), durations.encode())).collect(),
            program: None,
            server_sample: server.process,
            server: None,
            metrics: server.metrics,
            per_unit: BTreeMap::new(),
            floor: server.floor,
            threads: server.threads.shares(measured),
            storm: None,
            durable: None,
            left_behind: None,
            verdict: Verdict::default(),
            complaints,
            series: Vec::new(),
        })
    }

    /// Adds the figures of the server's process.
    pub fn add_server(&mut self, options: &Options, memory: [Option<MemorySample>; 3]) {
        if let Scenario::Storm(_) = options.scenario {
            let processes = options.plans().map_or(1, |plans| plans.len());
            let cpu_ns = self.server_sample.map(|sample| sample.cpu_ns);
            self.storm = Some(StormFigures::of(&self.measured, &self.total, processes, self.measured_s, cpu_ns));
        }
        let change = ServerReading { process: self.server_sample, ..ServerReading::default() };
        let work = self.work().0;
        self.per_unit = per_unit(self.metrics.as_ref(), work);
        self.server = ServerFigures::of(&change, memory, work, options.connections, self.measured_s);
    }

    /// Sets the verdict.
    pub fn judge(&mut self, options: &Options, stopped: bool) {
        let total = self.total;
        let mut reasons = Vec::new();
        let mut against = |count: u64, what: &str| {
            if count > 0 {
                reasons.push(format!("{count} {what}"));
            }
        };
        against(total.lost(), "publications lost");
        against(
            total.skipped,
            "publications skipped by gap for clients that read: their outboxes are too small for the load",
        );
        against(total.duplicated, "publications received twice");
        against(total.out_of_order, "publications received out of order");
        against(total.misrouted, "publications received in the wrong room");
        against(total.wrong, "wrong messages");
        against(total.cut_off, "deliveries cut off by lost connections");
        against(total.unsent, "publishes not sent: their publishers had no connection");
        against(total.stranded, "clients were never connected, joined or closed");
        against(total.disconnected, "connections ended by the server or broken");
        against(total.errors, "commands refused");
        against(self.floor.map_or(0, |floor| floor.refused), "bare sends that a socket refused");
        let (work, unit) = self.work();
        if work == 0 && options.scenario != Scenario::Idle {
            reasons.push(format!("no {unit} was measured"));
        }
        reasons.extend(self.left_behind.clone());
        let server_busy = self.server.as_ref().map(|server| server.busy);
        let mut notes = Vec::new();
        // With a store, the server is busy with more than the clients.
        let has_store = matches!(options.scenario, Scenario::Durable(_) | Scenario::Chat(_));
        if self.generator_busy > 0.95 && (has_store || server_busy.is_none_or(|busy| busy < 0.95)) {
            let used = self.generator_busy * 100.0;
            let limit = format!("the generator was the bottleneck: it used {used:.0} % of its CPU (use more --cores)");
            // A connection costs the client more than the server: this limits the rate, not the server's CPU per cycle.
            match options.scenario {
                Scenario::Churn if self.server.is_some() => notes.push(limit),
                _ => reasons.push(limit),
            }
        }
        if options.store.as_ref().is_some_and(StoreInUse::is_without_disk) {
            notes.push("the store's files were not on a disk: use --data with a folder on one".to_owned());
        }
        if stopped {
            notes.push("ended early".to_owned());
        }
        notes.extend(self.uncompressed(options));
        if total.connect_failures > 0 {
            notes.push(format!("{} connection attempts failed and were retried", total.connect_failures));
        }
        if let Scenario::Fanout { stalled_per_mille: 1.., .. } = options.scenario {
            let rooms = f64::from(options.connections.div_ceil(options.room_size));
            let owed = total.published as f64 / rooms * options.payload_bytes as f64 / 1024.0;
            notes.push(format!("each stalled reader was owed about {owed:.0} KiB"));
        }
        if let Some(storm) = self.storm.filter(|storm| storm.generator_busy > 0.95) {
            notes.push(format!(
                "the generator used {:.0} % of a CPU during the storms, which delayed the reconnects (use more --cores)",
                storm.generator_busy * 100.0
            ));
        }
        if total.storms_put_off > 0 {
            notes.push(format!("{} storms were delayed because the one before had not ended", total.storms_put_off));
        }
        if self.generator_waited > 0.05 {
            notes.push(format!(
                "the generator waited for a CPU {:.0} % of the time: the host is busy with other work",
                self.generator_waited * 100.0
            ));
        }
        reasons.extend(self.lagged(options));
        reasons.extend(self.fell_short(options));
        self.verdict = Verdict { valid: reasons.is_empty(), reasons, notes };
    }

    /// A note if clients offered compression but no message was compressed.
    fn uncompressed(&self, options: &Options) -> Option<String> {
        let is_so = options.edge.deflate && self.total.delivered > 0 && self.total.compressed == 0;
        let why = "no message was compressed: the server declined, or all messages were below compression.min_bytes";
        is_so.then(|| why.to_owned())
    }

    /// Open loop: a reason if fewer publishes were sent than planned, beyond chance.
    fn fell_short(&self, options: &Options) -> Option<String> {
        let (per_second, clustering) = match options.scenario {
            Scenario::Fanout { pace, .. }
            | Scenario::Echo { pace }
            | Scenario::Storm(StormLoad { pace, .. })
            | Scenario::Durable(DurableLoad { pace, .. }) => match pace {
                PublishPace::InFlight(_) => return None,
                PublishPace::Poisson { per_second } | PublishPace::Even { per_second } => (per_second, 1.0),
            },
            // Geometric bursts: the variance is that of single arrivals times twice the mean burst.
            Scenario::Mixed(MixedLoad { publishes_per_second, burst, .. }) => (publishes_per_second, 2.0 * burst),
            Scenario::Chat(load) => (load.messages_per_user * f64::from(options.connections), 1.0),
            _ => return None,
        };
        let offered = per_second * self.measured_s;
        let short = offered - self.measured.published as f64;
        let chance = 5.0 * (offered * clustering).sqrt();
        (short > chance.max(offered * 0.02)).then(|| {
            format!("only {} of {offered:.0} planned publishes were sent in the measured time", self.measured.published)
        })
    }

    /// Open loop: a reason if the generator published too late, so that latencies are not the server's.
    fn lagged(&self, options: &Options) -> Option<String> {
        match options.scenario {
            Scenario::Fanout { pace, .. } | Scenario::Echo { pace } if !matches!(pace, PublishPace::InFlight(_)) => {}
            Scenario::Storm(_) | Scenario::Mixed(_) | Scenario::Durable(_) | Scenario::Chat(_) => {}
            _ => return None,
        }
        let (lag, latency) = (self.durations.get("lag")?, self.durations.get("latency")?);
        // Lag that affects a percentile: more than a tenth of it, and more than the precision of timers.
        let of = [("p50", lag.p50, latency.p50), ("p99", lag.p99, latency.p99)];
        let (name, lag, latency) = of.into_iter().find(|&(_, lag, latency)| lag > 20.0 && lag > latency * 0.1)?;
        Some(format!("the generator published late: {name} of its lag is {lag:.0} us, of the latency {latency:.0} us"))
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::{DurableLoad, PublishPace, Scenario};
    use crate::report::samples;
    use crate::results::outcome::Outcome;
    use crate::store::{StoreInUse, StoreMode};

    /// The verdict of a run of `durable` that kept what it offered, after `change`.
    fn reasons(change: impl Fn(&mut Outcome)) -> String {
        let mut run = samples::fanout("roomring", 1.0);
        let pace = PublishPace::Poisson { per_second: 240.0 };
        run.options.scenario = Scenario::Durable(DurableLoad { pace, kills: 1, between_ns: 0, history: 9 });
        let kept = run.total.published;
        (run.measured.expected, run.total.expected, run.total.delivered) = (kept, kept, kept);
        change(&mut run);
        let options = run.options.clone();
        run.judge(&options, false);
        assert_eq!(run.verdict.valid, run.verdict.reasons.is_empty());
        run.verdict.reasons.join("; ")
    }

    #[test]
    fn a_run_with_kills_is_valid_only_if_everything_was_kept_and_the_generator_had_time() {
        assert_eq!(reasons(|_| {}), "");
        assert_eq!(reasons(|run| run.total.delivered -= 3), "3 publications lost");
        assert_eq!(reasons(|run| run.total.holes = 1), "1 publications lost", "lost after they were read back");
        let twice = reasons(|run| {
            run.total.duplicated = 2;
            run.total.delivered += 2;
        });
        assert_eq!(twice, "2 publications received twice");
        assert_eq!(reasons(|run| run.total.out_of_order = 1), "1 publications received out of order");
        assert_eq!(reasons(|run| run.total.wrong = 1), "1 wrong messages");
        let busy = reasons(|run| run.generator_busy = 0.99);
        assert!(busy.starts_with("the generator was the bottleneck"), "{busy}");
        let short = reasons(|run| run.measured.published /= 2);
        assert!(short.starts_with("only 1200 of 2400 planned publishes"), "{short}");
        let late = reasons(|run| {
            let latency = run.durations["latency"];
            run.durations.insert("lag".into(), latency);
        });
        assert!(late.starts_with("the generator published late"), "{late}");
    }

    #[test]
    fn a_store_without_a_disk_is_noted() {
        let mut run = samples::fanout("roomring", 1.0);
        let options = run.options.clone();
        run.judge(&options, false);
        assert!(run.verdict.notes.iter().all(|note| !note.contains("--data")), "{:?}", run.verdict);
        let store = StoreInUse { mode: StoreMode::Commit, filesystem: Some("tmpfs".into()), overrides: Vec::new() };
        run.options.store = Some(store);
        let options = run.options.clone();
        run.judge(&options, false);
        assert!(run.verdict.notes.iter().any(|note| note.contains("--data")), "{:?}", run.verdict);
    }
}
