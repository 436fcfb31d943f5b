//! Sends the spans of sampled publishes to a collector, in batches, as OTLP over HTTP. A collector that is down costs the
//! cores nothing: spans beyond the queue are dropped there, and the breaker keeps this from trying too often.

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
use crate::engine::trace::Span;
use crate::io::clock;

/// How spans are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceSettings {
    /// The collector: see [`is_endpoint`].
    pub otlp_endpoint: String,
    /// Spans that may wait; over it they are dropped by the cores.
    pub queue_max: usize,
}

/// Spans of one request.
const BATCH_MAX: usize = 512;

/// What waits is sent this often.
const PAUSE: Duration = Duration::from_secs(1);

/// A request may take so long, its connecting included.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What still waits at the end of the server gets so long.
const LAST_TIMEOUT: Duration = Duration::from_secs(2);

/// Failures in a row after which the collector is left alone for [`RESET_MS`].
const FAILURES_MAX: u32 = 3;
const RESET_MS: u64 = 30_000;

/// Of the collector's words about a refusal so many bytes are logged.
const WORDS_MAX: usize = 200;

/// Whether this is the address of a collector: http or https, a host, and maybe a path.
#[must_use]
pub fn is_endpoint(text: &str) -> bool {
    let url = reqwest::Url::parse(text).ok();
    url.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none())
}

/// What has become of the spans that were to be sent. Any thread reads it.
#[derive(Debug, Default)]
pub struct Exported {
    sent: AtomicU64,
    failed: AtomicU64,
    breaker: AtomicU8,
}

impl Exported {
    /// Spans that the collector has taken.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Spans that it has not.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Whether it is left alone.
    #[must_use]
    pub fn breaker(&self) -> BreakerState {
        let state = self.breaker.load(Ordering::Relaxed);
        let states = [BreakerState::Closed, BreakerState::HalfOpen];
        states.into_iter().find(|known| *known as u8 == state).unwrap_or(BreakerState::Open)
    }
}

/// Sends spans from one queue to one collector.
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
    /// One that waits for [`Exporter::run`], and the cores' end of its queue.
    ///
    /// # Errors
    /// The address is none, or the system's certificates cannot be read.
    pub fn new(settings: &TraceSettings, node: &str) -> Result<(Exporter, Sender<Span>), String> {
        let url = traces_url(&settings.otlp_endpoint).ok_or("it is not an http or https URL")?;
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

    /// What has become of the spans.
    #[must_use]
    pub fn exported(&self) -> Arc<Exported> {
        self.exported.clone()
    }

    /// Sends what comes, until `ended` resolves; then what still waits, and resolves.
    pub async fn run(mut self, ended: impl Future<Output = ()>) {
        let mut pause = interval(PAUSE);
        pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ended = std::pin::pin!(ended);
        let mut may_go_on = false;
        loop {
            // One batch after another, for as long as more is there than fits in one and the collector takes it; but a
            // slow collector does not keep the end waiting for more than the request that is under way.
            tokio::select! {
                biased;
                () = &mut ended => break,
                _ = pause.tick(), if !may_go_on => {}
                () = std::future::ready(()), if may_go_on => {}
            }
            may_go_on = self.send_batch().await && !self.spans.is_empty();
        }
        let last = async { while self.send_batch().await && !self.spans.is_empty() {} };
        if tokio::time::timeout(LAST_TIMEOUT, last).await.is_err() {
            tracing::warn!(spans = self.spans.len(), "the collector of traces was too slow for the last spans");
        }
    }

    /// Sends one batch of what waits. Whether the next may be sent at once.
    async fn send_batch(&mut self) -> bool {
        if self.spans.is_empty() || self.breaker.try_pass(clock::now().mono_ms()).is_err() {
            return false;
        }
        let batch: Vec<Span> = self.spans.try_iter().take(BATCH_MAX).collect();
        let body = encode::request(&batch, &self.node, clock::wall_offset_us());
        let answer = self.client.post(self.url.clone()).header("content-type", "application/json").body(body).send();
        let taken = match answer.await {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => Err(format!("{}: {}", response.status(), words(response).await)),
            // The address may hold a password.
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
                    tracing::warn!(error = why, lost, held_back, "the collector of traces did not take spans");
                }
            }
        }
        self.exported.breaker.store(self.breaker.state() as u8, Ordering::Relaxed);
        worked
    }
}

/// Where spans go at a collector: the address as the OTLP specification takes it, which adds the path of the signal.
fn traces_url(endpoint: &str) -> Option<reqwest::Url> {
    if !is_endpoint(endpoint) {
        return None;
    }
    let base = endpoint.trim_end_matches('/');
    let path = if base.ends_with("/v1/traces") { "" } else { "/v1/traces" };
    reqwest::Url::parse(&format!("{base}{path}")).ok()
}

/// The beginning of what the collector says, for the log.
async fn words(mut response: reqwest::Response) -> String {
    let mut words = Vec::new();
    while words.len() < WORDS_MAX
        && let Ok(Some(chunk)) = response.chunk().await
    {
        words.extend_from_slice(&chunk);
    }
    words.truncate(WORDS_MAX);
    String::from_utf8_lossy(&words).chars().filter(|letter| !letter.is_control()).collect()
}

/// An error with its causes: the last one says what the system said.
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
