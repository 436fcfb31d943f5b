//! The lanes between two cores, on two threads that do nothing else: the round trip of a hop, a stream of batches, and
//! the cost of waking the other core. Also the lanes between a core and a service. Needs two free CPUs.
//! `cargo bench --bench lane`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use roomring::base::counters::CoreCounters;
use roomring::base::ids::{ConnId, CoreId, RoomName, UserName};
use roomring::engine::hop::{Hop, ToOwner};
use roomring::engine::link_port::{LinkEvent, LinkFailure, LinkRequest};
use roomring::io::lanes::{Lanes, Staged};
use roomring::io::service_lane::service_lanes;
use roomring::io::wake::{Sleep, Wake};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// Batches in flight in a stream.
const WINDOW: usize = 32;

/// Number of times that a thread polls an empty lane before it yields its CPU, for hosts with fewer than two free CPUs.
const LOOKS: usize = 20_000;

fn main() {
    divan::Divan::default().min_time(Duration::from_millis(100)).config_with_args().main();
}

/// One batch of hops to the other core and back, both awake. Items are hops, each of which makes a round trip.
#[divan::bench(args = [1, 16, 256])]
fn there_and_back(bencher: Bencher<'_, '_>, hops: usize) {
    let mut near = Near::new(false);
    let mut batch = batch(hops);
    // Once something has come back, the other thread has started.
    near.send(std::mem::take(&mut batch));
    batch = near.receive();
    bencher.counter(ItemsCount::new(hops)).bench_local(|| {
        near.send(std::mem::take(&mut batch));
        batch = near.receive();
    });
}

/// The same in a stream of 32 batches in flight: the cost of one more batch.
#[divan::bench(args = [1, 16, 256])]
fn stream(bencher: Bencher<'_, '_>, hops: usize) {
    let mut near = Near::new(false);
    (0..WINDOW).for_each(|_| near.send(batch(hops)));
    let back = near.receive();
    near.send(back);
    bencher.counter(ItemsCount::new(hops)).bench_local(|| {
        let back = near.receive();
        near.send(back);
    });
}

/// One hop and back, while the other core sleeps until it is woken.
#[divan::bench(sample_size = 1, sample_count = 1_000)]
fn there_and_back_asleep(bencher: Bencher<'_, '_>) {
    let mut near = Near::new(true);
    let mut batch = batch(1);
    // Between two samples the other core has time to fall asleep.
    bencher.with_inputs(|| thread::sleep(Duration::from_micros(100))).bench_local_values(|()| {
        near.send(std::mem::take(&mut batch));
        batch = near.receive();
    });
}

/// One batch of so many requests to a service that sleeps, and an answer to each; items are requests.
#[divan::bench(args = [1, 16, 256], sample_size = 1, sample_count = 1_000)]
fn service_asleep(bencher: Bencher<'_, '_>, requests: usize) {
    let wake = Arc::new(Wake::new().expect("an eventfd"));
    let (mut service, mut cores) = service_lanes::<LinkRequest, LinkEvent>(&[wake]);
    let mut core = cores.pop().expect("one");
    let serving = thread::spawn(move || {
        while let Ok(received) = service.recv_blocking(Duration::MAX) {
            let answers = received.requests.iter().map(|_| LinkEvent::Published { token: 0, result: Err(NO) });
            service.tell(received.core, answers);
        }
    });
    let room = RoomName::new("lobby").expect("valid");
    let asked = || (0..requests).map(|_| LinkRequest::Close { room: room.clone() }).collect::<Vec<_>>();
    // Between two samples the service gets the time to fall asleep.
    let bencher = bencher.counter(ItemsCount::new(requests)).with_inputs(|| {
        thread::sleep(Duration::from_micros(100));
        asked()
    });
    bencher.bench_local_values(|mut asked| {
        assert!(core.send(&mut asked), "far from full");
        let mut left = requests;
        while left > 0 {
            match core.take_event() {
                Some(_) => left -= 1,
                None => std::hint::spin_loop(),
            }
        }
    });
    drop(core);
    serving.join().expect("it ends with the core");
}

const NO: LinkFailure = LinkFailure { retry_after_ms: 0 };

fn batch(hops: usize) -> Vec<Hop> {
    let room = RoomName::new("lobby").expect("valid");
    let user = UserName::new("alice").expect("valid");
    let conn = ConnId { home: CoreId(0), slot: 0, generation: 0 };
    let hop = || Hop::ToOwner(ToOwner::Away { room: room.clone(), conn, user: user.clone(), away: true });
    (0..hops).map(|_| hop()).collect()
}

/// The hops staged for the other core.
#[derive(Default)]
struct Stage(Vec<Hop>);

impl Staged for Stage {
    fn take_staged(&mut self, _to: CoreId, empty: Vec<Hop>) -> Vec<Hop> {
        std::mem::replace(&mut self.0, empty)
    }

    fn put_back(&mut self, _to: CoreId, staged: Vec<Hop>) -> Vec<Hop> {
        std::mem::replace(&mut self.0, staged)
    }

    fn staged_bytes(&self, _to: CoreId) -> usize {
        self.0.len() * size_of::<Hop>()
    }

    fn set_queued_bytes(&mut self, _to: CoreId, _bytes: usize) {}
}

/// One core's end.
struct End {
    lanes: Lanes,
    stage: Stage,
    counters: CoreCounters,
}

impl End {
    fn new(lanes: Lanes) -> End {
        End { lanes, stage: Stage::default(), counters: CoreCounters::default() }
    }

    fn send(&mut self, hops: Vec<Hop>) {
        let empty = std::mem::replace(&mut self.stage.0, hops);
        self.lanes.recycle(empty);
        assert_eq!(self.lanes.flush(&mut self.stage, &self.counters), 0, "far from full");
    }
}

/// This thread's end. The other one sends back what it receives.
struct Near {
    end: End,
    far: Option<JoinHandle<()>>,
    far_wake: Arc<Wake>,
    stop: Arc<AtomicBool>,
}

impl Near {
    fn new(far_sleeps: bool) -> Near {
        let wakes: Vec<_> = (0..2).map(|_| Arc::new(Wake::new().expect("an eventfd"))).collect();
        let mut lanes = Lanes::mesh(&wakes);
        let mut far = End::new(lanes.pop().expect("two"));
        let end = End::new(lanes.pop().expect("two"));
        let (far_wake, stop) = (wakes[1].clone(), Arc::new(AtomicBool::new(false)));
        let (wake, stopped) = (far_wake.clone(), stop.clone());
        let far = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match take(&mut far.lanes, LOOKS) {
                    Some(hops) => far.send(hops),
                    None => thread::yield_now(),
                }
                if far_sleeps {
                    sleep(&wake, &far.lanes, &stopped);
                }
            }
        });
        Near { end, far: Some(far), far_wake, stop }
    }

    fn send(&mut self, hops: Vec<Hop>) {
        self.end.send(hops);
    }

    fn receive(&mut self) -> Vec<Hop> {
        loop {
            if let Some(hops) = take(&mut self.end.lanes, LOOKS) {
                return hops;
            }
            thread::yield_now();
        }
    }
}

impl Drop for Near {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.far_wake.wake();
        let far = self.far.take().expect("joined once");
        far.join().expect("it does not panic");
    }
}

/// The hops received within this many polls.
fn take(lanes: &mut Lanes, looks: usize) -> Option<Vec<Hop>> {
    for _ in 0..looks {
        if let Some(batch) = lanes.try_take() {
            return Some(batch.hops);
        }
        std::hint::spin_loop();
    }
    None
}

/// Sleeps until something is sent to this core, as a core does.
fn sleep(wake: &Wake, lanes: &Lanes, stop: &AtomicBool) {
    wake.clear_bell();
    wake.fall_asleep(Sleep::Executor);
    if lanes.is_empty() && !stop.load(Ordering::Relaxed) {
        let mut bell = [PollFd::new(wake.bell(), PollFlags::POLLIN)];
        poll(&mut bell, PollTimeout::NONE).expect("an eventfd can be waited for");
    }
    wake.get_up();
}
