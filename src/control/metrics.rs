//! The text of `/metrics`: every counter of every core, and the metrics of the server's parts, read at each scrape. Keeps
//! no metric itself.

use std::fmt::Error;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::accept::{Media, preference};
use super::process::Process;
use super::requests::Requests;
use super::sample::{counter, gauge};
use super::watched::{Metric, MetricValues, Watched, read_histogram, uptime};
use crate::base::breaker::BreakerState;
use crate::base::causes::{ENDS, ERRORS, REFUSALS};
use crate::base::counters::{COUNTERS, CoreCounters, Counter, CounterKind, Histogram};
use crate::wire::protocol::COMMANDS;

/// The two text formats of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The format that the client prefers by its `Accept` headers. OpenMetrics must be named; every other client gets the
    /// Prometheus text, whatever it accepts.
    pub fn accepted(headers: &[&[u8]]) -> Self {
        let newer = preference(headers, Media { kind: "application", subtype: "openmetrics-text", version: "1.0.0" });
        let older = preference(headers, Media { kind: "text", subtype: "plain", version: "0.0.4" });
        let names_newer = newer.quality > 0 && newer.specificity >= 2;
        if names_newer && (newer.quality, newer.specificity) >= (older.quality, older.specificity) {
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

/// Renders the current metrics.
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

/// OpenMetrics describes a counter without the `_total` of its samples; the Prometheus text describes it with.
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

/// The values of one scrape.
#[derive(Debug)]
struct Scrape {
    cores: Arc<[Arc<CoreCounters>]>,
    uptime_s: f64,
    draining: bool,
    breakers: Vec<(&'static str, BreakerState)>,
    /// Requests to the HTTP API: route, status, count.
    requests: Vec<(&'static str, u16, u64)>,
    /// Metrics of the server's parts.
    parts: Vec<Metric>,
    process: Process,
}

impl Scrape {
    fn of(watched: &Watched, requests: &Requests) -> Self {
        Self {
            cores: watched.cores.clone(),
            uptime_s: uptime().as_secs_f64(),
            draining: watched.is_draining(),
            breakers: watched.parts.iter().flat_map(|part| part.breakers()).collect(),
            requests: requests.counts(),
            parts: watched.parts.iter().flat_map(|part| part.metrics()).collect(),
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
        for (core, counters) in self.cores.iter().enumerate() {
            let (sum, buckets) = read_histogram(read(counters));
            let count = buckets.iter().map(|(_, count)| count).sum();
            let labels = [("core", core)];
            metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }

    fn histograms(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let help = "Time from a publish's arrival to the flush of each delivery to the kernel.";
        self.histogram(encoder, "roomring_publish_to_flush_seconds", help, |core| &core.publish_to_flush)?;
        let help = "Round-trip time of WebSocket pings.";
        self.histogram(encoder, "roomring_round_trip_seconds", help, |core| &core.round_trip)?;
        let help = "Time from accepting a socket to opening its WebSocket.";
        self.histogram(encoder, "roomring_upgrade_seconds", help, |core| &core.upgrade)?;
        let help = "Duration of one turn of a core.";
        self.histogram(encoder, "roomring_turn_seconds", help, |core| &core.turn)
    }

    /// Closes, refusals, commands and drops. Every cause has a sample from the start, so that rates see its first increase.
    fn by_cause(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let help =
            "WebSocket connections ended, by close code and cause; code none: ended by the client or the network.";
        let ends = self.cores.iter().map(|core| core.causes.ends().collect());
        let labels =
            ENDS.iter().map(|(code, cause)| vec![("code", (*code).to_owned()), ("cause", (*cause).to_owned())]);
        labeled(encoder, "roomring_connections_closed", help, ends, labels)?;
        let help = "Upgrades refused, by HTTP status and error, including those refused by a close frame; status 0: closed without a response.";
        let refusals = self.cores.iter().map(|core| core.causes.refusals().collect());
        let labels =
            REFUSALS.iter().map(|(status, error)| vec![("status", status.to_string()), ("error", (*error).to_owned())]);
        labeled(encoder, "roomring_upgrades_refused", help, refusals, labels)?;
        let help = "Commands refused, by error code.";
        let errors = self.cores.iter().map(|core| core.causes.errors().collect());
        let labels = ERRORS.iter().map(|code| vec![("code", code.as_str().to_owned())]);
        labeled(encoder, "roomring_commands_refused", help, errors, labels)?;
        let help = "Commands received, by type; bad: malformed or of unknown type.";
        let commands = self.cores.iter().map(|core| core.causes.commands().collect());
        let labels = COMMANDS.iter().map(|kind| vec![("type", (*kind).to_owned())]);
        labeled(encoder, "roomring_commands", help, commands, labels)?;
        let help = "Deliveries dropped, by cause: slow (outbox full), gap (no longer in history), \
                    lane (lane full, delivered later from history), push (unnumbered push, lane full).";
        let drops = self.cores.iter().map(|core| {
            let counters = [&core.dropped_slow, &core.dropped_gap, &core.dropped_lane, &core.dropped_push];
            counters.map(Counter::get).to_vec()
        });
        let labels = ["slow", "gap", "lane", "push"].iter().map(|cause| vec![("cause", (*cause).to_owned())]);
        labeled(encoder, "roomring_drops", help, drops, labels)
    }

    fn parts(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        for Metric { name, help, values } in &self.parts {
            let (kind, samples) = match values {
                MetricValues::Counter(samples) => (MetricType::Counter, samples),
                MetricValues::Gauge(samples) => (MetricType::Gauge, samples),
                MetricValues::Histogram(sum, buckets) => {
                    let count = buckets.iter().map(|(_, count)| count).sum();
                    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
                    metric.encode_histogram::<NoLabelSet>(*sum, count, buckets, None)?;
                    continue;
                }
            };
            if samples.is_empty() {
                continue;
            }
            let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
            for (label, value) in samples {
                let encode = |metric: &mut MetricEncoder<'_>| match kind {
                    MetricType::Counter => counter(metric, value),
                    _ => metric.encode_gauge(value),
                };
                match label {
                    Some(label) => encode(&mut metric.encode_family(&[*label])?)?,
                    None => encode(&mut metric)?,
                }
            }
        }
        Ok(())
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
        if !self.breakers.is_empty() {
            let help = "State of each circuit breaker: 0 closed, 1 half-open, 2 open.";
            let mut states = encoder.encode_descriptor("roomring_breaker_state", help, None, MetricType::Gauge)?;
            for (target, state) in &self.breakers {
                states.encode_family(&[("target", *target)])?.encode_gauge(&(*state as u64))?;
            }
        }
        gauge(encoder, "roomring_uptime_seconds", "Time since the start of the process, in seconds.", &self.uptime_s)?;
        gauge(encoder, "roomring_cores", "Cores that serve connections.", &(self.cores.len() as u64))?;
        gauge(encoder, "roomring_draining", "1 while the server drains, else 0.", &u64::from(self.draining))?;
        let help = "Always 1; the label has the version.";
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
        self.process(&mut encoder)?;
        self.parts(&mut encoder)
    }
}

/// Encodes a metric with one sample for each core and each set of labels.
fn labeled(
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
