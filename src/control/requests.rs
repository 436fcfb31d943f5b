//! Counts of the HTTP API's requests, by route and status. Both come from short lists, so that the number of series is
//! bounded whatever is asked.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// How often each route was answered with each status.
#[derive(Debug, Default)]
pub struct Requests(Mutex<BTreeMap<(&'static str, u16), u64>>);

impl Requests {
    /// One more. `route` is a route's pattern, never a path as it was asked for.
    pub fn count(&self, route: &'static str, status: u16) {
        let mut counts = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *counts.entry((route, status)).or_default() += 1;
    }

    /// Route, status and count, in the order of the routes.
    pub fn counts(&self) -> Vec<(&'static str, u16, u64)> {
        let counts = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        counts.iter().map(|((route, status), count)| (*route, *status, *count)).collect()
    }
}
