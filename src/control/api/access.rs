//! The HTTP API of one process: its operations, and the limits on access to them. Reads no request.

use std::sync::{Arc, PoisonError, RwLock};

use axum::http::HeaderMap;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::guard::{Guard, REQUESTS_MAX, SharedGuard};
use crate::control::operations::{
    CallCores, ManageAccounts, ManageDeadLetters, OperationError, OperationSettings, Operations,
};
use crate::control::requests::Requests;
use crate::engine::hosts::AllowedHosts;
use crate::engine::rates::Rate;
use crate::io::clock;

/// Bytes of a body beside its data: enough for 1,000 room names of the maximum length.
const BESIDE_DATA_BYTES: usize = 1 << 20;

/// Bytes of all request bodies in memory; at least two of the largest fit.
const BODIES_BYTES_MAX: usize = 64 << 20;

/// Bytes of the largest body: data of `max_message_bytes` fits.
pub(super) fn body_bytes_max(max_message_bytes: usize) -> usize {
    // Base64 is the longest encoding of data.
    max_message_bytes.div_ceil(3) * 4 + BESIDE_DATA_BYTES
}

/// Bytes of all request bodies in memory.
fn bodies_bytes_max(max_message_bytes: usize) -> usize {
    BODIES_BYTES_MAX.max(2 * body_bytes_max(max_message_bytes))
}

/// The configuration of the API.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// This machine's name.
    pub node: String,
    /// The value of `X-API-Key` that requests need; if empty, none is needed.
    pub api_key: String,
    /// Rate limit of requests; `None`: no limit.
    pub api_rate: Option<Rate>,
    /// Bytes of data in one publish.
    pub max_message_bytes: usize,
    /// Hosts that requests to the control address may name, on every route.
    pub allowed_hosts: AllowedHosts,
    /// Whether rooms whose names begin with `@` are inboxes; if not, publishing to them is forbidden.
    pub inboxes: bool,
}

/// The HTTP API of one process.
pub struct Api {
    operations: Arc<Operations>,
    guard: SharedGuard,
    hosts: RwLock<AllowedHosts>,
    /// One permit for each request in flight.
    in_flight: Semaphore,
    /// Bytes of the largest body.
    body_bytes_max: usize,
    /// One permit for each KiB of request bodies in memory.
    bodies: Semaphore,
    requests: Requests,
}

impl Api {
    /// `drain` starts a drain as a signal does, and returns whether the request was queued.
    pub fn new(
        settings: ApiSettings,
        cores: impl CallCores + 'static,
        drain: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let ApiSettings { node, api_key, api_rate, max_message_bytes, allowed_hosts, inboxes } = settings;
        let operations = Operations::new(OperationSettings { node, max_message_bytes, inboxes }, cores, drain);
        Self {
            operations: Arc::new(operations),
            guard: SharedGuard::new(Guard::new(api_key, api_rate)),
            hosts: RwLock::new(allowed_hosts),
            in_flight: Semaphore::new(REQUESTS_MAX),
            body_bytes_max: body_bytes_max(max_message_bytes),
            bodies: Semaphore::new(bodies_bytes_max(max_message_bytes) / 1_024),
            requests: Requests::default(),
        }
    }

    /// With the accounts of this server.
    #[must_use]
    pub fn managing(mut self, accounts: Option<Arc<dyn ManageAccounts>>) -> Self {
        // Nobody else has them yet.
        self.operations = Arc::into_inner(self.operations)
            .map(|operations| Arc::new(operations.managing(accounts)))
            .expect("a new API shares its operations with nobody");
        self
    }

    /// With the dead letters of this server.
    #[must_use]
    pub fn keeping(mut self, dead_letters: Option<Arc<dyn ManageDeadLetters>>) -> Self {
        // Nobody else has them yet.
        self.operations = Arc::into_inner(self.operations)
            .map(|operations| Arc::new(operations.keeping(dead_letters)))
            .expect("a new API shares its operations with nobody");
        self
    }

    /// Replaces the key, the rate and the hosts.
    pub fn change(&self, key: String, rate: Option<Rate>, hosts: AllowedHosts) {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner).change(key, rate, clock::now().mono_us);
        *self.hosts.write().unwrap_or_else(PoisonError::into_inner) = hosts;
    }

    /// Whether requests may name this host.
    pub fn allows(&self, authority: &str) -> bool {
        self.hosts.read().unwrap_or_else(PoisonError::into_inner).allow(authority)
    }

    /// Counts of requests.
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// The operations that requests run.
    pub(super) fn operations(&self) -> Arc<Operations> {
        self.operations.clone()
    }

    /// Admits a request by its key, origin and rate, and counts it as in flight until the permit is dropped.
    ///
    /// # Errors
    /// Becomes status 401, 403, 429 or 503.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<SemaphorePermit<'_>, OperationError> {
        let now_us = clock::now().mono_us;
        self.guard.lock().unwrap_or_else(PoisonError::into_inner).admit(headers, now_us)?;
        self.in_flight.try_acquire().map_err(|_| OperationError::overloaded("too many API requests are in flight"))
    }

    /// Bytes of the largest body.
    pub(super) fn body_bytes_max(&self) -> usize {
        self.body_bytes_max
    }

    /// Reserves memory for a body until the permit is dropped.
    ///
    /// # Errors
    /// Becomes status 503.
    pub(super) fn reserve_body(&self, bytes: usize) -> Result<SemaphorePermit<'_>, OperationError> {
        let kib = u32::try_from(bytes.div_ceil(1_024)).expect("the largest body is far below 4 TiB");
        let full = |_| OperationError::overloaded("other requests use all the memory for request bodies");
        self.bodies.try_acquire_many(kib).map_err(full)
    }
}
