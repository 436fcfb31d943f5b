//! The exporter of traces within this process: started before the cores, ended after them. Sends nothing itself.

use std::sync::Arc;

use crossbeam_channel::Sender;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::config::lower::Plan;
use crate::base::breaker::BreakerState;
use crate::control::{Exported, Exporter, Watch};
use crate::engine::trace::Span;

/// An exporter at its work.
pub struct Traces {
    queue: Sender<Span>,
    exported: Arc<Exported>,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Traces {
    /// Starts it on the service thread, if the plan has a collector.
    ///
    /// # Errors
    /// Its address is of no use.
    pub fn start(plan: &Plan) -> anyhow::Result<Option<Traces>> {
        let Some(settings) = &plan.trace else { return Ok(None) };
        let (exporter, queue) = Exporter::new(settings, &plan.settings.node)
            .map_err(|why| anyhow::anyhow!("trace.otlp_endpoint: spans cannot be sent: {why}"))?;
        let exported = exporter.exported();
        let (end, ended) = oneshot::channel();
        let ended = async move {
            let _ = ended.await;
        };
        Ok(Some(Traces { queue, exported, end, task: tokio::spawn(exporter.run(ended)) }))
    }

    /// Where the cores put spans.
    pub fn queue(&self) -> Sender<Span> {
        self.queue.clone()
    }

    /// What has become of them.
    pub fn exported(&self) -> Arc<Exported> {
        self.exported.clone()
    }

    /// Whether the collector is left alone.
    pub fn breaker(&self) -> Watch<BreakerState> {
        let exported = self.exported();
        Watch { name: "otlp", read: Box::new(move || exported.breaker()) }
    }

    /// Sends what the cores have left, within the exporter's own time limit.
    pub async fn finish(self) {
        // It is there until it is told.
        let _ = self.end.send(());
        let _ = self.task.await;
    }
}
