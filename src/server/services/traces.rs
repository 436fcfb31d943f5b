//! The service that exports traces, the last spans of the cores included. The work is done in [`crate::control::Exporter`].

use std::sync::Arc;

use crossbeam_channel::Sender;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::service::{RunningServer, Service, Work};
use crate::control::{Exported, Exporter, Observed, TraceSettings};
use crate::engine::trace::Span;
use crate::server::cores::CoreParts;

/// Exports spans to a collector.
pub struct TraceService {
    queue: Sender<Span>,
    exported: Arc<Exported>,
    /// Taken when it starts to run in its own task.
    exporter: Option<Exporter>,
    running: Option<RunningExporter>,
}

struct RunningExporter {
    /// Ends the exporter after the spans in its queue.
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl TraceService {
    /// An exporter with these settings.
    ///
    /// # Errors
    /// The URL of the collector cannot be used.
    pub fn prepare(settings: &TraceSettings, node: &str) -> anyhow::Result<Self> {
        let (exporter, queue) = Exporter::new(settings, node)
            .map_err(|why| anyhow::anyhow!("trace.otlp_endpoint: cannot export spans: {why}"))?;
        Ok(Self { queue, exported: exporter.exported(), exporter: Some(exporter), running: None })
    }
}

impl Service for TraceService {
    fn name(&self) -> &'static str {
        "traces"
    }

    fn connect(&mut self, cores: &mut CoreParts) {
        cores.services.iter_mut().for_each(|services| services.spans = Some(self.queue.clone()));
    }

    fn observed(&self) -> Option<Arc<dyn Observed>> {
        Some(self.exported.clone())
    }

    fn start<'a>(&'a mut self, _: &'a RunningServer) -> Work<'a> {
        if let Some(exporter) = self.exporter.take() {
            let (end, ended) = oneshot::channel();
            let ended = async move {
                let _ = ended.await;
            };
            self.running = Some(RunningExporter { end, task: tokio::spawn(exporter.run(ended)) });
        }
        Box::pin(std::future::ready(()))
    }

    /// Sends the remaining spans, within the exporter's own time limit.
    fn finish(&mut self) -> Work<'_> {
        Box::pin(async {
            if let Some(RunningExporter { end, task }) = self.running.take() {
                let _ = end.send(());
                let _ = task.await;
            }
        })
    }
}
