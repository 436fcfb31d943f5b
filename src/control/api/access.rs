//! The HTTP API of one process: its operations, and what bounds the access to them. Reads no request.

use std::sync::{Arc, PoisonError, RwLock};

use axum::http::HeaderMap;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::guard::{Guard, REQUESTS_MAX, SharedGuard};
use crate::control::operations::{CallCores, OperationSettings, Operations, Refused};
use crate::control::requests::Requests;
use crate::engine::hosts::AllowedHosts;
use crate::engine::rates::Rate;
use crate::io::clock;

/// Bytes of a body beside its data, with 1,000 room names as long as they can be.
const BESIDE_DATA_BYTES: usize = 1 << 20;

/// Bytes of the bodies that are being read or worked on, together; at least two of the largest.
const BODIES_BYTES_MAX: usize = 64 << 20;

/// Bytes of a body in which there can be data of `max_message_bytes`.
pub(super) fn body_bytes_max(max_message_bytes: usize) -> usize {
    // Base64 is the longest form of data.
    max_message_bytes.div_ceil(3) * 4 + BESIDE_DATA_BYTES
}

/// Bytes of all bodies together.
fn bodies_bytes_max(max_message_bytes: usize) -> usize {
    BODIES_BYTES_MAX.max(2 * body_bytes_max(max_message_bytes))
}

/// What the API is told at its start.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// This machine's name.
    pub node: String,
    /// `X-API-Key`; empty: nobody is asked for one.
    pub api_key: String,
    /// How often requests may come; `None`: no limit.
    pub api_rate: Option<Rate>,
    /// The largest data of a publish.
    pub max_message_bytes: usize,
    /// Hosts by which the control address may be asked for, on every route.
    pub allowed_hosts: AllowedHosts,
    /// Whether rooms whose names begin with `@` are users' inboxes; without, nothing may be published there.
    pub inboxes: bool,
}

/// The HTTP API of one process.
pub struct Api {
    operations: Arc<Operations>,
    guard: SharedGuard,
    hosts: RwLock<AllowedHosts>,
    /// Requests under way.
    places: Semaphore,
    /// The largest body of a request.
    body_bytes_max: usize,
    /// KiB of the bodies of requests under way.
    bodies: Semaphore,
    requests: Requests,
}

impl Api {
    /// `drain` begins the planned stop as a signal does; `false`: it could not be told.
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
            places: Semaphore::new(REQUESTS_MAX),
            body_bytes_max: body_bytes_max(max_message_bytes),
            bodies: Semaphore::new(bodies_bytes_max(max_message_bytes) / 1_024),
            requests: Requests::default(),
        }
    }

    /// Goes by another key, another rate and other hosts from now on.
    pub fn change(&self, key: String, rate: Option<Rate>, hosts: AllowedHosts) {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner).change(key, rate, clock::now().mono_us);
        *self.hosts.write().unwrap_or_else(PoisonError::into_inner) = hosts;
    }

    /// Whether a request may ask for this host.
    pub fn allows(&self, authority: &str) -> bool {
        self.hosts.read().unwrap_or_else(PoisonError::into_inner).allow(authority)
    }

    /// The counts of its requests.
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// What requests ask for.
    pub(super) fn operations(&self) -> Arc<Operations> {
        self.operations.clone()
    }

    /// Lets a request pass that has the key, is not too many, and is no stranger's page's.
    ///
    /// # Errors
    /// 401, 403, 429 or 503.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<SemaphorePermit<'_>, Refused> {
        let now_us = clock::now().mono_us;
        self.guard.lock().unwrap_or_else(PoisonError::into_inner).admit(headers, now_us)?;
        self.places.try_acquire().map_err(|_| Refused::overloaded("too many requests to the API are under way"))
    }

    /// The largest body of a request.
    pub(super) fn body_bytes_max(&self) -> usize {
        self.body_bytes_max
    }

    /// Memory for a body of so many bytes, until it is dropped.
    ///
    /// # Errors
    /// 503.
    pub(super) fn reserve_body(&self, bytes: usize) -> Result<SemaphorePermit<'_>, Refused> {
        let kib = u32::try_from(bytes.div_ceil(1_024)).expect("the largest body is far below 4 TiB");
        let full = |_| Refused::overloaded("the bodies of other requests take all the memory there is for them");
        self.bodies.try_acquire_many(kib).map_err(full)
    }
}
