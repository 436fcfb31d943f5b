//! The bound on connections of the control address. When it is reached, the connection that has kept the server waiting
//! longest is closed for the next one. A request that has been in flight for a while counts as waiting too: most likely its
//! body is missing. Knows no socket and no clock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

/// A connection whose request has been in flight for this long is closed like an idle one.
const SLOW_MS: u64 = 2_000;

/// Gives out one permit for each connection, up to a maximum.
pub struct ConnectionLimit {
    admitted: Arc<Mutex<AdmittedConnections>>,
    most: usize,
}

#[derive(Default)]
struct AdmittedConnections {
    /// A number for the next change of any connection, which keeps changes in order.
    next: u64,
    /// Idle connections first, each kind in the order in which it began.
    by_rank: BTreeMap<EvictionRank, AdmittedConnection>,
}

type EvictionRank = (Standing, u64);

#[derive(Default)]
struct AdmittedConnection {
    /// Closes the connection.
    task: Option<AbortHandle>,
    /// When the request in flight arrived, monotonic milliseconds.
    since_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// The server waits for the client to send a request or to read a response.
    Idle,
    /// A request is in flight.
    Working,
}

impl ConnectionLimit {
    /// With `most` permits, all free.
    pub fn new(most: usize) -> Self {
        Self { admitted: Arc::default(), most }
    }

    /// Admits a connection, at the limit by closing another one.
    pub fn admit(&self, now_ms: u64) -> Permit {
        let mut admitted = lock(&self.admitted);
        if admitted.by_rank.len() >= self.most {
            let oldest = admitted.by_rank.first_key_value().map(|(rank, _)| *rank);
            if let Some(rank) = admitted.slowest(now_ms).or(oldest) {
                admitted.close(rank);
            }
        }
        let rank = (Standing::Idle, admitted.next());
        admitted.by_rank.insert(rank, AdmittedConnection::default());
        Permit(Arc::new(PermitInner { admitted: self.admitted.clone(), rank: Mutex::new(rank) }))
    }

    /// Closes the connection that has kept the server waiting longest. Returns whether there was one.
    pub fn close_slowest(&self, now_ms: u64) -> bool {
        let mut admitted = lock(&self.admitted);
        let slowest = admitted.slowest(now_ms);
        slowest.into_iter().for_each(|rank| admitted.close(rank));
        slowest.is_some()
    }
}

impl AdmittedConnections {
    fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The connection whose client the server has waited for longest.
    fn slowest(&self, now_ms: u64) -> Option<EvictionRank> {
        let first = |standing| self.by_rank.range((standing, 0)..=(standing, u64::MAX)).next();
        let is_slow = |connection: &AdmittedConnection| now_ms >= connection.since_ms + SLOW_MS;
        let idle = first(Standing::Idle).map(|(rank, _)| *rank);
        let slow = first(Standing::Working).filter(|(_, connection)| is_slow(connection)).map(|(rank, _)| *rank);
        [idle, slow].into_iter().flatten().min_by_key(|(_, since)| *since)
    }

    /// Its permit is free at once, its socket as soon as its task is dropped.
    fn close(&mut self, rank: EvictionRank) {
        if let Some(AdmittedConnection { task: Some(task), .. }) = self.by_rank.remove(&rank) {
            task.abort();
        }
    }
}

/// Lets a connection stay, until the last clone is dropped or the connection is closed for another.
#[derive(Clone)]
pub struct Permit(Arc<PermitInner>);

struct PermitInner {
    admitted: Arc<Mutex<AdmittedConnections>>,
    rank: Mutex<EvictionRank>,
}

impl Permit {
    /// Names the task that serves the connection: aborting it closes the connection.
    pub fn served_by(&self, task: AbortHandle) {
        let rank = *lock(&self.0.rank);
        // It may have been closed already, for the next one that was accepted.
        match lock(&self.0.admitted).by_rank.get_mut(&rank) {
            Some(connection) => connection.task = Some(task),
            None => task.abort(),
        }
    }

    /// Marks a request as in flight until the returned value is dropped.
    pub fn begin_request(&self, now_ms: u64) -> RequestInFlight {
        self.0.stand(Standing::Working, now_ms);
        RequestInFlight(self.clone())
    }
}

impl PermitInner {
    fn stand(&self, standing: Standing, since_ms: u64) {
        let (mut rank, mut admitted) = (lock(&self.rank), lock(&self.admitted));
        // A closed connection has no rank any more.
        if let Some(connection) = admitted.by_rank.remove(&rank) {
            *rank = (standing, admitted.next());
            admitted.by_rank.insert(*rank, AdmittedConnection { since_ms, ..connection });
        }
    }
}

impl Drop for PermitInner {
    fn drop(&mut self) {
        lock(&self.admitted).by_rank.remove(&lock(&self.rank));
    }
}

/// A request in flight.
pub struct RequestInFlight(Permit);

impl Drop for RequestInFlight {
    fn drop(&mut self) {
        self.0.0.stand(Standing::Idle, 0);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::task::{JoinHandle, yield_now};

    use super::*;

    fn connect(limit: &ConnectionLimit, now_ms: u64) -> (Permit, JoinHandle<()>) {
        let permit = limit.admit(now_ms);
        let task = tokio::spawn(std::future::pending());
        permit.served_by(task.abort_handle());
        (permit, task)
    }

    async fn ended(connections: &[(Permit, JoinHandle<()>)]) -> Vec<usize> {
        yield_now().await;
        (0..connections.len()).filter(|index| connections[*index].1.is_finished()).collect()
    }

    #[tokio::test]
    async fn the_slowest_client_is_closed_for_the_next() {
        let limit = ConnectionLimit::new(3);
        let mut connections: Vec<_> = (0..3).map(|_| connect(&limit, 0)).collect();
        // The first sends a request again, the second has one in flight, the third stays idle.
        drop(connections[0].0.begin_request(0));
        let working = connections[1].0.begin_request(0);
        assert!(ended(&connections).await.is_empty());
        connections.push(connect(&limit, SLOW_MS - 1));
        assert_eq!(ended(&connections).await, [2]);
        connections.push(connect(&limit, SLOW_MS - 1));
        assert_eq!(ended(&connections).await, [0, 2]);
        drop(working);
        connections.push(connect(&limit, SLOW_MS));
        assert_eq!(ended(&connections).await, [0, 2, 3], "an idle time begins with the last response");
    }

    #[tokio::test]
    async fn a_request_that_goes_on_and_on_is_closed_before_newer_connections() {
        let limit = ConnectionLimit::new(2);
        let mut connections: Vec<_> = (0..2).map(|_| connect(&limit, 0)).collect();
        let working = [connections[1].0.begin_request(0), connections[0].0.begin_request(1)];
        connections.push(connect(&limit, 10));
        assert_eq!(ended(&connections).await, [1], "if all have requests in flight, the oldest");
        connections.push(connect(&limit, SLOW_MS));
        assert_eq!(ended(&connections).await, [1, 2], "the other request is not slow yet");
        connections.push(connect(&limit, SLOW_MS + 1));
        assert_eq!(ended(&connections).await, [0, 1, 2]);
        drop(working);
        drop(connections);
        assert_eq!(lock(&limit.admitted).by_rank.len(), 0, "every permit is given back");
    }

    #[tokio::test]
    async fn a_request_in_flight_is_not_closed_for_a_descriptor() {
        let limit = ConnectionLimit::new(2);
        let connections: Vec<_> = (0..2).map(|_| connect(&limit, 0)).collect();
        let _working = connections[0].0.begin_request(0);
        assert!(limit.close_slowest(1));
        assert_eq!(ended(&connections).await, [1]);
        assert!(!limit.close_slowest(1));
        assert_eq!(ended(&connections).await, [1]);
        assert!(limit.close_slowest(SLOW_MS));
        assert_eq!(ended(&connections).await, [0, 1]);
    }
}
