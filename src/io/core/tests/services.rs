//! Cores and a service, each on threads of their own.

use std::thread;
use std::time::{Duration, Instant};

use super::RunningCores;
use crate::base::ids::CoreId;
use crate::base::limits::SERVICE_BATCHES_MAX;
use crate::engine::link_port::{LinkEvent, LinkFailure, LinkRequest};
use crate::io::service_lane::NoRequests;
use crate::io::services::Control;

const PATIENCE: Duration = Duration::from_secs(10);

fn event(token: u64) -> LinkEvent {
    LinkEvent::Published { token, result: Err(LinkFailure { retry_after_ms: 0 }) }
}

/// The next requests, by their numbers.
fn receive(running: &mut RunningCores) -> (CoreId, Vec<u64>) {
    let received = running.link.recv_blocking(PATIENCE).expect("the core was woken, and has woken the service");
    let numbers = received.requests.iter().map(|request| match request {
        LinkRequest::Read { after, .. } => *after,
        other => panic!("never sent: {other:?}"),
    });
    (received.core, numbers.collect())
}

#[test]
fn events_wake_a_core_and_its_requests_wake_the_service() {
    let mut running = RunningCores::start(2, None);
    for number in 0..60 {
        let core = CoreId(number as u16 % 2);
        // Finds the core awake, waiting in its ring, and parked.
        thread::sleep(Duration::from_millis([0, 0, 1, 5, 11, 20][number as usize % 6]));
        running.link.tell(core, [event(number), event(number + 100)]);
        assert_eq!(receive(&mut running), (core, vec![number, number + 100]), "one turn's requests are one batch");
    }
    running.tell(|| Control::Stop);
    running.wait_for_end();
    assert_eq!(running.link.recv_blocking(PATIENCE), Err(NoRequests::Ended));
}

#[test]
fn a_core_sleeps_while_a_service_is_stalled_and_goes_on_when_it_takes_something() {
    let mut running = RunningCores::start(1, None);
    let count = SERVICE_BATCHES_MAX as u64 + 20;
    for number in 0..count {
        running.link.tell(CoreId(0), [event(number)]);
        // Each gets a turn of its own.
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(Duration::from_millis(50));
    let (cpu_us, began) = (running.cpu_us(), Instant::now());
    thread::sleep(Duration::from_millis(500));
    let mut numbers = Vec::new();
    let mut batches = 0;
    while (numbers.len() as u64) < count {
        numbers.extend(receive(&mut running).1);
        batches += 1;
    }
    assert_eq!(numbers, (0..count).collect::<Vec<_>>());
    assert!((SERVICE_BATCHES_MAX / 2..=count as usize).contains(&batches), "{batches} batches");
    running.tell(|| Control::Stop);
    running.wait_for_end();
    let (used_us, waited) = (running.cpu_us() - cpu_us, began.elapsed());
    assert!(used_us < 50_000, "{used_us} us of CPU time in {waited:?}, most of which nothing could be done");
}
