//! Cost of a room's history, through an engine: a publish that is kept, a page that is read, a client that recovers.
//! Includes the bytes of commands and replies, as in the server. `cargo bench --bench history`.

mod support;

use std::time::Duration;

use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use support::{Rig, Shape, text_frame};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// The maximum number of messages that a room of the benches holds.
const HELD: usize = 10_000;

fn main() {
    divan::Divan::default().min_time(Duration::from_millis(100)).config_with_args().main();
}

/// A publish to a room that holds this many messages and drops the oldest. The difference to none (0) is the cost of
/// keeping one. Only the publisher gets an answer.
#[divan::bench(args = [0, 100, 10_000])]
fn append(bencher: Bencher<'_, '_>, held: usize) {
    let mut rig = filled(held, held);
    bencher.bench_local(|| rig.publish(0, 1));
}

/// A page of the newest messages. Items are messages.
#[divan::bench(args = [1, 10, 100, 300])]
fn page(bencher: Bencher<'_, '_>, limit: u32) {
    let mut rig = filled(HELD, HELD);
    let command = text_frame(&format!(r#"{{"type":"history","id":1,"room":"room-0","limit":{limit}}}"#));
    assert_eq!(messages_in(&rig.ask(0, &command)), limit as usize);
    bencher.counter(ItemsCount::new(limit)).bench_local(|| rig.command(0, &command));
}

/// A page from the middle of the held messages. Items are messages.
#[divan::bench(args = [1, 10, 100, 300])]
fn page_in_the_middle(bencher: Bencher<'_, '_>, limit: u32) {
    let mut rig = filled(HELD, HELD);
    let after = HELD / 2;
    let command = format!(r#"{{"type":"history","id":1,"room":"room-0","after":{after},"limit":{limit}}}"#);
    let command = text_frame(&command);
    assert_eq!(messages_in(&rig.ask(0, &command)), limit as usize);
    bencher.counter(ItemsCount::new(limit)).bench_local(|| rig.command(0, &command));
}

/// A join that recovers this many messages. Items are messages.
#[divan::bench(args = [0, 10, 100, 1_000])]
fn recover(bencher: Bencher<'_, '_>, missed: usize) {
    let mut rig = filled(HELD, HELD);
    let joined = rig.ask(0, &text_frame(r#"{"type":"join","id":1,"room":"room-0"}"#));
    let joined = String::from_utf8_lossy(&joined).into_owned();
    let (_, epoch) = joined.split_once(r#""epoch":""#).expect("a joined reply");
    let (epoch, seq) = (&epoch[..16], HELD - missed);
    let command = format!(r#"{{"type":"join","id":1,"room":"room-0","epoch":"{epoch}","last_received_seq":{seq}}}"#);
    let command = text_frame(&command);
    let answer = rig.ask(0, &command);
    assert!(String::from_utf8_lossy(&answer).contains(r#""recovered":true"#));
    assert_eq!(messages_in(&answer), missed);
    bencher.counter(ItemsCount::new(missed)).bench_local(|| rig.command(0, &command));
}

/// A room that may hold `held` messages, with `publishes` of 128 bytes in it.
fn filled(held: usize, publishes: usize) -> Rig {
    let mut rig = Rig::of(Shape { history: held, ..Shape::default() });
    for _ in 0..publishes {
        rig.publish(0, 1);
    }
    rig
}

/// Messages in a reply.
fn messages_in(reply: &[u8]) -> usize {
    String::from_utf8_lossy(reply).matches(r#""data":""#).count()
}
