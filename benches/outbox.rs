//! Outboxes: queueing one frame for many connections, making sends, and the policies for slow consumers with a full
//! outbox. `cargo bench --bench outbox`.

use std::time::Duration;

use bytes::Bytes;
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use roomring::base::counters::CoreCounters;
use roomring::base::ids::RoomName;
use roomring::base::limits::OUTBOX_ITEM_BYTES;
use roomring::engine::budget::Budget;
use roomring::engine::outbox::{Encoder, Outboxes, Outgoing, Source};
use roomring::engine::output::Send;
use roomring::engine::settings::SlowPolicy;
use roomring::wire::encode::encode_push;
use roomring::wire::form::Form;
use roomring::wire::frame::{Opcode, server_frame};
use roomring::wire::protocol::Push;
use roomring::wire::publication::Publication;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const BYTES_MAX: usize = 1 << 20;

/// Ticks after which any send in flight makes its connection slow.
const PATIENCE_TICKS: u32 = 100;

fn main() {
    divan::Divan::default().min_time(Duration::from_millis(100)).config_with_args().main();
}

/// One frame queued for many connections, sent and taken by the kernel. Items are connections.
#[divan::bench(args = [1, 10, 100, 1_000, 10_000])]
fn deliver(bencher: Bencher<'_, '_>, connections: u32) {
    let mut rig = Rig::new(connections);
    bencher.counter(ItemsCount::new(connections)).bench_local(|| rig.deliver(1));
}

/// Sixteen frames, merged once and sent to each connection in one send. Items are frames × connections.
#[divan::bench(args = [1, 10, 100, 1_000])]
fn deliver_16_at_once(bencher: Bencher<'_, '_>, connections: u32) {
    let mut rig = Rig::new(connections);
    bencher.counter(ItemsCount::new(connections * 16)).bench_local(|| rig.deliver(16));
}

/// Policy `skip`: a message for a stalled reader with a full outbox of this many messages.
#[divan::bench(args = [16, 256, 4_096])]
fn stuck_skip(bencher: Bencher<'_, '_>, messages: usize) {
    let mut stuck = Stuck::new(messages);
    bencher.bench_local(|| stuck.push(SlowPolicy::Skip));
}

/// Policy `latest`: the same; one gap replaces all queued messages.
#[divan::bench(args = [16, 256, 4_096])]
fn stuck_latest(bencher: Bencher<'_, '_>, messages: usize) {
    let mut stuck = Stuck::new(messages);
    bencher.bench_local(|| stuck.push(SlowPolicy::Latest));
}

/// Policy `disconnect`: a full outbox of this many messages is dropped. Items are messages.
#[divan::bench(args = [16, 256, 4_096])]
fn stuck_disconnect(bencher: Bencher<'_, '_>, messages: usize) {
    bencher
        .counter(ItemsCount::new(messages))
        .with_inputs(|| Stuck::new(messages))
        .bench_local_refs(|stuck| stuck.rig.outboxes.clear(0, &mut stuck.rig.budget));
}

/// Outboxes, with a kernel that takes everything at once.
struct Rig {
    outboxes: Outboxes,
    budget: Budget,
    counters: CoreCounters,
    slots: Vec<u32>,
    behind: Vec<u32>,
    sends: Vec<Send>,
    frame: Bytes,
    seq: u64,
}

impl Rig {
    fn new(connections: u32) -> Rig {
        let mut outboxes = Outboxes::new(BYTES_MAX);
        (0..connections).for_each(|slot| outboxes.reach(slot));
        let mut rig = Rig {
            outboxes,
            budget: Budget::new(1 << 40),
            counters: CoreCounters::default(),
            slots: (0..connections).collect(),
            behind: Vec::new(),
            sends: Vec::new(),
            frame: server_frame(Opcode::Text, &[b'x'; 128]),
            seq: 0,
        };
        // The first runs grow the tables.
        (0..16).for_each(|_| rig.deliver(16));
        rig
    }

    fn message(&mut self) -> Outgoing {
        self.seq += 1;
        Outgoing::messages(self.seq, 1, self.frame.clone())
    }

    fn deliver(&mut self, frames: usize) {
        for _ in 0..frames {
            let message = self.message();
            let frame = self.outboxes.add(message, &mut self.budget);
            let queued = self.outboxes.push_all(&self.slots, None, frame, &mut self.behind, &mut self.budget);
            self.outboxes.release(frame, &mut self.budget);
            assert_eq!(queued as usize, self.slots.len());
        }
        while self.outboxes.has_dirty() {
            self.flush();
            for send in self.sends.drain(..) {
                drop(black_box(send.bytes));
                self.outboxes.sent(send.slot, &mut self.budget);
            }
        }
    }

    fn flush(&mut self) {
        self.outboxes.flush(&mut self.sends, &mut self.budget, &self.counters, &mut Plain, &mut |_| {});
    }
}

/// Every connection reads plain JSON.
struct Plain;

impl Encoder for Plain {
    fn gap(&mut self, _: u32, room: &RoomName, from: u64, to: u64) -> Bytes {
        encode_push(&Push::Gap { room, from, to }, Form::Json)
    }

    fn message(&mut self, _: u32, room: &RoomName, message: &Publication) -> Bytes {
        message.frame(room, Form::Json)
    }
}

/// One stalled connection with a full outbox.
struct Stuck {
    rig: Rig,
    room: RoomName,
}

impl Stuck {
    fn new(messages: usize) -> Stuck {
        let len = server_frame(Opcode::Text, &[b'x'; 128]).len() + OUTBOX_ITEM_BYTES;
        let mut rig = Rig::new(1);
        rig.outboxes.set_bytes_max((messages + 1) * len);
        let mut stuck = Stuck { rig, room: RoomName::new("lobby").expect("valid") };
        let first = stuck.rig.message();
        stuck.rig.outboxes.push(0, first, &mut stuck.rig.budget);
        // In flight forever.
        stuck.rig.flush();
        (0..PATIENCE_TICKS).for_each(|_| stuck.rig.outboxes.tick());
        for _ in 0..messages {
            stuck.push(SlowPolicy::Skip);
        }
        stuck
    }

    /// Queues a room's message in the outbox as it is. Returns the number of messages dropped.
    fn push(&mut self, policy: SlowPolicy) -> u64 {
        let message = self.rig.message();
        let Rig { outboxes, budget, behind, slots, .. } = &mut self.rig;
        let frame = outboxes.add(message, budget);
        outboxes.push_all(slots, None, frame, behind, budget);
        let source = Source { room: &self.room, policy };
        let mut dropped = 0;
        for slot in behind.drain(..) {
            outboxes.hold(slot, source, frame, budget);
            if outboxes.is_slow(slot, false) {
                dropped += outboxes.relieve(slot, source, budget).dropped;
            }
        }
        outboxes.release(frame, budget);
        dropped
    }
}
