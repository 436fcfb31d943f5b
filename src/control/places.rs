//! Which connection of the control address makes way for a new one when all places are taken: the one whose client has
//! been waited for longest. A request that has been under way for a while counts among them: what does not come is most
//! likely its body. Knows no socket and no clock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

/// A request that has been under way for so long makes way like a connection that is idle.
const SLOW_MS: u64 = 2_000;

/// The places of all connections.
pub struct Places {
    held: Arc<Mutex<Held>>,
    most: usize,
}

#[derive(Default)]
struct Held {
    /// Given to the next change of any connection, so that they stand in order.
    next: u64,
    /// By how they stand: those who are waited for first, each kind in the order in which that began.
    connections: BTreeMap<Key, Connection>,
}

type Key = (Standing, u64);

#[derive(Default)]
struct Connection {
    /// By what it is ended.
    task: Option<AbortHandle>,
    /// When the request that is being answered came, monotonic milliseconds.
    since_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// The next bytes are the client's: of a request, or it has to read an answer.
    Waited,
    /// A request is being answered.
    Working,
}

impl Places {
    /// `most` places, all free.
    pub fn new(most: usize) -> Self {
        Self { held: Arc::default(), most }
    }

    /// A place for a connection. Where all are taken, another connection ends.
    pub fn take(&self, now_ms: u64) -> Place {
        let mut held = lock(&self.held);
        if held.connections.len() >= self.most {
            let oldest = held.connections.first_key_value().map(|(key, _)| *key);
            if let Some(key) = held.slowest(now_ms).or(oldest) {
                held.end(key);
            }
        }
        let key = (Standing::Waited, held.next());
        held.connections.insert(key, Connection::default());
        Place(Arc::new(Taken { held: self.held.clone(), key: Mutex::new(key) }))
    }

    /// Ends the connection that has kept the server waiting longest. Whether there was any.
    pub fn clear_one(&self, now_ms: u64) -> bool {
        let mut held = lock(&self.held);
        let slowest = held.slowest(now_ms);
        slowest.into_iter().for_each(|key| held.end(key));
        slowest.is_some()
    }
}

impl Held {
    fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Whose client has been waited for longest.
    fn slowest(&self, now_ms: u64) -> Option<Key> {
        let first = |standing| self.connections.range((standing, 0)..=(standing, u64::MAX)).next();
        let is_slow = |connection: &Connection| now_ms >= connection.since_ms + SLOW_MS;
        let idle = first(Standing::Waited).map(|(key, _)| *key);
        let slow = first(Standing::Working).filter(|(_, connection)| is_slow(connection)).map(|(key, _)| *key);
        [idle, slow].into_iter().flatten().min_by_key(|(_, since)| *since)
    }

    /// Its place is free at once, its socket as soon as its task is dropped.
    fn end(&mut self, key: Key) {
        if let Some(Connection { task: Some(task), .. }) = self.connections.remove(&key) {
            task.abort();
        }
    }
}

/// A connection's place, until its last clone is dropped.
#[derive(Clone)]
pub struct Place(Arc<Taken>);

struct Taken {
    held: Arc<Mutex<Held>>,
    key: Mutex<Key>,
}

impl Place {
    /// By what the connection is ended when it must make way.
    pub fn hold(&self, task: AbortHandle) {
        let key = *lock(&self.0.key);
        // It may have made way already, for the next one that was accepted.
        match lock(&self.0.held).connections.get_mut(&key) {
            Some(connection) => connection.task = Some(task),
            None => task.abort(),
        }
    }

    /// A request is worked on until what this gives back is dropped.
    pub fn work(&self, now_ms: u64) -> Working {
        self.0.stand(Standing::Working, now_ms);
        Working(self.clone())
    }
}

impl Taken {
    fn stand(&self, standing: Standing, since_ms: u64) {
        let (mut key, mut held) = (lock(&self.key), lock(&self.held));
        // One that has made way has no place to stand in.
        if let Some(connection) = held.connections.remove(&key) {
            *key = (standing, held.next());
            held.connections.insert(*key, Connection { since_ms, ..connection });
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        lock(&self.held).connections.remove(&lock(&self.key));
    }
}

/// A request that is being worked on.
pub struct Working(Place);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.0.stand(Standing::Waited, 0);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::task::{JoinHandle, yield_now};

    use super::*;

    fn connect(places: &Places, now_ms: u64) -> (Place, JoinHandle<()>) {
        let place = places.take(now_ms);
        let task = tokio::spawn(std::future::pending());
        place.hold(task.abort_handle());
        (place, task)
    }

    async fn ended(connections: &[(Place, JoinHandle<()>)]) -> Vec<usize> {
        yield_now().await;
        (0..connections.len()).filter(|index| connections[*index].1.is_finished()).collect()
    }

    #[tokio::test]
    async fn whoever_is_waited_for_longest_makes_way() {
        let places = Places::new(3);
        let mut connections: Vec<_> = (0..3).map(|_| connect(&places, 0)).collect();
        // The first is heard of again, the second works, the third waits on.
        drop(connections[0].0.work(0));
        let working = connections[1].0.work(0);
        assert!(ended(&connections).await.is_empty());
        connections.push(connect(&places, SLOW_MS - 1));
        assert_eq!(ended(&connections).await, [2]);
        connections.push(connect(&places, SLOW_MS - 1));
        assert_eq!(ended(&connections).await, [0, 2]);
        drop(working);
        connections.push(connect(&places, SLOW_MS));
        assert_eq!(ended(&connections).await, [0, 2, 3], "an answer is waited for since it was given");
    }

    #[tokio::test]
    async fn a_request_that_goes_on_and_on_makes_way_before_newer_connections() {
        let places = Places::new(2);
        let mut connections: Vec<_> = (0..2).map(|_| connect(&places, 0)).collect();
        let working = [connections[1].0.work(0), connections[0].0.work(1)];
        connections.push(connect(&places, 10));
        assert_eq!(ended(&connections).await, [1], "with all at work, the oldest");
        connections.push(connect(&places, SLOW_MS));
        assert_eq!(ended(&connections).await, [1, 2], "the other request is not slow yet");
        connections.push(connect(&places, SLOW_MS + 1));
        assert_eq!(ended(&connections).await, [0, 1, 2]);
        drop(working);
        drop(connections);
        assert_eq!(lock(&places.held).connections.len(), 0, "every place is given back");
    }

    #[tokio::test]
    async fn a_descriptor_is_not_taken_from_a_request_under_way() {
        let places = Places::new(2);
        let connections: Vec<_> = (0..2).map(|_| connect(&places, 0)).collect();
        let _working = connections[0].0.work(0);
        assert!(places.clear_one(1));
        assert_eq!(ended(&connections).await, [1]);
        assert!(!places.clear_one(1));
        assert_eq!(ended(&connections).await, [1]);
        assert!(places.clear_one(SLOW_MS));
        assert_eq!(ended(&connections).await, [0, 1]);
    }
}
