//! Owns the lanes between the cores and one service (the link, the store or the accounts): for each core a bounded channel of requests
//! and one of events, and a wake-up for either side. Neither side ever waits for the other.
//!
//! # Requests
//!
//! A core sends the requests of one turn as one batch. What the channel does not take stays with the core, in order, and
//! the service wakes the core when it has taken a batch. A channel holds [`SERVICE_BATCHES_MAX`] batches and
//! [`SERVICE_BYTES_MAX`] bytes; a request that is larger than that goes alone.
//!
//! # Events
//!
//! [`ServiceEnd::tell`] never fails. What the channel does not take is kept by the service's end and offered again when
//! the core has taken something, which wakes the service. While [`SERVICE_BYTES_MAX`] bytes are on their way to a core,
//! - an event that the engine makes good when it is lost ([`IfFull::Dropped`]) is dropped and counted
//!   (`CoreCounters::dropped_service`). The room repairs it: a missing publication is read when the next one comes or
//!   when the head is compared, and a read or a load without an answer is asked again.
//! - no requests of this core are taken. So there are no more events that must be kept than requests that the service
//!   had taken before, each of which the engine has charged and bounded.
//!
//! A core that stalls thus costs the service that many bytes, and the answers to what it asked.
//!
//! # Order
//!
//! Everything told to one core arrives in the order in which it was told, less what was dropped: a publication overtakes
//! no answer, and no answer overtakes another. The engine relies on part of that: the store's answers about one room come
//! in the order of its requests, so that a failure is heard before the load that was asked for because of it
//! (`engine::owner::stored`), and the link's news of its restored connection comes after what it may have missed.
//! Publications of one room may have holes and come twice. Between the link and the store there is no order.

mod carried;
mod wake;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;
use std::vec;

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded};
use crossbeam_utils::CachePadded;

pub use self::carried::{IfFull, ServiceEvent, ServiceRequest};
use self::wake::{ServiceWake, Unpark};
use super::clock;
use super::wake::Wake;
use crate::base::ids::CoreId;
use crate::base::limits::{SERVICE_BATCH_BYTES_MAX, SERVICE_BATCHES_MAX, SERVICE_BYTES_MAX};

#[derive(Debug)]
struct ServiceBatch<T> {
    items: Vec<T>,
    bytes: usize,
}

/// What both ends of one core's lanes see.
#[derive(Debug, Default)]
struct LaneState {
    /// Bytes of the requests in the channel.
    request_bytes: AtomicUsize,
    /// Bytes of the events that the core has not taken, in the channel or kept by the service's end.
    event_bytes: AtomicUsize,
    /// Events that were dropped and not counted by the core yet.
    dropped: AtomicU64,
    /// The core has requests that the channel did not take.
    core_waits: AtomicBool,
    /// The service waits until the core has taken events.
    service_waits: AtomicBool,
    has_core_ended: AtomicBool,
    /// The core has ended before the channel had taken all its requests.
    has_lost: AtomicBool,
    has_service_ended: AtomicBool,
}

/// The lanes between cores and a service. `wakes` holds the wake-up of each core, in order.
#[must_use]
pub fn service_lanes<R: ServiceRequest, E: ServiceEvent>(
    wakes: &[Arc<Wake>],
) -> (ServiceEnd<R, E>, Vec<CoreEnd<R, E>>) {
    let service = Arc::new(ServiceWake::default());
    let (mut lanes, mut cores) = (Vec::new(), Vec::new());
    for wake in wakes {
        let (send_requests, requests) = bounded(SERVICE_BATCHES_MAX);
        let (send_events, events) = bounded(SERVICE_BATCHES_MAX);
        let shared: Arc<CachePadded<LaneState>> = Arc::default();
        cores.push(CoreEnd {
            requests: send_requests,
            events,
            begun: Vec::new().into_iter(),
            has_left: false,
            shared: shared.clone(),
            service: service.clone(),
        });
        let (kept, wake) = (VecDeque::new(), wake.clone());
        lanes.push(ServiceLane { requests, events: send_events, kept, shared, wake, has_ended: false });
    }
    (ServiceEnd { lanes, next: 0, wake: service }, cores)
}

/// One core's end.
#[derive(Debug)]
pub struct CoreEnd<R, E> {
    requests: Sender<ServiceBatch<R>>,
    events: Receiver<ServiceBatch<E>>,
    /// The rest of a batch of events.
    begun: vec::IntoIter<E>,
    /// The channel has not taken all requests.
    has_left: bool,
    shared: Arc<CachePadded<LaneState>>,
    service: Arc<ServiceWake>,
}

impl<R: ServiceRequest, E: ServiceEvent> CoreEnd<R, E> {
    /// Sends the requests of a turn, and wakes the service if it sleeps. Returns whether the channel took all of them: the
    /// rest stays, in order, to be sent again before later ones. Requests to a service that has ended are dropped.
    pub fn send(&mut self, requests: &mut Vec<R>) -> bool {
        if requests.is_empty() {
            return true;
        }
        let waited = self.has_left;
        self.has_left = !self.offer(requests);
        if self.has_left {
            self.shared.core_waits.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            // The service may have taken a batch before it could see that the core waits.
            self.has_left = !self.offer(requests);
        }
        if waited && !self.has_left {
            self.shared.core_waits.store(false, Ordering::Relaxed);
        }
        !self.has_left
    }

    /// Sends as much as fits. Returns whether that is everything.
    fn offer(&mut self, requests: &mut Vec<R>) -> bool {
        if self.shared.has_service_ended.load(Ordering::Relaxed) {
            requests.clear();
            return true;
        }
        if self.requests.is_full() {
            return false;
        }
        let queued = self.shared.request_bytes.load(Ordering::Relaxed);
        let (mut count, mut bytes) = (0, 0);
        for request in requests.iter() {
            let all = queued + bytes + request.bytes();
            if all > SERVICE_BYTES_MAX && queued + bytes > 0 {
                break;
            }
            count += 1;
            bytes = all - queued;
        }
        if count == 0 {
            return false;
        }
        let left = requests.split_off(count);
        let items = std::mem::replace(requests, left);
        // Counted before the service can take it.
        self.shared.request_bytes.fetch_add(bytes, Ordering::Relaxed);
        match self.requests.try_send(ServiceBatch { items, bytes }) {
            Ok(()) => {
                self.service.wake();
                requests.is_empty()
            }
            Err(TrySendError::Full(batch)) => {
                self.shared.request_bytes.fetch_sub(bytes, Ordering::Relaxed);
                let later = std::mem::replace(requests, batch.items);
                requests.extend(later);
                false
            }
            Err(TrySendError::Disconnected(_)) => {
                requests.clear();
                true
            }
        }
    }

    /// Whether requests that the channel did not take should be sent again now.
    #[must_use]
    pub fn has_room_again(&self) -> bool {
        self.has_left && !self.shared.core_waits.load(Ordering::Relaxed)
    }

    /// Takes the next event.
    pub fn take_event(&mut self) -> Option<E> {
        if let Some(event) = self.begun.next() {
            return Some(event);
        }
        let batch = self.events.try_recv().ok()?;
        self.shared.event_bytes.fetch_sub(batch.bytes, Ordering::Relaxed);
        // Orders the above before the read of the flag; the service sets it and then looks once more.
        fence(Ordering::SeqCst);
        if self.shared.service_waits.load(Ordering::Relaxed) {
            self.shared.service_waits.store(false, Ordering::Relaxed);
            self.service.wake();
        }
        self.begun = batch.items.into_iter();
        self.begun.next()
    }

    /// Whether no event waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.begun.len() == 0 && self.events.is_empty()
    }

    /// Bytes of requests and events that have been sent and not taken.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.shared.request_bytes.load(Ordering::Relaxed) + self.shared.event_bytes.load(Ordering::Relaxed)
    }

    /// Events that were dropped since this was asked last.
    pub fn take_dropped(&self) -> u64 {
        match self.shared.dropped.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.shared.dropped.swap(0, Ordering::Relaxed),
        }
    }
}

impl<R, E> Drop for CoreEnd<R, E> {
    fn drop(&mut self) {
        self.shared.has_lost.store(self.has_left, Ordering::Relaxed);
        self.shared.has_core_ended.store(true, Ordering::Release);
        self.service.wake();
    }
}

/// One core's lanes, at the service.
#[derive(Debug)]
struct ServiceLane<R, E> {
    requests: Receiver<ServiceBatch<R>>,
    events: Sender<ServiceBatch<E>>,
    /// Events that the channel has not taken, in order.
    kept: VecDeque<ServiceBatch<E>>,
    shared: Arc<CachePadded<LaneState>>,
    wake: Arc<Wake>,
    /// The core has ended, and its last requests have been taken.
    has_ended: bool,
}

impl<R: ServiceRequest, E: ServiceEvent> ServiceLane<R, E> {
    fn take(&mut self) -> Option<Vec<R>> {
        // Before the look into the channel: what was sent before the end is found there.
        let has_core_ended = self.shared.has_core_ended.load(Ordering::Acquire);
        if self.owes_too_much() && !has_core_ended {
            self.shared.service_waits.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            // The core may have taken a batch before it could see that the service waits.
            if self.owes_too_much() {
                return None;
            }
        }
        match self.requests.try_recv() {
            Ok(batch) => {
                self.shared.request_bytes.fetch_sub(batch.bytes, Ordering::Relaxed);
                fence(Ordering::SeqCst);
                if self.shared.core_waits.load(Ordering::Relaxed) {
                    self.shared.core_waits.store(false, Ordering::Relaxed);
                    self.wake.wake();
                }
                Some(batch.items)
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => {
                self.has_ended = has_core_ended;
                None
            }
        }
    }

    fn owes_too_much(&self) -> bool {
        self.shared.event_bytes.load(Ordering::Relaxed) >= SERVICE_BYTES_MAX
    }

    /// Adds an event to those that are offered next, unless it may be dropped and must be.
    fn add(&mut self, event: E) {
        if self.shared.has_core_ended.load(Ordering::Relaxed) {
            return;
        }
        let (bytes, if_full) = (event.bytes(), event.if_full());
        let owed = self.shared.event_bytes.load(Ordering::Relaxed);
        if if_full == IfFull::Dropped && owed > 0 && owed + bytes > SERVICE_BYTES_MAX {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if if_full == IfFull::KeptNewest {
            self.drop_older();
        }
        self.shared.event_bytes.fetch_add(bytes, Ordering::Relaxed);
        match self.kept.back_mut().filter(|last| last.bytes + bytes <= SERVICE_BATCH_BYTES_MAX) {
            Some(last) => {
                last.items.push(event);
                last.bytes += bytes;
            }
            None => self.kept.push_back(ServiceBatch { items: vec![event], bytes }),
        }
    }

    /// Drops the kept events that a newer one of their kind stands for.
    fn drop_older(&mut self) {
        for batch in &mut self.kept {
            let before = batch.bytes;
            batch.items.retain(|event| event.if_full() != IfFull::KeptNewest);
            batch.bytes = batch.items.iter().map(ServiceEvent::bytes).sum();
            self.shared.event_bytes.fetch_sub(before - batch.bytes, Ordering::Relaxed);
        }
        self.kept.retain(|batch| !batch.items.is_empty());
    }

    /// Sends what the channel takes of the events that are kept.
    fn offer(&mut self) {
        let (mut is_sent, mut waits) = (false, false);
        while let Some(batch) = self.kept.pop_front() {
            match self.events.try_send(batch) {
                Ok(()) => is_sent = true,
                Err(TrySendError::Full(batch)) => {
                    self.kept.push_front(batch);
                    if waits {
                        break;
                    }
                    waits = true;
                    self.shared.service_waits.store(true, Ordering::Relaxed);
                    fence(Ordering::SeqCst);
                    // The core may have taken a batch before it could see that the service waits: once more.
                }
                // The core has ended.
                Err(TrySendError::Disconnected(_)) => self.kept.clear(),
            }
        }
        if self.kept.is_empty() {
            self.kept = VecDeque::new();
        }
        if is_sent {
            self.wake.wake();
        }
    }
}

/// Requests of one core, in order.
#[derive(Debug, PartialEq, Eq)]
pub struct CoreRequests<R> {
    /// The core.
    pub core: CoreId,
    /// What it asks.
    pub requests: Vec<R>,
}

/// Why there are no requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRequests {
    /// None have come in time.
    TimedOut,
    /// Every core has ended, and none of their requests is left.
    Ended,
}

/// The service's end. Belongs to one thread or task at a time, which receives again and again: that is also when events
/// that were kept are offered again.
#[derive(Debug)]
pub struct ServiceEnd<R: ServiceRequest, E: ServiceEvent> {
    lanes: Vec<ServiceLane<R, E>>,
    /// The core that is looked at first, so that each gets its turn.
    next: usize,
    wake: Arc<ServiceWake>,
}

impl<R: ServiceRequest, E: ServiceEvent> ServiceEnd<R, E> {
    /// Tells a core something, and wakes it if it sleeps. All events that a service has for a core at one time should go
    /// in one call: they become one batch.
    pub fn tell(&mut self, core: CoreId, events: impl IntoIterator<Item = E>) {
        let lane = &mut self.lanes[core.index()];
        events.into_iter().for_each(|event| lane.add(event));
        lane.offer();
    }

    /// Takes the next requests, if there are any.
    pub fn try_recv(&mut self) -> Option<CoreRequests<R>> {
        self.lanes.iter_mut().for_each(ServiceLane::offer);
        let cores = self.lanes.len();
        for step in 0..cores {
            let index = (self.next + step) % cores;
            if let Some(requests) = self.lanes[index].take() {
                self.next = index + 1;
                return Some(CoreRequests { core: CoreId(index as u16), requests });
            }
        }
        None
    }

    /// Waits for the next requests, by any executor. `None`: every core has ended. May be dropped and called again: nothing
    /// is lost.
    pub async fn recv(&mut self) -> Option<CoreRequests<R>> {
        poll_fn(|context| self.poll_recv(context.waker())).await
    }

    /// Waits for the next requests on this thread.
    ///
    /// # Errors
    /// The time is over, or every core has ended.
    pub fn recv_blocking(&mut self, timeout: Duration) -> Result<CoreRequests<R>, NoRequests> {
        if let Some(requests) = self.try_recv() {
            return Ok(requests);
        }
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let timeout_us = u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX);
        let until_us = clock::now().mono_us.saturating_add(timeout_us);
        loop {
            if let Poll::Ready(received) = self.poll_recv(&waker) {
                return received.ok_or(NoRequests::Ended);
            }
            let left_us = until_us.saturating_sub(clock::now().mono_us);
            if left_us == 0 {
                self.wake.get_up();
                return Err(NoRequests::TimedOut);
            }
            thread::park_timeout(Duration::from_micros(left_us));
        }
    }

    fn poll_recv(&mut self, waker: &Waker) -> Poll<Option<CoreRequests<R>>> {
        for looks_again in [false, true] {
            if let Some(requests) = self.try_recv() {
                self.wake.get_up();
                return Poll::Ready(Some(requests));
            }
            if self.lanes.iter().all(|lane| lane.has_ended) {
                return Poll::Ready(None);
            }
            if !looks_again {
                // Whoever sends from now on wakes this task; what came before is found by the second look.
                self.wake.fall_asleep(waker);
            }
        }
        Poll::Pending
    }

    /// Whether a core that has ended had requests that the channel had not taken.
    #[must_use]
    pub fn has_lost_requests(&self) -> bool {
        self.lanes.iter().any(|lane| lane.has_ended && lane.shared.has_lost.load(Ordering::Relaxed))
    }

    /// Events that wait here for a core to take something.
    #[must_use]
    pub fn kept(&self, core: CoreId) -> usize {
        self.lanes[core.index()].kept.iter().map(|batch| batch.items.len()).sum()
    }
}

impl<R: ServiceRequest, E: ServiceEvent> Drop for ServiceEnd<R, E> {
    fn drop(&mut self) {
        for lane in &self.lanes {
            lane.shared.has_service_ended.store(true, Ordering::Relaxed);
            lane.shared.core_waits.store(false, Ordering::Relaxed);
            lane.wake.wake();
        }
    }
}

#[cfg(test)]
mod tests;
