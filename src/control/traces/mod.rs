//! Exports the spans of sampled publishes to a collector, in batches, as OTLP over HTTP. A collector that is down costs the
//! cores nothing: they drop spans when the queue is full, and a breaker limits the attempts. Samples nothing itself.

mod encode;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::time::{MissedTickBehavior, interval};

use crate::base::breaker::{Breaker, BreakerState};
use crate::base::log_gate::LogGate;
use crate::control::watched::{Metric, Observed};
use crate::engine::trace::Span;
use crate::io::clock;

/// Where spans are sent, and how many may wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceSettings {
    /// URL of the collector; see [`is_endpoint`].
    pub otlp_endpoint: String,
    /// Spans in the queue; the cores drop spans beyond it.
    pub queue_max: usize,
}

/// Spans in one request.
const BATCH_MAX: usize = 512;

/// Interval between batches.
const PAUSE: Duration = Duration::from_secs(1);

/// Time limit of a request, connecting included.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Time limit for sending the rest of the queue when the server ends.
const LAST_TIMEOUT: Duration = Duration::from_secs(2);

/// Consecutive failures that open the breaker for [`RESET_MS`].
const FAILURES_MAX: u32 = 3;
const RESET_MS: u64 = 30_000;

/// Bytes of a collector's error response that are logged.
const LOGGED_RESPONSE_BYTES_MAX: usize = 200;

/// Whether `text` is the URL of a collector: http or https, a host, and optionally a path.
#[must_use]
pub fn is_endpoint(text: &str) -> bool {
    let url = reqwest::Url::parse(text).ok();
    url.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none())
}

/// Counts of exported spans, and the state of the breaker.
#[derive(Debug, Default)]
pub struct Exported {
    sent: AtomicU64,
    failed: AtomicU64,
    breaker: AtomicU8,
}

impl Exported {
    /// Spans that the collector accepted.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Spans that could not be sent.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// State of the breaker.
    #[must_use]
    pub fn breaker(&self) -> BreakerState {
        let state = self.breaker.load(Ordering::Relaxed);
        let states = [BreakerState::Closed, BreakerState::HalfOpen];
        states.into_iter().find(|known| *known as u8 == state).unwrap_or(BreakerState::Open)
    }
}

impl Observed for Exported {
    fn breakers(&self) -> Vec<(&'static str, BreakerState)> {
        vec![("otlp", self.breaker())]
    }

    fn metrics(&self) -> Vec<Metric> {
        let help = "Spans of sampled publishes, by whether the collector accepted them.";
        let values = [("sent", self.sent()), ("failed", self.failed())];
        vec![Metric::counters("roomring_spans", help, "result", &values)]
    }
}

/// Sends the spans of one queue to one collector.
pub struct Exporter {
    client: reqwest::Client,
    url: reqwest::Url,
    node: String,
    spans: Receiver<Span>,
    breaker: Breaker,
    gate: LogGate<()>,
    exported: Arc<Exported>,
}

impl Exporter {
    /// An exporter to be started by [`Exporter::run`], and the sending end of its queue.
    ///
    /// # Errors
    /// The URL is invalid, or the system's certificates cannot be read.
    pub fn new(settings: &TraceSettings, node: &str) -> Result<(Exporter, Sender<Span>), String> {
        let url = traces_url(&settings.otlp_endpoint).ok_or("not an http or https URL")?;
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(1)
            .build()
            .map_err(|error| error.without_url().to_string())?;
        let (sender, spans) = bounded(settings.queue_max);
        let exporter = Exporter {
            client,
            url,
            node: node.to_owned(),
            spans,
            breaker: Breaker::new(FAILURES_MAX, RESET_MS),
            gate: LogGate::default(),
            exported: Arc::default(),
        };
        Ok((exporter, sender))
    }

    /// Its counts.
    #[must_use]
    pub fn exported(&self) -> Arc<Exported> {
        self.exported.clone()
    }

    /// Sends spans until `ended` resolves, then the rest of the queue, and returns.
    pub async fn run(mut self, ended: impl Future<Output = ()>) {
        let mut pause = interval(PAUSE);
        pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ended = std::pin::pin!(ended);
        let mut may_continue = false;
        loop {
            // Full batches follow each other without a pause while the collector accepts them. The end waits for no
            // more than the request in flight.
            tokio::select! {
                biased;
                () = &mut ended => break,
                _ = pause.tick(), if !may_continue => {}
                () = std::future::ready(()), if may_continue => {}
            }
            may_continue = self.send_batch().await && !self.spans.is_empty();
        }
        let last = async { while self.send_batch().await && !self.spans.is_empty() {} };
        if tokio::time::timeout(LAST_TIMEOUT, last).await.is_err() {
            tracing::warn!(spans = self.spans.len(), "the trace collector was too slow for the last spans");
        }
    }

    /// Sends one batch. Returns whether the next one may follow at once.
    async fn send_batch(&mut self) -> bool {
        if self.spans.is_empty() || self.breaker.try_pass(clock::now().mono_ms()).is_err() {
            return false;
        }
        let batch: Vec<Span> = self.spans.try_iter().take(BATCH_MAX).collect();
        let body = encode::request(&batch, &self.node, clock::wall_offset_us());
        let answer = self.client.post(self.url.clone()).header("content-type", "application/json").body(body).send();
        let taken = match answer.await {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => Err(format!("{}: {}", response.status(), read_start(response).await)),
            // The URL may hold a password.
            Err(error) => Err(chain(&error.without_url())),
        };
        self.note(batch.len() as u64, taken)
    }

    fn note(&mut self, spans: u64, taken: Result<(), String>) -> bool {
        let now_ms = clock::now().mono_ms();
        let worked = taken.is_ok();
        match taken {
            Ok(()) => {
                self.breaker.succeeded();
                self.exported.sent.fetch_add(spans, Ordering::Relaxed);
            }
            Err(why) => {
                self.breaker.failed(now_ms);
                let lost = self.exported.failed.fetch_add(spans, Ordering::Relaxed) + spans;
                if let Some(held_back) = self.gate.admit(now_ms, (), "traces") {
                    tracing::warn!(error = why, lost, held_back, "cannot send spans to the trace collector");
                }
            }
        }
        self.exported.breaker.store(self.breaker.state() as u8, Ordering::Relaxed);
        worked
    }
}

/// The URL for spans: the endpoint with the path that OTLP adds for traces.
fn traces_url(endpoint: &str) -> Option<reqwest::Url> {
    if !is_endpoint(endpoint) {
        return None;
    }
    let base = endpoint.trim_end_matches('/');
    let path = if base.ends_with("/v1/traces") { "" } else { "/v1/traces" };
    reqwest::Url::parse(&format!("{base}{path}")).ok()
}

/// The beginning of the collector's response, for the log.
async fn read_start(mut response: reqwest::Response) -> String {
    let mut start = Vec::new();
    while start.len() < LOGGED_RESPONSE_BYTES_MAX
        && let Ok(Some(chunk)) = response.chunk().await
    {
        start.extend_from_slice(&chunk);
    }
    start.truncate(LOGGED_RESPONSE_BYTES_MAX);
    String::from_utf8_lossy(&start).chars().filter(|letter| !letter.is_control()).collect()
}

/// An error with its causes; the last one is the system's.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
