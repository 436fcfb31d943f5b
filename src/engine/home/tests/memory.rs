//! The memory that clients can make a connection hold (pings, control frames, incomplete messages), and which connections are
//! closed when memory is short.

use super::limits::text;
use super::*;
use crate::base::limits::{MEMBERSHIP_BYTES, PONG_BYTES, PONGS_PER_TURN_MAX, RATE_REFUSALS_MAX};
use crate::engine::rates::Rate;
use crate::engine::settings::Limits;
use crate::wire::client::client_fragment;

const KEY: [u8; 4] = [1, 2, 3, 4];

fn ping(payload: &[u8]) -> Vec<u8> {
    client_frame(Opcode::Ping, payload, KEY)
}

/// Payloads of the pongs among the frames sent.
fn pongs(sends: &[Send]) -> Vec<String> {
    let bytes: Vec<u8> = sends.iter().flat_map(|send| send.bytes.to_vec()).collect();
    let (mut rest, mut payloads) = (&bytes[..], Vec::new());
    while let [first, len, after @ ..] = rest {
        let (payload, after) = after.split_at(usize::from(*len));
        if *first == 0x8a {
            payloads.push(String::from_utf8_lossy(payload).into_owned());
        }
        rest = after;
    }
    payloads
}

impl One {
    fn open_within(limits: Limits) -> One {
        let mut one = One::with(Settings { cores: 1, limits, ..Settings::for_tests() });
        one.handle(accepted(0));
        one.receive(0, HEAD.as_bytes());
        one.turn();
        one
    }

    /// A turn whose sends the kernel does not take.
    fn stall(&mut self) -> Vec<Send> {
        self.engine.finish_turn(self.now, &mut self.output);
        std::mem::take(&mut self.output.sends)
    }
}

#[test]
fn each_ping_of_a_client_that_reads_is_answered() {
    let mut one = One::open_within(Limits::default());
    let asked: Vec<String> = (0..PONGS_PER_TURN_MAX).map(|number| number.to_string()).collect();
    asked.iter().for_each(|payload| one.receive(0, &ping(payload.as_bytes())));
    assert_eq!(pongs(&one.turn()), asked);
    one.receive(0, &ping(b"again"));
    assert_eq!(pongs(&one.turn()), ["again"]);
}

#[test]
fn of_pings_that_wait_the_latest_is_answered_and_they_cost_nothing() {
    let mut one = One::open_within(Limits::default());
    let idle = one.engine.budget.used();
    one.receive(0, &ping(b"first"));
    assert_eq!(pongs(&one.stall()), ["first"]);
    for number in 0..100_000_u32 {
        one.receive(0, &ping(number.to_string().as_bytes()));
        if number % 1_000 == 0 {
            assert!(one.stall().is_empty(), "a send is under way");
            assert!(
                one.engine.budget.used() <= idle + PONG_BYTES as u64 + 192,
                "a pong that is under way, and a ping that waits"
            );
        }
    }
    one.handle(Input::Sent { slot: 0 });
    assert_eq!(pongs(&one.turn()), ["99999"]);
    assert_eq!((one.engine.budget.used(), one.engine.home.outboxes.is_empty(0)), (idle, true));
    // Of more pings in one turn than are answered one by one, the last is.
    (0..40_u32).for_each(|number| one.receive(0, &ping(number.to_string().as_bytes())));
    let answered = pongs(&one.turn());
    assert_eq!((answered.len(), answered[usize::from(PONGS_PER_TURN_MAX)].as_str()), (17, "39"));
    one.receive(0, &ping(b""));
    one.stall();
    one.receive(0, &ping(b"kept"));
    one.handle(Input::Disconnected { slot: 0 });
    assert_eq!(one.engine.budget.used(), 0);
}

#[test]
fn control_frames_and_empty_fragments_count_as_commands() {
    let flood = |frame: Vec<u8>, before: Vec<u8>| {
        let mut one = One::open_within(Limits { command_rate: Rate::new(10, 1_000), ..Limits::default() });
        one.receive(0, &before);
        (0..20 + u32::from(RATE_REFUSALS_MAX) - 1).for_each(|_| one.receive(0, &frame));
        one.turn();
        assert_eq!(one.counters.rate_limited.get(), u64::from(RATE_REFUSALS_MAX) - 1);
        assert_eq!(one.counters.closed_rate.get(), 0);
        one.receive(0, &frame);
        one.turn();
        assert_eq!(one.counters.closed_rate.get(), 1);
        assert_eq!(one.counters.errors.get(), 0, "nothing is said of control frames");
    };
    flood(ping(b""), Vec::new());
    flood(client_frame(Opcode::Pong, b"unasked", KEY), Vec::new());
    flood(client_fragment(Opcode::Continuation, b"", KEY), client_fragment(Opcode::Text, b"{", KEY));
}

#[test]
fn the_answer_to_a_heartbeat_is_free_and_nothing_is_kept_of_it() {
    let mut one = One::open_within(Limits { command_rate: Rate::new(1, 60_000), ..Limits::default() });
    for _ in 0..5 {
        one.pass(25_000);
        let sends = one.turn();
        let pinged = sends.iter().find(|send| send.bytes[0] == 0x89).expect("a heartbeat");
        one.receive(0, &client_frame(Opcode::Pong, &pinged.bytes[2..], KEY));
    }
    assert_eq!((one.counters.rate_limited.get(), one.engine.home.paces.len()), (0, 0));
}

#[test]
fn those_who_hold_the_most_are_shed_in_one_pass() {
    let held = |slot: u32| 600 * (slot as usize % 50 + 1);
    let mut one = One::with(Settings { cores: 1, memory_budget_bytes: 1 << 20, ..Settings::for_tests() });
    for slot in 0..100 {
        one.handle(accepted(slot));
        one.receive(slot, HEAD.replace("user=ann", &format!("user=u{slot}")).as_bytes());
    }
    one.turn();
    let standing = one.engine.budget.standing();
    for slot in 0..100 {
        // The first part of a message, as long as it is going to be.
        let half = client_frame(Opcode::Text, &vec![b'x'; 2 * held(slot)], KEY);
        one.receive(slot, &half[..half.len() - held(slot)]);
    }
    assert!(one.engine.budget.is_over());
    one.turn();
    assert!(!one.engine.budget.is_over(), "{} are charged", one.engine.budget.used());
    let gone: Vec<u32> = one.output.ended.iter().map(|ended| ended.conn.slot).collect();
    assert_eq!(one.counters.closed_overloaded.get(), gone.len() as u64);
    let least = gone.iter().map(|slot| held(*slot)).min().expect("some had to go");
    let most = (0..100).filter(|slot| !gone.contains(slot)).map(held).max().expect("some stay");
    assert!(most <= least, "{most} bytes stay, {least} go");
    assert!(one.engine.budget.used() > (1 << 20) - 60_000, "no more go than have to");
    assert_eq!(one.engine.budget.standing(), standing, "they are told to go and are still there");
}

#[test]
fn those_who_hold_little_stay_whatever_fills_the_budget() {
    let mut one = One::with(Settings { cores: 1, memory_budget_bytes: 1 << 20, ..Settings::for_tests() });
    for slot in 0..10 {
        one.handle(accepted(slot));
        one.receive(slot, HEAD.replace("user=ann", &format!("user=u{slot}&room=a")).as_bytes());
    }
    one.turn();
    one.engine.charge_io(2 << 20);
    for _ in 0..5 {
        let ask = text(r#"{"type":"publish","room":"a","data":1,"id":7}"#);
        one.receive(0, &ask);
        let sends = one.turn();
        assert!(sends.len() == 10, "all hear it");
    }
    assert!(one.output.ended.is_empty());
    // What stands is not added to, and pages are not made.
    for (ask, code) in [
        (r#"{"type":"join","room":"b","id":1}"#, "overloaded"),
        (r#"{"type":"join","room":"a","id":2}"#, "overloaded"),
        (r#"{"type":"history","room":"a","id":3}"#, "overloaded"),
        (r#"{"type":"ping","id":4}"#, "pong"),
    ] {
        one.receive(0, &text(ask));
        let said: String = one.turn().iter().map(|send| String::from_utf8_lossy(&send.bytes).into_owned()).collect();
        assert!(said.contains(code), "{ask}: {said}");
        assert_eq!(said.contains("retry_after_ms"), code == "overloaded", "{said}");
    }
    one.handle(accepted(10));
    one.receive(10, HEAD.as_bytes());
    assert!(one.turn().iter().any(|send| send.bytes.starts_with(b"HTTP/1.1 503")));
    one.engine.charge_io(0);
    one.receive(0, &text(r#"{"type":"join","room":"b","id":5}"#));
    one.turn();
    assert_eq!(one.engine.home.sessions.at(0).memberships.len(), 2);
    let before = one.engine.budget.standing();
    one.receive(0, &text(r#"{"type":"leave","room":"b","id":6}"#));
    one.turn();
    assert!(one.engine.budget.standing() + (MEMBERSHIP_BYTES as u64) < before);
}
