//! The service that keeps rooms beyond memory. The work is done in [`crate::store`].

use std::sync::Arc;

use anyhow::Context;

use super::service::{RunningServer, Service, Work};
use crate::base::breaker::BreakerState;
use crate::control::{Metric, Observed, Readiness};
use crate::engine::settings::KeepingMode;
use crate::server::config::choices::StoreKind;
use crate::server::config::lower::{Plan, StorePlan};
use crate::server::cores::CoreParts;
use crate::server::store_rules::rules;
use crate::store::figures::StoreFigures;
use crate::store::keeper_thread::StoreHandle;
use crate::store::threads::{PreparedStore, RunningStore};

/// Keeps rooms.
pub struct StoreService {
    /// Taken when the threads start.
    prepared: Option<PreparedStore>,
    running: Option<RunningStore>,
    handle: StoreHandle,
    observed: Arc<ObservedStore>,
}

impl StoreService {
    /// Opens the store: what it holds is checked, and what its log has and its index lacks is carried out.
    ///
    /// # Errors
    /// One sentence: the directory cannot be used, or what is in it is damaged.
    pub fn prepare(plan: &Plan) -> anyhow::Result<Self> {
        let StorePlan { kind, path, .. } = &plan.store;
        let rules = rules(plan);
        let prepared = match kind {
            StoreKind::Embedded => {
                let is_behind = plan.settings.keeping == KeepingMode::Behind;
                PreparedStore::open(path, is_behind, rules).context("store.path")?
            }
            _ => PreparedStore::in_memory(rules)?,
        };
        let observed = Arc::new(ObservedStore { figures: prepared.figures(), has_log: *kind == StoreKind::Embedded });
        let handle = prepared.handle();
        Ok(Self { prepared: Some(prepared), running: None, handle, observed })
    }
}

impl StoreService {
    /// For other services.
    #[must_use]
    pub fn handle(&self) -> StoreHandle {
        self.handle.clone()
    }
}

impl Service for StoreService {
    fn name(&self) -> &'static str {
        "store"
    }

    fn connect(&mut self, cores: &mut CoreParts) {
        if let Some(prepared) = &mut self.prepared {
            let ends = prepared.connect(&cores.wakes);
            for (services, end) in cores.services.iter_mut().zip(ends) {
                services.store = Some(end);
            }
        }
    }

    fn observed(&self) -> Option<Arc<dyn Observed>> {
        Some(self.observed.clone())
    }

    fn start<'a>(&'a mut self, _: &'a RunningServer) -> Work<'a> {
        self.running = self.prepared.take().map(PreparedStore::start);
        Box::pin(std::future::ready(()))
    }

    fn reload(&mut self, plan: &Plan) {
        if let Some(running) = &self.running {
            running.set_rules(rules(plan));
        }
    }

    /// Waits until everything that the cores have asked is kept.
    fn finish(&mut self) -> Work<'_> {
        Box::pin(async {
            if let Some(running) = self.running.take() {
                running.finish().await;
            }
        })
    }
}

/// The store as the control address shows it.
struct ObservedStore {
    figures: Arc<StoreFigures>,
    has_log: bool,
}

impl Observed for ObservedStore {
    fn readiness(&self) -> Option<Readiness> {
        Some(Readiness { part: "store", fault: self.figures.fault() })
    }

    fn breakers(&self) -> Vec<(&'static str, BreakerState)> {
        vec![("store", self.figures.breaker())]
    }

    fn metrics(&self) -> Vec<Metric> {
        let figures = &self.figures;
        let gauge = |name, help, value: u64| Metric::gauge(name, help, Some(value));
        let mut all = vec![
            gauge(
                "roomring_store_queued_bytes",
                "Bytes of changes that wait to be stored.",
                figures.queued_bytes.get(),
            ),
            gauge(
                "roomring_store_unapplied_bytes",
                "Bytes of changes that are stored and not yet in the index.",
                figures.unapplied_bytes.get(),
            ),
            Metric::counter(
                "roomring_store_conflicts",
                "Changes that did not fit what is stored.",
                figures.conflicts.get(),
            ),
            Metric::counter(
                "roomring_store_swept",
                "Rows removed from the store because they expired or were too many.",
                figures.swept.get(),
            ),
            gauge(
                "roomring_store_dead_letters",
                "Dead letters kept: messages that were acknowledged and could not be stored.",
                figures.dead_letters.get(),
            ),
            Metric::counter(
                "roomring_store_dead_letters_added",
                "Messages that became dead letters.",
                figures.dead_letters_added.get(),
            ),
            Metric::counter(
                "roomring_store_dead_letters_lost",
                "Messages that could not become dead letters because too many are kept.",
                figures.dead_letters_lost.get(),
            ),
        ];
        if self.has_log {
            all.extend([
                Metric::histogram(
                    "roomring_store_commit_seconds",
                    "Time to write and sync a group of changes.",
                    &figures.commit,
                ),
                Metric::counter("roomring_store_groups", "Groups of changes written and synced.", figures.groups.get()),
                Metric::counter("roomring_store_changes", "Changes written and synced.", figures.changes.get()),
                Metric::counter(
                    "roomring_store_written_bytes",
                    "Bytes of changes written and synced.",
                    figures.bytes.get(),
                ),
                Metric::counter(
                    "roomring_store_failures",
                    "Groups of changes that could not be written.",
                    figures.failures.get(),
                ),
                gauge("roomring_store_log_files", "Files of the log.", figures.segments.get()),
                gauge("roomring_store_log_bytes", "Bytes of the log on disk.", figures.log_bytes.get()),
                gauge("roomring_store_index_bytes", "Bytes of the index on disk.", figures.index_bytes.get()),
            ]);
        }
        all
    }
}
