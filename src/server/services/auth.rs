//! The service that keeps token keys current. The work is done in [`crate::server::auth`].

use std::sync::Arc;

use super::service::{RunningServer, Service, Work};
use crate::control::Observed;
use crate::server::auth::{AuthMistake, AuthSettings, Keeper, KeySetState, Reloads};
use crate::server::config::lower::Plan;
use crate::server::cores::CoreParts;

/// Keeps token keys current.
pub struct AuthService {
    /// Taken when it starts to run in its own task.
    keeper: Option<Keeper>,
    reloads: Reloads,
    state: Arc<KeySetState>,
}

impl AuthService {
    /// Reads the keys that are configured directly or in a PEM file.
    ///
    /// # Errors
    /// A key cannot be read.
    pub fn prepare(settings: AuthSettings) -> anyhow::Result<Self> {
        settings.warn();
        let (keeper, reloads) =
            Keeper::new(settings).map_err(|AuthMistake { key, text }| anyhow::anyhow!("auth.{key}: {text}"))?;
        Ok(Self { state: keeper.state(), keeper: Some(keeper), reloads })
    }
}

impl Service for AuthService {
    fn name(&self) -> &'static str {
        "auth"
    }

    fn connect(&mut self, cores: &mut CoreParts) {
        if let Some(keeper) = &self.keeper {
            cores.keys = Some(keeper.keys());
            cores.services.iter_mut().for_each(|services| services.keys = Some(keeper.call()));
        }
    }

    fn observed(&self) -> Option<Arc<dyn Observed>> {
        Some(self.state.clone())
    }

    /// Reads the key set once before the server announces that it is ready.
    fn start<'a>(&'a mut self, server: &'a RunningServer) -> Work<'a> {
        Box::pin(async {
            if let Some(mut keeper) = self.keeper.take() {
                keeper.begin(&server.cores).await;
                tokio::spawn(keeper.run(server.cores.clone()));
            }
        })
    }

    fn reload(&mut self, plan: &Plan) {
        if let Some(settings) = &plan.auth {
            self.reloads.reload(settings.clone());
        }
    }
}
