//! The services of the service thread: prepared before the cores, started beside them, told of every reload, shown by the
//! control address, and finished at the end. One file for each, and the list of them here. Serves no client.

mod accounts;
mod auth;
mod control;
mod service;
mod store;
mod tls;
mod traces;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use self::accounts::AccountService;
use self::auth::AuthService;
pub use self::control::ControlService;
pub use self::service::{RunningServer, Service};
use self::store::StoreService;
use self::tls::TlsService;
use self::traces::TraceService;
use super::config::lower::Plan;
use super::cores::CoreParts;
use super::dead_letters::StoredDeadLetters;
use crate::control::Observed;
use crate::io::error::StartError;

/// Time limit for a service to finish.
const FINISH_TIMEOUT: Duration = Duration::from_secs(10);

/// All services, in the order in which they start and finish. The control address is first: `/ready` shows how the others
/// start, and no request reaches the others while they finish.
pub struct ServiceThread(Vec<Box<dyn Service>>);

impl ServiceThread {
    /// Prepares the services that the plan needs.
    ///
    /// # Errors
    /// One sentence on the first service that fails.
    pub fn prepare(plan: &Plan, mut control: ControlService) -> anyhow::Result<Self> {
        let store = StoreService::prepare(plan)?;
        control.keep(Arc::new(StoredDeadLetters(store.handle())));
        let accounts = plan.accounts.as_ref().map(|settings| AccountService::prepare(settings.clone(), store.handle()));
        let accounts = accounts.transpose()?;
        if let Some(accounts) = &accounts {
            control.manage(accounts.managed());
        }
        let mut services: Vec<Box<dyn Service>> = vec![Box::new(control), Box::new(store)];
        if let Some(accounts) = accounts {
            services.push(Box::new(accounts));
        }
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

    /// What the services give to each of so many cores at its start.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn core_parts(&mut self, cores: usize) -> Result<CoreParts, StartError> {
        let mut parts = CoreParts::new(cores)?;
        self.0.iter_mut().for_each(|service| service.connect(&mut parts));
        Ok(parts)
    }

    /// The observable state of each service, for the control address.
    #[must_use]
    pub fn observed(&self) -> Vec<Arc<dyn Observed>> {
        self.0.iter().filter_map(|service| service.observed()).collect()
    }

    /// Starts the services in order.
    pub async fn start(&mut self, server: &RunningServer) {
        for service in &mut self.0 {
            service.start(server).await;
        }
    }

    /// Passes a reloaded plan on to every service.
    pub fn reload(&mut self, plan: &Plan) {
        self.0.iter_mut().for_each(|service| service.reload(plan));
    }

    /// Finishes the services in order, each within a time limit.
    pub async fn finish(mut self) {
        for service in &mut self.0 {
            let name = service.name();
            if timeout(FINISH_TIMEOUT, service.finish()).await.is_err() {
                tracing::warn!(service = name, "service did not finish in time");
            }
        }
    }
}

#[cfg(test)]
mod tests;
