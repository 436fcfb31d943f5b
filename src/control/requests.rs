//! Counts of requests to the HTTP API, by route and status. Both come from short lists, so that clients cannot create
//! series.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// Requests counted by route and status.
#[derive(Debug, Default)]
pub struct Requests(Mutex<BTreeMap<(&'static str, u16), u64>>);

impl Requests {
    /// Counts a request. `route` is the pattern of a route, never a path from a request.
    pub fn count(&self, route: &'static str, status: u16) {
        let mut counts = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *counts.entry((route, status)).or_default() += 1;
    }

    /// Route, status and count, in order of the routes.
    pub fn counts(&self) -> Vec<(&'static str, u16, u64)> {
        let counts = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        counts.iter().map(|((route, status), count)| (*route, *status, *count)).collect()
    }
}
