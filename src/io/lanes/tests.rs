//! Full lanes, order, and wake-ups from another thread.

use std::collections::VecDeque;
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::super::wake::Sleep;
use super::*;
use crate::base::ids::{ConnId, RoomName, UserName};
use crate::engine::hop::ToOwner;

fn hop(number: usize) -> Hop {
    let name = number.to_string();
    Hop::ToOwner(ToOwner::Away {
        room: RoomName::new("lobby").expect("valid"),
        conn: ConnId { home: CoreId(0), slot: 0, generation: 0 },
        user: UserName::new(&name).expect("valid"),
        away: true,
    })
}

fn number(hop: &Hop) -> usize {
    match hop {
        Hop::ToOwner(ToOwner::Away { user, .. }) => user.parse().expect("a number"),
        other => panic!("never sent: {other:?}"),
    }
}

/// Stages hops for one core.
struct StagedHops {
    to: CoreId,
    hops: Vec<Hop>,
    /// Bytes in the channel, as last reported.
    queued: usize,
}

impl Staged for StagedHops {
    fn take_staged(&mut self, to: CoreId, empty: Vec<Hop>) -> Vec<Hop> {
        assert!(empty.is_empty());
        if to == self.to { std::mem::replace(&mut self.hops, empty) } else { empty }
    }

    fn put_back(&mut self, to: CoreId, staged: Vec<Hop>) -> Vec<Hop> {
        assert_eq!(to, self.to);
        std::mem::replace(&mut self.hops, staged)
    }

    fn staged_bytes(&self, _to: CoreId) -> usize {
        self.hops.iter().map(Hop::bytes).sum()
    }

    fn set_queued_bytes(&mut self, to: CoreId, bytes: usize) {
        if to == self.to {
            self.queued = bytes;
        }
    }
}

fn mesh(cores: usize) -> (Vec<Lanes>, Vec<Arc<Wake>>) {
    let wakes: Vec<_> = (0..cores).map(|_| Arc::new(Wake::new().expect("an eventfd"))).collect();
    (Lanes::mesh(&wakes), wakes)
}

#[test]
fn a_full_lane_gives_back_and_keeps_the_order() {
    let (mut lanes, _) = mesh(3);
    let counters = CoreCounters::default();
    let mut stage = StagedHops { to: CoreId(2), hops: Vec::new(), queued: 0 };
    for sent in 0..LANE_BATCHES_MAX {
        stage.hops.push(hop(sent));
        assert_eq!(lanes[0].flush(&mut stage, &counters), 0);
    }
    stage.hops.extend([hop(LANE_BATCHES_MAX), hop(LANE_BATCHES_MAX + 1)]);
    assert_eq!(lanes[0].flush(&mut stage, &counters), 2);
    assert_eq!(stage.hops.len(), 2);
    let mut seen = Vec::new();
    while let Some(mut batch) = lanes[2].try_take() {
        assert_eq!(batch.from, CoreId(0));
        seen.extend(batch.hops.drain(..).map(|hop| number(&hop)));
        lanes[2].recycle(batch.hops);
        lanes[0].flush(&mut stage, &counters);
    }
    assert_eq!(seen, (0..LANE_BATCHES_MAX + 2).collect::<Vec<_>>());
    assert_eq!(counters.hops.get(), (LANE_BATCHES_MAX + 2) as u64);
    assert_eq!(counters.hop_batches.get(), (LANE_BATCHES_MAX + 1) as u64);
    assert!(lanes[1].is_empty());
}

#[test]
fn only_a_sleeping_core_is_woken_and_only_once() {
    let (mut lanes, wakes) = mesh(2);
    let counters = CoreCounters::default();
    let mut stage = StagedHops { to: CoreId(1), hops: vec![hop(1)], queued: 0 };
    lanes[0].flush(&mut stage, &counters);
    assert_eq!(counters.wakes.get(), 0, "awake");
    wakes[1].fall_asleep(Sleep::Ring);
    for sent in 0..3 {
        stage.hops.push(hop(sent));
        lanes[0].flush(&mut stage, &counters);
    }
    assert_eq!(counters.wakes.get(), 1);
    wakes[1].get_up();
    assert!(!wakes[1].wake());
}

#[test]
fn no_wake_up_is_lost() {
    const ROUNDS: usize = 20_000;
    let (mut lanes, wakes) = mesh(2);
    let mut receiver = lanes.pop().expect("two");
    let mut sender = lanes.pop().expect("two");
    let wake = wakes[1].clone();
    let sending = thread::spawn(move || {
        let counters = CoreCounters::default();
        let mut stage = StagedHops { to: CoreId(1), hops: Vec::new(), queued: 0 };
        let mut waiting: VecDeque<usize> = (0..ROUNDS).collect();
        while let Some(next) = waiting.pop_front() {
            stage.hops.push(hop(next));
            while sender.flush(&mut stage, &counters) > 0 {
                thread::yield_now();
            }
            // Lets the other side fall asleep at every point of its loop.
            for _ in 0..next % 97 {
                std::hint::spin_loop();
            }
        }
        counters.wakes.get()
    });
    let mut expected = 0;
    while expected < ROUNDS {
        while let Some(mut batch) = receiver.try_take() {
            for hop in batch.hops.drain(..) {
                assert_eq!(number(&hop), expected);
                expected += 1;
            }
            receiver.recycle(batch.hops);
        }
        wake.clear_bell();
        wake.fall_asleep(Sleep::Executor);
        if receiver.is_empty() && expected < ROUNDS {
            let mut fds = [PollFd::new(wake.bell(), PollFlags::POLLIN)];
            let ready = poll(&mut fds, PollTimeout::from(5_000_u16)).expect("polls");
            assert_eq!(ready, 1, "asleep with {expected} of {ROUNDS} received: a wake-up was lost");
        }
        wake.get_up();
    }
    assert!(sending.join().expect("sends") > 0, "the receiver never slept");
}

#[test]
fn bytes_in_a_channel_are_reported_until_taken() {
    let (mut lanes, _) = mesh(2);
    let counters = CoreCounters::default();
    let mut stage = StagedHops { to: CoreId(1), hops: vec![hop(0), hop(1)], queued: 0 };
    let bytes = stage.staged_bytes(CoreId(1));
    assert!(bytes >= 2 * size_of::<Hop>());
    lanes[0].flush(&mut stage, &counters);
    lanes[0].flush(&mut stage, &counters);
    assert_eq!((stage.queued, lanes[0].queued_bytes(), lanes[1].queued_bytes()), (bytes, bytes, 0));
    lanes[1].try_take().expect("it was sent");
    assert_eq!(lanes[0].queued_bytes(), 0);
    lanes[0].flush(&mut stage, &counters);
    assert_eq!(stage.queued, 0);
    // Hops that a full channel does not take are not counted there.
    for sent in 0..=LANE_BATCHES_MAX {
        stage.hops.push(hop(sent));
        let left = lanes[0].flush(&mut stage, &counters);
        assert_eq!(left, usize::from(sent == LANE_BATCHES_MAX));
    }
    assert_eq!(lanes[0].queued_bytes(), LANE_BATCHES_MAX * bytes / 2);
}
