//! The text of `/metrics`: every counter of every core, merged when it is asked for. Keeps no metric of its own.

use std::fmt::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::Watched;
use super::accept::{Media, wish};
use super::process::Process;
use super::requests::Requests;
use super::sample::{counter, gauge};
use crate::base::breaker::BreakerState;
use crate::base::causes::{ENDS, ERRORS, REFUSALS};
use crate::base::counters::{BOUNDS_US, COUNTERS, CoreCounters, Counter, CounterKind, Histogram};
use crate::wire::protocol::COMMANDS;

/// The two texts that monitoring systems read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The one to answer with, by the request's `Accept` headers: the one that is wanted more. OpenMetrics, which says
    /// more, goes to those who name it; the older text to everyone else, whatever they ask for.
    pub fn accepted(headers: &[&[u8]]) -> Self {
        let newer = wish(headers, Media { kind: "application", subtype: "openmetrics-text", version: "1.0.0" });
        let older = wish(headers, Media { kind: "text", subtype: "plain", version: "0.0.4" });
        let names_newer = newer.quality > 0 && newer.precision >= 2;
        if names_newer && (newer.quality, newer.precision) >= (older.quality, older.precision) {
            Format::OpenMetrics
        } else {
            Format::Prometheus
        }
    }

    /// `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The metrics of now.
pub fn render(watched: &Watched, requests: &Requests, format: Format) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape::of(watched, requests)));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("writing to a string cannot fail");
    match format {
        Format::OpenMetrics => text,
        Format::Prometheus => as_prometheus(&text),
    }
}

/// OpenMetrics names a counter without `_total` where it describes it; the older text names it as its samples do.
fn as_prometheus(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut counter = "";
    let lines: Vec<&str> = open_metrics.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap_or((help, ""));
            let kind = lines.get(at + 1).and_then(|next| next.strip_prefix("# TYPE ")?.strip_prefix(name));
            counter = if kind == Some(" counter") { name } else { "" };
            let suffix = if counter.is_empty() { "" } else { "_total" };
            text.extend(["# HELP ", name, suffix, " ", words, "\n"]);
        } else if line.starts_with("# TYPE ") && !counter.is_empty() {
            text.extend(["# TYPE ", counter, "_total counter\n"]);
        } else if *line != "# EOF" {
            text.extend([line, "\n"]);
        }
    }
    text
}

/// One reading of everything.
#[derive(Debug)]
struct Scrape {
    cores: Arc<[Arc<CoreCounters>]>,
    uptime_s: f64,
    draining: bool,
    tls_expires_s: u64,
    log_lines_lost: u64,
    breakers: Vec<(&'static str, BreakerState)>,
    /// Of the HTTP API: route, status, count.
    requests: Vec<(&'static str, u16, u64)>,
    /// Sent, and lost on the way.
    spans: Option<(u64, u64)>,
    process: Process,
}

impl Scrape {
    fn of(watched: &Watched, requests: &Requests) -> Self {
        Self {
            cores: watched.cores.clone(),
            uptime_s: super::uptime().as_secs_f64(),
            draining: watched.is_draining(),
            tls_expires_s: watched.tls_expires_s.load(Ordering::Relaxed),
            log_lines_lost: (watched.log_lines_lost)(),
            breakers: watched.breakers.iter().map(|breaker| (breaker.name, (breaker.read)())).collect(),
            requests: requests.counts(),
            spans: watched.spans.as_ref().map(|exported| (exported.sent(), exported.failed())),
            process: Process::read(),
        }
    }

    fn sum(&self, read: impl Fn(&CoreCounters) -> u64) -> u64 {
        self.cores.iter().fold(0, |sum, core| sum.wrapping_add(read(core)))
    }

    fn by_core(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let cores: Vec<Vec<u64>> = self.cores.iter().map(|core| core.values()).collect();
        for (index, (name, kind, help)) in COUNTERS.iter().enumerate() {
            let name = format!("roomring_{name}");
            let kind = match kind {
                CounterKind::Total => MetricType::Counter,
                CounterKind::Gauge => MetricType::Gauge,
            };
            let mut metric = encoder.encode_descriptor(&name, help, None, kind)?;
            for (core, values) in cores.iter().enumerate() {
                let labels = [("core", core)];
                let mut metric = metric.encode_family(&labels)?;
                match kind {
                    MetricType::Counter => counter(&mut metric, &values[index])?,
                    _ => metric.encode_gauge(&values[index])?,
                }
            }
        }
        Ok(())
    }

    fn histogram(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        read: impl Fn(&CoreCounters) -> &Histogram,
    ) -> Result<(), Error> {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        let bounds = BOUNDS_US.iter().map(|bound| *bound as f64 / 1e6).chain([f64::INFINITY]);
        for (core, counters) in self.cores.iter().enumerate() {
            let histogram = read(counters);
            let counts = histogram.buckets.iter().map(|bucket| bucket.get());
            let buckets: Vec<(f64, u64)> = bounds.clone().zip(counts).collect();
            let count = buckets.iter().map(|(_, count)| count).sum();
            let sum = histogram.sum_us.get() as f64 / 1e6;
            let labels = [("core", core)];
            metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }

    fn histograms(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let help = "Time from a publication's arrival to the flush that hands it to the kernel, per delivery.";
        self.histogram(encoder, "roomring_publish_to_flush_seconds", help, |core| &core.publish_to_flush)?;
        let help = "Round-trip time of WebSocket pings.";
        self.histogram(encoder, "roomring_round_trip_seconds", help, |core| &core.round_trip)?;
        let help = "Time from a socket's acceptance to its WebSocket's opening.";
        self.histogram(encoder, "roomring_upgrade_seconds", help, |core| &core.upgrade)?;
        let help = "Time that one turn of a core takes, from its first input to its end.";
        self.histogram(encoder, "roomring_turn_seconds", help, |core| &core.turn)
    }

    /// Closes, refusals, commands and drops: every cause there is, from the start, so that a rate of it is known at once.
    fn by_cause(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let help = "WebSocket connections that have ended, by close code and cause; code none: the client's own doing.";
        let ends = self.cores.iter().map(|core| core.causes.ends().collect());
        let labels =
            ENDS.iter().map(|(code, cause)| vec![("code", (*code).to_owned()), ("cause", (*cause).to_owned())]);
        labelled(encoder, "roomring_connections_closed", help, ends, labels)?;
        let help = "Upgrades refused, by HTTP status and error, also where a close frame told; status 0: closed without an answer.";
        let refusals = self.cores.iter().map(|core| core.causes.refusals().collect());
        let labels =
            REFUSALS.iter().map(|(status, error)| vec![("status", status.to_string()), ("error", (*error).to_owned())]);
        labelled(encoder, "roomring_upgrades_refused", help, refusals, labels)?;
        let help = "Commands answered by an error, by its code.";
        let errors = self.cores.iter().map(|core| core.causes.errors().collect());
        let labels = ERRORS.iter().map(|code| vec![("code", code.as_str().to_owned())]);
        labelled(encoder, "roomring_commands_refused", help, errors, labels)?;
        let help = "Commands received, by type; bad: not readable, or of an unknown type.";
        let commands = self.cores.iter().map(|core| core.causes.commands().collect());
        let labels = COMMANDS.iter().map(|kind| vec![("type", (*kind).to_owned())]);
        labelled(encoder, "roomring_commands", help, commands, labels)?;
        let help = "What some member or core was not given, by cause: slow (outbox full), gap (lost to history), \
                    lane (put off, and made good from history), push (no number, lane full).";
        let drops = self.cores.iter().map(|core| {
            let counters = [&core.dropped_slow, &core.dropped_gap, &core.dropped_lane, &core.dropped_push];
            counters.map(Counter::get).to_vec()
        });
        let labels = ["slow", "gap", "lane", "push"].iter().map(|cause| vec![("cause", (*cause).to_owned())]);
        labelled(encoder, "roomring_drops", help, drops, labels)
    }

    fn spans(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let Some((sent, failed)) = self.spans else { return Ok(()) };
        let help = "Spans of sampled publishes, by what became of them at the collector.";
        let mut metric = encoder.encode_descriptor("roomring_spans", help, None, MetricType::Counter)?;
        counter(&mut metric.encode_family(&[("result", "sent")])?, &sent)?;
        counter(&mut metric.encode_family(&[("result", "failed")])?, &failed)
    }

    fn requests(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let help = "Requests to the HTTP API, by route and status.";
        let mut metric = encoder.encode_descriptor("roomring_api_requests", help, None, MetricType::Counter)?;
        for (route, status, count) in &self.requests {
            let status = status.to_string();
            counter(&mut metric.encode_family(&[("route", *route), ("status", status.as_str())])?, count)?;
        }
        Ok(())
    }

    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        self.process.encode(encoder)?;
        let mut lost = encoder.encode_descriptor(
            "roomring_log_lines_lost",
            "Log lines that found no room in the queue to standard error.",
            None,
            MetricType::Counter,
        )?;
        counter(&mut lost, &self.log_lines_lost)?;
        if !self.breakers.is_empty() {
            let help = "Circuit breakers: 0 closed, 1 half-open, 2 open.";
            let mut states = encoder.encode_descriptor("roomring_breaker_state", help, None, MetricType::Gauge)?;
            for (target, state) in &self.breakers {
                states.encode_family(&[("target", *target)])?.encode_gauge(&(*state as u64))?;
            }
        }
        gauge(encoder, "roomring_uptime_seconds", "Time since the process began.", &self.uptime_s)?;
        gauge(encoder, "roomring_cores", "Cores that serve connections.", &(self.cores.len() as u64))?;
        gauge(encoder, "roomring_draining", "1 while the server is about to end.", &u64::from(self.draining))?;
        if self.tls_expires_s > 0 {
            let help = "When the TLS certificate in use expires, in Unix seconds.";
            gauge(encoder, "roomring_tls_certificate_expiry_timestamp_seconds", help, &self.tls_expires_s)?;
        }
        let help = "1, with the version of the program.";
        let mut build = encoder.encode_descriptor("roomring_build_info", help, None, MetricType::Gauge)?;
        build.encode_family(&[("version", env!("CARGO_PKG_VERSION"))])?.encode_gauge(&1_u64)
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let connections = self.sum(|core| core.connections.get());
        gauge(&mut encoder, "websocket_active_connections", "Open WebSocket connections.", &connections)?;
        let mut messages = encoder.encode_descriptor(
            "websocket_messages",
            "WebSocket messages, by direction.",
            None,
            MetricType::Counter,
        )?;
        let (received, sent) =
            (self.sum(|core| core.messages_received.get()), self.sum(|core| core.messages_sent.get()));
        counter(&mut messages.encode_family(&[("direction", "received")])?, &received)?;
        counter(&mut messages.encode_family(&[("direction", "sent")])?, &sent)?;
        self.by_core(&mut encoder)?;
        self.by_cause(&mut encoder)?;
        self.histograms(&mut encoder)?;
        self.requests(&mut encoder)?;
        self.spans(&mut encoder)?;
        self.process(&mut encoder)
    }
}

/// One family: for each core a count for each set of labels.
fn labelled(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    cores: impl Iterator<Item = Vec<u64>>,
    labels: impl Iterator<Item = Vec<(&'static str, String)>> + Clone,
) -> Result<(), Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (core, counts) in cores.enumerate() {
        for (mut labels, count) in labels.clone().zip(counts) {
            labels.push(("core", core.to_string()));
            counter(&mut metric.encode_family(&labels)?, &count)?;
        }
    }
    Ok(())
}
