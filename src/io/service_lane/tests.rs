//! Full lanes either way, stalled cores and services, order, ends, and wake-ups between real threads.

use std::pin::pin;
use std::task::Context;

use bytes::Bytes;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::super::wake::Sleep;
use super::*;
use crate::base::ids::{Epoch, RoomName, Seq, UserName};
use crate::engine::link_port::{LinkEvent, LinkFailure, LinkRequest};
use crate::engine::record::Record;
use crate::wire::publication::DataKind;

type Ends = (ServiceEnd<LinkRequest, LinkEvent>, Vec<CoreEnd<LinkRequest, LinkEvent>>, Vec<Arc<Wake>>);

/// Nobody waits as long unless a wake-up was lost.
const PATIENCE: Duration = Duration::from_secs(20);

fn ends(cores: usize) -> Ends {
    let wakes: Vec<_> = (0..cores).map(|_| Arc::new(Wake::new().expect("an eventfd"))).collect();
    let (service, cores) = service_lanes(&wakes);
    (service, cores, wakes)
}

fn room() -> RoomName {
    RoomName::new("lobby").expect("valid")
}

fn request(number: u64) -> LinkRequest {
    LinkRequest::Read { token: 0, room: room(), after: number, count: 1, presence: false }
}

fn number(request: &LinkRequest) -> u64 {
    match request {
        LinkRequest::Read { after, .. } => *after,
        other => panic!("never sent: {other:?}"),
    }
}

/// An answer that must not be lost.
fn answer(token: u64) -> LinkEvent {
    LinkEvent::Published { token, result: Err(LinkFailure { retry_after_ms: 0 }) }
}

fn record(seq: Seq, bytes: usize) -> Record {
    Record {
        seq,
        at: 1,
        from: UserName::new("ann").expect("valid"),
        kind: DataKind::Json,
        data: Bytes::from(vec![b'1'; bytes]),
        key: None,
        except: None,
    }
}

/// An event that may be lost.
fn publication(seq: Seq, bytes: usize) -> LinkEvent {
    LinkEvent::Publication { room: room(), epoch: Epoch(7), record: record(seq, bytes) }
}

/// Everything that waits for a core, in words.
fn heard(core: &mut CoreEnd<LinkRequest, LinkEvent>) -> Vec<String> {
    let mut heard = Vec::new();
    while let Some(event) = core.take_event() {
        heard.push(match event {
            LinkEvent::Published { token, .. } => format!("answer {token}"),
            LinkEvent::Publication { record, .. } => format!("publication {}", record.seq),
            LinkEvent::Restored { round } => format!("restored {round}"),
            other => panic!("not told here: {other:?}"),
        });
    }
    heard
}

fn numbers(received: Option<CoreRequests<LinkRequest>>) -> Vec<u64> {
    received.expect("something was sent").requests.iter().map(number).collect()
}

#[test]
fn a_stalled_service_leaves_requests_with_the_core_and_wakes_it_later() {
    let (mut service, mut cores, wakes) = ends(2);
    let core = &mut cores[1];
    let mut requests = Vec::new();
    for sent in 0..SERVICE_BATCHES_MAX as u64 {
        requests.push(request(sent));
        assert!(core.send(&mut requests) && requests.is_empty());
    }
    let end = SERVICE_BATCHES_MAX as u64;
    requests.extend([request(end), request(end + 1)]);
    assert!(!core.send(&mut requests) && requests.len() == 2 && !core.has_room_again());
    wakes[1].fall_asleep(Sleep::Executor);
    let received = service.try_recv().expect("64 batches");
    assert_eq!((received.core, numbers(Some(received))), (CoreId(1), vec![0]));
    assert!(!wakes[1].wake(), "the service has woken the core");
    assert!(core.has_room_again() && core.send(&mut requests) && !core.has_room_again());
    for sent in 1..end {
        assert_eq!(numbers(service.try_recv()), [sent]);
    }
    assert_eq!(numbers(service.try_recv()), [end, end + 1]);
    assert!(service.try_recv().is_none() && core.bytes() == 0);
    wakes[1].fall_asleep(Sleep::Executor);
    requests.push(request(0));
    assert!(core.send(&mut requests) && service.try_recv().is_some());
    assert!(wakes[1].wake(), "nobody waits: the core sleeps on");
}

#[test]
fn the_bytes_of_requests_are_bounded() {
    let (mut service, mut cores, _) = ends(1);
    let publish = |bytes| LinkRequest::Publish { token: 1, room: room(), record: record(0, bytes) };
    let quarter = SERVICE_BYTES_MAX / 4;
    let mut requests: Vec<_> = [2 * SERVICE_BYTES_MAX, quarter, quarter, quarter, quarter].map(publish).into();
    assert!(!cores[0].send(&mut requests), "the first is larger than the bound and goes alone");
    assert_eq!(requests.len(), 4);
    let mut step = || {
        let taken = service.try_recv().map_or(0, |received| received.requests.len());
        (taken, cores[0].send(&mut requests), requests.len())
    };
    assert_eq!(step(), (1, false, 1), "three fit");
    assert_eq!(step(), (3, true, 0));
    assert_eq!(step(), (1, true, 0));
    assert_eq!(step(), (0, true, 0));
}

#[test]
fn cores_are_served_in_turns() {
    let (mut service, mut cores, _) = ends(3);
    for _ in 0..2 {
        for core in [0, 2] {
            cores[core].send(&mut vec![request(core as u64)]);
        }
    }
    let order: Vec<u64> = std::iter::from_fn(|| service.try_recv()).map(|taken| number(&taken.requests[0])).collect();
    assert_eq!(order, [0, 2, 0, 2]);
}

#[test]
fn a_stalled_core_costs_bounded_memory_and_loses_no_answer() {
    const EACH: usize = 64 * 1024;
    let (mut service, mut cores, wakes) = ends(2);
    cores[0].send(&mut vec![request(1)]);
    cores[1].send(&mut vec![request(2)]);
    let count = 3 * SERVICE_BYTES_MAX / EACH;
    for sent in 0..count as u64 {
        service.tell(CoreId(0), [answer(sent), publication(sent, EACH)]);
    }
    assert!(cores[0].bytes() <= SERVICE_BYTES_MAX + count * size_of::<LinkEvent>() + 1_000, "{}", cores[0].bytes());
    assert!(service.kept(CoreId(0)) > 0 && service.kept(CoreId(1)) == 0);
    assert_eq!(numbers(service.try_recv()), [2], "a core that owes answers nothing new is asked nothing");
    assert!(service.try_recv().is_none());
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    assert!(service.poll_recv(&waker).is_pending());
    wakes[0].fall_asleep(Sleep::Ring);
    let mut all = heard(&mut cores[0]);
    assert!(!service.wake.wake(), "the core has woken the service");
    assert_eq!(numbers(service.try_recv()), [1]);
    assert!(!wakes[0].wake(), "the service has woken the core");
    while service.kept(CoreId(0)) > 0 || !cores[0].is_empty() {
        all.extend(heard(&mut cores[0]));
        assert!(service.try_recv().is_none());
    }
    let (answers, publications): (Vec<_>, Vec<_>) = all.iter().partition(|text| text.starts_with("answer"));
    assert_eq!(answers, (0..count).map(|sent| format!("answer {sent}")).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    assert_eq!(publications.len() as u64, count as u64 - cores[0].take_dropped());
    assert!(publications.len() >= SERVICE_BYTES_MAX / (EACH + 1_000) && cores[0].take_dropped() == 0);
    // What was not dropped came in the order in which it was told.
    let place = |text: &String| text.split_once(' ').and_then(|(_, number)| number.parse::<u64>().ok());
    assert!(all.is_sorted_by_key(place));
    assert_eq!(cores[0].bytes(), 0);
}

#[test]
fn that_the_link_is_back_is_kept_once_as_the_newest() {
    let restored = |round| LinkEvent::Restored { round };
    let (mut service, mut cores, _) = ends(1);
    for sent in 0..SERVICE_BATCHES_MAX as u64 {
        service.tell(CoreId(0), [answer(sent)]);
    }
    service.tell(CoreId(0), [restored(1), answer(100), restored(2)]);
    service.tell(CoreId(0), [restored(3)]);
    assert_eq!(service.kept(CoreId(0)), 2);
    cores[0].take_event().expect("a batch");
    assert!(service.try_recv().is_none() && service.kept(CoreId(0)) == 0);
    service.tell(CoreId(0), [restored(4)]);
    let told = heard(&mut cores[0]);
    assert_eq!(told[SERVICE_BATCHES_MAX - 1..], ["answer 100", "restored 3"], "what came before it stays before it");
    assert!(service.try_recv().is_none());
    assert_eq!(heard(&mut cores[0]), ["restored 4"], "one that was sent does not stand for it");
    assert_eq!(cores[0].bytes(), 0);
}

#[test]
fn the_end_of_either_side_is_seen_by_the_other() {
    let (mut service, mut cores, wakes) = ends(2);
    cores[1].send(&mut vec![request(5)]);
    cores.clear();
    service.tell(CoreId(1), [answer(1)]);
    assert_eq!((numbers(service.recv_blocking(PATIENCE).ok()), service.kept(CoreId(1))), (vec![5], 0));
    assert_eq!(service.recv_blocking(PATIENCE), Err(NoRequests::Ended));

    let (mut service, mut cores, _) = ends(1);
    assert_eq!(service.recv_blocking(Duration::from_millis(5)), Err(NoRequests::TimedOut));
    let waiting = thread::spawn(move || service.recv_blocking(PATIENCE));
    thread::sleep(Duration::from_millis(20));
    cores.clear();
    assert_eq!(waiting.join().expect("no panic"), Err(NoRequests::Ended));

    let (service, mut cores, wakes_of_other) = ends(1);
    let mut requests: Vec<_> = (0..10).map(request).collect();
    while cores[0].send(&mut requests) {
        requests.push(request(1));
    }
    wakes_of_other[0].fall_asleep(Sleep::Ring);
    drop(service);
    assert!(!wakes_of_other[0].wake(), "the end wakes a core that waits");
    assert!(cores[0].has_room_again() && cores[0].send(&mut requests) && requests.is_empty());
    drop(wakes);
}

#[test]
fn requests_that_end_with_their_core_are_known_to_be_lost() {
    for is_full in [false, true] {
        let (mut service, mut cores, _) = ends(1);
        let mut requests = vec![request(1)];
        while cores[0].send(&mut requests) && (is_full || service.lanes[0].requests.len() < 3) {
            requests.push(request(1));
        }
        cores.clear();
        while service.recv_blocking(PATIENCE).is_ok() {
            assert!(!service.has_lost_requests(), "known when all that came has been taken");
        }
        assert_eq!(service.has_lost_requests(), is_full);
    }
}

/// One core in its loop: sends so many requests in bursts and waits until each has been answered, in order.
fn work(mut end: CoreEnd<LinkRequest, LinkEvent>, wake: &Wake, rounds: u64) {
    let (mut sent, mut answered) = (0, 0);
    let mut requests = Vec::new();
    while answered < rounds {
        // A few turns in a row, so that channels fill up, and pauses of every length.
        let until = rounds.min(sent + 1 + sent % 7);
        while sent < until && requests.len() < 1_000 {
            requests.push(request(sent));
            sent += 1;
        }
        end.send(&mut requests);
        (0..sent % 97).for_each(|_| std::hint::spin_loop());
        if sent % 1_009 == 0 {
            thread::sleep(Duration::from_micros(500));
        }
        let takes_events = sent % 512 < 400 || sent == rounds;
        while takes_events && let Some(event) = end.take_event() {
            let LinkEvent::Published { token, .. } = event else { panic!("{event:?} was not told") };
            assert_eq!(token, answered, "an answer was lost");
            answered += 1;
        }
        if sent < rounds && requests.len() < 1_000 || answered == rounds {
            continue;
        }
        wake.clear_bell();
        wake.fall_asleep(Sleep::Executor);
        if end.is_empty() && !end.has_room_again() {
            let mut fds = [PollFd::new(wake.bell(), PollFlags::POLLIN)];
            let ready = poll(&mut fds, PollTimeout::from(20_000_u16)).expect("polls");
            assert_eq!(ready, 1, "asleep with {answered} of {sent} answered: a wake-up was lost");
        }
        wake.get_up();
    }
}

/// What a service does on one thread: waits by `receive`, answers each request; sometimes slow.
fn serve(
    mut service: ServiceEnd<LinkRequest, LinkEvent>,
    receive: impl Fn(&mut ServiceEnd<LinkRequest, LinkEvent>) -> Option<CoreRequests<LinkRequest>>,
) -> u64 {
    let mut served = 0;
    while let Some(CoreRequests { core, requests }) = receive(&mut service) {
        for request in &requests {
            served += 1;
            if served % 3_001 == 0 {
                thread::sleep(Duration::from_micros(700));
            }
            // One at a time, so that the channel of events fills up too.
            service.tell(core, [answer(number(request))]);
        }
    }
    served
}

/// An executor for one future. Panics if nobody wakes it.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(ready) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return ready;
        }
        let before_us = clock::now().mono_us;
        thread::park_timeout(PATIENCE);
        let waited = Duration::from_micros(clock::now().mono_us - before_us);
        assert!(waited < PATIENCE, "a wake-up was lost");
    }
}

#[test]
fn no_wake_up_is_lost_and_nothing_changes_places() {
    const ROUNDS: u64 = 30_000;
    const CORES: usize = 2;
    for is_async in [false, true] {
        let (service, cores, wakes) = ends(CORES);
        let working: Vec<_> =
            cores.into_iter().zip(wakes).map(|(end, wake)| thread::spawn(move || work(end, &wake, ROUNDS))).collect();
        let served = serve(service, |service| match is_async {
            true => block_on(service.recv()),
            false => match service.recv_blocking(PATIENCE) {
                Ok(requests) => Some(requests),
                Err(NoRequests::Ended) => None,
                Err(NoRequests::TimedOut) => panic!("a wake-up was lost"),
            },
        });
        assert_eq!(served, ROUNDS * CORES as u64);
        working.into_iter().for_each(|core| core.join().expect("every answer came"));
    }
}
