//! Owns a server's `/metrics`, parsed from Prometheus' text format and summed over labels. Never knows a metric, except
//! the version.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::server::http;

/// Prefix of Roomring's metrics.
const PREFIX: &str = "roomring_";

/// One reading.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Values by name without `roomring_`, summed over all labels. Histograms have only `_sum` and `_count`.
    pub values: BTreeMap<String, f64>,
    /// Names of counters.
    totals: Vec<String>,
    /// The server's version.
    pub version: Option<String>,
}

impl Metrics {
    /// Requests the metrics of a server.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn of(control: SocketAddr) -> anyhow::Result<Self> {
        http::get(control, "/metrics").map(|text| Metrics::parse(&text))
    }

    /// Parses the text. Skips invalid lines.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut metrics = Metrics::default();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                if let Some((name, "counter")) = rest.split_once(' ') {
                    metrics.totals.push(short(name).to_owned());
                }
                continue;
            }
            if line.starts_with('#') || line.contains("le=\"") {
                continue;
            }
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            if name == "roomring_build_info" {
                metrics.version = labels.split('"').nth(1).map(str::to_owned);
                continue;
            }
            if let Ok(value) = value.parse::<f64>() {
                *metrics.values.entry(short(name).to_owned()).or_default() += value;
            }
        }
        metrics.totals.sort();
        metrics
    }

    /// Growth of counters since `earlier`; other values unchanged.
    #[must_use]
    pub fn since(&self, earlier: &Metrics) -> Metrics {
        let grows = |name: &str| self.totals.iter().any(|total| total == name) || name.ends_with("_sum");
        let change = |(name, value): (&String, &f64)| {
            let before = if grows(name) || name.ends_with("_count") { earlier.get(name) } else { 0.0 };
            (name.clone(), value - before)
        };
        Metrics { values: self.values.iter().map(change).collect(), ..self.clone() }
    }

    /// One value; 0 if the server does not report it.
    #[must_use]
    pub fn get(&self, name: &str) -> f64 {
        self.values.get(name).copied().unwrap_or(0.0)
    }
}

/// The name without `roomring_` and `_total`.
fn short(name: &str) -> &str {
    let name = name.strip_prefix(PREFIX).unwrap_or(name);
    name.strip_suffix("_total").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# HELP roomring_connections Open WebSocket connections.
# TYPE roomring_connections gauge
roomring_connections{core=\"0\"} 3
roomring_connections{core=\"1\"} 4
# HELP roomring_deliveries_total Publications.
# TYPE roomring_deliveries_total counter
roomring_deliveries_total{core=\"0\"} 1000
roomring_deliveries_total{core=\"1\"} 500
# TYPE roomring_publish_to_flush_seconds histogram
roomring_publish_to_flush_seconds_sum{core=\"0\"} 0.25
roomring_publish_to_flush_seconds_count{core=\"0\"} 10
roomring_publish_to_flush_seconds_bucket{le=\"1e-05\",core=\"0\"} 7
# TYPE roomring_process_cpu_seconds_total counter
roomring_process_cpu_seconds_total{mode=\"user\"} 1.5
# TYPE roomring_build_info gauge
roomring_build_info{version=\"0.1.0\"} 1
nonsense
";

    #[test]
    fn series_are_summed_and_counters_subtracted() {
        let now = Metrics::parse(TEXT);
        assert_eq!(now.version.as_deref(), Some("0.1.0"));
        assert_eq!((now.get("connections"), now.get("deliveries")), (7.0, 1_500.0));
        assert!(!now.values.contains_key("publish_to_flush_seconds_bucket"));
        let before = Metrics::parse(&TEXT.replace("1000", "400").replace("} 3", "} 1").replace("0.25", "0.05"));
        let change = now.since(&before);
        assert_eq!((change.get("deliveries"), change.get("connections")), (600.0, 7.0));
        assert!((change.get("publish_to_flush_seconds_sum") - 0.2).abs() < 1e-9);
        assert_eq!(change.get("publish_to_flush_seconds_count"), 0.0);
        assert_eq!(Metrics::parse("").get("deliveries"), 0.0);
    }
}
