//! The text of `/metrics`: every counter of every core, merged when it is asked for. Keeps no metric of its own.

use std::fmt::Error;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::Watched;
use super::requests::Requests;
use crate::base::breaker::BreakerState;
use crate::base::counters::{BOUNDS_US, COUNTERS, CoreCounters, Histogram, Kind};

/// The two texts that monitoring systems read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The one to answer with, by the request's `Accept` headers.
    pub fn accepted<'a>(mut headers: impl Iterator<Item = &'a str>) -> Self {
        match headers.any(|header| header.contains("application/openmetrics-text")) {
            true => Format::OpenMetrics,
            false => Format::Prometheus,
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
    cpu_s: Option<(f64, f64)>,
    resident_bytes: Option<u64>,
    /// Of the HTTP API: route, status, count.
    requests: Vec<(&'static str, u16, u64)>,
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
            cpu_s: cpu_seconds(),
            resident_bytes: resident_bytes(),
            requests: requests.counts(),
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
                Kind::Total => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
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
        self.histogram(encoder, "roomring_round_trip_seconds", help, |core| &core.round_trip)
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
        if let Some((user, system)) = self.cpu_s {
            let help = "CPU time of the process, in seconds.";
            let mut metric =
                encoder.encode_descriptor("roomring_process_cpu_seconds", help, None, MetricType::Counter)?;
            counter(&mut metric.encode_family(&[("mode", "user")])?, &user)?;
            counter(&mut metric.encode_family(&[("mode", "system")])?, &system)?;
        }
        if let Some(bytes) = self.resident_bytes {
            let help = "Memory of the process that is in RAM, in bytes.";
            gauge(encoder, "roomring_process_resident_memory_bytes", help, &bytes)?;
        }
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
        self.histograms(&mut encoder)?;
        self.requests(&mut encoder)?;
        self.process(&mut encoder)
    }
}

fn counter(metric: &mut MetricEncoder<'_>, value: &impl EncodeCounterValue) -> Result<(), Error> {
    metric.encode_counter::<NoLabelSet, _, f64>(value, None)
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: &impl EncodeGaugeValue,
) -> Result<(), Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(value)
}

/// In user mode and in the kernel.
fn cpu_seconds() -> Option<(f64, f64)> {
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    Some((seconds(usage.user_time()), seconds(usage.system_time())))
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
