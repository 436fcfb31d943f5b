//! What every operation works with: the cores, and what the configuration says about requests. Serves no protocol.

use super::caller::{CallCores, Caller};

/// What operations take from the configuration.
#[derive(Clone, Debug)]
pub struct OperationSettings {
    /// This machine's name.
    pub node: String,
    /// The largest data of a publish.
    pub max_message_bytes: usize,
    /// Whether rooms whose names begin with `@` are inboxes of users; without, nothing may be published there.
    pub inboxes: bool,
}

/// The operations of one process.
pub struct Operations {
    pub(super) settings: OperationSettings,
    pub(super) cores: Caller,
    drain: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Operations {
    /// `drain` begins the planned stop as a signal does; `false`: the service thread could not be told.
    pub fn new(
        settings: OperationSettings,
        cores: impl CallCores + 'static,
        drain: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { settings, cores: Caller::new(cores), drain: Box::new(drain) }
    }

    pub(super) fn begin_drain(&self) -> bool {
        (self.drain)()
    }
}
