//! The state that every operation works with: the cores, and the configuration of requests. Serves no protocol.

use std::sync::Arc;

use super::account_manager::ManageAccounts;
use super::caller::{CallCores, Caller};
use super::dead_letter_manager::ManageDeadLetters;
use super::error::OperationError;

/// The part of the configuration that operations depend on.
#[derive(Clone, Debug)]
pub struct OperationSettings {
    /// This machine's name.
    pub node: String,
    /// Bytes of data in one publish.
    pub max_message_bytes: usize,
    /// Whether rooms whose names begin with `@` are inboxes; if not, publishing to them is forbidden.
    pub inboxes: bool,
}

/// The operations of one process.
pub struct Operations {
    pub(super) settings: OperationSettings,
    pub(super) cores: Caller,
    drain: Box<dyn Fn() -> bool + Send + Sync>,
    accounts: Option<Arc<dyn ManageAccounts>>,
    dead_letters: Option<Arc<dyn ManageDeadLetters>>,
}

impl Operations {
    /// `drain` starts a drain as a signal does, and returns whether the request was queued.
    pub fn new(
        settings: OperationSettings,
        cores: impl CallCores + 'static,
        drain: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { settings, cores: Caller::new(cores), drain: Box::new(drain), accounts: None, dead_letters: None }
    }

    /// With the accounts of this server.
    #[must_use]
    pub fn managing(mut self, accounts: Option<Arc<dyn ManageAccounts>>) -> Self {
        self.accounts = accounts;
        self
    }

    /// With the dead letters of this server.
    #[must_use]
    pub fn keeping(mut self, dead_letters: Option<Arc<dyn ManageDeadLetters>>) -> Self {
        self.dead_letters = dead_letters;
        self
    }

    /// The dead letters of this server.
    ///
    /// # Errors
    /// It keeps none.
    pub(super) fn dead_letters(&self) -> Result<&Arc<dyn ManageDeadLetters>, OperationError> {
        let message = "this server keeps no dead letters";
        self.dead_letters.as_ref().ok_or_else(|| OperationError::forbidden(message))
    }

    /// The accounts of this server.
    ///
    /// # Errors
    /// It has none.
    pub(super) fn accounts(&self) -> Result<&Arc<dyn ManageAccounts>, OperationError> {
        let message = "this server has no accounts: auth.mode is not accounts";
        self.accounts.as_ref().ok_or_else(|| OperationError::forbidden(message))
    }

    pub(super) fn start_drain(&self) -> bool {
        (self.drain)()
    }
}
