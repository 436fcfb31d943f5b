//! Sample results for tests.

use std::time::Duration;

use crate::dialect::Dialect;
use crate::edge::Edge;
use crate::fleet::address::Target;
use crate::measure::counters::Counters;
use crate::measure::histogram::Durations;
use crate::measure::host::{HostInfo, MemorySample, ProcessSample, ProgramInfo};
use crate::measure::metrics::Metrics;
use crate::payload::PayloadKind;
use crate::plan::options::Options;
use crate::plan::{PublishPace, Scenario};
use crate::results::outcome::{Outcome, RunStage, Sample, Verdict};
use crate::store::{StoreInUse, StoreMode};

/// A fan-out by a server with this name. Latencies and CPU time are multiplied by `slower`.
#[must_use]
pub fn fanout(name: &str, slower: f64) -> Outcome {
    let mut latency = Durations::default();
    let mut last_receiver = Durations::default();
    for step in 1..=20_000u64 {
        let share = step as f64 / 20_001.0;
        let ns = (250_000.0 + 60_000.0 * -(1.0 - share).ln()) * slower;
        latency.record(ns as u64);
        if step % 100 == 0 {
            last_receiver.record((ns * 1.4) as u64);
        }
    }
    let measured = Counters {
        published: 2_400,
        delivered: 240_000,
        receives: 80_000,
        bytes_received: 46_000_000,
        ..Counters::default()
    };
    let mut outcome = Outcome {
        storm: None,
        loadtest: "0.1.0".to_owned(),
        options: options(name),
        host: host(),
        connected_in_s: 0.21,
        measured_s: 10.0,
        measured,
        total: Counters { expected: 288_000, delivered: 288_000, joins: 1_000, ..measured },
        generator_busy: 0.31,
        generator_waited: 0.002,
        durations: [("latency", &latency), ("last_receiver", &last_receiver)]
            .map(|(name, durations)| (name.to_owned(), durations.summary()))
            .into(),
        histograms: [("latency", &latency), ("last_receiver", &last_receiver)]
            .map(|(name, durations)| (name.to_owned(), durations.encode()))
            .into(),
        program: Some(ProgramInfo {
            command: vec![name.to_owned(), "serve".into(), "--set".into(), "a=\"<b>&c\"".into()],
            cpus: "0".into(),
            threads: 3,
            version: Some("0.1.0".into()),
        }),
        server: None,
        server_sample: Some(ProcessSample {
            cpu_ns: (1_400_000_000.0 * slower) as u64,
            user_ns: 280_000_000,
            system_ns: 1_120_000_000,
            switches_voluntary: 9_000,
            switches_involuntary: 40,
        }),
        metrics: Some(Metrics::parse(
            "# TYPE roomring_submissions_total counter\nroomring_submissions_total{core=\"0\"} 9000\n\
             # TYPE roomring_dropped_slow_total counter\nroomring_dropped_slow_total{core=\"0\"} 0\n",
        )),
        per_unit: std::collections::BTreeMap::new(),
        floor: None,
        threads: [("core".to_owned(), 0.14)].into(),
        durable: None,
        left_behind: None,
        verdict: Verdict { valid: true, ..Verdict::default() },
        complaints: Vec::new(),
        series: (1..=52).map(|step| sample(step, slower)).collect(),
    };
    let memory = |private: u64| Some(MemorySample { rss: 2 * private, pss: private, private, slab: 90 << 20 });
    let memory = [memory(3 << 20), memory((3 << 20) + 280_000), memory((3 << 20) + 410_000)];
    let options = outcome.options.clone();
    outcome.add_server(&options, memory);
    outcome
}

fn options(name: &str) -> Options {
    Options {
        name: name.to_owned(),
        targets: vec![Target::parse("ws://127.0.0.1:8080/ws").expect("good")],
        dialect: Dialect::json(),
        scenario: Scenario::Fanout { pace: PublishPace::Poisson { per_second: 240.0 }, stalled_per_mille: 0 },
        connections: 1_000,
        room_size: 100,
        payload_bytes: 128,
        payload: PayloadKind::default(),
        edge: Edge::default(),
        store: Some(StoreInUse::of(StoreMode::Memory, None, &[])),
        secret: None,
        warmup: Duration::from_secs(2),
        duration: Duration::from_secs(10),
        settle: Duration::from_millis(500),
        cores: vec![1],
        processes: 1,
        pid: None,
        floor: None,
        control: None,
        sources: 64,
        connecting_max: 128,
        seed: 7,
    }
}

fn host() -> HostInfo {
    HostInfo {
        kernel: "6.12.0".into(),
        cpu: "Example CPU @ 3.0 GHz".into(),
        cpus: 2,
        memory: 8 << 30,
        load: "0.10".into(),
        sysctls: vec![("net.core.somaxconn".into(), "4096".into())],
        open_files: 20_000,
        began_unix_s: 1_795_332_600,
        command: vec!["loadtest".into(), "fanout".into()],
    }
}

fn sample(step: u32, slower: f64) -> Sample {
    let at_s = f64::from(step) * 0.25;
    let stage = match at_s {
        at if at <= 0.25 => RunStage::Connecting,
        at if at <= 0.75 => RunStage::Settling,
        at if at <= 2.75 => RunStage::Warming,
        at if at <= 12.75 => RunStage::Measuring,
        _ => RunStage::Draining,
    };
    let wave = 1.0 + 0.04 * (at_s * 2.1).sin();
    let loaded = stage >= RunStage::Warming;
    let latency = |us: f64| loaded.then_some(us * wave * slower);
    Sample {
        at_s,
        seconds: 0.25,
        stage,
        ready: if stage == RunStage::Connecting { 400 } else { 1_000 },
        published: if loaded { 240.0 * wave } else { 0.0 },
        done: if loaded { 24_000.0 * wave } else { 0.0 },
        p50: latency(290.0),
        p99: latency(520.0),
        p999: latency(680.0),
        max: latency(900.0),
        generator_cpus: if loaded { 0.31 * wave } else { 0.05 },
        server_cpus: Some(if loaded { 0.14 * wave * slower } else { 0.01 }),
        server_resident: Some((6 << 20) + u64::from(step) * 1_000),
    }
}
