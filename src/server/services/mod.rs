//! The parts of the service thread, in one list: what is started beside the cores, told of each reload, shown by the
//! control address and finished at the end. Each part is a file; this one lists them. Serves no client.

mod auth;
mod control;
mod service;
mod tls;
mod traces;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use self::auth::AuthService;
pub use self::control::ControlService;
pub use self::service::{RunningServer, Service};
use self::tls::TlsService;
use self::traces::TraceService;
use super::config::lower::Plan;
use super::cores::CoreParts;
use crate::control::Observed;

/// Each part may take this long to finish.
const FINISH_TIMEOUT: Duration = Duration::from_secs(10);

/// Every part of the service thread, in the order in which they start and finish: the control address comes first, so
/// that `/ready` tells how the others start, and nobody asks for anything when they finish.
pub struct ServiceThread(Vec<Box<dyn Service>>);

impl ServiceThread {
    /// Prepares what the plan asks for.
    ///
    /// # Errors
    /// One sentence on the first part that cannot be had.
    pub fn prepare(plan: &Plan, control: ControlService) -> anyhow::Result<Self> {
        let mut services: Vec<Box<dyn Service>> = vec![Box::new(control)];
        if let Some(settings) = &plan.auth {
            services.push(Box::new(AuthService::prepare(settings.clone())?));
        }
        if let Some(settings) = &plan.trace {
            services.push(Box::new(TraceService::prepare(settings, &plan.settings.node)?));
        }
        if let Some(identity) = &plan.tls {
            services.push(Box::new(TlsService::prepare(identity.clone())));
        }
        Ok(Self(services))
    }

    /// What the cores are started with.
    #[must_use]
    pub fn core_parts(&self) -> CoreParts {
        let mut parts = CoreParts::default();
        self.0.iter().for_each(|service| service.connect(&mut parts));
        parts
    }

    /// What the control address shows of them.
    #[must_use]
    pub fn observed(&self) -> Vec<Arc<dyn Observed>> {
        self.0.iter().filter_map(|service| service.observed()).collect()
    }

    /// Starts them, one after the other.
    pub async fn start(&mut self, server: &RunningServer) {
        for service in &mut self.0 {
            service.start(server).await;
        }
    }

    /// Hands them a plan that was read again.
    pub fn reload(&mut self, plan: &Plan) {
        self.0.iter_mut().for_each(|service| service.reload(plan));
    }

    /// Finishes them, one after the other.
    pub async fn finish(mut self) {
        for service in &mut self.0 {
            let name = service.name();
            if timeout(FINISH_TIMEOUT, service.finish()).await.is_err() {
                tracing::warn!(service = name, "a service did not finish in time");
            }
        }
    }
}

#[cfg(test)]
mod tests;
