//! Owns the figures of one run as sections, for terminal and HTML. New histograms and counters of a scenario appear
//! without a change here. Never judges.

use super::section::{Row, Section};
use crate::measure::histogram::DurationSummary;
use crate::plan::{DurableLoad, PublishPace, Scenario, StormLoad};
use crate::results::outcome::{Outcome, ServerFigures, plural};
use crate::text::{self, bytes, grouped, micros, number, words};

/// The shown percentiles.
pub const PERCENTILES: [&str; 6] = ["p50", "p90", "p99", "p99.9", "p99.99", "max"];

/// Histograms in the shown order, with their labels. Others follow under their own names.
const HISTOGRAMS: [(&str, &str); 15] = [
    ("latency", "latency"),
    ("latency_storm", "latency in storms"),
    ("last_receiver", "to the last receiver"),
    ("cold_join", "join of a cold room"),
    ("warm_join", "join of the same room again"),
    ("inbox", "reconnect to inbox message"),
    ("cycle", "cycle"),
    ("join", "connect to joined"),
    ("recovery", "reconnect to recovered"),
    ("back", "away until back"),
    ("whole", "until all are back"),
    ("history", "history read"),
    ("presence", "presence query"),
    ("lag_storm", "generator's lag in storms"),
    ("lag", "generator's lag"),
];

/// Counters that other rows show, or that concern only the generator.
const SHOWN_ELSEWHERE: [&str; 31] = [
    "tls_full",
    "tls_resumed",
    "compressed",
    "inflated_bytes",
    "storms",
    "returned",
    "storm_ns",
    "storm_cpu_ns",
    "storm_server_ns",
    "opened",
    "open",
    "ready",
    "connect_failures",
    "published",
    "expected",
    "delivered",
    "duplicated",
    "out_of_order",
    "misrouted",
    "wrong",
    "disconnected",
    "errors",
    "outstanding",
    "holes",
    "bytes_received",
    "bytes_sent",
    "receives",
    "sends",
    "turns",
    "cpu_ns",
    "waited_ns",
];

/// The label of a histogram.
#[must_use]
pub fn histogram_label(name: &str) -> String {
    HISTOGRAMS.iter().find(|(known, _)| *known == name).map_or_else(|| words(name), |(_, label)| (*label).to_owned())
}

/// The names of a run's histograms, in the shown order.
#[must_use]
pub fn histogram_names(outcome: &Outcome) -> Vec<&str> {
    let known = HISTOGRAMS.iter().map(|(name, _)| *name).filter(|name| outcome.durations.contains_key(*name));
    let is_known = |name: &str| HISTOGRAMS.iter().any(|(known, _)| *known == name);
    let mut names: Vec<&str> = known.filter(|name| *name != "lag").collect();
    names.extend(outcome.durations.keys().map(String::as_str).filter(|name| !is_known(name)));
    names.extend(outcome.durations.contains_key("lag").then_some("lag"));
    names
}

/// A line per histogram: its label, then [`PERCENTILES`].
#[must_use]
pub fn percentiles(outcome: &Outcome) -> Vec<Vec<String>> {
    let line = |name: &str| {
        let DurationSummary { p50, p90, p99, p999, p9999, max, .. } = outcome.durations[name];
        let mut cells = vec![histogram_label(name)];
        cells.extend([p50, p90, p99, p999, p9999, max].map(micros));
        cells
    };
    histogram_names(outcome).into_iter().map(line).collect()
}

/// All sections without percentiles and host.
#[must_use]
pub fn sections(outcome: &Outcome) -> Vec<Section> {
    let mut sections = vec![work(outcome)];
    sections.extend(super::goal::targets(outcome));
    sections.extend(storms(outcome));
    sections.push(correctness(outcome));
    sections.extend(counted(outcome));
    if let Some(server) = &outcome.server {
        sections.push(server_cpu(outcome, server));
        sections.push(memory(outcome, server));
    }
    sections.extend(server_work(outcome));
    sections.extend(floor(outcome));
    sections.push(generator(outcome));
    sections
}

fn work(outcome: &Outcome) -> Section {
    let mut section = Section::new("Work");
    let (count, unit) = outcome.work();
    let per_second = |count: u64| format!("{}/s", number(count as f64 / outcome.measured_s));
    let total = format!("{} in {:.2} s", grouped(count), outcome.measured_s);
    section.add(plural(unit), per_second(count), total);
    if outcome.measured.published > 0 {
        let offered = match outcome.options.scenario {
            Scenario::Fanout { pace, .. }
            | Scenario::Echo { pace }
            | Scenario::Storm(StormLoad { pace, .. })
            | Scenario::Durable(DurableLoad { pace, .. }) => match pace {
                PublishPace::InFlight(_) => None,
                PublishPace::Poisson { per_second } | PublishPace::Even { per_second } => Some(per_second),
            },
            Scenario::Mixed(mixed) => Some(mixed.publishes_per_second),
            Scenario::Chat(chat) => Some(chat.messages_per_user * f64::from(outcome.options.connections)),
            Scenario::Idle | Scenario::Churn | Scenario::Soak(_) => None,
        };
        let offered = offered.map_or_else(String::new, |rate| format!("of {}/s offered", number(rate)));
        section.add("published", per_second(outcome.measured.published), offered);
    }
    let clients = grouped(u64::from(outcome.options.connections));
    let rate = f64::from(outcome.options.connections) / outcome.connected_in_s.max(1e-3);
    if are_connected(outcome) {
        section.add("connected and joined", clients, format!("in {:.2} s: {}/s", outcome.connected_in_s, number(rate)));
    }
    section.rows.extend(on_the_wire(outcome));
    section
}

/// Bytes on the wire per unit of work, compression, TLS handshakes.
fn on_the_wire(outcome: &Outcome) -> Vec<Row> {
    let mut section = Section::new("");
    let ((count, unit), measured, total) = (outcome.work(), &outcome.measured, &outcome.total);
    if count > 0 && outcome.storm.is_none() {
        let each = bytes(ratio(measured.bytes_received, count));
        section.add(format!("received per {unit}"), each, format!("{} sent", bytes(ratio(measured.bytes_sent, count))));
    }
    if outcome.options.edge.deflate {
        let share = format!("{} %", number(ratio(measured.compressed * 100, measured.delivered)));
        let inflated = bytes(ratio(total.inflated_bytes, total.compressed));
        let note = format!("of the messages, {} in the whole run, of {inflated} each", grouped(total.compressed));
        section.add("compressed", share, note);
    }
    if outcome.options.edge.tls {
        let resumed = format!("{} resumed", grouped(total.tls_resumed));
        section.add("TLS handshakes", grouped(total.tls_full), format!("full, {resumed}, in the whole run"));
    }
    section.rows
}

fn storms(outcome: &Outcome) -> Option<Section> {
    let storm = outcome.storm.as_ref()?;
    let mut section = Section::new("Storms, whole run");
    section.add("storms", number(storm.storms), "");
    section.add("reconnects", grouped(storm.returned), "");
    if let Some(us) = storm.server_us_per_reconnect {
        section.add("server CPU per reconnect", micros(us), "beyond the cost of publications");
    }
    if let Some(busy) = storm.server_busy {
        section.add("server during storms", format!("{} %", number(busy * 100.0)), "of a CPU");
    }
    section.add("generator during storms", format!("{} %", number(storm.generator_busy * 100.0)), "of a CPU");
    Some(section)
}

fn correctness(outcome: &Outcome) -> Section {
    let mut section = Section::new("Correctness, whole run");
    let total = &outcome.total;
    if total.expected + total.delivered > 0 {
        section.add("expected", grouped(total.expected), "");
        section.add("received", grouped(total.delivered), "");
    }
    let bad = [
        ("lost", total.lost()),
        ("duplicated", total.duplicated),
        ("out of order", total.out_of_order),
        ("misrouted", total.misrouted),
        ("wrong", total.wrong),
        ("disconnected", total.disconnected),
        ("refused", total.errors),
    ];
    let names: Vec<&str> = bad.iter().filter(|(_, count)| *count == 0).map(|(name, _)| *name).collect();
    for (name, count) in bad.into_iter().filter(|(_, count)| *count > 0) {
        section.add(name, grouped(count), "");
    }
    if !names.is_empty() {
        section.add("zero", "0", names.join(", "));
    }
    section
}

/// Counters that no other row shows.
fn counted(outcome: &Outcome) -> Option<Section> {
    let mut section = Section::new("Other counters, whole run");
    let elsewhere = |name: &str| SHOWN_ELSEWHERE.contains(&name);
    for (name, count) in outcome.total.named().into_iter().filter(|(name, count)| *count > 0 && !elsewhere(name)) {
        section.add(words(name), grouped(count), "");
    }
    (!section.rows.is_empty()).then_some(section)
}

fn server_cpu(outcome: &Outcome, server: &ServerFigures) -> Section {
    let mut section = Section::new("Server CPU");
    let (count, unit) = outcome.work();
    // In storms, publications cost CPU too; the section about storms has the cost of a reconnect.
    if count > 0 && outcome.storm.is_none() {
        section.add(format!("{} per CPU-second", plural(unit)), number(server.per_cpu_second), "");
        let split = format!("{} ns user, {} ns kernel", number(server.user_ns), number(server.system_ns));
        section.add(format!("CPU per {unit}"), format!("{} ns", number(server.cpu_ns)), split);
        section.add("context switches", number(server.switches_per_1000), format!("per 1,000 {}", plural(unit)));
    }
    section.add(
        "CPU share",
        format!("{} %", number(server.busy * 100.0)),
        format!("{} µs per connection and second", number(server.cpu_us_per_connection_second)),
    );
    for (name, share) in &outcome.threads {
        section.add(format!("threads {name}"), format!("{} %", number(share * 100.0)), "of a CPU");
    }
    section
}

/// Metrics of Roomring about its own work.
fn server_work(outcome: &Outcome) -> Option<Section> {
    let metrics = outcome.metrics.as_ref()?;
    let unit = outcome.work().1;
    let mut section = Section::new(&format!("Server's own counters, per {unit}"));
    for (name, label) in [
        ("submissions", "ring submissions"),
        ("operations", "ring operations"),
        ("completions", "ring completions"),
        ("sends", "sends"),
        ("turns", "turns of a core"),
        ("wakes", "wake-ups of a core"),
        ("hops", "hops to other cores"),
        ("allocations", "allocations"),
    ] {
        if let Some(value) = outcome.per_unit.get(name) {
            let each =
                if *value > 0.0 && *value < 0.5 { format!("one per {}", number(1.0 / value)) } else { String::new() };
            section.add(label, format!("{value:.4}"), each);
        }
    }
    let flushes = metrics.get("publish_to_flush_seconds_count");
    if flushes > 0.0 {
        let mean = metrics.get("publish_to_flush_seconds_sum") / flushes * 1e6;
        section.add("arrival to flush", micros(mean), "mean, in the server, per delivery");
    }
    let dropped = metrics.values.iter().filter(|(name, count)| name.starts_with("dropped_") && **count > 0.0);
    let dropped: Vec<String> = dropped.map(|(name, count)| format!("{} {}", number(*count), words(name))).collect();
    section.add("dropped", if dropped.is_empty() { "0" } else { "some" }, dropped.join(", "));
    Some(section)
}

/// Whether clients stay connected, so that memory per connection is meaningful.
#[must_use]
pub fn are_connected(outcome: &Outcome) -> bool {
    !matches!(outcome.options.scenario, Scenario::Churn)
}

fn memory(outcome: &Outcome, server: &ServerFigures) -> Section {
    let mut section = Section::new("Server memory");
    if are_connected(outcome) {
        let [joined, end] = server.private_per_connection;
        section.add("private per connection", format!("{} B", number(joined)), format!("{} B at the end", number(end)));
        let [joined, end] = server.pss_per_connection;
        section.add("PSS per connection", format!("{} B", number(joined)), format!("{} B at the end", number(end)));
        let slab = format!("{} B", number(server.slab_per_connection));
        section.add("kernel slab per connection", slab, "of the whole host: includes both ends if both are here");
    }
    let [empty, full, loaded] = server.memory.map(|sample| bytes(sample.unwrap_or_default().private as f64));
    section.add("private, process", full, format!("{empty} before, {loaded} at the end"));
    section
}

fn floor(outcome: &Outcome) -> Option<Section> {
    let floor = outcome.floor.filter(|floor| floor.frames > 0)?;
    let mut section = Section::new("Floor: bare sends");
    let per_frame = ratio(floor.send_cpu_ns, floor.frames);
    let size = format!(
        "of {} B, {} frames",
        number(ratio(floor.bytes, floor.sends)),
        number(ratio(floor.frames, floor.sends))
    );
    section.add("CPU per send", format!("{} ns", number(ratio(floor.send_cpu_ns, floor.sends))), size);
    let rate = format!("{} per CPU-second", number(1e9 / per_frame.max(1e-3)));
    section.add("CPU per frame", format!("{} ns", number(per_frame)), rate);
    Some(section)
}

fn generator(outcome: &Outcome) -> Section {
    let mut section = Section::new("Generator");
    let processes = outcome.options.plans().map_or(1, |plans| plans.len());
    let of = if processes > 1 { format!("of a CPU, busiest of {processes} processes") } else { "of a CPU".to_owned() };
    section.add("CPU share", format!("{:.0} %", outcome.generator_busy * 100.0), of);
    section.add("waited for a CPU", format!("{:.1} %", outcome.generator_waited * 100.0), "of the time");
    let (count, unit) = outcome.work();
    if count > 0 && outcome.storm.is_none() {
        section.add(format!("CPU per {unit}"), format!("{} ns", number(ratio(outcome.measured.cpu_ns, count))), "");
    }
    let reads = ratio(outcome.measured.delivered, outcome.measured.receives);
    if reads > 0.0 {
        section.add("messages per read", number(reads), "");
    }
    section
}

/// The server's program.
#[must_use]
pub fn program(title: &str, outcome: &Outcome) -> Section {
    let mut section = Section::new(title);
    section.add("edge", outcome.options.edge.told(), "TLS, compression, tokens, limits");
    if let Some(store) = &outcome.options.store {
        section.add("store", store.mode.word(), store.to_string());
    }
    if let Some(program) = &outcome.program {
        let version = program.version.as_ref().map_or_else(|| "unknown version".to_owned(), |v| format!("version {v}"));
        section.add("server", version, program.command.join(" "));
        if !program.cpus.is_empty() {
            section.add("server's CPUs", program.cpus.clone(), format!("{} threads", program.threads));
        }
    }
    section
}

/// The conditions of a run, to repeat it.
#[must_use]
pub fn conditions(outcome: &Outcome) -> Section {
    let mut section = Section::new("Conditions");
    let host = &outcome.host;
    if host.began_unix_s > 0 {
        section.add("date", text::date(host.began_unix_s), "");
    }
    section.add("seed", outcome.options.seed.to_string(), "");
    section.add("loadtest", format!("version {}", outcome.loadtest), host.command.join(" "));
    section.rows.extend(program("server", outcome).rows);
    if !outcome.options.cores.is_empty() {
        let cores: Vec<String> = outcome.options.cores.iter().map(usize::to_string).collect();
        section.add("generator's CPUs", cores.join(","), "");
    }
    section.add("CPU", host.cpu.clone(), format!("{} CPUs", host.cpus));
    section.add("memory", bytes(host.memory as f64), "");
    section.add("kernel", format!("Linux {}", host.kernel), "");
    section.add("load before", host.load.clone(), "average of one minute");
    section.add("open files", grouped(host.open_files), "limit of the generator");
    for (name, value) in &host.sysctls {
        section.add(name.clone(), value.clone(), "");
    }
    section
}

fn ratio(count: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { count as f64 / of as f64 }
}
