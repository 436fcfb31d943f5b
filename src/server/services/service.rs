//! The interface of a service. Knows no service.

use std::pin::Pin;
use std::sync::Arc;

use crate::control::{Observed, Watched};
use crate::io::core::CoreHandle;
use crate::server::config::lower::Plan;
use crate::server::cores::CoreParts;

/// Work of a service, awaited on the service thread.
pub type Work<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// The running server, for services that start.
pub struct RunningServer {
    /// The handle of each core.
    pub cores: Arc<[CoreHandle]>,
    /// The state that the control address shows.
    pub watched: Arc<Watched>,
}

/// A part of the service thread. Its constructor, `prepare`, does everything that may fail, before the cores start.
pub trait Service {
    /// The name of the service in the log.
    fn name(&self) -> &'static str;

    /// Adds the channels through which cores reach the service.
    fn connect(&mut self, _cores: &mut CoreParts) {}

    /// The state that `/ready` and `/metrics` show.
    fn observed(&self) -> Option<Arc<dyn Observed>> {
        None
    }

    /// Starts the service. The server announces that it is ready after every service has started.
    fn start<'a>(&'a mut self, server: &'a RunningServer) -> Work<'a>;

    /// Applies a reloaded configuration.
    fn reload(&mut self, _plan: &Plan) {}

    /// Finishes pending work after the cores have ended. The caller limits the time.
    fn finish(&mut self) -> Work<'_> {
        Box::pin(std::future::ready(()))
    }
}
