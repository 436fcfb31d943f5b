//! What every part of the service thread has in common. Knows none of them.

use std::pin::Pin;
use std::sync::Arc;

use crate::control::{Observed, Watched};
use crate::io::core::CoreHandle;
use crate::server::config::lower::Plan;
use crate::server::cores::CoreParts;

/// Work that is awaited on the service thread.
pub type Work<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// The server once its cores run.
pub struct RunningServer {
    /// Speaks to each core.
    pub cores: Arc<[CoreHandle]>,
    /// What the control address shows.
    pub watched: Arc<Watched>,
}

/// A part of the service thread. It is prepared, which may fail, before the cores start.
pub trait Service {
    /// Its name in the log.
    fn name(&self) -> &'static str;

    /// Adds what the cores need to reach it.
    fn connect(&self, _cores: &mut CoreParts) {}

    /// What `/ready` and `/metrics` show of it.
    fn observed(&self) -> Option<Arc<dyn Observed>> {
        None
    }

    /// Begins its work, and returns as soon as the server may say that it is ready.
    fn start<'a>(&'a mut self, server: &'a RunningServer) -> Work<'a>;

    /// Takes over what has changed in the configuration.
    fn reload(&mut self, _plan: &Plan) {}

    /// Ends its work, after the cores have ended. The caller bounds the time.
    fn finish(&mut self) -> Work<'_> {
        Box::pin(std::future::ready(()))
    }
}
